"""What a band measures of the variables of the pivot: a linear mixture, an offset and what is left.

Where coefficients are published for a pair of instruments, they are used. For any other band the
mixture follows from what spectra of the ground are like: smooth functions of the wavelength, as a
Gaussian process of which both the band and the variables are weighted means. Its best linear
prediction gives weights, and how far ground that looks alike in all variables differs in the band.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import ndtr

from geoseg.errors import SensorError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from geoseg.pivot.measurement.variables import PivotVariable
    from geoseg.sensors import Band

__all__ = [
    "Adjustment",
    "Mixture",
    "covariance_of_bands",
    "find_adjustment",
    "mixture_of",
    "prediction_of",
]

_FWHM = 2 * np.sqrt(2 * np.log(2))


class _Part(NamedTuple):
    """One part of the covariance of reflectance over wavelengths."""

    sd: float
    length_um: float | None  # None: the same at all wavelengths


# Snow against rock differ at all wavelengths, in the visible against the infrared by the second
# part. Leaves have an edge, beyond which they are brighter by what nothing before it says.
_PARTS = (_Part(0.20, None), _Part(0.12, 0.6), _Part(0.04, 0.08))
_EDGE_UM, _EDGE_SD = 0.715, 0.15
_MEAN = 0.2  # reflectance
_NOISE = 1e-4  # of what no smooth spectrum explains, one standard deviation


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjustment:
    """Published coefficients: reflectance of another instrument = slope * that of this + offset."""

    sensor_id: str
    band: str  # common name
    to: str  # sensor id
    slope: float
    offset: float
    level: str  # surface or top of atmosphere
    source: str

    def forward(self, reflectance: NDArray[np.floating]) -> NDArray[np.floating]:
        """As the other instrument would see it."""
        return self.slope * reflectance + self.offset

    def inverse(self, reflectance: NDArray[np.floating]) -> NDArray[np.floating]:
        """As this instrument would, from what the other saw."""
        return (reflectance - self.offset) / self.slope


class Mixture(NamedTuple):
    """A band = weights @ variables (or other bands) + offset; with the sd of what is left."""

    weights: NDArray[np.float64]  # (V,)
    offset: float
    sd: float


@cache
def _adjustments() -> tuple[Adjustment, ...]:
    text = files("geoseg.pivot").joinpath("adjustments.toml").read_text(encoding="utf-8")
    return tuple(Adjustment(**row) for row in tomllib.loads(text)["adjustment"])


def find_adjustment(sensor_id: str, band: str, to: str) -> Adjustment | None:
    """Published coefficients from a band to that of another sensor; None where there are none."""
    for one in _adjustments():
        if (one.sensor_id, one.band, one.to) == (sensor_id, band, to):
            return one
    return None


def covariance_of_bands(some: Sequence[Band], others: Sequence[Band]) -> NDArray[np.float64]:
    """Of what bands (A,) and others (B,) measure of spectra of the ground, (A, B).

    Responses are taken as Gaussians of the widths of the bands, so that means over them of a
    squared-exponential process have a closed form.

    Raises:
        SensorError: a band without a wavelength.
    """
    centre, width = _responses(some)
    centre_2, width_2 = _responses(others)
    apart = (centre[:, None] - centre_2) ** 2
    spread = width[:, None] ** 2 + width_2**2
    total = np.zeros(apart.shape)
    for part in _PARTS:
        if part.length_um is None:
            total += part.sd**2
            continue
        wide = part.length_um**2 + spread
        total += part.sd**2 * part.length_um / np.sqrt(wide) * np.exp(-apart / (2 * wide))
    beyond = ndtr((centre - _EDGE_UM) / width), ndtr((centre_2 - _EDGE_UM) / width_2)
    return np.asarray(total + _EDGE_SD**2 * np.multiply.outer(*beyond))


def mixture_of(band: Band, variables: Sequence[PivotVariable]) -> Mixture:
    """The best linear prediction of a band from variables of the pivot (V,).

    Args:
        band: with a wavelength.
        variables: reflectances.

    Raises:
        SensorError: a band or a variable without a wavelength.
    """
    return prediction_of(band, [variable.band for variable in variables])


def prediction_of(band: Band, known: Sequence[Band]) -> Mixture:
    """The best linear prediction of a band from others (V,), of the same or another sensor.

    Raises:
        SensorError: a band without a wavelength.
    """
    among = covariance_of_bands(known, known) + _NOISE**2 * np.eye(len(known))
    across = covariance_of_bands([band], known)[0]
    weights = cho_solve(cho_factor(among), across)
    left = covariance_of_bands([band], [band])[0, 0] - weights @ across
    return Mixture(
        weights=weights,
        offset=float(_MEAN * (1 - weights.sum())),
        sd=float(np.sqrt(max(left, 0.0))),
    )


def _responses(bands: Sequence[Band]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres and standard deviations of responses in micrometres."""
    for band in bands:
        if band.centre_um is None or band.fwhm_um is None:
            raise SensorError(
                f"Band {band.name!r} has no wavelength; a mixture needs optical bands."
            )
    centres = np.array([band.centre_um for band in bands], dtype=np.float64)
    widths = np.array([band.fwhm_um for band in bands], dtype=np.float64)
    return centres, widths / _FWHM
