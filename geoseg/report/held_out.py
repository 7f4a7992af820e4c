"""The maps of a comparison, put together from what each unit mapped of its held-out ground."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling

from geoseg.chips import UNSEEN
from geoseg.evaluation import map_of
from geoseg.grids import gsd_m
from geoseg.labels import IGNORE
from geoseg.report.differences import DifferenceMap
from geoseg.report.map import backdrop
from geoseg.scenes import open_raster, reading

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from geoseg.data import LabelledScene
    from geoseg.evaluation import Plan

__all__ = ["map_differences"]

_LONGEST_PX = 480


def map_differences(plan: Plan) -> Iterator[DifferenceMap]:
    """Each labelled scene as each model maps it on ground that it was not trained on.

    Of several seeds the first is shown.

    Raises:
        SceneError: a map or a scene cannot be read.
    """
    return (_map_differences(plan, source) for source in plan.sources.labelled)


def _map_differences(plan: Plan, source: LabelledScene) -> DifferenceMap:
    picture, whole = backdrop(source.scene, _LONGEST_PX)
    height, width = picture.shape[:2]
    scale = whole.affine.scale(whole.shape.x / width, whole.shape.y / height)
    grid = GeoBox((height, width), whole.affine * scale, whole.crs)
    mapped: dict[str, NDArray[np.uint8]] = {}
    for unit in plan.units:
        if unit.seed == plan.recipe.seed:
            whole_map = mapped.setdefault(
                unit.candidate.name, np.full((height, width), IGNORE, dtype=np.uint8)
            )
            held = plan.folds.roles(grid, held_out=unit.fold) == UNSEEN
            whole_map[held] = _read_small(map_of(plan, unit, source), (height, width))[held]
    return DifferenceMap(
        scene_id=source.scene.id,
        backdrop=np.rint(picture * 255).astype(np.uint8),
        truth=source.labels_on(grid, margin_m=0).burn(grid),
        mapped=mapped,
        gsd_m=gsd_m(grid),
    )


def _read_small(path: Path, shape: tuple[int, int]) -> NDArray[np.uint8]:
    with open_raster(path) as raster, reading(path):
        classes = raster.read(1, out_shape=shape, resampling=Resampling.nearest)
    return np.asarray(classes, dtype=np.uint8)
