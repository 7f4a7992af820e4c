"""Which items of a pool to ask about next: chosen by a strategy, and drawn at random beside it.

What is chosen for a score tells nothing of what the score misses. So a tenth or more of each batch
is a random audit: a simple random sample of all items that nobody was asked about and that were not
chosen, of known inclusion probability, by which what is in the pool is counted without bias
(`geoseg.active.audits`).

A cold start: with positives known, from an inventory or from somebody's memory, items like them are
chosen (`similar`); such a list of seeds enters as answers, before the first proposal. With none
known, items that are typical of their part of the pool are (`typiclust`), and the audit looks for
the first positive.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from geoseg.active.audits import AUDIT, LEAST_AUDIT, audit_size
from geoseg.active.choose import STRATEGIES, Setting, choose
from geoseg.active.record import Drawn
from geoseg.errors import ConfigError, DataError, nearest
from geoseg.presence.ranking import hashes_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geoseg.active.heads import Heads
    from geoseg.active.known import Known
    from geoseg.active.pool import Pool

__all__ = ["ProposeSettings", "propose", "shown_chances"]

_NOBODY = np.empty(0, dtype=np.intp)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposeSettings:
    """What is proposed."""

    strategy: str = "mixture"  # of geoseg.active.choose.STRATEGIES
    count: int = 200  # items, the audit included
    apart_m: float = 0.0  # at least, between two that are chosen; 0: no matter
    audit_share: float = LEAST_AUDIT  # of the items, drawn at random; all of them by `random`
    seed: int = 0  # of the audit; the same in every round will do

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise ConfigError(
                f"There is no strategy {self.strategy!r}. {nearest(self.strategy, STRATEGIES)}"
            )
        if self.count < 1:
            raise ConfigError(f"A proposal of {self.count} items is none; ask for 1 or more.")
        if not (self.apart_m == 0 or 1 <= self.apart_m < math.inf):
            raise ConfigError(
                f"Items cannot be kept {self.apart_m} m apart; give 1 or more metres, or 0."
            )
        if not LEAST_AUDIT <= self.audit_share <= 1:
            raise ConfigError(
                f"An audit of a share of {self.audit_share} is too small or too large; give 0.1 "
                "to 1, for without one nothing tells what heads miss."
            )

    @property
    def audit(self) -> int:
        """How many are drawn at random, where there are enough items."""
        return self.audit_of(self.count)

    def audit_of(self, count: int) -> int:
        """How many of `count` items are drawn at random."""
        return audit_size(count, 1.0 if self.strategy == "random" else self.audit_share)


def propose(
    pool: Pool,
    known: Known,
    heads: Heads | None,
    settings: ProposeSettings,
    *,
    asked: NDArray[np.intp] = _NOBODY,
) -> list[Drawn]:
    """What to look at next, in the order to look at; any first part of it holds audit too.

    Chosen items have an inclusion of 1, and no two of them are nearer than `apart_m` where their
    position is known. The audit is not thinned, because that would make its inclusion untrue. There
    are fewer items than were asked for where the pool, or its ground, has no more. The same items
    give the same proposal, whatever their order in the pool.

    Embeddings are read in pieces. Strategies that compare items with each other do so among 10,000
    candidates: the most doubtful ones (badge, cluster_margin), the most likely ones (mixture), or a
    random sample (core_set, typiclust).

    Args:
        pool: of N items.
        known: those with a label, of K classes; none of them is proposed.
        heads: of the same classes; None where none have learned yet: strategies that need them then
            choose what is similar to known positives, or what is typical where there is none.
        settings: of which strategy, and how many.
        asked: positions of other items that are not to be proposed: those that wait for an answer,
            and those of which nobody could tell.

    Raises:
        DataError: known items that are not of this pool.
        ModelError: heads of other embeddings.
        ConfigError: heads of other classes.
    """
    _require_own(pool, known, heads)
    hashes = hashes_of(pd.Series(pool.items.to_numpy(), dtype=object), settings.seed)
    free = np.ones(len(pool), dtype=bool)
    free[known.rows] = free[asked] = False
    setting = Setting(
        pool=pool,
        known=known,
        heads=heads,
        told=None if heads is None else _told(pool, heads),
        free=free,
        # Others in each round, so that what is drawn to choose from is drawn anew.
        ties=_mixed(hashes + np.uint64(len(pool) - free.sum())),
        apart_m=settings.apart_m,
        seed=settings.seed,
    )
    # Of what is left, so that a round that takes it all has its audit too.
    count = min(settings.count, int(free.sum()))
    audits = settings.audit_of(count)
    chosen = choose(setting, settings.strategy, count - audits)
    left = free.copy()
    for one in chosen:
        left[one.rows] = False
    rest = np.flatnonzero(left)
    # By hashes that nothing was chosen by: the smallest are a simple random sample. The same in
    # every round, so that all audits follow one order, as `geoseg.active.audits` has it.
    audit = rest[np.argsort(hashes[rest], kind="stable")][:audits]
    groups = [(one.why, one.rows, 1.0) for one in chosen]
    return _ranked(setting, [*groups, (AUDIT, audit, len(audit) / max(len(rest), 1))])


def shown_chances(told: NDArray[np.floating]) -> list[float]:
    """What people are shown of probabilities (n, K): of the second of two, or of the likeliest."""
    return [float(of) for of in (told[:, 1] if told.shape[1] == 2 else told.max(axis=1))]


def _require_own(pool: Pool, known: Known, heads: Heads | None) -> None:
    if len(known.rows) and not (known.rows.min() >= 0 and known.rows.max() < len(pool)):
        raise DataError(
            f"Item {known.rows.max()} is known and the pool has {len(pool)}; give the pool that "
            "was labelled."
        )
    if heads is not None and heads.classes != known.targets.shape[1]:
        raise ConfigError(
            f"The heads tell {heads.classes} classes apart and labels are of "
            f"{known.targets.shape[1]}; train heads on these labels."
        )


def _told(pool: Pool, heads: Heads) -> NDArray[np.float32]:
    """Probabilities of all items (N, K)."""
    told = np.empty((len(pool), heads.classes), dtype=np.float32)
    for part, embeddings in pool.pieces():
        told[part] = heads.probabilities(embeddings)
    return told


def _ranked(setting: Setting, groups: list[tuple[str, NDArray[np.intp], float]]) -> list[Drawn]:
    """Groups as one list, the items of each spread evenly over it."""
    whys = [why for why, rows, _ in groups for _ in rows]
    shares = [share for _, rows, share in groups for _ in rows]
    spread = np.concatenate([(np.arange(len(rows)) + 0.5) / len(rows) for _, rows, _ in groups])
    rows = np.concatenate([rows for _, rows, _ in groups]).astype(np.intp)
    names = setting.pool.names(rows)
    told = setting.told
    chances = [None] * len(rows) if told is None else shown_chances(told[rows])
    return [
        Drawn(names[n], whys[n], shares[n], chances[n]) for n in np.argsort(spread, kind="stable")
    ]


def _mixed(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Other numbers, one for each: the finaliser of SplitMix64 (Steele, Lea and Flood 2014)."""
    z = hashes ^ (hashes >> np.uint64(30))
    z = z * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))
