"""Hard negatives: what a model takes for present, and somebody has seen to be absent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["ALONE", "hard_negatives"]

ALONE = -1  # the number of a sample that is like no other


def hard_negatives(
    scores: NDArray[np.floating],
    absent: NDArray[np.bool_],
    alike: Sequence[NDArray[np.integer]],
    *,
    count: int,
) -> NDArray[np.intp]:
    """Positions (n,) of the highest-scored negatives, none nearly the same, the hardest first.

    Hard-negative mining (Sung and Poggio 1998; Felzenszwalb, Girshick, McAllester and Ramanan 2010)
    with near-duplicates left out, which would teach one thing over and over. What nobody has looked
    at is never taken for a negative: among what scores highest, much is present.

    Args:
        scores: (N,) the higher the more present; NaN is never taken.
        absent: (N,) whether somebody has seen that the sample is a negative.
        alike: numberings (N,) of samples, as of clusters of their embeddings or of cells of ground;
            of samples with one number only the highest-scored is taken. ALONE is no number.
        count: how many, at most.
    """
    candidates = np.flatnonzero(absent & np.isfinite(scores))
    # By position where scores are equal, so that the choice is always the same.
    ranked = candidates[np.argsort(-scores[candidates], kind="stable")]
    taken: list[set[int]] = [set() for _ in alike]
    chosen: list[int] = []
    for position in ranked:
        if len(chosen) == count:
            break
        own = [int(numbers[position]) for numbers in alike]
        if not any(n in seen for n, seen in zip(own, taken, strict=True)):
            chosen.append(int(position))
            for n, seen in zip(own, taken, strict=True):
                seen.update({n} - {ALONE})
    return np.array(chosen, dtype=np.intp)
