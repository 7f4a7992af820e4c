"""The best of very many places by some score, kept apart on the ground, in one pass."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "CELLS_A_PLACE",
    "EARTH_RADIUS_M",
    "Best",
    "cells_of",
    "hashes_of",
    "log_odds",
    "pick_apart",
]

EARTH_RADIUS_M = 6_371_008.8
# A place that is picked keeps others out of its circle. Cells are as wide as its radius over the
# root of two, so that at most 21 touch it; more only near the poles, where they are narrower. With
# so many best cells at hand, as many places are picked as there are.
CELLS_A_PLACE = 32
_PLACE = ("chip_id", "lon", "lat", "probability")
_LEAST_PROBABILITY = 1e-12  # below it, log odds are alike


class Best:
    """The best place of each cell of ground, of as many best cells as fit.

    A cell that is dropped for its score comes back when a better place of it is seen, so that what
    is left at the end does not depend on the order in which places came.
    """

    def __init__(self, most: int) -> None:
        """With room for `most` rows, 1 or more."""
        self._most = most
        self._floor = -math.inf
        self.rows = pd.DataFrame(columns=[*_PLACE, "hash", "cell", "score"])

    def add(self, rows: pd.DataFrame) -> None:
        """Look at more places.

        Args:
            rows: chip_id, lon, lat, probability, hash, cell, score (higher is better, none is
                NaN), and whatever else is to be kept.
        """
        new = rows[rows["score"] >= self._floor]
        if new.empty:
            # Their columns and types are kept, though no row is.
            self.rows = self.rows if len(self.rows) else new
            return
        both = pd.concat([self.rows, new]) if len(self.rows) else new
        # By hash where scores are equal: by id, neighbours would come together.
        both = both.sort_values(["score", "hash", "chip_id"], ascending=[False, True, True])
        self.rows = both.drop_duplicates("cell").head(self._most)
        if len(self.rows) == self._most:
            self._floor = float(self.rows["score"].iloc[-1])


def pick_apart(kinds: list[pd.DataFrame], quotas: list[int], apart_m: float) -> list[pd.DataFrame]:
    """The first rows of each table that are far enough from all rows that were picked before.

    Args:
        kinds: chip_id, lon, lat, the best first; picked from in this order. The same place may be
            in several, and is picked once.
        quotas: how many rows of each, at most.
        apart_m: least distance; 0 where it does not matter. Places without a position are near
            none.
    """
    rows = pd.concat([k[["chip_id", "lon", "lat"]] for k in kinds], ignore_index=True)
    points = _points(rows)
    tree = cKDTree(points)
    reach = 2 * math.sin(min(apart_m / (2 * EARTH_RADIUS_M), math.pi / 2))
    same = rows.groupby("chip_id", sort=False).indices
    free = np.ones(len(rows), dtype=bool)
    picked, begin = [], 0
    for kind, quota in zip(kinds, quotas, strict=True):
        own: list[int] = []
        for row in range(begin, begin + len(kind)):
            if len(own) == quota:
                break
            if free[row]:
                own.append(row - begin)
                free[same[rows["chip_id"].iloc[row]]] = False
                if apart_m:
                    free[tree.query_ball_point(points[row], reach)] = False
        picked.append(kind.iloc[own])
        begin += len(kind)
    return picked


def hashes_of(ids: pd.Series[str], seed: int) -> NDArray[np.uint64]:
    """A number for each id and a seed, uniform over 64 bits: SipHash (Aumasson, Bernstein 2012)."""
    key = f"{seed % 10**16:016d}"
    hashed = pd.util.hash_array(ids.to_numpy(dtype=object), hash_key=key, categorize=False)
    return np.asarray(hashed, dtype=np.uint64)


def cells_of(places: pd.DataFrame, apart_m: float) -> NDArray[np.int64]:
    """The number (n,) of the cell of ground of each place; any two of one cell are too near.

    A place without a position is a cell of its own; each is where distance does not matter.

    Args:
        places: lon, lat in degrees, and hash.
        apart_m: least distance: 1 or more, or 0 where it does not matter.
    """
    lon, lat = (places[name].to_numpy(dtype=np.float64) for name in ("lon", "lat"))
    alone = -1 - (places["hash"].to_numpy(dtype=np.uint64) >> np.uint64(1)).astype(np.int64)
    if apart_m == 0:
        return alone
    side = math.degrees(apart_m / EARTH_RADIUS_M / math.sqrt(2))
    known = np.isfinite(lon) & np.isfinite(lat)
    row = np.floor(np.where(known, lat + 90, 0) / side).astype(np.int64)
    # A row is widest at its end near the equator; at a pole it would be one column of any width.
    ends = np.abs(np.stack([row, row + 1]) * side - 90).min(axis=0)
    widest = np.cos(np.radians(np.minimum(ends, 89.9)))
    column = np.floor(np.where(known, lon % 360, 0) * widest / side).astype(np.int64)
    columns = math.ceil(360 / side) + 1
    return np.where(known, row * columns + column, alone)


def log_odds(probability: ArrayLike) -> NDArray[np.float64]:
    """ln(p / (1 - p)), finite at 0 and at 1 too."""
    given = np.asarray(probability, dtype=np.float64)
    clipped = np.clip(given, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))


def _points(places: pd.DataFrame) -> NDArray[np.float64]:
    """Places on the unit sphere (n, 3); those without a position far from it and from all."""
    lon, lat = (np.radians(places[name].to_numpy(dtype=np.float64)) for name in ("lon", "lat"))
    points = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
    far = 10.0 * (1 + np.arange(len(points)))[:, None] * np.ones(3)
    return np.where(np.isfinite(points), points, far)
