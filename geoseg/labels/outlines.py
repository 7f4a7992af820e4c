"""Label polygons: read from a vector file, burnt into a grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import pyogrio
import shapely
from pyogrio.errors import DataSourceError
from pyproj import CRS, Geod, Transformer
from rasterio import Affine
from rasterio.features import rasterize
from rasterio.windows import Window
from shapely import STRtree

from geoseg.blocks import fill_from_blocks
from geoseg.errors import GridError, LabelError, nearest
from geoseg.grids import crs_of, describe_grid, require_metres
from geoseg.labels.scheme import IGNORE, ClassScheme
from geoseg.labels.surveys import SURVEY_DAY, Dating, serving, survey_days
from geoseg.vectors import opening

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox
    from shapely.geometry.base import BaseGeometry

__all__ = ["BurntLabels", "Labels", "place_labels", "read_frames", "read_outlines"]

LABELLED = "labelled"  # what is said of a frame once all in it is outlined
_SAID = "said"
_BLOCK_PX = 512
_CACHED_BLOCKS = 512  # a quarter of a megabyte each, less where nothing lies


def read_outlines(
    path: Path,
    scheme: ClassScheme,
    *,
    layer: str | None,
    class_of: str,
    date_of: str | None = None,
    least: int = 1,
) -> gpd.GeoDataFrame:
    """Outlines with a column `class_name`, and `survey_day` where asked for, in their CRS.

    Args:
        path: a GeoPackage, Shapefile, GeoJSON, FlatGeobuf, KML or file geodatabase.
        scheme: the classes that may occur.
        layer: which layer; the first when None.
        class_of: the column that holds the class of each outline, or the class of all of them.
        date_of: the column that holds the day that each outline shows; not asked for when None.
        least: polygons that there have to be; 0 where frames tell that nothing lies in them.

    Raises:
        LabelError: no such file or layer, no polygon or no date in it, or a class outside the
            scheme.
        GridError: the layer has no coordinate reference system.
    """
    where = _named(path, layer)
    polygons = _polygons(path, layer)
    if len(polygons) < least:
        raise LabelError(f"{where} holds no polygon; give a layer of outlines.")
    names = _class_names(polygons, scheme, class_of=class_of, where=where)
    geometry = _valid(polygons)
    columns: dict[str, object] = {"class_name": names}
    if date_of is not None:
        columns[SURVEY_DAY] = _days(polygons, date_of, where)
    return gpd.GeoDataFrame(columns, geometry=geometry, crs=polygons.crs)


def read_frames(path: Path, layer: str) -> gpd.GeoSeries:
    """Frames within which all was outlined, in their CRS.

    Args:
        path: a GeoPackage, Shapefile, GeoJSON, FlatGeobuf, KML or file geodatabase.
        layer: of polygons. Where it has a column `said`, as `geoseg active regions` writes it,
            those count of which it says `labelled`.

    Raises:
        LabelError: no such file or layer, or no frame that counts.
        GridError: the layer has no coordinate reference system.
    """
    polygons = _polygons(path, layer)
    if _SAID in polygons.columns:
        polygons = polygons[polygons[_SAID] == LABELLED]
    if polygons.empty:
        raise LabelError(
            f"{_named(path, layer)} frames nothing that was outlined; draw what lies in a frame "
            f"and set its {_SAID} to {LABELLED}."
        )
    return gpd.GeoSeries(_valid(polygons), crs=polygons.crs)


@dataclass(frozen=True, slots=True)
class Labels:
    """Outlines in the CRS of a scene, ready to be burnt into any window of it."""

    polygons: NDArray[np.object_]
    class_ids: NDArray[np.uint8]
    margins: NDArray[np.object_]  # where the true edge may lie, one for each polygon
    tree: STRtree
    known: BaseGeometry | None = None  # all that is outside is IGNORE; None: nothing is

    def burn(self, grid: GeoBox) -> NDArray[np.uint8]:
        """Class ids (H, W) on a grid, IGNORE where nothing is known, 0 elsewhere."""
        return self.on(grid).burn(Window(0, 0, grid.shape.x, grid.shape.y))

    def on(self, grid: GeoBox) -> BurntLabels:
        """The same labels, to be read by windows of a grid, each part burnt once."""
        hits = self.tree.query(shapely.box(*grid.boundingbox.bbox))
        # A higher id lies on top, a lake on the ice it belongs to; what is not known, below all.
        height = np.where(self.class_ids == IGNORE, 0, self.class_ids)
        hits = hits[np.argsort(height[hits], kind="stable")]
        margins = [i for i in hits if not self.margins[i].is_empty]
        unknown = [*self.margins[margins], *self._outside(grid)]
        shapes = np.array([*self.polygons[hits], *unknown], dtype=object)
        values = np.concatenate([self.class_ids[hits], np.full(len(unknown), IGNORE, np.uint8)])
        return BurntLabels((grid.shape.y, grid.shape.x), _in_pixels(shapes, grid), values)

    def _outside(self, grid: GeoBox) -> list[BaseGeometry]:
        """What of a grid is not known, and a pixel around it, for edges of windows round."""
        if self.known is None:
            return []
        margin = max(abs(grid.resolution.x), abs(grid.resolution.y))
        whole = shapely.box(*grid.boundingbox.bbox).buffer(margin, join_style="mitre")
        rest = whole.difference(self.known)
        return [] if rest.is_empty else [rest]


class BurntLabels:
    """Class ids of a grid, burnt in blocks as they are asked for and kept for the next time.

    Memory is bounded: the blocks used last are kept, whatever scene they belong to.

    Args:
        shape: rows and columns of the grid.
        shapes: polygons in pixels of it; a later one lies on top.
        values: what each is burnt as.
    """

    def __init__(
        self, shape: tuple[int, int], shapes: NDArray[np.object_], values: NDArray[np.uint8]
    ) -> None:
        self.shape = shape
        self._shapes = shapes
        self._values = values
        self._tree = STRtree(shapes)

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Class ids (H, W) of a window in whole pixels, 0 beyond the grid."""
        out = np.zeros((window.height, window.width), dtype=np.uint8)
        top, bottom = max(window.row_off, 0), min(window.row_off + window.height, self.shape[0])
        left, right = max(window.col_off, 0), min(window.col_off + window.width, self.shape[1])
        if bottom > top and right > left:
            inside = out[
                top - window.row_off : bottom - window.row_off,
                left - window.col_off : right - window.col_off,
            ]
            fill_from_blocks(inside, (top, left), side=_BLOCK_PX, block=partial(_block, self))
        return out

    def burn(self, window: Window) -> NDArray[np.uint8]:
        """Class ids (H, W) of a window, burnt anew."""
        shape = (window.height, window.width)
        left, top = window.col_off, window.row_off
        hits = np.sort(self._tree.query(shapely.box(left, top, left + shape[1], top + shape[0])))
        if not hits.size:
            return np.zeros(shape, dtype=np.uint8)
        pairs = [(self._shapes[i], int(self._values[i])) for i in hits]
        burnt = rasterize(
            pairs, out_shape=shape, transform=Affine.translation(left, top), dtype=np.uint8
        )
        return np.asarray(burnt)


