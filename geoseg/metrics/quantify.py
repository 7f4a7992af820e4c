"""How many chips of a pool hold something, by a model alone: three ways that assume label shift.

Where each fails, `geoseg.metrics.prevalence` says. With held-out chips in groups the intervals are
those of the groups: none with fewer than two with something or two without, and too narrow below
some twenty of either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, logit

from geoseg.errors import ConfigError, LabelError
from geoseg.metrics.histogram import bin_of
from geoseg.metrics.logistic import fit_line
from geoseg.metrics.resampling import weight_of_hits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from geoseg.metrics.histogram import LogitHistogram

__all__ = [
    "Estimate",
    "HeldOut",
    "adjusted_count",
    "checked_pool",
    "likeliest_prior",
    "probabilistic_count",
    "saerens",
    "saerens_prior",
]

_DRAWS = 500
_CONFIDENCE = 0.9
_HALVINGS = 45  # of a bracket, of which 3e-14 is left
_END = 40.0  # of the log odds of a prevalence
_GREATEST = 100.0  # log likelihood ratio; a draw of few chips can have a steep slope
_PULL = 0.01  # keeps a slope finite and no more: Platt's 1 makes prevalences too low


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A share of chips and its interval."""

    value: float
    low: float  # NaN, as `high`, where fewer than two groups of a kind tell none
    high: float
    confidence: float
    method: str  # count, adjusted, saerens or audit

    def of(self, chips: int) -> Estimate:
        """The same as a number of chips, of so many."""
        return Estimate(
            value=self.value * chips,
            low=self.low * chips,
            high=self.high * chips,
            confidence=self.confidence,
            method=self.method,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldOut:
    """Chips of known content that the model was not trained on, a random sample of each kind."""

    log_ratio: NDArray[np.float64]  # (N,) of `Calibration.log_ratio`, as the pool's
    present: NDArray[np.bool_]  # (N,)
    groups: NDArray[Any] | None = None  # (N,) image or place of each, for chips that are alike

    def __post_init__(self) -> None:
        if not self.present.any() or self.present.all():
            raise LabelError(
                f"{self.present.sum()} held-out chips with and {(~self.present).sum()} without "
                "tell no prevalence; hold out chips of both kinds."
            )


def probabilistic_count(
    pool: LogitHistogram,
    held_out: HeldOut,
    rng: np.random.Generator,
    *,
    confidence: float = _CONFIDENCE,
) -> Estimate:
    """The mean probability in the pool, at the prior of the held-out chips, which the pool shares.

    The interval is of the bootstrap over groups of held-out chips, on which the probabilities are
    calibrated anew, and over the pool.

    Raises:
        LabelError: an empty pool.
        ConfigError: a confidence that is not above 0 and below 1.
    """
    logits, counts = checked_pool(pool, confidence)

    def mean(line: tuple[float, float], prior: float, chips: NDArray[Any]) -> float:
        log_odds = line[0] * logits + line[1] + logit(prior)
        return float(chips @ expit(log_odds) / chips.sum())

    whole = mean(*_fitted(*_binned(held_out)), counts)
    drawn = [mean(*fitted) for fitted in _redraw(held_out, counts, rng)]
    return _estimate(whole, drawn, confidence, "count")


def adjusted_count(
    pool: LogitHistogram,
    held_out: HeldOut,
    rng: np.random.Generator,
    *,
    confidence: float = _CONFIDENCE,
) -> Estimate:
    """(flagged - FPR) / (TPR - FPR), of the chips whose likelihood ratio is 1 or more.

    There TPR - FPR is greatest, if the calibration is right. The rates are drawn from Jeffreys'
    posteriors of the held-out counts, fewer where errors lie together in groups (see
    `geoseg.metrics.resampling.weights_of_hits`), and the share flagged from its binomial
    distribution.

    Raises:
        LabelError: an empty pool, or held-out chips on which the model is no better than chance.
        ConfigError: a confidence that is not above 0 and below 1.
    """
    logits, counts = checked_pool(pool, confidence)
    taken = held_out.log_ratio >= 0
    flagged = float(counts[logits >= 0].sum() / counts.sum())
    hits = [float(taken[held_out.present == kind].mean()) for kind in (False, True)]
    if hits[1] <= hits[0]:
        raise LabelError(
            f"The model flags {hits[1]:.3f} of held-out chips with something and {hits[0]:.3f} of "
            "those without; train a better one, or count by an audit."
        )
    value = float(_adjusted(np.array(flagged), *np.array(hits)))
    if not _has_interval(held_out):
        return _estimate(value, [], confidence, "adjusted")
    rates = [_rates(held_out, taken, kind, rng) for kind in (False, True)]
    shares = rng.binomial(int(counts.sum()), flagged, _DRAWS) / counts.sum()
    return _estimate(value, _adjusted(shares, *rates), confidence, "adjusted")


def saerens(
    pool: LogitHistogram,
    held_out: HeldOut,
    rng: np.random.Generator,
    *,
    confidence: float = _CONFIDENCE,
) -> Estimate:
    """The likeliest prevalence of the pool, with likelihood ratios as calibrated.

    The interval is of the bootstrap over groups of held-out chips, on which the likelihood ratios
    are calibrated anew, and over the pool.

    Raises:
        LabelError: an empty pool.
        ConfigError: a confidence that is not above 0 and below 1.
    """
    logits, counts = checked_pool(pool, confidence)

    def prior(line: tuple[float, float], _: float, chips: NDArray[Any]) -> float:
        return likeliest_prior(line[0] * logits + line[1], chips)

    whole = prior(*_fitted(*_binned(held_out)), counts)
    drawn = [prior(*fitted) for fitted in _redraw(held_out, counts, rng)]
    return _estimate(whole, drawn, confidence, "saerens")


def saerens_prior(pool: LogitHistogram) -> float:
    """The likeliest prevalence of a pool, where the expectation maximisation of Saerens ends.

    Raises:
        LabelError: an empty pool.
    """
    return likeliest_prior(*checked_pool(pool, _CONFIDENCE))


def likeliest_prior(log_ratios: NDArray[np.float64], chips: NDArray[Any]) -> float:
    """The likeliest prevalence of chips (B,) with log likelihood ratios (B,), 0 and 1 included.

    The end of expectation maximisation, which takes many steps to it at low prevalence.
    """
    ratio = np.exp(np.clip(log_ratios, -_GREATEST, _GREATEST))
    weight = chips / chips.sum()

    def slope(prior: float) -> float:
        """Of the log likelihood, a chip; falls with the prior."""
        return float(weight @ ((ratio - 1) / (1 - prior + prior * ratio)))

    if slope(0.0) <= 0:
        return 0.0
    if slope(1.0) >= 0:
        return 1.0
    low, high = -_END, _END
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(float(expit(middle))) > 0 else (low, middle)
    return float(expit(low))


def _binned(held_out: HeldOut) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean logits (B,) of bins, and held-out chips (2, B) in them, without and with."""
    _, of, count = np.unique(bin_of(held_out.log_ratio), return_inverse=True, return_counts=True)
    means = np.bincount(of, weights=held_out.log_ratio) / count
    kinds = (~held_out.present, held_out.present)
    chips = [np.bincount(of, weights=kind, minlength=len(count)) for kind in kinds]
    return means, np.stack(chips).astype(np.float64)


def _fitted(
    means: NDArray[np.float64], chips: NDArray[np.float64]
) -> tuple[tuple[float, float], float]:
    """Slope and intercept of log likelihood ratios on those given, and the share of positives."""
    prior = float(chips[1].sum() / chips.sum())
    slope, intercept = fit_line(means, chips[1], chips[0], pull=_PULL)
    return (slope, intercept - float(logit(prior))), prior


def _has_interval(held_out: HeldOut) -> bool:
    """Whether there are two groups of each kind, so that drawing them anew changes something."""
    if held_out.groups is None:
        return True
    kinds = (held_out.groups[held_out.present], held_out.groups[~held_out.present])
    return all(len(np.unique(of_kind)) > 1 for of_kind in kinds)


def _redraw(
    held_out: HeldOut, counts: NDArray[np.int64], rng: np.random.Generator
) -> Iterator[tuple[tuple[float, float], float, NDArray[np.float64]]]:
    """The line and share of positives of held-out chips, and the chips of the pool, drawn anew.

    Nothing where groups are too few.
    """
    if not _has_interval(held_out):
        return
    means, whole = _binned(held_out)
    total, shares = int(counts.sum()), counts / counts.sum()
    draw = _draw_chips(held_out, whole, rng)
    for _ in range(_DRAWS):
        chips = next(draw)
        if chips.sum(axis=1).all():  # else nothing to calibrate on
            pool = rng.multinomial(total, shares).astype(np.float64)
            yield *_fitted(means, chips), pool


def _draw_chips(
    held_out: HeldOut, whole: NDArray[np.float64], rng: np.random.Generator
) -> Iterator[NDArray[np.float64]]:
    """Held-out chips (2, B) as drawn anew, by groups where there are any."""
    if held_out.groups is None:
        number, share = int(whole.sum()), whole.ravel() / whole.sum()
        while True:
            yield rng.multinomial(number, share).reshape(whole.shape).astype(np.float64)
    _, group = np.unique(held_out.groups, return_inverse=True)
    _, of = np.unique(bin_of(held_out.log_ratio), return_inverse=True)
    cell = held_out.present * whole.shape[1] + of
    count = int(group.max()) + 1
    while True:
        times = np.bincount(rng.integers(0, count, count), minlength=count)
        drawn = np.bincount(cell, weights=times[group], minlength=whole.size)
        yield drawn.astype(np.float64).reshape(whole.shape)


def _rates(
    held_out: HeldOut, taken: NDArray[np.bool_], kind: bool, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draws (D,) of the share of one kind of held-out chips that is taken."""
    of_kind = held_out.present == kind
    groups = None if held_out.groups is None else held_out.groups[of_kind]
    weight = weight_of_hits(taken[of_kind], groups)
    hits, trials = taken[of_kind].sum() / weight, of_kind.sum() / weight
    return rng.beta(hits + 0.5, trials - hits + 0.5, _DRAWS)


def _adjusted(
    flagged: NDArray[np.float64], wrong: NDArray[np.float64], right: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Shares of positives from those flagged and the rates of both kinds; NaN without skill."""
    gap = np.where(right > wrong, right - wrong, np.nan)
    return np.clip((flagged - wrong) / gap, 0, 1)


def _estimate(
    value: float, drawn: NDArray[np.float64] | list[float], confidence: float, method: str
) -> Estimate:
    """With the interval of draws; without one where there are none."""
    low = high = float("nan")
    if len(drawn):
        tail = 100 * (1 - confidence) / 2
        low, high = np.nanpercentile(drawn, [tail, 100 - tail])
        low, high = min(float(low), value), max(float(high), value)
    return Estimate(value=value, low=low, high=high, confidence=confidence, method=method)


def checked_pool(
    pool: LogitHistogram, confidence: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Centres of the bins of the pool and the chips in them."""
    if not 0 < confidence < 1:
        raise ConfigError(
            f"A confidence of {confidence} is none; give a share above 0 and below 1."
        )
    if not pool.total:
        raise LabelError("A pool without chips has no prevalence; add logits to its histogram.")
    return pool.occupied()
