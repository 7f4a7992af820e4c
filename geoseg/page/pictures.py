"""How the bands of an image become a picture on a page."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from geoseg.sensors import Band

__all__ = [
    "CALLED",
    "PERCENT",
    "Tones",
    "are_power",
    "channels_of",
    "compositions_of",
    "in_decibels",
    "mixed",
    "png_bytes",
    "span_of",
    "toned",
]

CALLED = {  # compositions, as they are called on a page
    "rgb": "true colour",
    "nir": "NIR, red, green",
    "swir": "SWIR, NIR, green",
    "pan": "panchromatic",
    "sar": "VV, VH, ratio",
    "elevation": "elevation",
    "grey": "grey",
}
PERCENT = (2, 98)  # of the pixels, from which black and white are taken

_CONTRAST = 0.05  # least span of a stretch, as a share of the values: flat ground stays flat
_LEAST = {"sar": 3.0, "elevation": 5.0}  # the same in dB and in m
_MOST_PX = 2048  # to a side of a picture
_NIR = ("nir", "nir08")
_LEAST_POWER = 1e-6


class Tones(NamedTuple):
    """How the values of an image, or of several, become tones, the same in all of them."""

    decibels: bool  # whether values are turned into them first
    spans: list[tuple[float, float]]  # of each layer: where black is, and how far white is from it


def compositions_of(bands: Sequence[Band]) -> list[str]:
    """The compositions of `CALLED` that some bands allow; grey where they allow no other."""
    names = {band.common_name for band in bands}
    nir = bool(names & set(_NIR))
    allowed = {
        "rgb": {"red", "green", "blue"} <= names,
        "nir": nir and {"red", "green"} <= names,
        "swir": nir and {"swir16", "green"} <= names,
        "pan": "pan" in names,
        "sar": bool(_radar(bands)),
        "elevation": "elevation" in names,
    }
    return [name for name, given in allowed.items() if given] or ["grey"]


def channels_of(bands: Sequence[Band], composition: str) -> list[int]:
    """Which of the bands a composition is made of: three, two of radar, or one of grey."""
    if composition == "sar":
        return _radar(bands)
    names = [band.common_name for band in bands]
    nir = next((name for name in _NIR if name in names), "")
    wanted = {
        "rgb": ("red", "green", "blue"),
        "nir": (nir, "red", "green"),
        "swir": ("swir16", nir, "green"),
        "pan": ("pan",),
        "elevation": ("elevation",),
        "grey": (names[0],),
    }[composition]
    return [names.index(name) for name in wanted]


def are_power(pixels: Iterable[NDArray[np.float32]], composition: str) -> bool:
    """Whether values that are shown in a composition are backscattered power.

    Power is never negative, decibels nearly always are.

    Args:
        pixels: valid ones, of some bands or images.
        composition: of `CALLED`.
    """
    return composition == "sar" and not any((one < 0).any() for one in pixels)


def in_decibels(power: NDArray[np.float32]) -> NDArray[np.float32]:
    """Backscattered power in decibels; what is less than -60 dB is that."""
    decibels: NDArray[np.float32] = 10 * np.log10(np.maximum(power, np.float32(_LEAST_POWER)))
    return decibels


def mixed(shown: Sequence[NDArray[np.float32]], composition: str) -> list[NDArray[np.float32]]:
    """What is behind red, green and blue, or behind grey: of two bands of radar their ratio too.

    Args:
        shown: the bands of `channels_of`, those of radar in decibels.
        composition: of `CALLED`.
    """
    ratio = composition == "sar" and len(shown) == 2
    return [*shown, shown[0] - shown[1]] if ratio else list(shown)


def span_of(pixels: NDArray[np.float32], composition: str) -> tuple[float, float]:
    """Where black is, and how far white is from there: from the 2nd to the 98th percentile.

    Args:
        pixels: valid ones (N,) of one band.
        composition: that they are shown in; flat ground stays flat in all.
    """
    if not len(pixels):
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(pixels, PERCENT))
    span = max(high - low, _LEAST.get(composition) or _CONTRAST * abs(high), 1e-9)
    return (low + high - span) / 2, span


def toned(
    layers: Sequence[NDArray[np.float32]], spans: Sequence[tuple[float, float]]
) -> list[NDArray[np.float64]]:
    """Red, green and blue (H, W), 0 to 255, of three layers or of one."""
    shown = [
        255 * np.clip((layer.astype(np.float64) - low) / span, 0, 1)
        for layer, (low, span) in zip(layers, spans, strict=True)
    ]
    return shown if len(shown) == 3 else shown[:1] * 3


def png_bytes(shown: NDArray[np.uint8]) -> bytes:
    """A picture (H, W, 4) as PNG, made smaller where it is longer than 2048 px."""
    drawn = Image.fromarray(shown)
    step = -(-max(drawn.size) // _MOST_PX)
    file = io.BytesIO()
    (drawn.reduce(step) if step > 1 else drawn).save(file, format="PNG")
    return file.getvalue()


def _radar(bands: Sequence[Band]) -> list[int]:
    """Channels of backscatter, the co-polarised first, at most two."""
    found = [n for n, band in enumerate(bands) if band.frequency_ghz is not None]
    return sorted(found, key=lambda n: len(set(bands[n].polarisation or "")))[:2]
