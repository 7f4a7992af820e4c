"""Baselines: trees on the means of all dates, as maps of whole countries are made.

Random forests on gap-filled series with a few indices are what iota2 makes the land cover of France
with (Inglada and others 2017, Operational high resolution land cover map production at the country
scale using satellite image time series, Remote Sensing 9, 95). Boosted trees are by histograms, as
LightGBM's (Ke and others 2017). Trees are grown where they are asked and are not kept: they take
seconds, and a pickle is nothing to be given to others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geoseg.landcover.cells import CellYears, Samples

__all__ = ["Trees", "features_of", "grow_boosted", "grow_forest"]

_INDICES = (("nir", "red"), ("green", "nir"))  # NDVI; NDWI after McFeeters 1996
_LEAST = 0.01  # reflectance, below which a normalised difference is noise
_TREES = 100  # as iota2
_LEAF = 2  # cells, at least
_ROUNDS = 80
_FEATURES_OF_A_SPLIT = 0.2  # of boosted trees: neighbouring dates tell much the same


class Trees(NamedTuple):
    """What was grown, of any kind."""

    trees: Any  # of scikit-learn, which is not typed
    classes: int

    def shares(self, years: CellYears) -> NDArray[np.float64]:
        """Probability (N, K) of each class."""
        share = np.zeros((len(years), self.classes))
        # A class without a sample has no column of its own.
        share[:, self.trees.classes_] = self.trees.predict_proba(features_of(years))
        return share


def features_of(years: CellYears) -> NDArray[np.float32]:
    """Means, indices and brightness of all dates (N, D * F), as far as the variables give them."""
    mean = years.mean.numpy()
    named = {name: mean[..., i] for i, name in enumerate(years.variables)}
    more = [
        (named[one] - named[other]) / np.maximum(named[one] + named[other], _LEAST)
        for one, other in _INDICES
        if one in named and other in named
    ]
    light = [band for name, band in named.items() if name not in {"vv", "vh"}]
    if light:
        more.append(np.sqrt(np.mean(np.square(light), axis=0)))
    all_of = np.concatenate([mean, *(one[..., None] for one in more)], axis=-1)
    return all_of.reshape(len(mean), -1).astype(np.float32)


def grow_forest(samples: Samples, *, classes: int, seed: int) -> Trees:
    """A random forest (Breiman 2001) of so many classes, of which some may lack samples."""
    # Not at the top: it takes a second to import.
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(_TREES, min_samples_leaf=_LEAF, random_state=seed)
    return Trees(forest.fit(features_of(samples.years), samples.label), classes)


def grow_boosted(samples: Samples, *, classes: int, seed: int) -> Trees:
    """Gradient-boosted trees of so many classes, of which some may lack samples."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    # Not stopped early: scikit-learn would hold out neighbours of what it learns from.
    boosted = HistGradientBoostingClassifier(
        max_iter=_ROUNDS,
        max_features=_FEATURES_OF_A_SPLIT,
        early_stopping=False,
        random_state=seed,
    )
    return Trees(boosted.fit(features_of(samples.years), samples.label), classes)
