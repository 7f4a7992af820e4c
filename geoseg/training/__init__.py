"""The training loop, and what goes into it."""

from geoseg.training.gather import Material, gather, new_segmenter, teaches
from geoseg.training.loop import StepReport, TrainingChips, TrainingResult, train
from geoseg.training.schedule import learning_rate

__all__ = [
    "Material",
    "StepReport",
    "TrainingChips",
    "TrainingResult",
    "gather",
    "learning_rate",
    "new_segmenter",
    "teaches",
    "train",
]
