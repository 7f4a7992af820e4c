"""A year of overpasses of Sentinel-2, Landsat 8 and 9 and Sentinel-1 over a simulated ground."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from affine import Affine
from odc.geo.geobox import GeoBox
from scipy.ndimage import gaussian_filter

from geoseg.data.seasons.ground import FINE_M, make_ground
from geoseg.data.seasons.sky import CLOUD_REFLECTANCE, make_sky
from geoseg.data.seasons.spectra import measured_by
from geoseg.pivot.measurement.acquisition import Acquisition, Reading
from geoseg.pivot.measurement.optics import USUAL_MTF, Axis, gaussian_width, sampling
from geoseg.sensors import find_sensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from geoseg.data.seasons.ground import Ground
    from geoseg.data.seasons.sky import Sky
    from geoseg.sensors import Band

__all__ = [
    "SENSOR_IDS",
    "SimulatedYear",
    "ground_of_year",
    "pixels_beyond",
    "read_pixels",
    "simulated_year",
]

MARGIN_M = 240.0  # that overpasses see beyond the pivot
YEAR = 2023

_WEST, _NORTH, _CRS = 500_000.0, 7_200_000.0, "EPSG:32633"
_LOOKS = 4.4


class _Route(NamedTuple):
    """When a sensor comes by, and what it measures."""

    sensor_id: str
    first_day: int
    every_days: int
    bands: tuple[tuple[str, ...], ...]  # by pixel size
    registration_m: float


_ROUTES = (
    _Route(
        "sentinel-2",
        2,
        5,
        (("blue", "green", "red"), ("rededge071", "nir08", "swir16", "swir22")),
        2.5,
    ),
    _Route("landsat-8", 4, 16, (("blue", "green", "red", "nir08", "swir16", "swir22"),), 5.0),
    _Route("landsat-9", 12, 16, (("blue", "green", "red", "nir08", "swir16", "swir22"),), 5.0),
    _Route("sentinel-1", 3, 6, (("vv", "vh"),), 0.0),
)
SENSOR_IDS = tuple(route.sensor_id for route in _ROUTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedYear:
    """Overpasses of a ground, and what they would have shown under a clear sky."""

    grid: GeoBox  # 10 m
    acquisitions: tuple[Acquisition, ...]  # in order; days that are overcast are not among them
    clear: Mapping[str, tuple[Reading, ...]]  # by id: without cloud, noise and shift
    land_cover: NDArray[np.uint8]  # (H, W) on `grid`, index of LAND_COVERS


def simulated_year(seed: int, *, side: int = 64, snow: bool = False) -> SimulatedYear:
    """A year over a ground of (side, side) pixels of 10 m.

    Args:
        seed: of all that is random in it.
        side: of the ground.
        snow: whether it lies in winter and falls in spring and autumn, when what an overpass shows
            depends on the day alone.
    """
    rng = np.random.default_rng(seed)
    ground = ground_of_year(rng, side=side, snow=snow)
    made = [
        _overpass(rng, ground, route, day)
        for route in _ROUTES
        for day in range(route.first_day, 365, route.every_days)
    ]
    seen = sorted((one for one in made if one is not None), key=lambda one: one[0].time)
    inner = slice(round(MARGIN_M / FINE_M) + 1, -round(MARGIN_M / FINE_M), 2)
    return SimulatedYear(
        grid=_pixels(10.0, 0.0, side),
        acquisitions=tuple(acquisition for acquisition, _ in seen),
        clear={acquisition.id: clear for acquisition, clear in seen},
        land_cover=ground.land_cover[inner, inner],
    )


def ground_of_year(rng: np.random.Generator, *, side: int, snow: bool) -> Ground:
    """The ground of a year and the margin around it: the first thing that its seed draws."""
    return make_ground(rng, side=round((side * 10 + 2 * MARGIN_M) / FINE_M), snow=snow)


def _overpass(
    rng: np.random.Generator, ground: Ground, route: _Route, day: int
) -> tuple[Acquisition, tuple[Reading, ...]] | None:
    side = ground.height.shape[0]
    radar = route.sensor_id == "sentinel-1"
    sky = None if radar else make_sky(rng, side=side)
    if sky is None and not radar:
        return None
    moved = rng.normal(0, route.registration_m, 2) if route.registration_m else np.zeros(2)
    covers = ground.covers(day)
    readings, clear = [], []
    sensor = find_sensor(route.sensor_id)
    coarsest = max(sensor.band(names[0]).gsd_m for names in route.bands)
    for names in route.bands:
        bands = [sensor.band(name) for name in names]
        pixels = pixels_beyond(bands[0].gsd_m, side * FINE_M, coarsest)
        fine = [np.tensordot(measured_by(band), covers, 1) * ground.brightness for band in bands]
        pure = np.stack([read_pixels(b, f, pixels) for b, f in zip(bands, fine, strict=True)])
        if sky is None:
            looked = rng.gamma(_LOOKS, 1 / _LOOKS, pure.shape)
            values, pure = 10 * np.log10(pure * looked), 10 * np.log10(pure)
        else:
            hazy = [_through(sky, one) for one in fine]
            values = np.stack(
                [read_pixels(b, f, pixels, moved) for b, f in zip(bands, hazy, strict=True)]
            )
            values = _with_noise(rng, values)
            values[:, _any_of(sky.masked, pixels)] = np.nan
        readings.append(_reading(pixels, names, values))
        clear.append(_reading(pixels, names, pure))
    acquisition = Acquisition(
        id=f"{route.sensor_id}-{day:03d}",
        sensor_id=route.sensor_id,
        time=datetime(YEAR, 1, 1, 10, 30, tzinfo=UTC) + timedelta(days=day),
        readings=tuple(readings),
        registration_m=route.registration_m,
        looks=_LOOKS,
        incidence_deg=38.0 if radar else None,
    )
    return acquisition, tuple(clear)


def _through(sky: Sky, ground: NDArray[np.float32]) -> NDArray[np.float32]:
    return (1 - sky.opacity) * sky.light * ground + sky.opacity * CLOUD_REFLECTANCE


def _with_noise(rng: np.random.Generator, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The sensor's own, and what a correction of the atmosphere leaves: a haze and a gain."""
    haze, gain = rng.normal(0, 0.004), rng.normal(1, 0.015)
    patches = gaussian_filter(rng.standard_normal(values.shape[1:]), 4)
    haze = haze + 0.003 * patches / patches.std()
    own = rng.standard_normal(values.shape) * (0.004 + 0.015 * values)
    return np.asarray(gain * values + haze + own)


