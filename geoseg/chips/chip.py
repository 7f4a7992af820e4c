"""One training sample, and several of one shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

from geoseg.views import View, band_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from torch import Tensor

    from geoseg.sensors import Band

__all__ = ["Batch", "Chip", "stack"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """A window of a scene with its label."""

    image: Tensor  # (C, H, W) float32 in the unit of the scene, 0 where not valid
    valid: Tensor  # (H, W) bool
    label: Tensor  # (H, W) uint8 class ids, IGNORE where unknown or not valid
    palette: Tensor  # (C, P) float32, some valid pixels of the whole scene
    bands: tuple[Band, ...]  # what each channel measures
    gsd_m: float
    time: datetime
    sensor_id: str


class Batch(NamedTuple):
    """Chips of one shape and set of bands, stacked."""

    image: Tensor  # (N, C, H, W) float32
    valid: Tensor  # (N, H, W) bool
    label: Tensor  # (N, H, W) uint8
    palette: Tensor  # (N, C, P) float32
    gsd_m: Tensor  # (N,) float32
    bands: tuple[Band, ...]

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return self.each(lambda tensor: tensor.to(device, non_blocking=True))

    def part(self, chosen: Tensor | slice) -> Batch:
        """Some of the chips.

        Args:
            chosen: (N,) bool, or those of a slice.
        """
        return self.each(lambda tensor: tensor[chosen])

    def view(self) -> View:
        """What a network is shown of it."""
        bands = band_table(self.bands).to(self.image.device)
        return View(self.image, self.valid, self.palette, self.gsd_m, bands)

    def each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The same batch with all tensors changed."""
        image, valid, label, palette, gsd_m = map(change, self[:-1])
        return Batch(image, valid, label, palette, gsd_m, self.bands)


def stack(chips: Sequence[Chip]) -> list[Batch]:
    """Chips of one shape as batches, one for each set of bands, ordered by their first chip."""
    groups: dict[tuple[Band, ...], list[Chip]] = {}
    for chip in chips:
        groups.setdefault(chip.bands, []).append(chip)
    return [_batch(group, bands) for bands, group in groups.items()]


def _batch(chips: Sequence[Chip], bands: tuple[Band, ...]) -> Batch:
    return Batch(
        torch.stack([chip.image for chip in chips]),
        torch.stack([chip.valid for chip in chips]),
        torch.stack([chip.label for chip in chips]),
        torch.stack([chip.palette for chip in chips]),
        torch.tensor([chip.gsd_m for chip in chips], dtype=torch.float32),
        bands,
    )
