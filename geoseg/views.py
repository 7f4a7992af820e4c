"""What a network sees: images of one set of bands, with what each band measures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch

from geoseg.errors import SensorError, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from geoseg.sensors import Band

__all__ = ["POLARISATIONS", "TERRAIN", "View", "band_table", "tones", "turned"]

POLARISATIONS = ("VV", "VH", "HH", "HV")
TERRAIN = ("elevation", "slope", "aspect_sine", "aspect_cosine", "curvature")

_LEAST_SPREAD = 1e-6  # of the mean
_EAST, _NORTH = TERRAIN.index("aspect_sine"), TERRAIN.index("aspect_cosine")


class View(NamedTuple):
    """Images of one set of bands, as a network takes them.

    The palette says what is usual in the scene of an image: its unit, light and calibration. So
    reflectance, digital numbers, decibels and metres need not be told apart.
    """

    image: Tensor  # (N, C, H, W) float32 in the unit of the scene, NaN where a band has nothing
    valid: Tensor  # (N, H, W) bool
    palette: Tensor  # (N, C, P) float32, some valid pixels of the whole scene of each image
    gsd_m: Tensor  # (N,) float32
    bands: Tensor  # (C, 5) float32 of `band_table`


def band_table(bands: Sequence[Band]) -> Tensor:
    """What bands measure, as numbers (C, 5) float32, NaN where a column does not apply.

    Columns: centre wavelength (um), full width at half maximum (um), radar frequency (GHz), number
    of the polarisation in `POLARISATIONS`, number of the kind of terrain in `TERRAIN`.

    Raises:
        SensorError: a polarisation or kind of terrain that is not known.
    """
    return torch.tensor([_row(band) for band in bands], dtype=torch.float32).reshape(-1, 5)


def tones(palette: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (N, C, 1, 1) of each band over a palette (N, C, P).

    The deviation of a constant band, which carries nothing, is infinite: divided by it the band is
    0, not noise blown up.
    """
    known = palette.isfinite()
    count = known.sum(-1).clamp(min=1)
    mean = torch.where(known, palette, 0).sum(-1) / count
    away = torch.where(known, palette - mean[..., None], 0)
    std = (away.square().sum(-1) / count).sqrt()
    std = torch.where(std > _LEAST_SPREAD * mean.abs().clamp(min=1), std, torch.inf)
    return mean[..., None, None], std[..., None, None]


def turned(image: Tensor, bands: Tensor, turns: int, *, mirrored: bool) -> Tensor:
    """Images (N, C, H, W) turned counterclockwise by right angles, then mirrored left to right.

    The directions that slopes face turn with them.

    Args:
        image: of these bands.
        bands: (C, 5) of `band_table`.
        turns: right angles.
        mirrored: whether to mirror.
    """
    image = image.rot90(turns, (-2, -1))
    if mirrored:
        image = image.flip(-1)
    kinds = bands[:, -1].tolist()
    if _EAST not in kinds or _NORTH not in kinds:
        return image
    where = [kinds.index(_EAST), kinds.index(_NORTH)]
    east, north = image[:, where].unbind(dim=1)
    for _ in range(turns % 4):
        east, north = -north, east
    if mirrored:
        east = -east
    image = image.clone()
    image[:, where] = torch.stack([east, north], dim=1)
    return image


def _row(band: Band) -> tuple[float, ...]:
    if band.centre_um is not None and band.fwhm_um is not None:
        return (band.centre_um, band.fwhm_um, math.nan, math.nan, math.nan)
    if band.frequency_ghz is not None and band.polarisation is not None:
        number = _number(band.polarisation.upper(), POLARISATIONS, "polarisation")
        return (math.nan, math.nan, band.frequency_ghz, number, math.nan)
    number = _number(band.common_name, TERRAIN, "kind of terrain")
    return (math.nan, math.nan, math.nan, math.nan, number)


def _number(name: str, known: Sequence[str], what: str) -> float:
    if name not in known:
        raise SensorError(f"no {what} named {name!r}. {nearest(name, known)}")
    return float(known.index(name))
