"""The measurement operator: what an acquisition shows of the pivot at its date.

y = gain * D B (A x + b) + offset, where A x + b is the mixture of variables that a band measures,
B its point spread and D the pixels that it is read out in. All of it is linear in x but for the
constants, and `adjoint` is the transpose of the linear part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from geoseg.errors import GridError, SensorError
from geoseg.pivot.measurement.footprint import Footprint
from geoseg.pivot.measurement.optics import USUAL_MTF

if TYPE_CHECKING:
    from collections.abc import Sequence

    from odc.geo.geobox import GeoBox
    from torch import Tensor

    from geoseg.pivot.measurement.spectral import Mixture

__all__ = ["Channel", "MeasurementOperator"]

_LEAST_GAIN, _MOST_GAIN = 1e-6, 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One band of an acquisition."""

    mixture: Mixture  # of the variables that it measures
    mtf: float = USUAL_MTF  # at the Nyquist frequency of its pixels
    gain: float = 1.0  # stored value = gain * measured + offset
    offset: float = 0.0

    def __post_init__(self) -> None:
        if not _LEAST_GAIN <= abs(self.gain) <= _MOST_GAIN or not np.isfinite(self.offset):
            raise SensorError(
                f"A gain of {self.gain:g} and an offset of {self.offset:g} are absurd; check the "
                "units of the acquisition."
            )


class MeasurementOperator:
    """From variables (V, H, W) on the grid of the pivot to channels (C, h, w) of an acquisition.

    Pixels whose point spread reaches beyond the pivot are not measured: `covered` is False and
    their values are 0.

    Raises:
        GridError: reference systems that differ or are not in metres, rotated grids, or pixels
            none of which is wholly on the pivot.
        SensorError: channels of different numbers of variables, or pixels that are too fine.
    """

    def __init__(self, ground: GeoBox, pixels: GeoBox, channels: Sequence[Channel]) -> None:
        if len({len(channel.mixture.weights) for channel in channels}) != 1:
            raise SensorError("Channels need one or more, all of as many variables.")
        self.shape = (len(channels), *(int(n) for n in pixels.shape))
        self._weights = _tensor(np.stack([c.gain * c.mixture.weights for c in channels]))
        constant = [c.gain * c.mixture.offset + c.offset for c in channels]
        self._constant = _tensor(np.array(constant))[:, None, None]
        by_mtf = {mtf: Footprint(ground, pixels, mtf) for mtf in {c.mtf for c in channels}}
        self._samplings = [by_mtf[channel.mtf] for channel in channels]
        self.covered = torch.stack([one.covered for one in self._samplings])
        if not self.covered.any():
            raise GridError(
                "No pixel of the acquisition lies on the pivot with all that it sees; give grids "
                "that overlap."
            )

    def __call__(self, variables: Tensor) -> Tensor:
        """What is measured (C, h, w) of variables (V, H, W)."""
        constant = self._constant * self.covered
        return self.linear(variables) + constant.to(variables)

    def linear(self, variables: Tensor) -> Tensor:
        """The same without the constants."""
        mixed = torch.tensordot(self._weights.to(variables), variables, dims=1)
        pairs = zip(self._samplings, mixed, strict=True)
        return torch.stack([one.forward(fine) for one, fine in pairs])

    def adjoint(self, channels: Tensor) -> Tensor:
        """The transpose of `linear`: variables (V, H, W) from channels (C, h, w)."""
        pairs = zip(self._samplings, channels, strict=True)
        spread = torch.stack([one.adjoint(coarse) for one, coarse in pairs])
        onto: Tensor = torch.tensordot(self._weights.to(channels).T, spread, dims=1)
        return onto


def _tensor(values: Any) -> Tensor:  # noqa: ANN401  what numpy takes
    return torch.from_numpy(np.asarray(values, dtype=np.float64))
