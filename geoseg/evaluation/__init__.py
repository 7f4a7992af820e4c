"""Scores of maps against their truth, and models against each other."""

from geoseg.evaluation.candidates import Candidate, find_candidates
from geoseg.evaluation.comparison import Comparison, compare_units
from geoseg.evaluation.score import Scores, score_map
from geoseg.evaluation.units import Plan, Unit, make_plan, map_of, run_unit

__all__ = [
    "Candidate",
    "Comparison",
    "Plan",
    "Scores",
    "Unit",
    "compare_units",
    "find_candidates",
    "make_plan",
    "map_of",
    "run_unit",
    "score_map",
]
