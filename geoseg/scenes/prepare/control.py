"""Ground control: points of an image that are known on the ground, and how well they agree."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError
from rasterio._err import CPLE_BaseError
from rasterio.control import GroundControlPoint
from rasterio.errors import RasterioError
from rasterio.transform import GCPTransformer

from geoseg.errors import SceneError
from geoseg.grids import DEGREES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["GroundControl", "Registration", "metric_crs", "read_points", "register"]

_FEWEST = 4  # three make an affine map, and one more says whether it is right
_LARGEST_BYTES = 2**22
_COLUMNS = (("mapX", "mapY", "sourceX", "sourceY"), ("mapX", "mapY", "pixelX", "pixelY"))
_CLEARLY, _NOTHING_M = 0.9, 0.01
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """How an image was put on the ground, and how well."""

    method: str  # polynomial or thin-plate spline
    points: int
    rmse_m: float  # of the points that it was fitted to
    left_out_rmse_m: float  # of each point by all others: what to expect elsewhere


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


def register(control: GroundControl, crs: CRS) -> Registration:
    """How to put an image on the ground: by the map whose left-out points come nearest.

    A polynomial of order 1 or 2, as GDAL fits it, or a thin-plate spline, which bends to each
    point. RMSE is the root of the mean squared distance on the ground.

    Args:
        control: points of the image.
        crs: in metres, in which distances are taken.

    Raises:
        SceneError: the points lie on a line, or on one another.
    """
    kinds = {"polynomial": False, "thin-plate spline": True}
    errors = {kind: _left_out(control, crs, tps=tps) for kind, tps in kinds.items()}
    method, bent = kinds
    # Where two are about as good the polynomial stands: it is smoother between the points.
    if errors[bent] < _CLEARLY * errors[method] - _NOTHING_M:
        method = bent
    if not math.isfinite(errors[method]):
        raise SceneError(
            "The ground control points lie on a line or on one another; spread them over the image."
        )
    off = _off(control, control.points, control.points, crs, tps=kinds[method])
    return Registration(
        method=method,
        points=len(control.points),
        rmse_m=float(np.sqrt(np.mean(off**2))),
        left_out_rmse_m=errors[method],
    )


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


def _left_out(control: GroundControl, crs: CRS, *, tps: bool) -> float:
    points = control.points
    off = [
        _off(control, (*points[:i], *points[i + 1 :]), (points[i],), crs, tps=tps)
        for i in range(len(points))
    ]
    return float(np.sqrt(np.mean(np.square(np.concatenate(off)))))


def _off(
    control: GroundControl,
    fitted: Sequence[GroundControlPoint],
    judged: Sequence[GroundControlPoint],
    crs: CRS,
    *,
    tps: bool,
) -> NDArray[np.float64]:
    """Distances in metres of points from where a fit to others puts them; infinite without one."""
    rows, columns = [p.row for p in judged], [p.col for p in judged]
    try:
        with GCPTransformer(list(fitted), tps=tps) as fit:
            found = np.array(fit.xy(rows, columns, offset="ul"), dtype=np.float64)
    except (RasterioError, CPLE_BaseError, ValueError):
        return np.full(len(judged), np.inf)
    to_metres = Transformer.from_crs(control.crs, crs, always_xy=True)
    there = np.array(to_metres.transform(*found))
    known = np.array(to_metres.transform([p.x for p in judged], [p.y for p in judged]))
    return np.asarray(np.hypot(*(there - known)))
