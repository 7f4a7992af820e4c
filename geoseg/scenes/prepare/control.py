"""How well the ground control points of an image agree, and what map they make of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pyproj import Transformer
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.transform import GCPTransformer

from geoseg.errors import SceneError
from geoseg.scenes.ground_control import ON_A_LINE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from pyproj import CRS
    from rasterio.control import GroundControlPoint

    from geoseg.scenes.ground_control import GroundControl

__all__ = ["Registration", "register"]

_CLEARLY, _NOTHING_M = 0.9, 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """How an image was put on the ground, and how well."""

    method: str  # polynomial or thin-plate spline
    points: int
    rmse_m: float  # of the points that it was fitted to
    left_out_rmse_m: float  # of each point by all others: what to expect elsewhere


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
        raise SceneError(ON_A_LINE)
    off = _off(control, control.points, control.points, crs, tps=kinds[method])
    return Registration(
        method=method,
        points=len(control.points),
        rmse_m=float(np.sqrt(np.mean(off**2))),
        left_out_rmse_m=errors[method],
    )


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
