"""Each pixel for itself on all days of years: the fast route where sensors share their pixels."""

from __future__ import annotations

import math
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from geoseg.errors import ConfigError, SceneError
from geoseg.pivot.physical.chain import bridge, kept_and_fresh
from geoseg.pivot.physical.temporal import errorless, require_series

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future

    from numpy.typing import NDArray
    from torch import Tensor

    from geoseg.pivot.physical.wander import Wander

__all__ = ["Filled", "fill_days"]

# Taken at once: their dates and days fit into cache. No power of two, for rows that far apart
# would share lines of it.
PIXELS = 1000


class Filled(NamedTuple):
    """Some pixels on all days that were asked for."""

    pixels: slice
    mean: Tensor  # (D, n), in the unit of the variable
    sd: Tensor  # (D, n)


class _Plan(NamedTuple):
    """What all pixels share."""

    steps: NDArray[np.float32]  # (T, 2) from the date before: share that is left, and new
    pairs: NDArray[np.int64]  # (D, 2) dates that a day lies between
    bridges: NDArray[np.float32]  # (D, 3) how it follows them, and variance of its own


def fill_days(
    days: Sequence[float],
    values: Tensor,
    variances: Tensor,
    wander: Wander,
    wanted: Sequence[float],
) -> Iterator[Filled]:
    """As `smooth_series` would say, mean and sd on many days, some pixels at a time, for a writer.

    Pieces come in the order of the pixels. Memory does not grow with them: a piece lies in a buffer
    that is written again after the next one has been asked for. As many threads as torch has; some
    seconds of the first piece of a process go to the compiler.

    Args:
        days: (T,), as in `smooth_series`.
        values: (T, N).
        variances: (T, N).
        wander: of the pixels (N,).
        wanted: days (D,) in order.

    Raises:
        ConfigError: numba is not installed.
        SceneError: as in `smooth_series`, or the wanted days are not in order.
    """
    if find_spec("numba") is None:
        raise ConfigError("fill_days needs numba; run pip install 'numba>=0.61'.")
    require_series(days, values, variances, wander)
    for earlier, later in pairwise(wanted):
        if later < earlier:
            raise SceneError(f"Day {later:g} comes after day {earlier:g}; give days in order.")
    measured = values.float().numpy(), variances.float().numpy()
    prior = np.ascontiguousarray(wander.sd.float().numpy()) ** 2
    return _pieces((*measured, prior), _plan(wander.days, days, wanted))


def _pieces(series: tuple[NDArray[np.float32], ...], plan: _Plan) -> Iterator[Filled]:
    from geoseg.pivot.physical.kernel import estimate_days, filter_forward, smooth_back

    values, variances, priors = series
    pixels, threads = values.shape[1], torch.get_num_threads()
    at_once = min(PIXELS, pixels)
    work = np.empty((threads, 3 * len(plan.steps) * at_once), np.float32)
    buffers = np.empty((threads, 2 * len(plan.pairs) * at_once), np.float32)

    def filled(part: slice, turn: int) -> Filled:
        prior = priors[part]
        mean, variance, tied = smoothed = _rows(work[turn], 3, len(plan.steps), len(prior))
        if filter_forward(values[:, part], variances[:, part], prior, plan.steps, mean, variance):
            raise errorless()
        smooth_back(prior, plan.steps, mean, variance, tied)
        out = _rows(buffers[turn], 2, len(plan.pairs), len(prior))
        estimate_days(prior, smoothed, plan.pairs, plan.bridges, *out)
        return Filled(part, *map(torch.from_numpy, out))

    pool = ThreadPoolExecutor(threads)
    running: deque[Future[Filled]] = deque()
    try:
        for k, first in enumerate(range(0, pixels, PIXELS)):
            if k >= threads:
                yield running.popleft().result()
            part = slice(first, min(first + PIXELS, pixels))
            running.append(pool.submit(filled, part, k % threads))
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _rows(memory: NDArray[np.float32], *shape: int) -> tuple[NDArray[np.float32], ...]:
    """Arrays of a shape side by side at the beginning of some memory."""
    return tuple(memory[: math.prod(shape)].reshape(shape))


def _plan(scale: float, days: Sequence[float], wanted: Sequence[float]) -> _Plan:
    apart = np.diff(days, prepend=-math.inf)
    bridges, pairs = [], []
    for day in wanted:
        after = int(np.searchsorted(days, day, side="right"))
        since = day - days[after - 1] if after > 0 else math.inf
        until = days[after] - day if after < len(days) else math.inf
        bridges.append(bridge(scale, since, until))
        pairs.append((max(after - 1, 0), min(after, len(days) - 1)))
    return _Plan(
        np.array([kept_and_fresh(scale, step) for step in apart], np.float32),
        np.array(pairs, np.int64).reshape(-1, 2),
        np.array(bridges, np.float32).reshape(-1, 3),
    )
