"""A place as it is stored: images not yet decoded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from geoseg.chips import Place
from geoseg.errors import SceneError
from geoseg.labels import IGNORE
from geoseg.presence.packs.pixels import as_chip, decode, decode_mask, ids_said

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from geoseg.presence.packs.kind import ImageKind
    from geoseg.presence.packs.pixels import Palette

__all__ = ["UNMARKED", "StoredImage", "StoredPlace", "decode_place", "unmarked"]


UNMARKED = (
    "it holds only 0 and 255, which is unknown, and its place is labelled present; write 1 for "
    "what is present."
)


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


def unmarked(present: bool | None, said: Sequence[frozenset[int]]) -> list[int]:
    """Numbers of the images of a place whose masks would teach that what is present is not there.

    Editors draw in 0 and 255. Where a place holds something and no mask marks it, 255 in one that
    says 0 elsewhere was most likely meant to.

    Args:
        present: whether the place holds something, as far as is known.
        said: of each image, class ids of its mask (`ids_said`); none where it has no mask.
    """
    if not present or any(ids - {0, IGNORE} for ids in said):
        return []
    return [number for number, ids in enumerate(said) if ids == {0, IGNORE}]


def decode_place(stored: StoredPlace, palettes: Mapping[ImageKind, Palette]) -> Place:
    """A place as a network takes it.

    Raises:
        SceneError: an image or a mask that cannot be decoded, an image that is not of its kind, or
            a mask that would teach the opposite (`unmarked`).
    """
    chips, said = [], []
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
            chip = as_chip(pixels, palettes[image.kind], image.time, label)
            said.append(frozenset() if label is None else ids_said(label, chip.valid.numpy()))
            chips.append(chip)
        except SceneError as error:
            raise SceneError(f"Image {number} of place {stored.id} is left out: {error}") from error
    drawn = unmarked(stored.present, said)
    if drawn:
        raise SceneError(f"Image {drawn[0]} of place {stored.id} is left out: its mask: {UNMARKED}")
    return Place(
        id=stored.id,
        lon=stored.lon,
        lat=stored.lat,
        images=tuple(chips),
        present=stored.present,
    )
