"""Label polygons: read from a vector file, burnt into a grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import pyogrio
import shapely
from pyogrio.errors import DataSourceError
from rasterio.features import rasterize
from shapely import STRtree

from geoseg.errors import GridError, LabelError, nearest
from geoseg.grids import crs_of, describe_grid, require_metres
from geoseg.labels.scheme import IGNORE, ClassScheme

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

__all__ = ["Labels", "place_labels", "read_outlines"]


def read_outlines(
    path: Path, scheme: ClassScheme, *, layer: str | None, class_of: str
) -> gpd.GeoDataFrame:
    """Outlines with a column `class_name`, in the CRS of their file.

    Args:
        path: any vector file that GDAL reads.
        scheme: the classes that may occur.
        layer: which layer; the first when None.
        class_of: the column that holds the class of each outline, or the class of all of them.

    Raises:
        LabelError: no such file or layer, no polygon in it, or a class outside the scheme.
        GridError: the layer has no coordinate reference system.
    """
    table = _read_layer(path, layer)
    where = f"{path} (layer {layer})" if layer else str(path)
    polygons = table[table.geom_type.isin(["Polygon", "MultiPolygon"])]
    if polygons.empty:
        raise LabelError(f"{where} holds no polygon; give a layer of outlines.")
    if polygons.crs is None:
        raise GridError(
            f"{where} has no coordinate reference system; set it with `ogr2ogr -a_srs EPSG:...`."
        )
    names = _class_names(polygons, scheme, class_of=class_of, where=where)
    # By structure, so that what is mended stays an area: a spike is cut off, not kept as a line.
    geometry = shapely.make_valid(
        polygons.geometry.to_numpy(), method="structure", keep_collapsed=False
    )
    return gpd.GeoDataFrame({"class_name": names}, geometry=geometry, crs=polygons.crs)


@dataclass(frozen=True, slots=True)
class Labels:
    """Outlines in the CRS of a scene, ready to be burnt into any window of it."""

    polygons: NDArray[np.object_]
    class_ids: NDArray[np.uint8]
    margins: NDArray[np.object_]  # where the true edge may lie, one for each polygon
    tree: STRtree

    def burn(self, grid: GeoBox) -> NDArray[np.uint8]:
        """Class ids (H, W) on a grid, IGNORE within the uncertain margins, 0 elsewhere."""
        box = shapely.box(*grid.boundingbox.bbox)
        hits = self.tree.query(box)
        # A higher id lies on top: a lake on the ice it belongs to.
        hits = hits[np.argsort(self.class_ids[hits], kind="stable")]
        shapes = [(self.polygons[i], int(self.class_ids[i])) for i in hits]
        shapes += [(self.margins[i], IGNORE) for i in hits if not self.margins[i].is_empty]
        if not shapes:
            return np.zeros(grid.shape, dtype=np.uint8)
        burnt = rasterize(shapes, out_shape=grid.shape, transform=grid.affine, dtype=np.uint8)
        return np.asarray(burnt)


def place_labels(
    outlines: gpd.GeoDataFrame, grid: GeoBox, scheme: ClassScheme, *, margin_m: float = 0.0
) -> Labels:
    """Labels of a scene, from outlines in any CRS.

    Args:
        outlines: with a column `class_name`.
        grid: the scene's grid, in a projected CRS in metres when `margin_m` > 0.
        scheme: gives each class its id.
        margin_m: how far the true edge may lie from the drawn one, to either side.

    Raises:
        LabelError: no outline lies on the scene.
        GridError: a margin in metres on a grid in another unit.
    """
    crs = crs_of(grid)
    if margin_m > 0:
        require_metres(crs, "Labels with an uncertain margin")
    placed = outlines.to_crs(crs)
    extent = shapely.box(*grid.boundingbox.bbox)
    polygons = placed.geometry.to_numpy()
    touching = shapely.intersects(polygons, extent)
    if not touching.any():
        raise LabelError(
            "The labels do not overlap the scene.\n"
            f"  scene:  {describe_grid(grid)}, box {_box(grid.boundingbox.bbox)}\n"
            f"  labels: box {_box(placed.total_bounds)} in the same reference system\n"
            "Give the labels of this place, or check the reference system of both."
        )
    polygons = polygons[touching]
    margins = shapely.buffer(shapely.boundary(polygons), margin_m)
    names = placed["class_name"].to_numpy()[touching]
    ids = np.array([scheme.find(name).id for name in names], dtype=np.uint8)
    reach = shapely.bounds(polygons) + margin_m * np.array([-1, -1, 1, 1])
    return Labels(polygons, ids, margins, STRtree([shapely.box(*bounds) for bounds in reach]))


def _read_layer(path: Path, layer: str | None) -> gpd.GeoDataFrame:
    if not path.exists():
        raise LabelError(f"{path} does not exist; check the path of the labels.")
    try:
        layers = [str(name) for name in pyogrio.list_layers(path)[:, 0]]
        if layer is not None and layer not in layers:
            raise LabelError(f"{path} has no layer {layer!r}. {nearest(layer, layers)}")
        return gpd.read_file(path, layer=layers[0] if layer is None else layer)
    except (DataSourceError, IndexError) as error:
        raise LabelError(f"{path} cannot be read as a vector file ({error}).") from error


def _class_names(
    table: gpd.GeoDataFrame, scheme: ClassScheme, *, class_of: str, where: str
) -> list[str]:
    if class_of not in table.columns:
        classes = [c.name for c in scheme.foreground]
        if class_of not in classes:
            columns = [str(name) for name in table.columns if name != "geometry"]
            raise LabelError(
                f"{class_of!r} is neither a column of {where} nor a class; its columns are "
                f"{', '.join(columns) or 'none'}, the classes {', '.join(classes)}."
            )
        return [class_of] * len(table)
    names = [str(name) for name in table[class_of]]
    if unknown := sorted(set(names) - set(scheme.names)):
        raise LabelError(
            f"{where} has the class {unknown[0]!r} in {class_of!r}. "
            f"{nearest(unknown[0], scheme.names)}"
        )
    return names


def _box(bounds: tuple[float, ...] | NDArray[np.float64]) -> str:
    return "(" + ", ".join(f"{v:.10g}" for v in bounds) + ")"
