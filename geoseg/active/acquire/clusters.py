"""Batches that take from every cluster: of the most doubtful items, or of all at a cold start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from sklearn.metrics import euclidean_distances
from sklearn.neighbors import NearestNeighbors

from geoseg.active.acquire.partition import k_means, nearest_centre
from geoseg.active.acquire.scores import margin

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["cluster_margin", "typiclust"]

_MOST_IN_HIERARCHY = 10_000  # items: all distances between them are held, some 1 GB
_A_PLACE = 10  # candidates for each item that is wanted
_A_CLUSTER = 10  # candidates of a cluster, on average
_MOST_CLUSTERS = 1000  # of k-means; 500 in the paper, for pools of 50,000
_NEIGHBOURS = 20  # as in the paper
_MOST_COMPARED = 5000  # items of a cluster, each with each


def cluster_margin(
    embeddings: NDArray[np.floating], probabilities: NDArray[np.floating], count: int
) -> NDArray[np.intp]:
    """Positions chosen, in order: the most doubtful, from every cluster of doubtful items in turn.

    Of the items of smallest margin, ten for each that is wanted, clusters are made by average
    linkage, a tenth as many as items. They are gone through from the smallest to the largest, again
    and again, and each gives its most doubtful item that is left (Citovsky et al. 2021, Batch
    active learning at scale; there the whole pool is clustered, and a cluster gives items at
    random). Where more than 1,000 are wanted there are fewer than ten for each: 10,000 in all, or
    as many as are wanted. Of equal margins the lowest position is first, of clusters of one size
    that with the most doubtful item.

    Args:
        embeddings: candidates (N, D); those of smallest margin alone are read.
        probabilities: of their classes (N, K).
        count: how many; all candidates where there are fewer.
    """
    within = max(count, min(_A_PLACE * count, _MOST_IN_HIERARCHY))
    doubtful = np.argsort(-margin(probabilities), kind="stable")[:within].astype(np.intp)
    if len(doubtful) <= count:
        return doubtful
    cluster = _hierarchy(embeddings[doubtful], -(-len(doubtful) // _A_CLUSTER))
    turn = np.empty(len(cluster), dtype=np.intp)
    for members in _members(cluster):
        turn[members] = np.arange(len(members))
    size = np.bincount(cluster)[cluster]
    return doubtful[np.lexsort((cluster, size, turn))[:count]]


def typiclust(
    embeddings: NDArray[np.floating],
    labelled: NDArray[np.intp],
    count: int,
    rng: np.random.Generator,
) -> NDArray[np.intp]:
    """Positions chosen, in order: the most typical item of each cluster that has no labelled one.

    For a cold start (Hacohen, Dekel and Weinshall 2022, Active learning on a budget: opposite
    strategies suit high and low budgets). K-means makes as many clusters as there are labelled and
    wanted items, 1,000 at most. Those of the fewest labelled items come first, of these the
    largest, and give an item each; again and again where more are wanted. Typical is what has the
    smallest mean distance to its 20 nearest neighbours in the cluster, or in 5,000 of a larger one.
    Of what is equal, the lowest position.

    Args:
        embeddings: all items (N, D), labelled ones too; may be mapped from disk, and one cluster
            and a sample are held at a time.
        labelled: positions (L,) of those that have a label, L >= 0; none of them is chosen.
        count: how many; all items without a label where there are fewer.
        rng: the same gives the same choice.
    """
    if not len(embeddings) or not count:
        return np.empty(0, dtype=np.intp)
    centres = k_means(embeddings, min(len(labelled) + count, _MOST_CLUSTERS), rng)
    cluster = _by_first(nearest_centre(embeddings, centres))
    known = np.zeros(len(cluster), dtype=bool)
    known[labelled] = True
    covered, size = np.bincount(cluster, weights=known), np.bincount(cluster)
    order = np.lexsort((-size, covered))
    # As many clusters as items are wanted give one each; where there are fewer, all are needed.
    order = order[covered[order] < size[order]][:count]
    members = _members(cluster)
    typical = [_by_typicality(embeddings, members[own], rng) for own in order]
    given = [some[~known[some]] for some in typical]
    turn = np.concatenate([np.arange(len(some)) for some in given] or [order])
    chosen = np.concatenate([*given, np.empty(0, dtype=np.intp)])
    return chosen[np.argsort(turn, kind="stable")[:count]]


def _hierarchy(embeddings: NDArray[np.floating], clusters: int) -> NDArray[np.intp]:
    """The cluster (N,) of each item, by average linkage of Euclidean distances."""
    apart = euclidean_distances(embeddings.astype(np.float32))
    np.fill_diagonal(apart, 0)
    tree = linkage(squareform(apart, checks=False), method="average")
    return _by_first(fcluster(tree, clusters, criterion="maxclust"))


def _by_first(labels: NDArray[np.integer]) -> NDArray[np.intp]:
    """Labels (N,) numbered from 0 in the order in which they occur first."""
    _, first, own = np.unique(labels, return_index=True, return_inverse=True)
    number = np.empty(len(first), dtype=np.intp)
    number[np.argsort(first)] = np.arange(len(first))
    return number[own]


def _members(cluster: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Positions in each cluster, rising."""
    ends = np.cumsum(np.bincount(cluster))
    return np.split(np.argsort(cluster, kind="stable").astype(np.intp), ends[:-1])


def _by_typicality(
    embeddings: NDArray[np.floating], members: NDArray[np.intp], rng: np.random.Generator
) -> NDArray[np.intp]:
    """Members of a cluster, the most typical first; what is not compared comes last."""
    compared = members
    if len(members) > _MOST_COMPARED:
        compared = np.sort(rng.choice(members, _MOST_COMPARED, replace=False))
    if len(compared) == 1:
        return compared
    near = NearestNeighbors(n_neighbors=min(_NEIGHBOURS, len(compared) - 1), algorithm="brute")
    # Double precision, so that what is equal stays so.
    distance, _ = near.fit(embeddings[compared].astype(np.float64)).kneighbors()
    typical = compared[np.argsort(distance.mean(axis=1), kind="stable")]
    rest = np.setdiff1d(members, compared, assume_unique=True)
    return np.concatenate([typical, rest])
