"""Whole scenes through networks."""

from geoseg.inference.chance import Mapper, probabilities
from geoseg.inference.common_grid import mosaic_grid
from geoseg.inference.dates import dates_of
from geoseg.inference.maps import Prediction
from geoseg.inference.mosaic import MapOfScene, grids_of, mosaic_maps
from geoseg.inference.mosaic_files import source_path
from geoseg.inference.plan import MappingPlan, plan_mapping, plan_tiles, within_memory
from geoseg.inference.predict import open_input, predict_scene

__all__ = [
    "MapOfScene",
    "Mapper",
    "MappingPlan",
    "Prediction",
    "dates_of",
    "grids_of",
    "mosaic_grid",
    "mosaic_maps",
    "open_input",
    "plan_mapping",
    "plan_tiles",
    "predict_scene",
    "probabilities",
    "source_path",
    "within_memory",
]
