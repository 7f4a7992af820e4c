"""A place as it is stored: images not yet decoded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from geoseg.chips import Place
from geoseg.errors import SceneError
from geoseg.presence.packs.pixels import as_chip, decode, decode_mask

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from numpy.typing import NDArray

    from geoseg.presence.packs.kind import ImageKind
    from geoseg.presence.packs.pixels import Palette

__all__ = ["StoredImage", "StoredPlace", "decode_place"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredImage:
    """One image of a place."""

    pixels: bytes | NDArray[np.generic]  # of a file, or (C, H, W)
    suffix: str  # png or npy, of bytes
    kind: ImageKind
    time: datetime
    mask: bytes | None = None  # of a PNG: class ids, 255 where unknown

    def decoded(self) -> NDArray[np.generic]:
        """Stored values (C, H, W).

        Raises:
            SceneError: damaged, or larger than an image may be.
        """
        if isinstance(self.pixels, bytes):
            return decode(self.pixels, self.suffix)
        return self.pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPlace:
    """Some images of one place, oldest first."""

    id: str
    lon: float  # NaN where it is not known
    lat: float
    present: bool | None
    images: tuple[StoredImage, ...]
    stray: tuple[str, ...] = ()  # masks of none of them

    def without_masks(self) -> StoredPlace:
        """For whom masks say nothing, damaged or not."""
        if all(image.mask is None for image in self.images):
            return self
        return replace(self, images=tuple(replace(image, mask=None) for image in self.images))


def decode_place(stored: StoredPlace, palettes: Mapping[ImageKind, Palette]) -> Place:
    """A place as a network takes it.

    Raises:
        SceneError: an image or a mask that cannot be decoded, or an image that is not of its kind.
    """
    chips = []
    for number, image in enumerate(stored.images):
        if image.kind not in palettes:
            raise SceneError(
                f"Image {number} of place {stored.id} is left out: the pack knows no images of "
                f"{image.kind.sensor_id} with bands {', '.join(image.kind.bands)} at "
                f"{image.kind.gsd_m:g} m; pack it again."
            )
        try:
            pixels = image.decoded()
            label = None if image.mask is None else decode_mask(image.mask, pixels.shape[1:])
            chips.append(as_chip(pixels, palettes[image.kind], image.time, label))
        except SceneError as error:
            raise SceneError(f"Image {number} of place {stored.id} is left out: {error}") from error
    return Place(
        id=stored.id,
        lon=stored.lon,
        lat=stored.lat,
        images=tuple(chips),
        present=stored.present,
    )
