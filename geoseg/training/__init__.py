"""The training loop, and what goes into it."""

from geoseg.training.balance import (
    class_aware_weights,
    retrain_classifier,
    square_root_weights,
)
from geoseg.training.classify import TaughtClassifier, classify, is_begun, train_classifier
from geoseg.training.compiling import compile_problem
from geoseg.training.gather import Material, gather, new_segmenter, teaches
from geoseg.training.launch import Fleet, run_ranks
from geoseg.training.loop import StepReport, TrainingChips, TrainingResult, train
from geoseg.training.negatives import hard_negatives
from geoseg.training.place_samples import PlaceSamples, choose_labels
from geoseg.training.pretrain import pretrain
from geoseg.training.ranks import Devices, require_shares
from geoseg.training.schedule import learning_rate
from geoseg.training.slurm import job_script, submit_job

__all__ = [
    "Devices",
    "Fleet",
    "Material",
    "PlaceSamples",
    "StepReport",
    "TaughtClassifier",
    "TrainingChips",
    "TrainingResult",
    "choose_labels",
    "class_aware_weights",
    "classify",
    "compile_problem",
    "gather",
    "hard_negatives",
    "is_begun",
    "job_script",
    "learning_rate",
    "new_segmenter",
    "pretrain",
    "require_shares",
    "retrain_classifier",
    "run_ranks",
    "square_root_weights",
    "submit_job",
    "teaches",
    "train",
    "train_classifier",
]
