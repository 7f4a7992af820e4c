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
    first_year: int
    last_year: int | None  # None while it works
    bits: int  # radiometric depth as distributed; of the usual scan for film
    mtf_nyquist: (
        float | None
    )  # modulation transfer at the Nyquist frequency, 0 to 1; None if unpublished
    source: str

    def __post_init__(self) -> None:
        if not self.bands:
            raise SensorError(f"Sensor {self.id!r} has no band; give at least one.")
        names = [name for band in self.bands for name in {band.name, band.common_name}]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise SensorError(
                f"Sensor {self.id!r} has two bands called {sorted(repeated)}; rename one."
            )
        if self.last_year is not None and self.last_year < self.first_year:
            raise SensorError(
                f"Sensor {self.id!r} ends in {self.last_year} but starts in {self.first_year}."
            )

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
