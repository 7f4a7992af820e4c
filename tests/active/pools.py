"""Pools in memory, to test with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from geoseg.active.pool import Pool

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def pool_of(embeddings: ArrayLike, *, lon=None, lat=None, names=None) -> Pool:
    stored = np.asarray(embeddings, dtype=np.float16)
    nowhere = np.full(len(stored), np.nan)
    return Pool(
        items=pa.chunked_array([pa.array(names or [f"item-{n}" for n in range(len(stored))])]),
        lon=nowhere if lon is None else np.asarray(lon, dtype=float),
        lat=nowhere if lat is None else np.asarray(lat, dtype=float),
        stored=stored,
        digest="d",
        source="a test",
    )
