"""An inventory: outlines through time, and what is known of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import geopandas as gpd
    import pandas as pd

__all__ = ["About", "Inventory"]


@dataclass(frozen=True, kw_only=True)
class About:
    """What an inventory says of itself."""

    title: str
    licence: str
    provenance: dict[str, str]  # geoseg, recipe_hash, ...: what it was made from


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """Tables that belong together; docs/inventory.md says what each column means.

    All tables with geometry share one projected CRS in metres.
    """

    outlines: gpd.GeoDataFrame  # polygons: all outlines of all surveys
    tracks: gpd.GeoDataFrame  # polygons: each track as it was seen last
    events: gpd.GeoDataFrame  # points
    lakes: gpd.GeoDataFrame  # polygons: the lakes among the outlines, with their type
    changes: gpd.GeoDataFrame  # polygons: ground gained and lost between surveys
    surveys: gpd.GeoDataFrame  # polygons: the ground that each survey saw
    states: pd.DataFrame  # present, absent or unknown, of each track at each survey
    title: str
    licence: str
    provenance: dict[str, str]  # geoseg, recipe_hash, ...: what it was made from

    def tables(self) -> Iterator[tuple[str, pd.DataFrame]]:
        """Layers by name, in the order that they are drawn, the lowest first."""
        for name in ("surveys", "tracks", "outlines", "lakes", "changes", "events", "states"):
            yield name, getattr(self, name)
