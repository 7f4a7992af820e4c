"""A rule from the objects of a chip to its probability, learnt from labelled chips."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit

from geoseg.errors import LabelError, ModelError
from geoseg.files import write_json
from geoseg.presence.reduction.objects import FEATURES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["LearnedReduction", "cross_validated", "fit_reduction", "read_reduction"]

_FOLDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedReduction:
    """Logistic regression on `FEATURES`, each less its mean and divided by its spread."""

    features: tuple[str, ...]
    mean: tuple[float, ...]
    spread: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float

    def probability(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of chips (N,) by their features (N, F); NaN where these are."""
        standard = (features - np.array(self.mean)) / np.array(self.spread)
        return np.asarray(expit(standard @ np.array(self.weights) + self.intercept))

    def write(self, path: Path) -> None:
        """Write it as JSON numbers.

        Raises:
            OutputError: the file cannot be written.
        """
        write_json(path, {name: getattr(self, name) for name in self.__slots__})

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> LearnedReduction:
        """Read what `write` wrote.

        Raises:
            ModelError: it is something else, or of other features.
        """
        try:
            columns = {
                name: tuple(float(value) for value in record[name])
                for name in ("mean", "spread", "weights")
            }
            names, intercept = tuple(record["features"]), float(record["intercept"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"The learnt reduction cannot be read ({error!r}); learn it again."
            ) from error
        whole = all(len(column) == len(FEATURES) for column in columns.values())
        if names != FEATURES or not whole:
            raise ModelError(
                f"The learnt reduction is of {', '.join(names)} and this geoseg has "
                f"{', '.join(FEATURES)}; learn it again."
            )
        return cls(features=names, intercept=intercept, **columns)


def read_reduction(path: Path) -> LearnedReduction:
    """Read a learnt reduction.

    Raises:
        ModelError: no such file, or it holds something else.
    """
    if not path.is_file():
        raise ModelError(f"{path} does not exist; learn a reduction with --learn.")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path} is no JSON ({error}); learn the reduction again.") from error
    return LearnedReduction.from_dict(record)


def fit_reduction(features: NDArray[np.float64], present: NDArray[np.bool_]) -> LearnedReduction:
    """Learn from chips with labels; those without features (NaN) are left out.

    Args:
        features: as `FEATURES` names them (N, F).
        present: what the chips hold (N,).

    Raises:
        LabelError: chips of one kind only.
    """
    from sklearn.linear_model import LogisticRegression

    known = np.isfinite(features).all(axis=1)
    features, present = features[known], present[known]
    if not present.any() or present.all():
        raise LabelError(
            f"{present.sum()} chips with and {(~present).sum()} without cannot teach a reduction; "
            "give outlines that lie in some of the chips."
        )
    mean, spread = features.mean(axis=0), features.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    fitted = LogisticRegression(max_iter=1000).fit((features - mean) / spread, present)
    return LearnedReduction(
        features=FEATURES,
        mean=tuple(mean.tolist()),
        spread=tuple(spread.tolist()),
        weights=tuple(fitted.coef_[0].tolist()),
        intercept=float(fitted.intercept_[0]),
    )


def cross_validated(
    features: NDArray[np.float64], present: NDArray[np.bool_], groups: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Probabilities (N,) of chips by a reduction learnt from chips of other groups.

    NaN where a chip has no features, and everywhere where there are too few groups of a kind.

    Args:
        features: (N, F).
        present: (N,).
        groups: blocks of ground (N,): neighbouring chips hold parts of one object.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    out = np.full(len(present), np.nan)
    known = np.flatnonzero(np.isfinite(features).all(axis=1))
    x, y, block = features[known], present[known], groups[known]
    folds = min(_FOLDS, len(np.unique(block[y])), len(np.unique(block[~y])))
    if folds < 2:
        return out
    # A fixed seed: the folds are a measurement's and no result.
    cut = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=0)
    for fitted, held in cut.split(x, y, block):
        if 0 < y[fitted].mean() < 1:
            out[known[held]] = fit_reduction(x[fitted], y[fitted]).probability(x[held])
    return out
