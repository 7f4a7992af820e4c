"""Maps of one place at many dates, each made consistent with the others."""

from geoseg.inventory.consistency.smooth import (
    GSD_TAG,
    MapOfSurvey,
    filled_path,
    moved_back_by,
    write_consistent,
)
from geoseg.inventory.consistency.transitions import (
    Transitions,
    evidence_of_chances,
    evidence_of_classes,
    smooth_classes,
    transitions_of,
)

__all__ = [
    "GSD_TAG",
    "MapOfSurvey",
    "Transitions",
    "evidence_of_chances",
    "evidence_of_classes",
    "filled_path",
    "moved_back_by",
    "smooth_classes",
    "transitions_of",
    "write_consistent",
]
