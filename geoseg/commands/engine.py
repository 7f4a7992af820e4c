"""Who does the work of a command: options that several verbs share."""

from __future__ import annotations

import os
from json import loads
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geoseg.errors import ConfigError, nearest

if TYPE_CHECKING:
    from geoseg.scale import Engine

__all__ = ["Address", "Executor", "Slurm", "Workers", "engine_of", "slurm_job"]

Executor = Annotated[
    str | None,
    typer.Option(
        help="Who works: serial, processes, dask or slurm; processes where there are several "
        "--workers, if none is named."
    ),
]
Workers = Annotated[int, typer.Option(help="Processes that work.", min=1)]
Address = Annotated[
    str | None, typer.Option(help="Of a running Dask scheduler: tcp://10.0.0.1:8786.")
]
Slurm = Annotated[
    str | None,
    typer.Option(
        help="With dask, the job of one worker: queue=gpu,memory=16GB,walltime=04:00:00, or the "
        "same as a JSON object; threads is that of a worker."
    ),
]


def engine_of(executor: str | None, workers: int, address: str | None, slurm: str | None) -> Engine:
    """Who does the work; processes share the cores of this machine between them, jobs do not.

    `slurm` is written as an executor too: it is dask on jobs of Slurm.

    Raises:
        ConfigError: settings that do not go together.
    """
    from geoseg.scale.engine import KINDS, Engine

    if executor is None:
        executor = "serial" if workers == 1 else "processes"
    if executor not in (*KINDS, "slurm"):
        raise ConfigError(f"no executor {executor!r}. {nearest(executor, (*KINDS, 'slurm'))}")
    if executor == "slurm":
        if slurm is None:
            raise ConfigError(
                "--executor slurm needs the job of a worker; give --slurm memory=16GB,queue=gpu."
            )
        executor = "dask"
    job = None if slurm is None else slurm_job(slurm)
    threads = max(1, len(os.sched_getaffinity(0)) // workers)
    if job is not None:
        threads = _whole(job.pop("threads", 1))
    return Engine(kind=executor, workers=workers, threads=threads, address=address, slurm=job)


def slurm_job(text: str) -> dict[str, Any]:
    """The settings of a job of Slurm, from a JSON object or from key=value,key=value.

    Raises:
        ConfigError: it is neither.
    """
    from geoseg.scale.engine import LINES

    job = _of_json(text) if text.lstrip().startswith("{") else _of_pairs(text)
    return {k: [v] if k in LINES and isinstance(v, str) else v for k, v in job.items()}


def _of_json(text: str) -> dict[str, Any]:
    try:
        return dict(loads(text))
    # No JSONDecodeError: a number of more digits than Python takes.
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"--slurm is no JSON object ({error}); check it.") from error


def _of_pairs(text: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in text.split(",")]
    for name, sign, value in pairs:
        if not (name.strip() and sign and value.strip()):
            raise ConfigError(
                f"--slurm says {name + sign + value!r}; give settings as memory=16GB,queue=gpu, or "
                "a JSON object."
            )
    return {name.strip(): value.strip() for name, _, value in pairs}


def _whole(threads: object) -> int:
    try:
        return int(str(threads))
    except ValueError as error:
        raise ConfigError(f"--slurm has threads = {threads!r}; give 1 or more.") from error
