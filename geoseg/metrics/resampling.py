"""How sure scores are: the bootstrap over blocks of ground, and paired tests of two models.

Neighbouring pixels err together, so pixels are no independent trials; blocks of ground, cut wide
enough, are nearly. Whole blocks are drawn again and again, after Efron & Tibshirani (1993), An
Introduction to the Bootstrap, chapters 6 and 13. Two models are compared on the same blocks by
swapping their results within blocks at random, after chapter 15 there and Good (2005), Permutation,
Parametric and Bootstrap Tests of Hypotheses. Several tests are corrected after Holm (1979), A
Simple Sequentially Rejective Multiple Test Procedure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "BlockScores",
    "Interval",
    "PairedDifference",
    "bootstrap_scores",
    "class_iou",
    "compare_paired",
    "holm",
    "mean_iou",
    "percentile_interval",
    "weight_of_hits",
    "weights_of_hits",
]

_DRAWS = 2000  # the 2.5th percentile then rests on 50 draws
_PERCENTILES = (2.5, 97.5)
_ROUNDING = 1e-12  # swaps that give the observed difference again do so to rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A value and its 95 % percentile interval; NaN where too few blocks tell."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockScores:
    """IoU with intervals, over blocks."""

    classes: tuple[Interval, ...]  # IoU by class id, the ground included
    mean: Interval  # of mean_iou
    blocks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """Mean IoU of a first model minus that of a second, over the same blocks."""

    difference: Interval
    p_value: float  # two-sided: how often swapped models differ as much
    blocks: int


def class_iou(confusion: NDArray[np.number]) -> NDArray[np.float64]:
    """IoU (..., K) of confusion matrices (..., K, K); NaN for a class nowhere met."""
    hit = np.diagonal(confusion, axis1=-2, axis2=-1).astype(float)
    union = confusion.sum(axis=-1) + confusion.sum(axis=-2) - hit
    iou = np.full_like(hit, np.nan)
    np.divide(hit, union, out=iou, where=union > 0)
    return iou


def mean_iou(confusion: NDArray[np.number]) -> NDArray[np.float64]:
    """Mean IoU (...) of confusion matrices (..., K, K) over the classes that the truth holds.

    The ground, class 0, is left out. NaN where the truth holds nothing else.
    """
    held = confusion.sum(axis=-1)[..., 1:] > 0
    total = np.where(held, class_iou(confusion)[..., 1:], 0).sum(axis=-1)
    count = held.sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def bootstrap_scores(
    confusions: NDArray[np.number], rng: np.random.Generator, *, draws: int = _DRAWS
) -> BlockScores:
    """IoU of each class and their mean, with 95 % percentile intervals over blocks.

    The interval is too narrow below some twenty blocks, and NaN with fewer than two. A draw
    without a class says nothing about it and is left out of its interval.

    Args:
        confusions: one matrix a block (B, K, K), rows are the truth.
        rng: draws the blocks.
        draws: how often they are drawn.
    """
    whole, drawn = confusions.sum(axis=0), _resample(confusions, rng, draws)
    by_class = zip(class_iou(whole), class_iou(drawn).T, strict=True)
    return BlockScores(
        classes=tuple(percentile_interval(value, draws_of_it) for value, draws_of_it in by_class),
        mean=percentile_interval(mean_iou(whole), mean_iou(drawn)),
        blocks=len(confusions),
    )


def compare_paired(
    first: NDArray[np.number],
    second: NDArray[np.number],
    rng: np.random.Generator,
    *,
    draws: int = _DRAWS,
) -> PairedDifference:
    """By how much the first model's mean IoU is above the second's, and how sure that is.

    All swaps are tried where there are no more than `draws` of them, so that p is exact.

    Args:
        first: one matrix a block (B, K, K), rows are the truth.
        second: those of the other model, of the same blocks in the same order.
        rng: draws the blocks and the swaps.
        draws: how many of each.

    Raises:
        ValueError: the two are not of the same shape.
    """
    if first.shape != second.shape:
        raise ValueError(f"Matrices of {first.shape} and {second.shape} are not paired.")
    pairs = np.stack([first, second], axis=1).astype(float)
    whole = pairs.sum(axis=0)
    observed = _difference(whole)
    drawn = _difference(_resample(pairs, rng, draws))
    given = np.tensordot(_swaps(len(first), rng, draws), pairs[:, 1] - pairs[:, 0], axes=1)
    swapped = _difference(whole + np.stack([given, -given], axis=1))
    as_large = np.abs(swapped) >= np.abs(observed) - _ROUNDING
    return PairedDifference(
        difference=percentile_interval(observed, drawn),
        p_value=float(as_large.mean()) if np.isfinite(observed) else float("nan"),
        blocks=len(first),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values of several tests, corrected so that few of many are significant by chance.

    NaN stays NaN and counts as no test.
    """
    corrected = [float("nan")] * len(p_values)
    told = sorted((p, i) for i, p in enumerate(p_values) if np.isfinite(p))
    floor = 0.0
    for rank, (p, i) in enumerate(told):
        floor = max(floor, min(1.0, p * (len(told) - rank)))
        corrected[i] = floor
    return corrected


