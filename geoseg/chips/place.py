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

__all__ = ["Place", "PlaceBatch", "drop_images", "stack_places"]


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

    @property
    def seen(self) -> Tensor:
        """Which places (N,) bool have a valid pixel: of the others nothing is seen."""
        seen = torch.zeros_like(self.present, dtype=torch.bool)
        for batch, owner in zip(self.batches, self.owners, strict=True):
            seen[owner[_with_valid_pixel(batch)]] = True
        return seen

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


def drop_images(places: PlaceBatch, *, share: float) -> PlaceBatch:
    """Places without some of their images, drawn anew for each; one of each place stays.

    It is one with a valid pixel where the place has any.

    Args:
        places: with at least one image each.
        share: of the images that go, 0 to 1.
    """
    device = places.present.device
    draws = [torch.rand(len(owner), device=device) for owner in places.owners]
    # The image of each place with the largest draw stays whatever the share is; those that show
    # nothing come after all others.
    ranks = [
        torch.where(_with_valid_pixel(batch), draw, draw - 1)
        for batch, draw in zip(places.batches, draws, strict=True)
    ]
    best = torch.full((places.size,), -1.0, device=device)
    for owner, rank in zip(places.owners, ranks, strict=True):
        best = best.scatter_reduce(0, owner, rank, "amax")
    kept = [
        (draw >= share) | (rank >= best[owner])
        for owner, draw, rank in zip(places.owners, draws, ranks, strict=True)
    ]
    there = [number for number, chosen in enumerate(kept) if chosen.any()]
    return PlaceBatch(
        tuple(places.batches[n].part(kept[n]) for n in there),
        tuple(places.owners[n][kept[n]] for n in there),
        tuple(places.years[n][kept[n].to(places.years[n].device)] for n in there),
        places.present,
    )


def _with_valid_pixel(batch: Batch) -> Tensor:
    """Which images (n,) bool of a batch show anything."""
    return batch.valid.flatten(1).any(dim=1)
