"""What an acquisition says of each variable of the pivot: values on its own pixels, and their sd.

A variable is read from the band that published coefficients lead from, or else from the bands that
predict it best (`mixture_of`); bands that leave it open say nothing of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from scipy.ndimage import map_coordinates

from geoseg.pivot.measurement.acquisition import Reading, is_reflective
from geoseg.pivot.measurement.footprint import Footprint
from geoseg.pivot.measurement.noise import Noise, measurement_variance
from geoseg.pivot.measurement.optics import USUAL_MTF
from geoseg.pivot.measurement.speckle import bias_db, sd_db
from geoseg.pivot.measurement.spectral import find_adjustment, prediction_of
from geoseg.pivot.measurement.variables import find_variable
from geoseg.sensors import SensorKind, find_sensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from odc.geo.geobox import GeoBox
    from torch import Tensor

    from geoseg.pivot.measurement.acquisition import Acquisition
    from geoseg.sensors import Sensor

__all__ = ["Look", "looks_by_variable", "looks_of", "readout_of"]

_REFERENCE = "landsat-8"  # whose bands the variables are, and published coefficients lead to
_MOST_OPEN = 0.018  # reflectance that bands may leave open, one standard deviation

# Of surface reflectance after a correction of the atmosphere: half of what Vermote and others 2016
# specify for Landsat 8, 0.005 + 5 %, is shared by a whole acquisition and the rest is its pixels'.
_PIXEL = Noise(absolute=0.005, relative=0.015)
_SHARED_ABSOLUTE, _SHARED_RELATIVE = 0.005, 0.015
_SHARED_DB = 0.2  # radiometric stability of Sentinel-1


class Readout(NamedTuple):
    """A variable = weights @ bands + offset, with a standard deviation of what is left."""

    bands: tuple[str, ...]  # common names
    weights: tuple[float, ...]
    offset: float
    sd: float
    mtf: float  # of the bands, by their weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One variable as one acquisition measured it."""

    acquisition: str  # id
    day: float  # since 1970
    footprint: Footprint
    measured: Tensor  # (h, w), 0 where not valid
    variance: Tensor  # (h, w) of each pixel for itself, infinite where not valid
    shared_sd: float  # by which pixels beside each other are off together

    @property
    def valid(self) -> Tensor:
        """Whether a pixel (h, w) says something."""
        return torch.isfinite(self.variance)

    def without(self, rejected: Tensor) -> Look:
        """The same but for pixels (h, w)."""
        return replace(
            self,
            measured=self.measured.masked_fill(rejected, 0.0),
            variance=self.variance.masked_fill(rejected, torch.inf),
        )

    def on_ground(self) -> Tensor:
        """Values on the cells (H, W): of the pixels that look there, NaN where few are valid."""
        valid = self.valid.to(self.measured)
        weight = self.footprint.adjoint(valid)
        whole = self.footprint.adjoint(self.footprint.covered.to(valid))
        values = self.footprint.adjoint(self.measured) / weight.clamp_min(1e-9)
        return torch.where((weight > 0.3 * whole) & (whole > 0), values, torch.nan)


def looks_of(acquisition: Acquisition, variable: str, ground: GeoBox) -> Look | None:
    """What an acquisition says of a variable; None where it says nothing.

    Args:
        acquisition: reflectance, or backscatter in decibels.
        variable: a name of `load_variables`.
        ground: cells of the pivot.

    Raises:
        GridError: reference systems that differ or are not in metres, or rotated grids.
    """
    sensor_id, readings = acquisition.sensor_id, acquisition.readings
    found = [(one, readout_of(sensor_id, one.bands, variable)) for one in readings]
    if len(readings) > 1 and not any(readout and readout.sd == 0 for _, readout in found):
        joined = _joined(readings)
        found.append((joined, readout_of(sensor_id, joined.bands, variable)))
    known = [(one, readout) for one, readout in found if readout is not None]
    if not known:
        return None
    reading, readout = min(known, key=lambda one: one[1].sd)
    look = _look(acquisition, reading, readout, ground)
    return look if look.valid.any() else None


def _joined(readings: Sequence[Reading]) -> Reading:
    """All bands on the pixels of the finest reading, between which coarser ones are linear."""
    ordered = sorted(readings, key=lambda one: abs(one.pixels.affine.a))
    pixels = ordered[0].pixels
    found: dict[str, Tensor] = {}
    for one in ordered:
        values = _interpolated(one, pixels)
        for band, own in zip(one.bands, values, strict=True):
            found.setdefault(band, own)
    return Reading(pixels=pixels, bands=tuple(found), values=torch.stack(list(found.values())))


