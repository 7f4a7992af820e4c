"""How many chips of a pool hold something, by a sample of it that people have labelled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, gammainc, ndtri

from geoseg.errors import LabelError
from geoseg.metrics.logistic import fit_line
from geoseg.metrics.quantify import Estimate, checked_pool

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from geoseg.metrics.histogram import LogitHistogram

__all__ = ["Audit", "audit_count", "weighted_count_interval"]

_CONFIDENCE = 0.9
_HALVINGS = 60  # of a bracket, of which 1e-18 is left


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Audit:
    """Chips of the pool that were drawn by known chances and then labelled.

    Chips labelled for another reason belong in with an inclusion of 1: they stand for themselves.
    Chips that could not be decided are left out, as if drawn and lost by chance.
    """

    log_ratio: NDArray[np.float64]  # (N,)
    present: NDArray[np.bool_]  # (N,)
    inclusion: NDArray[np.float64]  # (N,) chance to be drawn, above 0 and at most 1

    def __post_init__(self) -> None:
        if not len(self.inclusion) or not ((self.inclusion > 0) & (self.inclusion <= 1)).all():
            raise LabelError(
                f"An audit of {len(self.inclusion)} chips tells no prevalence; give one or more, "
                "each with its chance to be drawn, above 0 and at most 1."
            )


def audit_count(pool: LogitHistogram, audit: Audit, *, confidence: float = _CONFIDENCE) -> Estimate:
    """The mean probability of the pool, corrected by what the audit found it wrong by.

    The model-assisted estimator of Lehtonen and Veijanen (1998), Logistic generalized regression
    estimators: probabilities are fitted to the audit itself, so that a model that is badly
    calibrated, or fails in this pool, only makes the interval wide. Hajek's weights, which add up
    to the pool. Chips are taken to be drawn one by one, each by its own chance.

    Positives in an audit are few, and each stands for many: their part of the interval is of the
    gamma distribution of weighted Poisson counts (Fay and Feuer 1997, Confidence intervals for
    directly standardized rates), in its mid-p form (Fay and Kim 2017), which also says how many
    there can be when none was found. The part of the others is normal; the two are joined as by
    Zou and Donner (2008), Construction of confidence limits about effect measures. In simulation
    90 % intervals held the truth in 90 to 96 % of cases, and in up to 99 % where chances to be
    drawn differ much, for the chip that no one has drawn could have the greatest weight.

    Args:
        pool: logits of all chips, or log likelihood ratios.
        audit: chips of the pool, with the same.
        confidence: of the interval.

    Raises:
        LabelError: an empty pool, or an audit in which no chip stands for others.
        ConfigError: a confidence that is not above 0 and below 1.
    """
    logits, counts = checked_pool(pool, confidence)
    total = float(counts.sum())
    drawn = audit.inclusion < 1
    slope, intercept = _line(audit)
    expected = float(counts @ expit(slope * logits + intercept))
    probability = expit(slope * audit.log_ratio + intercept)
    known = (audit.present - probability)[~drawn].sum()
    weight = _weights(audit.inclusion[drawn], total - (~drawn).sum())
    error = weight * (audit.present - probability)[drawn]
    spread = 1 - audit.inclusion[drawn]  # of a chip drawn or not, by its own chance
    missed, imagined = np.maximum(error, 0), np.minimum(error, 0)
    # The most that one more positive could add.
    most = float((weight * (1 - probability[drawn])).max(initial=0))
    low, high = weighted_count_interval(missed.sum(), float(spread @ missed**2), most, confidence)
    half = ndtri(0.5 + confidence / 2) * np.sqrt(spread @ imagined**2)
    value = expected + known + error.sum()
    return _bounded(
        value,
        value - np.hypot(missed.sum() - low, half),
        value + np.hypot(high - missed.sum(), half),
        chips=total,
        found=float(audit.present.sum()),
        confidence=confidence,
    )


def weighted_count_interval(
    value: float, variance: float, most: float, confidence: float
) -> tuple[float, float]:
    """Mid-p gamma interval of a weighted sum of Poisson counts (Fay and Kim 2017).

    The mean of two gamma distributions: of what was counted, and of that and one more.

    Args:
        value: the sum of weights of what was counted.
        variance: the sum of their squares.
        most: the greatest weight that one more could have had.
        confidence: of the interval, above 0 and below 1.
    """
    if most <= 0:
        return value, value
    more, more_variance = value + most, variance + most**2

    def below(x: float) -> float:
        upper = gammainc(more**2 / more_variance, x * more / more_variance)
        lower = gammainc(value**2 / variance, x * value / variance) if variance > 0 else 1.0
        return float(upper + lower) / 2

    tail = (1 - confidence) / 2
    end = more + 50 * np.sqrt(more_variance)
    return _root(below, tail, end), _root(below, 1 - tail, end)


def _line(audit: Audit) -> tuple[float, float]:
    """Slope and intercept of log odds in the pool, from the audit."""
    weight = 1 / audit.inclusion
    # As many in all as there are chips, which is what they tell.
    weight *= len(weight) / weight.sum()
    return fit_line(audit.log_ratio, weight * audit.present, weight * ~audit.present)


def _bounded(
    value: float, low: float, high: float, *, chips: float, found: float, confidence: float
) -> Estimate:
    """Numbers of chips as shares; no fewer than were found, no more than there are."""
    value, low, high = (float(np.clip(v, found, chips)) / chips for v in (value, low, high))
    return Estimate(value=value, low=low, high=high, confidence=confidence, method="audit")


def _weights(inclusion: NDArray[np.float64], chips: float) -> NDArray[np.float64]:
    """How many of the chips that were not taken for certain each drawn one stands for."""
    if chips > 0 and not inclusion.size:
        raise LabelError(
            f"No chip of the audit stands for the {chips:.0f} others of the pool; "
            "draw some at random, with an inclusion below 1."
        )
    return np.asarray(chips / inclusion / (1 / inclusion).sum())


def _root(rising: Callable[[float], float], level: float, end: float) -> float:
    """Where a function that rises from 0 to `end` crosses a level; 0 where it begins above it."""
    low, high = 0.0, end
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < level else (low, middle)
    return low
