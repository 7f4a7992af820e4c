"""The fast route of a single sensor: each pixel for itself, measured where it lies.

Without a footprint and without neighbours a Kalman filter is a few sums of each pixel, done for all
pixels at once; a chain smooths it and answers for any day.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from geoseg.errors import SceneError
from geoseg.pivot.physical.assimilate import Belief
from geoseg.pivot.physical.chain import Chain, kept_and_fresh
from geoseg.pivot.physical.wander import Wander

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["errorless", "require_series", "smooth_series"]


def smooth_series(
    days: Sequence[float], values: Tensor, variances: Tensor, wander: Wander
) -> Chain:
    """A chain through all measurements of each pixel, with a knot on each day.

    Args:
        days: (T,), each later than the one before.
        values: (T, ...) less their climatology; NaN where nothing was measured.
        variances: (T, ...) of their errors, above 0; infinite or NaN where nothing was measured.
        wander: of the pixels (...).

    Raises:
        SceneError: days out of order or twice, shapes that differ, or a variance of 0 or less.
    """
    require_series(days, values, variances, wander)
    return Chain.tied(wander, days, _filtered(days, values, variances, wander))


def _filtered(days: Sequence[float], values: Tensor, variances: Tensor, wander: Wander) -> Belief:
    """Beliefs (T, ...) each of which knows of the days up to its own."""
    precision = _precision(values, variances)
    mean = torch.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    variance = torch.empty_like(mean)
    prior, one = wander.sd**2, torch.ones_like(wander.sd)
    ahead, expected, weight = (torch.empty_like(prior) for _ in range(3))
    # Before the first day there is what is usual, whatever the time since.
    before, since = Belief(torch.zeros_like(prior), prior), days[0]
    rows = zip(days, mean.unbind(), variance.unbind(), precision.unbind(), strict=True)
    for day, value, after, weighed in rows:
        kept, fresh = kept_and_fresh(wander.days, day - since)
        torch.lerp(before.variance, prior, fresh, out=ahead)
        torch.mul(before.mean, kept, out=expected)
        torch.addcmul(one, ahead, weighed, out=weight)
        torch.div(ahead, weight, out=after)
        torch.mul(after, weighed, out=weight)
        torch.lerp(expected, value, weight, out=value)
        before, since = Belief(value, after), day
    return Belief(mean, variance)


def _precision(values: Tensor, variances: Tensor) -> Tensor:
    """One over the variance (T, ...), and 0 where nothing was measured."""
    # No mask: sums and quotients carry NaN and infinity four times as fast as comparisons do.
    precision = torch.add(variances, values, alpha=0).reciprocal_()
    torch.nan_to_num(precision, nan=0.0, posinf=torch.inf, neginf=-torch.inf, out=precision)
    if precision.numel():
        least, most = precision.aminmax()
        if least < 0 or torch.isinf(most):
            raise errorless()
    return precision


def errorless() -> SceneError:
    """That a measurement has no error."""
    return SceneError(
        "A measurement has a variance of 0 or less; give one above 0, or infinity where nothing "
        "was measured."
    )


def require_series(
    days: Sequence[float], values: Tensor, variances: Tensor, wander: Wander
) -> None:
    """Refuse what is no series of pixels, as `smooth_series` says.

    Raises:
        SceneError: days out of order or twice, or shapes that differ.
    """
    if not len(days):
        raise SceneError("A series of no day has nothing to smooth; give one day or more.")
    for earlier, later in pairwise(days):
        if not later > earlier:
            raise SceneError(
                f"Day {later:g} of the series comes after day {earlier:g}; give each day once, in "
                "their order."
            )
    expected = (len(days), *wander.sd.shape)
    if not tuple(values.shape) == tuple(variances.shape) == expected:
        raise SceneError(
            f"{len(days)} days of pixels {tuple(wander.sd.shape)} need values and variances of "
            f"{expected}, and they are {tuple(values.shape)} and {tuple(variances.shape)}; bring "
            "the process of the pixels and their series to one shape."
        )
