"""Pure scores of class rasters."""

from geoseg.metrics.confusion import ClassScore, confusion_matrix, score_classes

__all__ = ["ClassScore", "confusion_matrix", "score_classes"]
