"""One band of an instrument."""

from __future__ import annotations

from dataclasses import dataclass

from geoseg.errors import SensorError

__all__ = ["Band"]

_OPTICAL_UM = (0.3, 15.0)  # from the ultraviolet to the end of the thermal window


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
    mtf_nyquist: float | None = None  # 0.276 for Sentinel-2 B3; None where none is published
    frequency_ghz: float | None = None  # 5.405 for Sentinel-1
    polarisation: str | None = None  # VV, VH, HH or HV: sent, then received

    def __post_init__(self) -> None:
        for field in ("gsd_m", "centre_um", "fwhm_um", "frequency_ghz"):
            number = getattr(self, field)
            if number is not None and not number > 0:
                raise SensorError(
                    f"Band {self.name!r} has {field} = {number}; give a positive number."
                )
        self._refuse_half_a_pair("centre_um", "fwhm_um")
        self._refuse_half_a_pair("frequency_ghz", "polarisation")
        self._refuse_impossible_optics()

    def _refuse_half_a_pair(self, first: str, second: str) -> None:
        one, other = getattr(self, first), getattr(self, second)
        if (one is None) != (other is None):
            raise SensorError(
                f"Band {self.name!r} has {first} = {one} and {second} = {other}; "
                "give both or neither."
            )

    def _refuse_impossible_optics(self) -> None:
        if self.mtf_nyquist is not None and not 0 < self.mtf_nyquist <= 1:
            raise SensorError(
                f"Band {self.name!r} has mtf_nyquist = {self.mtf_nyquist}; "
                "give a share above 0 and up to 1, or leave it out."
            )
        if self.centre_um is None or self.fwhm_um is None:
            return
        if self.frequency_ghz is not None:
            raise SensorError(
                f"Band {self.name!r} has centre_um = {self.centre_um} and frequency_ghz = "
                f"{self.frequency_ghz}; give the one it measures."
            )
        low, high = _OPTICAL_UM
        if not low <= self.centre_um <= high:
            raise SensorError(
                f"Band {self.name!r} has centre_um = {self.centre_um}; "
                f"give micrometres, between {low:g} and {high:g}."
            )
        if self.fwhm_um >= self.centre_um:
            raise SensorError(
                f"Band {self.name!r} has fwhm_um = {self.fwhm_um} and centre_um = "
                f"{self.centre_um}; give a width below the centre."
            )
