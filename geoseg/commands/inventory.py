"""`geoseg track` and `geoseg export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geoseg.commands.options import Json
from geoseg.terminal import Outcome, note, show

__all__ = ["export", "track"]


def track(
    files: Annotated[
        list[str],
        typer.Argument(help="Vector files of outlines, FILE or FILE::LAYER; or an inventory."),
    ],
    dates: Annotated[
        str | None,
        typer.Option(
            help="One for each file, commas between: 1966, 1966-08, 1966-08-12, 1971-07/1973. "
            "Not needed for files with start_date and end_date."
        ),
    ] = None,
    date_of: Annotated[
        str | None, typer.Option(help="Column with the day of each outline.")
    ] = None,
    class_of: Annotated[
        str | None,
        typer.Option(
            help="Column with the class of each outline, or the class of all: lake. class_name, "
            "else glacier, if not named."
        ),
    ] = None,
    gsd: Annotated[
        str | None,
        typer.Option(help="Pixel in metres of the images, for uncertainties: 30, or one a file."),
    ] = None,
    seen: Annotated[
        list[str] | None,
        typer.Option(help="DATE=FILE: polygons of the ground that a survey saw, without clouds."),
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="RGI or GLIMS outlines whose ids are carried over.")
    ] = None,
    divides: Annotated[
        Path | None,
        typer.Option(help="RGI or GLIMS outlines that split ice masses too."),
    ] = None,
    dem: Annotated[Path | None, typer.Option(help="Elevation in metres.")] = None,
    align: Annotated[
        bool, typer.Option("--align", help="Move surveys back that lie off, as measured.")
    ] = False,
    most_shift: Annotated[
        float | None,
        typer.Option(help="Metres that a survey may lie off; ten pixels, at most 200 m, if not."),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Of the inventory.")] = None,
    licence: Annotated[str, typer.Option(help="Of the inventory: CC BY 4.0.")] = "",
    out: Annotated[Path, typer.Option(help="The GeoPackage to write.")] = Path("inventory.gpkg"),
    json: Json = False,
) -> None:
    """Link outlines of several dates into tracks: one inventory that opens styled in QGIS.

    Ids that an inventory at --out has given stay as they are when a survey is added.

    Example: geoseg track a.gpkg b.shp c.geojson --dates 1966,1998,2015 --out inventory.gpkg
    """
    from geoseg.errors import ConfigError
    from geoseg.tracking import TrackOptions, as_outcome, give, track_files

    if reference is not None and divides is not None:
        raise ConfigError("--divides carries ids over too; leave --reference out.")
    options = TrackOptions(
        class_of=class_of,
        date_of=date_of,
        reference=reference,
        divides=divides,
        dem=dem,
        correct_shift=align,
        most_shift_m=most_shift,
        title=title,
        licence=licence,
    )
    given = give(files, dates=dates, gsd_m=gsd, seen=seen or ())
    inventory = track_files(given, options, out)
    note(f"The inventory is {out}; open it in QGIS, or make a page of it with geoseg report")
    show(as_outcome(inventory, out), as_json=json)


def export(
    inventory: Annotated[Path, typer.Argument(help="The GeoPackage of an inventory.")],
    survey: Annotated[str, typer.Option(help="Which survey, by its name: 2015.")],
    out: Annotated[Path, typer.Option(help="The file: .gpkg for rgi, .zip for glims.")],
    to: Annotated[str, typer.Option(help="rgi: columns of RGI 7.0; glims: a submission.")] = "rgi",
    analysed: Annotated[
        str | None, typer.Option(help="Day that the outlines were made, for glims; today if not.")
    ] = None,
    json: Json = False,
) -> None:
    """Write one survey of an inventory as RGI or GLIMS take it.

    Example: geoseg export inventory.gpkg --survey 2015 --to rgi --out rgi_2015.gpkg
    """
    import datetime as dt

    from geoseg.errors import ConfigError, nearest
    from geoseg.inventory import (
        export_glims,
        export_rgi,
        is_inventory,
        parse_interval,
        read_inventory,
    )

    if is_inventory(out):
        raise ConfigError(f"{out} is an inventory, which an export would replace; name another.")
    known = {"rgi", "glims"}
    if to not in known:
        raise ConfigError(f"--to {to!r} is no format. {nearest(to, known)}")
    if analysed is not None and to == "rgi":
        raise ConfigError("--analysed says something to glims only; leave it out.")
    tables = read_inventory(inventory)
    if to == "rgi":
        exported = export_rgi(tables, survey, out)
    else:
        today = dt.datetime.now(tz=dt.UTC).date()
        day = today if analysed is None else parse_interval(analysed).start.date()
        exported = export_glims(tables, survey, out, analysed=day)
    small = f"; {exported.too_small} were too small" if exported.too_small else ""
    note(f"{exported.outlines} outlines of {survey} lie in {out}{small}")
    show(Outcome({"file": str(out), **exported._asdict()}), as_json=json)
