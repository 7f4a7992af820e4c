"""Rows of one place joined: from logits of images to a logit of the place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

if TYPE_CHECKING:
    from geoseg.models import Classifier
    from geoseg.presence.rows.head import LinearHead
    from geoseg.presence.rows.quantise import Quantiser
    from geoseg.presence.rows.store import BlockRows

__all__ = ["PlaceLogits", "RowScorer"]

_CHUNK = 8_192  # rows looked at at once


class PlaceLogits(NamedTuple):
    """What is said of the places of a block."""

    first: NDArray[np.int64]  # (P + 1,) where the rows of each place begin, and where all end
    places: NDArray[np.float32]  # (P,) logits
    images: NDArray[np.float32]  # (N,) logits of the rows

    def mean(self, values: NDArray[np.generic]) -> NDArray[np.float64]:
        """Mean (P,) over the images of each place of a value (N,)."""
        sums = np.add.reduceat(values, self.first[:-1], dtype=np.float64)
        return np.asarray(sums / np.diff(self.first))


@dataclass(frozen=True, slots=True, kw_only=True)
class RowScorer:
    """A classifier from the point on where images have become rows.

    The logit of a place is the head of the mean of its embeddings under the attention of the
    classifier over its images. As a head is linear and the weights sum to one, that is the mean
    of the logits of the images under the same weights; so a model's own head needs embeddings
    only for places of several images, and its logits are those from before quantisation.
    """

    classifier: Classifier  # on the CPU
    quantiser: Quantiser
    head: LinearHead | None = None  # in place of that of the classifier

    def __call__(self, rows: BlockRows) -> PlaceLogits:
        """Logits of the places of a block."""
        images = rows.logit if self.head is None else self.head.logits(rows.stored, self.quantiser)
        changes = np.flatnonzero(np.diff(rows.cell)) + 1
        first = np.concatenate([[0], changes, [len(rows.cell)]])
        sizes = np.diff(first)
        several = np.repeat(sizes > 1, sizes)
        weights = np.ones(len(images))
        if several.any():
            place = np.repeat(np.arange(len(sizes)), sizes)[several]
            weights[several] = self._weights(rows.stored[several], rows.valid[several], place)
        places = np.add.reduceat(weights * images, first[:-1])
        return PlaceLogits(first, places.astype(np.float32), images)

    @torch.inference_mode()
    def _weights(
        self, stored: NDArray[np.int8], valid: NDArray[np.uint8], place: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """How much each image counts in its place (N,), as the classifier weighs dates.

        Args:
            stored: embeddings (N, D).
            valid: percent (N,).
            place: number (N,) of each, rising.
        """
        logits = np.empty(len(stored))
        for start in range(0, len(stored), _CHUNK):
            part = slice(start, start + _CHUNK)
            embeddings = torch.from_numpy(self.quantiser.restore(stored[part]))
            logits[part] = self.classifier.dates(embeddings).numpy()
        logits += np.log(valid / 100)
        first = np.concatenate([[0], np.flatnonzero(np.diff(place)) + 1])
        sizes = np.diff(np.concatenate([first, [len(place)]]))
        weights = np.exp(logits - np.repeat(np.maximum.reduceat(logits, first), sizes))
        return np.asarray(weights / np.repeat(np.add.reduceat(weights, first), sizes))
