"""One training sample, and several of one shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence
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
    bands: tuple[Band, ...]  # wavelength and width of each channel
    gsd_m: float
    time: datetime
    sensor_id: str


class Batch(NamedTuple):
    """Chips of one shape, stacked."""

    image: Tensor  # (N, C, H, W) float32
    valid: Tensor  # (N, H, W) bool
    label: Tensor  # (N, H, W) uint8

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in self))


def stack(chips: Sequence[Chip]) -> Batch:
    """Chips of one shape and band set as a batch."""
    return Batch(
        torch.stack([chip.image for chip in chips]),
        torch.stack([chip.valid for chip in chips]),
        torch.stack([chip.label for chip in chips]),
    )
