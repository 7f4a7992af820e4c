"""How ground wanders about its climatology: a stationary Ornstein-Uhlenbeck process.

Between two days it keeps a share of where it was and takes up fresh variance, so that far from any
measurement it comes back to the climatology with all of its spread.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["REGION_M", "Process", "Wander"]

REGION_M = 20.0  # over which regions are smooth


@dataclass(frozen=True, slots=True, kw_only=True)
class Wander:
    """One process, in each cell for itself."""

    sd: Tensor  # (H, W), in the unit of the variable
    days: float  # in which it forgets all but 1/e of where it was

    def kept(self, days: float) -> float:
        """Share of where it was that is left after some days."""
        return math.exp(-abs(days) / self.days)

    def carried(self, mean: Tensor, variance: Tensor, days: float) -> tuple[Tensor, Tensor]:
        """Mean and variance (H, W) some days later or, for it is reversible, earlier."""
        kept = self.kept(days)
        return kept * mean, kept**2 * variance + (1 - kept**2) * self.sd**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A variable less its climatology: detail of each cell, and what cells of a region share."""

    detail: Wander
    region: Wander
    region_m: float  # Gaussian correlation of the region: exp(-d^2 / (2 region_m^2))

    @property
    def variance(self) -> Tensor:
        """Of both together (H, W), far from any measurement."""
        return self.detail.sd**2 + self.region.sd**2
