"""The look of one scene given to chips of another, without any label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from geoseg.views import tones

if TYPE_CHECKING:
    from geoseg.chips.chip import Batch

__all__ = ["match_tones", "swap_amplitude"]

_QUANTILES = 64
_LOW_SHARE = 0.02  # of the spectrum to each side; Yang and Soatto use 0.01 to 0.09


def match_tones(batch: Batch, target: Batch) -> Batch:
    """Chips whose scene has the histogram of another scene (Gonzalez and Woods, specification).

    The mapping is made from palette to palette, so that a chip full of ice stays brighter than one
    full of rock.

    Args:
        batch: chips (N, C, H, W) without gaps in bands.
        target: chips of the same bands; chip `i` takes the tones of target `i` modulo their number.
    """
    partner = _partners(batch, target)
    levels = torch.linspace(0, 1, _QUANTILES, device=batch.image.device)
    own = torch.nanquantile(batch.palette, levels, dim=-1).movedim(0, -1).contiguous()
    other = torch.nanquantile(target.palette, levels, dim=-1).movedim(0, -1)[partner]
    return batch._replace(
        image=_interpolated(batch.image.flatten(2), own, other).view_as(batch.image),
        palette=_interpolated(batch.palette, own, other),
    )


def swap_amplitude(batch: Batch, target: Batch) -> Batch:
    """Chips with the low frequencies' amplitude of others: Fourier domain adaptation.

    Yang and Soatto 2020, on bands in standard deviations of their scenes, so that units do not
    matter. The phase, and with it every edge, stays.

    Args:
        batch: chips (N, C, H, W) without gaps in bands.
        target: chips of the same bands and size, taken in turn.
    """
    partner = _partners(batch, target)
    (mean, std), (far_mean, far_std) = (tones(b.palette) for b in (batch, target))
    known = batch.valid.unsqueeze(1) & batch.image.isfinite()
    there = target.valid.unsqueeze(1) & target.image.isfinite()
    own = torch.where(known, (batch.image - mean) / std, 0)
    other = torch.where(there, (target.image - far_mean) / far_std, 0)[partner]
    spectrum, far = torch.fft.fft2(own), torch.fft.fft2(other)
    low = _low_frequencies(own.shape[-2], own.shape[-1]).to(own.device)
    amplitude = torch.where(low, far.abs(), spectrum.abs())
    styled = torch.fft.ifft2(torch.polar(amplitude, spectrum.angle())).real
    return batch._replace(
        image=torch.where(known, styled * std.nan_to_num(posinf=0.0) + mean, batch.image)
    )


def _partners(batch: Batch, target: Batch) -> Tensor:
    return torch.arange(len(batch.image), device=batch.image.device) % len(target.image)


def _low_frequencies(height: int, width: int) -> Tensor:
    rows = torch.fft.fftfreq(height).abs()[:, None]
    columns = torch.fft.fftfreq(width).abs()[None, :]
    low: Tensor = (rows <= _LOW_SHARE) & (columns <= _LOW_SHARE)
    return low


def _interpolated(values: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Values (N, C, n) through the broken lines with knots x and y (N, C, Q), ends continued."""
    right = torch.searchsorted(x, values.contiguous()).clamp(1, x.shape[-1] - 1)
    x0, x1 = x.gather(-1, right - 1), x.gather(-1, right)
    y0, y1 = y.gather(-1, right - 1), y.gather(-1, right)
    share = (values - x0) / (x1 - x0).clamp(min=1e-12)
    mapped: Tensor = y0 + share.clamp(0, 1) * (y1 - y0)
    return mapped