@lru_cache(maxsize=_CACHED_BLOCKS)
def _block(burnt: BurntLabels, row: int, column: int) -> NDArray[np.uint8]:
    """A block of a grid, cut at its edges; one value, held once, where there is one value."""
    top, left = row * _BLOCK_PX, column * _BLOCK_PX
    height, width = min(_BLOCK_PX, burnt.shape[0] - top), min(_BLOCK_PX, burnt.shape[1] - left)
    block = burnt.burn(Window(left, top, width, height))
    if (block == block[0, 0]).all():
        return np.broadcast_to(block[0, 0].copy(), block.shape)
    return block


def _in_pixels(shapes: NDArray[np.object_], grid: GeoBox) -> NDArray[np.object_]:
    """Polygons in pixels of a grid: once for all windows, so that an edge rounds alike in each."""
    affine = grid.affine
    corner, size = np.array([affine.c, affine.f]), np.array([affine.a, affine.e])
    placed: NDArray[np.object_] = shapely.transform(shapes, lambda xy: (xy - corner) / size)
    return placed


def place_labels(
    outlines: gpd.GeoDataFrame,
    grid: GeoBox,
    scheme: ClassScheme,
    *,
    margin_m: float = 0.0,
    dating: Dating | None = None,
    frames: gpd.GeoSeries | None = None,
) -> Labels:
    """Labels of a scene, from outlines in any CRS.

    Args:
        outlines: with a column `class_name`; and `survey_day`, for `dating` to have an effect.
        grid: the scene's grid, in a projected CRS in metres when there is a margin.
        scheme: gives each class its id.
        margin_m: how far the true edge may lie from the drawn one on the map, to either side.
        dating: when the scene was taken: outlines of its time serve, with a margin that grows with
            the years between; where only others lie, nothing is known. All serve when None.
        frames: where all was outlined, in any CRS; everywhere when None.

    Raises:
        LabelError: no outline lies on the scene, or none of its time; or no frame does.
        GridError: a margin in metres on a grid in another unit.
    """
    crs = crs_of(grid)
    placed = outlines.to_crs(crs)
    extent = shapely.box(*grid.boundingbox.bbox)
    placed = placed[shapely.intersects(placed.geometry.to_numpy(), extent)]
    known = None if frames is None else _known(frames, grid)
    if placed.empty and known is None:
        raise LabelError(
            "The labels do not overlap the scene.\n"
            f"  scene:  {describe_grid(grid)}, box {_box(grid.boundingbox.bbox)}\n"
            f"  labels: box {_box(outlines.to_crs(crs).total_bounds)} in the same reference "
            "system\nGive the labels of this place, or check the reference system of both."
        )
    polygons = placed.geometry.to_numpy()
    names = placed["class_name"].to_numpy()
    ids = np.array([scheme.find(name).id for name in names], dtype=np.uint8)
    reach_m = np.full(len(polygons), float(margin_m))
    if dating is not None and SURVEY_DAY in placed.columns:
        days = placed[SURVEY_DAY].to_numpy().astype("datetime64[D]")
        found = serving(polygons, names, days, dating)
        # Around an outline of another time too: what has shrunk since was larger in the image.
        years = np.where(np.isnan(found.years), dating.within_years, found.years)
        reach_m += dating.moved_m_per_year * years * _stretch(grid)
        ids[found.unknown] = IGNORE
        kept = found.serves | found.unknown
        polygons, ids, reach_m = polygons[kept], ids[kept], reach_m[kept]
    if (reach_m > 0).any():
        require_metres(crs, "Labels with an uncertain margin")
    margins = shapely.buffer(shapely.boundary(polygons), reach_m)
    bounds = shapely.bounds(polygons) + reach_m[:, None] * np.array([-1, -1, 1, 1])
    return Labels(polygons, ids, margins, STRtree([shapely.box(*box) for box in bounds]), known)


