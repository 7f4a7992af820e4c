"""What labels are worth: scores out of fold, what is in the pool, what is still missed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from geoseg.active.answers import known_of
from geoseg.active.audits import class_audits, left_out, missed_at_most, prevalence_by_audit
from geoseg.active.heads import scale_of, train_heads
from geoseg.active.neighbourhood import neighbourhoods
from geoseg.metrics.detection import average_precision

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geoseg.active.answers import SoftLabels
    from geoseg.active.heads import HeadSettings
    from geoseg.active.known import Known
    from geoseg.active.pool import Pool
    from geoseg.active.project import Project
    from geoseg.metrics.quantify import Estimate

__all__ = ["ClassWorth", "RoundWorth", "class_precision", "out_of_fold", "round_worth"]

_FOLDS = 5


class ClassWorth(NamedTuple):
    """What is known of a class."""

    name: str
    labels: float  # items with a label that are of it
    average_precision: float  # out of fold, among items with a label; NaN where too few tell
    recall: float  # likewise, of those called what is likeliest
    prevalence: Estimate | None  # in the pool, by the audits; None without one
    missed_at_most: int  # items without a label that can be of it, with a confidence of 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundWorth:
    """What labels are worth. Scores are of items that were chosen to be hard, not of the pool."""

    labels: int
    left_out: int  # rounds that are not counted in, for what was chosen there is not all answered
    classes: tuple[ClassWorth, ...]

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall of the classes; NaN where a class has too few labels."""
        return float(np.mean([one.recall for one in self.classes]))

    @property
    def worst(self) -> ClassWorth | None:
        """The class of the lowest recall; None where none has one."""
        told = [one for one in self.classes if math.isfinite(one.recall)]
        return min(told, key=lambda one: one.recall, default=None)

    def figures(self) -> dict[str, Any]:
        """All of it, to be recorded as JSON; None for NaN."""
        worst = self.worst
        return {
            "labels": self.labels,
            "rounds_left_out": self.left_out,
            "balanced_accuracy": _number(self.balanced_accuracy),
            "worst_class": None if worst is None else worst.name,
            "worst_recall": None if worst is None else worst.recall,
            "classes": {
                one.name: {
                    "labels": one.labels,
                    "average_precision": _number(one.average_precision),
                    "recall": _number(one.recall),
                    "prevalence": _ends(one.prevalence),
                    "missed_at_most": one.missed_at_most,
                }
                for one in self.classes
            },
        }


def round_worth(
    project: Project, pool: Pool, labels: SoftLabels, settings: HeadSettings, *, seed: int
) -> RoundWorth:
    """What all labels of a project are worth together.

    Args:
        project: with its rounds.
        pool: of the project.
        labels: of its answers.
        settings: of the heads.
        seed: of folds and heads.

    Raises:
        ModelError: the loss is not finite.
    """
    known = known_of(labels, pool)
    told = out_of_fold(pool, known, settings, seed=seed)
    by_class = class_audits(project, labels)
    classes = []
    for k, (name, audits) in enumerate(zip(project.classes, by_class, strict=True)):
        found = float(known.targets[:, k].sum())
        classes.append(
            ClassWorth(
                name=name,
                labels=found,
                average_precision=class_precision(told, known, k),
                recall=_recall(told, known, k),
                prevalence=prevalence_by_audit(
                    audits, len(pool), found, others=len(known.rows) - found
                ),
                missed_at_most=missed_at_most(audits, len(pool) - len(known.rows)),
            )
        )
    return RoundWorth(
        labels=len(known.rows), left_out=left_out(by_class[0]), classes=tuple(classes)
    )


def out_of_fold(
    pool: Pool, known: Known, settings: HeadSettings, *, seed: int
) -> NDArray[np.float32]:
    """What heads say (L, K) of labelled items that they did not learn from, in five folds.

    Items of a neighbourhood are in one fold, for they are alike. Folds get like numbers of the
    rarest classes. NaN where the other folds hold fewer than two classes.

    Args:
        pool: of the items.
        known: the labels.
        settings: of the heads.
        seed: of folds and heads.

    Raises:
        ModelError: the loss is not finite.
    """
    told = np.full_like(known.targets, np.nan)
    likeliest = known.targets.argmax(axis=1) if len(known.rows) else np.empty(0, dtype=np.intp)
    folds = _folds(neighbourhoods(pool, known.rows), likeliest, np.random.default_rng(seed))
    embeddings, scale = pool.embeddings(known.rows), scale_of(pool)
    for fold in range(_FOLDS):
        left, own = folds != fold, folds == fold
        if own.any() and len(np.unique(likeliest[left])) > 1:
            heads = train_heads(
                embeddings[left], known.targets[left], settings, seed + fold, scale=scale
            )
            told[own] = heads.probabilities(embeddings[own])
    return told


def _folds(
    groups: NDArray[np.int64], classes: NDArray[np.intp], rng: np.random.Generator
) -> NDArray[np.intp]:
    """A fold (n,) for each item: groups are dealt, those with the rarest class first."""
    _, group = np.unique(groups, return_inverse=True)
    count = int(classes.max(initial=0)) + 1
    table = np.zeros((int(group.max(initial=-1)) + 1, count))
    np.add.at(table, (group, classes), 1)
    rarity = np.argsort(table.sum(axis=0), kind="stable")
    dealt = np.full(len(table), -1, dtype=np.intp)
    sums = np.zeros((_FOLDS, count))
    for k in rarity:
        for one in rng.permutation(np.flatnonzero((table[:, k] > 0) & (dealt < 0))):
            # The fold with least of this class, of those the one with least of all.
            fold = int(np.lexsort([sums.sum(axis=1), sums[:, k]])[0])
            dealt[one] = fold
            sums[fold] += table[one]
    return dealt[group]


def class_precision(told: NDArray[np.float32], known: Known, k: int) -> float:
    """Average precision of a class, of what was told of labelled items (L, K), NaN where nothing.

    Items of even votes are left out. NaN where none of the others is of the class, or all are.
    """
    scored = np.isfinite(told[:, k]) & (known.classes >= 0)
    present = known.classes[scored] == k
    if not present.any() or present.all():
        return math.nan
    return average_precision(told[scored, k], present)


def _recall(told: NDArray[np.float32], known: Known, k: int) -> float:
    own = np.isfinite(told[:, k]) & (known.classes == k)
    return float((told[own].argmax(axis=1) == k).mean()) if own.any() else math.nan


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _ends(estimate: Estimate | None) -> dict[str, float] | None:
    if estimate is None:
        return None
    return {
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "confidence": estimate.confidence,
    }
