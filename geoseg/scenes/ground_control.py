"""Ground control: points of an image that are known on the ground, and where they are kept."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError
from rasterio.control import GroundControlPoint

from geoseg.errors import GridError, SceneError
from geoseg.grids import DEGREES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rasterio.io import DatasetReader

__all__ = [
    "ON_A_LINE",
    "GroundControl",
    "control_of",
    "metric_crs",
    "points_beside",
    "read_points",
    "rough_grid",
]

ON_A_LINE = "The ground control points lie on a line or on one another; spread them over the image."
_FEWEST = 4  # three make an affine map, and one more says whether it is right
_LARGEST_BYTES = 2**22
_COLUMNS = (("mapX", "mapY", "sourceX", "sourceY"), ("mapX", "mapY", "pixelX", "pixelY"))
_POLAR_DEG = 84.0  # UTM ends here


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundControl:
    """Places of an image on the ground.

    **Convention:** row 0, col 0 is the outer corner of the first pixel, as in GDAL.
    """

    points: tuple[GroundControlPoint, ...]
    crs: CRS

    def __post_init__(self) -> None:
        if len(self.points) < _FEWEST:
            raise SceneError(
                f"There are {len(self.points)} ground control points; give {_FEWEST} or more, "
                "better 10, spread over the whole image."
            )
        numbers = [(p.row, p.col, p.x, p.y) for p in self.points]
        if not np.isfinite(numbers).all():
            raise SceneError("A ground control point is not a number; correct or remove it.")


def points_beside(path: Path) -> tuple[Path, Path]:
    """Where the control points of an image may lie: NAME.tif.points, else NAME.points."""
    return path.with_name(f"{path.name}.points"), path.with_suffix(".points")


def control_of(
    raster: DatasetReader, path: Path, given: Path | None = None
) -> GroundControl | None:
    """Control points that are given, lie beside an open image, or are in it; None without any.

    Raises:
        SceneError: a file of points that cannot be used.
        GridError: points in the image without a reference system.
    """
    beside = points_beside(path)
    named = given or next((one for one in beside if one.is_file()), None)
    if named is not None:
        return read_points(named)
    inside, crs = raster.gcps
    if not inside:
        return None
    if crs is None:
        raise GridError(
            f"{path} holds control points without a reference system; write them into "
            f"{beside[0].name} beside it, with a first line such as #CRS: EPSG:32627."
        )
    return GroundControl(points=tuple(inside), crs=CRS.from_wkt(crs.to_wkt()))


def read_points(path: Path) -> GroundControl:
    """The points of a file of QGIS's georeferencer, those that are enabled.

    A table with columns mapX, mapY, sourceX, sourceY (pixelX, pixelY in older files) and a first
    line `#CRS: ` with EPSG:... or WKT. As in QGIS, sourceY counts upward: -100 is row 100.

    Raises:
        SceneError: no such file, no reference system, a column missing, or too few points.
    """
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise SceneError(f"{path} is larger than 4 MiB; that is no table of control points.")
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SceneError(f"{path} cannot be read as a table of points ({error}).") from error
    stated = [line.partition(":")[2].strip() for line in lines if line.startswith("#CRS")]
    rows = list(csv.DictReader(line for line in lines if line and not line.startswith("#")))
    try:
        crs = CRS.from_user_input(stated[0])
    except (IndexError, CRSError) as error:
        raise SceneError(
            f"{path} names no reference system; begin it with a line such as #CRS: EPSG:32627."
        ) from error
    found = tuple(
        point for number, row in enumerate(rows, start=1) if (point := _point(row, number, path))
    )
    try:
        return GroundControl(points=found, crs=crs)
    except SceneError as error:
        raise SceneError(f"{path}: {error}") from error


def _point(row: Mapping[str, str], number: int, path: Path) -> GroundControlPoint | None:
    if (row.get("enable") or "1").strip() == "0":
        return None
    for names in _COLUMNS:
        if set(names) <= row.keys():
            try:
                x, y, column, up = (float(row[name]) for name in names)
            except (ValueError, TypeError) as error:
                raise SceneError(f"{path}: point {number} is not four numbers.") from error
            return GroundControlPoint(row=-up, col=column, x=x, y=y, id=str(number))
    raise SceneError(f"{path} has no columns {', '.join(_COLUMNS[0])}; save it from QGIS again.")


def rough_grid(control: GroundControl, shape: tuple[int, int]) -> GeoBox:
    """Where an image lies by the affine map that is nearest to its points; it may be turned.

    In metres. Good for finding the image; film is bent, and is warped by `register`.

    Args:
        control: points of the image.
        shape: rows and columns of the image.

    Raises:
        SceneError: the points lie on a line, or on one another.
    """
    points = control.points
    crs = metric_crs(control.crs, points)
    to_metres = Transformer.from_crs(control.crs, crs, always_xy=True)
    ground = np.array(to_metres.transform([p.x for p in points], [p.y for p in points])).T
    places = np.array([(p.col, p.row, 1.0) for p in points])
    fit, _, rank, _ = np.linalg.lstsq(places, ground)
    if rank < places.shape[1]:
        raise SceneError(ON_A_LINE)
    return GeoBox(shape, Affine(*fit.T.ravel().tolist()), crs.to_wkt())


def metric_crs(crs: CRS, points: Sequence[GroundControlPoint]) -> CRS:
    """The reference system of points where it is in metres, else UTM, polar beyond 84 degrees."""
    if crs.is_projected and crs.axis_info[0].unit_conversion_factor == 1:
        return crs
    to_degrees = Transformer.from_crs(crs, DEGREES, always_xy=True)
    east, north = to_degrees.transform([p.x for p in points], [p.y for p in points])
    latitude = float(np.mean(north))
    if abs(latitude) > _POLAR_DEG:
        return CRS.from_epsg(3413 if latitude > 0 else 3031)
    angles = np.radians(east)  # their mean on a circle: 179 and -179 are neighbours
    longitude = math.degrees(math.atan2(np.sin(angles).mean(), np.cos(angles).mean()))
    zone = int((longitude + 180) // 6) % 60 + 1
    return CRS.from_epsg((32600 if latitude >= 0 else 32700) + zone)
