"""Logistic regression on one variable, small, exact and fast enough to be drawn again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, logit

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["fit_line", "log_loss"]

# A model no better than chance has no slope; a little keeps the order of its logits.
_LEAST_SLOPE = 0.01
_STEPS, _HALVINGS = 100, 30
_CONVERGED = 1e-12  # of the loss, relative


def fit_line(
    logits: NDArray[np.float64],
    positives: NDArray[np.float64],
    negatives: NDArray[np.float64],
    *,
    bias: bool = True,
    pull: float = 1.0,
) -> tuple[float, float]:
    """Slope, above 0, and intercept of log odds on logits: logistic regression, after Platt (1999).

    Labels are drawn towards each other by one chip of each kind, (n + 1) / (n + 2) for 1, without
    which a model that parts few chips perfectly would have an infinite slope. Probabilities of few
    chips gain by it; an estimate of a total is biased by it, 5 % with 50 positives, and less pull
    will do there. Newton's method with
    halved steps, after Lin, Lin and Weng (2007), A note on Platt's probabilistic outputs.

    Args:
        logits: (N,), each once or more.
        positives: how many chips with (N,) have the logit; weights serve too.
        negatives: how many chips without (N,).
        bias: False keeps the intercept at 0, which leaves a temperature.
        pull: chips of each kind that labels are drawn by, above 0.
    """
    many, few = positives.sum(), negatives.sum()
    high, low = (many + pull) / (many + 2 * pull), pull / (few + 2 * pull)
    weight = positives + negatives
    target = (positives * high + negatives * low) / np.maximum(weight, np.finfo(float).tiny)
    columns = np.stack([logits, np.ones_like(logits)])
    start = np.array([0.0, float(logit((weight * target).sum() / weight.sum()))])
    free = np.array([True, bias])
    fitted = _newton(columns, weight, target, np.where(free, start, 0.0), free)
    if fitted[0] < _LEAST_SLOPE:
        fitted[0] = _LEAST_SLOPE
        fitted = _newton(columns, weight, target, fitted, np.array([False, bias]))
    return float(fitted[0]), float(fitted[1])


def _newton(
    columns: NDArray[np.float64],
    weight: NDArray[np.float64],
    target: NDArray[np.float64],
    start: NDArray[np.float64],
    free: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Coefficients (2,) of least log loss, of which those that are free have moved."""
    at, moved = start.copy(), columns[free]
    if not free.any():
        return at
    loss = _loss_of(columns, weight, target, at)
    for _ in range(_STEPS):
        p = expit(at @ columns)
        gradient = moved @ (weight * (p - target))
        curvature = (moved * (weight * p * (1 - p))) @ moved.T
        ridge = _CONVERGED * (1 + np.trace(curvature))
        step = np.zeros(2)
        step[free] = np.linalg.solve(curvature + ridge * np.eye(len(moved)), gradient)
        after = loss
        for half in range(_HALVINGS):
            tried = at - step / 2**half
            after = _loss_of(columns, weight, target, tried)
            if after < loss:
                break
        if not after < loss * (1 - _CONVERGED):
            break
        at, loss = tried, after
    return at


def _loss_of(
    columns: NDArray[np.float64],
    weight: NDArray[np.float64],
    target: NDArray[np.float64],
    at: NDArray[np.float64],
) -> float:
    return float((weight * log_loss(at @ columns, target)).sum())


def log_loss(log_odds: NDArray[np.float64], target: NDArray[Any]) -> NDArray[np.float64]:
    """Log loss (N,) in nats; of log odds, since a probability of 1 has none."""
    return np.asarray(np.logaddexp(0, log_odds) - target * log_odds)
