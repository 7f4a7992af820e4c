"""What one look tells of the ground: the update of detail and region through the footprint.

The detail of a cell is white in space and the region smooth, so that a coarse sensor moves the
region and hardly the detail. With S = H (D_l + D_f^1/2 C D_f^1/2 + s^2 C) H' + R, the innovation v
gives S z = v, solved by conjugate gradients; the means move by D H' z. The part of S with s is what
an acquisition is off by, haze and calibration: its pixels share it as far as a region reaches, for
haze comes in patches, and one error of a whole block would be taken out of all of it. Variances
come from the same formula by spatial frequency, where all of its parts are diagonal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from geoseg.pivot.measurement.footprint import Footprint
    from geoseg.pivot.measurement.looks import Look

__all__ = ["Belief", "Correlation", "State", "assimilate"]

_STEPS = 10  # of conjugate gradients: the mean is then off by some hundredths of its sd at most
_NODES = 6  # spatial frequencies along each axis
_LEAST_VARIANCE = 1e-9


class Belief(NamedTuple):
    """What is known of cells (H, W)."""

    mean: Tensor
    variance: Tensor


class State(NamedTuple):
    """What is known of a variable less its climatology."""

    detail: Belief
    region: Belief


@dataclass(frozen=True, slots=True)
class Correlation:
    """Gaussian correlation of cells, along each axis for itself."""

    rows: Tensor  # (H, H)
    columns: Tensor  # (W, W)
    width_m: float

    @classmethod
    def of(cls, shape: tuple[int, int], *, step_m: float, width_m: float) -> Correlation:
        """Between cells (H, W) of `step_m`."""
        rows, columns = (_gaussian(side, step_m / width_m) for side in shape)
        return cls(rows, columns, width_m)

    def __call__(self, cells: Tensor) -> Tensor:
        """Sums over cells (H, W) by their correlation."""
        return self.rows @ cells @ self.columns


def assimilate(state: State, look: Look, expected: Tensor, correlation: Correlation) -> State:
    """The state after a look.

    Args:
        state: before it, on the same day.
        look: with one valid pixel or more.
        expected: climatology (H, W).
        correlation: of the region.
    """
    detail, region = state
    footprint, valid = look.footprint, look.valid
    prediction = footprint.forward(expected + detail.mean + region.mean)
    innovation = torch.where(valid, look.measured - prediction, 0.0)
    noise = torch.where(valid, look.variance, 1.0)
    spread = region.variance.sqrt()
    shared = look.shared_sd**2

    def covariance(pixels: Tensor) -> Tensor:
        cells = footprint.adjoint(pixels)
        smooth = spread * correlation(spread * cells) + shared * correlation(cells)
        return (footprint.forward(detail.variance * cells + smooth) + noise * pixels) * valid

    evenly = _inverse_on_even_ground(state, look, correlation.width_m)
    weights = _solve(covariance, innovation, evenly)
    cells = footprint.adjoint(weights)
    left = _variances(detail.variance, region.variance, look, correlation.width_m)
    return State(
        Belief(detail.mean + detail.variance * cells, left[0]),
        Belief(region.mean + spread * correlation(spread * cells), left[1]),
    )


def _solve(
    matrix: Callable[[Tensor], Tensor], right: Tensor, inverse: Callable[[Tensor], Tensor]
) -> Tensor:
    """Conjugate gradients, with about the inverse of the matrix as preconditioner."""
    found, left = torch.zeros_like(right), right
    scaled = inverse(left)
    direction, size = scaled, (left * scaled).sum()
    for _ in range(_STEPS):
        moved = matrix(direction)
        step = size / (direction * moved).sum().clamp_min(1e-30)
        found, left = found + step * direction, left - step * moved
        scaled = inverse(left)
        before, size = size, (left * scaled).sum()
        direction = scaled + size / before.clamp_min(1e-30) * direction
    return found


def _inverse_on_even_ground(state: State, look: Look, width_m: float) -> Callable[[Tensor], Tensor]:
    """The inverse of S, were variances the same everywhere: then both axes go for themselves."""
    valid = look.valid
    rows, columns = _modes(look.footprint, width_m)
    noise = look.variance[valid].mean() if valid.any() else torch.ones(())
    smooth = state.region.variance.mean() + look.shared_sd**2
    total = noise + smooth * rows.region[:, None] * columns.region
    total = total + state.detail.variance.mean() * rows.detail[:, None] * columns.detail

    def inverse(pixels: Tensor) -> Tensor:
        told = rows.patterns.T @ pixels @ columns.patterns
        return (rows.patterns @ (told / total) @ columns.patterns.T) * valid

    return inverse


class _Modes(NamedTuple):
    """Patterns of pixels along one axis (h, h), and what each shows of region and detail (h,)."""

    patterns: Tensor
    region: Tensor
    detail: Tensor


@lru_cache(maxsize=64)
def _modes(footprint: Footprint, width_m: float) -> tuple[_Modes, _Modes]:
    found = []
    for taken in footprint.matrices:
        alike = _gaussian(taken.shape[1], footprint.step_m / width_m).to(taken)
        region, patterns = torch.linalg.eigh(taken @ alike @ taken.T)
        detail = (patterns.T @ taken).square().sum(1)
        found.append(_Modes(patterns.float(), region.clamp_min(0).float(), detail.float()))
    return found[0], found[1]


def _variances(detail: Tensor, region: Tensor, look: Look, width_m: float) -> tuple[Tensor, Tensor]:
    """Variances (H, W) of detail and region after a look."""
    footprint = look.footprint
    valid = look.valid.to(detail)
    weight = footprint.adjoint(valid)
    whole = footprint.adjoint(footprint.covered.to(detail))
    seen = (weight / whole.clamp_min(1e-9)).clamp(0, 1) * (whole > 0)
    noise = footprint.adjoint(torch.where(look.valid, look.variance, 0.0)) / weight.clamp_min(1e-9)
    # A cell that is half seen learns half as much; one that is not seen learns nothing.
    noise = torch.where(seen > 0, noise / seen.clamp_min(1e-6), torch.inf)
    left_detail, left_region = torch.zeros_like(detail), torch.zeros_like(region)
    nodes = _nodes(footprint.width_m, footprint.pixel_m, footprint.step_m, width_m)
    for part, share, smooth in nodes:
        total = (region + look.shared_sd**2).mul_(smooth).add_(detail).add_(noise, alpha=1 / share)
        total.reciprocal_()
        left_detail.add_(total, alpha=part)
        left_region.add_(total, alpha=part * smooth**2)
    return (
        (detail - detail**2 * left_detail).clamp_min(_LEAST_VARIANCE),
        (region - region**2 * left_region).clamp_min(_LEAST_VARIANCE),
    )


@cache
def _nodes(
    sensor_m: float, pixel_m: float, step_m: float, region_m: float
) -> tuple[tuple[float, float, float], ...]:
    """Share of all spatial frequencies, what a sensor passes of one, how much of the region it has.

    Of white cells a sensor passes (step / pixel)^2 of the information, times its transfer squared.
    """
    axis = (torch.arange(_NODES, dtype=torch.float64) + 0.5) / _NODES * math.pi / step_m
    rows, columns = torch.triu_indices(_NODES, _NODES)  # both axes are alike
    squared = axis[rows] ** 2 + axis[columns] ** 2
    part = torch.where(rows == columns, 1.0, 2.0) / _NODES**2
    passed = torch.exp(-squared * sensor_m**2) * (step_m / pixel_m) ** 2
    smooth = torch.exp(-0.5 * squared * region_m**2)
    smooth = smooth / (part * smooth).sum()
    nodes = zip(part, passed.clamp_min(1e-12), smooth, strict=True)
    return tuple((float(a), float(b), float(c)) for a, b, c in nodes)


def _gaussian(side: int, step: float) -> Tensor:
    places = torch.arange(side, dtype=torch.float64) * step
    return torch.exp(-0.5 * (places[:, None] - places) ** 2).float()
