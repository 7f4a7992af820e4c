"""Losses of maps for classes of which some are rare; unknown pixels take no part."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from geoseg.errors import ConfigError, nearest
from geoseg.labels import IGNORE
from geoseg.models.imbalance import (
    CLASSIFICATION_LOSSES,
    ClassificationLoss,
    classification_loss,
)
from geoseg.models.imbalance_samples import class_balanced_weights
from geoseg.models.losses import dice_cross_entropy

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = [
    "SEGMENTATION_LOSSES",
    "SegmentationLoss",
    "assumed_shares",
    "focal_tversky",
    "segmentation_loss",
]

SEGMENTATION_LOSSES = ("dice_cross_entropy", "focal_tversky", *CLASSIFICATION_LOSSES)

_BALANCED = frozenset({"balanced_softmax", "logit_adjusted"})
_WEIGHED = frozenset({"class_balanced", "class_balanced_focal", "ldam_drw"})
_TINY = 1e-6  # of 1 - Tversky index: the slope of a power below 1 has no bound at 0


class SegmentationLoss(Protocol):
    """A mean over known pixels, or over the classes that they hold."""

    def __call__(self, logits: Tensor, label: Tensor, progress: float = 1.0, /) -> Tensor:
        """The loss, a number; 0 with a gradient of 0 where no pixel is known.

        Args:
            logits: (N, K, H, W).
            label: class ids (N, H, W), IGNORE where unknown.
            progress: share of the training that is done, for losses that change on the way.
        """


def segmentation_loss(name: str, counts: ArrayLike) -> SegmentationLoss:
    """A loss of SEGMENTATION_LOSSES.

    - dice_cross_entropy: Milletari et al. 2016, `dice_cross_entropy`.
    - focal_tversky: Abraham and Khan 2019, `focal_tversky`.
    - the others: those of `classification_loss`, of each known pixel.

    Args:
        name: of the loss.
        counts: (K,) pixels of each class in training; the first two losses do without.

    Raises:
        ConfigError: an unknown name, or counts that are none.
    """
    if name not in SEGMENTATION_LOSSES:
        raise ConfigError(f"no loss named {name!r}. {nearest(name, SEGMENTATION_LOSSES)}")
    if name == "dice_cross_entropy":
        return lambda logits, label, _=1.0: dice_cross_entropy(logits, label)
    if name == "focal_tversky":
        return lambda logits, label, _=1.0: focal_tversky(logits, label)
    return partial(_of_known_pixels, classification_loss(name, counts))


def focal_tversky(
    logits: Tensor,
    label: Tensor,
    *,
    alpha: float = 0.7,
    beta: float = 0.3,
    power: float = 0.75,
) -> Tensor:
    """Mean over classes of (1 - T)^power with T = TP / (TP + alpha FN + beta FP).

    Abraham and Khan 2019, A novel focal Tversky loss function with improved attention U-Net for
    lesion segmentation; Salehi, Erdogmus and Gholipour 2017 for the index of Tversky. A class that
    no known pixel of the batch is of takes no part. Without a known pixel it is 0.

    Args:
        logits: (N, K, H, W).
        label: class ids (N, H, W), IGNORE where unknown.
        alpha: weight of what is missed: 0.7, so that little is.
        beta: weight of what is found in vain.
        power: 1 / gamma of the paper, whose gamma is 4/3: what is bad counts more.
    """
    known = label != IGNORE
    chance = logits.movedim(1, -1)[known].softmax(-1)
    truth = F.one_hot(label[known].long(), logits.shape[1])
    found = (chance * truth).sum(0)
    missed, in_vain = ((1 - chance) * truth).sum(0), (chance * (1 - truth)).sum(0)
    present = truth.sum(0) > 0
    index = found / (found + alpha * missed + beta * in_vain).clamp(min=_TINY)
    losses = (1 - index).clamp(min=_TINY) ** power * present
    mean: Tensor = losses.sum() / present.sum().clamp(min=1)
    return mean


def assumed_shares(name: str, counts: ArrayLike) -> tuple[float, ...]:
    """How common the probabilities of a network take each class to be, which learned by a loss.

    Those of a loss that is adjusted to classes that are equally common assume so; class weights
    count like samples; all others go by the samples.

    Args:
        name: of SEGMENTATION_LOSSES.
        counts: (K,) pixels of each class in training.
    """
    shares = np.asarray(counts, dtype=np.float64)
    if name in _BALANCED:
        shares = np.ones_like(shares)
    elif name in _WEIGHED:
        shares = shares * class_balanced_weights(shares).numpy()
    return tuple(map(float, shares / shares.sum()))


def _of_known_pixels(
    loss: ClassificationLoss, logits: Tensor, label: Tensor, progress: float = 1.0
) -> Tensor:
    known = label != IGNORE
    return loss(logits.movedim(1, -1)[known], label[known], progress)
