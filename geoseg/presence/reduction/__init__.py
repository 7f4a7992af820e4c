"""From the probabilities of pixels to the presence of something in a chip."""

from geoseg.presence.reduction.compare import ReductionScore, compare_reductions
from geoseg.presence.reduction.learned import LearnedReduction, cross_validated, fit_reduction
from geoseg.presence.reduction.objects import FEATURES, ObjectRule, features_of, find_objects
from geoseg.presence.reduction.rules import maximum, noisy_or, top_k_mean
from geoseg.presence.reduction.truth import present_by_outlines

__all__ = [
    "FEATURES",
    "LearnedReduction",
    "ObjectRule",
    "ReductionScore",
    "compare_reductions",
    "cross_validated",
    "features_of",
    "find_objects",
    "fit_reduction",
    "maximum",
    "noisy_or",
    "present_by_outlines",
    "top_k_mean",
]
