"""Who does the work: this process, processes of this machine, or a Dask cluster."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from geoseg.errors import ConfigError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["KINDS", "LINES", "Engine", "require_lines", "seconds_of"]

KINDS = ("serial", "processes", "dask")
LINES = ("job_directives_skip", "job_extra_directives", "job_script_prologue")  # of a job of Slurm
# Of dask_jobqueue.SLURMCluster; the others follow from `workers` and `threads`.
_SLURM = (
    "account",
    "death_timeout",
    "interface",
    "job_directives_skip",
    "job_extra_directives",
    "job_script_prologue",
    "local_directory",
    "log_directory",
    "memory",
    "python",
    "queue",
    "walltime",
)
_DIRECTIVE = re.compile(r"--[a-z][a-z-]*(=\S.*)?")
_LEAST_BYTES = 10**6  # the unit of Slurm; less lacks its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Who does the work. A worker is a process that does one unit at a time.

    Workers of a scheduler that runs already are as they were started (`--nthreads 1` for one unit
    at a time), and `workers` and `threads` change nothing there.

    Raises:
        ConfigError: settings that do not go together, or Dask is not installed.
    """

    kind: str = "serial"  # serial, processes or dask
    workers: int = 1  # at most, where they come and go (Slurm)
    threads: int = 1  # of each worker, for numpy and torch; a serial run keeps those it has
    address: str | None = None  # of a running Dask scheduler, such as tcp://10.0.0.1:8786
    slurm: Mapping[str, Any] | None = None  # queue, memory, walltime... of one worker's job

    @classmethod
    def of_workers(cls, workers: int) -> Engine:
        """This process for one worker, processes of this machine for more.

        Raises:
            ConfigError: less than one.
        """
        return cls() if workers == 1 else cls(kind="processes", workers=workers)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"no engine {self.kind!r}. {nearest(self.kind, KINDS)}")
        for name in ("workers", "threads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"Engine has {name} = {getattr(self, name)}; give 1 or more.")
        if self.kind == "serial" and self.workers > 1:
            raise ConfigError(f"A serial engine has no {self.workers} workers; use processes.")
        self._check_dask()

    def _check_dask(self) -> None:
        if self.kind != "dask":
            if self.address is not None or self.slurm is not None:
                raise ConfigError(f"A {self.kind} engine takes no address and no slurm; use dask.")
            return
        if self.address is not None and self.slurm is not None:
            raise ConfigError("Give the engine an address or slurm, not both.")
        needed = ["distributed", "dask_jobqueue"] if self.slurm is not None else ["distributed"]
        if any(find_spec(name) is None for name in needed):
            raise ConfigError(
                "The engine dask is not installed; run pip install 'distributed>=2025.1' "
                "'dask-jobqueue>=0.9'."
            )
        if self.slurm is not None:
            _check_slurm(self.slurm)


def _check_slurm(slurm: Mapping[str, Any]) -> None:
    for name in slurm:
        if name not in _SLURM:
            raise ConfigError(f"no setting {name!r} of slurm. {nearest(name, _SLURM)}")
    if "memory" not in slurm:
        raise ConfigError("slurm has no memory; give that of one worker, such as memory: 8GB.")
    _check_memory(slurm["memory"])
    if "walltime" in slurm:
        seconds_of(slurm["walltime"])
    require_lines(slurm)


def require_lines(slurm: Mapping[str, Any]) -> None:
    """Refuse what would not be lines of a job of Slurm, or no options of its sbatch.

    Raises:
        ConfigError: no list of single lines, or an extra directive that is no option of sbatch.
    """
    for name in LINES:
        lines = slurm.get(name, [])
        if not isinstance(lines, list | tuple) or not all(map(_is_line, lines)):
            raise ConfigError(f"slurm has {name} = {lines!r}; give a list of single lines.")
    for line in slurm.get("job_extra_directives", []):
        if _DIRECTIVE.fullmatch(line) is None:
            raise ConfigError(
                f"slurm has job_extra_directives with {line!r}; give options of sbatch as "
                "--option=value or --option."
            )


def _is_line(line: object) -> bool:
    return isinstance(line, str) and "\n" not in line


def _check_memory(memory: object) -> None:
    """Refuse what Dask would stumble over when results are being written already."""
    from dask.utils import parse_bytes

    try:
        amount = parse_bytes(memory)  # type: ignore[arg-type]  # anything that YAML or JSON holds
    except (ValueError, OverflowError, AttributeError):
        amount = 0
    if amount < _LEAST_BYTES:
        raise ConfigError(f"slurm has memory = {memory!r}; give that of one worker, such as 8GB.")


def seconds_of(walltime: str) -> int:
    """The seconds of a time limit of Slurm: minutes, M:S, H:M:S, D-H, D-H:M or D-H:M:S.

    Raises:
        ConfigError: it is no such limit.
    """
    found = re.fullmatch(r"(?:(\d{1,9})-)?(\d{1,9})(?::(\d{1,9}))?(?::(\d{1,9}))?", str(walltime))
    if found is None:
        raise ConfigError(f"{walltime!r} is no time limit of Slurm; give one such as 04:00:00.")
    days, *rest = found.groups()
    parts = [int(part) for part in rest if part is not None]
    if days is None and len(parts) < 3:
        minutes, seconds = [*parts, 0][:2]
        return 60 * minutes + seconds
    hours, minutes, seconds = [*parts, 0, 0][:3]
    return 86400 * int(days or 0) + 3600 * hours + 60 * minutes + seconds
