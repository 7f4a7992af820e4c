"""Where a project stands: rounds, answers, how far people agree, what waits for them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from geoseg.active.answers import agreements, measure_annotators, soft_labels
from geoseg.active.audits import class_audits, left_out, prevalence_by_audit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from geoseg.active.answers import Agreement, Annotator, SoftLabels
    from geoseg.active.audits import AuditRound
    from geoseg.active.pool import Pool
    from geoseg.active.project import Project
    from geoseg.active.record import Round
    from geoseg.metrics.quantify import Estimate

__all__ = ["ClassStanding", "Standing", "standing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassStanding:
    """What is known of a class."""

    name: str
    labels: float  # items that are of it, by their votes
    prevalence: Estimate | None  # in the pool, by the audits of all rounds; None without one


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a project stands."""

    pool: str  # what it was made of
    items: int  # of the pool
    labelled: int  # items of which somebody named a class
    untold: int  # items that were looked at, of which nobody could tell
    disagreed: int  # items of which two people named different classes
    answers: int
    gold: int  # items of known class
    classes: tuple[ClassStanding, ...]
    rounds: tuple[Round, ...]
    left_out: int  # rounds not counted in, for what was chosen there is not all answered
    proposed: Mapping[int, int]  # items by round
    answered: Mapping[int, int]  # of these, items that somebody answered
    annotators: tuple[Annotator, ...]
    waiting: Mapping[str, int]  # items by annotator
    agreements: tuple[Agreement, ...]

    def figures(self) -> dict[str, Any]:
        """All of it for JSON."""
        return {
            "pool": self.pool,
            "items": self.items,
            "labelled": self.labelled,
            "untold": self.untold,
            "disagreed": self.disagreed,
            "answers": self.answers,
            "gold": self.gold,
            "classes": {
                one.name: {
                    "labels": one.labels,
                    "prevalence": None if one.prevalence is None else asdict(one.prevalence),
                }
                for one in self.classes
            },
            "rounds_left_out": self.left_out,
            "rounds": [
                {
                    **one._asdict(),
                    "proposed": self.proposed[one.number],
                    "answered": self.answered[one.number],
                }
                for one in self.rounds
            ],
            "annotators": {
                one.name: _person(one, self.waiting[one.name]) for one in self.annotators
            },
            "agreement": [
                {
                    "annotators": [one.first, one.second],
                    "items": one.items,
                    "share": asdict(one.share),
                    "kappa": asdict(one.kappa),
                }
                for one in self.agreements
            ],
        }


def standing(project: Project, pool: Pool) -> Standing:
    """Where a project stands.

    Args:
        project: with its answers.
        pool: of the project.
    """
    answers, gold, proposed = project.answers(), project.gold(), project.proposed()
    labels = soft_labels(answers, project.classes, gold)
    # People are measured by what they said first, and items are what they said last.
    first = project.first_answers()
    people = measure_annotators(first, project.classes, gold)
    rounds = project.rounds()
    audits = class_audits(project, labels)
    looked_at = set(labels.items)
    return Standing(
        pool=pool.source,
        items=len(pool),
        labelled=int(labels.told.sum()),
        untold=int((~labels.told).sum()),
        disagreed=int(labels.disagree.sum()),
        answers=len(answers),
        gold=len(gold),
        classes=_classes(project, pool, labels, audits),
        rounds=tuple(rounds),
        left_out=left_out(audits[0]),
        proposed=_counts(rounds, [one.round for one in proposed]),
        answered=_counts(rounds, [one.round for one in proposed if one.item in looked_at]),
        annotators=tuple(people),
        waiting={one.name: len(project.waiting(one.name)) for one in people},
        agreements=tuple(agreements(first, project.classes)),
    )


def _classes(
    project: Project, pool: Pool, labels: SoftLabels, audits: Sequence[Sequence[AuditRound]]
) -> tuple[ClassStanding, ...]:
    found = []
    for k, name in enumerate(project.classes):
        count = float(labels.probabilities[labels.told, k].sum(dtype=np.float64))
        others = float(labels.told.sum()) - count
        prevalence = prevalence_by_audit(audits[k], len(pool), count, others=others)
        found.append(ClassStanding(name=name, labels=count, prevalence=prevalence))
    return tuple(found)


def _counts(rounds: Sequence[Round], numbers: Sequence[int]) -> dict[int, int]:
    return {one.number: numbers.count(one.number) for one in rounds}


def _person(one: Annotator, waiting: int) -> dict[str, Any]:
    return {
        "answers": one.answers,
        "unknown": one.unknown,
        "waiting": waiting,
        "gold": one.gold,
        "accuracy": asdict(one.accuracy),
        "recall": [asdict(of) for of in one.recall],
        "confusion": one.confusion.tolist(),
    }
