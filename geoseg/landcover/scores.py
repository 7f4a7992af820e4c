"""How well land cover is mapped: cells by the confusion matrix, and areas by their shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from geoseg.metrics.confusion import confusion_matrix
from geoseg.metrics.resampling import Interval, percentile_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from geoseg.landcover.shares import Shares

__all__ = ["CoverScores", "confusions_by_parcel", "score_cover", "share_error"]

_DRAWS = 2000  # as metrics.resampling


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverScores:
    """Scores of a map, with 95 % intervals over parcels."""

    accuracy: Interval  # share of the cells that are right
    macro_f1: Interval  # mean over the classes that the truth holds
    f1: Mapping[str, Interval]  # by class
    confusion: tuple[tuple[int, ...], ...]  # (K, K) cells: rows are the truth, columns the map
    parcels: int


def confusions_by_parcel(
    truth: NDArray[np.uint8],
    mapped: NDArray[np.uint8],
    parcel: NDArray[np.intp],
    classes: int,
) -> NDArray[np.int64]:
    """One confusion matrix a parcel (P, K, K); cells of no class or in parcel -1 do not count.

    Args:
        truth: (H, W) index of a class, 255 unknown.
        mapped: (H, W) likewise.
        parcel: (H, W) from 0.
        classes: K.
    """
    return np.array(
        [
            confusion_matrix(truth[parcel == one], mapped[parcel == one], classes)
            for one in range(int(parcel.max(initial=-1)) + 1)
        ]
    ).reshape(-1, classes, classes)


def score_cover(
    confusions: NDArray[np.int64], names: Sequence[str], rng: np.random.Generator
) -> CoverScores:
    """Accuracy and F1 with intervals by the bootstrap over parcels, whose cells err together.

    Args:
        confusions: one a parcel (P, K, K), of one ground or of several.
        names: of the classes (K,).
        rng: draws the parcels.
    """
    whole, count = confusions.sum(axis=0), len(confusions)
    draws = np.full((_DRAWS, *whole.shape), np.nan)
    if count > 1:
        weights = rng.multinomial(count, np.full(count, 1 / count), size=_DRAWS)
        draws = np.tensordot(weights.astype(float), confusions.astype(float), axes=1)
    by_class = zip(_f1(whole), _f1(draws).T, strict=True)
    return CoverScores(
        accuracy=percentile_interval(float(_accuracy(whole)), _accuracy(draws)),
        macro_f1=percentile_interval(float(_macro_f1(whole)), _macro_f1(draws)),
        f1={
            name: percentile_interval(float(value), of_draws)
            for name, (value, of_draws) in zip(names, by_class, strict=True)
        },
        confusion=tuple(tuple(int(n) for n in row) for row in whole),
        parcels=count,
    )


def share_error(told: Shares, true: Shares) -> float:
    """Mean distance of shares from the true ones, over classes and over cells known to both.

    0 where all areas are right; 2 / K where all of each cell is taken for another class.
    """
    both = (told.area_m2 > 0) & (true.area_m2 > 0)
    return float(np.abs(told.share - true.share)[:, both].mean()) if both.any() else float("nan")


def _accuracy(confusion: NDArray[np.number]) -> NDArray[np.float64]:
    hit, every = np.trace(confusion, axis1=-2, axis2=-1), confusion.sum(axis=(-2, -1))
    return np.asarray(np.where(every > 0, hit / np.maximum(every, 1), np.nan))


def _f1(confusion: NDArray[np.number]) -> NDArray[np.float64]:
    """F1 (..., K), NaN for a class that neither truth nor map holds."""
    hit = np.diagonal(confusion, axis1=-2, axis2=-1)
    either = confusion.sum(axis=-1) + confusion.sum(axis=-2)
    return np.asarray(np.where(either > 0, 2 * hit / np.maximum(either, 1), np.nan))


def _macro_f1(confusion: NDArray[np.number]) -> NDArray[np.float64]:
    held = confusion.sum(axis=-1) > 0
    total = np.where(held, _f1(confusion), 0).sum(axis=-1)
    count = held.sum(axis=-1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))
