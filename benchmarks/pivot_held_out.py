"""Whole acquisitions hidden from a simulated year, and told from the others.

A quarter of the Sentinel-2 dates of a year of Sentinel-2, Landsat 8 and 9 and Sentinel-1 is hidden.
What they would have shown under a clear sky is compared with

- two usual baselines, linear in time at each pixel: of Sentinel-2 alone, as iota2 fills gaps, and
  of all optical sensors stacked, Landsat resampled by cubic convolution as if it had 10 m pixels;
- the physical back-end; the learned one; the learned one with the physical mean and sd among its
  inputs; and the physical one with what the network says as its prior.

Everything is compared at the pixels of Sentinel-2, in the reflectance of its bands: RMSE over
bands, pixels and dates of a year, as a ratio to the better baseline of that year. Coverage is the
share of 90 % intervals that hold the clear value, and of those with the noise of the sensor added
that hold the hidden measurement itself. The networks learn on other years (seeds from 1000).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch
from scipy.ndimage import map_coordinates

from geoseg.data.seasons import simulated_year
from geoseg.data.seasons.film import simulated_film
from geoseg.pivot.learned import Episode, LearnedPivot, LearnedSettings, train_learned
from geoseg.pivot.learned.prior import smooth_about
from geoseg.pivot.measurement.looks import looks_of, readout_of
from geoseg.pivot.measurement.variables import find_variable
from geoseg.pivot.physical import PhysicalSettings, build_posterior
from geoseg.pivot.physical.film import film_look

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox
    from torch import Tensor

    from geoseg.data.seasons import SimulatedYear
    from geoseg.pivot.measurement.acquisition import Acquisition, Reading
    from geoseg.pivot.measurement.looks import Look

__all__ = ["METHODS", "Told", "Trial", "film_correlation", "learn", "trial"]

METHODS = ("physical", "learned", "both", "prior")
OPTICAL = ("blue", "green", "red", "rededge", "nir", "swir1", "swir2")
HIDDEN = 0.25  # of the dates of Sentinel-2
NINETY = 1.645  # standard deviations
FIRST_TO_LEARN, YEARS, SIDE = 1000, 8, 48
PRIORS = 2  # years in which the prior is measured, for it takes a minute each


class Told(NamedTuple):
    """How well a method tells what is hidden."""

    rmse: float
    coverage: float  # of the clear value
    coverage_measured: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One year."""

    seed: int
    linear: float  # RMSE of Sentinel-2 alone
    stacked: float  # RMSE of all optical sensors as they are
    told: dict[str, Told]  # by method
    film: float  # correlation of the visible with a degraded film image

    @property
    def baseline(self) -> float:
        """The better one."""
        return min(self.linear, self.stacked)

    def ratio(self, method: str) -> float:
        """RMSE of a method over that of the better baseline."""
        return self.told[method].rmse / self.baseline


class _Teller(Protocol):
    def predicted(self, look: Look, variable: str) -> tuple[Tensor, Tensor]: ...


def learn(path: Path, *, upon_physical: bool) -> float:
    """Train a network on other years and save it; the seconds that this took."""
    torch.set_num_threads(1)
    begun = time.perf_counter()
    years = [simulated_year(FIRST_TO_LEARN + k, side=SIDE) for k in range(YEARS)]
    episodes = [Episode(year.acquisitions, year.grid) for year in years]
    physical = PhysicalSettings() if upon_physical else None
    train_learned(episodes, LearnedSettings(), seed=0, physical=physical).save(path)
    return time.perf_counter() - begun


def trial(seed: int, learned: Path, both: Path) -> Trial:
    """Hide acquisitions of the year of a seed, and tell them by all methods."""
    torch.set_num_threads(1)
    year = simulated_year(seed)
    seen, hidden = split(year, seed)
    linear, stacked = (_rmse_of_baseline(year, seen, hidden, stack=s) for s in (False, True))
    physical = build_posterior(seen, year.grid, PhysicalSettings(variables=OPTICAL))
    network = LearnedPivot.load(learned)
    tellers: dict[str, _Teller] = {
        "physical": physical,
        "learned": network.reading(seen, year.grid),
        "both": LearnedPivot.load(both).reading(seen, year.grid, physical),
    }
    if seed < PRIORS:
        about = PhysicalSettings(variables=OPTICAL)
        tellers["prior"] = smooth_about(network, seen, year.grid, about)
    return Trial(
        seed=seed,
        linear=linear,
        stacked=stacked,
        told={name: _told(year, hidden, teller) for name, teller in tellers.items()},
        film=film_correlation(seed, year),
    )


def split(year: SimulatedYear, seed: int) -> tuple[list[Acquisition], list[Acquisition]]:
    """Acquisitions that are seen, and those that are hidden."""
    rng = np.random.default_rng(FIRST_TO_LEARN + seed)
    dates = [one for one in year.acquisitions if one.sensor_id == "sentinel-2"]
    drawn = rng.choice(len(dates), round(HIDDEN * len(dates)), replace=False)
    names = {dates[k].id for k in drawn}
    seen = [one for one in year.acquisitions if one.id not in names]
    return seen, [one for one in year.acquisitions if one.id in names]


