"""How common each class is here, which is not how common it was in training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["adapted", "prevalence_ratio", "ratio_at"]

_ROUNDS = 60
# A class may be this many times as common as in training, or as rare: a guard against networks
# whose probabilities mean little.
_LARGEST_RATIO = 5.0
_SETTLED = 1e-3
_TINY = 1e-6


def prevalence_ratio(
    chance: NDArray[np.float32], prior: Sequence[float], *, reach_px: float
) -> NDArray[np.float32]:
    """How much more common each class is about each pixel than it was in training.

    Expectation maximisation of Saerens, Latinne and Decaestecker 2002, with the prevalence taken
    over a Gaussian neighbourhood instead of the whole set. It needs no label.

    Args:
        chance: probabilities (K, H, W) by a network trained at `prior`; NaN without data.
        prior: share of each class in training, all above 0.
        reach_px: standard deviation of the neighbourhood.

    Returns:
        Ratios (K, H, W), 1 where nothing is known.
    """
    known = np.isfinite(chance[0])
    chance = np.where(known, chance, 0).astype(np.float32)
    base = np.maximum(np.asarray(prior, dtype=np.float32), _TINY)[:, None, None]
    weight = np.maximum(_smooth(known.astype(np.float32), reach_px), _TINY)
    ratio = np.ones_like(chance)
    for _ in range(_ROUNDS):
        posterior = adapted(chance, ratio) * known
        share = np.stack([_smooth(layer, reach_px) for layer in posterior]) / weight
        last, ratio = ratio, np.clip(share / base, 1 / _LARGEST_RATIO, _LARGEST_RATIO)
        if np.abs(ratio - last).max() < _SETTLED:
            break
    return np.where(weight > 10 * _TINY, ratio, 1).astype(np.float32)


def adapted(chance: NDArray[np.float32], ratio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities (K, H, W) where classes are `ratio` times as common as in training."""
    weighed = chance * ratio
    return np.asarray(weighed / np.maximum(weighed.sum(axis=0), _TINY), dtype=np.float32)


def ratio_at(
    coarse: NDArray[np.float32],
    *,
    begin: tuple[int, int],
    step_px: int,
    rows: range,
    width: int,
) -> NDArray[np.float32]:
    """Ratios (K, h, W) of some rows, from those of every `step_px`-th pixel from `begin` on."""
    row = (np.arange(rows.start, rows.stop) - begin[0]) / step_px
    column = (np.arange(width) - begin[1]) / step_px
    where = np.meshgrid(row, column, indexing="ij")
    layers = [map_coordinates(layer, where, order=1, mode="nearest") for layer in coarse]
    return np.stack(layers)


def _smooth(layer: NDArray[np.float32], reach_px: float) -> NDArray[np.float32]:
    # A neighbourhood far larger than the scene is the scene.
    reach_px = min(reach_px, max(layer.shape))
    return np.asarray(gaussian_filter(layer, reach_px, mode="reflect", truncate=2.5))
