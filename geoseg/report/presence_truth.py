"""How good a detector is, as far as it is known what places hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import binomtest

from geoseg.metrics.calibration import shift_prior
from geoseg.metrics.detection import (
    precision_at_prevalence,
    precision_recall,
    score_detection,
)
from geoseg.metrics.reliability import score_calibration
from geoseg.metrics.resampling import Interval

if TYPE_CHECKING:
    from geoseg.metrics.detection import DetectionScores, PrecisionRecall
    from geoseg.metrics.reliability import CalibrationScores
    from geoseg.report.presence_tally import Known

__all__ = ["Truth", "judge", "recall_interval"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """Scores of places of both kinds; intervals of 95 %."""

    positives: int
    negatives: int
    curve: PrecisionRecall  # at `detection.prevalence`
    detection: DetectionScores
    calibration: CalibrationScores  # at the share of positives among the known places
    recall: Interval  # at the threshold of decision
    precision: float  # there, and at the prevalence of the curve; NaN where nothing is found
    deployed: bool  # the prevalence is that of deployment, not that of the known places


def judge(
    present: Known,
    absent: Known,
    *,
    prevalence: float | None,
    rng: np.random.Generator,
) -> Truth | None:
    """The scores of places of which it is known what they hold; None without both kinds.

    Where of very many places only a sample is at hand, shares of it stand for shares of all.

    Args:
        present: those that hold it.
        absent: those that do not.
        prevalence: share of all places that hold it where the model is used, at which the
            probabilities are; precision is given at that of the known places when None.
        rng: draws for the intervals.
    """
    if not (present.places and absent.places):
        return None
    probability = np.concatenate([present.probability, absent.probability])
    holds = np.arange(len(probability)) < len(present.probability)
    share = present.places / (present.places + absent.places)
    at = share if prevalence is None else prevalence
    return Truth(
        positives=present.places,
        negatives=absent.places,
        curve=precision_recall(probability, holds, rng, prevalence=at),
        detection=score_detection(probability, holds, rng, prevalence=at),
        calibration=_calibration(present, absent, prevalence, rng),
        recall=recall_interval(present),
        precision=_precision(present, absent, at),
        deployed=prevalence is not None,
    )


def recall_interval(present: Known) -> Interval:
    """Share of places with it that are found, and its interval after Clopper and Pearson (1934).

    Args:
        present: places that hold it, at least one.
    """
    test = binomtest(present.found, present.places)
    ends = test.proportion_ci(method="exact")
    return Interval(value=float(test.statistic), low=float(ends.low), high=float(ends.high))


def _precision(present: Known, absent: Known, prevalence: float) -> float:
    found, wrong = (kind.found / kind.places for kind in (present, absent))
    return float(precision_at_prevalence(found, wrong, prevalence))


def _calibration(
    present: Known, absent: Known, prevalence: float | None, rng: np.random.Generator
) -> CalibrationScores:
    """Of both kinds in the shares that they have among all known places.

    Probabilities at another prevalence are moved to theirs, else they could not come true.
    """
    shares = [len(kind.probability) / kind.places for kind in (present, absent)]
    kept = [
        kind.probability[rng.random(len(kind.probability)) < min(shares) / share]
        for kind, share in zip((present, absent), shares, strict=True)
    ]
    holds = np.repeat([True, False], [len(kind) for kind in kept])
    probability = np.concatenate(kept)
    if prevalence is not None:
        known = present.places / (present.places + absent.places)
        probability = shift_prior(probability, prevalence, known)
    return score_calibration(probability, holds)
