"""The training loop."""

from geoseg.training.loop import StepReport, TrainingChips, TrainingResult, train
from geoseg.training.schedule import learning_rate

__all__ = ["StepReport", "TrainingChips", "TrainingResult", "learning_rate", "train"]
