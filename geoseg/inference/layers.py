"""What is kept of every pixel: its class, and if wanted probabilities and uncertainty, as bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from geoseg.errors import ConfigError
from geoseg.inference.maps import PROBABILITY_STEPS
from geoseg.labels import IGNORE

if TYPE_CHECKING:
    from torch import Tensor

    from geoseg.config import InferenceSettings
    from geoseg.inference.maps import Prediction

__all__ = ["Layers", "most_likely"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """Which layers are kept, in this order: class, probabilities, uncertainty."""

    classes: int  # of the scheme
    probability: bool
    uncertainty: str  # none, entropy, spread

    @classmethod
    def of(cls, classes: int, kept: Prediction, settings: InferenceSettings) -> Layers:
        """What these maps of a scene need.

        Raises:
            ConfigError: an uncertainty is to be written, and none is asked for.
        """
        if kept.uncertainty is not None and settings.uncertainty == "none":
            raise ConfigError(
                f"{kept.uncertainty} is to hold an uncertainty and inference.uncertainty = none; "
                "set it to entropy or spread."
            )
        return cls(
            classes=classes,
            # The correction for the prevalence of a place is made from probabilities.
            probability=kept.probability is not None or settings.prevalence_reach_m > 0,
            uncertainty="none" if kept.uncertainty is None else settings.uncertainty,
        )

    @property
    def count(self) -> int:
        """Of layers."""
        return 1 + self.classes * self.probability + (self.uncertainty != "none")

    @property
    def class_alone(self) -> bool:
        """Whether only the most likely class is kept."""
        return self.count == 1

    def encode(self, chance: Tensor, spread: Tensor | None) -> Tensor:
        """Layers (N, B, H, W) uint8 of probabilities (N, K, H, W) and their spread (N, H, W)."""
        found = [most_likely(chance)[:, None]]
        if self.probability:
            found.append(_steps(chance))
        if self.uncertainty == "entropy":
            found.append(_steps(_entropy(chance))[:, None])
        if self.uncertainty == "spread":
            assert spread is not None
            found.append(_steps(spread)[:, None])
        return torch.cat(found, dim=1)


def most_likely(chance: Tensor) -> Tensor:
    """The class (N, H, W) uint8 of the highest of (N, K, H, W); the first of equals.

    As argmax, which takes three times as long: it does not run along memory.
    """
    best = chance[:, 0]
    found = torch.zeros(best.shape, dtype=torch.uint8, device=chance.device)
    for index in range(1, chance.shape[1]):
        found.masked_fill_(chance[:, index] > best, index)
        if index + 1 < chance.shape[1]:
            best = torch.maximum(best, chance[:, index])
    return found


def _entropy(chance: Tensor) -> Tensor:
    """Entropy (N, H, W) over that of classes all equally likely: 0 to 1."""
    return -torch.xlogy(chance, chance).sum(dim=1) / math.log(max(2, chance.shape[1]))


def _steps(share: Tensor) -> Tensor:
    stored: Tensor = (share * PROBABILITY_STEPS).round_().clamp_(0, IGNORE - 1).to(torch.uint8)
    return stored
