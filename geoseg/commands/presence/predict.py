"""`geoseg presence predict`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geoseg.commands.options import Device, Json
from geoseg.terminal import Outcome, Table, note, progress, show

if TYPE_CHECKING:
    from geoseg.presence.predict import Predicted
    from geoseg.scale import Engine

__all__ = ["predict"]

_SHOWN = 5  # problems; all are in problems.csv
_LISTS = ("job_directives_skip", "job_extra_directives", "job_script_prologue")  # of a job of Slurm


def predict(
    pack: Annotated[Path, typer.Argument(help="A folder that `geoseg presence pack` wrote.")],
    model: Annotated[Path, typer.Option(help="The model.safetensors of a classifier.")],
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("out/presence"),
    executor: Annotated[str, typer.Option(help="serial, processes or dask.")] = "serial",
    workers: Annotated[int, typer.Option(help="Processes that work.", min=1)] = 1,
    address: Annotated[
        str | None, typer.Option(help="Of a running Dask scheduler: tcp://10.0.0.1:8786.")
    ] = None,
    slurm: Annotated[
        str | None,
        typer.Option(
            help="With dask, the job of one worker: queue=gpu,memory=16GB,walltime=04:00:00, or "
            "the same as a JSON object; threads is that of a worker."
        ),
    ] = None,
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
    engine = _engine(executor, workers, address, slurm)
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


def _engine(executor: str, workers: int, address: str | None, slurm: str | None) -> Engine:
    """Who does the work; processes share the cores of this machine between them, jobs do not."""
    import os

    from geoseg.scale import Engine

    job = None if slurm is None else _job(slurm)
    threads = max(1, len(os.sched_getaffinity(0)) // workers)
    if job is not None:
        threads = _whole(job.pop("threads", 1))
    return Engine(kind=executor, workers=workers, threads=threads, address=address, slurm=job)


def _job(text: str) -> dict[str, Any]:
    """The settings of the job of a worker, from a JSON object or from key=value,key=value."""
    job = _of_json(text) if text.lstrip().startswith("{") else _of_pairs(text)
    return {k: [v] if k in _LISTS and isinstance(v, str) else v for k, v in job.items()}


def _of_json(text: str) -> dict[str, Any]:
    from json import JSONDecodeError, loads

    from geoseg.errors import ConfigError

    try:
        return dict(loads(text))
    except JSONDecodeError as error:
        raise ConfigError(f"--slurm is no JSON object ({error}); check it.") from error


def _of_pairs(text: str) -> dict[str, str]:
    from geoseg.errors import ConfigError

    pairs = [pair.partition("=") for pair in text.split(",")]
    for name, sign, value in pairs:
        if not (name.strip() and sign and value.strip()):
            raise ConfigError(
                f"--slurm says {name + sign + value!r}; give settings as memory=16GB,queue=gpu, or "
                "a JSON object."
            )
    return {name.strip(): value.strip() for name, _, value in pairs}


def _whole(threads: object) -> int:
    from geoseg.errors import ConfigError

    try:
        return int(str(threads))
    except ValueError as error:
        raise ConfigError(f"--slurm has threads = {threads!r}; give 1 or more.") from error


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
