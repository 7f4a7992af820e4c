"""The pivot on disk: knots in Zarr, made block by block, and cubes of days."""

from geoseg.pivot.storage.build import STORE, PivotPlan, build_pivot
from geoseg.pivot.storage.cube import CubePlan, as_dataset, daily, write_cube, write_geotiff
from geoseg.pivot.storage.intake import common_grid, read_acquisition, reflectance_scales
from geoseg.pivot.storage.knots import Source, StoredPivot, open_store
from geoseg.pivot.storage.update import UpdatePlan, update_pivot

__all__ = [
    "STORE",
    "CubePlan",
    "PivotPlan",
    "Source",
    "StoredPivot",
    "UpdatePlan",
    "as_dataset",
    "build_pivot",
    "common_grid",
    "daily",
    "open_store",
    "read_acquisition",
    "reflectance_scales",
    "update_pivot",
    "write_cube",
    "write_geotiff",
]
