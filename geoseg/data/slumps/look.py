"""Simulated tundra as instruments see it, with clouds that are found and clouds that are missed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from geoseg.data.simulate.noise import rising
from geoseg.data.simulate.spectra import BACKSCATTER_DB, reflectance_of
from geoseg.data.slumps.tundra import CANVAS_PX, COVERS, PIXEL_M, field, paint
from geoseg.labels import IGNORE
from geoseg.sensors import SensorKind, find_sensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geoseg.data.slumps.tundra import Slump, Tundra
    from geoseg.sensors import Band, Sensor

__all__ = ["INSTRUMENTS", "SIZE_PX", "Instrument", "Picture", "take"]

SIZE_PX = 48

_LOOKS = 4.4  # equivalent number of looks of Sentinel-1 IW GRDH
_LEAST_CLEAR = 0.25  # of an image: nobody keeps one that shows less
_TM_COUNTS = 290.0  # of Landsat 5 per reflectance, in 8 bits
_WET = 0.55  # light that comes back from a wet floor, of that from a dry one
_CLOUD = 0.62  # reflectance


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """A sensor as it is used here."""

    sensor_id: str
    names: tuple[str, ...]  # of its bands
    gsd_m: float  # of its images: 10 or 30
    first_year: int
    last_year: int

    @property
    def sensor(self) -> Sensor:
        """Its row in the table."""
        return find_sensor(self.sensor_id)

    @property
    def bands(self) -> tuple[Band, ...]:
        """What each channel measures."""
        return tuple(self.sensor.band(name) for name in self.names)


# Film of 6 m is delivered on the 10 m of Sentinel-2.
INSTRUMENTS = {
    instrument.sensor_id: instrument
    for instrument in (
        Instrument(
            sensor_id="hexagon-kh9-mapping",
            names=("pan",),
            gsd_m=10.0,
            first_year=1975,
            last_year=1980,
        ),
        Instrument(
            sensor_id="landsat-5",
            names=("blue", "green", "red", "nir08"),
            gsd_m=30.0,
            first_year=1985,
            last_year=2011,
        ),
        Instrument(
            sensor_id="landsat-8",
            names=("blue", "green", "red", "nir08"),
            gsd_m=30.0,
            first_year=2013,
            last_year=2024,
        ),
        Instrument(
            sensor_id="sentinel-2",
            names=("blue", "green", "red", "nir"),
            gsd_m=10.0,
            first_year=2016,
            last_year=2024,
        ),
        Instrument(
            sensor_id="sentinel-1",
            names=("vv", "vh"),
            gsd_m=10.0,
            first_year=2015,
            last_year=2024,
        ),
    )
}


class Picture(NamedTuple):
    """One image with its truth, each (48, 48)."""

    image: NDArray[np.float32]  # (C, H, W), 0 where not valid
    valid: NDArray[np.bool_]
    label: NDArray[np.uint8]  # 1 slump, 0 none, IGNORE where not valid


class _Ground(NamedTuple):
    covers: NDArray[np.float32]  # (K, H, W) in one year
    slump: NDArray[np.float32]  # (H, W) share of each pixel
    light: NDArray[np.float32]  # (H, W) what comes back, of what a dry and level pixel returns


def take(
    instrument: Instrument, tundra: Tundra, *, year: float, rng: np.random.Generator
) -> Picture:
    """An image of the middle of a place.

    Args:
        instrument: of INSTRUMENTS.
        tundra: the ground.
        year: decimal; the part after the point sets the season.
        rng: of light, noise and clouds.
    """
    shrink = round(instrument.gsd_m / PIXEL_M)
    start = (CANVAS_PX - SIZE_PX * shrink) // 2
    window = (slice(start, CANVAS_PX - start),) * 2
    sensor = instrument.sensor
    if sensor.kind is SensorKind.SAR:
        # Its antenna looks east from the west.
        ground = _ground(tundra, year, window, towards=(-1.0, 0.0), strength=1.2, wet=0.5)
        valid = np.ones((SIZE_PX, SIZE_PX), dtype=bool)
        return _picture(_radar(tundra, ground, window, rng), valid, ground.slump)
    azimuth = rng.normal(2.8, 0.35)  # radians clockwise from north: late morning
    sun = (float(np.sin(azimuth)), float(np.cos(azimuth)))
    ground = _ground(tundra, year, window, towards=sun, strength=0.55, wet=_WET)
    seen = _mean(_reflected(instrument, ground, year, rng), shrink)
    slump = _mean(ground.slump[None], shrink)[0]
    is_film = sensor.kind is SensorKind.FILM
    # Nobody finds clouds on film, which has one band.
    valid = _cloud(seen, rng, found=0.0 if is_film else 0.7)
    if is_film:
        return _picture(_developed(seen, rng), valid, slump)
    seen += rng.standard_normal(seen.shape, dtype=np.float32) * np.float32(0.003)
    if sensor.bits == 8:
        seen = np.clip(np.round(seen * _TM_COUNTS), 1, 255)
    return _picture(seen, valid, slump)


def _picture(
    image: NDArray[np.float32], valid: NDArray[np.bool_], slump: NDArray[np.float32]
) -> Picture:
    label = (slump >= 0.5).astype(np.uint8)
    label[~valid] = IGNORE
    return Picture(np.ascontiguousarray(image * valid), valid, label)


def _ground(
    tundra: Tundra,
    year: float,
    window: tuple[slice, slice],
    *,
    towards: tuple[float, float],
    strength: float,
    wet: float,
) -> _Ground:
    """What lies on the ground, and how it is lit from a direction (east, north)."""
    covers = tundra.covers[:, *window].copy()
    light = 1 + np.float32(0.06) * tundra.texture[window]
    for scar in tundra.scars:
        radius_m = scar.radius_m(year)
        if radius_m is not None:
            paint(covers, scar.share(radius_m, window), scar.soil)
    slump = tundra.slump
    radius_m = slump.scar.radius_m(year) if slump else None
    if slump is None or radius_m is None:
        return _Ground(covers, np.zeros_like(light), light)
    share = slump.scar.share(radius_m, window)
    paint(covers, share, slump.scar.soil)
    light *= 1 - np.float32(1 - wet) * slump.floor(radius_m, window)
    light *= 1 + slump.headwall(radius_m, window) * _facing(slump, window, towards, strength)
    return _Ground(covers, share, light)


def _facing(
    slump: Slump, window: tuple[slice, slice], towards: tuple[float, float], strength: float
) -> NDArray[np.float32]:
    """What a headwall gains (h, w) by facing the light, or loses by standing in its shadow."""
    east, north = slump.inward[:, *window]
    facing = east * np.float32(towards[0]) + north * np.float32(towards[1])
    return np.asarray(np.clip(strength * (facing - 0.25), -0.75, None), dtype=np.float32)


def _mean(fine: NDArray[np.float32], shrink: int) -> NDArray[np.float32]:
    """Means (C, h, w) over squares of pixels (C, H, W)."""
    if shrink == 1:
        return fine
    channels, height, width = fine.shape
    blocks = fine.reshape(channels, height // shrink, shrink, width // shrink, shrink)
    return np.asarray(blocks.mean(axis=(2, 4)), dtype=np.float32)


def _reflected(
    instrument: Instrument, ground: _Ground, year: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Reflectance (C, H, W) with the haze and the light of the day."""
    spectra = _spectra(instrument.sensor_id).copy()
    # Leaves turn brown from the middle of August on.
    brown = np.clip((year % 1 - 0.62) / 0.12 + rng.normal(0, 0.15), 0, 0.8)
    spectra[:, 0] += np.float32(brown) * (spectra[:, 1] - spectra[:, 0])
    seen = spectra @ ground.covers.reshape(len(COVERS), -1)
    seen = seen.reshape(-1, *ground.light.shape) * ground.light
    seen *= np.float32(rng.normal(1, 0.08))
    seen += _haze(instrument.sensor_id) * np.float32(rng.uniform(0, 0.03))
    return seen


