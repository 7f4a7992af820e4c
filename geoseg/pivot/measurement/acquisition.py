"""What one overpass measured: bands of a sensor on their own pixels, at a moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import torch

from geoseg.errors import SceneError
from geoseg.sensors import SensorKind, find_sensor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from odc.geo.geobox import GeoBox
    from torch import Tensor

    from geoseg.sensors import Band, Sensor

__all__ = ["Acquisition", "Reading", "days_of", "in_order", "is_reflective"]

_DARKEST, _BRIGHTEST = -0.5, 3.0  # reflectance; snow on a sunlit slope exceeds 1
_WEAKEST_DB, _STRONGEST_DB = -60.0, 30.0
_THERMAL_UM = 3.0  # from which a band measures what ground emits
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Bands that share pixels: reflectance, backscatter in dB, or the grey values of film."""

    pixels: GeoBox
    bands: tuple[str, ...]  # common names
    values: Tensor  # (C, h, w) float32, NaN where not valid

    def __post_init__(self) -> None:
        expected = (len(self.bands), *(int(n) for n in self.pixels.shape))
        if tuple(self.values.shape) != expected:
            raise SceneError(
                f"Values of {tuple(self.values.shape)} for bands {', '.join(self.bands)} on "
                f"{expected[1]} x {expected[2]} pixels; give (bands, rows, columns)."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition:
    """One overpass of one sensor.

    Raises:
        SceneError: no band, a time without a zone, or values that no reflectance and no backscatter
            in decibels has.
    """

    id: str
    sensor_id: str
    time: datetime
    readings: tuple[Reading, ...]
    registration_m: float = 0.0  # by which it may lie beside the pivot, one standard deviation
    looks: float = 4.4  # equivalent number of them, of radar
    incidence_deg: float | None = None  # of radar

    def __post_init__(self) -> None:
        if not self.readings:
            raise SceneError(f"Acquisition {self.id!r} has no band; give at least one.")
        if self.time.tzinfo is None:
            raise SceneError(
                f"Acquisition {self.id!r} is of {self.time}, without a time zone; give it in UTC."
            )
        for reading in self.readings:
            for band, values in zip(reading.bands, reading.values, strict=True):
                self._refuse_absurd(band, values)

    @property
    def sensor(self) -> Sensor:
        """The instrument."""
        return find_sensor(self.sensor_id)

    @property
    def day(self) -> float:
        """Days since 1970, with a fraction."""
        return (self.time - _EPOCH).total_seconds() / 86400

    def _refuse_absurd(self, band: str, values: Tensor) -> None:
        measured = values[torch.isfinite(values)]
        if len(measured) == 0 or self.sensor.kind is SensorKind.FILM:
            return
        middle = float(measured.median())
        if self.sensor.kind is SensorKind.SAR:
            low, high = float(measured.min()), float(measured.max())
            if low >= 0 and (low > 0 or middle > 0):
                raise SceneError(
                    f"The backscatter of acquisition {self.id!r} in {band} is positive everywhere, "
                    f"{low:.3g} to {high:.3g}: it looks linear; give decibels."
                )
            if not _WEAKEST_DB <= middle <= _STRONGEST_DB:
                raise SceneError(
                    f"Half of the backscatter of acquisition {self.id!r} in {band} is below "
                    f"{middle:.3g}; give decibels."
                )
            return
        if is_reflective(self.sensor.band(band)) and not _DARKEST <= middle <= _BRIGHTEST:
            raise SceneError(
                f"Half of the reflectances of acquisition {self.id!r} in {band} are below "
                f"{middle:.3g}; a gain is absurd or missing: give reflectances, mostly between 0 "
                "and 1."
            )


def is_reflective(band: Band) -> bool:
    """Whether it measures the light of the sun, and not radar or heat."""
    return band.centre_um is not None and band.centre_um < _THERMAL_UM


def in_order(acquisitions: Iterable[Acquisition]) -> list[Acquisition]:
    """By time, and by name where times are equal.

    Raises:
        SceneError: two have the same name.
    """
    ordered = sorted(acquisitions, key=lambda one: (one.time, one.id))
    seen: set[str] = set()
    for one in ordered:
        if one.id in seen:
            raise SceneError(f"Two acquisitions are called {one.id!r}; give each its own name.")
        seen.add(one.id)
    return ordered


def days_of(times: Iterable[datetime]) -> list[float]:
    """Days since 1970 of moments.

    Raises:
        SceneError: one has no time zone.
    """
    times = list(times)
    if any(time.tzinfo is None for time in times):
        raise SceneError("A date has no time zone; give all of them in UTC.")
    return [(time - _EPOCH).total_seconds() / 86400 for time in times]
