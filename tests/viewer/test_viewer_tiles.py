"""Rasters on tiles of the map: where pixels come to lie, and what they cost."""

import subprocess
import sys

import numpy as np
import pytest
import rasterio
from pyproj import Transformer
from rasterio.transform import from_origin
from viewer.viewed_folder import (
    CRS,
    HEIGHT,
    NORTH_M,
    PIXEL_M,
    WEST_M,
    WIDTH,
    place,
    scene_image,
)

from geoseg.page.missing import NotThereError
from geoseg.viewer.tiles import RasterTiles, deepest_zoom, degrees_of, grid_over, tile_grid

TO_MAP = Transformer.from_crs(CRS, "EPSG:3857", always_xy=True)
EDGE_M = 20_037_508.342789244  # of the map


def tile_of(row, column, zoom):
    """The tile that a pixel lies on, and its row and column there, reckoned apart from the code."""
    x, y = TO_MAP.transform(WEST_M + (column + 0.5) * PIXEL_M, NORTH_M - (row + 0.5) * PIXEL_M)
    side = 2 * EDGE_M / 2**zoom
    across, down = (x + EDGE_M) / side, (EDGE_M - y) / side
    inside = int((down % 1) * 256), int((across % 1) * 256)
    return (zoom, int(across), int(down)), inside


@pytest.mark.parametrize("zoom", [9, 12, 15])
def test_a_pixel_lies_where_the_projection_puts_it(tmp_path, zoom):
    image = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    image[150:170, 320:350] = 200  # wider than a pixel of the farthest tile
    path = place(tmp_path / "one.tif", image)
    tile, inside = tile_of(160, 335, zoom)

    values, valid = RasterTiles().read(path, [1], tile_grid(*tile))

    assert values[0][inside] == 200
    assert valid[inside]
    rows, columns = np.nonzero(values[0] == 200)
    if zoom == 12:
        assert np.hypot(rows.mean() - inside[0], columns.mean() - inside[1]) < 2


def test_the_first_tile_is_the_whole_world_and_there_is_none_beyond_the_last():
    left, bottom, right, top = tile_grid(0, 0, 0).boundingbox.bbox

    assert np.allclose([left, bottom, right, top], [-EDGE_M, -EDGE_M, EDGE_M, EDGE_M])
    for none in ((0, 1, 0), (3, 0, 8), (25, 0, 0), (2, 4, 0)):
        with pytest.raises(NotThereError):
            tile_grid(*none)


def test_a_tile_elsewhere_holds_nothing(tmp_path):
    path = place(tmp_path / "one.tif", np.full((HEIGHT, WIDTH), 7, np.uint8))

    _, valid = RasterTiles().read(path, [1], tile_grid(12, 100, 100))

    assert not valid.any()


