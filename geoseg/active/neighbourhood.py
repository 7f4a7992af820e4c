"""Which items lie together on the ground."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from geoseg.presence.ranking import cells_of, hashes_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geoseg.active.pool import Pool

__all__ = ["neighbourhoods"]

_SIZE_M = 5000.0


def neighbourhoods(
    pool: Pool, rows: NDArray[np.intp], *, size_m: float = _SIZE_M
) -> NDArray[np.int64]:
    """A number (n,) for each item that those of one cell of ground share.

    Items without a position are each on their own.

    Args:
        pool: of the items.
        rows: positions of those (n,).
        size_m: side of a cell.
    """
    names = pd.Series(np.array(pool.names(rows), dtype=object))
    places = pd.DataFrame(
        {"lon": pool.lon[rows], "lat": pool.lat[rows], "hash": hashes_of(names, 0)}
    )
    # A cell is as wide as its distance over the root of two.
    return cells_of(places, size_m * math.sqrt(2))
