"""A picture of a scene with its outlines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from rasterio.windows import Window

from geoseg.files import writing
from geoseg.scenes import open_scene

if TYPE_CHECKING:
    from pathlib import Path

    import geopandas as gpd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from geoseg.labels import ClassScheme
    from geoseg.scenes import Scene

__all__ = ["backdrop", "draw_map"]

_WIDTH_PX = 1200
_STRETCH = (1, 99)  # percentiles
# False colour sets ice and snow apart from rock; the first row that a scene has is used.
_COMPOSITES = (
    ("swir16", "nir08", "green"),
    ("swir16", "nir", "green"),
    ("nir08", "red", "green"),
    ("nir", "red", "green"),
    ("red", "green", "blue"),
)


def draw_map(
    scene: Scene,
    outlines: gpd.GeoDataFrame,
    scheme: ClassScheme,
    *,
    path: Path,
    held_out: Window | None,
) -> None:
    """Write a PNG of a scene, its outlines over it, and the held-out part framed.

    Args:
        scene: drawn in false colour where it has the bands, in grey otherwise.
        outlines: with `class_name`, in any CRS.
        scheme: gives the colours.
        path: the PNG.
        held_out: framed, in pixels of the scene.
    """
    picture, grid = backdrop(scene)
    left, bottom, right, top = grid.boundingbox.bbox
    figure = Figure(figsize=(12, 12 * grid.shape.y / grid.shape.x + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.imshow(picture, extent=(left, right, bottom, top), interpolation="nearest")
    placed = outlines.to_crs(grid.crs.to_wkt()) if grid.crs else outlines
    for c in scheme.foreground:
        own = placed[placed["class_name"] == c.name]
        if not own.empty:
            own.plot(ax=axes, facecolor=(*_rgb(c.colour), 0.3), edgecolor=c.colour, linewidth=1)
    if held_out is not None:
        _frame(
            axes, grid.affine * (held_out.col_off, held_out.row_off), held_out, grid.resolution.x
        )
    axes.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[], xlabel="", ylabel="")
    axes.set_title(f"{scene.id}, {scene.sensor_id}, {scene.start:%Y-%m-%d}", loc="left")
    patches = [Patch(facecolor=c.colour, label=c.name.replace("_", " ")) for c in scheme.foreground]
    axes.legend(handles=patches, loc="lower left", framealpha=0.9)
    with writing(path) as aside:
        figure.savefig(aside, dpi=100)


def backdrop(scene: Scene, longest_px: int = _WIDTH_PX) -> tuple[NDArray[np.float32], GeoBox]:
    """A scene (H, W, 3) stretched to 0 to 1, white where there is no data, and its grid.

    In false colour where it has the bands, in grey otherwise; the grid is that of the scene, the
    picture has no more than `longest_px` a side.
    """
    bands = next((c for c in _COMPOSITES if set(c) <= set(scene.bands)), (next(iter(scene.bands)),))
    with open_scene(scene, bands) as reader:
        image, valid = reader.overview(longest_px)
        grid = reader.grid
    for band in image:
        if valid.any():
            low, high = np.percentile(band[valid], _STRETCH)
            band[:] = np.clip((band - low) / max(high - low, 1e-9), 0, 1)
    image[:, ~valid] = 1
    return np.moveaxis(np.broadcast_to(image, (3, *valid.shape)), 0, -1), grid


def _frame(axes: Axes, corner: tuple[float, float], window: Window, pixel: float) -> None:
    size = (window.width * abs(pixel), -window.height * abs(pixel))
    axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor="white", linewidth=1.5))
    axes.annotate(
        "held out", corner, xytext=(6, -6), textcoords="offset points", va="top", color="white"
    )


def _rgb(colour: str) -> tuple[float, float, float]:
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red / 255, green / 255, blue / 255
