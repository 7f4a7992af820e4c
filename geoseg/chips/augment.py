"""Random changes of a batch that leave its meaning."""

from __future__ import annotations

import kornia.augmentation as K
import torch
from torch import Tensor

from geoseg.chips.chip import Batch

__all__ = ["flip_randomly", "jitter_bands"]


def flip_randomly(batch: Batch) -> Batch:
    """One of eight rotations and mirror images, drawn for each sample; chips must be square."""
    moves = K.AugmentationSequential(
        K.RandomHorizontalFlip(p=0.5),
        K.RandomVerticalFlip(p=0.5),
        K.RandomRotation90((0, 1), p=0.5),
        data_keys=["input", "mask", "mask"],
    )
    image, valid, label = moves(
        batch.image, batch.valid.unsqueeze(1).float(), batch.label.unsqueeze(1).float()
    )
    return Batch(image, valid.squeeze(1) > 0.5, label.squeeze(1).round().to(batch.label.dtype))


def jitter_bands(batch: Batch, *, mean: Tensor, std: Tensor, strength: float) -> Batch:
    """Each band of each sample with a random gain and offset, as light and calibration give it.

    Args:
        batch: in the unit of the scene.
        mean: (1, C, 1, 1) of each band; the gain turns about it.
        std: (1, C, 1, 1) of each band; the unit of the offset.
        strength: standard deviation of the gain about 1 and of the offset about 0.
    """
    shape = (*batch.image.shape[:2], 1, 1)
    gain = 1 + strength * torch.randn(shape, device=batch.image.device)
    offset = strength * torch.randn(shape, device=batch.image.device) * std
    return batch._replace(image=mean + (batch.image - mean) * gain + offset)
