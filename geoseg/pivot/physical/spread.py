"""How much and how fast ground wanders about its climatology, learned from what was measured.

Of a few spreads and time scales, those are taken under which looks that were held out are likeliest
(Gneiting and Raftery 2007, on the logarithmic score), so that intervals cover what they promise on
ground like this.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from geoseg.pivot.physical.smoothing import held_out_score
from geoseg.pivot.physical.wander import REGION_M, Process, Wander

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from geoseg.pivot.measurement.looks import Look
    from geoseg.pivot.physical.climatology import Series

__all__ = ["Spread", "held_out", "likeliest_spread", "process_of", "sd_by_class"]

_DETAIL = 0.4  # of the variance
_FACTORS = (0.5, 1.0, 2.0, 4.0)
_TIMES_DAYS = (150.0, 50.0, 400.0)
_EVERY = 4  # looks, of which one is held out
_FEW = 6  # looks, of which none can be held out
_LEAST_SD = {"reflectance": 0.005, "backscatter": 0.2}
_USUAL_SD = {"reflectance": 0.05, "backscatter": 1.5}


class Spread(NamedTuple):
    """Of one variable."""

    sd: NDArray[np.float32]  # (K,) by class, of detail and region together
    days: float


def sd_by_class(
    beyond: Series, labels: NDArray[np.int64], *, classes: int, kind: str
) -> NDArray[np.float32]:
    """Standard deviation (K,) of values less their climatology, noise and all.

    Args:
        beyond: of cells (H, W).
        labels: class (H, W) of each cell.
        classes: number of them.
        kind: reflectance or backscatter.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of cells that show nothing
        square = np.nanmean(beyond.values.astype(np.float64) ** 2, axis=0)
    known = np.isfinite(square)
    whole = square[known].mean() if known.any() else _USUAL_SD[kind] ** 2
    of_class = [known & (labels == k) for k in range(classes)]
    squares = [square[here].mean() if here.any() else whole for here in of_class]
    bounded = np.clip(squares, whole / 4, whole * 4)
    return np.asarray(np.maximum(np.sqrt(bounded), _LEAST_SD[kind]), dtype=np.float32)


def held_out(looks: Sequence[Look]) -> tuple[list[Look], list[Look]]:
    """Looks of one variable, in order, and those of them that are held out: none of a few."""
    if len(looks) < _FEW:
        return list(looks), []
    return [look for k, look in enumerate(looks) if k % _EVERY != 1], list(looks[1::_EVERY])


def likeliest_spread(
    seen: Sequence[Look],
    hidden: Sequence[Look],
    usual: Callable[[float], Tensor],
    classes: Tensor,
    sd: NDArray[np.float32],
    kind: str,
) -> Spread:
    """By looks held out of a sample of the ground.

    Args:
        seen: looks of one variable, in order.
        hidden: those that are to be told.
        usual: climatology (H, W) on a day.
        classes: (H, W) of the cells.
        sd: (K,) of `sd_by_class`.
        kind: reflectance or backscatter.
    """
    start = Spread(sd, _TIMES_DAYS[0])
    if not hidden or not seen:
        return Spread(np.maximum(sd, _USUAL_SD[kind]).astype(np.float32), start.days)

    def score(one: Spread) -> float:
        return held_out_score(seen, hidden, usual, process_of(one, classes))

    best = max((Spread(sd * np.float32(f), start.days) for f in _FACTORS), key=score)
    return max((Spread(best.sd, days) for days in _TIMES_DAYS), key=score)


def process_of(spread: Spread, classes: Tensor) -> Process:
    """The process of cells of classes (H, W)."""
    sd = torch.from_numpy(spread.sd)[classes]
    return Process(
        detail=Wander(sd=_DETAIL**0.5 * sd, days=spread.days),
        region=Wander(sd=(1 - _DETAIL) ** 0.5 * sd, days=spread.days),
        region_m=REGION_M,
    )
