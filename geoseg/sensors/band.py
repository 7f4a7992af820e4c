"""One band of an instrument."""

from __future__ import annotations

from dataclasses import dataclass

from geoseg.errors import SensorError

__all__ = ["Band"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """What one band of an instrument measures.

    An optical band has a centre and a width, a radar band a frequency and a polarisation, a terrain
    band neither.
    """

    name: str  # the instrument's own: B3 for Sentinel-2 green
    common_name: str  # STAC (eo extension): blue, green, red, nir08, swir16, pan; vv, vh; elevation
    gsd_m: float  # ground sampling distance at nadir
    centre_um: float | None = None  # 0.56 for Sentinel-2 B3
    fwhm_um: float | None = None
    frequency_ghz: float | None = None  # 5.405 for Sentinel-1
    polarisation: str | None = None  # VV, VH, HH or HV: sent, then received

    def __post_init__(self) -> None:
        for field in ("gsd_m", "centre_um", "fwhm_um", "frequency_ghz"):
            number = getattr(self, field)
            if number is not None and not number > 0:
                raise SensorError(
                    f"Band {self.name!r} has {field} = {number}; give a positive number."
                )
        if (self.centre_um is None) != (self.fwhm_um is None):
            raise SensorError(
                f"Band {self.name!r} has centre_um = {self.centre_um} and fwhm_um = "
                f"{self.fwhm_um}; give both or neither."
            )
        if (self.frequency_ghz is None) != (self.polarisation is None):
            raise SensorError(
                f"Band {self.name!r} has frequency_ghz = {self.frequency_ghz} and polarisation = "
                f"{self.polarisation}; give both or neither."
            )
