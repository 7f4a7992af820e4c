"""Scores of a class map against outlines, over a part of the scene."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from rasterio.windows import Window

from geoseg.errors import ConfigError
from geoseg.grids import raster_grid
from geoseg.labels import place_labels
from geoseg.metrics import ClassScore, confusion_matrix, score_classes
from geoseg.scenes import open_raster, reading

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import geopandas as gpd
    from numpy.typing import NDArray

    from geoseg.labels import ClassScheme, Dating

__all__ = ["Scores", "score_map"]

_STRIP_PX = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """How a map agrees with its truth."""

    classes: Mapping[str, ClassScore]  # by class name, the ground included
    confusion: NDArray[np.int64]  # (K, K), rows are the truth
    pixels: int  # scored

    @property
    def mean_iou(self) -> float:
        """Mean IoU over the classes beside the ground that the truth holds; NaN without one."""
        held = [s.iou for s in list(self.classes.values())[1:] if s.pixels > 0]
        return float(np.mean(held)) if held else float("nan")


def score_map(
    classes: Path,
    outlines: gpd.GeoDataFrame,
    scheme: ClassScheme,
    window: Window,
    *,
    dating: Dating | None = None,
    frames: gpd.GeoSeries | None = None,
) -> Scores:
    """Scores over the mapped pixels of a window, those on the edges of outlines included.

    Args:
        classes: a class map.
        outlines: the truth, with `class_name`, in any CRS.
        scheme: gives each class its id.
        window: the part to score, in pixels of the map.
        dating: which of the outlines show the time of the scene; all when None.
        frames: where all was outlined, in any CRS; everywhere when None.

    Raises:
        SceneError: the map cannot be read.
        LabelError: the outlines do not overlap the map.
        ConfigError: the window holds no mapped pixel.
    """
    size = len(scheme.classes)
    confusion = np.zeros((size, size), dtype=np.int64)
    with open_raster(classes) as raster, reading(classes):
        grid = raster_grid(raster)
        labels = place_labels(outlines, grid, scheme, dating=dating, frames=frames)
        for top in range(window.row_off, window.row_off + window.height, _STRIP_PX):
            height = min(_STRIP_PX, window.row_off + window.height - top)
            strip = Window(window.col_off, top, window.width, height)
            truth = labels.burn(
                grid.translate_pix(window.col_off, top).crop((height, window.width))
            )
            confusion += confusion_matrix(truth, raster.read(1, window=strip), size)
    if not confusion.sum():
        raise ConfigError(f"{classes} holds no mapped pixel in the part to score; check the split.")
    by_class = dict(zip(scheme.names, score_classes(confusion), strict=True))
    return Scores(classes=by_class, confusion=confusion, pixels=int(confusion.sum()))
