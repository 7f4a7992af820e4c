"""`geoseg presence queue`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geoseg.commands.options import Json
from geoseg.commands.presence.missing import note_missing_shards
from geoseg.terminal import Outcome, Table, note, progress, show

__all__ = ["queue"]


def queue(
    results: Annotated[Path, typer.Argument(help="Folder that `geoseg presence predict` wrote.")],
    out: Annotated[
        Path, typer.Option(help="The Parquet to write; a GeoPackage lies beside it.")
    ] = Path("queue.parquet"),
    count: Annotated[int, typer.Option(help="Places to look at.")] = 500,
    strategy: Annotated[
        str,
        typer.Option(
            help="mixed (six tenths surest, three most doubtful), surest, doubtful or audit; a "
            "tenth at least is a random audit."
        ),
    ] = "mixed",
    apart_m: Annotated[
        float, typer.Option(help="Metres between places that are picked; 0 where it is no matter.")
    ] = 500.0,
    seed: Annotated[int, typer.Option(help="Of the audit: another one draws other places.")] = 0,
    json: Json = False,
) -> None:
    """Say which places a person should look at next, with why and in which order.

    Places of the audit have their chance to be drawn beside them (inclusion_probability), so that
    all places can be counted from those that were looked at.

    Example: geoseg presence queue out/presence --count 200 --out queue.parquet
    """
    from geoseg.errors import ConfigError, nearest
    from geoseg.presence.queue import QueueSettings, Strategy, make_queue, write_queue
    from geoseg.report.presence_layer import write_queue_layer
    from geoseg.report.presence_results import read_about, result_batches

    known = [kind.value for kind in Strategy]
    if strategy not in known:
        raise ConfigError(f"There is no strategy {strategy!r}. {nearest(strategy, known)}")
    if out.suffix != ".parquet":
        raise ConfigError(f"{out} is no name of a queue; let it end in '.parquet'.")
    settings = QueueSettings(
        threshold=read_about(results).rule.threshold,
        count=count,
        strategy=Strategy(strategy),
        apart_m=apart_m,
        seed=seed,
    )
    note_missing_shards(results)
    try:
        with progress("Reading") as advance:
            batches = result_batches(results, lambda done, total: advance(done, total, "places"))
            made = make_queue(batches, settings)
    except KeyboardInterrupt:
        note("Stopped; nothing was written. Run the same command again.")
        raise typer.Exit(130) from None
    write_queue(out, made.rows)
    layer = out.with_suffix(".gpkg")
    write_queue_layer(layer, made.rows)
    note(f"The queue is {out}; {layer} shows it in QGIS")
    kinds = {why: int((made.rows["why"] == why).sum()) for why in ("surest", "doubtful", "audit")}
    told = {"queue": str(out), "geopackage": str(layer), "places": made.places}
    rows = [(why, str(number)) for why, number in kinds.items()]
    table = Table(f"{len(made.rows)} of {made.places} places", ("why", "places"), rows)
    show(Outcome({**told, "unscored": made.unscored, **kinds}, (table,)), as_json=json)
