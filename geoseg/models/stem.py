"""From any bands to a fixed number of channels.

The filters of a band are made by a small network from what the band measures, as in DOFA (Xiong and
others 2024), so one set of weights serves bands that were never trained on. A wavelength enters by
the mean of its Fourier features over the response of the band, as in Panopticon (Waldmann and
others 2025) and mip-NeRF (Barron and others 2021): the code of a panchromatic band is the mean of
the codes of the narrow bands within it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg.views import POLARISATIONS, TERRAIN, tones

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geoseg.views import View

__all__ = ["AnyBands", "FixedBands", "SettledBands", "standardise"]

_WAVES = 6  # Fourier features of the logarithm of the wavelength, up to 2^5 radians
_HEADS = 4  # groups of channels, each with an attention of its own over the bands
_WIDTH = 96  # of the network that makes the filters
_KERNEL = 3
_FWHM_PER_SIGMA = 2.3548
_ONE_OF_NINE = 1 / _KERNEL**2
_LEAST_HELD = 1e-3  # a scene of bands that no group of channels attends to is not blown up
_USUAL_GSD_M = 10.0


def standardise(view: View) -> tuple[Tensor, Tensor]:
    """Bands in standard deviations from their mean over the scene, 0 where nothing was measured.

    Returns:
        Images (N, C, H, W) and where each band was measured (N, C, H, W), bool.
    """
    mean, std = tones(view.palette)
    known = view.valid.unsqueeze(1) & view.image.isfinite()
    return torch.where(known, (view.image - mean) / std, 0), known


class FixedBands(nn.Module):
    """A stem for one set of bands in one unit: standardised by the statistics of the training."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, view: View) -> Tensor:
        """Bands (N, C, H, W) in units of their standard deviation, 0 where not valid."""
        out = view.image - self.mean
        # In place: a tile is large, and memory for a copy of it takes longer than the arithmetic.
        out /= self.std
        out.masked_fill_(~view.valid.unsqueeze(1), 0.0)
        return out.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)


