"""Which loss serves the labels of a project: heads by each, on labels that they did not see."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from geoseg.active.estimate import class_precision, out_of_fold
from geoseg.active.heads import LOSSES, HeadSettings
from geoseg.active.neighbourhood import neighbourhoods
from geoseg.errors import ConfigError, LabelError, nearest
from geoseg.metrics.resampling import Interval, percentile_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from geoseg.active.known import Known
    from geoseg.active.pool import Pool

    OnLoss = Callable[[int, int], None]

__all__ = ["BASE", "LossWorth", "compare_losses"]

BASE = "cross_entropy"
_DRAWS = 2000
_LEAST = 2  # neighbourhoods of each class


class LossWorth(NamedTuple):
    """What heads by a loss are worth; scores are means over seeds."""

    loss: str
    balanced_accuracy: Interval
    gain: Interval  # of balanced accuracy over BASE, on the same items
    recall: tuple[float, ...]  # of each class
    average_precision: tuple[float, ...]  # of each class


class _Told(NamedTuple):
    """What heads by a loss say of labelled items, means over seeds."""

    right: NDArray[np.float64]  # (L,) share of the seeds that told by which the class is right
    told: NDArray[np.bool_]  # (L,) whether any did
    average_precision: NDArray[np.float64]  # (K,)


def compare_losses(
    pool: Pool,
    known: Known,
    names: Sequence[str],
    losses: Sequence[str] = LOSSES,
    *,
    seeds: int = 5,
    on_loss: OnLoss | None = None,
) -> list[LossWorth]:
    """What heads by each loss are worth (n,), the best by balanced accuracy first.

    Labelled items are held out neighbourhood by neighbourhood, in five folds that each seed deals
    anew. Intervals (95 %) are percentiles of the bootstrap over neighbourhoods (Efron and
    Tibshirani 1993), those of a gain over the same draws for both losses. BASE is among the losses
    in any case.

    Args:
        pool: of the items.
        known: labels; the likeliest class of each counts, and none where votes are even.
        names: of the classes.
        losses: of `geoseg.active.heads.LOSSES`.
        seeds: of folds and heads.
        on_loss: is told how many losses are done, of how many.

    Raises:
        ConfigError: an unknown loss, or no seed.
        LabelError: the labels of a class lie in fewer than two neighbourhoods.
        ModelError: a loss is not finite.
    """
    if seeds < 1:
        raise ConfigError(f"{seeds} seeds tell nothing; give 1 or more.")
    for loss in losses:
        if loss not in LOSSES:
            raise ConfigError(f"no loss named {loss!r}. {nearest(loss, LOSSES)}")
    groups = neighbourhoods(pool, known.rows)
    _require_places(groups, known, names)
    named = list(dict.fromkeys([BASE, *losses]))
    told = {}
    for number, loss in enumerate(named, start=1):
        told[loss] = _told(pool, known, HeadSettings(loss=loss), seeds)
        if on_loss is not None:
            on_loss(number, len(named))
    recalls = _Recalls(groups, np.where(told[BASE].told, known.classes, -1), len(names))
    found = [_worth(loss, told[loss], told[BASE], recalls) for loss in named]
    return sorted(found, key=lambda one: -one.balanced_accuracy.value)


def _require_places(groups: NDArray[np.int64], known: Known, names: Sequence[str]) -> None:
    """Refuse classes of one neighbourhood: where it is held out, nothing tells of them."""
    for k, name in enumerate(names):
        places = len(np.unique(groups[known.classes == k])) if len(groups) else 0
        if places < _LEAST:
            raise LabelError(
                f"The labels of {name!r} lie in {places} neighbourhoods of 5 km, and losses are "
                f"compared on {_LEAST} or more of each class; label it elsewhere too."
            )


def _told(pool: Pool, known: Known, settings: HeadSettings, seeds: int) -> _Told:
    right, times, precision = np.zeros(len(known.rows)), np.zeros(len(known.rows)), []
    for seed in range(seeds):
        told = out_of_fold(pool, known, settings, seed=seed)
        told_now = np.isfinite(told[:, 0])
        times += told_now
        right += (told.argmax(axis=1) == known.classes) & told_now
        precision.append([class_precision(told, known, k) for k in range(told.shape[1])])
    return _Told(right / np.maximum(times, 1), times > 0, np.mean(precision, axis=0))


class _Recalls:
    """Recall of each class, of all neighbourhoods and of draws of them; class -1 is left out."""

    def __init__(self, groups: NDArray[np.int64], classes: NDArray[np.intp], count: int) -> None:
        self._scored, self._count = classes >= 0, count
        _, self._group = np.unique(groups[self._scored], return_inverse=True)
        self._classes = classes[self._scored]
        size = int(self._group.max()) + 1
        drawn = np.random.default_rng(0).multinomial(size, np.full(size, 1 / size), size=_DRAWS)
        self._times = np.concatenate([np.ones((1, size)), drawn])
        self._total = self._sums(np.ones(len(classes)))

    def __call__(self, right: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of items (L,) that are right: (1 + draws, K), first of all; NaN of a class not drawn."""
        sums, nothing = self._sums(right), np.full_like(self._total, np.nan)
        return np.asarray(np.divide(sums, self._total, out=nothing, where=self._total > 0))

    def _sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        by_group = np.zeros((self._times.shape[1], self._count))
        np.add.at(by_group, (self._group, self._classes), values[self._scored])
        return np.asarray(self._times @ by_group)


def _worth(loss: str, own: _Told, base: _Told, recalls: _Recalls) -> LossWorth:
    recall, gained = recalls(own.right), recalls(own.right - base.right)
    balanced, gain = recall.mean(axis=1), gained.mean(axis=1)
    return LossWorth(
        loss=loss,
        balanced_accuracy=percentile_interval(balanced[0], balanced[1:]),
        gain=percentile_interval(gain[0], gain[1:]),
        recall=tuple(recall[0].tolist()),
        average_precision=tuple(own.average_precision.tolist()),
    )
