"""Losses that leave out what must not be learned from."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg.labels import IGNORE

__all__ = ["dice_cross_entropy"]


def dice_cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy plus soft dice (Milletari et al. 2016), both over known pixels only.

    A class that no pixel of the batch holds takes no part in the dice: there its gradient would be
    noise. A batch without a known pixel gives 0, with a gradient of 0.

    Args:
        logits: (N, K, H, W).
        label: class ids (N, H, W), IGNORE where unknown.
    """
    known = label != IGNORE
    target = torch.where(known, label, 0).long()
    count = known.sum().clamp(min=1)
    entropy = (F.cross_entropy(logits, target, reduction="none") * known).sum() / count
    probability = logits.softmax(dim=1) * known.unsqueeze(1)
    truth = F.one_hot(target, logits.shape[1]).movedim(-1, 1) * known.unsqueeze(1)
    overlap = (probability * truth).sum(dim=(0, 2, 3))
    total = (probability + truth).sum(dim=(0, 2, 3))
    present = truth.sum(dim=(0, 2, 3)) > 0
    dice = torch.where(present, 1 - 2 * overlap / total.clamp(min=1), 0.0)
    loss: Tensor = entropy + dice.sum() / present.sum().clamp(min=1)
    return loss
