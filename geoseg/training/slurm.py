"""The job of Slurm that trains on several devices and nodes."""

from __future__ import annotations

import re
import shlex
import subprocess
from typing import TYPE_CHECKING, Any

from geoseg.errors import ConfigError, nearest
from geoseg.scale.engine import LINES
from geoseg.scale.processes import THREADS
from geoseg.training.launch import RESTARTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from geoseg.training.launch import Fleet

__all__ = ["job_script", "submit_job"]

# By the names of dask-jobqueue, as for jobs that map.
_DIRECTIVES = {
    "account": "account",
    "memory": "mem",
    "queue": "partition",
    "walltime": "time",
}
_PLAIN = re.compile(r"[\w.:+=,@/\[\]-]+")


def job_script(
    command: Sequence[str],
    after: Sequence[str] | None,
    fleet: Fleet,
    *,
    gpus: bool,
    log: Path,
) -> str:
    """The text of a job: a task for each device, started again when one has died.

    Args:
        command: of a rank.
        after: what one process does when the network is trained; nothing when None.
        fleet: its `job` holds account, queue, memory (of a node), walltime, threads (of a task)
            and, as lists of lines, job_extra_directives, job_directives_skip and
            job_script_prologue.
        gpus: whether a device is a GPU.
        log: what all of them print, with %j for the number of the job.

    Raises:
        ConfigError: an unknown key, a value that is none, or a log that Slurm cannot write.
    """
    job = dict(fleet.job or {})
    threads = _plain("threads", job.pop("threads", 1))
    extra = {name: list(job.pop(name, ())) for name in LINES}
    directives = [
        "--job-name=geoseg-train",
        f"--nodes={fleet.nodes}",
        f"--ntasks-per-node={fleet.devices}",
        f"--cpus-per-task={threads}",
        *([f"--gpus-per-node={fleet.devices}"] if gpus else []),
        *_directives(job),
        f"--output={_quoted(log)}",
        "--open-mode=append",  # of a job that is queued again
        *extra["job_extra_directives"],
    ]
    skipped = extra["job_directives_skip"]
    lines = [
        "#!/bin/bash",
        *(f"#SBATCH {d}" for d in directives if not any(word in d for word in skipped)),
        "",
        *(f"export {name}={threads}" for name in (*THREADS, "SRUN_CPUS_PER_TASK")),
        *extra["job_script_prologue"],
        "",
        "# A rank that dies takes the others with it; all go on from the last checkpoint.",
        f"for attempt in {' '.join(map(str, range(1, RESTARTS + 2)))}; do",
        f"  srun --kill-on-bad-exit=1 {shlex.join(command)}",
        "  code=$?",
        "  case $code in 0|2) break ;; esac  # done, or wrong use",
        "done",
        '[ "$code" -eq 0 ] || exit "$code"',
        *([shlex.join(after)] if after is not None else []),
    ]
    return "\n".join(lines) + "\n"


def submit_job(script: Path) -> str:
    """Submit a job; its number.

    Raises:
        ConfigError: there is no Slurm here, or it refuses the job.
    """
    try:
        done = subprocess.run(
            ["sbatch", "--parsable", str(script)], capture_output=True, text=True, check=True
        )
    except FileNotFoundError as error:
        raise ConfigError(
            f"sbatch is not found here; submit {script} on a machine with Slurm."
        ) from error
    except subprocess.CalledProcessError as error:
        raise ConfigError(f"Slurm refuses {script}: {error.stderr.strip()}") from error
    return done.stdout.strip().split(";")[0]


def _directives(job: Mapping[str, Any]) -> list[str]:
    found = []
    for name, value in job.items():
        if name not in _DIRECTIVES:
            known = (*_DIRECTIVES, "threads", *LINES)
            raise ConfigError(f"--slurm has the unknown key {name!r}. {nearest(name, known)}")
        text = _plain(name, value)
        if name == "memory":
            text = re.sub("i?B$", "", text)  # sbatch knows 16G and no 16GB
        found.append(f"--{_DIRECTIVES[name]}={text}")
    return found


def _quoted(log: Path) -> str:
    """A file as sbatch reads it: quotes hold spaces and #, %% is a %, a backslash escapes a quote.

    A backslash in its name would also keep Slurm from writing the number of the job into it.
    """
    folder = str(log.parent)
    if "\\" in folder or "\n" in folder:
        raise ConfigError(
            f"Slurm writes no log into {folder!r}; train into a folder of another name."
        )
    path = f"{folder.replace('%', '%%')}/{log.name}"
    return '"' + path.replace('"', '\\"') + '"'


def _plain(name: str, value: object) -> str:
    """A value that is one word: a line of a job must not end early."""
    text = str(value).strip()
    if not _PLAIN.fullmatch(text):
        raise ConfigError(f"--slurm has {name} = {value!r}; give one word such as gpu or 16GB.")
    return text
