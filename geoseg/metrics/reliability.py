"""Whether probabilities come true: calibration error, Brier score, log loss, reliability diagram.

Where one chip in ten thousand holds something, any calibration error over all chips is near 0, for
a model that says 0 of each chip too. Score held-out chips with a fair share of positives, or read
the last bins of the diagram.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr, ndtri

from geoseg.errors import LabelError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["CalibrationScores", "ReliabilityBin", "score_calibration", "wilson"]

_BINS = 15  # as most papers since Naeini and others (2015) have it
_SMALLEST = 1e-15  # a probability of 0 for what is there would lose without end
_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """Chips of nearly one probability, and how many of them hold something."""

    low: float  # least and greatest probability in the bin
    high: float
    predicted: float  # mean probability
    observed: float  # share that holds something
    observed_low: float  # 95 % interval of Wilson, for chips that are independent
    observed_high: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationScores:
    """How far probabilities are from coming true; 0 is best in each score.

    `ece` is biased upwards: with perfect probabilities of 300 chips it is 0.06, of 5000 still
    0.015. `ece_debiased` takes off what chance adds, after Kumar, Liang and Ma (2019), Verified
    Uncertainty Calibration: 0.03 and 0.009. Neither is an upper bound.
    """

    ece: float  # mean of |predicted - observed| over the bins, weighted by their chips
    ece_debiased: float
    brier: float  # mean of (probability - present) squared
    log_loss: float  # nats
    bins: tuple[ReliabilityBin, ...]  # rising; of equal numbers of chips but for ties


def score_calibration(
    probability: ArrayLike, present: ArrayLike, *, bins: int = _BINS
) -> CalibrationScores:
    """Scores of probabilities of chips that neither the model nor its calibration was fitted on.

    Args:
        probability: of presence (N,), 0 to 1.
        present: what the chips hold (N,), bool.
        bins: of equal numbers of chips, at most; chips of one probability share one.

    Raises:
        LabelError: no chips, or probabilities outside 0 to 1.
    """
    p, y = np.asarray(probability, dtype=np.float64), np.asarray(present, dtype=bool)
    if not p.size or not ((p >= 0) & (p <= 1)).all():
        raise LabelError(
            f"Calibration of {p.size} chips cannot be scored; "
            "give one or more, with probabilities between 0 and 1."
        )
    order = np.argsort(p, kind="stable")
    found = _bins_of(p[order], y[order], bins)
    ece, debiased = _errors(found)
    said = np.clip(np.where(y, p, 1 - p), _SMALLEST, 1)
    return CalibrationScores(
        ece=ece,
        ece_debiased=debiased,
        brier=float(np.mean((p - y) ** 2)),
        log_loss=float(-np.log(said).mean()),
        bins=found,
    )


def wilson(
    hits: ArrayLike, trials: ArrayLike, *, confidence: float = _CONFIDENCE
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ends of the interval of shares, after Wilson (1927); 0 to 1 where there are no trials.

    Brown, Cai and DasGupta (2001) find it near its nominal coverage from few trials on.
    """
    k, n = np.asarray(hits, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    z = ndtri(0.5 + confidence / 2)
    some = np.maximum(n, 1)
    middle = (k + z**2 / 2) / (some + z**2)
    half = z / (some + z**2) * np.sqrt(k * (some - k) / some + z**2 / 4)
    low = np.where(n > 0, np.maximum(middle - half, 0), 0.0)
    high = np.where(n > 0, np.minimum(middle + half, 1), 1.0)
    return low, high


def _bins_of(p: NDArray[np.float64], y: NDArray[np.bool_], bins: int) -> tuple[ReliabilityBin, ...]:
    """Bins of sorted probabilities. A tie that was cut would part chips by their order alone."""
    cuts = np.arange(bins) * len(p) // bins
    starts = np.unique(np.searchsorted(p, p[cuts]))
    ends = np.append(starts[1:], len(p))
    count = ends - starts
    predicted = np.add.reduceat(p, starts) / count
    hits = np.add.reduceat(y.astype(np.int64), starts)
    low, high = wilson(hits, count)
    return tuple(
        ReliabilityBin(
            low=float(p[start]),
            high=float(p[end - 1]),
            predicted=float(predicted[i]),
            observed=float(hits[i] / count[i]),
            observed_low=float(low[i]),
            observed_high=float(high[i]),
            count=int(count[i]),
        )
        for i, (start, end) in enumerate(zip(starts, ends, strict=True))
    )


def _errors(bins: tuple[ReliabilityBin, ...]) -> tuple[float, float]:
    """Expected calibration error, plain and debiased.

    What chance adds to |d| of a bin is what it would add once more: the mean of a folded normal
    distribution around d, less |d|.
    """
    count = np.array([b.count for b in bins], dtype=float)
    observed = np.array([b.observed for b in bins])
    apart = np.abs([b.predicted - b.observed for b in bins])
    error = np.sqrt(observed * (1 - observed) / np.maximum(count - 1, 1))
    z = apart / np.where(error > 0, error, np.inf)
    folded = error * np.sqrt(2 / np.pi) * np.exp(-(z**2) / 2) + apart * (2 * ndtr(z) - 1)
    again = np.where(error > 0, folded, apart)
    weight = count / count.sum()
    plain = float(weight @ apart)
    return plain, max(0.0, float(weight @ (2 * apart - again)))
