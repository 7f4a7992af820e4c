"""Tables with different columns, one below the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["stacked"]


def stacked(parts: Sequence[gpd.GeoDataFrame]) -> gpd.GeoDataFrame:
    """All rows of some tables of one CRS, at least one; what a table does not say is None."""

    def column(part: gpd.GeoDataFrame, name: str) -> NDArray[np.object_]:
        empty = np.full(len(part), None, dtype=object)
        return np.asarray(part[name], dtype=object) if name in part.columns else empty

    names = dict.fromkeys(c for part in parts for c in part.columns if c != part.geometry.name)
    columns = {name: np.concatenate([column(part, name) for part in parts]) for name in names}
    geometry = np.concatenate([part.geometry.to_numpy() for part in parts])
    return gpd.GeoDataFrame(columns, geometry=geometry, crs=parts[0].crs)
