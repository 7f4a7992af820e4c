"""Clouds over glaciers: thresholds of our own, and masks of other packages.

Snow and cloud are both white. What tells them apart is the shortwave infrared, where grains of ice
absorb and droplets scatter (Dozier 1989, Remote Sensing of Environment 28). Clouds of ice crystals,
thin cirrus above all, are dark there too: over snow these thresholds miss them.
"""

from __future__ import annotations

import math
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
from scipy import ndimage

from geoseg.errors import ConfigError, SceneError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from geoseg.scenes.scene import SunPosition

    Bands = Mapping[str, NDArray[np.float32]]

__all__ = [
    "CLOUD_BANDS",
    "CloudMask",
    "behind_clouds",
    "cloud_mask_named",
    "cloud_mask_names",
    "cloud_mask_version",
    "cloud_reach_px",
    "dark_ground",
    "grown",
    "looks_cloudy",
    "looks_snowy",
]

CLOUD_BANDS = ("blue", "green", "red", "swir16")  # and near infrared, of either name
_GROUP = "geoseg.cloud_masks"
_NEAR_INFRARED = ("nir08", "nir")

# Published.
_NDSI_SNOW = 0.4  # Hall, Riggs and Salomonson 1995, RSE 54: at least half of the pixel is snow
_NIR_SNOW = 0.11  # the same: water has an NDSI of snow and is dark
_WHITENESS = 0.7  # Zhu and Woodcock 2012, RSE 118 (Fmask), equation 2
_HAZE = 0.08  # the same, equation 3
_BARE = 0.75  # the same, equation 4: near over shortwave infrared, below which ground is bare rock
_NDVI = 0.8  # the same, equation 1
# Our own.
_SWIR_SNOW = 0.2  # a little above what grains of ice reflect at 1.6 um (spectra of Dozier 1989)
_SWIR_CLOUD = 0.15
_BRIGHT = 0.2  # mean of the visible; thin haze over ice stays
_HIGHEST_CLOUD_M = 6000.0  # above ground; Fmask goes from 200 m to 12 km
_LOWEST_SUN_DEG = 15.0
_DARK = 0.15  # reflectance in near and shortwave infrared under a cloud
_NDWI_WATER = 0.4  # above: open water, dark without a cloud; McFeeters 1996 takes all above 0


class CloudMask(Protocol):
    """Finds clouds; an entry point of the group `geoseg.cloud_masks` is one."""

    def __call__(self, bands: Bands, /) -> NDArray[np.bool_] | NDArray[np.floating]:
        """True, or a probability above 0.5, where a cloud is (H, W).

        Args:
            bands: reflectance (H, W) by common name, NaN where it was not measured.
        """


def cloud_mask_names() -> list[str]:
    """Names of the masks of other packages that are installed."""
    return sorted({entry.name for entry in entry_points(group=_GROUP)})


def cloud_mask_named(name: str) -> CloudMask:
    """The mask of another package.

    Raises:
        ConfigError: none of that name is installed.
    """
    for entry in entry_points(group=_GROUP):
        if entry.name == name:
            return cast("CloudMask", entry.load())
    known = ["auto", "none", "product", "thresholds", *cloud_mask_names()]
    raise ConfigError(f"no cloud mask {name!r}. {nearest(name, known)}")


def cloud_mask_version(name: str) -> str | None:
    """Name and version of the package that a mask comes from; None where no package brings it."""
    for entry in entry_points(group=_GROUP):
        if entry.name == name and entry.dist is not None:
            return f"{entry.dist.name} {entry.dist.version}"
    return None


def looks_snowy(bands: Bands) -> NDArray[np.bool_]:
    """Where snow or bare ice lies (H, W): bright in the visible, dark in the shortwave infrared.

    NDSI > 0.4, near infrared > 0.11 (Hall et al. 1995) and shortwave infrared < 0.2 (our own).

    Args:
        bands: reflectance of green, nir08 or nir, and swir16; NaN where not measured.

    Raises:
        SceneError: one of them is missing.
    """
    _require(bands, ("green", "swir16"))
    green, swir = bands["green"], bands["swir16"]
    # A product, not a quotient: both may be zero or negative in deep shadow.
    snowy = green - swir > _NDSI_SNOW * (green + swir)
    return np.asarray(snowy & (_near_infrared(bands) > _NIR_SNOW) & (swir < _SWIR_SNOW))


