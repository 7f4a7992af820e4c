"""The fast route of a single sensor: each pixel for itself, measured where it lies.

Without a footprint and without neighbours a Kalman filter is a few sums of each pixel, done for all
pixels at once; a chain smooths it and answers for any day.
"""

from __future__ import annotations

import math
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import torch

from geoseg.errors import SceneError
from geoseg.pivot.assimilate import Belief
from geoseg.pivot.chain import CELLS, Chain, kept_and_fresh
from geoseg.pivot.wander import Wander

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future

    from torch import Tensor

__all__ = ["Filled", "fill_days", "smooth"]


class Filled(NamedTuple):
    """Some pixels on all days that were asked for."""

    pixels: slice
    mean: Tensor  # (D, n), in the unit of the variable
    sd: Tensor  # (D, n)


def smooth(days: Sequence[float], values: Tensor, variances: Tensor, wander: Wander) -> Chain:
    """A chain through all measurements of each pixel, with a knot on each day.

    Args:
        days: (T,), each later than the one before.
        values: (T, ...) less their climatology; NaN where nothing was measured.
        variances: (T, ...) of their errors, above 0; infinite or NaN where nothing was measured.
        wander: of the pixels (...).

    Raises:
        SceneError: days out of order or twice, shapes that differ, or a variance of 0 or less.
    """
    _require_series(days, values, variances, wander)
    return Chain.tied(wander, days, _filtered(days, values, variances, wander))


def fill_days(
    days: Sequence[float],
    values: Tensor,
    variances: Tensor,
    wander: Wander,
    wanted: Sequence[float],
) -> Iterator[Filled]:
    """Mean and sd on many days, some thousand pixels at a time, for a writer of files.

    Pieces come in the order of the pixels. Memory does not grow with them: a piece lies in a buffer
    that is written again after the next one has been asked for. As many threads as torch has.

    Args:
        days: (T,), as in `smooth`.
        values: (T, N).
        variances: (T, N).
        wander: of the pixels (N,).
        wanted: days (D,) in order.

    Raises:
        SceneError: as in `smooth`, or the wanted days are not in order.
    """
    _require_series(days, values, variances, wander)
    return _pieces(days, values, variances, wander, wanted)


def _pieces(
    days: Sequence[float],
    values: Tensor,
    variances: Tensor,
    wander: Wander,
    wanted: Sequence[float],
) -> Iterator[Filled]:
    pixels, threads = values.shape[1], torch.get_num_threads()
    buffers = values.new_empty(threads, 2 * len(wanted) * min(CELLS, pixels))

    def filled(part: slice, buffer: Tensor) -> Filled:
        own = Wander(sd=wander.sd[part], days=wander.days)
        chain = Chain.tied(own, days, _filtered(days, values[:, part], variances[:, part], own))
        shape = 2, len(wanted), len(own.sd)
        out = Belief(*buffer[: math.prod(shape)].view(shape).unbind())
        for piece in chain.stretches(wanted, out):
            piece.variance.sqrt_()
        return Filled(part, *out)

    # One thread of torch in each of ours: its own would wait for each other after every sum of
    # some thousand pixels.
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    running: deque[Future[Filled]] = deque()
    try:
        for k, first in enumerate(range(0, pixels, CELLS)):
            if k >= threads:
                yield running.popleft().result()
            part = slice(first, min(first + CELLS, pixels))
            running.append(pool.submit(filled, part, buffers[k % threads]))
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # a part of it is shared by all threads


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
            raise SceneError(
                "A measurement has a variance of 0 or less; give one above 0, or infinity where "
                "nothing was measured."
            )
    return precision


def _require_series(
    days: Sequence[float], values: Tensor, variances: Tensor, wander: Wander
) -> None:
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
