"""Chips as other toolkits take samples: dictionaries of tensors."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING

import torch
from torch.utils.data import Dataset

from geoseg.chips.sampling import GridChips
from geoseg.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from geoseg.chips.sampling import MixedChips, RandomChips

__all__ = ["Samples"]


class Samples(Dataset[dict[str, "Tensor"]]):
    """Chips as torchgeo's trainers and `stack_samples` take them.

    A sample holds `image` (C, H, W) float32 in the unit of its scene, 0 where not valid; `mask`
    (H, W) int64 of class ids, `geoseg.labels.IGNORE` (255) where unknown or not valid; `valid`
    (H, W) bool; `gsd_m` () float32. Those of one set of bands and one size can be stacked.

    Args:
        chips: of one set of bands.
        count: how many make an epoch; all of `GridChips` when None.

    Raises:
        ConfigError: random chips without a count, one below 1 or not whole, or more of
            `GridChips` than there are.
    """

    def __init__(
        self, chips: GridChips | RandomChips | MixedChips, *, count: int | None = None
    ) -> None:
        held = len(chips) if isinstance(chips, GridChips) else None
        if count is None and held is None:
            raise ConfigError("Random chips have no end; say with count how many make an epoch.")
        if count is not None and not (isinstance(count, Integral) and count > 0):
            raise ConfigError(f"count = {count!r}; give a whole number above 0.")
        if count is not None and held is not None and count > held:
            raise ConfigError(f"There are {held} chips, and count = {count}; ask for no more.")
        self._chips = chips
        self._count = int(count) if count is not None else held

    def __len__(self) -> int:
        assert self._count is not None
        return self._count

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if not 0 <= index < len(self):  # by which a loop over a sequence ends
            raise IndexError(index)
        chip = self._chips[index]
        return {
            "image": chip.image,
            "mask": chip.label.long(),
            "valid": chip.valid,
            "gsd_m": torch.tensor(chip.gsd_m, dtype=torch.float32),
        }
