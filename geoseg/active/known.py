"""What is known of a pool: some of its items, and how likely each is of which class."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from geoseg.errors import LabelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Known", "known_classes"]


class Known(NamedTuple):
    """Items with a label."""

    rows: NDArray[np.intp]  # (L,) positions in the pool, each once
    targets: NDArray[np.float32]  # (L, K) chance of each class, adding up to 1

    @property
    def classes(self) -> NDArray[np.intp]:
        """The likeliest class of each (L,), -1 where votes are even."""
        if not len(self.rows):
            return np.empty(0, dtype=np.intp)
        top = self.targets.max(axis=1, keepdims=True)
        clear = (self.targets == top).sum(axis=1) == 1
        return np.where(clear, self.targets.argmax(axis=1), -1)


def known_classes(rows: NDArray[np.intp], classes: NDArray[np.integer], count: int) -> Known:
    """Items whose class is known for sure.

    Args:
        rows: positions in the pool (L,), each once.
        classes: of these (L,), 0 to count - 1.
        count: how many classes there are.

    Raises:
        LabelError: an item occurs twice, or a class is not one of them.
    """
    if len(np.unique(rows)) < len(rows):
        raise LabelError("An item is known twice; give each once, with one class.")
    if len(classes) and not (classes.min() >= 0 and classes.max() < count):
        raise LabelError(
            f"Classes {classes.min()} to {classes.max()} are known of {count}; give 0 to "
            f"{count - 1}."
        )
    return Known(
        np.asarray(rows, dtype=np.intp), np.eye(count, dtype=np.float32)[np.asarray(classes)]
    )
