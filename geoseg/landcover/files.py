"""Maps of land cover on disk: classes with their colours, shares of each class, pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from odc.geo.geobox import GeoBox

from geoseg.files import writing
from geoseg.grids import raster_grid
from geoseg.labels import IGNORE
from geoseg.landcover.legends import UNRESOLVED
from geoseg.landcover.shares import Shares, millimetres
from geoseg.scenes.cog import open_cog
from geoseg.scenes.raster import open_raster, reading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from geoseg.landcover.legends import Legend

__all__ = ["Panel", "draw_panels", "gsd_name", "read_classes", "read_shares", "write_classes"]
__all__ += ["write_shares"]

_PANEL_IN = 2.6


class Panel(NamedTuple):
    """One map of a picture."""

    title: str
    codes: NDArray[np.uint8]  # (H, W) of the legend
    gsd_m: float


def gsd_name(gsd_m: float) -> str:
    """A pixel size as file names hold it: 002m, 100m, 002.5m."""
    length = millimetres(gsd_m) / 1000
    return f"{int(length):03d}m" if length == int(length) else f"{length:05.1f}m"


def write_classes(
    path: Path,
    codes: NDArray[np.uint8],
    grid: GeoBox,
    legend: Legend,
    tags: Mapping[str, str],
) -> None:
    """Write codes of a legend as a cloud-optimised GeoTIFF with its colours; 255 is nodata."""
    with open_cog(path, grid, nodata=IGNORE, overviews="mode") as raster:
        raster.write(codes, 1)
        raster.write_colormap(1, {code: _rgba(c) for code, c in legend.colours.items()})
        named = ",".join(f"{c.code}={c.name}" for c in legend.classes)
        raster.update_tags(LEGEND=legend.name, CLASSES=named, **tags)


def read_classes(path: Path) -> tuple[NDArray[np.uint8], GeoBox]:
    """Codes (H, W) and the grid of a map.

    Raises:
        SceneError: no such file, or it cannot be read.
    """
    with open_raster(path) as raster, reading(path):
        return raster.read(1), raster_grid(raster)


def write_shares(path: Path, shares: Shares, names: Sequence[str], tags: Mapping[str, str]) -> None:
    """Write shares as a cloud-optimised GeoTIFF, a band a class and the known area in m2 last.

    In float64: shares of maps that are put together have to come out the same.
    """
    bands = np.concatenate([shares.share, shares.area_m2[None]])
    with open_cog(
        path, shares.grid, nodata=np.nan, overviews="average", bands=len(bands), dtype="float64"
    ) as raster:
        raster.write(bands)
        raster.descriptions = (*names, "area_m2")
        raster.update_tags(**tags)


def read_shares(path: Path) -> Shares:
    """Read back what `write_shares` wrote.

    Raises:
        SceneError: no such file, or it cannot be read.
    """
    with open_raster(path) as raster, reading(path):
        bands = raster.read()
        return Shares(grid=raster_grid(raster), share=bands[:-1], area_m2=bands[-1])


def draw_panels(path: Path, rows: Sequence[Sequence[Panel]], legend: Legend) -> None:
    """Write a PNG: rows of maps that begin in one corner, and what the colours mean.

    As much is drawn as all of them show.
    """
    columns = max(len(row) for row in rows)
    sides = [np.multiply(panel.codes.shape, panel.gsd_m) for row in rows for panel in row]
    height, width = np.min(sides, axis=0)
    figure = Figure(
        figsize=(_PANEL_IN * columns, (_PANEL_IN + 0.25) * len(rows) + 0.5), layout="constrained"
    )
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for row, line in zip(axes, rows, strict=True):
        for axis, panel in zip(row, line, strict=True):
            down, across = np.multiply(panel.codes.shape, panel.gsd_m)
            axis.imshow(
                _painted(panel.codes, legend), interpolation="nearest", extent=(0, across, down, 0)
            )
            axis.set_title(panel.title, fontsize=9)
            axis.set(xticks=[], yticks=[], xlim=(0, width), ylim=(height, 0))
    patches = [Patch(facecolor=c.colour, label=c.name) for c in legend.classes]
    if any((panel.codes == UNRESOLVED).any() for row in rows for panel in row):
        patches.append(
            Patch(facecolor=legend.colours[UNRESOLVED], edgecolor="black", label="unresolved")
        )
    figure.legend(
        handles=patches, loc="outside lower center", ncols=len(patches), fontsize=8, frameon=False
    )
    with writing(path) as aside:
        figure.savefig(aside, dpi=130)


def _painted(codes: NDArray[np.uint8], legend: Legend) -> NDArray[np.float64]:
    table = np.ones((256, 3))
    for code, colour in legend.colours.items():
        table[code] = to_rgb(colour)
    return np.asarray(table[codes])


def _rgba(colour: str) -> tuple[int, int, int, int]:
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue, 255
