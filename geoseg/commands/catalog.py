"""`geoseg catalog`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geoseg.commands.options import Json
from geoseg.errors import ConfigError
from geoseg.terminal import Outcome, Table, note, progress, show

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from odc.geo.geom import Geometry

    from geoseg.dates import Interval
    from geoseg.scenes import BrokenEntry

__all__ = ["catalog_app"]

catalog_app = typer.Typer(no_args_is_help=True, help="Tables of scenes: STAC GeoParquet.")

Bbox = Annotated[
    str | None,
    typer.Option(help="West,south,east,north in degrees; west above east across the antimeridian."),
]
Dates = Annotated[str | None, typer.Option(help="1966, 1966-08, 1966-08-12 or 1960/1990.")]

_NAMED = 20  # problems that are told one by one


@catalog_app.command("scan")
def catalog_scan(
    folders: Annotated[
        list[Path], typer.Argument(help="Searched for scenes: products and STAC items.")
    ],
    out: Annotated[Path, typer.Option(help="The table to write.")] = Path("catalog.parquet"),
    sensor: Annotated[
        str | None,
        typer.Option(help="What took plain GeoTIFFs: an id of `geoseg sensors list`."),
    ] = None,
    checksums: Annotated[
        bool, typer.Option("--checksums", help="Read all files, so that damage is noticed later.")
    ] = False,
    json: Json = False,
) -> None:
    """List the scenes under folders in a catalogue, and what is wrong with others beside it.

    Landsat Collection 2, Sentinel-2 SAFE, SPOT and Pleiades (DIMAP), USGS scans of Corona and
    Hexagon, GeoTIFFs with a day in their name (--sensor), and STAC items.

    Example: geoseg catalog scan archive/landsat archive/film --out catalog.parquet
    """
    from geoseg.files import require_no_folder
    from geoseg.scenes import problems_beside, scan_folders, write_problems, writing_catalog

    require_no_folder(out)
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"{folder} is no folder; name one that holds scenes.")
    ids: list[str] = []
    broken: list[BrokenEntry] = []
    sensors: Counter[tuple[str, int]] = Counter()
    with writing_catalog(out) as table, progress("Scanning") as advance:
        for step in scan_folders(folders, sensor=sensor, checksums=checksums):
            for entry in step.entries:
                table.add(entry)
                ids.append(entry.scene.id)
                sensors[entry.scene.sensor_id, entry.scene.start.year] += 1
            broken += step.broken
            advance(step.done, step.total, f"{len(ids)} scenes, {len(broken)} problems")
        write_problems(broken, problems_beside(out))
        _tell(broken)
        if not ids:
            raise ConfigError(
                f"{', '.join(map(str, folders))} holds no scene that can be read; "
                f"{problems_beside(out)} says what was found."
            )
    rows = [(name, str(year), str(count)) for (name, year), count in sorted(sensors.items())]
    figures = {
        "catalog": str(out),
        "scenes": ids,
        "broken": {entry.id: entry.reason for entry in broken},
        "problems": _counts(broken),
        "problems_table": str(problems_beside(out)),
    }
    title = f"{len(ids)} scenes in {out}"
    show(Outcome(figures, (Table(title, ("sensor", "year", "scenes"), rows),)), as_json=json)
    _exit_if_unreadable(broken)


@catalog_app.command("import")
def catalog_import(
    source: Annotated[
        str, typer.Argument(help="STAC: a catalogue, collection or items (.json), or an API.")
    ],
    out: Annotated[Path, typer.Option(help="The table to write.")] = Path("catalog.parquet"),
    bbox: Bbox = None,
    dates: Dates = None,
    collections: Annotated[
        str | None, typer.Option(help="Of the API, by comma: sentinel-2-l2a,landsat-c2-l2.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Take no more items.")] = None,
    json: Json = False,
) -> None:
    """Write the items of a STAC catalogue or API to a catalogue; nothing is downloaded.

    Example: geoseg catalog import https://earth-search.aws.element84.com/v1 --limit 50
        --collections sentinel-2-l2a --bbox 86,27,88,29 --dates 2020-09 --out found.parquet
    """
    from geoseg.files import require_no_folder
    from geoseg.scenes import problems_beside, write_problems
    from geoseg.scenes.stac_import import ApiSearch, import_items, items_of_api, items_of_file

    require_no_folder(out)
    search = ApiSearch(
        collections=tuple(name for name in (collections or "").split(",") if name),
        bbox=None if bbox is None else _corners(bbox),
        interval=_interval(dates),
        limit=limit,
    )
    if source.startswith(("http://", "https://")):
        items = items_of_api(source, search, out)
    elif search != ApiSearch():
        raise ConfigError(
            "--bbox, --dates, --collections and --limit are asked of an API; use `geoseg catalog "
            "search` on what was imported."
        )
    else:
        items = items_of_file(Path(source))
    broken: list[BrokenEntry] = []
    taken = 0
    with progress("Importing") as advance:
        for step in import_items(items, out):
            broken += [] if step.broken is None else [step.broken]
            taken = step.taken
            advance(step.done, step.done + 1, f"{len(broken)} problems")
    write_problems(broken, problems_beside(out))
    _tell(broken)
    figures = {
        "catalog": str(out),
        "scenes": taken,
        "problems": _counts(broken),
        "problems_table": str(problems_beside(out)),
    }
    table = Table("Imported", ("catalogue", "scenes"), [(str(out), str(taken))])
    show(Outcome(figures, (table,)), as_json=json)
    _exit_if_unreadable(broken)


@catalog_app.command("search")
def catalog_search(
    catalog: Annotated[Path, typer.Argument(help="Of `geoseg catalog scan`.")],
    out: Annotated[Path, typer.Option(help="The catalogue of what is found.")],
    bbox: Bbox = None,
    area: Annotated[
        Path | None, typer.Option(help="Polygons (GeoPackage, GeoJSON, Shapefile).")
    ] = None,
    dates: Dates = None,
    sensor: Annotated[
        list[str] | None, typer.Option(help="An id of `geoseg sensors list`. Repeatable.")
    ] = None,
    max_cloud: Annotated[
        float | None,
        typer.Option(help="Percent; scenes whose cloud cover is not known are left out."),
    ] = None,
    json: Json = False,
) -> None:
    """Find scenes by place, time, sensor and cloud; what is found is a catalogue again.

    Example: geoseg catalog search all.parquet --bbox 86,27,88,29 --dates 1960/1990 --out a.parquet
    """
    from geoseg.files import require_no_folder
    from geoseg.scenes import Query, search_catalog
    from geoseg.sensors import find_sensor

    require_no_folder(out)
    for name in sensor or []:
        find_sensor(name)
    if max_cloud is not None and not 0 <= max_cloud <= 100:
        raise ConfigError(
            f"--max-cloud {max_cloud:g} is no share of a scene; give 0 to 100 percent."
        )
    query = Query(
        area=_area(bbox, area),
        interval=_interval(dates),
        sensors=sensor or None,
        max_cloud_percent=max_cloud,
    )
    found = search_catalog(catalog, query, out)
    if found.cloud_unknown:
        note(f"{found.cloud_unknown} scenes whose cloud cover is not known are left out")
    rows = [(str(out), str(found.scenes), str(found.of))]
    figures = {"catalog": str(out), **found._asdict()}
    show(Outcome(figures, (Table("Found", ("catalogue", "scenes", "of"), rows),)), as_json=json)


@catalog_app.command("show")
def catalog_show(
    catalog: Annotated[Path, typer.Argument(help="Of `geoseg catalog scan`.")],
    json: Json = False,
) -> None:
    """Show what a catalogue holds: scenes by sensor and year, their time and place, problems.

    Example: geoseg catalog show catalog.parquet
    """
    from dataclasses import asdict

    from geoseg.scenes import problems_beside, read_problems, summarise

    summary = summarise(catalog)
    problems = _counts(read_problems(problems_beside(catalog)))
    figures = {"catalog": str(catalog), **asdict(summary), "problems": problems}
    place = "" if summary.bbox is None else ", ".join(f"{v:.2f}" for v in summary.bbox)
    time = f"{summary.first} to {summary.last}" if summary.first else ""
    tables = [
        Table(
            str(catalog),
            ("scenes", "time", "west, south, east, north"),
            [(str(summary.scenes), time, place)],
        ),
        Table("By sensor", ("sensor", "scenes"), _rows(summary.by_sensor.items())),
        Table("By year", ("year", "scenes"), _rows(summary.by_year.items())),
    ]
    if problems:
        tables.append(Table("Problems", ("kind", "files"), _rows(problems.items())))
    show(Outcome(figures, tables), as_json=json)


def _rows(counts: Iterable[tuple[object, int]]) -> list[tuple[str, str]]:
    return [(str(name), str(count)) for name, count in counts]


def _area(bbox: str | None, area: Path | None) -> Geometry | None:
    if bbox is not None and area is not None:
        raise ConfigError("Name the place once: --bbox or --area.")
    if area is not None:
        from geoseg.scenes.area import read_area

        return read_area(area)
    if bbox is None:
        return None
    from geoseg.scenes import area_of_bbox

    return area_of_bbox(_corners(bbox))


def _corners(bbox: str) -> tuple[float, float, float, float]:
    try:
        west, south, east, north = (float(part) for part in bbox.split(","))
    except ValueError:
        raise ConfigError(f"--bbox {bbox!r} is no box; write it as 86,27,88,29.") from None
    return west, south, east, north


def _interval(dates: str | None) -> Interval | None:
    from geoseg.dates import parse_interval

    return None if dates is None else parse_interval(dates)


def _tell(broken: Sequence[BrokenEntry]) -> None:
    for entry in broken[:_NAMED]:
        note(f"{entry.id} is left out: {entry.reason}")
    if len(broken) > _NAMED:
        note(f"{len(broken) - _NAMED} more are left out")


def _counts(broken: Iterable[BrokenEntry]) -> dict[str, int]:
    return dict(sorted(Counter(entry.kind.value for entry in broken).items()))


def _exit_if_unreadable(broken: Iterable[BrokenEntry]) -> None:
    from geoseg.scenes import ProblemKind

    if any(entry.kind is ProblemKind.UNREADABLE for entry in broken):
        raise typer.Exit(1)
