"""K-means of very many embeddings: centres from a sample, then the nearest one of each item."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import pairwise_distances_argmin

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["k_means", "nearest_centre"]

_A_CENTRE = 64  # items that its place is found from; faiss takes 39 to 256
_SEEDED = 2000  # items at least that first centres are drawn from, or four for each centre
_ROUNDS = 10  # twenty bring a thousandth
_BLOCK = 65_536  # items whose nearest centre is found at once


def k_means(
    embeddings: NDArray[np.floating], count: int, rng: np.random.Generator
) -> NDArray[np.floating]:
    """Centres (C, D) of clusters: `count`, or as many as there are items.

    K-means++ (Arthur and Vassilvitskii 2007) and 10 rounds of Lloyd's algorithm, by scikit-learn.
    From 64 items for each centre, drawn evenly, where there are more: embeddings may be mapped from
    disk, and what is held does not grow with them.

    Args:
        embeddings: (N, D), N >= 1.
        count: 1 or more.
        rng: the same gives the same centres.
    """
    sample = _some(embeddings, _A_CENTRE * count, rng)
    count = min(count, len(sample))
    seed = int(rng.integers(2**32))
    drawn_from = _some(sample, max(_SEEDED, 4 * count), rng)
    with warnings.catch_warnings():
        # Fewer distinct items than centres: some centres are equal, and none is nearest to all but
        # the first of them.
        warnings.simplefilter("ignore", ConvergenceWarning)
        first, _ = kmeans_plusplus(drawn_from, count, random_state=seed)
        found = KMeans(count, init=first, n_init=1, max_iter=_ROUNDS).fit(sample)
    centres: NDArray[np.floating] = found.cluster_centers_
    return centres


def nearest_centre(
    embeddings: NDArray[np.floating], centres: NDArray[np.floating]
) -> NDArray[np.intp]:
    """Number (N,) of the centre that is nearest to each of (N, D); the lowest of equals."""
    found = np.empty(len(embeddings), dtype=np.intp)
    for first in range(0, len(embeddings), _BLOCK):
        block = slice(first, first + _BLOCK)
        found[block] = pairwise_distances_argmin(_in_single(embeddings[block]), centres)
    return found


def _some(
    embeddings: NDArray[np.floating], most: int, rng: np.random.Generator
) -> NDArray[np.floating]:
    """All, or `most` drawn evenly, in their order."""
    if len(embeddings) <= most:
        return _in_single(embeddings)
    return _in_single(embeddings[np.sort(rng.choice(len(embeddings), most, replace=False))])


def _in_single(embeddings: NDArray[np.floating]) -> NDArray[np.floating]:
    """Single precision, or double where it was given so."""
    kept = embeddings.dtype == np.float64
    return np.asarray(embeddings, dtype=np.float64 if kept else np.float32)
