"""Embeddings in a byte a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Quantiser"]

_MOST = 127  # of a stored number, to either side of 0
_MARGIN = 0.5  # of the range that was seen, added at both ends
_LEAST_RANGE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quantiser:
    """A scale and an offset a dimension: embedding = stored * scale + offset."""

    scale: NDArray[np.float32]  # (D,), above 0
    offset: NDArray[np.float32]  # (D,)

    @classmethod
    def fit(cls, sample: NDArray[np.float32]) -> Quantiser:
        """The one that holds all of a sample (N, D), and half its range more at both ends.

        A random sample hardly ever shows what is rare, and the rare is what is looked for: the
        margin costs one of eight bits and keeps it from being cut off.
        """
        low, high = sample.min(axis=0), sample.max(axis=0)
        wide = np.maximum(high - low, _LEAST_RANGE) * (1 + 2 * _MARGIN)
        return cls(
            scale=(wide / (2 * _MOST)).astype(np.float32),
            offset=((low + high) / 2).astype(np.float32),
        )

    def store(self, embeddings: NDArray[np.float32]) -> NDArray[np.int8]:
        """Embeddings (N, D) as they are stored; what lies beyond the range is cut to it."""
        return np.rint(self._scaled(embeddings)).clip(-_MOST, _MOST).astype(np.int8)

    def restore(self, stored: NDArray[np.int8]) -> NDArray[np.float32]:
        """Embeddings (N, D) from what was stored, to half a scale where nothing was cut."""
        return stored.astype(np.float32) * self.scale + self.offset

    def cut_off(self, embeddings: NDArray[np.float32]) -> int:
        """How many numbers of embeddings (N, D) lie beyond the range."""
        return int(np.count_nonzero(np.abs(self._scaled(embeddings)) > _MOST + 0.5))

    def fold(self, weight: NDArray[np.float32], bias: float) -> tuple[NDArray[np.float32], float]:
        """Weights (D,) and bias for stored numbers that do what these do for embeddings."""
        return (weight * self.scale).astype(np.float32), bias + float(weight @ self.offset)

    def to_dict(self) -> dict[str, list[float]]:
        """As JSON holds it, exactly."""
        return {"scale": self.scale.tolist(), "offset": self.offset.tolist()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Quantiser:
        """From `to_dict`.

        Raises:
            KeyError: a field is missing.
        """
        return cls(
            scale=np.asarray(fields["scale"], dtype=np.float32),
            offset=np.asarray(fields["offset"], dtype=np.float32),
        )

    def _scaled(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        return (embeddings - self.offset) / self.scale
