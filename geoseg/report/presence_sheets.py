"""Contact sheets: the images of some places, small, side by side, with what was found in them."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from contourpy import contour_generator
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from geoseg.chips import Chip
    from geoseg.chips.place import Place

__all__ = [
    "Sheet",
    "ShownPlace",
    "Thumbnail",
    "contour_path",
    "data_uri",
    "show_place",
    "thumbnail_of",
]

_LONGEST_PX = 160
_MOST_IMAGES = 8  # of a place; the oldest, the newest, and some between
_STRETCH = (1, 99)  # percentiles
_COLOURS = ("red", "green", "blue")
_CONTRAST = 0.05  # least span of a stretch, as a share of the values: flat ground stays flat
_SPAN_DB = 3.0  # the same in decibels


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """One image, small."""

    picture: NDArray[np.uint8]  # (H, W, 3)
    valid: NDArray[np.bool_]  # (H, W)
    when: str  # a day, or as much as is known: 2019-07-12
    sensor_id: str
    evidence: NDArray[np.float32] | None = None  # (h, w), above 0 where it speaks for presence


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownPlace:
    """A place on a sheet."""

    id: str
    lon: float  # degrees, NaN where not known
    lat: float
    probability: float
    present: bool | None  # what is known, None where nothing is
    images: tuple[Thumbnail, ...]  # oldest first
    left_out: int = 0  # images that are not shown

    @property
    def located(self) -> bool:
        """Whether its position is known."""
        return math.isfinite(self.lon) and math.isfinite(self.lat)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """Places of one kind."""

    title: str  # Surest
    words: str  # what is on it, in a sentence
    places: tuple[ShownPlace, ...]  # may be empty


def show_place(
    place: Place,
    probability: float,
    *,
    evidence: Sequence[ArrayLike] | None = None,
) -> ShownPlace:
    """A place as it is drawn: its images oldest first, eight of them where it has more.

    Args:
        place: as read from a pack, or made.
        probability: of the place.
        evidence: of each image, in the order of `place.images`, a map (h, w) over all of it, above
            0 where it speaks for presence.

    Raises:
        ValueError: not one map of evidence for each image.
    """
    count = len(place.images)
    maps = [None] * count if evidence is None else [np.asarray(e, np.float32) for e in evidence]
    if len(maps) != count:
        raise ValueError(f"place {place.id} has {count} images, but {len(maps)} maps of evidence.")
    order = sorted(range(count), key=lambda i: place.images[i].time)
    ends = np.linspace(0, count - 1, min(count, _MOST_IMAGES)).round().astype(int)
    return ShownPlace(
        id=place.id,
        lon=place.lon,
        lat=place.lat,
        probability=probability,
        present=place.present,
        images=tuple(
            thumbnail_of(place.images[i], evidence=maps[i]) for i in (order[end] for end in ends)
        ),
        left_out=max(count - _MOST_IMAGES, 0),
    )


def thumbnail_of(chip: Chip, *, evidence: NDArray[np.float32] | None = None) -> Thumbnail:
    """An image in colour where it has red, green and blue, radar in grey decibels, else in grey.

    Each image is stretched by itself, so that what is dim in a whole scene is seen; colours of two
    images are not to be compared.
    """
    image, valid = chip.image.numpy(), chip.valid.numpy()
    step = -(-max(valid.shape) // _LONGEST_PX)
    image, valid = _reduced(image, valid, step)
    return Thumbnail(
        picture=_picture(image, valid, chip),
        valid=valid,
        when=f"{chip.time:%Y-%m-%d}",
        sensor_id=chip.sensor_id,
        evidence=evidence,
    )


def data_uri(thumbnail: Thumbnail) -> str:
    """The picture as the address of an image, clear where it is not valid."""
    alpha = np.where(thumbnail.valid, 255, 0).astype(np.uint8)
    picture = np.dstack([thumbnail.picture, alpha])
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="webp", quality=85, method=4)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def contour_path(evidence: NDArray[np.floating], level: float) -> str:
    """The line around cells of evidence above a level, as a path of SVG over 0 to 100 each way.

    Lines run between the centres of cells, and along the border where ground above goes on there.
    """
    if not evidence.size or not (evidence > level).any():
        return ""
    values = np.pad(np.asarray(evidence, dtype=np.float64), 1, mode="edge")
    values = np.pad(values, 1, constant_values=min(float(values.min()), level) - 1)
    y, x = (_centres(count) for count in evidence.shape)
    lines = contour_generator(x, y, values).lines(level)
    return "".join(
        "M" + "L".join(f"{px:.1f} {py:.1f}" for px, py in np.asarray(line)) for line in lines
    )


def _centres(count: int) -> NDArray[np.float64]:
    """Of cells, between 0 and 100; then both borders, and a hair outside of these."""
    inner = (np.arange(count) + 0.5) * 100 / count
    return np.concatenate([[-0.01, 0], inner, [100, 100.01]])


def _reduced(
    image: NDArray[np.float32], valid: NDArray[np.bool_], step: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Means of what is valid in squares of `step` pixels a side."""
    if step == 1:
        return image, valid
    height, width = (side // step * step for side in valid.shape)
    cut = (slice(None, height), slice(None, width))
    squares = (height // step, step, width // step, step)
    counts = valid[cut].reshape(squares).sum(axis=(1, 3))
    inside = np.where(valid[cut], image[:, *cut], 0).reshape(-1, *squares)
    means = inside.sum(axis=(2, 4)) / np.maximum(counts, 1)
    return means.astype(np.float32), counts > 0


def _picture(image: NDArray[np.float32], valid: NDArray[np.bool_], chip: Chip) -> NDArray[np.uint8]:
    names = [band.common_name for band in chip.bands]
    if set(_COLOURS) <= set(names):
        shown = [_stretched(image[names.index(name)], valid) for name in _COLOURS]
    elif chip.bands[0].frequency_ghz is not None:
        shown = [_stretched(_decibels(image[0]), valid, _SPAN_DB)] * 3
    else:
        shown = [_stretched(image.mean(axis=0), valid)] * 3
    return np.rint(np.stack(shown, axis=-1) * 255).astype(np.uint8)


def _stretched(
    band: NDArray[np.float32], valid: NDArray[np.bool_], least_span: float = 0.0
) -> NDArray[np.float32]:
    """A band (H, W) from 0 to 1."""
    if not valid.any():
        return np.zeros_like(band)
    low, high = np.percentile(band[valid], _STRETCH)
    span = max(high - low, least_span or _CONTRAST * abs(high), 1e-9)
    middle = (low + high) / 2
    return np.asarray(np.clip((band - middle) / span + 0.5, 0, 1), dtype=np.float32)


def _decibels(band: NDArray[np.float32]) -> NDArray[np.float32]:
    """Backscatter in decibels; power is never negative, decibels nearly always are."""
    if (band < 0).any():
        return band
    return np.asarray(10 * np.log10(np.maximum(band, 1e-6)), dtype=np.float32)
