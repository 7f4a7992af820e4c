"""A place, as instruments saw it over the years, and whether it holds what is looked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

from geoseg.chips.chip import Batch, Chip, stack
from geoseg.dates import decimal_year

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["Place", "PlaceBatch", "stack_places"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One sample of classification: any number of images of one place, of any sensors and dates."""

    id: str
    lon: float  # degrees of its centre, NaN where it is not known
    lat: float
    images: tuple[Chip, ...]  # at least one; of one height and width for each set of bands
    present: bool | None  # None where nobody has looked


class PlaceBatch(NamedTuple):
    """Places, their images stacked by sets of bands."""

    batches: tuple[Batch, ...]  # one for each set of bands and shape of image
    owners: tuple[Tensor, ...]  # for each batch, the number (n,) int64 of the place of each image
    years: tuple[Tensor, ...]  # for each batch, the decimal year (n,) float64 of each image
    present: Tensor  # (N,) float32: 1 present, 0 absent, NaN unknown

    @property
    def size(self) -> int:
        """How many places."""
        return len(self.present)

    def to(self, device: torch.device) -> PlaceBatch:
        """The same places on a device."""
        return PlaceBatch(
            tuple(batch.to(device) for batch in self.batches),
            tuple(owner.to(device) for owner in self.owners),
            tuple(years.to(device) for years in self.years),
            self.present.to(device),
        )


def stack_places(places: Sequence[Place]) -> PlaceBatch:
    """Places as one batch; the images of each set of bands and shape go through a network together.

    Raises:
        ValueError: a place without an image.
    """
    groups: dict[tuple[object, ...], list[tuple[int, Chip]]] = {}
    for number, place in enumerate(places):
        if not place.images:
            raise ValueError(f"place {place.id} has no image.")
        for image in place.images:
            key = (image.bands, *image.image.shape[-2:], image.palette.shape[-1])
            groups.setdefault(key, []).append((number, image))
    return PlaceBatch(
        tuple(stack([image for _, image in group])[0] for group in groups.values()),
        tuple(torch.tensor([number for number, _ in group]) for group in groups.values()),
        tuple(
            torch.tensor([decimal_year(image.time) for _, image in group], dtype=torch.float64)
            for group in groups.values()
        ),
        torch.tensor(
            [float("nan") if p.present is None else float(p.present) for p in places],
            dtype=torch.float32,
        ),
    )
