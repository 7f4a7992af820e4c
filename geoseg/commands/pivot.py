"""`geoseg pivot`."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geoseg.commands.options import Json
from geoseg.errors import ConfigError
from geoseg.terminal import Outcome, Table, note, progress, show

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

    from geoseg.pivot.storage import StoredPivot
    from geoseg.scale import Summary
    from geoseg.scenes import Scene

__all__ = ["pivot_app"]

pivot_app = typer.Typer(
    no_args_is_help=True,
    help="Common variables of all sensors on one grid, on any day, with their uncertainty.",
)

Folder = Annotated[Path, typer.Argument(help="A folder of `geoseg pivot build`.")]
Dates = Annotated[
    str | None, typer.Option(help="2023-06-01, 2023-06 or 2023-05/2023-09; all that it rests on.")
]
Variables = Annotated[
    str | None, typer.Option(help="Some of them: red,nir,vv. All that are measured, if not given.")
]
At = Annotated[
    str | None, typer.Option(help="X,Y of a cell in the reference system of the pivot: its middle.")
]
Workers = Annotated[int, typer.Option(min=1, help="Processes that work.")]


@pivot_app.command("build")
def pivot_build(
    scenes: Annotated[
        Path, typer.Argument(help="A folder with STAC items (.json), or a catalogue (.parquet).")
    ],
    out: Annotated[Path, typer.Option(help="Gets pivot.zarr.")] = Path("out/pivot"),
    gsd: Annotated[float, typer.Option(help="Metres of a cell.", min=0.5)] = 10.0,
    like: Annotated[
        Path | None, typer.Option(help="A raster whose grid is taken; --gsd does not count then.")
    ] = None,
    dem: Annotated[
        Path | None, typer.Option(help="Elevation in metres, of any grid: adds the terrain.")
    ] = None,
    variables: Variables = None,
    workers: Workers = 1,
    json: Json = False,
) -> None:
    """Fuse scenes of all sensors to a pivot; what was stopped is gone on with.

    The grid is the ground that all scenes show, if none is given.

    Example: geoseg pivot build out/year/scenes --out out/pivot
    """
    from geoseg.pivot.physical import PhysicalSettings
    from geoseg.pivot.storage import STORE, PivotPlan, build_pivot, common_grid, open_store
    from geoseg.scale import Engine

    found = _scenes(scenes)
    grid = common_grid(found, gsd) if like is None else _grid_of(like)
    settings = PhysicalSettings(variables=_names(variables))
    plan = PivotPlan(scenes=found, grid=grid, out=out, settings=settings, dem=dem)
    try:
        with progress("Blocks") as advance:
            summary = build_pivot(
                plan, Engine.of_workers(workers), lambda done, all_: advance(done, all_, ""), note
            )
    except KeyboardInterrupt:
        raise _stopped() from None
    store = open_store(out / STORE)
    figures = {
        "pivot": str(out / STORE),
        "grid": _described(store.grid),
        "variables": list(store.variables),
        "scenes": len(found),
        "blocks": summary.done + summary.skipped,
        "blocks_now": summary.done,
    }
    note(f"The pivot lies in {out / STORE}")
    rows = [
        (name, *_knots(store, name), f"{store.usual.spreads[name].sd.mean():.3g}")
        for name in store.variables
    ]
    table = Table(
        f"Pivot of {len(found)} scenes on {_described(store.grid)}",
        ("variable", "acquisitions", "first", "last", "sd about the climatology"),
        rows,
    )
    show(Outcome(figures, (table,)), as_json=json)
    _require_whole(summary)


@pivot_app.command("update")
def pivot_update(
    pivot: Folder,
    scenes: Annotated[
        Path, typer.Argument(help="A folder with STAC items (.json), or a catalogue (.parquet).")
    ],
    out: Annotated[Path, typer.Option(help="Gets the new pivot.zarr.")],
    workers: Workers = 1,
    json: Json = False,
) -> None:
    """Take further scenes into a pivot without building it anew; what was stopped is gone on with.

    Climatology and spread stay as they are: build anew when a year has gone by.

    Example: geoseg pivot update out/pivot out/new/scenes --out out/pivot-2
    """
    from geoseg.pivot.storage import STORE, UpdatePlan, update_pivot
    from geoseg.scale import Engine

    store = _open(pivot)
    found = _scenes(scenes)
    plan = UpdatePlan(store=store.folder, scenes=found, out=out)
    try:
        with progress("Blocks") as advance:
            summary = update_pivot(
                plan, Engine.of_workers(workers), lambda done, all_: advance(done, all_, "")
            )
    except KeyboardInterrupt:
        raise _stopped() from None
    note(f"The pivot lies in {out / STORE}")
    figures = {
        "pivot": str(out / STORE),
        "scenes": len(found),
        "blocks": summary.done + summary.skipped,
        "blocks_now": summary.done,
    }
    show(Outcome(figures), as_json=json)
    _require_whole(summary)


@pivot_app.command("query")
def pivot_query(
    pivot: Folder,
    dates: Dates = None,
    every: Annotated[float, typer.Option(help="Days from one date to the next.", min=0.01)] = 1.0,
    at: At = None,
    variables: Variables = None,
    out: Annotated[
        Path | None,
        typer.Option(help="A folder that gets cube.zarr, or a .tif of one date: all cells."),
    ] = None,
    workers: Workers = 1,
    json: Json = False,
) -> None:
    """Values on any dates: of one cell as a table, or of all cells as Zarr or GeoTIFF.

    Example: geoseg pivot query out/pivot --dates 2023-07-14 --out out/july.tif
    """
    from geoseg.pivot.storage import CubePlan, write_cube, write_geotiff
    from geoseg.scale import Engine

    store = _open(pivot)
    days = _days(store, dates, every)
    names = _names(variables)
    if out is None:
        show(_values(store, at, days, names), as_json=json)
        return
    if at is not None:
        raise ConfigError("--at names one cell and --out writes all of them; give one of the two.")
    figures = {"out": str(out), "dates": len(days), "variables": list(names or store.variables)}
    if out.suffix.lower() in {".tif", ".tiff"}:
        if len(days) != 1:
            raise ConfigError(
                f"A GeoTIFF takes one date and --dates names {len(days)}; name one, or give --out "
                "a folder."
            )
        write_geotiff(store, days[0], names, out)
        note(f"The map lies in {out}")
        show(Outcome(figures), as_json=json)
        return
    plan = CubePlan(store=store.folder, days=days, variables=names, out=out)
    try:
        with progress("Blocks") as advance:
            summary = write_cube(
                plan, Engine.of_workers(workers), lambda done, all_: advance(done, all_, "")
            )
    except KeyboardInterrupt:
        raise _stopped() from None
    note(f"The cube lies in {out / 'cube.zarr'}")
    show(Outcome(figures), as_json=json)
    _require_whole(summary)


@pivot_app.command("plot")
def pivot_plot(
    pivot: Folder,
    at: At = None,
    variables: Variables = None,
    dates: Dates = None,
    out: Annotated[Path | None, typer.Option(help="The picture: curve.png in the folder.")] = None,
    json: Json = False,
) -> None:
    """Draw the daily curve of a cell, its 90 % interval, and what each sensor measured.

    Example: geoseg pivot plot out/pivot --variables red,nir,swir1,vh
    """
    from geoseg.files import writing
    from geoseg.report.drawing import png_of
    from geoseg.report.pivot_curve import curve_figure

    picture = out or (pivot.parent if pivot.suffix == ".zarr" else pivot) / "curve.png"
    if picture.suffix.lower() != ".png":
        raise ConfigError(f"The picture is a PNG; give --out a name that ends in .png, not {out}.")
    store = _open(pivot)
    days = _days(store, dates, 1.0)
    part, (x, y) = _cell(store, at)
    posterior = store.posterior(part, store.held(_names(variables)))
    title = f"Cell at {x:.0f}, {y:.0f} ({_described(store.grid)})"
    figure = curve_figure(posterior, store.sources, days, title)
    with writing(picture) as aside:
        aside.write_bytes(png_of(figure))
    note(f"The picture lies in {picture}")
    show(Outcome({"picture": str(picture), "at": [x, y], "dates": len(days)}), as_json=json)


def _scenes(path: Path) -> tuple[Scene, ...]:
    from geoseg.scenes import read_catalog, scan_items

    if path.is_dir():
        found = scan_items(path, checksums=False)
    elif path.is_file():
        found = read_catalog(path)
    else:
        raise ConfigError(f"{path} is not there; name a folder with STAC items, or a catalogue.")
    for entry in found.broken:
        note(f"{entry.id} is left out: {entry.reason}")
    if not found.entries:
        raise ConfigError(f"{path} holds no scene that can be read.")
    return tuple(entry.scene for entry in found.entries)


def _grid_of(path: Path) -> GeoBox:
    from geoseg.grids import crs_of, raster_grid, require_metres
    from geoseg.scenes import open_raster

    with open_raster(path) as raster:
        grid = raster_grid(raster)
    require_metres(crs_of(grid), "Cells of the pivot")
    return grid


def _open(folder: Path) -> StoredPivot:
    from geoseg.pivot.storage import STORE, open_store

    return open_store(folder if folder.suffix == ".zarr" else folder / STORE)


def _days(store: StoredPivot, dates: str | None, every: float) -> tuple[float, ...]:
    """Noon of each day, UTC."""
    from geoseg.dates import parse_interval
    from geoseg.pivot.measurement.acquisition import days_of
    from geoseg.pivot.storage import daily

    if dates is None:
        first, last = days_of([store.sources[0].time, store.sources[-1].time])
        return daily(int(first) + 0.5, int(last) + 0.5, every)
    interval = parse_interval(dates)
    first, end = days_of([interval.start, interval.end])
    return daily(first + 0.5, end - 0.5, every)


def _cell(store: StoredPivot, at: str | None) -> tuple[tuple[slice, slice], tuple[float, float]]:
    height, width = (int(n) for n in store.grid.shape)
    row, column = height // 2, width // 2
    if at is not None:
        try:
            x, y = (float(part) for part in at.split(","))
        except ValueError:
            x = y = float("nan")
        if not (isfinite(x) and isfinite(y)):
            raise ConfigError(f"--at {at!r} is no place; write it as 500100,7199900.")
        left, top = ~store.grid.affine * (x, y)
        row, column = int(top // 1), int(left // 1)
        if not (0 <= row < height and 0 <= column < width):
            raise ConfigError(
                f"--at {at} lies beside the pivot, which is {_described(store.grid)}; name a place "
                "in it."
            )
    x, y = store.grid.affine * (column + 0.5, row + 0.5)
    return (slice(row, row + 1), slice(column, column + 1)), (float(x), float(y))


def _values(
    store: StoredPivot, at: str | None, days: tuple[float, ...], names: tuple[str, ...]
) -> Outcome:
    from geoseg.pivot.storage.arrays import times_of

    part, (x, y) = _cell(store, at)
    estimate = store.posterior(part, store.held(names)).at(days)
    ids = [one.id for one in store.sources]
    found: list[dict[str, Any]] = []
    for d, time in enumerate(times_of(days).astype("datetime64[m]")):
        for v, name in enumerate(estimate.variables):
            source = int(estimate.provenance[d, v, 0, 0])
            found.append(
                {
                    "time": f"{time}Z",
                    "variable": name,
                    "mean": float(estimate.mean[d, v, 0, 0]),
                    "sd": float(estimate.sd[d, v, 0, 0]),
                    "validity": float(estimate.validity[d, v, 0, 0]),
                    "age_days": float(estimate.age_days[d, v, 0, 0]),
                    "nearest": ids[source] if source >= 0 else None,
                    "climatology_only": bool(estimate.climatology[d, v, 0, 0]),
                }
            )
    rows = [
        (
            f"{one['time'][:10]} {one['variable']}",
            f"{one['mean']:.4f}",
            f"{one['sd']:.4f}",
            f"{one['validity']:.2f}",
            f"{one['age_days']:.1f}",
            str(one["nearest"] or "none"),
        )
        for one in found
    ]
    columns = ("date and variable", "mean", "sd", "validity", "age (days)", "nearest acquisition")
    return Outcome(
        {"at": [x, y], "values": found}, (Table(f"Cell at {x:.0f}, {y:.0f}", columns, rows),)
    )


def _names(text: str | None) -> tuple[str, ...]:
    from geoseg.pivot.measurement.variables import find_variable
    from geoseg.views import TERRAIN

    if text is None:
        return ()
    # A name that is given twice, or a comma too many, asks for nothing more.
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not names:
        raise ConfigError("--variables names none; write them as red,nir,vv.")
    for name in names:
        if name in TERRAIN:
            raise ConfigError(
                f"{name!r} is terrain, which is not chosen: `geoseg pivot build --dem` adds all of "
                "it, and cubes of `geoseg pivot query` hold it."
            )
        find_variable(name)
    return names


def _knots(store: StoredPivot, name: str) -> tuple[str, str, str]:
    days = store.knot_times(name)
    return str(len(days)), str(days[0])[:10], str(days[-1])[:10]


def _described(grid: GeoBox) -> str:
    from geoseg.grids import describe_grid

    return describe_grid(grid)


def _stopped() -> typer.Exit:
    note("Stopped. Run the same command again to go on.")
    return typer.Exit(130)


def _require_whole(summary: Summary) -> None:
    for failure in summary.failed:
        note(f"Block {failure.name} failed: {failure.error}")
    if summary.failed:
        raise typer.Exit(1)
