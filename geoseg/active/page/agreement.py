"""How far a person says what others say."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from geoseg.active.project import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geoseg.active.project import Answer

__all__ = ["agreement_with_others"]


def agreement_with_others(answers: Sequence[Answer], annotator: str) -> dict[str, Any]:
    """Places that a person and another one answered, the share of equal answers, and kappa.

    Each pair of answers counts as one, so that a place that two others answered counts twice;
    pairs in which one does not know are left out. Kappa (Cohen 1960, A coefficient of agreement for
    nominal scales) is the share of equal answers beyond those that are equal by chance, 1 where all
    are. None where there is no pair, and kappa where chance alone makes all equal.

    Args:
        answers: the last word of each person on each place.
        annotator: whose agreement it is.
    """
    own = {one.item: one.said for one in answers if one.annotator == annotator}
    pairs = [
        (own[one.item], one.said)
        for one in answers
        if one.annotator != annotator
        and one.item in own
        and UNKNOWN not in {one.said, own[one.item]}
    ]
    if not pairs:
        return {"pairs": 0, "equal": None, "kappa": None}
    count = len(pairs)
    equal = sum(mine == theirs for mine, theirs in pairs) / count
    mine, theirs = (Counter(side) for side in zip(*pairs, strict=True))
    chance = sum(mine[said] * theirs[said] for said in mine) / count**2
    kappa = None if chance == 1 else (equal - chance) / (1 - chance)
    return {"pairs": count, "equal": equal, "kappa": kappa}