@cache
def _spectra(sensor_id: str) -> NDArray[np.float32]:
    """Reflectance (C, K) of each cover in each band."""
    centres = [band.centre_um for band in INSTRUMENTS[sensor_id].bands]
    assert None not in centres
    table = [[reflectance_of(kind, c) for kind in COVERS] for c in centres if c is not None]
    return np.array(table, dtype=np.float32)


@cache
def _haze(sensor_id: str) -> NDArray[np.float32]:
    """What haze adds (C, 1, 1), relative to blue: less in longer waves."""
    centres = [band.centre_um or 1.0 for band in INSTRUMENTS[sensor_id].bands]
    return np.asarray((0.48 / np.array(centres)) ** 2, dtype=np.float32)[:, None, None]


@cache
def _backscatter() -> NDArray[np.float32]:
    """Power (C, K) of each cover in VV and VH."""
    decibels = np.array([BACKSCATTER_DB[kind] for kind in COVERS], dtype=np.float32).T
    return np.asarray(10 ** (decibels / 10), dtype=np.float32)


def _cloud(
    seen: NDArray[np.float32], rng: np.random.Generator, *, found: float
) -> NDArray[np.bool_]:
    """Draws clouds over an image (C, H, W) in place; which pixels (H, W) are told to be clear."""
    clear = np.ones(seen.shape[1:], dtype=bool)
    cloudy, is_found = rng.random() < 0.35, rng.random() < found
    if not cloudy:
        return clear
    height = field("ponds", rng)[:SIZE_PX, :SIZE_PX]
    # A large cloud is not missed.
    base = rng.uniform(0.3, 1.6) if is_found else rng.uniform(1.0, 2.0)
    thick = rising(height, base, base + 0.6)
    if (thick > 0.1).mean() > 1 - _LEAST_CLEAR:
        return clear
    seen += thick * (np.float32(_CLOUD) - seen)
    return thick <= 0.1 if is_found else clear


def _developed(seen: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """A scan of film (1, H, W), 1 to 255: toe and shoulder, and grain that grows with density."""
    tone = 1 / (1 + np.exp(-5.2 * (np.log10(np.maximum(seen, 1e-3)) + np.float32(0.9))))
    grain = rng.standard_normal(seen.shape, dtype=np.float32) * (0.02 + 0.04 * tone)
    counts = np.round(np.clip((tone + grain) * 235 + 10, 1, 255))
    return np.asarray(counts, dtype=np.float32)


def _radar(
    tundra: Tundra, ground: _Ground, window: tuple[slice, slice], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Gamma0 in dB (2, H, W) with speckle."""
    power = _backscatter() @ ground.covers.reshape(len(COVERS), -1)
    power = power.reshape(-1, *ground.light.shape) * ground.light
    rise = np.diff(tundra.relief[window], axis=1, append=0)
    rise[:, -1] = rise[:, -2]
    power *= np.clip(1 + np.float32(1.5) * rise, 0.3, 3)
    power *= rng.standard_gamma(_LOOKS, power.shape, dtype=np.float32) / np.float32(_LOOKS)
    return np.asarray(10 * np.log10(np.maximum(power, 1e-4)), dtype=np.float32)
