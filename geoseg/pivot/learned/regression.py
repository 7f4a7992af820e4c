"""Local regression in time: a line through what is near, of each cell for itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["regression"]

_NEAR_DAYS = 10.0
_FAR_DAYS, _FAR = 90.0, 1e-3  # so that a cell that is not seen for long still has a value
_RIDGE_DAYS = 5.0


def regression(
    days: Tensor, values: Tensor, weight: Tensor, at: Tensor, *, apart: bool = False
) -> Tensor:
    """Cells (Q, H, W) on other days.

    Args:
        days: (T,) of the values.
        values: (T, H, W), any number where the weight is 0.
        weight: (T, H, W), 0 where nothing is known.
        at: (Q,) days that are asked for.
        apart: the days that are asked for are those of the values, and each is without its own.
    """
    gap = (days[None, :] - at[:, None]).to(values.dtype)
    near = torch.exp(-gap.abs() / _NEAR_DAYS) + _FAR * torch.exp(-gap.abs() / _FAR_DAYS) + 1e-7
    if apart:
        near = near.fill_diagonal_(0.0)
    known = values * weight
    s0 = _sums(near, weight).clamp_min(1e-20)
    middle, spread = _sums(near * gap, weight) / s0, _sums(near * gap**2, weight) / s0
    level, slant = _sums(near, known) / s0, _sums(near * gap, known) / s0
    variance = (spread - middle**2).clamp_min(0)
    # Far from all that is known, a line leads anywhere: the slope is shrunk.
    slope = (slant - middle * level) / (variance + _RIDGE_DAYS**2 + middle**2)
    return level - slope * middle


def _sums(kernel: Tensor, cells: Tensor) -> Tensor:
    sums: Tensor = torch.tensordot(kernel, cells, dims=1)
    return sums
