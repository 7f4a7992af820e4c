"""What each acquisition shows of a variable on the cells of the pivot, sharpened by the others.

A coarse pixel says how a patch of cells differs from what the other days let expect there, and not
how the cells differ among each other. So each acquisition is laid upon the local regression in time
of all others (Cleveland 1979, Robust locally weighted regression), and what its pixels measured
beyond that is projected back through its footprint (Irani and Peleg 1991, Improving resolution by
image registration). What differs much from all others tells of a cloud that a mask has missed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from geoseg.pivot.learned.blur import blurred
from geoseg.pivot.learned.regression import regression

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from geoseg.pivot.measurement.looks import Look

__all__ = ["Evidence", "evidence_of"]

_STEPS = 4  # of back-projection
_ROUNDS = 2  # in which acquisitions are laid upon each other
_OUTLYING = 3.0  # usual innovations, at which an acquisition counts half
_LEAST_SCALE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Of one variable, by its acquisitions (T,) in order, on cells (H, W)."""

    days: Tensor  # (T,) float64, since 1970
    seen: Tensor  # (T, H, W) bool
    values: Tensor  # (T, H, W), what the others let expect where not seen
    level: Tensor  # (T, H, W) values averaged over the cells around
    innovation: Tensor  # (T, H, W) of values against all others, in `scale`; 0 where not seen
    around: Tensor  # (T, H, W) innovation averaged over the cells around
    weight: Tensor  # (T, H, W) in a regression: fine and like the others is 1, not seen 0
    scale: float  # usual size of an innovation, in the unit of the variable

    def cropped(self, inner: tuple[slice, slice]) -> Evidence:
        """On a part of the cells."""
        rows, columns = inner
        maps = ("seen", "values", "level", "innovation", "around", "weight")
        parts = {name: getattr(self, name)[:, rows, columns].contiguous() for name in maps}
        return Evidence(days=self.days, scale=self.scale, **parts)

    def expected(self, day: float) -> Tensor:
        """Cells (H, W) by a robust regression in time."""
        at = torch.tensor([day], dtype=self.days.dtype)
        return regression(self.days, self.values, self.weight, at)[0]


def evidence_of(looks: Sequence[Look]) -> Evidence:
    """Of looks at one variable and one ground, one or more, in order of their days."""
    days = torch.tensor([look.day for look in looks], dtype=torch.float64)
    fineness = _fineness(looks)
    ground = torch.stack([look.on_ground() for look in looks])
    seen = torch.isfinite(ground)
    values = _laid_upon(looks, ground.nan_to_num(), seen)
    weight = fineness**4 * seen
    scale, innovation = _LEAST_SCALE, torch.zeros_like(values)
    for _ in range(_ROUNDS):
        expected = regression(days, values, weight, days, apart=True)
        values = _laid_upon(looks, expected, seen)
        beyond = torch.where(seen, values - expected, 0.0)
        usual = beyond[seen].abs().median() if seen.any() else 0.0
        scale = max(1.4826 * float(usual), _LEAST_SCALE)
        innovation = beyond / scale
        weight = fineness**4 * _trusted(innovation, seen)
    return Evidence(
        days=days,
        seen=seen,
        values=values,
        level=blurred(values),
        innovation=innovation,
        around=blurred(innovation),
        weight=fineness**0.5 * _trusted(innovation, seen),
        scale=scale,
    )


def _fineness(looks: Sequence[Look]) -> Tensor:
    """Cells over pixels (T, 1, 1), at most 1."""
    ratios = [min(1.0, look.footprint.step_m / look.footprint.pixel_m) for look in looks]
    return torch.tensor(ratios)[:, None, None]


def _trusted(innovation: Tensor, seen: Tensor) -> Tensor:
    """Weights of a regression that outliers hardly move (Cauchy)."""
    return seen / (1 + (innovation / _OUTLYING) ** 2)


def _laid_upon(looks: Sequence[Look], start: Tensor, seen: Tensor) -> Tensor:
    """Cells (T, H, W) that show what looks measured, and else are as at the start."""
    found = start.clone()
    for group in _alike(looks):
        footprint = looks[group[0]].footprint
        valid = torch.stack([looks[k].valid for k in group]).to(start)
        measured = torch.stack([looks[k].measured for k in group])
        weight = footprint.adjoint(valid).clamp_min(1e-9)
        cells = start[group]
        for _ in range(_STEPS):
            left = (measured - footprint.forward(cells)) * valid
            cells = cells + footprint.adjoint(left) / weight
        found[group] = cells
    return torch.where(seen, found, start)


def _alike(looks: Sequence[Look]) -> list[list[int]]:
    """Places of looks with one footprint, that they are computed together."""
    groups: dict[int, list[int]] = {}
    for place, look in enumerate(looks):
        groups.setdefault(id(look.footprint), []).append(place)
    return list(groups.values())
