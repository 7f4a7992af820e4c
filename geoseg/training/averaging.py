"""The running mean of weights, and what runs a training on one device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from torch.optim.swa_utils import get_ema_multi_avg_fn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lightning_fabric.loggers.logger import Logger
    from torch import Tensor

__all__ = ["fabric_alone", "precision_of", "running_mean"]


def running_mean(decay: float) -> Callable[..., None]:
    """An exponential mean that forgets the beginning, which else is half of a short training.

    At first it is the mean with polynomially rising weights of Shamir and Zhang 2013.
    """

    def update(mean: list[Tensor], newest: list[Tensor], count: Tensor | int) -> None:
        done = float(count)
        get_ema_multi_avg_fn(min(decay, (1 + done) / (4 + done)))(mean, newest, count)

    return update


def fabric_alone(device: torch.device, loggers: Sequence[Logger] = ()) -> Fabric:
    """What runs a training in this process alone, on a device that may be one of several.

    It looks for no other processes: within a job of Slurm Fabric would ask for srun.
    """
    return Fabric(
        accelerator=device.type,
        devices=1 if device.index is None else [device.index],
        precision=precision_of(device),
        loggers=[*loggers],
        plugins=[LightningEnvironment()],
    )


def precision_of(device: torch.device) -> Literal["32-true", "bf16-mixed", "16-mixed"]:
    """Mixed precision where the device is a GPU."""
    if device.type != "cuda":
        return "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
