"""How an acquisition measured a variable, in physical figures and by no name of a sensor."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from geoseg.pivot.measurement.looks import readout_of
from geoseg.pivot.measurement.variables import find_variable

if TYPE_CHECKING:
    from geoseg.pivot.measurement.acquisition import Acquisition
    from geoseg.pivot.measurement.looks import Look, Readout

__all__ = ["FIGURES", "FIGURES_OF_VARIABLE", "Unit", "figures_of", "figures_of_variable", "unit_of"]

FIGURES = 7  # of a look
FIGURES_OF_VARIABLE = 4


class Unit(NamedTuple):
    """By which values are brought near 1."""

    middle: float
    size: float


# Half of what ground differs by in a year, about.
_UNITS = {"reflectance": Unit(0.2, 0.05), "backscatter": Unit(-12.0, 1.5)}
_STRAIGHT_DEG = 45.0


def unit_of(variable: str) -> Unit:
    """Of a variable, by its kind."""
    return _UNITS[find_variable(variable).kind]


def figures_of(acquisition: Acquisition, look: Look, variable: str) -> tuple[float, ...]:
    """Size of pixels, noise, wavelength and width beside those of the variable, and incidence."""
    size = unit_of(variable).size
    noise = float(look.variance[look.valid].median().sqrt())
    readout = _readout(acquisition, variable)
    centre, width = _response(acquisition, readout)
    wanted = find_variable(variable).band
    return (
        math.log(look.footprint.pixel_m / look.footprint.step_m),
        math.log(noise / size),
        look.shared_sd / size,
        10 * (centre - (wanted.centre_um or 0.0)),
        10 * (width - (wanted.fwhm_um or 0.0)),
        readout.sd / size,
        (acquisition.incidence_deg or 0.0) / _STRAIGHT_DEG,
    )


def figures_of_variable(variable: str) -> tuple[float, ...]:
    """Wavelength and width in micrometres, whether it is radar, and whether cross-polarised."""
    band = find_variable(variable).band
    sent_received = band.polarisation or ""
    return (
        band.centre_um or 0.0,
        band.fwhm_um or 0.0,
        float(band.polarisation is not None),
        float(len(set(sent_received)) == 2),
    )


def _readout(acquisition: Acquisition, variable: str) -> Readout:
    """Of the reading that tells most, or of all of them where none does for itself."""
    sensor_id, readings = acquisition.sensor_id, acquisition.readings
    found = [readout_of(sensor_id, one.bands, variable) for one in readings]
    known = [one for one in found if one is not None]
    if not known:
        joined = tuple(dict.fromkeys(band for one in readings for band in one.bands))
        of_all = readout_of(sensor_id, joined, variable)
        assert of_all is not None  # or there were no look
        return of_all
    return min(known, key=lambda one: one.sd)


def _response(acquisition: Acquisition, readout: Readout) -> tuple[float, float]:
    """Centre and width in micrometres of the bands that are read, by their weights; 0 of radar."""
    bands = [acquisition.sensor.band(name) for name in readout.bands]
    shares = np.abs(readout.weights)
    centre = np.average([band.centre_um or 0.0 for band in bands], weights=shares)
    width = np.average([band.fwhm_um or 0.0 for band in bands], weights=shares)
    return float(centre), float(width)
