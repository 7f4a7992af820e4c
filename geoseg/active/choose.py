"""Strategies: which items of a pool are chosen for what heads, or neighbours, say of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from geoseg.active.acquire.clusters import cluster_margin, typiclust
from geoseg.active.acquire.diverse import badge, core_set
from geoseg.active.acquire.scores import bald, entropy, least_confidence, margin
from geoseg.active.acquire.similar import similarity
from geoseg.active.rare import (
    compact_groups,
    known_positives,
    lead,
    rare_classes,
    representatives,
    shares_of,
)
from geoseg.presence.ranking import CELLS_A_PLACE, cells_of, pick_apart

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from geoseg.active.heads import Heads
    from geoseg.active.known import Known
    from geoseg.active.pool import Pool

__all__ = ["CANDIDATES", "STRATEGIES", "Chosen", "Setting", "choose"]

CANDIDATES = 10_000  # among which items are chosen that are compared with each other
# Of their quota, where fewer lie above the threshold: that of classes that overlap is high.
_LEAST_LIKELY = 0.75
_NEXT = 0.1  # of the pool, by likelihood: of what representatives are chosen
_A_REPRESENTATIVE = 20  # candidates, at least
_SCORES: dict[str, Callable[[NDArray[np.floating]], NDArray[np.float64]]] = {
    "entropy": entropy,
    "margin": margin,
    "least_confidence": least_confidence,
}
_UNTAUGHT = ("random", "core_set", "typiclust", "similar")  # they need no heads
STRATEGIES = (
    "mixture",
    "random",
    "likely",
    "entropy",
    "margin",
    "least_confidence",
    "bald",
    "core_set",
    "badge",
    "cluster_margin",
    "typiclust",
    "similar",
)
_WHY = {
    "core_set": "far",
    "badge": "unlike",
    "cluster_margin": "unlike",
    "typiclust": "typical",
    "similar": "similar",
}


class Chosen(NamedTuple):
    """Items that were chosen for one reason, the best first."""

    why: str
    rows: NDArray[np.intp]


class Setting(NamedTuple):
    """What strategies choose by, of a pool of N items."""

    pool: Pool
    known: Known
    heads: Heads | None
    told: NDArray[np.float32] | None  # (N, K) probabilities of these heads
    free: NDArray[np.bool_]  # (N,) may be chosen
    ties: NDArray[np.uint64]  # (N,) random numbers of ids, by which what is equal is put in order
    apart_m: float
    seed: int

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """Of all items (N, K), by heads that there are."""
        assert self.told is not None
        return self.told


class _Kind(NamedTuple):
    """Items that may be chosen for one reason, the best first."""

    why: str
    rows: NDArray[np.intp]
    quota: int


def choose(setting: Setting, strategy: str, count: int) -> list[Chosen]:
    """Up to `count` items, by the reason for which they are chosen.

    Args:
        setting: what there is to choose from.
        strategy: one of STRATEGIES. One that needs heads gives way where there are none: to
            `similar` where a positive is known, else to `typiclust`.
        count: how many; none for `random`, which is all audit.
    """
    if setting.heads is None and strategy not in _UNTAUGHT:
        strategy = "similar" if len(known_positives(setting.known)) else "typiclust"
    if strategy == "random" or count < 1:
        return []
    if strategy == "mixture":
        return _mixture(setting, count)
    if strategy == "likely":
        return _likely(setting, count)
    if strategy in {"core_set", "badge", "cluster_margin", "typiclust"}:
        return [Chosen(_WHY[strategy], _compared(setting, strategy, count))]
    scores = _scores(setting, strategy)
    rows = _best(setting, scores, count)
    return _apart(setting, [_Kind(_WHY.get(strategy, "doubtful"), rows, count)])


def _mixture(setting: Setting, count: int) -> list[Chosen]:
    """The mixture of `geoseg.active.rare`, each rare class with an equal part of it."""
    shares = shares_of(count)
    rare = _rare(setting)
    likely, doubtful = [], []
    # `count` candidates of each kind: the same item may be the best of several.
    for n, k in enumerate(rare):
        leads = lead(setting.probabilities[:, k], setting.known.rows, setting.known.targets[:, k])
        quota = _part(shares.likely, n, len(rare))
        above = int((leads[setting.free] >= 0).sum())
        most = min(quota, max(above, math.ceil(_LEAST_LIKELY * quota)))
        likely.append(_Kind("likely", _best(setting, leads, count), most))
        quota = _part(shares.doubtful, n, len(rare))
        doubtful.append(_Kind("doubtful", _best(setting, -np.abs(leads), count), quota))
    picked = _apart(setting, [*likely, *doubtful])
    free = setting.free.copy()
    for one in picked:
        free[one.rows] = False
    left = count - sum(len(one.rows) for one in picked)
    score = setting.probabilities[:, rare].max(axis=1)
    unlike = _compact(setting._replace(free=free), left // 2)
    others = _representatives(setting._replace(free=free), score, left)
    # Picked again together, so that they keep their distance from the others too.
    before = [_Kind(one.why, one.rows, len(one.rows)) for one in picked]
    groups = _apart(setting, [*before, _Kind("compact", unlike, left // 2)])
    left = count - sum(len(one.rows) for one in groups)
    before = [_Kind(one.why, one.rows, len(one.rows)) for one in groups]
    return _apart(setting, [*before, _Kind("representative", others, left)])


def _compact(setting: Setting, count: int) -> NDArray[np.intp]:
    """Free items in the middle of small dense groups, of a random sample of the pool."""
    rows = _candidates(setting, np.zeros(len(setting.pool)), CANDIDATES)
    taken = np.flatnonzero(~setting.free)
    taken = taken[np.argsort(setting.ties[taken], kind="stable")]
    # As many as of the others, or what was asked for would look dense.
    some = round(len(taken) * len(rows) / max(int(setting.free.sum()), 1))
    both = np.concatenate([rows, taken[:some]])
    labelled = np.arange(len(both)) >= len(rows)
    embeddings, known = (setting.pool.embeddings(of) for of in (both, taken[some:]))
    return both[compact_groups(embeddings, labelled, count, known=known)]


def _representatives(setting: Setting, score: NDArray[np.floating], count: int) -> NDArray[np.intp]:
    """Of the free items of highest score, those in the middle of clusters; then the others."""
    near = max(round(_NEXT * len(setting.pool)), _A_REPRESENTATIVE * count)
    rows = _candidates(setting, score, min(near, CANDIDATES))
    middle = representatives(setting.pool.embeddings(rows), count, setting.seed)
    # Where places are too near to what is picked, others of the candidates stand in.
    return np.concatenate([rows[middle], np.delete(rows, middle)])


def _likely(setting: Setting, count: int) -> list[Chosen]:
    """The most likely ones of each rare class."""
    rare = _rare(setting)
    kinds = []
    for n, k in enumerate(rare):
        quota = _part(count, n, len(rare))
        kinds.append(_Kind("likely", _best(setting, setting.probabilities[:, k], count), quota))
    return _apart(setting, kinds)


def _compared(setting: Setting, strategy: str, count: int) -> NDArray[np.intp]:
    """Items chosen among candidates by comparing them with each other."""
    rng = np.random.default_rng(setting.seed)
    if strategy in {"badge", "cluster_margin"}:
        rows = _candidates(setting, margin(setting.probabilities), CANDIDATES)
        told = setting.probabilities[rows]
        embeddings = setting.pool.embeddings(rows)
        if strategy == "cluster_margin":
            return rows[cluster_margin(embeddings, told, count)]
        assert setting.heads is not None
        return rows[badge(setting.heads.features(embeddings), told, count, rng)]
    # All score alike, so that these are drawn at random.
    rows = _candidates(setting, np.zeros(len(setting.pool)), CANDIDATES)
    embeddings, known = (setting.pool.embeddings(of) for of in (rows, setting.known.rows))
    if strategy == "core_set":
        return rows[core_set(embeddings, known, count)]
    labelled = np.arange(len(rows), len(rows) + len(known))
    return rows[typiclust(np.concatenate([embeddings, known]), labelled, count, rng)]


def _scores(setting: Setting, strategy: str) -> NDArray[np.float64]:
    """What a label of each item is worth (N,) by itself."""
    if strategy in _SCORES:
        return _SCORES[strategy](setting.probabilities)
    positives = setting.pool.embeddings(known_positives(setting.known))
    found = np.zeros(len(setting.pool))
    for part, embeddings in setting.pool.pieces():
        if strategy == "similar":
            found[part] = similarity(embeddings, positives)
        else:
            assert setting.heads is not None
            found[part] = bald(setting.heads.members(embeddings))
    return found


def _candidates(setting: Setting, scores: NDArray[np.floating], count: int) -> NDArray[np.intp]:
    """Items of the highest score, apart from each other, in an order that tells nothing."""
    rows = _apart(setting, [_Kind("", _best(setting, scores, count), count)])[0].rows
    return rows[np.argsort(setting.ties[rows], kind="stable")]


def _best(setting: Setting, scores: NDArray[np.floating], count: int) -> NDArray[np.intp]:
    """Free items of the highest score, the best first: so many that `count` can be apart."""
    rows = np.flatnonzero(setting.free)
    room = count
    if setting.apart_m:
        rows = _best_of_cells(setting, rows, scores)
        room = count * CELLS_A_PLACE
    own = scores[rows]
    if 0 < room < len(rows):
        # All that equal the last one too, for ties to be broken by what does not depend on order.
        rows = rows[own >= np.partition(own, len(own) - room)[len(own) - room]]
    return rows[np.lexsort([setting.ties[rows], -scores[rows]])][:room]


def _best_of_cells(
    setting: Setting, rows: NDArray[np.intp], scores: NDArray[np.floating]
) -> NDArray[np.intp]:
    """The best item of each cell of ground."""
    pool, ties = setting.pool, setting.ties[rows]
    places = pd.DataFrame({"lon": pool.lon[rows], "lat": pool.lat[rows], "hash": ties})
    order = np.lexsort([ties, -scores[rows]])
    _, first = np.unique(cells_of(places, setting.apart_m)[order], return_index=True)
    return rows[order[first]]


def _apart(setting: Setting, kinds: list[_Kind]) -> list[Chosen]:
    """Of each kind as many as its quota, apart from each other and from those of kinds before."""
    pool = setting.pool
    tables = [
        pd.DataFrame({"chip_id": rows, "lon": pool.lon[rows], "lat": pool.lat[rows]})
        for _, rows, _ in kinds
    ]
    picked = pick_apart(tables, [kind.quota for kind in kinds], setting.apart_m)
    return [
        Chosen(kind.why, table["chip_id"].to_numpy(dtype=np.intp))
        for kind, table in zip(kinds, picked, strict=True)
    ]


def _rare(setting: Setting) -> list[int]:
    """Classes that are the likeliest of few items."""
    told = setting.probabilities
    return rare_classes(np.bincount(told.argmax(axis=1), minlength=told.shape[1]))


def _part(count: int, number: int, parts: int) -> int:
    """The part of this number when `count` is cut into equal ones; the first are greater by one."""
    return count // parts + (number < count % parts)
