"""Losses for classes of which some are rare: of samples of one class each, and of several.

Of samples with one of K classes the logits are (N, K) and what is probable is their softmax. Of
samples with any of K classes each is a choice of its own between absent and present.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg.errors import ConfigError, nearest

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "CLASSIFICATION_LOSSES",
    "MULTILABEL_LOSSES",
    "ClassificationLoss",
    "MultilabelLoss",
    "adjust_logits",
    "adjust_multilabel_logits",
    "asymmetric",
    "class_balanced_weights",
    "classification_loss",
    "cross_entropy",
    "focal",
    "ldam",
    "ldam_margins",
    "log_shares",
    "multilabel_loss",
]

CLASSIFICATION_LOSSES = (
    "cross_entropy",
    "class_balanced",
    "focal",
    "class_balanced_focal",
    "asymmetric",
    "balanced_softmax",
    "logit_adjusted",
    "ldam_drw",
)
# Without those that only compare classes of which a sample has one.
MULTILABEL_LOSSES = (
    "cross_entropy",
    "class_balanced",
    "focal",
    "class_balanced_focal",
    "asymmetric",
    "logit_adjusted",
)

_BETA = 0.9999  # of Cui et al. 2019, for sets of 10^4 samples and more
_LARGEST_MARGIN, _SCALE = 0.5, 30.0  # of Cao et al. 2019
_DEFERRED = 0.8  # of the training, likewise: 160 of 200 epochs


class ClassificationLoss(Protocol):
    """A mean over samples."""

    def __call__(self, logits: Tensor, targets: Tensor, progress: float = 1.0) -> Tensor:
        """The loss, a number; 0 with a gradient of 0 where there is no sample.

        Args:
            logits: (N, K).
            targets: class ids (N,), or the probability of each class (N, K).
            progress: share of the training that is done, for losses that change on the way.
        """


class MultilabelLoss(Protocol):
    """A mean over what is known."""

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss, a number; 0 with a gradient of 0 where nothing is known.

        Args:
            logits: (N, K).
            targets: (N, K) from 0, absent, to 1, present; NaN where unknown.
        """


class _SampleLoss(Protocol):
    def __call__(self, logits: Tensor, target: Tensor, progress: float, /) -> Tensor:
        """Losses (...) of logits and probabilities (..., K)."""


class _EachLoss(Protocol):
    def __call__(self, logits: Tensor, present: Tensor, /) -> Tensor:
        """Losses (N, K) of logits and whether classes are present (N, K)."""


def classification_loss(name: str, counts: ArrayLike) -> ClassificationLoss:
    """A loss of CLASSIFICATION_LOSSES.

    - cross_entropy: what all others are measured by.
    - class_balanced: weights of Cui et al. 2019, `class_balanced_weights`.
    - focal: Lin et al. 2017, `focal`; class_balanced_focal: both, as Cui et al. do.
    - asymmetric: Ben-Baruch et al. 2021, `asymmetric`, of each class against the others.
    - balanced_softmax: Ren et al. 2020, logits plus the logarithm of the number of samples. It is
      logit_adjusted with tau = 1, found another way.
    - logit_adjusted: Menon et al. 2021, logits plus `log_shares`, tau = 1.
    - ldam_drw: Cao et al. 2019, `ldam`, with class-balanced weights for the last fifth.

    Args:
        name: of the loss.
        counts: (K,) samples of each class in training. Less than one counts as one, so that a class
            without a sample does no harm.

    Raises:
        ConfigError: an unknown name, or counts that are none.
    """
    return partial(_mean_over_samples, _sample_loss(name, _checked(counts, axes=1)))


def multilabel_loss(name: str, counts: ArrayLike) -> MultilabelLoss:
    """A loss of MULTILABEL_LOSSES: each class a choice between absent and present.

    As `classification_loss` with the logits (0, z) of absent and present, whose softmax is the
    sigmoid of z: class-balanced weights are those of absent and present, and logit_adjusted adds
    the log odds of a class to its logit. asymmetric is that of the paper as it stands.

    Args:
        name: of the loss.
        counts: (K, 2) samples known to lack each class and to hold it. Less than one counts as one.

    Raises:
        ConfigError: an unknown name, or counts that are none.
    """
    if name not in MULTILABEL_LOSSES:
        raise ConfigError(f"no multi-label loss named {name!r}. {nearest(name, MULTILABEL_LOSSES)}")
    checked = _checked(counts, axes=2)
    if name == "asymmetric":
        return partial(_mean_over_known, _asymmetric_of_each)
    return partial(_mean_over_known, partial(_as_choices, _sample_loss(name, checked)))


def adjust_logits(logits: Tensor, counts: ArrayLike, *, tau: float = 1.0) -> Tensor:
    """Logits (N, K) of a model trained by cross-entropy, as if classes were equally common.

    Post-hoc logit adjustment (Menon et al. 2021, Long-tail learning via logit adjustment):
    z_y - tau log pi_y. With tau = 1 the largest of them is the choice of least balanced error.

    Args:
        logits: (N, K).
        counts: (K,) samples of each class in training; less than one counts as one.
        tau: how far; 0 changes nothing.
    """
    return logits - tau * log_shares(_checked(counts, axes=1)).to(logits)