def read_pixels(
    band: Band,
    fine: NDArray[np.float32],
    pixels: GeoBox,
    moved_m: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Values (h, w) of the pixels of a band, which lie beside where they are said to lie."""
    side = fine.shape[0]
    east, north = (0.0, 0.0) if moved_m is None else moved_m
    a: Affine = pixels.affine
    width = gaussian_width(band.gsd_m, band.mtf_nyquist or USUAL_MTF, FINE_M)
    rows, columns = (
        sampling(Axis(begin, sign * FINE_M, side), Axis(first, step, count), width)
        for begin, sign, first, step, count in (
            (_NORTH + MARGIN_M, -1, a.f + north, a.e, int(pixels.shape.y)),
            (_WEST - MARGIN_M, 1, a.c + east, a.a, int(pixels.shape.x)),
        )
    )
    return np.asarray(rows @ fine @ columns.T)


def _any_of(masked: NDArray[np.bool_], pixels: GeoBox) -> NDArray[np.bool_]:
    """Whether any fine cell of a pixel (h, w) is masked."""
    a: Affine = pixels.affine
    step = round(a.a / FINE_M)
    top = round((_NORTH + MARGIN_M - a.f) / FINE_M)
    left = round((a.c - _WEST + MARGIN_M) / FINE_M)
    height, width = (int(n) for n in pixels.shape)
    part = masked[top : top + height * step, left : left + width * step]
    return np.asarray(part.reshape(height, step, width, step).any(axis=(1, 3)))


def pixels_beyond(gsd_m: float, span_m: float, coarsest_m: float | None = None) -> GeoBox:
    """Pixels of a sensor that see the margin too, but for what a point spread needs at its rim.

    Args:
        gsd_m: of the pixels.
        span_m: of the ground and its margin.
        coarsest_m: pixels of the same sensor that cover the same ground.
    """
    whole = coarsest_m or gsd_m
    rim = 4 * whole
    covered = (span_m - 2 * rim) // whole * whole
    return _pixels(gsd_m, MARGIN_M - rim, round(covered / gsd_m))


def _pixels(gsd_m: float, beyond_m: float, side: int) -> GeoBox:
    to_map = Affine(gsd_m, 0, _WEST - beyond_m, 0, -gsd_m, _NORTH + beyond_m)
    return GeoBox((side, side), to_map, _CRS)


def _reading(pixels: GeoBox, names: tuple[str, ...], values: NDArray[np.floating]) -> Reading:
    return Reading(pixels=pixels, bands=names, values=torch.from_numpy(values.astype(np.float32)))
