"""Work in units: who does them, and which are done."""

from geoseg.scale.engine import Engine
from geoseg.scale.manifest import Manifest
from geoseg.scale.run import run_units
from geoseg.scale.state import WorkState, find_records, read_state
from geoseg.scale.unit import Ended, Failure, Summary, Unit, inputs_hash

__all__ = [
    "Ended",
    "Engine",
    "Failure",
    "Manifest",
    "Summary",
    "Unit",
    "WorkState",
    "find_records",
    "inputs_hash",
    "read_state",
    "run_units",
]