@pytest.mark.parametrize("kind", ["nodata", "nan", "mask", "alpha"])
@pytest.mark.parametrize("zoom", [9, 13])
def test_what_is_no_data_is_not_valid_from_near_and_from_afar(tmp_path, kind, zoom):
    image = np.full((1, HEIGHT, WIDTH), 90, np.float32 if kind == "nan" else np.uint8)
    void = np.zeros((HEIGHT, WIDTH), dtype=bool)
    void[:, : WIDTH // 2] = True
    if kind in {"nodata", "nan"}:
        image[0][void] = 0 if kind == "nodata" else np.nan
        path = place(tmp_path / "one.tif", image, nodata=0 if kind == "nodata" else None)
    elif kind == "alpha":
        both = np.concatenate([image, np.where(void, 0, 255).astype(np.uint8)[None]])
        path = place(tmp_path / "one.tif", both, photometric="minisblack", alpha="yes")
    else:
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
            path = place(tmp_path / "one.tif", image)
            with rasterio.open(path, "r+") as raster:
                raster.write_mask(~void)
    west, east = (tile_of(120, column, zoom) for column in (100, 300))

    _, without = RasterTiles().read(path, [1], tile_grid(*west[0]))
    values, known = RasterTiles().read(path, [1], tile_grid(*east[0]))

    assert not without[west[1]]
    assert known[east[1]]
    assert values[0][east[1]] == 90


def test_from_afar_images_are_averaged_and_classes_are_not(tmp_path):
    stripes = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    stripes[:, ::3] = 90
    path = place(tmp_path / "one.tif", stripes)
    tile, inside = tile_of(130, 200, 8)

    image, _ = RasterTiles().read(path, [1], tile_grid(*tile))
    classes, _ = RasterTiles().read(path, [1], tile_grid(*tile), classes=True)

    assert 20 < image[0][inside] < 40
    assert classes[0][inside] == 0


def large(path, *, overviews=False, side=9000):
    """A raster that is brighter to the east, in whole steps."""
    steps = np.repeat(np.arange(9, dtype=np.uint8) * 25 + 5, side // 9)
    profile = {
        "driver": "GTiff",
        "height": side,
        "width": side,
        "count": 1,
        "dtype": "uint8",
        "crs": CRS,
        "transform": from_origin(WEST_M, NORTH_M, 2, 2),
        "compress": "deflate",
        "tiled": True,
    }
    with rasterio.open(path, "w", **profile) as raster:
        for top in range(0, side, 1000):
            rows = np.broadcast_to(steps, (1000, side))
            raster.write(rows, 1, window=((top, top + 1000), (0, side)))
        if overviews:
            raster.build_overviews([2, 4, 8, 16])
    return path


@pytest.mark.slow
def test_a_large_raster_looks_the_same_with_and_without_overviews(tmp_path):
    plain = large(tmp_path / "plain.tif")
    with_overviews = large(tmp_path / "overviews.tif", overviews=True)
    grid = grid_over(degrees_of_file(plain), 200)

    one, known = RasterTiles().read(plain, [1], grid)
    other, also = RasterTiles().read(with_overviews, [1], grid)

    assert known[100, 100]
    both = known & also
    assert both.mean() > 0.9
    assert np.median(np.abs(one[0][both].astype(int) - other[0][both])) <= 1
    assert one[0][100, 190] > one[0][100, 10] + 150


def degrees_of_file(path):
    from geoseg.grids import raster_grid

    with rasterio.open(path) as raster:
        return degrees_of(raster_grid(raster))


def test_across_the_antimeridian_east_is_more_than_180(tmp_path):
    image = np.ones((10, 1000), dtype=np.uint8)
    path = write_at(tmp_path / "fiji.tif", image, "EPSG:32760", (800_000, 8_000_000), 300)

    west, _, east, _ = degrees_of_file(path)

    assert west < 180 < east < 184


def write_at(path, image, crs, origin, pixel):
    from conftest import write_raster

    return write_raster(path, image, crs=crs, origin=origin, pixel=pixel)


def test_the_deepest_zoom_shows_every_pixel(tmp_path):
    from geoseg.grids import raster_grid

    path = place(tmp_path / "one.tif", scene_image()[:1])
    with rasterio.open(path) as raster:
        zoom = deepest_zoom(raster_grid(raster))

    width = abs(tile_grid(zoom, 0, 0).resolution.x)
    stretched = PIXEL_M / np.cos(np.radians(28))
    assert width <= stretched < 2 * width


PEAK = """
import resource, sys
from pathlib import Path
from geoseg.viewer.tiles import RasterTiles, tile_grid
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
tiles = RasterTiles()
for tile in eval(sys.argv[2]):
    values, valid = tiles.read(Path(sys.argv[1]), [1], tile_grid(*tile))
    print(int(valid.sum()), int(values.max()))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_film_of_40000_px_without_overviews_is_shown_in_little_memory(tmp_path):
    path, side, pixel = tmp_path / "film.tif", 40_000, 0.5
    profile = {"driver": "GTiff", "height": side, "width": side, "count": 1, "dtype": "uint8"}
    with rasterio.open(
        path,
        "w",
        **profile,
        crs=CRS,
        transform=from_origin(WEST_M, NORTH_M, pixel, pixel),
        tiled=True,
        sparse_ok=True,
    ) as raster:
        bright = np.full((4000, 4000), 180, np.uint8)
        raster.write(bright, 1, window=((18_000, 22_000), (18_000, 22_000)))
    middle = (side * pixel / 2 / PIXEL_M,) * 2
    tiles = [tile_of(*middle, zoom)[0] for zoom in (11, 13, 15, 18)]

    done = subprocess.run(
        [sys.executable, "-c", PEAK, path, repr(tiles)],
        capture_output=True,
        text=True,
        check=True,
    )

    *seen, grown_kib = done.stdout.split("\n")[:-1]
    assert [line.split()[1] for line in seen] == ["180"] * 4
    assert int(grown_kib) < 500 * 1024  # the film is 1.6 GB
