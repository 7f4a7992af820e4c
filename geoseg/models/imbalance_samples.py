"""Losses of single samples for classes of which some are rare, and what they weigh classes by.

All take logits (..., K) and the probability of each class (..., K), and give losses (...).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = [
    "asymmetric",
    "class_balanced_weights",
    "cross_entropy",
    "focal",
    "ldam",
    "ldam_margins",
    "log_shares",
]

_BETA = 0.9999  # of Cui et al. 2019, for sets of 10^4 samples and more
_LARGEST_MARGIN = 0.5  # of Cao et al. 2019


def class_balanced_weights(counts: ArrayLike, *, beta: float = _BETA) -> Tensor:
    """Weights (..., K) by the effective number of samples, 1 in the mean of classes that have any.

    Cui, Jia, Lin, Song and Belongie 2019, Class-balanced loss based on effective number of samples:
    w_y is proportional to (1 - beta) / (1 - beta^n_y). Classes of 1 and 100 samples get 1.98 and
    0.02; beyond 1 / (1 - beta) samples all classes count alike. A class without a sample gets 1:
    as one of a single sample it would take nearly all weight from the others.

    Args:
        counts: (..., K) samples of each class; above 0 and less than one counts as one.
        beta: 0 weighs all classes alike, towards 1 by 1 / n.
    """
    samples = np.asarray(counts, dtype=np.float64)
    weights = -1 / np.expm1(np.maximum(samples, 1) * np.log(beta))
    there = samples > 0
    total = (weights * there).sum(axis=-1, keepdims=True)
    mean = total / there.sum(axis=-1, keepdims=True).clip(min=1)
    return torch.from_numpy(np.where(there, weights, 1) / np.where(there, mean, 1))


def log_shares(counts: ArrayLike) -> Tensor:
    """Logarithm of the share (..., K) of each class; less than one sample counts as one."""
    least_one = np.maximum(np.asarray(counts, dtype=np.float64), 1)
    return torch.from_numpy(np.log(least_one / least_one.sum(axis=-1, keepdims=True)))


def ldam_margins(counts: ArrayLike, *, largest: float = _LARGEST_MARGIN) -> Tensor:
    """Margins (..., K) of Cao et al. 2019: as n^(-1/4), that of the rarest class `largest`."""
    margins = np.maximum(np.asarray(counts, dtype=np.float64), 1) ** -0.25
    return torch.from_numpy(largest * margins / margins.max(axis=-1, keepdims=True))


def cross_entropy(logits: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropies (...).

    Args:
        logits: (..., K).
        target: probability of each class (..., K).
        weights: of the classes (..., K); all 1 when None.
    """
    return -_weighted(target * logits.log_softmax(-1), weights).sum(-1)


def focal(
    logits: Tensor, target: Tensor, weights: Tensor | None = None, *, gamma: float = 2.0
) -> Tensor:
    """Focal losses (...): -(1 - p_y)^gamma log p_y, so that what is easy counts little.

    Lin, Goyal, Girshick, He and Dollar 2017, Focal loss for dense object detection.

    Args:
        logits: (..., K).
        target: probability of each class (..., K).
        weights: of the classes (..., K); all 1 when None.
        gamma: 0 is cross-entropy; 2 is that of the paper. Below 1 gradients have no bound.
    """
    log_p = logits.log_softmax(-1)
    return -_weighted(target * (1 - log_p.exp()) ** gamma * log_p, weights).sum(-1)


def asymmetric(
    log_present: Tensor,
    present: Tensor,
    *,
    gamma_present: float = 0.0,
    gamma_absent: float = 4.0,
    shift: float = 0.05,
) -> Tensor:
    """Asymmetric losses (...) of classes that are present or absent.

    Ben-Baruch et al. 2021, Asymmetric loss for multi-label classification: of what is present
    -(1 - p)^gamma_present log p, of what is absent -q^gamma_absent log(1 - q) with
    q = max(p - shift, 0), so that the many absent ones that are known for such count nothing.

    Args:
        log_present: logarithm of the probability p of each class.
        present: from 0, absent, to 1, present.
        gamma_present: 0 in the paper.
        gamma_absent: 4 in the paper.
        shift: 0.05 in the paper.
    """
    p = log_present.exp()
    shifted = (p - shift).clamp(min=0)
    of_present = (1 - p) ** gamma_present * log_present
    of_absent = shifted**gamma_absent * torch.log1p(-shifted)
    return -(present * of_present + (1 - present) * of_absent)


def ldam(
    logits: Tensor,
    target: Tensor,
    margins: Tensor,
    weights: Tensor | None = None,
    *,
    scale: float = 30.0,
) -> Tensor:
    """Label-distribution-aware margin losses (...): cross-entropy with z_y less the margin of y.

    Cao, Wei, Gaidon, Arechiga and Ma 2019, Learning imbalanced datasets with
    label-distribution-aware margin loss. There z are cosines; here they are any logits, of which
    the largest is the choice, but whose softmax is less sure than it might be: that of `scale`
    times the logits was taught.

    Args:
        logits: (..., K).
        target: probability of each class (..., K).
        margins: of the classes (..., K), as `ldam_margins` gives them.
        weights: of the classes (..., K); all 1 when None.
        scale: what logits are multiplied by, 30 in the code of the paper.
    """
    # One row for each class that may be the true one.
    rows = logits.unsqueeze(-2) - torch.diag_embed(margins.to(logits))
    log_p = (scale * rows).log_softmax(-1).diagonal(dim1=-2, dim2=-1)
    return -_weighted(target * log_p, weights).sum(-1)


def _weighted(values: Tensor, weights: Tensor | None) -> Tensor:
    return values if weights is None else values * weights.to(values)