def adjust_multilabel_logits(logits: Tensor, counts: ArrayLike, *, tau: float = 1.0) -> Tensor:
    """The same of logits (N, K) of classes that are present or not: z - tau log(pi / (1 - pi)).

    Args:
        logits: (N, K).
        counts: (K, 2) samples known to lack each class and to hold it.
        tau: how far; 0 changes nothing.
    """
    absent, present = log_shares(_checked(counts, axes=2)).to(logits).unbind(-1)
    return logits - tau * (present - absent)


def class_balanced_weights(counts: ArrayLike, *, beta: float = _BETA) -> Tensor:
    """Weights (..., K) by the effective number of samples, which add to K.

    Cui, Jia, Lin, Song and Belongie 2019, Class-balanced loss based on effective number of samples:
    w_y is proportional to (1 - beta) / (1 - beta^n_y). Classes of 1 and 100 samples get 1.98 and
    0.02; beyond 1 / (1 - beta) samples all classes count alike.

    Args:
        counts: (..., K) samples of each class; less than one counts as one.
        beta: 0 weighs all classes alike, towards 1 by 1 / n.
    """
    number = -np.expm1(np.maximum(np.asarray(counts, dtype=np.float64), 1) * np.log(beta))
    weights = 1 / number
    return torch.from_numpy(weights / weights.mean(axis=-1, keepdims=True))


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


def ldam(logits: Tensor, target: Tensor, margins: Tensor, weights: Tensor | None = None) -> Tensor:
    """Label-distribution-aware margin losses (...): cross-entropy with z_y less the margin of y.

    Cao, Wei, Gaidon, Arechiga and Ma 2019, Learning imbalanced datasets with
    label-distribution-aware margin loss. There z is 30 times the cosine of a feature and the weight
    of a class; here it is any logit, whose softmax stays the probability, and margins are given in
    its unit: 30 times those of `ldam_margins`.

    Args:
        logits: (..., K).
        target: probability of each class (..., K).
        margins: of the classes (..., K).
        weights: of the classes (..., K); all 1 when None.
    """
    # One row for each class that may be the true one.
    rows = logits.unsqueeze(-2) - torch.diag_embed(margins.to(logits))
    log_p = rows.log_softmax(-1).diagonal(dim1=-2, dim2=-1)
    return -_weighted(target * log_p, weights).sum(-1)


def _sample_loss(name: str, counts: NDArray[np.float64]) -> _SampleLoss:
    """The loss of single samples of (..., K) classes."""
    weights, shares = class_balanced_weights(counts), log_shares(counts)
    known: dict[str, _SampleLoss] = {
        "cross_entropy": lambda z, q, _: cross_entropy(z, q),
        "class_balanced": lambda z, q, _: cross_entropy(z, q, weights),
        "focal": lambda z, q, _: focal(z, q),
        "class_balanced_focal": lambda z, q, _: focal(z, q, weights),
        "asymmetric": lambda z, q, _: asymmetric(z.log_softmax(-1), q).sum(-1),
        "balanced_softmax": lambda z, q, _: cross_entropy(z + shares.to(z), q),
        "logit_adjusted": lambda z, q, _: cross_entropy(z + shares.to(z), q),
        "ldam_drw": partial(_deferred_ldam, _SCALE * ldam_margins(counts), weights),
    }
    if name not in known:
        raise ConfigError(f"no loss named {name!r}. {nearest(name, CLASSIFICATION_LOSSES)}")
    return known[name]


def _deferred_ldam(
    margins: Tensor, weights: Tensor, logits: Tensor, target: Tensor, progress: float
) -> Tensor:
    """Deferred re-weighting: a network that has learned what a class looks like comes first."""
    return ldam(logits, target, margins, weights if progress >= _DEFERRED else None)


def _mean_over_samples(
    loss: _SampleLoss, logits: Tensor, targets: Tensor, progress: float = 1.0
) -> Tensor:
    logits = _full(logits)
    if targets.ndim < logits.ndim:
        targets = F.one_hot(targets.long(), logits.shape[-1])
    found = loss(logits, targets.to(logits), progress)
    return found.sum() / max(found.numel(), 1)


def _mean_over_known(loss: _EachLoss, logits: Tensor, targets: Tensor) -> Tensor:
    logits = _full(logits)
    known = targets.isfinite()
    found = loss(logits, torch.where(known, targets, 0).to(logits))
    return torch.where(known, found, 0).sum() / known.sum().clamp(min=1)


def _as_choices(loss: _SampleLoss, logits: Tensor, present: Tensor) -> Tensor:
    """Losses (N, K) of choices between absent and present."""
    choices = torch.stack([torch.zeros_like(logits), logits], dim=-1)
    return loss(choices, torch.stack([1 - present, present], dim=-1), 1.0)


def _asymmetric_of_each(logits: Tensor, present: Tensor) -> Tensor:
    return asymmetric(F.logsigmoid(logits), present)


def _weighted(values: Tensor, weights: Tensor | None) -> Tensor:
    return values if weights is None else values * weights.to(values)


def _full(logits: Tensor) -> Tensor:
    """In single precision at least, whatever the network computes in."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _checked(counts: ArrayLike, *, axes: int) -> NDArray[np.float64]:
    found = np.asarray(counts, dtype=np.float64)
    pairs = axes == 1 or found.shape[-1:] == (2,)
    if found.ndim != axes or not pairs or not found.size or not (found >= 0).all():
        raise ConfigError(
            f"The counts of classes are {found.tolist()}; give {_SHAPES[axes]}, each 0 or more."
        )
    return found


_SHAPES = {1: "samples of each class (K,)", 2: "absent and present samples of each class (K, 2)"}
