"""Simulated places of the Arctic, some with a thaw slump, each seen by several sensors over years.

A test bed that needs no data: the truth of every place and date is known. A place is 480 m wide to
film, Sentinel-2 and Sentinel-1 (48 pixels of 10 m) and 1440 m wide to Landsat (48 pixels of 30 m)
around the same middle. It is no measurement of how well slumps are found on real images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, overload

import numpy as np
import torch

from geoseg.chips import Chip, Place
from geoseg.data.slumps.look import INSTRUMENTS, SIZE_PX, Instrument, take
from geoseg.data.slumps.tundra import Tundra, make_tundra
from geoseg.dates import decimal_year

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["REGIONS", "SimulatedPlaces", "simulated_places"]

# Where thaw slumps are frequent: longitude, latitude, and share of dense vegetation.
REGIONS: dict[str, tuple[float, float, float]] = {
    "Peel Plateau": (-135.5, 67.4, 0.75),
    "Anderson Plain": (-127.5, 69.6, 0.6),
    "Banks Island": (-121.5, 72.6, 0.35),
    "Noatak": (-161.0, 68.0, 0.7),
    "Yamal": (69.5, 70.3, 0.6),
    "Gydan": (77.5, 70.6, 0.55),
    "Taymyr": (101.0, 73.2, 0.4),
    "Bykovsky": (129.3, 71.8, 0.5),
}

_FIRST_ONSET, _LAST_ONSET = 1970.0, 2016.0
_LATEST = 2019  # every place has an image of this year or later, in which its slump has grown
_PALETTE_PLACES, _PALETTE_PIXELS = 32, 256
_SUMMER = (180, 265)  # days of a year: July to September
# How often an instrument saw a place, beside the latest image, and how often it took the latest.
_CHANCES = {
    "hexagon-kh9-mapping": (0.4,),
    "landsat-5": (0.6, 0.4),
    "landsat-8": (0.4,),
    "sentinel-2": (0.5,),
    "sentinel-1": (0.4,),
}
_TAKES_LATEST = {"sentinel-2": 0.6, "landsat-8": 0.25, "sentinel-1": 0.15}
# The last number of a seed, that no two kinds of streams are one. Not zero: to numpy zeros at the
# end of a seed are as if they were not there.
_OF_PLACE, _OF_COLUMN, _OF_PALETTE = 1, 2, 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SimulatedPlaces(Sequence[Place]):
    """Places that are made when asked for: place i of a seed is the same in any number of them."""

    seed: int
    number: NDArray[np.int64]  # (N,) of each place
    present: NDArray[np.bool_]  # (N,) whether a slump is there at the latest image
    onset_year: NDArray[np.float64]  # (N,) decimal year in which it began, NaN where there is none
    lon: NDArray[np.float64]  # (N,) degrees
    lat: NDArray[np.float64]  # (N,)
    region_number: NDArray[np.int8]  # (N,) index into REGIONS

    def __len__(self) -> int:
        return len(self.number)

    @overload
    def __getitem__(self, index: int) -> Place: ...
    @overload
    def __getitem__(self, index: slice) -> SimulatedPlaces: ...
    def __getitem__(self, index: int | slice) -> Place | SimulatedPlaces:
        if isinstance(index, slice):
            return self.chosen(np.arange(len(self))[index])
        return self._make(range(len(self))[index])

    def onset(self, index: int) -> float | None:
        """Decimal year in which the slump of a place began; None where there never was one."""
        return float(self.onset_year[index]) if self.present[index] else None

    def region(self, index: int) -> str:
        """Where a place lies: one of REGIONS."""
        return list(REGIONS)[int(self.region_number[index])]

    def chosen(self, indices: NDArray[np.integer]) -> SimulatedPlaces:
        """Some of the places, in this order."""
        columns = ("number", "present", "onset_year", "lon", "lat", "region_number")
        return replace(self, **{name: getattr(self, name)[indices] for name in columns})

    def _make(self, index: int) -> Place:
        rng = np.random.default_rng([self.seed, int(self.number[index]), _OF_PLACE])
        tundra = make_tundra(rng, onset=self.onset(index), green=REGIONS[self.region(index)][2])
        palettes = _palettes(self.seed)
        images = [
            _chip(instrument, tundra, moment, rng, palettes[instrument.sensor_id])
            for moment, instrument in _plan(rng)
        ]
        return Place(
            id=f"simulated-{self.seed}/{self.number[index]:07d}",
            lon=float(self.lon[index]),
            lat=float(self.lat[index]),
            images=tuple(images),
            present=bool(self.present[index]),
        )


def simulated_places(count: int, *, seed: int, prevalence: float = 0.15) -> SimulatedPlaces:
    """Places with two to seven images each, of 1975 to 2024.

    Args:
        count: how many.
        seed: another seed, other places.
        prevalence: chance of a place to hold a slump, 0 to 1.
    """
    # A stream for each column: a place stays the same whatever the count is.
    present = np.random.default_rng([seed, 0, _OF_COLUMN]).random(count) < prevalence
    begun = np.random.default_rng([seed, 1, _OF_COLUMN]).uniform(_FIRST_ONSET, _LAST_ONSET, count)
    region = np.random.default_rng([seed, 2, _OF_COLUMN]).integers(0, len(REGIONS), count)
    away = np.random.default_rng([seed, 3, _OF_COLUMN]).normal(0, (1.0, 0.3), (count, 2))
    middle = np.array([place[:2] for place in REGIONS.values()])[region]
    return SimulatedPlaces(
        seed=seed,
        number=np.arange(count),
        present=present,
        onset_year=np.where(present, begun, np.nan),
        lon=middle[:, 0] + away[:, 0],
        lat=middle[:, 1] + away[:, 1],
        region_number=region.astype(np.int8),
    )


def _plan(rng: np.random.Generator) -> list[tuple[datetime, Instrument]]:
    """When which instrument takes an image, oldest first."""
    latest = rng.choice(list(_TAKES_LATEST), p=list(_TAKES_LATEST.values()))
    plan = [(_moment(INSTRUMENTS[latest], rng, first_year=_LATEST), INSTRUMENTS[latest])]
    for sensor_id, chances in _CHANCES.items():
        instrument = INSTRUMENTS[sensor_id]
        for chance in chances:
            if rng.random() < chance:
                plan.append((_moment(instrument, rng), instrument))
    if len(plan) == 1:
        instrument = INSTRUMENTS["landsat-5"]
        plan.append((_moment(instrument, rng), instrument))
    return sorted(plan, key=lambda item: item[0])


def _moment(
    instrument: Instrument, rng: np.random.Generator, *, first_year: int | None = None
) -> datetime:
    year = int(rng.integers(first_year or instrument.first_year, instrument.last_year + 1))
    day, second = int(rng.integers(*_SUMMER)), int(rng.integers(86_400))
    return datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=day, seconds=second)


def _chip(
    instrument: Instrument,
    tundra: Tundra,
    moment: datetime,
    rng: np.random.Generator,
    palette: NDArray[np.float32],
) -> Chip:
    picture = take(instrument, tundra, year=decimal_year(moment), rng=rng)
    return Chip(
        image=torch.from_numpy(picture.image),
        valid=torch.from_numpy(picture.valid),
        label=torch.from_numpy(picture.label),
        palette=torch.from_numpy(palette),
        bands=instrument.bands,
        gsd_m=instrument.gsd_m,
        time=moment,
        sensor_id=instrument.sensor_id,
    )


@cache
def _palettes(seed: int) -> Mapping[str, NDArray[np.float32]]:
    """Pixels (C, P) of each instrument, of places that are in no sequence: what is usual to it."""
    each = _PALETTE_PIXELS // _PALETTE_PLACES
    pixels: dict[str, list[NDArray[np.float32]]] = {sensor_id: [] for sensor_id in INSTRUMENTS}
    for number, (_, _, green) in enumerate(list(REGIONS.values()) * (_PALETTE_PLACES // 8)):
        rng = np.random.default_rng([seed, number, _OF_PALETTE])
        tundra = make_tundra(rng, onset=None, green=green)
        for sensor_id, instrument in INSTRUMENTS.items():
            year = decimal_year(_moment(instrument, rng))
            picture = take(instrument, tundra, year=year, rng=rng)
            valid = np.flatnonzero(picture.valid)
            seen = picture.image.reshape(-1, SIZE_PX**2)[:, rng.choice(valid, each)]
            pixels[sensor_id].append(seen)
    return {sensor_id: np.concatenate(parts, axis=1) for sensor_id, parts in pixels.items()}
