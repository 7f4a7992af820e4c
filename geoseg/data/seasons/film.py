"""A frame of panchromatic film over the ground of a simulated year, and what it looked at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.special import expit

from geoseg.data.seasons.ground import FINE_M
from geoseg.data.seasons.spectra import measured_by
from geoseg.data.seasons.year import YEAR, ground_of_year, pixels_beyond, read_pixels
from geoseg.pivot.measurement.acquisition import Acquisition, Reading
from geoseg.sensors import find_sensor

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox
    from torch import Tensor

__all__ = ["Emulsion", "SimulatedFilm", "simulated_film"]

_SENSOR = "hexagon-kh9-mapping"
_PIXEL_M = 8.0  # Surazakov and Aizen 2010: 6 to 9 m on the ground
_SCANNED_M = 5.0  # pixel of `geoseg.data.simulate.film`
_STREAM = 0xF17  # of random numbers, beside that of the year of the same seed
_WHITE, _BLACK = 255, 0  # of 8 bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulsion:
    """The tone of film and scanner: a curve with toe and shoulder in the logarithm of exposure.

    That of `geoseg.data.simulate.film`, where the steepness is 5.2 and the middle -0.62.
    """

    steepness: float = 5.2  # per decade of exposure
    middle: float = -0.62  # log10 of the exposure half way up
    gamma: float = 1.0  # of the scanner
    negative: bool = False

    def tone(self, exposure: NDArray[np.floating]) -> NDArray[np.float64]:
        """0 to 1, rising with the exposure."""
        reached = np.log10(np.maximum(exposure, 1e-3))
        return np.asarray(expit(self.steepness * (reached - self.middle)) ** self.gamma)

    def grey(self, tone: NDArray[np.floating]) -> NDArray[np.float64]:
        """Stored value of a tone, 10 to 245; falling where the film is a negative."""
        return np.asarray(10 + 235 * (1 - tone if self.negative else tone))

    @classmethod
    def drawn(cls, rng: np.random.Generator, exposure: NDArray[np.floating]) -> Emulsion:
        """About that of `geoseg.data.simulate.film`, exposed for the ground; half are negatives.

        There the middle lies at two thirds of the range of the landscape, 5 % to 95 % of it in the
        logarithm of the exposure, and so it does here but for an error of up to half a stop.
        """
        low, high = np.quantile(np.log10(np.maximum(exposure, 1e-3)), (0.05, 0.95))
        return cls(
            steepness=5.2 * rng.uniform(0.75, 1.25),
            middle=float(low + 0.66 * (high - low) + rng.uniform(-0.15, 0.15)),
            gamma=rng.uniform(0.7, 1.4),
            negative=bool(rng.uniform() < 0.5),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedFilm:
    """A frame, and the truth of it."""

    acquisition: Acquisition  # one band, pan, of grey values
    clear: Reading  # reflectance of that band on the same pixels, where they are said to lie
    emulsion: Emulsion
    scratched: Tensor  # (h, w) bool


def simulated_film(
    seed: int,
    *,
    day: float,
    year: int = YEAR,
    side: int = 64,
    snow: bool = False,
    registration_m: float = 5.0,
    emulsion: Emulsion | None = None,
) -> SimulatedFilm:
    """A cloudless frame of the ground of `simulated_year(seed, side=side, snow=snow)`.

    Args:
        seed: of the ground, and of all else that is random in the frame.
        day: of the year, 0 to 365.
        year: that the frame is dated to; the ground is the same in all of them.
        side: of the ground, in pixels of 10 m.
        snow: as in the simulated year.
        registration_m: by which the frame lies beside the pivot, one standard deviation.
        emulsion: tone and grain; none: drawn.
    """
    ground = ground_of_year(np.random.default_rng(seed), side=side, snow=snow)
    rng = np.random.default_rng([seed, _STREAM, round(day)])
    band = replace(find_sensor(_SENSOR).band("pan"), gsd_m=_PIXEL_M)
    pixels = pixels_beyond(_PIXEL_M, ground.height.shape[0] * FINE_M)
    fine = np.tensordot(measured_by(band), ground.covers(day), 1) * ground.brightness
    pure = read_pixels(band, fine, pixels)
    seen = read_pixels(band, fine, pixels, rng.normal(0, registration_m, 2))
    emulsion = emulsion or Emulsion.drawn(rng, seen)
    grey = _exposed(rng, seen, emulsion)
    scratched = _scratch(rng, grey)
    acquisition = Acquisition(
        id=f"{_SENSOR}-{year}-{day:03.0f}",
        sensor_id=_SENSOR,
        time=datetime(year, 1, 1, 10, 30, tzinfo=UTC) + timedelta(days=day),
        readings=(_reading(pixels, grey),),
        registration_m=registration_m,
    )
    return SimulatedFilm(
        acquisition=acquisition,
        clear=_reading(pixels, pure),
        emulsion=emulsion,
        scratched=torch.from_numpy(scratched),
    )


def _exposed(
    rng: np.random.Generator, seen: NDArray[np.float64], emulsion: Emulsion
) -> NDArray[np.float64]:
    """Grey values (h, w): vignetting, tone, grain that grows with it, and stripes of the scanner.

    Each in the amounts of `geoseg.data.simulate.film`, whose pixels of 5 m average within one here.
    """
    height, width = seen.shape
    radius = np.hypot(*np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height)))
    tone = emulsion.tone(seen * (1 - 0.12 * radius**2))
    averaged = _SCANNED_M / _PIXEL_M
    grain = averaged * (0.015 + 0.03 * tone) * rng.standard_normal(tone.shape)
    stripes = averaged**0.5 * 0.008 * rng.standard_normal((1, width))
    grey = emulsion.grey(tone + grain + stripes)
    return np.asarray(np.rint(np.clip(grey, _BLACK + 1, _WHITE - 1)))


def _scratch(rng: np.random.Generator, grey: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Draw a few straight scratches, black or white, into grey values; return where."""
    scratched = np.zeros(grey.shape, dtype=bool)
    for _ in range(rng.integers(2, 6)):
        begin, end = rng.uniform(0, 1, (2, 2)) * (np.array(grey.shape) - 1)
        steps = np.linspace(begin, end, 4 * max(grey.shape))
        rows, columns = np.rint(steps).astype(int).T
        grey[rows, columns] = _WHITE if rng.uniform() < 0.5 else _BLACK
        scratched[rows, columns] = True
    return scratched


def _reading(pixels: GeoBox, values: NDArray[np.floating]) -> Reading:
    return Reading(
        pixels=pixels, bands=("pan",), values=torch.from_numpy(values[None].astype(np.float32))
    )
