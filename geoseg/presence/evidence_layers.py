"""The layers of evidence: outlines in images, and how their area grew."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import geopandas as gpd
import pandas as pd
import shapely
from pyogrio import write_dataframe
from pyogrio.errors import DataLayerError, DataSourceError

from geoseg.errors import OutputError
from geoseg.files import why_not_written
from geoseg.grids import DEGREES

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["GrowthRow", "Layers", "OutlineRow", "append_layers"]

_EVIDENCE, _GROWTH = "evidence", "growth"


class OutlineRow(NamedTuple):
    """One outline."""

    chip_id: str
    image: int
    date: pd.Timestamp
    sensor: str
    area_m2: float
    evidence: float
    geometry: shapely.Polygon


class GrowthRow(NamedTuple):
    """One date of a place that grew."""

    chip_id: str
    year: float
    area_m2: float
    low_m2: float
    high_m2: float
    rate_m2_per_year: float
    rate_low: float
    rate_high: float
    geometry: shapely.Point


class Layers(NamedTuple):
    """Rows of both layers."""

    outlines: list[OutlineRow]
    growth: list[GrowthRow]


def append_layers(aside: Path, out: Path, layers: Layers, *, new: bool = False) -> None:
    """Add rows to both layers of a GeoPackage, or make these.

    Args:
        aside: where it is written.
        out: where it goes, for errors.
        layers: rows of places with positions in degrees.
        new: makes both layers, which may be empty.

    Raises:
        OutputError: it cannot be written.
    """
    outlines = pd.DataFrame(layers.outlines, columns=list(OutlineRow._fields)).astype(
        {"image": "int32", "date": "datetime64[ms, UTC]", "area_m2": float, "evidence": float}
    )
    numbers = [name for name in GrowthRow._fields if name not in ("chip_id", "geometry")]
    growth = pd.DataFrame(layers.growth, columns=list(GrowthRow._fields)).astype(
        dict.fromkeys(numbers, float)
    )
    for name, table, kind in ((_EVIDENCE, outlines, "Polygon"), (_GROWTH, growth, "Point")):
        if not new and table.empty:
            continue
        layer = gpd.GeoDataFrame(table, geometry="geometry", crs=DEGREES)
        try:
            write_dataframe(
                layer, aside, layer=name, driver="GPKG", geometry_type=kind, append=not new
            )
        except (DataSourceError, DataLayerError) as error:
            reason = why_not_written(error, out.parent)
            raise OutputError(f"{out} could not be written: {reason}.") from error
