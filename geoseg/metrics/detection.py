"""How well few chips with something are found among very many without.

Overall accuracy is left out on purpose: to say "nothing" everywhere has 0.9999 of it. What counts
is how much of what is there comes back and how much else comes with it; a hundred million chips
and a false positive rate of 1e-4 are ten thousand wrong ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from geoseg.errors import ConfigError, LabelError
from geoseg.metrics.resampling import Interval, percentile_interval, weight_of_hits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "DetectionScores",
    "PrecisionRecall",
    "average_precision",
    "precision_at_prevalence",
    "precision_recall",
    "recall_at_k",
    "score_detection",
]

_DRAWS = 1000
_POINTS = 500  # of a curve on a page, which has fewer pixels across
_UNIT = 1e-5  # of false positive rates
_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PrecisionRecall:
    """Precision over recall, in at most 500 points of rising recall."""

    threshold: NDArray[np.float64]  # (n,) falling; a chip of at least this score is taken
    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    low: NDArray[np.float64]  # 95 % interval of precision at the recall; NaN with one group
    high: NDArray[np.float64]
    average_precision: Interval
    prevalence: float  # at which precision is given
    positives: int
    negatives: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionScores:
    """What to report of a detector; 95 % intervals."""

    average_precision: Interval
    false_positives_1e5: Interval  # of 100,000 chips without, those taken at `recall`
    precision: Interval  # at `recall` and `prevalence`
    recall: float
    prevalence: float
    recall_at: tuple[tuple[int, float], ...]  # chips reviewed, best first, and recall among them
    positives: int
    negatives: int


class _Ranked(NamedTuple):
    """Chips of falling score, down to the last with something: those below change no score."""

    scores: NDArray[np.float64]
    present: NDArray[np.bool_]
    group: NDArray[np.intp]
    ends: NDArray[np.intp]  # last chip of each score, for ties are taken together
    groups: int
    negatives: NDArray[np.float64]  # (G,) of each group, those below included

    def rates(
        self, times: NDArray[np.float64] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Shares of positives and of negatives taken, at each score, groups counted `times`."""
        weight = np.ones(len(self.scores)) if times is None else times[self.group]
        hits = np.cumsum(weight * self.present)[self.ends]
        taken = np.cumsum(weight)[self.ends]
        every = self.negatives.sum() if times is None else times @ self.negatives
        with np.errstate(invalid="ignore", divide="ignore"):
            return hits / hits[-1], (taken - hits) / every


def average_precision(
    scores: ArrayLike, present: ArrayLike, *, prevalence: float | None = None
) -> float:
    """Mean precision over recall, in steps, ties taken together; as scikit-learn has it.

    Args:
        scores: of chips (N,), higher where something is likelier; finite.
        present: what they hold (N,), bool.
        prevalence: weigh the kinds to this share of positives; as they are when not given.

    Raises:
        LabelError: chips of one kind only, or scores that are not finite.
        ConfigError: a prevalence that is not above 0 and below 1.
    """
    ranked, share = _rank(scores, present, None, prevalence)
    return _average(*_curve(*ranked.rates(), share))


def precision_recall(
    scores: ArrayLike,
    present: ArrayLike,
    rng: np.random.Generator,
    *,
    groups: ArrayLike | None = None,
    prevalence: float | None = None,
) -> PrecisionRecall:
    """Precision over recall with 95 % percentile intervals over groups, drawn 1000 times.

    Intervals are too narrow below some twenty groups with something.

    Args:
        scores: of chips (N,), higher where something is likelier; finite.
        present: what they hold (N,), bool.
        rng: draws the groups.
        groups: of each chip (N,), such as its place or image; each chip its own when not given.
        prevalence: weigh the kinds to this share of positives; as they are when not given.

    Raises:
        LabelError: chips of one kind only, or scores that are not finite.
        ConfigError: a prevalence that is not above 0 and below 1.
    """
    ranked, share = _rank(scores, present, groups, prevalence)
    recall, precision = _curve(*ranked.rates(), share)
    points = _thinned(recall)
    averages, at_recall = [], []
    for times in _redraw(ranked.groups, rng):
        drawn, drawn_precision = _curve(*ranked.rates(times), share)
        averages.append(_average(drawn, drawn_precision))
        at = np.minimum(np.searchsorted(drawn, recall[points]), len(drawn) - 1)
        at_recall.append(drawn_precision[at])
    low, high = _band(at_recall, len(points))
    return PrecisionRecall(
        threshold=ranked.scores[ranked.ends][points],
        recall=recall[points],
        precision=precision[points],
        low=low,
        high=high,
        average_precision=percentile_interval(_average(recall, precision), np.array(averages)),
        prevalence=share,
        positives=int(ranked.present.sum()),
        negatives=int(ranked.negatives.sum()),
    )


