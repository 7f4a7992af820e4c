"""`geoseg active init`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geoseg.commands.options import Device, Json
from geoseg.terminal import Outcome, Table, note, progress, show

if TYPE_CHECKING:
    from geoseg.active.sources import Source

__all__ = ["init"]

_SHOWN = 5  # problems


def init(
    folder: Annotated[Path, typer.Argument(help="Of the project; is made.")],
    pack: Annotated[
        Path | None, typer.Option(help="Label places of a pack: what `geoseg presence pack` wrote.")
    ] = None,
    rows: Annotated[
        Path | None, typer.Option(help="Label places of rows: what `geoseg presence embed` wrote.")
    ] = None,
    embeddings: Annotated[
        Path | None,
        typer.Option(
            help="Label items of a table (.parquet, .csv): item, lon, lat and embedding, or e0, e1."
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(help="Embeds the places of --pack; colours and textures do without one."),
    ] = None,
    classes: Annotated[
        str, typer.Option(help="Two or more; of two the first is the common one.")
    ] = "absent,present",
    seeds: Annotated[
        Path | None,
        typer.Option(help="Labels that are there: a table of item and said (or present)."),
    ] = None,
    gold: Annotated[
        Path | None,
        typer.Option(help="Items of known class, mixed in to measure who answers; as --seeds."),
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes that embed a pack.", min=1)] = 1,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Begin a project: a pool of items that could be labelled, and a record of who says what.

    What was stopped is gone on with by the same command; on a project that is there, it takes in
    further --seeds and --gold. A place that shows nothing is named and left out.

    Example: geoseg active init out/labelling --pack out/pack --model out/run/model.safetensors
    """
    from geoseg.active.start import Beginning, start_project
    from geoseg.scale import Engine

    source = _source(pack, rows, embeddings, model)
    names = tuple(name.strip() for name in classes.split(","))
    beginning = Beginning(source=source, classes=names, seeds=seeds, gold=gold)
    try:
        with progress("Reading") as advance:
            started = start_project(
                folder,
                beginning,
                Engine.of_workers(workers),
                device=device,
                on_part=lambda done, total: advance(done, total, ""),
            )
    except KeyboardInterrupt:
        note("Stopped. Run the same command again to go on.")
        raise typer.Exit(130) from None
    for problem in started.problems[:_SHOWN]:
        note(f"{problem.key}: {problem.reason}")
    if len(started.problems) > _SHOWN:
        note(f"{len(started.problems)} places are left out; --json names them")
    note(f"The project is {folder}; go on with `geoseg active propose {folder}`")
    figures = {
        "project": str(folder),
        "items": started.items,
        "width": started.width,
        "source": str(source),
        "classes": list(started.classes),
        "seeds": started.seeds,
        "gold": started.gold,
        "problems": [list(problem) for problem in started.problems],
    }
    told = [
        ("items", f"{started.items:,}"),
        ("numbers of an embedding", str(started.width)),
        ("classes", ", ".join(started.classes)),
        ("seeds that are new", str(started.seeds)),
        ("items of known class", str(started.gold)),
        ("left out", str(len(started.problems))),
    ]
    show(
        Outcome(figures, (Table(f"A pool of the {source}", ("what", "much"), told),)), as_json=json
    )


def _source(
    pack: Path | None, rows: Path | None, embeddings: Path | None, model: Path | None
) -> Source:
    from geoseg.active.sources import Kind, source_of
    from geoseg.errors import ConfigError

    options: dict[Kind, Path | None] = {"pack": pack, "rows": rows, "table": embeddings}
    given = [(kind, path) for kind, path in options.items() if path is not None]
    if len(given) != 1:
        raise ConfigError("Give one of --pack, --rows and --embeddings: what is to be labelled.")
    ((kind, path),) = given
    return source_of(kind, path, model)
