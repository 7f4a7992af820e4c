"""How the processes of a training on several devices are started."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from geoseg.errors import ConfigError, ModelError, nearest
from geoseg.scale.engine import require_lines
from geoseg.scale.processes import with_threads

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["RESTARTS", "Fleet", "run_ranks"]

# The death of a rank may be met as that of a second one while all start again: one is too few.
RESTARTS = 3
_LAUNCHERS = ("local", "slurm", "rank")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The devices of a training and what starts a process for each.

    Raises:
        ConfigError: settings that do not go together.
    """

    devices: int = 1  # of a node; on a CPU processes
    nodes: int = 1
    launcher: str = "local"  # local, slurm, or rank: this process is one of those that were started
    job: Mapping[str, Any] | None = None  # of Slurm: queue, memory, walltime...
    dry_run: bool = False  # write the job and do not submit it

    def __post_init__(self) -> None:
        if self.launcher not in _LAUNCHERS:
            raise ConfigError(
                f"no launcher named {self.launcher!r}. {nearest(self.launcher, _LAUNCHERS)}"
            )
        if self.launcher == "local" and self.nodes > 1:
            raise ConfigError(
                f"--nodes {self.nodes} takes processes on other machines; add --launcher slurm."
            )
        require_lines(self.job or {})
        if self.dry_run and self.launcher != "slurm":
            raise ConfigError("--dry-run shows the job of --launcher slurm; add it.")

    @property
    def is_rank(self) -> bool:
        """Whether this process is one of several that train."""
        return self.launcher == "rank"

    @property
    def starts_ranks(self) -> bool:
        """Whether processes are started on this machine."""
        return self.launcher == "local" and self.devices > 1

    @property
    def count(self) -> int:
        """The devices of all nodes."""
        return self.devices * self.nodes

    def require_here(self, kind: torch.device) -> None:
        """Refuse more GPUs than this machine has.

        Raises:
            ConfigError: there are fewer.
        """
        if kind.type == "cuda" and self.devices > (there := torch.cuda.device_count()):
            raise ConfigError(f"--devices {self.devices}, and this machine has {there} GPUs.")

    @property
    def options(self) -> list[str]:
        """What tells a process that it is a rank of these."""
        named = {"devices": self.devices, "nodes": self.nodes, "launcher": "rank"}
        return [word for name, value in named.items() for word in (f"--{name}", str(value))]


def run_ranks(command: Sequence[str], *, devices: int, logs: Path) -> None:
    """Run a command once for each device of this machine, until all of them are done.

    By torchrun's agent: when a process dies all are started again, at most three times, to go on
    from the last checkpoint. The first one prints to the terminal, the others into files.

    Args:
        command: of a rank.
        devices: how many.
        logs: folder for what the others print.

    Raises:
        ModelError: they failed for good.
    """
    cores = max(1, len(os.sched_getaffinity(0)) // devices)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=devices,
        run_id="ranks",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=RESTARTS,
        logs_specs=DefaultLogsSpecs(
            log_dir=str(logs), redirects=dict.fromkeys(range(1, devices), Std.ALL)
        ),
    )
    # Ranks that start again must not find in the agent's store where those before them listened.
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    try:
        with with_threads(int(os.environ.get("OMP_NUM_THREADS", cores))):
            elastic_launch(config, command[0])(*command[1:])
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        raise ModelError(
            f"Rank {rank} of the training ended with exit code {failure.exitcode} after "
            f"{RESTARTS} restarts; what the ranks said lies above and in {logs}. Run again to go "
            "on from the last checkpoint."
        ) from error
    except SignalException as error:
        if error.sigval == signal.SIGINT:
            raise KeyboardInterrupt from error
        raise SystemExit(128 + error.sigval) from error
