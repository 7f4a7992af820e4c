"""A simulated pool: few items of interest, of several hidden kinds, each beside a common one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from geoseg.active.loop import LabelledPool
from geoseg.active.pool import Pool
from geoseg.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["NeedleSettings", "Needles", "needle_pool", "simulate_needles"]

_SHARES = (0.4, 0.3, 0.2, 0.1)  # of the positives, by hidden kind
_CENTRE_SD = 1.0  # of background clusters, whose own spread is 1 in each direction


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedleSettings:
    """What a simulated pool is like."""

    items: int = 10_000
    prevalence: float = 0.01
    width: int = 64  # numbers of an embedding
    clusters: int = 30  # of the background
    offset: float = 4.5  # from the middle of a cluster to that of a kind, in spreads of the cluster
    spread: float = 0.5  # of a kind, in that of a cluster

    def __post_init__(self) -> None:
        if not 0 < self.prevalence < 0.5 or self.items * self.prevalence < 2 * len(_SHARES):
            raise ConfigError(
                f"Of {self.items} items a share of {self.prevalence} is too few or too many; let 8 "
                "or more be positive, and fewer than half."
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Needles:
    """Items and what they are."""

    embeddings: NDArray[np.float32]  # (N, D)
    classes: NDArray[np.intp]  # (N,) 1 where positive
    kinds: NDArray[np.intp]  # (N,) hidden kind of a positive, 0 to 3, or -1


def simulate_needles(settings: NeedleSettings, *, seed: int, part: int = 0) -> Needles:
    """Items of Gaussian clusters; beside four of these lies a kind of positives each.

    Kinds have 40, 30, 20 and 10 % of the positives. Each lies in a direction of its own, so that
    one says little of the others.

    Args:
        settings: how many, and how hard.
        seed: of where clusters and kinds lie.
        part: other items of the same clusters, such as those that test.
    """
    world, rng = np.random.default_rng(seed), np.random.default_rng([seed, 1, part])
    centres = world.standard_normal((settings.clusters, settings.width)) * _CENTRE_SD
    ways = world.standard_normal((len(_SHARES), settings.width))
    ways *= settings.offset / np.linalg.norm(ways, axis=1, keepdims=True)
    beside = world.choice(settings.clusters, len(_SHARES), replace=False)
    positives = round(settings.items * settings.prevalence)
    kinds = np.full(settings.items, -1)
    counts = np.maximum(np.round(np.array(_SHARES) * positives).astype(int), 1)
    kinds[: counts.sum()] = np.repeat(np.arange(len(_SHARES)), counts)
    kinds = rng.permutation(kinds)
    present = kinds >= 0
    middle = np.where(
        present[:, None],
        (centres[beside] + ways)[kinds],
        centres[rng.integers(0, settings.clusters, settings.items)],
    )
    spread = np.where(present, settings.spread, 1.0)[:, None]
    embeddings = middle + spread * rng.standard_normal((settings.items, settings.width))
    return Needles(
        embeddings=embeddings.astype(np.float32), classes=present.astype(np.intp), kinds=kinds
    )


def needle_pool(settings: NeedleSettings, *, seed: int) -> LabelledPool:
    """Simulated items in memory, and as many others of the same clusters that test."""
    items, tested = (simulate_needles(settings, seed=seed, part=part) for part in (0, 1))
    nowhere = np.full(settings.items, np.nan)
    pool = Pool(
        items=pa.chunked_array([pa.array([f"item-{n}" for n in range(settings.items)])]),
        lon=nowhere,
        lat=nowhere,
        stored=items.embeddings.astype(np.float16),
        digest="",
        source=f"simulated items {seed}",
    )
    return LabelledPool(
        pool=pool,
        classes=items.classes,
        kinds=items.kinds,
        tested=tested.embeddings,
        tested_classes=tested.classes,
        names=("absent", "present"),
    )
