"""`geoseg status`, `verify` and `retry` of a folder that a run writes into, and `geoseg plan`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geoseg.commands.options import Json
from geoseg.terminal import Outcome, Table, note, progress, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geoseg.scale import Manifest, WorkState

__all__ = ["plan", "retry", "status", "verify"]

Folder = Annotated[Path, typer.Argument(help="That a run writes into, or one above several.")]
_SHOWN = 20  # failures; --json has all


def status(folder: Folder, json: Json = False) -> None:
    """Say how far the work in a folder is, who is at it, and what failed; changes nothing.

    Example: geoseg status out/maps
    """
    from geoseg.scale import find_records, read_state

    states = [read_state(found) for found in find_records(folder)]
    failures = [(state, one) for state in states for one in state.failed]
    for state, one in failures[:_SHOWN]:
        note(f"{state.folder / one.name}, tried {one.attempts} times: {one.error}")
    if len(failures) > _SHOWN:
        note(f"{len(failures)} failed in all; --json names them")
    for state in states:
        for name in state.killed:
            note(
                f"{state.folder / name}: the run died over it; the next one does it last, and with "
                "--workers 2 sets it aside if it kills its worker three times"
            )
        if state.earlier:
            note(
                f"{state.folder} has {state.earlier:,} more of earlier runs: of other settings or "
                "scenes, or the last run has not come to them"
            )
    rows = [_row(state) for state in states]
    table = Table("Work", ("folder", "done", "failed", "of", "an hour", "left", "at work"), rows)
    figures = {"folders": [_figures(state) for state in states]}
    show(Outcome(figures, (table,)), as_json=json)


def verify(folder: Folder, json: Json = False) -> None:
    """Read every output and every network that has a card again; exit code 1 where one differs.

    Outputs are compared with the checksums of the run, networks with those of `NAME.stac.json`.

    Example: geoseg verify out/maps
    """
    cards = sorted(folder.rglob("*.stac.json"))
    damaged = _damaged_below(folder, may_be_none=bool(cards))
    networks = _damaged_networks(cards)
    for found, names in damaged.items():
        for name in names:
            note(f"{found / name} is damaged or gone; geoseg retry --damaged {folder} forgets it")
    for path in networks:
        note(f"{path} is not what its card says, or gone; train it again or copy it anew")
    rows = [(str(found), str(len(names))) for found, names in damaged.items()]
    figures = {
        "damaged": {str(found): names for found, names in damaged.items()},
        "networks": [str(path) for path in networks],
    }
    rows += [("networks with a card", str(len(networks)))] if cards else []
    table = Table("What is not what was written", ("where", "units or files"), rows)
    show(Outcome(figures, (table,)), as_json=json)
    if any(damaged.values()) or networks:
        raise typer.Exit(1)


def retry(
    folder: Folder,
    damaged: Annotated[
        bool, typer.Option("--damaged", help="Read every output, and forget what is damaged too.")
    ] = False,
    json: Json = False,
) -> None:
    """Forgive what failed, and forget outputs that are gone, for the next run to do.

    Files of such units are removed. Nothing is run: give the command of the run once more.

    Example: geoseg retry out/maps
    """
    from geoseg.scale import Manifest, find_records

    rows, figures = [], {}
    for found in find_records(folder):
        with Manifest(found) as manifest, manifest.held():
            failed = [one.name for one in manifest.failures()]
            names = _damaged_of(manifest) if damaged else manifest.gone()
            manifest.forget([*failed, *names])
            manifest.forgive_deaths()
        rows.append((str(found), str(len(failed)), str(len(names))))
        figures[str(found)] = {"failed": failed, "damaged": names}
    note("Run the command of the run again: it does these units.")
    table = Table("To be done again", ("folder", "failed", "damaged or gone"), rows)
    show(Outcome({"again": figures}, (table,)), as_json=json)


def plan(
    scenes: Annotated[int, typer.Option(help="How many are to be mapped.")],
    megapixels: Annotated[float, typer.Option(help="Of one scene, 10^6 pixels of the map.")],
    workers: Annotated[int, typer.Option(help="Cores that work.")] = 1,
    map_s: Annotated[
        float | None,
        typer.Option(help="Core seconds for 10^6 pixels; of yours by `geoseg predict --dry-run`."),
    ] = None,
    scene_s: Annotated[
        float | None, typer.Option(help="Core seconds of a scene beside its pixels.")
    ] = None,
    read_bytes: Annotated[float | None, typer.Option(help="Of a pixel, all bands.")] = None,
    write_bytes: Annotated[float | None, typer.Option(help="Of a pixel of the maps.")] = None,
    json: Json = False,
) -> None:
    """Say what an archive takes to map, by arithmetic: cores, hours, bytes. docs/scale.md has more.

    Example: geoseg plan --scenes 48000 --megapixels 58 --workers 256
    """
    from dataclasses import asdict

    from geoseg.scale.costs import UnitCosts, archive_costs

    given = {
        "map_s": map_s,
        "scene_s": scene_s,
        "read_bytes": read_bytes,
        "write_bytes": write_bytes,
    }
    each = UnitCosts(**{name: value for name, value in given.items() if value is not None})
    costs = archive_costs(scenes, megapixels, workers=workers, each=each)
    rows = [
        ("pixels", f"{costs.pixels:.3g}"),
        ("core hours", f"{costs.core_hours:,.1f}"),
        (f"hours on {workers:,} cores", f"{costs.hours:,.1f}"),
        ("to read", f"{costs.read_tb:,.2f} TB"),
        ("to keep", f"{costs.write_tb:,.2f} TB"),
    ]
    table = Table(f"{scenes:,} scenes of {megapixels:g} megapixels", ("what", "takes"), rows)
    show(Outcome({**asdict(costs), "each": asdict(each)}, (table,)), as_json=json)


def _damaged_below(folder: Path, *, may_be_none: bool) -> dict[Path, list[str]]:
    """Units whose outputs are damaged or gone, by the folder with their record."""
    from geoseg.errors import OutputError
    from geoseg.scale import Manifest, find_records

    damaged = {}
    try:
        for found in find_records(folder):
            with Manifest(found) as manifest:
                damaged[found] = _damaged_of(manifest)
    except OutputError:
        if damaged or not may_be_none:
            raise
    return damaged


def _damaged_networks(cards: Sequence[Path]) -> list[Path]:
    if not cards:  # to import what reads them takes a while
        return []
    from geoseg.training.card_parts import damaged_files

    return [path for card in cards for path in damaged_files(card)]


def _damaged_of(manifest: Manifest) -> list[str]:
    with progress(f"Reading {manifest.folder}") as advance:
        return manifest.verify(lambda done, total: advance(done, total, "units"))


def _figures(state: WorkState) -> dict[str, object]:
    return {
        "folder": str(state.folder),
        "done": state.done,
        "failed": {one.name: one.error for one in state.failed},
        "earlier": state.earlier,
        "killed": list(state.killed),
        "units": state.units,
        "held_by": state.held_by or None,
        "per_hour": state.per_hour,
        "left_s": state.left_s,
    }


def _row(state: WorkState) -> tuple[str, ...]:
    left = state.left_s
    return (
        str(state.folder),
        f"{state.done:,}",
        f"{len(state.failed):,}",
        "" if state.units is None else f"{state.units:,}",
        "" if state.per_hour is None else f"{state.per_hour:,.0f}",
        "" if left is None or not state.held_by else f"{left / 3600:.1f} h",
        state.held_by,
    )
