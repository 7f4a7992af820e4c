"""How near items are to those that are known to be what is looked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from geoseg.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["similarity"]

_BLOCK = 8192  # items that are compared with all known ones at once


def similarity(
    embeddings: NDArray[np.floating], positives: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Cosine to the nearest positive (N,), -1 to 1.

    For the first labels of a rare class, of which a few are known and a random item is none
    (Coleman et al. 2022, Similarity search for efficient active learning and search of rare
    concepts, restrict a search to neighbours of what is labelled; here all items are ranked, so
    that no kind of positive is out of reach). An embedding of zeros is at right angles to all.

    Args:
        embeddings: items (N, D).
        positives: (P, D), P >= 1.

    Raises:
        ConfigError: no positive is known, or they are of another width.
    """
    if not len(positives):
        raise ConfigError(
            "No positive item is known, so none can be similar to it; give one an answer, or "
            "propose by typiclust."
        )
    if positives.shape[1:] != embeddings.shape[1:]:
        raise ConfigError(
            f"Known items have {positives.shape[-1]} numbers and the others "
            f"{embeddings.shape[-1]}; embed both with one encoder."
        )
    directions = _directions(positives).T
    found = np.empty(len(embeddings))
    for first in range(0, len(embeddings), _BLOCK):
        block = slice(first, first + _BLOCK)
        found[block] = (_directions(embeddings[block]) @ directions).max(axis=1)
    return found


def _directions(embeddings: NDArray[np.floating]) -> NDArray[np.floating]:
    """Embeddings of length 1, in single precision or the double they were given in."""
    kept = embeddings.dtype == np.float64
    points = embeddings.astype(np.float64 if kept else np.float32)
    length = np.linalg.norm(points, axis=1, keepdims=True)
    return np.asarray(points / np.where(length > 0, length, 1))
