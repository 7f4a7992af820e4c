"""`geoseg presence embed`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geoseg.commands.options import Bands, Date, Device, Json, Sensor
from geoseg.terminal import Outcome, Table, note, progress, show

if TYPE_CHECKING:
    from geoseg.presence.rows.embed import Embedded

__all__ = ["embed"]


def embed(
    model: Annotated[Path, typer.Option(help="A model.safetensors of presence.")],
    scene: Annotated[
        Path | None, typer.Option(help="An image: a STAC item (.json) or a raster file.")
    ] = None,
    scenes: Annotated[
        Path | None, typer.Option(help="A catalogue of scenes: STAC GeoParquet.")
    ] = None,
    sensor: Sensor = None,
    bands: Bands = None,
    date: Date = None,
    out: Annotated[Path, typer.Option(help="Folder of the rows; scenes add to it.")] = Path(
        "out/rows"
    ),
    spacing_m: Annotated[
        float, typer.Option(help="Between places, which lie on one grid for the whole Earth.")
    ] = 320.0,
    chip_m: Annotated[
        float, typer.Option(help="Side of what is looked at around a place; chips overlap.")
    ] = 640.0,
    min_valid: Annotated[
        float, typer.Option(help="Share of a chip that has to be valid, else it makes no row.")
    ] = 0.5,
    workers: Annotated[
        int, typer.Option(help="Processes on this machine, each with one scene and one thread.")
    ] = 1,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Look at every place that scenes show, once, and keep a row of a few bytes: no chip is a file.

    What was stopped is gone on with by the same command; scenes may be added later. A scene that
    fails is reported and passed over; the exit code is then 1.

    Example: geoseg presence embed --model model.safetensors --scenes 2020.parquet --out out/rows
    """
    from dataclasses import asdict

    from geoseg.archive import find_scenes
    from geoseg.presence.rows.embed import EmbedJob, embed_scenes
    from geoseg.scale import Engine, Failure
    from geoseg.scenes import BrokenEntry, Scene

    names = None if bands is None else [name.strip() for name in bands.split(",")]
    described = {"sensor": sensor, "bands": names, "date": date}
    listed = list(find_scenes(scene, scenes, described))
    job = EmbedJob(
        model=model,
        scenes=tuple(one for one in listed if isinstance(one, Scene)),
        out=out,
        spacing_m=spacing_m,
        chip_m=chip_m,
        least_valid=min_valid,
        device=device,
    )
    engine = Engine.of_workers(workers)
    try:
        with progress("Embedding") as advance:
            embedded = embed_scenes(
                job, engine=engine, on_done=lambda done, total: advance(done, total, "")
            )
    except KeyboardInterrupt:
        note("Stopped. Run the same command again to go on.")
        raise typer.Exit(130) from None
    unreadable = (Failure(one.id, one.reason, 1) for one in listed if isinstance(one, BrokenEntry))
    failed = (*unreadable, *embedded.failed)
    for failure in failed:
        note(f"{failure.name} failed and is passed over: {failure.error}")
    note(f"The rows lie in {out}")
    figures = {
        "rows": embedded.rows,
        "without_valid": embedded.without,
        "units": embedded.units,
        "skipped": embedded.skipped,
        "cut_off": embedded.cut_off,
        "seconds": embedded.seconds,
        "failed": [asdict(failure) for failure in failed],
    }
    show(Outcome(figures, (_table(embedded),)), as_json=json)
    if failed:
        raise typer.Exit(1)


def _table(embedded: Embedded) -> Table:
    rows = [
        ("rows", f"{embedded.rows:,}"),
        ("images with too little valid", f"{embedded.without:,}"),
        *((f"{kind}, s", f"{seconds:.1f}") for kind, seconds in embedded.seconds.items()),
    ]
    return Table(f"Embedded {embedded.units} parts of scenes", ("what", "much"), rows)
