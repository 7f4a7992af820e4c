"""What a shard holds, counted as its places go by."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from geoseg.errors import SceneError
from geoseg.files import sha256_of
from geoseg.presence.packs.kind import PixelSample
from geoseg.presence.packs.pack import Problem
from geoseg.presence.packs.pixels import decode_mask, ids_said, on_scale
from geoseg.presence.packs.stored import UNMARKED, unmarked

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from geoseg.presence.packs.folder import ChipFile
    from geoseg.presence.packs.kind import ImageKind
    from geoseg.presence.packs.pack import Foreign
    from geoseg.presence.packs.stored import StoredImage, StoredPlace

__all__ = ["Count"]


class Count:
    """Places, images, labels, problems and a sample of pixels of one shard."""

    def __init__(
        self, rng: np.random.Generator, files: Mapping[str, ChipFile], foreign: Foreign | None
    ) -> None:
        self._rng = rng
        self._files = files  # of places, where they have one
        self._labels = (foreign.labels if foreign is not None else None) or {}
        self._labelled: list[str] = []
        self._known = {True: 0, False: 0, None: 0}
        self._images = 0
        self._samples: dict[ImageKind, PixelSample] = {}
        self._problems: list[Problem] = []

    def accept(self, place: StoredPlace | Problem) -> StoredPlace | None:
        """A place as it can be packed: its images can all be decoded, and so can masks left."""
        if isinstance(place, Problem):
            self._problems.append(place)
            return None
        try:
            checked = [self._checked(place.id, image) for image in place.images]
        except SceneError as error:
            file = self._files.get(place.id)
            where = "" if file is None else f"{file.image.path}: "
            self._problems.append(Problem(place.id, f"{where}{error}"))
            return None
        images = [image for image, _ in checked]
        for number in unmarked(place.present, [said for _, said in checked]):
            images[number] = self._without_mask(place.id, images[number], UNMARKED)
        self._known[place.present] += 1
        self._images += len(images)
        self._problems += [
            Problem(place.id, f"{name} is the mask of none of its images; name it after one.")
            for name in place.stray
        ]
        if place.id in self._labels:
            self._labelled.append(place.id)
        return replace(place, images=tuple(images))

    def told(self, path: Path, most_px: int) -> dict[str, Any]:
        """All of it, for JSON."""
        kinds = []
        for kind, sample in self._samples.items():
            ranks, pixels = sample.lowest(most_px)
            # As decimal numbers that give the same float32 back.
            drawn = [[float(str(v)) for v in band] for band in pixels]
            kinds.append({**kind.as_dict(), "ranks": ranks.tolist(), "pixels": drawn})
        return {
            "places": sum(self._known.values()),
            "images": self._images,
            "present": self._known[True],
            "absent": self._known[False],
            "labelled": self._labelled,
            "bytes": path.stat().st_size,
            "sha256": sha256_of(path),
            "kinds": kinds,
            "problems": self._problems,
        }

    def _checked(self, name: str, image: StoredImage) -> tuple[StoredImage, frozenset[int]]:
        """An image, without its mask where that cannot be used, and class ids of its mask."""
        decoded = image.decoded()
        valid = self._draw(decoded, image.kind)
        if image.mask is None:
            return image, frozenset()
        try:
            mask = decode_mask(image.mask, decoded.shape[1:])
        except SceneError as error:
            return self._without_mask(name, image, str(error)), frozenset()
        return image, ids_said(mask, valid)

    def _without_mask(self, name: str, image: StoredImage, reason: str) -> StoredImage:
        """An image whose mask cannot be used, which is told."""
        file = self._files.get(name)
        if file is None or file.mask is None:
            told = f"the mask of an image: {reason} Nothing can be learned from this place."
        else:
            told = f"{file.mask.path}: {reason} The chip is packed without it."
        self._problems.append(Problem(name, told))
        return replace(image, mask=None)

    def _draw(self, decoded: NDArray[np.generic], kind: ImageKind) -> NDArray[np.bool_] | None:
        """Draw pixels of an image, and give where it is valid; None where it all is."""
        pixels, valid = on_scale(decoded, kind)
        everywhere = np.ones(pixels.shape[1:], dtype=bool)
        sample = self._samples.setdefault(kind, PixelSample(len(pixels)))
        sample.draw(pixels, everywhere if valid is None else valid, self._rng)
        return valid
