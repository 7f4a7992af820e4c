"""Where one scene lies relative to another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely
from odc.geo.geobox import GeoBox
from rasterio import Affine
from rasterio.enums import Resampling
from rasterio.features import rasterize
from rasterio.warp import reproject
from rasterio.windows import Window

from geoseg.errors import SceneError
from geoseg.grids import crs_of, gsd_m, part_of, require_metres
from geoseg.scenes.coregister import PATCH_PX, Pair, Shift, shift_of_pairs, spread
from geoseg.scenes.reader import bands_of, open_scene

if TYPE_CHECKING:
    from collections.abc import Iterator

    import geopandas as gpd
    from numpy.typing import NDArray

    from geoseg.scenes.reader import SceneReader
    from geoseg.scenes.scene import Scene

__all__ = ["scene_shift_m"]

_COMPARED = ("red", "green", "pan")  # of two pairs as near to each other, the first
_MOST_PATCHES = 8  # to each side
_STEPS = 20  # along a side, when it is brought to another CRS
_MARGIN_PX = 4  # read around a patch, for what is interpolated at its edge


def scene_shift_m(
    reference: Scene,
    other: Scene,
    *,
    unstable: gpd.GeoDataFrame | None = None,
    pixel_m: float | None = None,
) -> Shift | None:
    """The shift of a scene from a reference; None where it could not be measured.

    The bands that are nearest in wavelength, of red, green and panchromatic, are compared. Up to 64
    patches of 256 px are read, spread over the ground that both scenes cover.

    Args:
        reference: in metres.
        other: in any CRS.
        unstable: outlines to leave out, in any CRS: ice, lakes, slumps.
        pixel_m: at which they are compared; the coarser of both when None.

    Raises:
        SceneError: a scene has no such band, or its file cannot be read.
        GridError: the reference is not in metres.
    """
    one, two = _compared_bands(reference, other)
    with open_scene(reference, [one]) as first, open_scene(other, [two]) as second:
        require_metres(crs_of(first.grid), "Shifts between scenes")
        gsds = gsd_m(first.grid), gsd_m(second.grid)
        pixel_m = max(gsds) if pixel_m is None else pixel_m
        grid = _common_grid(first.grid, second.grid, pixel_m)
    if grid is None:
        return None
    # What is finer is averaged while it is read: memory does not grow with how fine it is.
    factors = [max(1, int(pixel_m / own + 1e-6)) for own in gsds]
    with (
        open_scene(reference, [one], coarser=factors[0]) as first,
        open_scene(other, [two], coarser=factors[1]) as second,
    ):
        found = shift_of_pairs([_pair(first, second, p, unstable) for p in _patches(grid)])
    if found is None:
        return None
    return Shift(
        x_m=found.dx * pixel_m,
        y_m=-found.dy * pixel_m,
        unc_m=found.unc * pixel_m,
        samples=found.tiles,
    )


def _compared_bands(reference: Scene, other: Scene) -> tuple[str, str]:
    """One band of each, as near in wavelength as they have."""
    pairs = [
        (abs(_centre_um(reference, one) - _centre_um(other, two)), one, two)
        for one in _COMPARED
        for two in _COMPARED
        if one in reference.bands and two in other.bands
    ]
    if not pairs:
        lacking = other if any(n in reference.bands for n in _COMPARED) else reference
        raise SceneError(
            f"scene {lacking.id} has none of the bands {', '.join(_COMPARED)}, by which its shift "
            f"is measured, but {', '.join(lacking.bands)}; compare outlines instead."
        )
    return min(pairs, key=lambda pair: pair[0])[1:]


def _centre_um(scene: Scene, name: str) -> float:
    centre = bands_of(scene, [name])[0].centre_um
    assert centre is not None  # as each band of light has
    return centre


def _common_grid(one: GeoBox, other: GeoBox, pixel_m: float) -> GeoBox | None:
    """Whole pixels on the ground that both cover, from the corner of the first on."""
    both = one.extent & other.extent.to_crs(
        crs_of(one), resolution=other.boundingbox.span_x / _STEPS
    )
    if both.is_empty:
        return None
    box = both.boundingbox
    corner_x, corner_y = one.boundingbox.left, one.boundingbox.top
    left = int(np.ceil((box.left - corner_x) / pixel_m - 1e-6))
    top = int(np.ceil((corner_y - box.top) / pixel_m - 1e-6))
    columns = int(np.floor((box.right - corner_x) / pixel_m + 1e-6)) - left
    rows = int(np.floor((corner_y - box.bottom) / pixel_m + 1e-6)) - top
    if rows < 1 or columns < 1:
        return None
    affine = Affine(pixel_m, 0, corner_x + left * pixel_m, 0, -pixel_m, corner_y - top * pixel_m)
    return GeoBox((rows, columns), affine, one.crs)


def _patches(grid: GeoBox) -> Iterator[GeoBox]:
    """Grids of one shape, side by side, or spread evenly where that were too many."""
    shape = tuple(min(n, PATCH_PX) for n in grid.shape)
    rows, columns = (
        spread(n, size, min(-(-n // size), _MOST_PATCHES))
        for n, size in zip(grid.shape, shape, strict=True)
    )
    for row in rows:
        for column in columns:
            yield part_of(grid, Window(column, row, shape[1], shape[0]))


def _pair(
    first: SceneReader, second: SceneReader, grid: GeoBox, unstable: gpd.GeoDataFrame | None
) -> Pair:
    """Both scenes on one grid, and what of them may be compared."""
    reference, other = _read_on(first, grid), _read_on(second, grid)
    stable = np.isfinite(reference)
    if unstable is not None:
        stable &= ~_burnt(unstable, grid)
    return Pair(reference, stable, other, np.isfinite(other))


def _read_on(reader: SceneReader, grid: GeoBox) -> NDArray[np.float32]:
    """The one band of a reader (H, W) on another grid; NaN where it has none."""
    out = np.full(grid.shape, np.nan, dtype=np.float32)
    extent = grid.extent.to_crs(crs_of(reader.grid), resolution=grid.boundingbox.span_x / _STEPS)
    edges = np.array([~reader.grid.affine * point for point in extent.exterior.coords])
    left, top = np.floor(edges.min(axis=0)).astype(int) - _MARGIN_PX
    right, bottom = np.ceil(edges.max(axis=0)).astype(int) + _MARGIN_PX
    window = Window(int(left), int(top), int(right - left), int(bottom - top))
    image, valid = reader.read(window)
    reproject(
        np.where(valid, image[0], np.float32(np.nan)),
        out,
        src_transform=part_of(reader.grid, window).affine,
        src_crs=crs_of(reader.grid).to_wkt(),
        src_nodata=np.nan,
        dst_transform=grid.affine,
        dst_crs=crs_of(grid).to_wkt(),
        dst_nodata=np.nan,
        resampling=Resampling.bilinear,
    )
    return out


def _burnt(outlines: gpd.GeoDataFrame, grid: GeoBox) -> NDArray[np.bool_]:
    """Pixels (H, W) that an outline touches."""
    placed = outlines.geometry.to_crs(crs_of(grid))
    near = placed[placed.intersects(shapely.box(*grid.boundingbox.bbox))]
    if near.empty:
        return np.zeros(grid.shape, dtype=bool)
    burnt = rasterize(near, out_shape=grid.shape, transform=grid.affine, all_touched=True)
    return np.asarray(burnt > 0)
