"""The ground of a simulated year: fields that are sown and cut, meadows, woods, rock, water, snow.

What covers it is a share of each cover on a grid of 5 m, finer than any of its sensors, at any day
of the year. Nothing here knows of the models that are tested on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree
from scipy.special import expit

from geoseg.data.seasons.spectra import COVERS
from geoseg.data.simulate.noise import fractal

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FINE_M", "LAND_COVERS", "Ground", "make_ground"]

FINE_M = 5.0
LAND_COVERS = ("water", "rock", "meadow", "wood", "winter crop", "summer crop")

_SHARE = np.array([0.08, 0.12, 0.28, 0.20, 0.16, 0.16])  # of the parcels
_PARCEL_M = 110.0
_WEATHER_DAYS = 12.0  # over which leaves lose what they had more of than usual


@dataclass(frozen=True, slots=True, kw_only=True)
class _Season:
    """Share of leaves through the year: two logistic curves."""

    least: float
    most: float
    green: float  # day of the year half way up
    brown: float  # half way down
    rise_days: float
    fall_days: float


# Winter crop is ripe in June and summer crop in September; both are cut within days.
_SEASONS = {
    "meadow": _Season(least=0.25, most=0.80, green=115, brown=285, rise_days=14, fall_days=18),
    "wood": _Season(least=0.30, most=0.85, green=125, brown=290, rise_days=8, fall_days=10),
    "winter crop": _Season(least=0.15, most=0.9, green=85, brown=172, rise_days=14, fall_days=6),
    "summer crop": _Season(least=0.03, most=0.85, green=160, brown=255, rise_days=9, fall_days=4),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """A piece of ground of (H, W) cells of `FINE_M`."""

    land_cover: NDArray[np.uint8]  # index of LAND_COVERS
    shift_days: NDArray[np.float32]  # by which the season of a parcel is late
    vigour: NDArray[np.float32]  # of its leaves, about 1
    brightness: NDArray[np.float32]  # of its cells, about 1
    height: NDArray[np.float32]  # 0 at the lowest cell, 1 at the highest
    weather: NDArray[np.float32]  # (days, H, W): leaves more than usual, as a share
    slump: NDArray[np.bool_]
    slump_day: float
    snowfalls: tuple[tuple[float, float, float], ...]  # first day, last day, lowest height
    winter: bool  # with snow that lies

    def covers(self, day: float) -> NDArray[np.float32]:
        """Share (K, H, W) of each cover on a day of the year, 0 to 365."""
        bare = self.slump & (day >= self.slump_day)
        leaves = self._leaves(day) * ~bare
        shares = np.zeros((len(COVERS), *self.height.shape), dtype=np.float32)
        for index, name in enumerate(LAND_COVERS):
            here = self.land_cover == index
            if name in {"water", "rock"}:
                shares[COVERS.index(name)] += here & ~bare
            else:
                litter = "soil" if name == "summer crop" else "straw"
                shares[COVERS.index(litter)] += (1 - leaves) * (here & ~bare)
                shares[COVERS.index("leaves")] += leaves * here
        shares[COVERS.index("soil")] += bare
        snow = self._snow(day)
        shares *= 1 - snow
        shares[COVERS.index("snow")] += snow
        return shares

    def _leaves(self, day: float) -> NDArray[np.float32]:
        share = np.zeros(self.height.shape, dtype=np.float32)
        for index, name in enumerate(LAND_COVERS):
            if name not in _SEASONS:
                continue
            s = _SEASONS[name]
            local = day - self.shift_days
            up = expit((local - s.green) / s.rise_days)
            down = expit((s.brown - local) / s.fall_days)
            grown = s.least + (s.most - s.least) * up * down
            share += np.where(self.land_cover == index, grown, 0)
        return np.asarray(np.clip(share * self.vigour * (1 + self.weather[int(day) % 365]), 0, 1))

    def _snow(self, day: float) -> NDArray[np.float32]:
        """Melts uphill in spring and falls downhill in autumn, but not on water."""
        melted, fallen = 45 + 50 * self.height, 365 - 40 * self.height
        snow = self.winter * (expit((melted - day) / 2.5) + expit((day - fallen) / 2.5))
        for first, last, lowest in self.snowfalls:
            if first <= day <= last:
                snow = np.maximum(snow, 0.9 * (self.height > lowest))
        open_water = self.land_cover == LAND_COVERS.index("water")
        return np.asarray(np.clip(snow, 0, 1) * ~open_water, dtype=np.float32)


def make_ground(rng: np.random.Generator, *, side: int, snow: bool) -> Ground:
    """A ground of (side, side) cells, with snow in winter or without."""
    cells = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), -1)
    bent = np.stack([fractal(side, rng, roughness=3.0, longest=0.3) for _ in range(2)], -1) * 3
    parcels = max(4, round((side * FINE_M / _PARCEL_M) ** 2))
    middles = rng.uniform(0, side, (parcels, 2))
    parcel = cKDTree(middles).query((cells + bent).reshape(-1, 2))[1].reshape(side, side)
    height = fractal(side, rng, roughness=4.0)
    where = rng.uniform(0.25, 0.75, 2) * side
    from_slump = np.hypot(*np.moveaxis(cells + 2 * bent - where, -1, 0)) * FINE_M
    snowfalls = tuple(
        (first, first + rng.uniform(3, 8), rng.uniform(0.2, 0.7))
        for first in (rng.uniform(90, 125), rng.uniform(295, 330))
    )
    return Ground(
        land_cover=rng.choice(len(LAND_COVERS), parcels, p=_SHARE)[parcel].astype(np.uint8),
        shift_days=rng.normal(0, 9, parcels)[parcel].astype(np.float32),
        vigour=rng.normal(1, 0.08, parcels)[parcel].astype(np.float32),
        brightness=1 + 0.07 * fractal(side, rng, roughness=2.0, longest=0.5),
        height=(height - height.min()) / np.ptp(height),
        weather=_weather(rng, side),
        slump=from_slump < rng.uniform(40, 90),
        slump_day=rng.uniform(150, 250),
        snowfalls=snowfalls if snow else (),
        winter=snow,
    )


def _weather(rng: np.random.Generator, side: int) -> NDArray[np.float32]:
    """An autoregression in time of fields that are smooth over 100 m, with an sd of 5 %."""
    kept = np.exp(-1 / _WEATHER_DAYS)
    fields = np.empty((365, side, side), dtype=np.float32)
    for day in range(365):
        rough = rng.standard_normal((side // 4 + 1, side // 4 + 1))
        smooth = gaussian_filter(rough, 100 / (4 * FINE_M), mode="wrap")
        fresh = np.kron(smooth / smooth.std(), np.ones((4, 4)))[:side, :side]
        before = fields[day - 1] if day else fresh
        fields[day] = before if day == 0 else kept * before + np.sqrt(1 - kept**2) * fresh
    return 0.05 * fields