def _known(frames: gpd.GeoSeries, grid: GeoBox) -> BaseGeometry:
    """What of a scene lies in frames."""
    placed = frames.to_crs(crs_of(grid))
    inside: BaseGeometry = placed.union_all().intersection(shapely.box(*grid.boundingbox.bbox))
    if inside.area == 0:
        raise LabelError(
            f"No frame lies on the scene.\n  scene:  {describe_grid(grid)}, box "
            f"{_box(grid.boundingbox.bbox)}\n  frames: box {_box(placed.total_bounds)} in the "
            "same reference system\nGive frames of this place, or leave labels.inside out."
        )
    return inside


def _named(path: Path, layer: str | None) -> str:
    return f"{path} (layer {layer})" if layer else str(path)


def _polygons(path: Path, layer: str | None) -> gpd.GeoDataFrame:
    table = _read_layer(path, layer)
    polygons = table[table.geom_type.isin(["Polygon", "MultiPolygon"])]
    if polygons.crs is None:
        raise GridError(
            f"{_named(path, layer)} has no coordinate reference system; set it with `ogr2ogr "
            "-a_srs EPSG:...`."
        )
    return polygons


def _valid(polygons: gpd.GeoDataFrame) -> NDArray[np.object_]:
    # By structure, so that what is mended stays an area: a spike is cut off, not kept as a line.
    mended: NDArray[np.object_] = shapely.make_valid(
        polygons.geometry.to_numpy(), method="structure", keep_collapsed=False
    )
    return mended


def _read_layer(path: Path, layer: str | None) -> gpd.GeoDataFrame:
    if not path.exists():
        raise LabelError(f"{path} does not exist; check the path of the labels.")
    try:
        with opening(path) as file:
            layers = [str(name) for name in pyogrio.list_layers(file)[:, 0]]
            if layer is not None and layer not in layers:
                raise LabelError(f"{path} has no layer {layer!r}. {nearest(layer, layers)}")
            return gpd.read_file(file, layer=layers[0] if layer is None else layer)
    except (DataSourceError, IndexError) as error:
        raise LabelError(f"{path} cannot be read as a vector file ({error}).") from error


def _stretch(grid: GeoBox) -> float:
    """Metres of the map for one on the ground at the centre of a grid: 2 in Mercator at 60 N."""
    row, column = grid.shape.y // 2, grid.shape.x // 2
    ends = [grid.affine * (column + side, row) for side in (0, 1)]
    to_degrees = Transformer.from_crs(crs_of(grid), CRS.from_epsg(4326), always_xy=True)
    (west, south), (east, north) = (to_degrees.transform(*end) for end in ends)
    ground_m = float(Geod(ellps="WGS84").inv(west, south, east, north)[2])
    return float(abs(ends[1][0] - ends[0][0])) / ground_m


def _days(table: gpd.GeoDataFrame, date_of: str, where: str) -> NDArray[np.datetime64]:
    if date_of not in table.columns:
        columns = [str(name) for name in table.columns if name != "geometry"]
        raise LabelError(
            f"{where} has no column {date_of!r} for labels.date_of. {nearest(date_of, columns)}"
        )
    return survey_days(table[date_of], where=f"column {date_of!r} of {where}")


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
