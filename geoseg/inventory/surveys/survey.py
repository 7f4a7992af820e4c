"""The outlines that one survey found, and the ground that it saw."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import shapely
from pyproj import CRS

from geoseg.dates import Interval, decimal_year
from geoseg.errors import GridError, LabelError
from geoseg.grids import require_metres

if TYPE_CHECKING:
    import datetime as dt

    import geopandas as gpd
    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

__all__ = ["GLACIER_PARTS", "ICE_CLASSES", "LAKE_CLASSES", "Survey", "kind_of", "presumed_ground"]

GLACIER_PARTS = frozenset({"clean_ice", "debris_ice"})  # that a glacier is made of
ICE_CLASSES = GLACIER_PARTS | {"glacier"}
LAKE_CLASSES = frozenset({"lake", "supraglacial_lake", "proglacial_lake", "other_lake"})


def kind_of(class_name: str) -> str:
    """What is tracked as one thing: glacier for any ice, lake for any lake, else the class."""
    if class_name in ICE_CLASSES:
        return "glacier"
    return "lake" if class_name in LAKE_CLASSES else class_name


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Outlines of one date; `kind` and `class_name` are columns of them, others may be.

    Outlines of a kind do not overlap each other. Ground that was not seen, under a cloud or outside
    the scene, is not in `seen`: that nothing was found there says nothing.
    """

    name: str  # unique within an inventory
    start: datetime  # UTC
    end: datetime  # half-open
    outlines: gpd.GeoDataFrame  # in a projected CRS in metres, polygons or multipolygons
    seen: BaseGeometry | None  # in the same CRS; None where all of the ground was seen
    source: str  # the scene, or the name of the file
    sensor: str | None = None
    gsd_m: float | None = None  # of the image that outlines were drawn on
    presumed: bool = False  # whether `seen` is no more than what the outlines let presume
    model: str | None = None  # SHA-256 of the network, or what else drew the outlines

    def __post_init__(self) -> None:
        if not self.start.tzinfo or not self.start < self.end:
            raise LabelError(
                f"Survey {self.name!r} runs from {self.start} to {self.end}; give times in UTC, "
                "the first before the last."
            )
        if self.outlines.crs is None:
            raise GridError(f"Survey {self.name!r} has no coordinate reference system.")
        require_metres(CRS(self.outlines.crs), "Surveys")
        if missing := {"kind", "class_name"} - set(self.outlines.columns):
            raise LabelError(f"Survey {self.name!r} has no column {min(missing)!r}.")

    @property
    def known_ground(self) -> BaseGeometry | None:
        """Ground beyond which an outline ends because nothing was seen; None where none is known.

        What ground is presumed says whether what was not drawn was not there. What was drawn is
        whole, wherever it lies.
        """
        return None if self.presumed else self.seen

    @property
    def middle(self) -> datetime:
        """The middle of the acquisition."""
        return self.start + (self.end - self.start) / 2

    @property
    def year(self) -> float:
        """The middle of the acquisition as a year with a fraction."""
        return decimal_year(self.middle)

    @property
    def first_day(self) -> dt.date:
        """The day that it begins."""
        return Interval(self.start, self.end).first_day

    @property
    def end_day(self) -> dt.date:
        """The first day after it."""
        return Interval(self.start, self.end).end_day

    def ground_of(self, kind: str) -> BaseGeometry | None:
        """The ground on which what was not drawn of a kind was not there; None for all ground.

        Where it is presumed, it is so from the outlines of that kind: a file of lakes says nothing
        of glaciers.
        """
        if not self.presumed:
            return self.seen
        own = (self.outlines["kind"] == kind).to_numpy()
        return presumed_ground(self.outlines.geometry.to_numpy()[own])


def presumed_ground(polygons: NDArray[np.object_]) -> BaseGeometry:
    """The ground that a survey saw which does not say so: around its outlines, and between them.

    An inventory lists what there was in its region; beyond its outermost outlines, by as far as
    neighbours lie apart, it says nothing.
    """
    if not len(polygons):
        return shapely.Polygon()
    west, south, east, north = shapely.bounds(polygons).T
    corners = np.stack([[west, west, east, east], [south, north, south, north]], axis=-1)
    hull = shapely.MultiPoint(corners.reshape(-1, 2)).convex_hull
    points = shapely.centroid(polygons)
    _, away = shapely.STRtree(points).query_nearest(points, exclusive=True, return_distance=True)
    # One outline has no neighbour, nor has one that lies upon another of the same middle.
    ground: BaseGeometry = hull.buffer(float(np.median(away))) if len(away) else hull
    return ground
