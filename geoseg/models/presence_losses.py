"""Losses of presence: of places with labels, with masks, and of positives among unlabelled ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg.labels import IGNORE

__all__ = ["evidence_loss", "non_negative_pu_loss", "presence_loss"]


def presence_loss(logits: Tensor, present: Tensor) -> Tensor:
    """Mean binary cross-entropy of the places whose label is known; 0 without one.

    The label of a place teaches all its images and pixels through the attention that pooled them:
    multiple-instance learning (Ilse, Tomczak and Welling 2018).

    Args:
        logits: (N,).
        present: (N,) from 0, absent, to 1, present; NaN where unknown.
    """
    known = present.isfinite()
    losses = F.binary_cross_entropy_with_logits(
        logits, torch.where(known, present, 0), reduction="none"
    )
    mean: Tensor = (losses * known).sum() / known.sum().clamp(min=1)
    return mean


def evidence_loss(evidence: Tensor, label: Tensor) -> Tensor:
    """Mean binary cross-entropy of cells against the share of their known pixels that is marked.

    A cell without a known pixel teaches nothing. In float32 whatever the network computes in: to
    bfloat16 one known pixel of a cell is next to none.

    Args:
        evidence: logits (n, h, w) of the cells of images.
        label: (n, H, W) uint8: 0 not, IGNORE unknown, else marked.
    """
    evidence = evidence.float()
    known = (label != IGNORE).float()
    marked = known * (label > 0)
    height, width = evidence.shape[-2:]
    seen = F.adaptive_avg_pool2d(known[:, None], (height, width))[:, 0]
    share = F.adaptive_avg_pool2d(marked[:, None], (height, width))[:, 0]
    target = share / seen.clamp(min=torch.finfo(evidence.dtype).eps)
    losses = F.binary_cross_entropy_with_logits(evidence, target.clamp(max=1), reduction="none")
    mean: Tensor = (losses * seen).sum() / seen.sum().clamp(min=torch.finfo(seen.dtype).eps)
    return mean


def non_negative_pu_loss(positive: Tensor, unlabelled: Tensor, *, prior: float) -> Tensor:
    """Risk of a classifier from positives and unlabelled samples alone.

    Non-negative risk of Kiryo, Niu, du Plessis and Sugiyama 2017, with the sigmoid loss
    l(z) = sigmoid(-z): R = pi E_P[l(z)] + max(0, E_U[l(-z)] - pi E_P[l(-z)]). Where the second part
    is negative, which is overfitting, the step goes against it: the value is the risk, the
    gradient that of -(E_U[l(-z)] - pi E_P[l(-z)]). Without a sample of either it is 0.

    Args:
        positive: logits (P,) of positives.
        unlabelled: logits (U,).
        prior: share of positives among the unlabelled, 0 to 1.
    """
    if not len(positive) or not len(unlabelled):
        return 0 * (positive.sum() + unlabelled.sum())
    gain = prior * (-positive).sigmoid().mean()
    cost = unlabelled.sigmoid().mean() - prior * positive.sigmoid().mean()
    if cost >= 0:
        return gain + cost
    # The value of the risk with the gradient of -cost.
    return gain.detach() - cost + cost.detach()
