"""The learned back-end: a transformer over acquisitions, alone or upon a physical posterior."""

from geoseg.pivot.learned.pivot import LearnedPivot, LearnedSettings
from geoseg.pivot.learned.posterior import LearnedPosterior
from geoseg.pivot.learned.training import Episode, train_learned

__all__ = ["Episode", "LearnedPivot", "LearnedPosterior", "LearnedSettings", "train_learned"]
