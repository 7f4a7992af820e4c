"""The default choice where few items are of interest: likely ones, doubtful ones and others.

What a batch is made of, beside its random audit (`geoseg.active.propose`):

- likely: the most likely positives of the whole pool: those above the threshold below, and three
  quarters of their part of the batch however few these are. Nothing finds rare events faster once
  heads know what they look like.
- doubtful: the nearest to the threshold that separates labelled items best, which at extreme
  imbalance lies far from where classes are equally likely (DIRECT: Nuggehalli, Zhang, Jain and
  Nowak 2023, Deep active learning under imbalance and label noise).
- representative: of the tenth of the pool that is next most likely one item of each cluster, for
  kinds of positives that are a little like those known.
- compact: one item of each small group that is denser than what lies around it and has no label,
  for kinds that are like nothing known (rare category detection: He and Carbonell 2007,
  Nearest-neighbor-based active learning for rare category detection).

Representative and compact ones get what likely ones leave over: heads that have found all they know
look elsewhere.

docs/benchmarks.md has what this is worth beside its parts. No part finds a kind of positives that
looks like nothing known and forms no group, unless the audit meets it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from geoseg.presence.ranking import log_odds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geoseg.active.known import Known

__all__ = [
    "Shares",
    "best_threshold",
    "compact_groups",
    "known_positives",
    "lead",
    "rare_classes",
    "representatives",
    "shares_of",
]

_DOUBTFUL, _REPRESENTATIVE = 0.2, 0.2  # of what is chosen
_RARE = 0.5  # of an equal share
_ROUNDS = 20  # of k-means
_NEAR, _AROUND = 5, 60  # neighbours of a small group, and of what lies around it
_BLOCK = 1000  # items that are compared with all at once


class Shares(NamedTuple):
    """How many items of a batch are chosen for what."""

    likely: int
    doubtful: int
    representative: int


def shares_of(count: int) -> Shares:
    """Six tenths likely, two doubtful, two representative; what does not divide is likely."""
    doubtful, others = int(count * _DOUBTFUL), int(count * _REPRESENTATIVE)
    return Shares(count - doubtful - others, doubtful, others)


def rare_classes(counts: NDArray[np.integer]) -> list[int]:
    """Which classes are the positives, the rarest first.

    Of two classes the second, as a project names them. Of more, those of fewer than half as many
    items as an equal share would be; the rarest where there is no such.

    Args:
        counts: items of each class (K,).
    """
    if len(counts) == 2:
        return [1]
    order = np.argsort(counts, kind="stable")
    rare = [int(k) for k in order if counts[k] < _RARE * counts.sum() / len(counts)]
    return rare or [int(order[0])]


def known_positives(known: Known) -> NDArray[np.intp]:
    """Positions of items that are known to be of interest, without a model (n,).

    Of two classes the second; of more, all classes but the one most often known.
    """
    likeliest = known.targets.argmax(axis=1)
    classes = known.targets.shape[1]
    common = 0 if classes == 2 else np.bincount(likeliest, minlength=classes).argmax()
    return np.asarray(known.rows[likeliest != common])


def best_threshold(scores: NDArray[np.floating], present: NDArray[np.floating]) -> float:
    """The score that separates what is present from what is not best, of labelled items.

    The one-dimensional search of DIRECT (Nuggehalli and others 2023): with scores from high to low
    and w = 1 where present and -1 where not, the cut h is the argmax of the sum of w before h minus
    that after it. The score midway between those on either side of the cut; of several cuts that
    are as good, the one in their middle. The least score where all are present, the greatest where
    none is.

    Args:
        scores: of labelled items (L,), L >= 1, the higher the likelier present.
        present: how likely they are (L,), 0 to 1.
    """
    order = np.argsort(-scores, kind="stable")
    falling = np.asarray(scores, dtype=np.float64)[order]
    weight = 2 * np.asarray(present, dtype=np.float64)[order] - 1
    gain = np.concatenate([[0], 2 * np.cumsum(weight)]) - weight.sum()
    # A cut between equal scores is none.
    gain[1:-1][falling[1:] == falling[:-1]] = -np.inf
    best = np.flatnonzero(np.isclose(gain, gain.max()))
    cut = int(best[len(best) // 2])
    if cut in {0, len(falling)}:
        return float(falling[0 if cut == 0 else -1])
    return float(falling[cut - 1] + falling[cut]) / 2


def lead(
    probability: NDArray[np.floating],
    rows: NDArray[np.intp],
    present: NDArray[np.floating],
) -> NDArray[np.float64]:
    """How far the log odds of items (N,) lie above the best threshold of those with a label.

    Args:
        probability: of all items (N,).
        rows: those with a label (L,), L >= 1.
        present: how likely these are (L,).
    """
    odds = log_odds(probability)
    return odds - best_threshold(odds[rows], present)


def representatives(embeddings: NDArray[np.floating], count: int, seed: int) -> NDArray[np.intp]:
    """Positions (count,) of the items nearest to the middle of each cluster, large clusters first.

    Clusters of k-means (Lloyd 1982), begun as by Arthur and Vassilvitskii (2007).

    Args:
        embeddings: candidates (N, D).
        count: how many; all candidates where there are fewer.
        seed: of where clusters begin.
    """
    if len(embeddings) <= count or count < 1:
        return np.arange(min(len(embeddings), count))
    # Not at the top: it takes a second to import, and few proposals need it.
    from sklearn.cluster import KMeans

    whole = np.asarray(embeddings, dtype=np.float32)
    found = KMeans(count, n_init=1, max_iter=_ROUNDS, random_state=seed).fit(whole)
    apart = ((whole - found.cluster_centers_[found.labels_]) ** 2).sum(axis=1)
    order = np.lexsort([apart, found.labels_])
    _, first = np.unique(found.labels_[order], return_index=True)
    sizes = np.bincount(found.labels_, minlength=count)
    nearest = order[first]
    return np.asarray(nearest[np.argsort(-sizes[found.labels_[nearest]], kind="stable")])


def compact_groups(
    embeddings: NDArray[np.floating],
    labelled: NDArray[np.bool_],
    count: int,
    *,
    known: NDArray[np.floating] | None = None,
) -> NDArray[np.intp]:
    """Positions of items in the middle of small dense groups without a label, the densest first.

    An item is the denser for its surroundings the smaller the distance of its 5th neighbour is
    beside that of its 60th. Each that is chosen keeps its five neighbours from being chosen, and so
    does an item with a label. Fewer than `count` where no more are left.

    Args:
        embeddings: items (N, D), those with a label too.
        labelled: which have one (N,).
        count: how many, at most.
        known: further items (L, D) with a label, when `embeddings` are a sample: they keep what
            they are near to from being chosen, and make nothing dense.
    """
    if len(embeddings) <= _NEAR or count < 1:
        return np.empty(0, dtype=np.intp)
    points = np.asarray(embeddings, dtype=np.float32)
    neighbours, contrast = _contrast(points)
    closed = labelled | labelled[neighbours].any(axis=1)
    if known is not None and len(known):
        closed |= _near_any(points, points[neighbours[:, -1]], known.astype(np.float32))
    chosen: list[int] = []
    for row in np.argsort(-contrast, kind="stable").tolist():
        if len(chosen) == count:
            break
        if not closed[row]:
            chosen.append(row)
            closed[neighbours[row]] = closed[row] = True
    return np.array(chosen, dtype=np.intp)


def _contrast(points: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The five nearest of each item (N, 5), and how much denser it lies than what is around it."""
    around = min(_AROUND, len(points) - 1)
    whole = torch.from_numpy(points)
    length = (whole**2).sum(dim=1)
    neighbours = np.empty((len(points), _NEAR), dtype=np.intp)
    contrast = np.empty(len(points))
    for first in range(0, len(points), _BLOCK):
        part = slice(first, min(first + _BLOCK, len(points)))
        squared = torch.addmm(length[None], whole[part], whole.T, beta=1, alpha=-2)
        squared += length[part, None]
        own = torch.arange(part.start, part.stop)
        squared[own - first, own] = -1  # itself comes first, whatever rounding does
        least, order = torch.topk(squared, around + 1, largest=False)
        neighbours[part] = order[:, 1 : _NEAR + 1].numpy()
        near, far = least[:, _NEAR].clamp(min=0).sqrt(), least[:, around].clamp(min=0).sqrt()
        contrast[part] = (far / (near + 1e-6 * (length[part] + 1).sqrt())).numpy()
    return neighbours, contrast


def _near_any(
    points: NDArray[np.float32], farthest: NDArray[np.float32], known: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Whether an item of `known` (L, D) is as near to each point (N, D) as its fifth neighbour."""
    reach = ((points - farthest) ** 2).sum(axis=1)
    whole, others = torch.from_numpy(points), torch.from_numpy(known)
    length = (whole**2).sum(dim=1)
    least = torch.full((len(points),), torch.inf)
    for part in others.split(_BLOCK):
        squared = torch.addmm((part**2).sum(dim=1)[:, None], part, whole.T, beta=1, alpha=-2)
        least = torch.minimum(least, squared.amin(dim=0) + length)
    return np.asarray(least.numpy() <= reach)
