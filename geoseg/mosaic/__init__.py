"""The maps of overlapping scenes become one map."""

from geoseg.mosaic.dates import dates_of
from geoseg.mosaic.files import source_path
from geoseg.mosaic.grid import mosaic_grid
from geoseg.mosaic.join import MapOfScene, grids_of, mosaic_maps
from geoseg.mosaic.merge import Rule

__all__ = [
    "MapOfScene",
    "Rule",
    "dates_of",
    "grids_of",
    "mosaic_grid",
    "mosaic_maps",
    "source_path",
]