def _interpolated(reading: Reading, pixels: GeoBox) -> Tensor:
    """Values of a reading (C, h, w) between its pixels; NaN beyond them."""
    if reading.pixels == pixels:
        return reading.values
    height, width = (int(n) for n in pixels.shape)
    to_own = ~reading.pixels.affine * pixels.affine
    rows = (np.arange(height) + 0.5) * to_own.e + to_own.f - 0.5
    columns = (np.arange(width) + 0.5) * to_own.a + to_own.c - 0.5
    places = np.meshgrid(rows, columns, indexing="ij")
    bands = [
        map_coordinates(band, places, order=1, mode="constant", cval=np.nan)
        for band in reading.values.numpy()
    ]
    return torch.from_numpy(np.stack(bands))


@cache
def readout_of(sensor_id: str, bands: tuple[str, ...], variable: str) -> Readout | None:
    """How a variable is read from bands of a sensor; None where they leave it open."""
    sensor, wanted = find_sensor(sensor_id), find_variable(variable)
    if wanted.kind == "backscatter":
        return Readout((variable,), (1.0,), 0.0, 0.0, USUAL_MTF) if variable in bands else None
    if sensor.kind is SensorKind.FILM:
        return None
    name = wanted.band.common_name
    if name in bands:
        adjustment = find_adjustment(sensor_id, name, _REFERENCE)
        if adjustment is not None:
            mtf = _mtf(sensor, (name,), (1.0,))
            return Readout((name,), (adjustment.slope,), adjustment.offset, 0.0, mtf)
        if sensor.band(name).centre_um == wanted.band.centre_um:
            return Readout((name,), (1.0,), 0.0, 0.0, _mtf(sensor, (name,), (1.0,)))
    return _mixed(sensor, bands, variable)


def _mixed(sensor: Sensor, bands: tuple[str, ...], variable: str) -> Readout | None:
    optical = tuple(b for b in bands if is_reflective(sensor.band(b)))
    if not optical:
        return None
    best = prediction_of(find_variable(variable).band, [sensor.band(b) for b in optical])
    if best.sd > _MOST_OPEN:
        return None
    weights = tuple(float(w) for w in best.weights)
    return Readout(optical, weights, best.offset, best.sd, _mtf(sensor, optical, weights))


def _mtf(sensor: Sensor, bands: tuple[str, ...], weights: tuple[float, ...]) -> float:
    transfers = [sensor.band(band).mtf_nyquist or USUAL_MTF for band in bands]
    return round(float(np.average(transfers, weights=np.abs(weights))), 3)


def _look(acquisition: Acquisition, reading: Reading, readout: Readout, ground: GeoBox) -> Look:
    footprint = _footprint(ground, reading.pixels, readout.mtf)
    picked = reading.values[[reading.bands.index(band) for band in readout.bands]]
    mixed = torch.tensordot(torch.tensor(readout.weights), picked, dims=1) + readout.offset
    if acquisition.sensor.kind is SensorKind.SAR:
        mixed = mixed - bias_db(acquisition.looks)
        variance = torch.full_like(mixed, sd_db(acquisition.looks) ** 2)
        shared = _SHARED_DB
    else:
        variance = _pixel_variance(picked, mixed, readout, acquisition, footprint)
        shared = float(np.hypot(_SHARED_ABSOLUTE, _SHARED_RELATIVE * _middle(mixed)))
    valid = torch.isfinite(mixed) & torch.isfinite(variance) & footprint.covered
    return Look(
        acquisition=acquisition.id,
        day=acquisition.day,
        footprint=footprint,
        measured=mixed.masked_fill(~valid, 0.0),
        variance=variance.masked_fill(~valid, torch.inf),
        shared_sd=shared,
    )


def _pixel_variance(
    picked: Tensor, mixed: Tensor, readout: Readout, acquisition: Acquisition, footprint: Footprint
) -> Tensor:
    own = measurement_variance(picked, _PIXEL, pixel_m=footprint.pixel_m)
    weights = torch.tensor(readout.weights)
    moved = Noise(absolute=max(readout.sd, 1e-6), registration_m=acquisition.registration_m)
    beside = measurement_variance(mixed[None], moved, pixel_m=footprint.pixel_m)[0]
    variance: Tensor = torch.tensordot(weights**2, own, dims=1) + beside
    return variance


def _middle(values: Tensor) -> float:
    measured = values[torch.isfinite(values)]
    return float(measured.median()) if len(measured) else 0.0


@lru_cache(maxsize=256)  # matrices of a block, which the next one does not need
def _footprint(ground: GeoBox, pixels: GeoBox, mtf: float) -> Footprint:
    return Footprint(ground, pixels, mtf)


def looks_by_variable(
    acquisitions: Sequence[Acquisition], variables: Sequence[str], ground: GeoBox
) -> dict[str, list[Look]]:
    """What acquisitions, in order, say of each variable."""
    found = {}
    for variable in variables:
        seen = (looks_of(one, variable, ground) for one in acquisitions)
        found[variable] = [look for look in seen if look is not None]
    return found
