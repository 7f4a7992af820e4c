"""One instrument on one platform, or on a series of equal platforms."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from geoseg.errors import SensorError, nearest
from geoseg.sensors.band import Band

__all__ = ["Sensor", "SensorKind"]


class SensorKind(StrEnum):
    """How an instrument sees the ground."""

    MULTISPECTRAL = "multispectral"
    PANCHROMATIC = "panchromatic"
    FILM = "film"
    SAR = "sar"
    TERRAIN = "terrain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """An instrument: its bands, the years it worked, and where the figures come from."""

    id: str  # landsat-7, sentinel-2, hexagon-kh9-mapping
    platform: str
    instrument: str
    kind: SensorKind
    bands: tuple[Band, ...]
    first_year: int  # of its images, not of its launch
    last_year: int | None = None  # None while it works
    bits: int  # radiometric depth as distributed; of the usual scan for film
    mtf_nyquist: float | None = None  # of the bands that give none of their own
    source: str

    def __post_init__(self) -> None:
        if not self.bands:
            raise SensorError(f"Sensor {self.id!r} has no band; give at least one.")
        names = [name for band in self.bands for name in {band.name, band.common_name}]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise SensorError(
                f"Sensor {self.id!r} has two bands called {sorted(repeated)}; rename one."
            )
        for band in self.bands:
            self._refuse_band_of_another_kind(band)
        self._refuse_impossible_figures()

    def band(self, name: str) -> Band:
        """The band with this common name or instrument name.

        Raises:
            SensorError: the sensor has no such band.
        """
        for band in self.bands:
            if name in {band.common_name, band.name}:
                return band
        known = (band.common_name for band in self.bands)
        raise SensorError(f"no {self.id} band named {name!r}. {nearest(name, known)}")

    def _refuse_band_of_another_kind(self, band: Band) -> None:
        measured = {"frequency_ghz": band.frequency_ghz, "centre_um": band.centre_um}
        given = [field for field, number in measured.items() if number is not None]
        expected = {SensorKind.SAR: ["frequency_ghz"], SensorKind.TERRAIN: []}
        needed = expected.get(self.kind, ["centre_um"])
        if given != needed:
            raise SensorError(
                f"Sensor {self.id!r} is {self.kind.value}, but its band {band.name!r} has "
                f"{' and '.join(given) or 'no wavelength'}; give "
                f"{' and '.join(needed) or 'neither centre_um nor frequency_ghz'}."
            )

    def _refuse_impossible_figures(self) -> None:
        if self.last_year is not None and self.last_year < self.first_year:
            raise SensorError(
                f"Sensor {self.id!r} has last_year = {self.last_year} but first_year = "
                f"{self.first_year}; put them in order."
            )
        if self.bits < 1:
            raise SensorError(f"Sensor {self.id!r} has bits = {self.bits}; give at least 1.")
        if self.mtf_nyquist is not None and not 0 < self.mtf_nyquist <= 1:
            raise SensorError(
                f"Sensor {self.id!r} has mtf_nyquist = {self.mtf_nyquist}; "
                "give a share above 0 and up to 1, or leave it out."
            )
        if not self.source.strip():
            raise SensorError(f"Sensor {self.id!r} has no source; name the document.")
