"""`geoseg sensors`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geoseg.commands.options import Json
from geoseg.errors import ConfigError
from geoseg.terminal import Outcome, Table, note, show

__all__ = ["sensors_app"]

sensors_app = typer.Typer(no_args_is_help=True, help="The instruments that geoseg knows.")


@sensors_app.command("list")
def sensors_list(json: Json = False) -> None:
    """List the sensors.

    Example: geoseg sensors list
    """
    from geoseg.sensors import load_sensors

    sensors = load_sensors().values()
    rows = [
        (
            s.id,
            s.kind.value,
            f"{s.first_year}-{s.last_year or ''}",
            str(len(s.bands)),
            f"{min(b.gsd_m for b in s.bands):g}",
        )
        for s in sensors
    ]
    table = Table("Sensors", ("id", "kind", "years", "bands", "finest gsd (m)"), rows)
    show(Outcome({"sensors": [s.id for s in sensors]}, (table,)), as_json=json)


@sensors_app.command("show")
def sensors_show(
    sensor_id: Annotated[str, typer.Argument(help="An id of `geoseg sensors list`.")],
    json: Json = False,
) -> None:
    """Show the bands of a sensor and where the figures come from.

    Example: geoseg sensors show landsat-7
    """
    from dataclasses import asdict

    from geoseg.sensors import find_sensor

    sensor = find_sensor(sensor_id)
    rows = [
        (
            band.common_name,
            band.name,
            _optional(band.centre_um),
            _optional(band.fwhm_um),
            band.polarisation or "",
            f"{band.gsd_m:g}",
        )
        for band in sensor.bands
    ]
    columns = ("band", "own name", "centre (um)", "FWHM (um)", "polarisation", "gsd (m)")
    table = Table(f"{sensor.platform} {sensor.instrument} ({sensor.kind.value})", columns, rows)
    show(Outcome(asdict(sensor), (table,)), as_json=json)
    note(f"Source: {sensor.source}")


@sensors_app.command("film")
def sensors_film(
    preview: Annotated[
        Path | None, typer.Option(help="Write a contact sheet of all effects as this PNG.")
    ] = None,
    json: Json = False,
) -> None:
    """Show what modern images go through to become film, and where the ranges come from.

    Example: geoseg sensors film --preview film.png
    """
    from dataclasses import asdict

    from geoseg.chips import EFFECTS
    from geoseg.report.film import draw_film_sheet

    if preview is not None:
        if preview.suffix.lower() != ".png":
            raise ConfigError(f"{preview} is no picture that can be written; name it .png.")
        note("Rendering a simulated scene as film")
        draw_film_sheet(preview)
        note(f"The contact sheet lies in {preview}")
    rows = [(name, f"{e.low:g} to {e.high:g}", e.unit) for name, e in EFFECTS.items()]
    table = Table("From reflectance to film", ("effect", "range", "unit"), rows)
    effects = {name: asdict(effect) for name, effect in EFFECTS.items()}
    picture = None if preview is None else str(preview)
    show(Outcome({"effects": effects, "preview": picture}, (table,)), as_json=json)
    note("Where the ranges come from: docs/film.md, or --json")


def _optional(number: float | None) -> str:
    return "" if number is None else f"{number:g}"
