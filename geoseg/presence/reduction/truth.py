"""Which chips hold a true outline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError

from geoseg.errors import GridError, LabelError, nearest
from geoseg.vectors import opening

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from pyproj import CRS

__all__ = ["present_by_outlines", "read_true_outlines"]

_ROUNDING = 1e-9  # relative, of coordinates of some 10^6 m


def present_by_outlines(
    chips: NDArray[np.object_], outlines: NDArray[np.object_], *, min_area_m2: float
) -> NDArray[np.bool_]:
    """Whether each chip (N,) holds a piece of ground inside outlines that is large enough.

    Outlines that touch along a side are one; what lies outside of the chip does not count. So a
    mask burnt from the outlines gives the same as `noisy_or` where they follow the pixels.

    Args:
        chips: polygons, in a reference system in metres.
        outlines: valid polygons in the same one.
        min_area_m2: of the piece.
    """
    present = np.zeros(len(chips), dtype=bool)
    chip, outline = shapely.STRtree(outlines).query(chips, predicate="intersects")
    order = np.argsort(chip, kind="stable")
    chip, outline = chip[order], outline[order]
    cut = shapely.intersection(chips[chip], outlines[outline])
    least = min_area_m2 * (1 - _ROUNDING)
    for number, pieces in zip(*_grouped(chip, cut), strict=True):
        joined = shapely.union_all(pieces) if len(pieces) > 1 else pieces[0]
        present[number] = bool((shapely.area(shapely.get_parts(joined)) >= least).any())
    return present


def _grouped(
    numbers: NDArray[np.int64], values: NDArray[np.object_]
) -> tuple[NDArray[np.int64], list[NDArray[np.object_]]]:
    """Different numbers, sorted before, and the values of each."""
    if not len(numbers):
        return numbers, []
    different, first = np.unique(numbers, return_index=True)
    return different, np.split(values, first[1:])


def read_true_outlines(
    path: Path, layer: str | None, *, target: str, crs: CRS
) -> NDArray[np.object_]:
    """Outlines of one class in a reference system, from a vector file.

    Those of the class where the file has a column class_name, else all of them. A file without any
    of the class is a truth too.

    Raises:
        LabelError: no such file or layer.
        GridError: it has no reference system.
    """
    if not path.is_file():
        raise LabelError(f"{path} does not exist; check the path of the outlines.")
    try:
        with opening(path) as file:
            layers = [str(name) for name in pyogrio.list_layers(file)[:, 0]]
            if layer is not None and layer not in layers:
                raise LabelError(f"{path} has no layer {layer!r}. {nearest(layer, layers)}")
            table = pyogrio.read_dataframe(file, layer=layer or layers[0])
    except (DataSourceError, DataLayerError, IndexError) as error:
        raise LabelError(f"{path} cannot be read as a vector file ({error}).") from error
    if not isinstance(table, gpd.GeoDataFrame) or table.crs is None:
        raise GridError(
            f"{path} has no coordinate reference system; set it with `ogr2ogr -a_srs EPSG:...`."
        )
    if "class_name" in table.columns:
        table = table[table["class_name"] == target]
    placed = table[table.geom_type.isin(["Polygon", "MultiPolygon"])].geometry.to_crs(crs)
    mended: NDArray[np.object_] = shapely.make_valid(
        placed.to_numpy(), method="structure", keep_collapsed=False
    )
    return mended
