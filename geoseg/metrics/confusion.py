"""Scores of a class raster against its truth, from the confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ClassScore", "confusion_matrix", "score_classes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScore:
    """How well one class is mapped. A score with nothing to count is NaN, never 0 or 1."""

    iou: float  # intersection over union
    f1: float
    precision: float
    recall: float
    pixels: int  # of the class in the truth


def confusion_matrix(
    truth: NDArray[np.uint8], mapped: NDArray[np.uint8], classes: int
) -> NDArray[np.int64]:
    """Pixel counts (K, K): rows are the truth, columns the map.

    A pixel counts when both hold a class id below `classes`; 255 (ignore, no data) never does.
    """
    counted = (truth < classes) & (mapped < classes)
    pairs = truth[counted].astype(np.int64) * classes + mapped[counted]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def score_classes(confusion: NDArray[np.int64]) -> list[ClassScore]:
    """The scores of each class, in the order of ids."""
    hit = np.diag(confusion).astype(float)
    true = confusion.sum(axis=1)
    mapped = confusion.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        iou = hit / (true + mapped - hit)
        f1 = 2 * hit / (true + mapped)
        precision = hit / mapped
        recall = hit / true
    rows = zip(iou, f1, precision, recall, true, strict=True)
    return [
        ClassScore(iou=float(i), f1=float(f), precision=float(p), recall=float(r), pixels=int(n))
        for i, f, p, r, n in rows
    ]