class AnyBands(nn.Module):
    """A stem for any set of bands in any order and unit.

    Each band is filtered by weights made from what it measures; each group of channels takes the
    mean of the filtered bands under an attention of its own over the bands that were measured at
    the pixel. A band that is missing takes no part: it is not zero. The ground sampling distance
    scales and shifts the channels.

    Args:
        channels: of the result; a multiple of 4.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.describe = nn.Sequential(
            nn.Linear(_code_length(), _WIDTH), nn.GELU(), nn.Linear(_WIDTH, _WIDTH), nn.GELU()
        )
        self.attend = nn.Linear(_WIDTH, _HEADS)
        self.filter = nn.Linear(_WIDTH, channels * _KERNEL**2)
        self.condition = nn.Sequential(
            nn.Linear(2, _WIDTH // 4), nn.GELU(), nn.Linear(_WIDTH // 4, 2 * channels)
        )
        # Features begin as what they are, whatever the ground sampling distance.
        last = self.condition[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, view: View) -> Tensor:
        """Features (N, channels, H, W) of a view."""
        image, known = standardise(view)
        attention, weights = self._filters(view.bands)
        mixed = F.conv2d(image, weights, padding=_KERNEL // 2)
        if not torch.equal(known.any(dim=1), known.all(dim=1)):
            mixed = mixed / _held(known, attention.to(mixed.dtype), self.channels)
        scale, shift = self._condition(view.gsd_m)
        return F.gelu(mixed * (1 + scale) + shift)

    def settled(self, view: View) -> SettledBands:
        """The stem for the bands, tones and ground sampling distance of one image (1, C, H, W)."""
        attention, weights = self._filters(view.bands)
        return SettledBands(
            *tones(view.palette), attention, weights, torch.cat(self._condition(view.gsd_m), dim=1)
        )

    def _filters(self, bands: Tensor) -> tuple[Tensor, Tensor]:
        """Attention (C, heads) over bands (C, 5), and filters (channels, C, k, k) under it."""
        described = self.describe(_codes(bands))
        attention = self.attend(described).softmax(dim=0)
        each = attention.repeat_interleave(self.channels // _HEADS, dim=1)  # (C, channels)
        filters = self.filter(described).view(len(bands), self.channels, _KERNEL, _KERNEL)
        return attention, (filters * each[..., None, None]).transpose(0, 1)

    def _condition(self, gsd_m: Tensor) -> tuple[Tensor, ...]:
        """Scale and shift (N, channels, 1, 1) of the channels."""
        return tuple(self.condition(_gsd_code(gsd_m))[..., None, None].chunk(2, dim=1))


class SettledBands(nn.Module):
    """`AnyBands` for one set of bands in one unit, as it is given to programs without geoseg.

    Its filters are made once, and what is usual in a scene is told, not taken from a palette.
    """

    mean: Tensor
    std: Tensor
    attention: Tensor
    weights: Tensor
    condition: Tensor

    def __init__(
        self, mean: Tensor, std: Tensor, attention: Tensor, weights: Tensor, condition: Tensor
    ) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.register_buffer("attention", attention.detach())
        self.register_buffer("weights", weights.detach())
        self.register_buffer("condition", condition.detach())

    def forward(self, view: View) -> Tensor:
        """Features (N, channels, H, W) of a view, whose palette and bands are not looked at."""
        known = view.valid.unsqueeze(1) & view.image.isfinite()
        image = torch.where(known, (view.image - self.mean) / self.std, 0)
        mixed = F.conv2d(image, self.weights, padding=_KERNEL // 2)
        # No look at what is known: a branch on values cannot be handed on.
        mixed = mixed / _held(known, self.attention, len(self.weights))
        scale, shift = self.condition.chunk(2, dim=1)
        return F.gelu(mixed * (1 + scale) + shift)


def _held(known: Tensor, attention: Tensor, channels: int) -> Tensor:
    """The attention (N, channels, H, W) on the bands that are there.

    Divided by it, filtered bands are under the same softmax over those bands: it is taken on the
    mean over the pixels that the filter sees.
    """
    some = known.any(dim=1, keepdim=True).to(attention.dtype)
    held = F.conv2d(known.to(attention.dtype), attention.t()[..., None, None])
    seen = F.avg_pool2d(some, _KERNEL, 1, _KERNEL // 2)
    held = F.avg_pool2d(held, _KERNEL, 1, _KERNEL // 2) / seen.clamp(min=_ONE_OF_NINE)
    held = torch.where(seen > 0, held, 1).repeat_interleave(channels // _HEADS, dim=1)
    return held.clamp(min=_LEAST_HELD)


def _code_length() -> int:
    return 3 + 2 * _WAVES + 1 + 1 + len(POLARISATIONS) + len(TERRAIN)


def _codes(bands: Tensor) -> Tensor:
    """Codes (C, F) of bands (C, 5) of `band_table`."""
    centre, fwhm, frequency, polarisation, terrain = bands.unbind(dim=1)
    optical, radar, ground = (~column.isnan() for column in (centre, frequency, terrain))
    place = torch.where(optical, centre, 1).log()
    width = torch.where(optical, fwhm / centre / _FWHM_PER_SIGMA, 0)
    waves = 2.0 ** torch.arange(_WAVES, device=bands.device)
    damped = torch.exp(-0.5 * (waves * width[:, None]).square())
    phase = waves * place[:, None]
    spectral = torch.cat([phase.sin() * damped, phase.cos() * damped, width[:, None]], dim=1)
    return torch.cat(
        [
            torch.stack([optical, radar, ground], dim=1).float(),
            spectral * optical[:, None],
            torch.where(radar, frequency / 5, 1).log()[:, None],
            _one_hot(polarisation, len(POLARISATIONS)),
            _one_hot(terrain, len(TERRAIN)),
        ],
        dim=1,
    )


def _one_hot(number: Tensor, count: int) -> Tensor:
    """Rows (C, count), all 0 where the number is NaN."""
    return (number[:, None] == torch.arange(count, device=number.device)).float()


def _gsd_code(gsd_m: Tensor) -> Tensor:
    octaves = (gsd_m / _USUAL_GSD_M).log2()
    return torch.stack([octaves / 4, (math.pi * octaves / 4).sin()], dim=1)
