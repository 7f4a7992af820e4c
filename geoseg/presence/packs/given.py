"""Places at hand, in memory or made when asked for, as the source of a pack."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from geoseg.labels import IGNORE
from geoseg.presence.packs.kind import ImageKind
from geoseg.presence.packs.stored import StoredImage, StoredPlace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from geoseg.chips import Chip, Place
    from geoseg.presence.packs.pack import Problem

__all__ = ["Given"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Places, and what tells them from others without looking at them."""

    pool: Sequence[Place]
    name: str  # of the data set, with what it was made by
    first: int = 0
    end: int | None = None

    @property
    def origin(self) -> None:
        """None: a pack of them is made anew for those of another name."""

    def __len__(self) -> int:
        return (len(self.pool) if self.end is None else self.end) - self.first

    def part(self, first: int, end: int) -> Given:
        """Some of them."""
        return Given(
            pool=self.pool,
            name=self.name,
            first=self.first + first,
            end=self.first + min(end, len(self)),
        )

    def fingerprint(self) -> Any:  # noqa: ANN401  any JSON value
        """Changes when the name or the part does."""
        return [self.name, self.first, len(self)]

    def places(self) -> Iterator[StoredPlace | Problem]:
        """As they are stored, one after the other."""
        for number in range(self.first, self.first + len(self)):
            yield _stored(self.pool[number])


def _stored(place: Place) -> StoredPlace:
    return StoredPlace(
        id=place.id,
        lon=place.lon,
        lat=place.lat,
        present=place.present,
        images=tuple(_image(chip) for chip in sorted(place.images, key=lambda chip: chip.time)),
    )


def _image(chip: Chip) -> StoredImage:
    values, valid, label = chip.image.numpy(), chip.valid.numpy(), chip.label.numpy()
    whole = np.array_equal(values, np.round(values)) and values.min() >= 0 and values.max() <= 255
    # Eight bits where nothing is lost, and NaN for what is not valid where it can be told.
    pixels: NDArray[np.generic] = np.where(valid, values, np.nan)
    if whole and valid.all():
        pixels = values.astype(np.uint8)
    return StoredImage(
        pixels=pixels,
        suffix="npy",
        kind=ImageKind(
            sensor_id=chip.sensor_id,
            bands=tuple(band.common_name for band in chip.bands),
            gsd_m=chip.gsd_m,
        ),
        time=chip.time,
        mask=None if (label == IGNORE).all() else _png(label),
    )


def _png(label: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(label).save(file, format="PNG")
    return file.getvalue()
