"""The sums of `fill_days`, compiled: each passes over some pixels once a date, in cache.

Float32 throughout: a constant of Python would make double precision of it.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

__all__ = ["estimate_days", "filter_forward", "smooth_back"]

_ZERO, _ONE, _TWO = np.float32(0), np.float32(1), np.float32(2)

_PIXELS, _ROWS, _ANY_ROWS = "float32[::1]", "float32[:, ::1]", "float32[:, :]"


# Once, for arrays of these kinds. Sums may be regrouped; NaN and infinity stay what they are.
_compiled = partial(
    njit, nogil=True, error_model="numpy", fastmath={"arcp", "contract", "nsz", "reassoc"}
)


@_compiled(f"boolean({_ANY_ROWS}, {_ANY_ROWS}, {_PIXELS}, {_ROWS}, {_ROWS}, {_ROWS})")
def filter_forward(
    values: Floats, variances: Floats, prior: Floats, steps: Floats, mean: Floats, variance: Floats
) -> bool:
    """Kalman filter of a wander to each date from those before.

    Args:
        values: (T, n), NaN where nothing was measured.
        variances: (T, n) of their errors, infinite or NaN where nothing was measured.
        prior: (n,) variance of the wander.
        steps: (T, 2) share that is left of the date before, and that is new.
        mean: (T, n), written.
        variance: (T, n), written.

    Returns:
        Whether a measurement has a variance of 0 or less.
    """
    wrong = False
    before_mean, before_variance = np.zeros_like(prior), prior
    for t in range(len(values)):
        kept, fresh = steps[t, 0], steps[t, 1]
        value, error, own_mean, own_variance = values[t], variances[t], mean[t], variance[t]
        for n in range(len(prior)):
            ahead = before_variance[n] + fresh * (prior[n] - before_variance[n])
            expected = kept * before_mean[n]
            measured, noise = value[n], error[n]
            # No `and`, and no sum in an `if`: branches would take one pixel at a time.
            seen = (measured - measured == _ZERO) & (noise - noise == _ZERO)
            wrong |= seen & (noise <= _ZERO)
            weight = ahead / (ahead + noise) if seen else _ZERO
            measured = measured if seen else _ZERO
            noise = noise if seen else _ZERO
            own_mean[n] = expected + weight * (measured - expected)
            own_variance[n] = weight * noise + (_ZERO if seen else ahead)
        before_mean, before_variance = own_mean, own_variance
    return wrong


@_compiled(f"void({_PIXELS}, {_ROWS}, {_ROWS}, {_ROWS}, {_ROWS})")
def smooth_back(prior: Floats, steps: Floats, mean: Floats, variance: Floats, tied: Floats) -> None:
    """Rauch-Tung-Striebel smoother over what `filter_forward` wrote, in its place.

    Args:
        prior: (n,).
        steps: (T, 2).
        mean: (T, n).
        variance: (T, n).
        tied: (T, n), written: covariance of a date and the next; 0 at the last.
    """
    tied[-1] = _ZERO
    for t in range(len(mean) - 2, -1, -1):
        kept, fresh = steps[t + 1, 0], steps[t + 1, 1]
        own_mean, own_variance, tie = mean[t], variance[t], tied[t]
        next_mean, next_variance = mean[t + 1], variance[t + 1]
        for n in range(len(prior)):
            ratio = own_variance[n] / (own_variance[n] + fresh * (prior[n] - own_variance[n]))
            gain = ratio * kept
            own_mean[n] += gain * (next_mean[n] - kept * own_mean[n])
            tie[n] = gain * next_variance[n]
            # A sum of two variances keeps its digits beside a precise measurement.
            own_variance[n] = gain * tie[n] + ratio * prior[n] * fresh


@_compiled(f"void({_PIXELS}, UniTuple({_ROWS}, 3), int64[:, ::1], {_ROWS}, {_ROWS}, {_ROWS})")
def estimate_days(
    prior: Floats,
    smoothed: tuple[Floats, ...],
    pairs: NDArray[np.int64],
    bridges: Floats,
    mean: Floats,
    sd: Floats,
) -> None:
    """Days between dates.

    Args:
        prior: (n,).
        smoothed: mean, variance and ties (T, n) of `smooth_back`.
        pairs: (D, 2) dates that a day lies between.
        bridges: (D, 3) how a day follows the two, and its share of variance of its own.
        mean: (D, n), written.
        sd: (D, n), written.
    """
    means, variances, ties = smoothed
    for d in range(len(pairs)):
        before, after = pairs[d, 0], pairs[d, 1]
        a, b, own = bridges[d, 0], bridges[d, 1], bridges[d, 2]
        aa, bb, ab = a * a, b * b, _TWO * a * b
        first_mean, last_mean, tie = means[before], means[after], ties[before]
        first_variance, last_variance = variances[before], variances[after]
        day_mean, day_sd = mean[d], sd[d]
        for n in range(len(prior)):
            day_mean[n] = a * first_mean[n] + b * last_mean[n]
            spread = own * prior[n] + aa * first_variance[n] + bb * last_variance[n]
            day_sd[n] = math.sqrt(spread + ab * tie[n])
