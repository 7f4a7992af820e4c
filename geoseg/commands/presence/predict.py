"""`geoseg presence predict`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geoseg.commands.engine import Address, Executor, Slurm, Workers, engine_of
from geoseg.commands.options import Device, Json
from geoseg.terminal import Outcome, Table, note, progress, show

if TYPE_CHECKING:
    from geoseg.presence.predict import Predicted

__all__ = ["predict"]

_SHOWN = 5  # problems; all are in problems.csv


def predict(
    pack: Annotated[Path, typer.Argument(help="A folder that `geoseg presence pack` wrote.")],
    model: Annotated[Path, typer.Option(help="The model.safetensors of a classifier.")],
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("out/presence"),
    executor: Executor = None,
    workers: Workers = 1,
    address: Address = None,
    slurm: Slurm = None,
    prevalence: Annotated[
        float | None,
        typer.Option(help="Share of places that hold it here: 1e-4. That of the model if none."),
    ] = None,
    batch: Annotated[int, typer.Option(help="Images that the network sees at once.", min=1)] = 128,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Say of each place of a pack how likely it holds what a model looks for.

    What was stopped is gone on with by the same command. A place or shard that cannot be read is
    named in problems.csv and passed over; the exit code is then 1.

    With --slurm each worker is a job; more of what its settings may be is in the documentation of
    dask_jobqueue.SLURMCluster.

    Example: geoseg presence predict out/pack --model out/run/model.safetensors --prevalence 1e-4
    """
    from geoseg.presence.predict import Prediction, beyond_training, predict_pack

    prediction = Prediction(
        pack=pack,
        model=model,
        out=out,
        device=device,
        most_images=batch,
        prevalence=prevalence,
    )
    engine = engine_of(executor, workers, address, slurm)
    for sentence in beyond_training(prediction):
        note(sentence)
    try:
        with progress("Predicting") as advance:
            predicted = predict_pack(
                prediction, engine, lambda done, total: advance(done, total, "shards")
            )
    except KeyboardInterrupt:
        note("Stopped. Run the same command again to go on.")
        raise typer.Exit(130) from None
    for problem in predicted.first_problems[:_SHOWN]:
        note(f"{problem.key}: {problem.reason}")
    if predicted.problems > _SHOWN:
        note(f"{predicted.problems} problems in all: see {out / 'problems.csv'}")
    show(_as_outcome(predicted, out), as_json=json)
    if predicted.problems:
        raise typer.Exit(1)


def _as_outcome(predicted: Predicted, out: Path) -> Outcome:
    figures = asdict(predicted)
    figures["first_problems"] = [list(problem) for problem in predicted.first_problems]
    rows = [
        ("places", str(predicted.places)),
        ("decided to hold it", str(predicted.decided)),
        ("expected to hold it", f"{predicted.expected:.1f}"),
        ("without a valid pixel", str(predicted.unseen)),
        ("problems", str(predicted.problems)),
    ]
    title = f"{predicted.shards_done} of {predicted.shards} shards in {out}"
    return Outcome({"results": str(out), **figures}, (Table(title, ("what", "number"), rows),))
