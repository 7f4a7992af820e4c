"""The landscape as a sensor sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter

from geoseg.data.simulate.landscape import FINE_M
from geoseg.data.simulate.noise import rising
from geoseg.data.simulate.spectra import BACKSCATTER_DB, reflectance_of
from geoseg.data.simulate.surface import CLEAN_ICE, DEBRIS_ICE, LAKE, POND, SLUMP, TARN
from geoseg.pivot.measurement.optics import USUAL_MTF, width_of_mtf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from geoseg.data.simulate.landscape import Landscape
    from geoseg.data.simulate.surface import Surface
    from geoseg.sensors import Band, Sensor

__all__ = ["Sun", "area_average", "film", "radar", "reflectance"]

_DIFFUSE = 0.18  # share of the light that comes from the sky
_SHADOW_REACH_M = 1500.0
_LOOKS = 4.4  # equivalent number of looks of Sentinel-1 IW GRDH


@dataclass(frozen=True, slots=True, kw_only=True)
class Sun:
    """Where the sun stands, in degrees."""

    azimuth: float  # clockwise from north
    elevation: float


def reflectance(
    landscape: Landscape, ground: Surface, sensor: Sensor, band: Band, sun: Sun
) -> NDArray[np.float32]:
    """Apparent reflectance (h, w) in a band on the sensor's grid: shaded, shadowed, blurred."""
    seen = _seen(landscape, ground, band, sun)
    return area_average(_blur(seen, band.gsd_m, band.mtf_nyquist or sensor.mtf_nyquist), band.gsd_m)


