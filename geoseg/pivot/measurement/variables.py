"""What the pivot describes: variables of the ground that every sensor says something of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from geoseg.errors import SensorError, nearest
from geoseg.sensors import find_sensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from geoseg.sensors import Band

__all__ = ["PivotVariable", "find_variable", "load_variables"]

Kind = Literal["reflectance", "backscatter"]

# Each as one band measures it: those of OLI, to which published coefficients of other sensors lead,
# the first red-edge band of Sentinel-2, and what the film of Hexagon saw of the visible.
_BANDS = {
    "blue": ("landsat-8", "blue"),
    "green": ("landsat-8", "green"),
    "red": ("landsat-8", "red"),
    "rededge": ("sentinel-2", "rededge071"),
    "nir": ("landsat-8", "nir08"),
    "swir1": ("landsat-8", "swir16"),
    "swir2": ("landsat-8", "swir22"),
    "visible": ("hexagon-kh9-mapping", "pan"),
    "vv": ("sentinel-1", "vv"),
    "vh": ("sentinel-1", "vh"),
}
_UNITS: Mapping[Kind, str] = {"reflectance": "1", "backscatter": "dB"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PivotVariable:
    """One variable of the pivot."""

    name: str
    kind: Kind
    band: Band  # whose response defines it

    @property
    def unit(self) -> str:
        """After the UDUNITS of CF: 1 for surface reflectance, dB for gamma0."""
        return _UNITS[self.kind]


@cache
def load_variables() -> Mapping[str, PivotVariable]:
    """All variables by name: reflectances by wavelength, broadband visible, backscatter."""
    found = {}
    for name, (sensor_id, band_name) in _BANDS.items():
        band = find_sensor(sensor_id).band(band_name)
        kind: Kind = "reflectance" if band.centre_um is not None else "backscatter"
        found[name] = PivotVariable(name=name, kind=kind, band=band)
    return found


def find_variable(name: str) -> PivotVariable:
    """The variable of this name.

    Raises:
        SensorError: there is none; the message names the nearest one.
    """
    variables = load_variables()
    if name not in variables:
        raise SensorError(f"no pivot variable named {name!r}. {nearest(name, variables)}")
    return variables[name]
