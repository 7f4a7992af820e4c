"""The running mean of weights, and the precision of a device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

__all__ = ["precision_of", "running_mean"]


def running_mean(decay: float) -> Callable[..., None]:
    """An exponential mean that forgets the beginning, which else is half of a short training.

    At first it is the mean with polynomially rising weights of Shamir and Zhang 2013.
    """

    def update(mean: list[Tensor], newest: list[Tensor], count: Tensor | int) -> None:
        done = float(count)
        get_ema_multi_avg_fn(min(decay, (1 + done) / (4 + done)))(mean, newest, count)

    return update


def precision_of(device: torch.device) -> Literal["32-true", "bf16-mixed", "16-mixed"]:
    """Mixed precision where the device is a GPU."""
    if device.type != "cuda":
        return "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
