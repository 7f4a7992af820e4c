"""What is usual: a curve through the year of each class of cells and each variable.

Classes are cells with a like year (k-means of monthly means). A curve is a periodic Gaussian
process through the means of a class on all days that saw it, whatever their year, so that it knows
where in the year it rests on nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from scipy.linalg import cho_factor, cho_solve
from sklearn.cluster import KMeans
from sklearn.metrics import pairwise_distances_argmin

from geoseg.errors import SceneError
from geoseg.pivot.measurement.variables import find_variable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from geoseg.pivot.measurement.looks import Look

__all__ = ["YEAR_DAYS", "Climatology", "Curves", "Series", "series_of", "side_by_side"]

YEAR_DAYS = 365.25

_MONTHS = np.arange(12) * YEAR_DAYS / 12
_MONTH_WIDTH = 15.0  # days
_SMOOTH_DAYS = 20.0  # over which curves are smooth
_LEAST_CELLS = 5  # of a class that a mean is taken of
_SEASON_SD = {"reflectance": 0.05, "backscatter": 1.5}  # where few months are shown
_DB = 0.03  # reflectance that one decibel counts for among classes


class Series(NamedTuple):
    """What cells (H, W) showed of a variable on the days (T,) of its looks; NaN where nothing."""

    days: NDArray[np.float64]
    values: NDArray[np.float32]  # (T, H, W)


class Curves(NamedTuple):
    """Of one variable, for each class (K,)."""

    days: NDArray[np.float64]  # (T,) since 1970
    weights: NDArray[np.float64]  # (K, T)
    level: NDArray[np.float64]  # (K,)
    inverse: NDArray[np.float64]  # (K, T, T) of the covariance of the days
    amplitude: NDArray[np.float64]  # (K,) variance through the year

    def at(self, day: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Means and variances (K,) on a day."""
        alike = _periodic(np.array([day]), self.days)[0]
        mean = self.level + self.amplitude * (self.weights @ alike)
        explained = np.einsum("t,kts,s->k", alike, self.inverse, alike)
        return mean, self.amplitude * np.clip(1 - self.amplitude * explained, 0, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Climatology:
    """Classes by their centres, and curves by variable."""

    variables: tuple[str, ...]  # that classes are told by
    centres: NDArray[np.float32]  # (K, features)
    usual: NDArray[np.float32]  # (features,) taken where a cell shows nothing
    curves: Mapping[str, Curves]

    @classmethod
    def learn(cls, series: Mapping[str, Series], *, classes: int, seed: int) -> Climatology:
        """From cells of all kinds.

        Raises:
            SceneError: nothing was measured.
        """
        if not any(np.isfinite(one.values).any() for one in series.values()):
            raise SceneError(
                "No acquisition shows anything of the pivot: all is cloud or lies beside it. Give "
                "other acquisitions or another grid."
            )
        variables = tuple(series)
        features = _features(series, variables)
        counted = np.isfinite(features)
        usual = np.where(counted, features, 0).sum(0) / np.maximum(counted.sum(0), 1)
        filled = np.where(counted, features, usual)
        distinct = len(np.unique(filled, axis=0))
        found = KMeans(min(classes, distinct), n_init=3, random_state=seed).fit(filled)
        labels = found.labels_
        curves = {
            name: _curves(
                one, labels, len(found.cluster_centers_), _SEASON_SD[find_variable(name).kind]
            )
            for name, one in series.items()
        }
        return cls(
            variables=variables,
            centres=found.cluster_centers_.astype(np.float32),
            usual=usual.astype(np.float32),
            curves=curves,
        )

    def classes_of(self, series: Mapping[str, Series]) -> Tensor:
        """The class (H, W) of each cell."""
        features = _features(series, self.variables)
        filled = np.where(np.isfinite(features), features, self.usual).astype(np.float32)
        labels = pairwise_distances_argmin(filled, self.centres)
        shape = next(iter(series.values())).values.shape[1:]
        return torch.from_numpy(labels.reshape(shape))

    def at(self, variable: str, day: float, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of it (H, W) on a day, of cells of classes (H, W)."""
        mean, variance = self.curves[variable].at(day)
        return torch.from_numpy(mean).float()[classes], torch.from_numpy(variance).float()[classes]


def series_of(looks: Sequence[Look], shape: tuple[int, int]) -> Series:
    """Looks of a variable as cells (H, W) see them."""
    days = np.array([look.day for look in looks])
    cells = [look.on_ground().numpy() for look in looks]
    return Series(days, np.stack(cells) if cells else np.empty((0, *shape), np.float32))


def side_by_side(pieces: Sequence[Mapping[str, Series]]) -> dict[str, Series]:
    """Series of pieces of ground as those of one, of cells (1, N)."""
    joined = {}
    for name in dict.fromkeys(name for piece in pieces for name in piece):
        days = np.unique(np.concatenate([one[name].days for one in pieces if name in one]))
        joined[name] = Series(days, np.concatenate([_on(days, one, name) for one in pieces], 2))
    return joined


def _on(days: NDArray[np.float64], piece: Mapping[str, Series], name: str) -> NDArray[np.float32]:
    """Of a piece of ground (T, 1, n) on days, NaN on those that show nothing of it."""
    shape = next(iter(piece.values())).values.shape[1:]
    found = np.full((len(days), 1, int(np.prod(shape))), np.nan, dtype=np.float32)
    if name in piece:
        for day, cells in zip(*piece[name], strict=True):
            row, flat = found[np.searchsorted(days, day)], cells.reshape(1, -1)
            row[np.isfinite(flat)] = flat[np.isfinite(flat)]
    return found


def _features(series: Mapping[str, Series], variables: Sequence[str]) -> NDArray[np.float32]:
    """Monthly means (cells, months x variables), NaN where a month shows nothing."""
    shape = next(iter(series.values())).values.shape[1:]
    unseen = Series(np.empty(0), np.empty((0, *shape), dtype=np.float32))
    found = []
    for name in variables:
        days, values = series.get(name, unseen)
        seen = np.isfinite(values)
        known = np.where(seen, values, 0) * (
            _DB if find_variable(name).kind == "backscatter" else 1
        )
        near = np.exp(-0.5 * (_apart(_MONTHS, days) / _MONTH_WIDTH) ** 2).astype(np.float32)
        weight = np.tensordot(near, seen.astype(np.float32), 1)
        mean = np.tensordot(near, known, 1) / np.maximum(weight, 1e-6)
        found.append(np.where(weight > 0.05, mean, np.nan).reshape(len(_MONTHS), -1))
    return np.concatenate(found).T.astype(np.float32)


def _curves(series: Series, labels: NDArray[np.int32], classes: int, season_sd: float) -> Curves:
    days, values = series
    cells = values.reshape(len(days), -1)
    alike = _periodic(days, days)
    pooled = _class_means(cells)
    unseen = season_sd**2 * (1 - _share_of_year(days))
    parts = [
        _curve(_class_means(cells[:, labels == k]), pooled, alike, unseen) for k in range(classes)
    ]
    weights, level, inverse, amplitude = (np.stack(one) for one in zip(*parts, strict=True))
    return Curves(days, weights, level, inverse, amplitude)


def _class_means(cells: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Mean of the cells that each day shows (T,), and whether they are enough."""
    seen = np.isfinite(cells)
    count = seen.sum(1)
    mean = np.where(seen, cells, 0).sum(1, dtype=np.float64) / np.maximum(count, 1)
    return mean, count >= min(_LEAST_CELLS, max(cells.shape[1], 1))


def _share_of_year(days: NDArray[np.float64]) -> float:
    """Of its months, those that a day lies near to."""
    if len(days) == 0:
        return 0.0
    return float((_apart(_MONTHS, days).min(1) <= _SMOOTH_DAYS).mean())


def _curve(
    shown: tuple[NDArray[np.float64], NDArray[np.bool_]],
    pooled: tuple[NDArray[np.float64], NDArray[np.bool_]],
    alike: NDArray[np.float64],
    unseen: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Weights, level, inverse and amplitude of a class; of all cells where it shows none.

    Args:
        shown: means of the class on days (T,), and whether enough cells show it.
        pooled: those of all cells.
        alike: (T, T) correlation of the days.
        unseen: variance through the part of the year that nothing shows.
    """
    means, enough = shown if shown[1].sum() >= 2 else pooled
    days = len(means)
    weights, inverse = np.zeros(days), np.zeros((days, days))
    if not enough.any():
        return weights, np.asarray(0.0), inverse, np.asarray(unseen)
    known = means[enough]
    level = known.mean()
    amplitude = max(float(known.var()), unseen, 1e-8)
    # Days that follow each other differ by weather and by haze, which the curve is not to follow.
    rough = 0.5 * float(np.mean(np.diff(known) ** 2)) if len(known) > 1 else 0.0
    noise = float(np.clip(rough, 0.01 * amplitude, amplitude))
    among = amplitude * alike[np.ix_(enough, enough)] + noise * np.eye(len(known))
    factor = cho_factor(among)
    weights[enough] = cho_solve(factor, known - level)
    inverse[np.ix_(enough, enough)] = cho_solve(factor, np.eye(len(known)))
    return weights, np.asarray(level), inverse, np.asarray(amplitude)


def _apart(some: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Days between (A,) and (B,) through the year, at most half of it."""
    apart = np.abs(some[:, None] - others) % YEAR_DAYS
    return np.minimum(apart, YEAR_DAYS - apart)


def _periodic(some: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation (A, B) of a year that comes again (MacKay 1998, exp-sine-squared)."""
    phase = np.pi * (some[:, None] - others) / YEAR_DAYS
    length = 2 * np.pi * _SMOOTH_DAYS / YEAR_DAYS
    return np.asarray(np.exp(-2 * np.sin(phase) ** 2 / length**2))