def film(
    landscape: Landscape, ground: Surface, sensor: Sensor, sun: Sun, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """A scan (H, W) of panchromatic film on the fine grid.

    Characteristic curve with toe and shoulder, grain that grows with density, vignetting and the
    stripes of a scanner.
    """
    band = sensor.bands[0]
    exposure = _blur(_seen(landscape, ground, band, sun), band.gsd_m, None)
    radius = np.hypot(*np.meshgrid(*[np.linspace(-1, 1, n) for n in exposure.shape[::-1]]))
    reached = np.maximum(exposure * (1 - 0.12 * radius**2), 1e-3)
    tone = 1 / (1 + np.exp(-5.2 * (np.log10(reached) + 0.62)))
    grain = rng.standard_normal(tone.shape) * (0.015 + 0.03 * tone)
    stripes = 0.008 * rng.standard_normal((1, tone.shape[1]))
    return np.clip((tone + grain + stripes) * 235 + 10, 1, 255).astype(np.uint8)


def radar(
    landscape: Landscape, ground: Surface, band: Band, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Gamma0 in dB (h, w) on the sensor's grid, seen from the west, with speckle."""
    column = 0 if band.polarisation == "VV" else 1
    power = np.zeros(landscape.grid.shape, dtype=np.float32)
    for kind, share in _mixture(landscape, ground):
        power += share * 10 ** (BACKSCATTER_DB[kind][column] / 10)
    # A slope that faces the antenna is bright: it returns more per area of its picture.
    towards = np.gradient(landscape.elevation_m, FINE_M, axis=1)
    power *= np.clip(1 + 0.9 * towards, 0.15, 4)
    coarse = area_average(power, band.gsd_m)
    speckle = rng.gamma(_LOOKS, 1 / _LOOKS, coarse.shape)
    return (10 * np.log10(np.maximum(coarse * speckle, 1e-4))).astype(np.float32)


def area_average(fine: NDArray[np.float32], gsd_m: float) -> NDArray[np.float32]:
    """Means over square blocks of fine pixels: none is dropped."""
    block = round(gsd_m / FINE_M)
    height, width = (n // block for n in fine.shape)
    blocks = fine[: height * block, : width * block].reshape(height, block, width, block)
    return np.asarray(blocks.mean(axis=(1, 3)), dtype=np.float32)


def _seen(landscape: Landscape, ground: Surface, band: Band, sun: Sun) -> NDArray[np.float32]:
    """Apparent reflectance (H, W) at the centre of a band, on the fine grid."""
    assert band.centre_um is not None
    albedo = np.zeros(landscape.grid.shape, dtype=np.float32)
    for kind, share in _mixture(landscape, ground):
        albedo += share * reflectance_of(kind, band.centre_um)
    # Rock and debris are rough, snow and water are not.
    rough = (1 - ground.snow) * ~np.isin(ground.classes, (LAKE, TARN))
    albedo *= 1 + 0.10 * landscape.texture * rough
    return np.maximum(albedo, 0) * _light(landscape, sun)


def _blur(fine: NDArray[np.float32], gsd_m: float, mtf: float | None) -> NDArray[np.float32]:
    """Blur by a Gaussian whose transfer at the sensor's Nyquist frequency is `mtf`."""
    sigma_m = width_of_mtf(gsd_m, mtf or USUAL_MTF)
    return np.asarray(gaussian_filter(fine, sigma_m / FINE_M, truncate=3), dtype=np.float32)


def _mixture(landscape: Landscape, ground: Surface) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Kinds of surface with their share (H, W) of each pixel; the shares add up to 1."""
    classes = ground.classes
    water = (classes == LAKE) | (classes == POND) | (classes == TARN)
    snow = np.where(water | (classes == SLUMP) | (classes == DEBRIS_ICE), 0, ground.snow)
    bare = (1 - snow).astype(np.float32)
    ice = classes == CLEAN_ICE
    debris = classes == DEBRIS_ICE
    mud = classes == SLUMP
    ground_only = ~(ice | debris | mud | water)
    green = rising(landscape.patches * 120 - landscape.elevation_m, -4800, -4550)
    light = rising(landscape.patches + 0.4 * landscape.texture, -0.4, 0.4)
    # Dirt on bare ice, ice that shows through thin debris.
    dirty = rising(landscape.texture, 0.6, 2.2) * 0.6
    bared = rising(landscape.ponds, 0.9, 2.0) * 0.35
    yield "snow", snow.astype(np.float32)
    yield "ice", bare * (ice * (1 - dirty) + debris * bared)
    yield "debris", bare * (ice * dirty + debris * (1 - bared))
    yield "granite", bare * ground_only * (1 - green) * light
    yield "schist", bare * ground_only * (1 - green) * (1 - light)
    yield "meadow", bare * ground_only * green
    yield "mud", bare * mud
    turbid = water * (ground.objects % 3 != 0)
    yield "turbid water", bare * turbid
    yield "clear water", bare * (water & ~turbid.astype(bool))


def _light(landscape: Landscape, sun: Sun) -> NDArray[np.float32]:
    """Light on a pixel as a share of that on level, sunlit ground."""
    east, north = _towards(sun)
    rise = np.tan(np.radians(sun.elevation))
    down, right = np.gradient(landscape.elevation_m, FINE_M)
    level = np.sqrt(1 + down**2 + right**2)
    facing = np.clip((rise - right * east + down * north) / level, 0, None) / rise
    lit = ~_in_shadow(landscape.elevation_m, east, north, rise)
    direct = (1 - _DIFFUSE) * np.minimum(facing, 1.7) * lit
    return np.asarray(direct + _DIFFUSE, dtype=np.float32)


def _in_shadow(
    elevation_m: NDArray[np.float32], east: float, north: float, rise: float
) -> NDArray[np.bool_]:
    """Whether ground towards the sun stands above the line of sight to it."""
    shadow = np.zeros(elevation_m.shape, dtype=bool)
    for distance in np.arange(4 * FINE_M, _SHADOW_REACH_M, 4 * FINE_M):
        shift = (round(distance * north / FINE_M), -round(distance * east / FINE_M))
        towards = np.roll(elevation_m, shift, axis=(0, 1))
        shadow |= towards - elevation_m > distance * rise
    return shadow


def _towards(sun: Sun) -> tuple[float, float]:
    azimuth = np.radians(sun.azimuth)
    return float(np.sin(azimuth)), float(np.cos(azimuth))
