"""Which reduction serves best, on chips with known truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from geoseg.errors import LabelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["ReductionScore", "compare_reductions"]

_CERTAIN = 1e-6  # a rule that says 0 or 1 and errs loses no more than by this


@dataclass(frozen=True, slots=True, kw_only=True)
class ReductionScore:
    """How one reduction does; NaN where it gave no probability."""

    name: str
    average_precision: float
    recall: float  # the most that is had at the precision asked for
    log_loss: float  # nats a chip
    chips: int
    present: int


def compare_reductions(
    reductions: Mapping[str, NDArray[np.float64]],
    present: NDArray[np.bool_],
    *,
    precision: float = 0.9,
) -> list[ReductionScore]:
    """Scores of reductions on the chips for which all of them gave a probability.

    Args:
        reductions: probabilities of chips (N,) by name. A learnt one has to come from other
            chips: `cross_validated`. One without any probability is scored NaN.
        present: what the chips hold (N,).
        precision: at which recall is told.

    Raises:
        LabelError: chips of one kind only.
    """
    given = {name: one for name, one in reductions.items() if np.isfinite(one).any()}
    known = np.isfinite(np.stack(list(given.values()))).all(axis=0) if given else present & False
    truth = present[known]
    if not truth.any() or truth.all():
        raise LabelError(
            f"{truth.sum()} chips with and {(~truth).sum()} without an outline compare nothing; "
            "give outlines that lie in some of the chips."
        )
    counts = {"chips": len(truth), "present": int(truth.sum())}
    scores = []
    for name, chance in reductions.items():
        three = _scores(chance[known], truth, precision) if name in given else (float("nan"),) * 3
        ap, recall, loss = three
        scores.append(
            ReductionScore(name=name, average_precision=ap, recall=recall, log_loss=loss, **counts)
        )
    return scores


def _scores(
    chance: NDArray[np.float64], truth: NDArray[np.bool_], precision: float
) -> tuple[float, float, float]:
    from sklearn.metrics import average_precision_score, log_loss, precision_recall_curve

    reached, recall, _ = precision_recall_curve(truth, chance)
    return (
        float(average_precision_score(truth, chance)),
        float(recall[reached >= precision].max(initial=0.0)),
        float(log_loss(truth, np.clip(chance, _CERTAIN, 1 - _CERTAIN), labels=[False, True])),
    )
