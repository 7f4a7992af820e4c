"""How far a measurement may be off: by the sensor, by its bands, and by where it was put."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from geoseg.errors import SensorError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["Noise", "measurement_variance"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """What a measurement is off by in one standard deviation; 0 or more each."""

    absolute: float  # in the unit of the channel
    relative: float = 0.0  # share of the value: calibration, atmosphere
    registration_m: float = 0.0  # by which the acquisition lies beside the pivot, along each axis

    def __post_init__(self) -> None:
        values = (self.absolute, self.relative, self.registration_m)
        if not all(0 <= value < float("inf") for value in values) or self.absolute == 0:
            raise SensorError(
                f"A noise of {self.absolute:g}, {self.relative:g} of the value and "
                f"{self.registration_m:g} m is none; give an absolute part above 0, the others 0 "
                "or more."
            )


def measurement_variance(
    measured: Tensor, noise: Noise, *, pixel_m: float, mixture_sd: Sequence[float] | None = None
) -> Tensor:
    """Variance (C, h, w) of each measurement.

    A shift by a small vector changes a value by its product with the gradient, so that a shift of
    variance s^2 along each axis adds |gradient|^2 s^2.

    Args:
        measured: channels (C, h, w); not finite where invalid, and so is the variance near there.
        noise: of the acquisition.
        pixel_m: of it.
        mixture_sd: of each channel, what variables that are alike leave open (`Mixture.sd`).
    """
    variance = noise.absolute**2 + (noise.relative * measured) ** 2
    if noise.registration_m > 0 and min(measured.shape[-2:]) > 1:
        down, across = torch.gradient(measured, spacing=pixel_m, dim=(-2, -1))
        variance = variance + noise.registration_m**2 * (down**2 + across**2)
    if mixture_sd is not None:
        variance = variance + measured.new_tensor(mixture_sd)[:, None, None] ** 2
    return variance
