"""On what a network is trained: options of a recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from geoseg.commands.engine import slurm_job
from geoseg.errors import ConfigError

if TYPE_CHECKING:
    from geoseg.training import Fleet

__all__ = ["Devices", "DryRun", "Launcher", "Nodes", "fleet_of"]

Devices = Annotated[
    int, typer.Option(help="GPUs of a node that train together; processes on a CPU.", min=1)
]
Nodes = Annotated[int, typer.Option(help="Machines that train together.", min=1)]
Launcher = Annotated[
    str,
    typer.Option(
        help="What starts a process for each device: local, this machine; slurm, a job that "
        "--slurm describes (memory is that of a node); rank, something else: this is one of them."
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Write and print the job of Slurm; submit nothing.")
]


def fleet_of(devices: int, nodes: int, launcher: str, slurm: str | None, *, dry_run: bool) -> Fleet:
    """The devices to train on.

    Raises:
        ConfigError: settings that do not go together.
    """
    from geoseg.training import Fleet

    if launcher == "slurm" and slurm is None:
        raise ConfigError(
            "--launcher slurm needs the job; give --slurm queue=gpu,memory=16GB,walltime=04:00:00."
        )
    job = slurm_job(slurm) if launcher == "slurm" and slurm is not None else None
    return Fleet(devices=devices, nodes=nodes, launcher=launcher, job=job, dry_run=dry_run)
