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
from geoseg.models.imbalance_samples import (
    asymmetric,
    class_balanced_weights,
    cross_entropy,
    focal,
    ldam,
    ldam_margins,
    log_shares,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "CLASSIFICATION_LOSSES",
    "MULTILABEL_LOSSES",
    "ClassificationLoss",
    "MultilabelLoss",
    "adjust_logits",
    "adjust_multilabel_logits",
    "classification_loss",
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

_DEFERRED = 0.8  # of the training, in Cao et al. 2019: 160 of 200 epochs


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
    - balanced_softmax: Ren et al. 2020, Balanced meta-softmax for long-tailed visual recognition,
      without its sampler: logits plus the logarithm of the number of samples. It is logit_adjusted
      with tau = 1, found another way.
    - logit_adjusted: Menon et al. 2021, Long-tail learning via logit adjustment: logits plus
      `log_shares`, tau = 1.
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
        "ldam_drw": partial(_deferred_ldam, ldam_margins(counts), weights),
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


def _full(logits: Tensor) -> Tensor:
    """In single precision at least, whatever the network computes in."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _checked(counts: ArrayLike, *, axes: int) -> NDArray[np.float64]:
    found = np.asarray(counts, dtype=np.float64)
    pairs = axes == 1 or found.shape[-1:] == (2,)
    if found.ndim != axes or not pairs or not found.size or not _are_counts(found):
        raise ConfigError(
            f"The counts of classes are {found.tolist()}; give {_SHAPES[axes]}, each 0 or more."
        )
    return found


def _are_counts(found: NDArray[np.float64]) -> bool:
    return bool((np.isfinite(found) & (found >= 0)).all())


_SHAPES = {1: "samples of each class (K,)", 2: "absent and present samples of each class (K, 2)"}
