"""The training loop, and what goes into it."""

from geoseg.training.balance import (
    class_aware_weights,
    retrain_classifier,
    square_root_weights,
)
from geoseg.training.classify import TaughtClassifier, classify, is_begun, train_classifier
from geoseg.training.gather import Material, gather, new_segmenter, teaches
from geoseg.training.loop import StepReport, TrainingChips, TrainingResult, train
from geoseg.training.negatives import hard_negatives
from geoseg.training.place_samples import PlaceSamples, choose_labels
from geoseg.training.pretrain import pretrain
from geoseg.training.schedule import learning_rate

__all__ = [
    "Material",
    "PlaceSamples",
    "StepReport",
    "TaughtClassifier",
    "TrainingChips",
    "TrainingResult",
    "choose_labels",
    "class_aware_weights",
    "classify",
    "gather",
    "hard_negatives",
    "is_begun",
    "learning_rate",
    "new_segmenter",
    "pretrain",
    "retrain_classifier",
    "square_root_weights",
    "teaches",
    "train",
    "train_classifier",
]
