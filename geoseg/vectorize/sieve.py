"""Small regions go to what surrounds them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from geoseg.labels import IGNORE
from geoseg.vectorize.regions import NE, NW, SE, SW
from geoseg.vectorize.runs import connected

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geoseg.vectorize.regions import Regions

__all__ = ["Sieved", "sieve"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sieved:
    """Regions after small ones went to others."""

    classes: NDArray[np.uint8]  # (S,)
    size_px: NDArray[np.int64]  # (S,)
    of_region: NDArray[np.int32]  # (R,) what a region is part of now


def sieve(regions: Regions, *, below_px: int) -> Sieved:
    """Give each region of fewer than `below_px` pixels to the largest one beside it.

    A small one beside a larger small one goes where that goes. Regions of one class that come to
    touch become one, and it starts again, until no small region has a larger one beside it.
    Pixels without data take no part: what they enclose stays.
    """
    classes, size_px = regions.classes, regions.size_px
    of_region = np.arange(len(classes), dtype=np.int32)
    pairs = _small_pairs(regions, below_px)
    while len(towards := _gifts(pairs, size_px, below_px)):
        taker = _takers(towards, len(size_px))
        count, part = _united(taker, pairs, classes)
        part = part[taker]
        of_region = part[of_region]
        classes = _of_parts(part, classes[taker], count)
        size_px = np.bincount(part, size_px, count).astype(np.int64)
        pairs = _distinct(part[pairs])
    return Sieved(classes=classes, size_px=size_px, of_region=of_region)


def _small_pairs(regions: Regions, below_px: int) -> NDArray[np.int32]:
    """Regions side by side (P, 2), at least one of them small, none without data."""
    around = regions.borders.around
    takes_part = regions.classes != IGNORE
    small = takes_part & (regions.size_px < below_px)
    found = []
    for one, other in ((NW, NE), (SW, SE), (NW, SW), (NE, SE)):
        pairs = around[[one, other]].T
        matters = small[pairs].any(axis=1) & takes_part[pairs].all(axis=1)
        found.append(_distinct(pairs[matters]))
    return _distinct(np.concatenate(found))


def _distinct(pairs: NDArray[np.int32]) -> NDArray[np.int32]:
    """Pairs (P, 2) of different numbers, each once, the lower number first."""
    low, high = pairs.min(axis=1).astype(np.int64), pairs.max(axis=1).astype(np.int64)
    differ = low != high
    keys = np.unique(low[differ] << 32 | high[differ])
    return np.stack([keys >> 32, keys & 0xFFFFFFFF], axis=1).astype(np.int32)


def _gifts(
    pairs: NDArray[np.int32], size_px: NDArray[np.int64], below_px: int
) -> NDArray[np.int32]:
    """Small regions and the largest larger one beside each (G, 2).

    Of two as large the first is larger, so that no two regions go to each other.
    """
    both_ways = np.concatenate([pairs, pairs[:, ::-1]])
    giver, taker = both_ways.T
    rank = np.empty(len(size_px), dtype=np.int64)
    rank[np.lexsort((-np.arange(len(size_px)), size_px))] = np.arange(len(size_px))
    rises = (size_px[giver] < below_px) & (rank[taker] > rank[giver])
    gifts = both_ways[rises]
    in_order: NDArray[np.int32] = gifts[np.argsort(rank[gifts[:, 1]])]
    return in_order


def _takers(gifts: NDArray[np.int32], count: int) -> NDArray[np.int32]:
    """Where each of `count` regions goes in the end; those that stay, to themselves."""
    taker = np.arange(count, dtype=np.int32)
    # Gifts are in the order of the taker's rank, and the last of several to one place stays.
    taker[gifts[:, 0]] = gifts[:, 1]
    while not np.array_equal(further := taker[taker], taker):
        taker = further
    return taker


def _united(
    taker: NDArray[np.int32], pairs: NDArray[np.int32], classes: NDArray[np.uint8]
) -> tuple[int, NDArray[np.int32]]:
    """How many regions are left, and the new number of each taker."""
    one, other = taker[pairs].T
    same = classes[one] == classes[other]
    members = (
        np.concatenate([taker, one[same]]),
        np.concatenate([np.arange(len(taker)), other[same]]),
    )
    return connected(*members, len(taker))


def _of_parts(part: NDArray[np.int32], values: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    out = np.empty(count, dtype=np.uint8)
    out[part] = values
    return out
