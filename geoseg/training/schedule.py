"""The learning rate as a function of the step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geoseg.config import LearningSettings, TrainingSettings

__all__ = ["learning_rate"]


def learning_rate(step: int, settings: TrainingSettings | LearningSettings) -> float:
    """Learning rate of a step counted from 0: a linear rise, then half a cosine down to 0.

    Loshchilov and Hutter 2017, without restarts.
    """
    rise = min(1.0, (step + 1) / (settings.warmup_steps + 1))
    fall = 0.5 * (1 + math.cos(math.pi * step / settings.steps))
    return settings.learning_rate * rise * fall
