"""Overlapping maps become one, pixel by pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import numpy as np

from geoseg.inference.maps import as_stored
from geoseg.labels import IGNORE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

__all__ = ["MERGE_RULES", "Layer", "Merged", "Rule", "blank"]

Rule = Literal["best", "newest", "vote"]


class Layer(NamedTuple):
    """One of the maps."""

    number: int  # counted from 1
    classes: NDArray[np.uint8]  # (H, W), 255 where there is no data
    stored: NDArray[np.uint8]  # (K, H, W), probability * 250; read only where there is data


class Merged(NamedTuple):
    """The map that they become."""

    classes: NDArray[np.uint8]  # (H, W), 255 where no map has data
    stored: NDArray[np.uint8]  # (K, H, W), probability * 250, 255 where no map has data
    source: NDArray[np.uint16]  # (H, W), number of the map that a pixel is of; 0 of none


class Merge(Protocol):
    """Fills a blank map from layers, the newest first; the earlier of two equals is taken."""

    def __call__(self, layers: Iterable[Layer], out: Merged, /) -> None:
        """Fill `out`."""


def blank(bands: int, shape: tuple[int, int]) -> Merged:
    """A map (K, H, W) without data."""
    return Merged(
        np.full(shape, IGNORE, dtype=np.uint8),
        np.full((bands, *shape), IGNORE, dtype=np.uint8),
        np.zeros(shape, dtype=np.uint16),
    )


def _newest(layers: Iterable[Layer], out: Merged) -> None:
    """The first layer with data."""
    for layer in layers:
        _put(layer, out, (layer.classes != IGNORE) & (out.source == 0))
        if out.source.all():
            return


def _best(layers: Iterable[Layer], out: Merged) -> None:
    """The layer most sure of its own class."""
    surest = np.full(out.classes.shape, -1, dtype=np.int16)
    for layer in layers:
        known = layer.classes != IGNORE
        own = np.where(known, layer.classes, 0)[None]
        chance = np.take_along_axis(layer.stored, own, axis=0)[0]
        better = known & (chance > surest)
        surest[better] = chance[better]
        _put(layer, out, better)


def _vote(layers: Iterable[Layer], out: Merged) -> None:
    """The class whose probability, averaged over all layers with data, is highest."""
    total = np.zeros(out.stored.shape, dtype=np.uint32)
    voters = np.zeros(out.classes.shape, dtype=np.uint16)
    surest = np.zeros_like(out.stored)
    surest_by = np.zeros(out.stored.shape, dtype=np.uint16)
    for layer in layers:
        known = layer.classes != IGNORE
        stored = np.where(known, layer.stored, 0)
        total += stored
        voters += known
        # What stays where it is alone: to add up rounded probabilities would change it.
        _put(layer, out, known)
        better = known & ((stored > surest) | (surest_by == 0))
        surest = np.where(better, stored, surest)
        surest_by = np.where(better, layer.number, surest_by).astype(np.uint16)
    several = voters > 1
    if not several.any():
        return
    votes = total[:, several]
    chosen = votes.argmax(axis=0)
    chance = (votes / np.maximum(votes.sum(axis=0), 1)).astype(np.float32)
    out.classes[several] = chosen
    out.stored[:, several] = as_stored(chance)
    out.source[several] = np.take_along_axis(surest_by[:, several], chosen[None], axis=0)[0]


def _put(layer: Layer, out: Merged, where: NDArray[np.bool_]) -> None:
    out.classes[where] = layer.classes[where]
    out.stored[:, where] = layer.stored[:, where]
    out.source[where] = layer.number


MERGE_RULES: Mapping[Rule, Merge] = {"best": _best, "newest": _newest, "vote": _vote}
