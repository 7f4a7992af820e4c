"""Averages over the cells around each cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["blurred"]

_CELLS = 5  # along each axis: 50 m, about a pixel of Landsat with its point spread


def blurred(cells: Tensor) -> Tensor:
    """Means of 5 x 5 cells (T, H, W), at the rim of those that there are."""
    mean = functional.avg_pool2d(
        cells[:, None], _CELLS, stride=1, padding=_CELLS // 2, count_include_pad=False
    )
    return mean[:, 0]
