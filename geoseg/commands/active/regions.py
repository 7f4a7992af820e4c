"""`geoseg active regions`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geoseg.commands.options import Json
from geoseg.terminal import Outcome, Table, note, progress, show

__all__ = ["regions"]


def regions(
    map_: Annotated[
        Path,
        typer.Argument(
            metavar="MAP",
            help="Folder that `geoseg predict` wrote, or its probability.tif or uncertainty.tif.",
        ),
    ],
    window_m: Annotated[float, typer.Option(help="Side of a window in metres.")],
    count: Annotated[int, typer.Option(help="Windows to label.")] = 20,
    score: Annotated[
        str,
        typer.Option(help="entropy, rare (much of what is expected of rare classes) or mixture."),
    ] = "mixture",
    rare: Annotated[
        str, typer.Option(help="Rare classes: debris,lake; all but the ground if not given.")
    ] = "",
    out: Annotated[Path, typer.Option(help="The GeoPackage to write.")] = Path("windows.gpkg"),
    done: Annotated[
        list[Path] | None,
        typer.Option(help="A GeoPackage of a round before; its windows are not chosen again."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the audit: another one draws others.")] = 0,
    json: Json = False,
) -> None:
    """Say which windows of a map to outline next: doubtful or rich in rare classes, and unlike.

    A tenth are drawn at random, with their chance to be drawn beside them (inclusion). QGIS opens
    the GeoPackage with a list of answers for each window, and a layer to draw outlines into. A
    recipe learns from them by `labels: {path: windows.gpkg, layer: outlines, inside: windows}`.

    Example: geoseg active regions out/maps/scene --window-m 1280 --count 20 --out windows.gpkg

    Example: geoseg active regions out/maps/scene --window-m 1280 --done windows.gpkg --out b.gpkg
    """
    from typing import cast

    from geoseg.active.acquire.regions import RegionScore, RegionSettings, choose_regions
    from geoseg.active.acquire.windows import map_of, measure_windows
    from geoseg.errors import ConfigError
    from geoseg.inventory.storage.geopackage import check_geopackage_path
    from geoseg.report.region_layer import read_windows, require_untouched, write_region_layers

    wanted = tuple(name.strip() for name in rare.split(",") if name.strip())
    settings = RegionSettings(count=count, score=cast("RegionScore", score), rare=wanted, seed=seed)
    check_geopackage_path(out)
    before = [read_windows(path) for path in done or []]
    require_untouched(out)
    if out.resolve() in {path.resolve() for path in done or []}:
        raise ConfigError(f"{out} is of a round before; name another file for --out.")
    source = map_of(map_)
    try:
        with progress("Reading") as advance:
            windows = measure_windows(
                source,
                window_m=window_m,
                on_block=lambda done, total: advance(done, total, "blocks"),
            )
    except KeyboardInterrupt:
        note("Stopped; nothing was written. Run the same command again.")
        raise typer.Exit(130) from None
    found = choose_regions(windows, settings, done=before)
    write_region_layers(out, found.windows, windows.classes[1:])
    kinds = {why: int((found.windows["why"] == why).sum()) for why in ("doubtful", "rare", "audit")}
    told = {"map": str(source), "windows": str(out), "eligible": found.eligible}
    rows = [(why, str(number)) for why, number in kinds.items()]
    table = Table(
        f"{len(found.windows)} of {found.eligible} windows are in {out}", ("why", "windows"), rows
    )
    show(Outcome({**told, "left_out": found.left_out, **kinds}, (table,)), as_json=json)
