"""`geoseg presence outline`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from geoseg.commands.options import Device, Json
from geoseg.commands.presence.missing import note_missing_shards
from geoseg.terminal import Outcome, Table, note, progress, show

__all__ = ["outline"]

_SHOWN = 5  # problems


def outline(
    pack: Annotated[Path, typer.Argument(help="A folder that `geoseg presence pack` wrote.")],
    model: Annotated[Path, typer.Option(help="The model.safetensors of a classifier.")],
    results: Annotated[
        Path | None,
        typer.Option(help="Of `presence predict`, by this model: only what it decided is read."),
    ] = None,
    out: Annotated[Path, typer.Option(help="The GeoPackage to write.")] = Path("evidence.gpkg"),
    batch: Annotated[int, typer.Option(help="Images that the network sees at once.", min=1)] = 128,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Outline where in its images a place is said to hold it (class activation maps).

    Images are taken to lie north up around the position of their place. Places without a position
    are left out and counted. What cannot be read is named; the exit code is then 1. A second layer,
    growth, tells how the area grew where several dates show all of it.

    Example: geoseg presence outline out/pack --model out/run/model.safetensors --results out/found
    """
    from geoseg.presence.evidence_outlines import OutlineRequest, write_evidence_outlines

    request = OutlineRequest(
        pack=pack, model=model, results=results, device=device, most_images=batch
    )
    try:
        with progress("Outlining") as advance:
            made = write_evidence_outlines(
                request, out, lambda done, total: advance(done, total, "shards")
            )
    except KeyboardInterrupt:
        note("Stopped; nothing was written. Run the same command again.")
        raise typer.Exit(130) from None
    for problem in made.first_problems[:_SHOWN]:
        note(f"{problem.key}: {problem.reason}")
    if made.unplaced:
        note(f"{made.unplaced} places are left out: nobody knows where they lie")
    if made.not_grown:
        note(
            f"{made.not_grown} places have outlines and several dates, and no growth is told of "
            "them: on fewer than two dates all of it is outlined and neither hidden nor at the "
            "edge of the image"
        )
    if results is not None:
        note_missing_shards(results)
    note(f"The outlines lie in {out}")
    figures = {"evidence": str(out), **asdict(made)}
    rows = [
        ("places said to hold it", str(made.places)),
        ("of these with an outline", str(made.outlined)),
        ("outlines", str(made.outlines)),
        ("with a growth over dates", str(made.grown)),
        ("with several dates and no growth", str(made.not_grown)),
        ("without a position", str(made.unplaced)),
        ("problems", str(made.problems)),
    ]
    table = Table("Evidence in images of these places", ("what", "number"), rows)
    show(Outcome(figures, (table,)), as_json=json)
    if made.problems:
        raise typer.Exit(1)