def weights_of_hits(hits: NDArray[np.intp], sizes: NDArray[np.intp]) -> NDArray[np.float64]:
    """Members (H + 1,) that an independent one stands for, by where the first 0, 1... hits lie.

    Hits (members that are missed, or wrongly taken) that come by whole groups tell as little as so
    many groups; hits that lie scattered tell more. With m hits in a group it is the sum of m^2 over
    that of m, as in the intervals for weighted sums of rare counts of Fay and Feuer (1997,
    Confidence intervals for directly standardized rates). As there, one more event counts among
    them that was not met: all of a group fails, of that size which a member meets where larger
    groups fail more (the sum of size^3 over that of size^2). Without a hit that is all there is to
    go by. 1 where each group has one member.

    Args:
        hits: group of each hit (H,), in the order in which they come.
        sizes: members of each group (G,), 1 or more.
    """
    size = sizes.astype(np.float64)
    event = (size**3).sum() / (size**2).sum()
    order = np.argsort(hits, kind="stable")
    _, start, of = np.unique(hits[order], return_index=True, return_inverse=True)
    earlier = np.empty(len(hits))  # hits in the same group
    earlier[order] = np.arange(len(hits)) - start[of]
    squares = np.concatenate([[0.0], np.cumsum(2 * earlier + 1)])
    return np.asarray((squares + event**2) / (np.arange(len(hits) + 1) + event))


def weight_of_hits(hit: NDArray[np.bool_], groups: ArrayLike | None) -> float:
    """How many members (N,) of groups (N,) an independent one stands for, as `weights_of_hits`.

    Of the rarer kind, those hit or those not; 1 without groups or members.
    """
    if groups is None or not len(hit):
        return 1.0
    _, group, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    rarer = hit if 2 * hit.sum() <= len(hit) else ~hit
    return float(weights_of_hits(group[rarer], sizes)[-1])


def _resample(
    blocks: NDArray[np.number], rng: np.random.Generator, draws: int
) -> NDArray[np.float64]:
    """Sums (draws, ...) of as many blocks (B, ...) as there are, drawn with replacement."""
    count = len(blocks)
    if count < 2:
        return np.full((draws, *blocks.shape[1:]), np.nan)
    weights = rng.multinomial(count, np.full(count, 1 / count), size=draws)
    return np.tensordot(weights.astype(float), blocks.astype(float), axes=1)


def _swaps(blocks: int, rng: np.random.Generator, draws: int) -> NDArray[np.float64]:
    """Which blocks (draws, B) swap the models, 1 or 0; the first row swaps none.

    The unswapped models are one of the arrangements: without them p could be 0, which no number
    of draws can show (Phipson & Smyth 2010).
    """
    if 2**blocks <= draws:
        return (np.arange(2**blocks)[:, None] >> np.arange(blocks) & 1).astype(float)
    swaps = rng.integers(0, 2, size=(draws + 1, blocks)).astype(float)
    swaps[0] = 0
    return swaps


def _difference(pairs: NDArray[np.number]) -> NDArray[np.float64]:
    """Difference of mean IoU (...) within pairs of matrices (..., 2, K, K)."""
    both = mean_iou(pairs)
    return np.asarray(both[..., 0] - both[..., 1])


def percentile_interval(value: NDArray[np.float64] | float, draws: NDArray[np.float64]) -> Interval:
    """A value and the 95 % percentile interval of its draws (D,); one that is NaN is left out."""
    told = draws[np.isfinite(draws)]
    low, high = np.percentile(told, _PERCENTILES) if told.size else (np.nan, np.nan)
    return Interval(value=float(value), low=float(low), high=float(high))