def looks_cloudy(bands: Bands) -> NDArray[np.bool_]:
    """Where a cloud is (H, W): white, hazy, not plant nor rock, and bright where snow is dark.

    The potential clouds of Fmask (Zhu and Woodcock 2012), narrowed for glaciers: those that look
    like snow are none, and a cloud is brighter than 0.2 in the visible.

    Args:
        bands: reflectance of `CLOUD_BANDS` and of nir08 or nir; NaN where not measured.

    Raises:
        SceneError: one of them is missing.
    """
    _require(bands, CLOUD_BANDS)
    blue, green, red, swir = (bands[name] for name in CLOUD_BANDS)
    nir = _near_infrared(bands)
    mean = (blue + green + red) / 3
    # Whiteness times its mean, so that nothing is divided.
    colour = abs(blue - mean) + abs(green - mean) + abs(red - mean)
    white = colour < _WHITENESS * mean
    hazy = blue - 0.5 * red > _HAZE
    plant = nir - red > _NDVI * (nir + red)
    bare = nir < _BARE * swir
    bright = (mean > _BRIGHT) & (swir > _SWIR_CLOUD)
    return np.asarray(bright & white & hazy & ~plant & ~bare & ~looks_snowy(bands))


def cloud_reach_px(sun: SunPosition, *, gsd_m: float) -> int:
    """How far a shadow may fall from its cloud, in pixels; at most that of a sun at 15 degrees."""
    slope = math.tan(math.radians(max(sun.elevation, _LOWEST_SUN_DEG)))
    return math.ceil(_HIGHEST_CLOUD_M / slope / gsd_m)


def dark_ground(bands: Bands) -> NDArray[np.bool_]:
    """Where the ground is as dark in the infrared as under a cloud (H, W), and is no open water.

    Args:
        bands: reflectance of green, nir08 or nir, and swir16.

    Raises:
        SceneError: one of them is missing.
    """
    _require(bands, ("green", "swir16"))
    nir, green = _near_infrared(bands), bands["green"]
    water = green - nir > _NDWI_WATER * (green + nir)
    return np.asarray((nir < _DARK) & (bands["swir16"] < _DARK) & ~water)


def behind_clouds(cloud: NDArray[np.bool_], *, sun: SunPosition, gsd_m: float) -> NDArray[np.bool_]:
    """Where clouds may throw their shadow (H, W), their own places among them.

    As in Fmask (Zhu and Woodcock 2012) a shadow lies where its cloud would throw it from some
    height, here from 0 to 6000 m above level ground; it is one where the ground is dark there.
    Shadow on snow is brighter than that and stays.

    **Convention:** rows run south. Sun in the south (azimuth 180) at 45 degrees, a cloud at 1000 m:
    the shadow lies 1000 m north of it, at smaller rows.

    Args:
        cloud: (H, W); clouds up to `cloud_reach_px` beyond what is asked for count.
        sun: its position.
        gsd_m: metres to a pixel.
    """
    if not cloud.any():
        return cloud
    azimuth, reach = math.radians(sun.azimuth), cloud_reach_px(sun, gsd_m=gsd_m)
    found, length = cloud.copy(), 1
    # What lies within 2 n pixels behind is what lies within n, and that again n further.
    while length <= reach:
        step = min(length, reach + 1 - length)
        rows, columns = round(step * math.cos(azimuth)), round(-step * math.sin(azimuth))
        found |= _moved(found, rows, columns)
        length += step
    return found


def _moved(mask: NDArray[np.bool_], rows: int, columns: int) -> NDArray[np.bool_]:
    height, width = mask.shape
    out = np.zeros_like(mask)
    if abs(rows) >= height or abs(columns) >= width:
        return out
    to = (_span(rows, height), _span(columns, width))
    origin = (_span(-rows, height), _span(-columns, width))
    out[to] = mask[origin]
    return out


def _span(shift: int, length: int) -> slice:
    return slice(max(shift, 0), length + min(shift, 0))


def grown(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """A mask with all that lies within some pixels of it: the rim of a cloud is thin."""
    if pixels == 0 or not mask.any():
        return mask
    return np.asarray(ndimage.binary_dilation(mask, iterations=pixels))


def _near_infrared(bands: Bands) -> NDArray[np.float32]:
    for name in _NEAR_INFRARED:
        if name in bands:
            return bands[name]
    raise SceneError("Clouds are told from snow by near infrared; give a band nir08 or nir.")


def _require(bands: Bands, names: tuple[str, ...]) -> None:
    missing = [name for name in names if name not in bands]
    if missing:
        raise SceneError(
            f"Clouds are told from snow by {', '.join(names)}; there is no "
            f"{' and no '.join(missing)}."
        )
