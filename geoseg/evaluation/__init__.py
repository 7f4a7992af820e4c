"""Maps against their truth."""

from geoseg.evaluation.score import Scores, score_map

__all__ = ["Scores", "score_map"]
