"""`geoseg presence score`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geoseg.commands.options import Json
from geoseg.terminal import Outcome, Table, note, progress, show

__all__ = ["score"]


def score(
    rows: Annotated[Path, typer.Argument(help="Folder that `geoseg presence embed` wrote.")],
    model: Annotated[Path, typer.Option(help="The model.safetensors that made the rows.")],
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("out/presence"),
    head: Annotated[
        Path | None,
        typer.Option(help="A head of `geoseg presence head`, instead of that of the model."),
    ] = None,
    prevalence: Annotated[
        float | None,
        typer.Option(
            help="Share of places that hold it here, for the probability; decisions stay. That of "
            "the model if none."
        ),
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes on this machine.")] = 1,
    json: Json = False,
) -> None:
    """Score all places of a set of rows, each with all of its images: no image is read again.

    What was stopped is gone on with by the same command.

    Example: geoseg presence score out/rows --model model.safetensors --out out/presence
    """
    from geoseg.presence.rows.score import ScoreJob, score_rows
    from geoseg.scale import Engine

    job = ScoreJob(rows=rows, model=model, out=out, head=head, prevalence=prevalence)
    engine = Engine.of_workers(workers)
    try:
        with progress("Scoring") as advance:
            scored = score_rows(
                job, engine=engine, on_done=lambda done, total: advance(done, total, "")
            )
    except KeyboardInterrupt:
        note("Stopped. Run the same command again to go on.")
        raise typer.Exit(130) from None
    for failure in scored.failed:
        note(f"{failure.name} failed: {failure.error}")
    if not scored.calibrated:
        note("The model has no calibration: probabilities are the sigmoid of its logits.")
    note(f"The results lie in {out}")
    figures = {
        "places": scored.places,
        "images": scored.images,
        "decided": scored.decided,
        "expected": scored.expected,
        "threshold": scored.threshold,
        "calibrated": scored.calibrated,
        "failed": [failure.name for failure in scored.failed],
    }
    lines = [(name, f"{figures[name]:,}") for name in ("places", "images", "decided")]
    show(Outcome(figures, (Table("Scored", ("what", "much"), lines),)), as_json=json)
    if scored.failed:
        raise typer.Exit(1)
