"""Samples seen as often as their class needs it, and a last layer that learns from them.

Kang, Xie, Rohrbach, Yan, Gordo, Feng and Kalantidis 2020, Decoupling representation and classifier
for long-tailed recognition: sample j of class y is drawn with a probability in proportion to
n_y^q / n_y, where q = 1 takes samples as they come, q = 1/2 is square-root sampling and q = 0
class-aware sampling. An encoder learns best from samples as they come, its last layer from classes
that are seen equally often.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from geoseg.models import classification_loss

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["class_aware_weights", "retrain_classifier", "square_root_weights"]

_BATCH = 256  # samples of a step
_RATE = 0.01  # of AdamW at the begin
_WEIGHT_DECAY = 5e-4  # of Kang et al. 2020


def class_aware_weights(targets: NDArray[np.generic]) -> NDArray[np.float64]:
    """How often each sample is to be drawn (N,) so that all classes are seen equally often.

    Args:
        targets: class ids (N,), or the probability of each class (N, K); a class that no sample is
            of plays no part.

    Returns:
        Probabilities, which add to 1.
    """
    return _weights(targets, power=0.0)


def square_root_weights(targets: NDArray[np.generic]) -> NDArray[np.float64]:
    """The same so that classes are seen in proportion to the root of their number of samples."""
    return _weights(targets, power=0.5)


def retrain_classifier(
    features: Tensor, targets: Tensor, *, steps: int = 200, generator: torch.Generator
) -> nn.Linear:
    """A new last layer on what an encoder makes of samples: cRT of Kang et al. 2020.

    The encoder stays as it is. The layer learns by cross-entropy from classes that are drawn
    equally often, so that its choice is that of least balanced error.

    Args:
        features: what the last layer reads (N, F) of one or more samples.
        targets: class ids (N,), or the probability of each class (N, K).
        steps: of 256 samples.
        generator: draws the samples, on the CPU.
    """
    shares = torch.from_numpy(class_aware_weights(targets.cpu().numpy()))
    classes = targets.shape[1] if targets.ndim == 2 else int(targets.max()) + 1
    # From nothing: a convex problem needs no other begin.
    layer = nn.Linear(features.shape[1], classes).to(features)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    loss_of = classification_loss("cross_entropy", np.ones(classes))
    optimizer = torch.optim.AdamW(layer.parameters(), lr=_RATE, weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        drawn = torch.multinomial(shares, _BATCH, replacement=True, generator=generator)
        rows = drawn.to(features.device)
        optimizer.zero_grad()
        loss_of(layer(features[rows]), targets[rows]).backward()
        optimizer.step()
        schedule.step()
    return layer.requires_grad_(False)


def _weights(targets: NDArray[np.generic], *, power: float) -> NDArray[np.float64]:
    of_class = targets if targets.ndim == 2 else targets[:, None] == np.unique(targets)
    shares = np.asarray(of_class, dtype=np.float64)
    counts = shares.sum(axis=0)
    weights = shares @ np.where(counts > 0, np.maximum(counts, 1e-12) ** (power - 1), 0)
    return np.asarray(weights / weights.sum())