def _told(year: SimulatedYear, hidden: Sequence[Acquisition], teller: _Teller) -> Told:
    errors, clear, measured = [], [], []
    for one in hidden:
        for variable in OPTICAL:
            look = looks_of(one, variable, year.grid)
            if look is None:
                continue
            mean, variance = teller.predicted(look, variable)
            reading, band, slope, offset = _band_of(one, variable)
            truth = year.clear[one.id][reading].values[band] * slope + offset
            covered, valid = look.footprint.covered, look.valid
            off = (mean - truth)[covered]
            errors.append(off / slope)
            clear.append(off.abs() < NINETY * variance[covered].sqrt())
            spread = (variance + look.variance + look.shared_sd**2)[valid].sqrt()
            measured.append((mean - look.measured)[valid].abs() < NINETY * spread)
    return Told(
        float(torch.cat(errors).square().mean().sqrt()),
        float(torch.cat(clear).float().mean()),
        float(torch.cat(measured).float().mean()),
    )


def _band_of(acquisition: Acquisition, variable: str) -> tuple[int, int, float, float]:
    """Reading and band that a variable is read from, with slope and offset."""
    name = find_variable(variable).band.common_name
    for k, reading in enumerate(acquisition.readings):
        if name in reading.bands:
            readout = readout_of(acquisition.sensor_id, reading.bands, variable)
            assert readout is not None
            return k, reading.bands.index(name), readout.weights[0], readout.offset
    raise AssertionError(name)


def _rmse_of_baseline(
    year: SimulatedYear, seen: Sequence[Acquisition], hidden: Sequence[Acquisition], *, stack: bool
) -> float:
    squares = []
    own = [one for one in seen if one.sensor_id == "sentinel-2"]
    others = [one for one in seen if one.sensor_id.startswith("landsat")] if stack else []
    for k, reading in enumerate(hidden[0].readings):
        inner = _inner(reading.pixels, year.grid)
        for band, name in enumerate(reading.bands):
            series = [(one.day, one.readings[k].values[band].numpy()[inner]) for one in own]
            for one in others:
                if name in one.readings[0].bands:
                    fine = _resampled(one.readings[0], name, reading.pixels)
                    series.append((one.day, fine[inner]))
            series.sort(key=lambda pair: pair[0])
            days, values = np.array([day for day, _ in series]), np.stack([v for _, v in series])
            for one in hidden:
                truth = year.clear[one.id][k].values[band].numpy()[inner]
                squares.append((_linear(days, values, one.day) - truth).ravel() ** 2)
    return float(np.sqrt(np.nanmean(np.concatenate(squares))))


def _inner(pixels: GeoBox, grid: GeoBox) -> tuple[slice, slice]:
    """Pixels whose middles lie on a grid."""
    left, top = ~pixels.affine * (grid.affine.c, grid.affine.f)
    share = grid.affine.a / pixels.affine.a
    rows, columns = (
        slice(int(np.ceil(first - 0.5)), int(np.ceil(first + side * share - 0.5)))
        for first, side in ((top, int(grid.shape.y)), (left, int(grid.shape.x)))
    )
    return rows, columns


def _resampled(reading: Reading, name: str, pixels: GeoBox) -> NDArray[np.float32]:
    """One band on other pixels by cubic convolution, NaN where a neighbour is not valid."""
    values = reading.values[reading.bands.index(name)].numpy()
    valid = np.isfinite(values)
    to_own = ~reading.pixels.affine * pixels.affine
    height, width = (int(n) for n in pixels.shape)
    rows = (np.arange(height) + 0.5) * to_own.e + to_own.f - 0.5
    columns = (np.arange(width) + 0.5) * to_own.a + to_own.c - 0.5
    places = np.meshgrid(rows, columns, indexing="ij")
    filled = np.where(valid, values, values[valid].mean() if valid.any() else 0)
    cubic = map_coordinates(filled, places, order=3, mode="nearest")
    whole = map_coordinates(valid.astype(np.float32), places, order=1, mode="nearest")
    return np.where(whole > 0.999, cubic, np.nan)


def _linear(
    days: NDArray[np.float64], values: NDArray[np.float32], day: float
) -> NDArray[np.float32]:
    """Between the dates (T, h, w) that each pixel was seen; the nearest at both ends, as OTB."""
    count = len(days)
    places, seen = np.arange(count)[:, None, None], np.isfinite(values)
    early = days[:, None, None] <= day
    before = np.where(seen & early, places, -1).max(0)
    after = np.where(seen & ~early, places, count).min(0)
    low = np.where(before < 0, np.minimum(after, count - 1), before)
    high = np.where(after >= count, low, after)
    span = np.maximum(days[high] - days[low], 1e-9)
    weight = np.where(high > low, (day - days[low]) / span, 0.0)
    first, last = (np.take_along_axis(values, k[None], 0)[0] for k in (low, high))
    return first * (1 - weight) + last * weight


def film_correlation(seed: int, year: SimulatedYear) -> float:
    """Of the visible that the pivot expects, and a frame of film turned to reflectance, on 10 m.

    The pivot is of all acquisitions of the year, and the frame is no part of it; its tone curve is
    fitted to what is expected. The day of the frame is drawn.
    """
    settings = PhysicalSettings(variables=("visible",))
    posterior = build_posterior(year.acquisitions, year.grid, settings)
    day = float(np.random.default_rng([seed, 7]).integers(60, 330))
    frame = simulated_film(seed, day=day).acquisition
    moment = posterior.moment("visible", frame.day)
    variance = moment.detail_variance + moment.region_variance
    look = film_look(frame, moment.mean, variance, posterior.grid)
    assert look is not None
    expected, _ = posterior.predicted(look, "visible")
    seen = look.on_ground()
    told = look.footprint.adjoint(torch.where(look.valid, expected, 0.0))
    told = told / look.footprint.adjoint(look.valid.float()).clamp_min(1e-9)
    both = torch.isfinite(seen)
    return float(np.corrcoef(seen[both].numpy(), told[both].numpy())[0, 1])
