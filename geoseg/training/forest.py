"""What a forest of colours and textures says of places that nobody labelled.

From some fifty labels, trees on simple statistics learn more than a network that starts from random
weights, and learn it in a second. A network that is taught with their answers on many unlabelled
places (distillation: Hinton, Vinyals and Dean 2015, Distilling the knowledge in a neural network)
takes that over, and needs no forest when it is used. From more labels it gains little by it:
docs/benchmarks.md.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import ndimage

from geoseg.training.place_samples import PlaceSamples

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.ensemble import ExtraTreesClassifier

    from geoseg.chips import Chip, Place
    from geoseg.sensors import Band

__all__ = ["forest_labels", "statistics_of"]

_TREES = 300
_LEAF = 2  # places, at least
_SURE = 1e-3
_SEEN = 0.5  # share of an image that is enough
_MOST = 1500  # places that it says something of: enough for a training of some hundred steps
_COLOURS = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
_EDGES = (0.5, 0.9, 0.99)
_RATIOS = (0.02, 0.1, 0.5, 0.9, 0.98)
_DETAIL_PX = (3, 9)


def forest_labels(samples: PlaceSamples, *, seed: int) -> PlaceSamples:
    """The samples with a guess of unlabelled places, by trees grown on the labelled ones.

    Extremely randomised trees (Geurts, Ernst and Wehenkel 2006) of the newest image of a place that
    shows half of it, for each set of bands by themselves. They guess of up to 1500 unlabelled
    places, drawn at random, where a forest of the same bands knows two places of either kind.

    Args:
        samples: labelled places and others.
        seed: of the draw and of the trees.
    """
    if not len(samples.unlabelled):
        return samples
    rng = np.random.default_rng([seed, 3])
    known = _tables(samples, np.concatenate([samples.positives, samples.negatives]))
    others = _tables(samples, rng.permutation(samples.unlabelled)[:_MOST])
    guesses = samples.present.copy()
    for bands in known.keys() & others.keys():
        present = samples.present[known[bands].numbers] == 1
        if min(present.sum(), (~present).sum()) >= _LEAF:
            forest = _grow(known[bands].values, present, seed)
            said = forest.predict_proba(others[bands].values)[:, 1]
            # A guess is never a label.
            guesses[others[bands].numbers] = said.clip(_SURE, 1 - _SURE)
    return PlaceSamples(places=samples.places, present=guesses)


def statistics_of(image: Chip) -> NDArray[np.float32]:
    """Quantiles of its bands, of their contrasts and edges, and how its middle differs (F,).

    Only valid pixels count, of which there is one at least.
    """
    bands, valid = image.image.numpy(), image.valid.numpy()
    mean = bands[:, valid].mean(axis=1)
    whole = np.where(valid, bands, mean[:, None, None])
    grey = whole.mean(axis=0)
    edges = _edges(grey)[valid]
    pixels = bands[:, valid]
    contrasts = [(a - b) / (abs(a) + abs(b) + 1e-6) for a, b in combinations(pixels, 2)]
    return np.concatenate(
        [
            *np.quantile(pixels, _COLOURS, axis=1),
            pixels.std(axis=1),
            [edges.mean(), edges.std(), *np.quantile(edges, _EDGES)],
            *(np.quantile(contrast, _RATIOS) for contrast in contrasts),
            [(grey - ndimage.uniform_filter(grey, px))[valid].std() for px in _DETAIL_PX],
            _middle(whole).mean(axis=(1, 2)) - mean,
        ]
    ).astype(np.float32)


def _edges(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """How steep an image (H, W) is; flat where it is a single line."""
    if min(grey.shape) < 2:
        return np.zeros_like(grey)
    return np.asarray(np.hypot(*np.gradient(grey)), dtype=np.float32)


def _middle(bands: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = bands.shape[1:]
    return bands[:, height // 4 : height - height // 4, width // 4 : width - width // 4]


class _Table(NamedTuple):
    numbers: NDArray[np.intp]  # of places (n,)
    values: NDArray[np.float32]  # statistics (n, F)


def _tables(samples: PlaceSamples, numbers: NDArray[np.intp]) -> dict[tuple[Band, ...], _Table]:
    """Statistics of an image of each place that shows something, by its bands."""
    rows: dict[tuple[Band, ...], list[tuple[int, NDArray[np.float32]]]] = {}
    for number in numbers:
        image = _newest_seen(samples.places[int(number)])
        if image.valid.any():
            rows.setdefault(image.bands, []).append((int(number), statistics_of(image)))
    return {
        bands: _Table(np.array([number for number, _ in of]), np.stack([row for _, row in of]))
        for bands, of in rows.items()
    }


def _newest_seen(place: Place) -> Chip:
    """The newest image of which half is valid; without one, that of which most is."""
    shares = [min(float(image.valid.float().mean()), _SEEN) for image in place.images]
    best = max(zip(shares, place.images, strict=True), key=lambda one: (one[0], one[1].time))
    return best[1]


def _grow(
    table: NDArray[np.float32], present: NDArray[np.bool_], seed: int
) -> ExtraTreesClassifier:
    # Not at the top: it takes a second to import, and few trainings need it.
    from sklearn.ensemble import ExtraTreesClassifier

    forest = ExtraTreesClassifier(
        _TREES, min_samples_leaf=_LEAF, class_weight="balanced", random_state=seed
    )
    return forest.fit(table, present)