def recall_at_k(scores: ArrayLike, present: ArrayLike, reviewed: Sequence[int]) -> list[float]:
    """Share of all positives among the k chips of highest score, for each k.

    Chips tied at the k-th place are reviewed in any order: the mean over all orders is given.

    Raises:
        LabelError: chips of one kind only, or scores that are not finite.
    """
    ranked, _ = _rank(scores, present, None, None)
    hits = np.concatenate([[0], np.cumsum(ranked.present)[ranked.ends]])
    taken = np.concatenate([[0], ranked.ends + 1])
    return [float(r) for r in np.interp(reviewed, taken, hits / hits[-1])]


def precision_at_prevalence(
    true_positive_rate: ArrayLike, false_positive_rate: ArrayLike, prevalence: float
) -> NDArray[np.float64]:
    """Share of the chips taken that hold something, where a share `prevalence` of all does.

    Convention: 1e-4 of the chips, 0.9 of them found, 1e-3 of the others taken: 0.083. NaN where
    nothing is taken.
    """
    hits = prevalence * np.asarray(true_positive_rate, dtype=np.float64)
    wrong = (1 - prevalence) * np.asarray(false_positive_rate, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(hits / (hits + wrong))


def score_detection(
    scores: ArrayLike,
    present: ArrayLike,
    rng: np.random.Generator,
    *,
    prevalence: float,
    groups: ArrayLike | None = None,
    recall: float = 0.9,
    reviewed: Sequence[int] = (100, 1000, 10_000),
) -> DetectionScores:
    """The scores of a detector on held-out chips, as they are at deployment prevalence.

    The rate of false positives takes its interval from the positives drawn anew, which set the
    threshold, and from Jeffreys' posterior of the negatives: none wrong among a million is no rate
    of 0. Negatives in groups count as so many fewer as the false ones lie together (see
    `geoseg.metrics.resampling.weights_of_hits`). A precision at 1e-4 needs a million to tell. Both
    intervals reach to their own value: that posterior is above 0 where no negative is taken.

    Args:
        scores: of chips (N,), higher where something is likelier; finite.
        present: what they hold (N,), bool.
        rng: draws groups and rates.
        prevalence: share of chips with something where the detector is used.
        groups: of each chip (N,), such as its place or image; each chip its own when not given.
        recall: share of positives taken, at which false ones are counted.
        reviewed: numbers of chips that a person looks at, best first.

    Raises:
        LabelError: chips of one kind only, or scores that are not finite.
        ConfigError: a prevalence that is not above 0 and below 1.
    """
    curve = precision_recall(scores, present, rng, groups=groups, prevalence=prevalence)
    ranked, _ = _rank(scores, present, groups, prevalence)
    found, wrong = ranked.rates()
    at = np.searchsorted(found, recall)
    rate = wrong[at]
    effective = _effective(scores, present, groups, ranked.scores[ranked.ends][at])
    rates = _false_rates(ranked, rng, recall, effective=effective)
    return DetectionScores(
        average_precision=curve.average_precision,
        false_positives_1e5=_around(rate / _UNIT, rates / _UNIT),
        precision=_around(
            float(precision_at_prevalence(recall, rate, prevalence)),
            precision_at_prevalence(recall, rates, prevalence),
        ),
        recall=recall,
        prevalence=prevalence,
        recall_at=tuple(zip(reviewed, recall_at_k(scores, present, reviewed), strict=True)),
        positives=curve.positives,
        negatives=curve.negatives,
    )


def _around(value: float, draws: NDArray[np.float64]) -> Interval:
    """The interval of draws, drawn out to hold the value; NaN stays NaN."""
    found = percentile_interval(value, draws)
    return Interval(
        value=found.value,
        low=float(np.minimum(found.low, found.value)),
        high=float(np.maximum(found.high, found.value)),
    )


def _false_rates(
    ranked: _Ranked, rng: np.random.Generator, recall: float, *, effective: float
) -> NDArray[np.float64]:
    """Draws (D,) of the false positive rate at a recall, of so many independent negatives."""
    _, wrong = ranked.rates()
    rates = []
    for times in _redraw(ranked.groups, rng):
        found, _ = ranked.rates(times)
        if np.isfinite(found[-1]):
            rates.append(wrong[np.searchsorted(found, recall)])
    hits = np.array(rates) * effective
    return rng.beta(hits + 0.5, effective - hits + 0.5)


def _effective(
    scores: ArrayLike, present: ArrayLike, groups: ArrayLike | None, threshold: float
) -> float:
    """How many independent negatives tell as much of how many are taken at a threshold."""
    absent = ~np.asarray(present, dtype=bool)
    of = None if groups is None else np.asarray(groups)[absent]
    return float(absent.sum() / weight_of_hits(np.asarray(scores)[absent] >= threshold, of))


def _rank(
    scores: ArrayLike, present: ArrayLike, groups: ArrayLike | None, prevalence: float | None
) -> tuple[_Ranked, float]:
    """Chips in the order of their scores, and the share of positives to give precision at."""
    s, y = _checked(scores, present)
    share = float(y.mean()) if prevalence is None else prevalence
    if not 0 < share < 1:
        raise ConfigError(f"A prevalence of {share} is none; give a share above 0 and below 1.")
    # A chip of its own each: the group is then its number.
    group = np.arange(len(y)) if groups is None else _codes(groups)
    kept = np.flatnonzero(s >= s[y].min())
    order = kept[np.argsort(-s[kept], kind="stable")]
    ranked = s[order]
    count = int(group.max()) + 1
    return _Ranked(
        scores=ranked,
        present=y[order],
        group=group[order],
        ends=np.flatnonzero(np.append(np.diff(ranked) != 0, True)),
        groups=count,
        negatives=np.bincount(group[~y], minlength=count).astype(np.float64),
    ), share


def _curve(
    found: NDArray[np.float64], wrong: NDArray[np.float64], share: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Recall and precision from the rates of both kinds."""
    return found, precision_at_prevalence(found, wrong, share)


def _average(recall: NDArray[np.float64], precision: NDArray[np.float64]) -> float:
    """Average precision; NaN of a draw without a positive. What is not yet taken weighs nothing."""
    steps = np.diff(recall, prepend=0)
    return float(np.where(steps == 0, 0, steps * precision).sum())


def _thinned(recall: NDArray[np.float64]) -> NDArray[np.intp]:
    """Which points of a curve to keep: for each of 500 recalls the first that reaches it."""
    wanted = np.linspace(recall[0], 1, _POINTS)
    # A recall of 1 is 1 - 1e-16 in some sums.
    return np.unique(np.minimum(np.searchsorted(recall, wanted), len(recall) - 1))


def _band(
    draws: list[NDArray[np.float64]], points: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ends of the intervals (points,) over draws that held a positive."""
    told = [draw for draw in draws if np.isfinite(draw).all()]
    if not told:
        return np.full(points, np.nan), np.full(points, np.nan)
    low, high = np.percentile(told, _PERCENTILES, axis=0)
    return low, high


def _redraw(groups: int, rng: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    """How often each group is drawn (G,), 1000 times; nothing where there is one group."""
    if groups < 2:
        return
    for _ in range(_DRAWS):
        drawn = rng.integers(0, groups, groups)
        yield np.bincount(drawn, minlength=groups).astype(float)


def _codes(groups: ArrayLike) -> NDArray[np.intp]:
    return np.unique(np.asarray(groups), return_inverse=True)[1]


def _checked(
    scores: ArrayLike, present: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    s: NDArray[Any] = np.asarray(scores, dtype=np.float64)
    y = np.asarray(present, dtype=bool)
    if not y.any() or y.all() or not np.isfinite(s).all():
        raise LabelError(
            f"{y.sum()} chips with and {(~y).sum()} without, {(~np.isfinite(s)).sum()} of all "
            "without a score, cannot be scored; give both kinds, each with a finite score."
        )
    return s, y
