"""Batches of items that are unlike each other, and unlike what has a label.

Both ways here pass over all candidates for each item they choose, and hold them in single precision
(double, where they are given so). A thousand of 10^5 candidates take seconds; of more, choose
candidates first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from geoseg.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["badge", "core_set"]

_BLOCK = 4096  # candidates that are compared with all labelled items at once
# What rounding leaves of a squared distance between equals, in units of the last place.
_ROUNDING = 64


class _Points(NamedTuple):
    """Points, or outer products of two factors each, and what distances between them take."""

    inner: NDArray[np.floating]  # (N, D)
    outer: NDArray[np.float64]  # (N, K); ones (N, 1) for points alone
    length: NDArray[np.float64]  # (N,) squared

    def distances_from(self, position: int) -> NDArray[np.float64]:
        """Squared (N,), 0 to what is equal: |a f - b g|^2 = |af|^2 + |bg|^2 - 2 (a . b) (f . g)."""
        dots = (self.outer @ self.outer[position]) * (self.inner @ self.inner[position])
        both = self.length + self.length[position]
        return _without_rounding(both - 2 * dots, both, self.inner.dtype)


def core_set(
    embeddings: NDArray[np.floating], labelled: NDArray[np.floating], count: int
) -> NDArray[np.intp]:
    """Positions chosen, in order: each the farthest from all that is labelled or chosen before.

    Greedy k-centre (Sener and Savarese 2018, Active learning for convolutional neural networks: a
    core-set approach): every candidate ends up within twice the smallest radius that as many items
    can cover all with (Gonzalez 1985). Without a labelled item, the first is the one nearest to the
    mean. Of equal distances, the lowest position.

    Args:
        embeddings: candidates (N, D).
        labelled: items that have a label (L, D), L >= 0.
        count: how many; all candidates where there are fewer.

    Raises:
        ConfigError: the two have other widths.
    """
    if labelled.shape[1:] != embeddings.shape[1:]:
        raise ConfigError(
            f"Labelled items have {labelled.shape[-1]} numbers and candidates "
            f"{embeddings.shape[-1]}; embed both with one encoder."
        )
    if not len(embeddings):
        return np.empty(0, dtype=np.intp)
    # About their mean, where the squares that are subtracted are smallest.
    mean = embeddings.mean(axis=0, dtype=np.float64)
    precision = _precision_of(embeddings)
    points = _points_of(embeddings.astype(precision) - mean.astype(precision))
    if len(labelled):
        distance = _from_nearest(points, labelled.astype(precision) - mean.astype(precision))
    else:
        distance = points.length.max() - points.length
    chosen: list[int] = []
    for _ in range(min(count, len(embeddings))):
        chosen.append(int(np.argmax(distance)))
        if len(chosen) == 1 and not len(labelled):
            distance[:] = np.inf
        np.minimum(distance, points.distances_from(chosen[-1]), out=distance)
        distance[chosen[-1]] = -1  # Not again, even where all others are equal to it.
    return np.array(chosen, dtype=np.intp)


def badge(
    features: NDArray[np.floating],
    probabilities: NDArray[np.floating],
    count: int,
    rng: np.random.Generator,
) -> NDArray[np.intp]:
    """Positions chosen, in order: items whose gradients are large and unlike each other.

    The gradient of the loss by the last layer, if the likeliest class y were true, is the outer
    product of a = p - e_y and the features f. Seeds of k-means++ are drawn among these: the
    longest first, then each with a chance in proportion to its squared distance from the nearest
    one that is chosen (Ash et al. 2020, Deep batch active learning by diverse, uncertain gradient
    lower bounds). No gradient counts as chosen too, as in scikit-activeml: the paper spends an item
    on it. The products are never built: distances come from the factors, in memory N (K + D) and
    not N K D. Where all that is left equals what is chosen, it is drawn evenly.

    Args:
        features: what the last layer reads (N, D).
        probabilities: of the classes (N, K).
        count: how many; all candidates where there are fewer.
        rng: gives one uniform number for each item after the first.
    """
    if not len(features):
        return np.empty(0, dtype=np.intp)
    gradients = _points_of(features.astype(_precision_of(features)), _pulls(probabilities))
    distance = gradients.length.copy()
    free = np.ones(len(features), dtype=bool)
    chosen: list[int] = []
    for _ in range(min(count, len(features))):
        chosen.append(_drawn(distance, free, rng) if chosen else int(np.argmax(distance)))
        free[chosen[-1]] = False
        np.minimum(distance, gradients.distances_from(chosen[-1]), out=distance)
        distance[chosen[-1]] = 0
    return np.array(chosen, dtype=np.intp)


def _points_of(inner: NDArray[np.floating], outer: NDArray[np.float64] | None = None) -> _Points:
    factors = np.ones((len(inner), 1)) if outer is None else outer
    length = np.einsum("nd,nd->n", inner, inner).astype(np.float64) * (factors**2).sum(axis=1)
    return _Points(inner, factors, length)


def _pulls(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Gradient of the loss by the logits (N, K), if the likeliest class were true."""
    pulls = probabilities.astype(np.float64)
    pulls[np.arange(len(pulls)), pulls.argmax(axis=1)] -= 1
    return pulls


def _from_nearest(points: _Points, others: NDArray[np.floating]) -> NDArray[np.float64]:
    """Squared distance (N,) from the nearest of some other points (L, D), L > 0."""
    lengths = np.einsum("nd,nd->n", others, others).astype(np.float64)
    found = np.empty(len(points.inner))
    for first in range(0, len(found), _BLOCK):
        block = slice(first, first + _BLOCK)
        both = points.length[block, None] + lengths
        apart = both - 2 * (points.inner[block] @ others.T)
        found[block] = _without_rounding(apart, both, others.dtype).min(axis=1)
    return found


def _drawn(distance: NDArray[np.float64], free: NDArray[np.bool_], rng: np.random.Generator) -> int:
    """A position, by the inverse of the distribution function at one uniform number."""
    weights = distance if distance.any() else free.astype(np.float64)
    below = np.cumsum(weights)
    return int(np.searchsorted(below / below[-1], rng.random(), side="right"))


def _without_rounding(
    apart: NDArray[np.float64], both: NDArray[np.float64], precision: np.dtype[np.floating]
) -> NDArray[np.float64]:
    """Squared distances, those that are no more than rounding of what they were taken from as 0."""
    return np.where(apart <= _ROUNDING * np.finfo(precision).eps * both, 0, apart)


def _precision_of(given: NDArray[np.floating]) -> type[np.floating]:
    return np.float64 if given.dtype == np.float64 else np.float32
