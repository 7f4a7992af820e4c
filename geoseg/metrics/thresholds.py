"""A threshold that keeps a stated share of what is there, and how sure that is.

Chips with something, held out from training, tell which scores such chips get. The r-th lowest of
n of their scores drops a share of all such chips that follows Beta(r, n + 1 - r), whatever the
scores are like (Wilks 1941, Determination of sample sizes for setting tolerance limits). Two rules
pick r: `recall_threshold` so that the recall is reached with a stated confidence, which overshoots
it on the mean; `expected_recall_threshold` so that it is reached on the mean, and missed in about
every second model. The share of models whose recall on new chips is within 0.92 to 0.98, set for
0.95 (exact, from the Beta distribution; the last two columns as counted on as many other chips with
something, which adds chance of its own):

    n held out    guaranteed 95 %    expected    guaranteed, counted    expected, counted
           100               0.40        0.86                   0.49                 0.77
           200               0.63        0.95                   0.64                 0.88
           300               0.85        0.98                   0.79                 0.93
           400               0.94        0.99                   0.87                 0.96
           500               0.97        1.00                   0.92                 0.98
           700               1.00        1.00                   0.97                 0.99
          1000               1.00        1.00                   1.00                 1.00

19 in 20 models are within from 434 held out on by the guaranteed rule, from 184 by the other; as
counted, from 624 and 388.

What is guaranteed holds for chips that are like the held-out ones, drawn one by one. It says
nothing of a region, a sensor or a year that the held-out chips lack. Of chips in groups (of one
image or place) the numbers above do not hold; what does, each rule says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import betaincc

from geoseg.errors import ConfigError, LabelError
from geoseg.metrics.resampling import weights_of_hits

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["RecallThreshold", "expected_recall_threshold", "recall_threshold"]

_ROUNDING = 1e-9  # 20 * (1 - 0.95) is 1 but for rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallThreshold:
    """Chips of at least this calibrated probability are said to hold something."""

    threshold: float  # 0, which keeps every chip, where no other one can be guaranteed
    n: int  # held-out chips with something
    effective_n: float  # as many independent ones tell as much, where none is dropped
    recall: float  # that is kept
    confidence: float  # with which it is; 0.5 stands for "on the mean"
    dropped: int  # of the n, below the threshold
    guaranteed: bool  # that a threshold above 0 keeps the recall with the confidence
    lowest: float  # probability of the n
    recall_of_lowest: float  # what `lowest` as a threshold keeps with the confidence


def recall_threshold(
    probability: ArrayLike,
    *,
    recall: float = 0.95,
    confidence: float = 0.95,
    groups: ArrayLike | None = None,
) -> RecallThreshold:
    """The highest threshold that keeps a recall with a confidence, from held-out positives.

    Convention: the r-th lowest score, of the greatest r with P(Bin(n, 1 - recall) <= r - 1) <=
    1 - confidence. At 95 % that takes 14 positives for a recall of 0.8, 29 for 0.9, 59 for 0.95,
    299 for 0.99; 100 positives may lose 4 for 0.9. Ties keep more, never less.

    Positives of one group are alike, and n of them tell less than n: where whole groups score low,
    as little as so many groups. With `groups`, ranks are tried from the lowest on, until one that
    would drop m chips has P(Beta(m + 1, n - m) > 1 - recall), the same probability as above, over
    1 - confidence; m, 1 and n - m are counted in independent chips there, as
    `geoseg.metrics.resampling.weights_of_hits` does. It rather drops too little: of 40 groups, none
    for a recall of 0.95. In 300 to 500 simulations each, at a confidence of 0.95:

        groups x chips    recall    of the chips                              kept    mean recall
              60 x 10       0.95    6 % of groups low throughout              0.98          0.997
             100 x 10       0.95    6 % of groups low throughout              0.98          0.980
             100 x 20       0.95    5.5 % of groups low throughout            0.98          0.980
             200 x 10       0.95    independent                               1.00          0.966
              10 x 20       0.8     25 % of groups low throughout             1.00          1.000
              20 x 20       0.8     22 % of groups low throughout             0.99          0.931
              20 x 10       0.8     normal scores, half of variance shared    1.00          0.933
             200 x 5        0.8     normal scores, half of variance shared    0.97          0.835
            400 of 1-200    0.95    6 % of groups low throughout              1.00          0.987
            400 of 1-200    0.95    so, the larger the more often             0.96          0.985
            120 of 1-200    0.8     so, the larger the more often             0.91          0.903

    Sizes of the last three are log-normal (mean 8, 1 in the logarithm): the one regime found in
    which the guarantee falls short.

    Args:
        probability: calibrated, of held-out chips with something (n,), 0 to 1.
        recall: share of such chips to keep, above 0 and below 1.
        confidence: how sure that is to be, above 0 and below 1.
        groups: of each chip (n,).

    Raises:
        LabelError: no chips, or probabilities outside 0 to 1.
        ConfigError: a recall or a confidence outside of its range.
    """
    scores = _checked(probability, recall, confidence)
    n = len(scores)
    weights = np.ones(n + 1) if groups is None else _weights(probability, groups)
    dropped, event = np.arange(n), weights[0]  # of the ranks; what else may happen
    # P(Bin(n, q) <= k) is the regularized beta function; a fraction of a chip is no obstacle to it.
    risk = betaincc((dropped + event) / weights[:-1], (n - dropped) / weights[:-1], 1 - recall)
    rank = int(np.append(risk > 1 - confidence, True).argmax())
    return _at(scores, rank, effective=float(n / event), recall=recall, confidence=confidence)


def _weights(probability: ArrayLike, groups: ArrayLike) -> NDArray[np.float64]:
    """Chips (n + 1,) that an independent one stands for, with the lowest 0 to n dropped."""
    _, group, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    return weights_of_hits(group[np.argsort(probability, kind="stable")], sizes)


def expected_recall_threshold(
    probability: ArrayLike, *, recall: float = 0.95, groups: ArrayLike | None = None
) -> RecallThreshold:
    """The threshold whose recall on new chips is the stated one on the mean over held-out sets.

    Without groups the floor((n + 1) (1 - recall))-th lowest score, as in split conformal prediction
    (Vovk, Gammerman and Shafer 2005, Algorithmic Learning in a Random World). With G groups it is
    the recall of a chip of a new group, whatever its size: each group weighs 1 / (G + 1), shared by
    its chips, and the new one counts as missed (Lee, Barber and Willett 2023, Distribution-free
    inference with hierarchical data). `confidence` says 0.5.

    Args:
        probability: calibrated, of held-out chips with something (n,), 0 to 1.
        recall: share of such chips to keep, above 0 and below 1.
        groups: of each chip (n,), its image or place; each chip its own when not given.

    Raises:
        LabelError: no chips, or probabilities outside 0 to 1.
        ConfigError: a recall outside of its range.
    """
    scores = _checked(probability, recall, 0.5)
    n = len(scores)
    own = np.arange(n) if groups is None else np.asarray(groups)
    _, group, sizes = np.unique(own, return_inverse=True, return_counts=True)
    count = len(sizes)
    weight = 1 / (count + 1) / sizes[group[np.argsort(probability, kind="stable")]]
    missed = 1 / (count + 1) + np.concatenate([[0.0], np.cumsum(weight)[:-1]])
    rank = int((missed <= 1 - recall + _ROUNDING).sum())
    return _at(scores, rank, effective=float(count), recall=recall, confidence=0.5)


def _at(
    scores: NDArray[np.float64], rank: int, *, effective: float, recall: float, confidence: float
) -> RecallThreshold:
    """The threshold at the score of a rank, from 1; of rank 0, one that keeps all."""
    threshold = float(scores[rank - 1]) if rank else 0.0
    return RecallThreshold(
        threshold=threshold,
        n=len(scores),
        effective_n=effective,
        recall=recall,
        confidence=confidence,
        dropped=int((scores < threshold).sum()),
        guaranteed=rank > 0,
        lowest=float(scores[0]),
        recall_of_lowest=float((1 - confidence) ** (1 / effective)),
    )


def _checked(probability: Any, recall: float, confidence: float) -> NDArray[np.float64]:  # noqa: ANN401  what numpy takes
    """Sorted scores."""
    for name, share in (("recall", recall), ("confidence", confidence)):
        if not 0 < share < 1:
            raise ConfigError(f"A {name} of {share} is none; give a share above 0 and below 1.")
    scores = np.sort(np.asarray(probability, dtype=np.float64))
    if not scores.size or not (scores[0] >= 0 and scores[-1] <= 1):
        raise LabelError(
            f"{scores.size} held-out chips with something set no threshold; "
            "give one or more, with probabilities between 0 and 1."
        )
    return scores
