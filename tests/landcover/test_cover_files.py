import numpy as np
import pytest
import rasterio
from affine import Affine
from cogs import faults_of_cog
from odc.geo.geobox import GeoBox
from PIL import Image

from geoseg.errors import SceneError
from geoseg.labels import IGNORE
from geoseg.landcover.files import (
    Panel,
    draw_panels,
    gsd_name,
    read_classes,
    read_shares,
    write_classes,
    write_shares,
)
from geoseg.landcover.legends import UNRESOLVED, find_legend
from geoseg.landcover.shares import Shares

GRID = GeoBox((2, 3), Affine(20, 0, 500_000, 0, -20, 7_200_000), "EPSG:32633")
CODES = np.array([[10, 40, UNRESOLVED], [80, IGNORE, 100]], dtype=np.uint8)


def test_a_class_map_is_read_back_with_its_grid_and_shows_the_colours_of_its_legend(tmp_path):
    path = tmp_path / "classes.tif"

    write_classes(path, CODES, GRID, find_legend("worldcover"), {"model": "m"})

    codes, grid = read_classes(path)
    np.testing.assert_array_equal(codes, CODES)
    assert grid.affine == GRID.affine
    assert faults_of_cog(path) == []
    with rasterio.open(path) as raster:
        assert raster.colormap(1)[10] == (0x00, 0x64, 0x00, 255)
        assert raster.nodata == IGNORE
        assert raster.tags()["LEGEND"] == "worldcover"
        assert "40=cropland" in raster.tags()["CLASSES"].split(",")
        assert raster.tags()["model"] == "m"
    with pytest.raises(SceneError, match=r"none\.tif does not exist; check the path"):
        read_classes(tmp_path / "none.tif")


def test_shares_are_read_back_to_the_last_digit(tmp_path):
    share = np.random.default_rng(0).uniform(size=(2, 2, 3))
    share[:, 0, 1] = np.nan
    shares = Shares.of(share, GRID)

    write_shares(tmp_path / "shares.tif", shares, ("a", "b"), {})

    back = read_shares(tmp_path / "shares.tif")
    np.testing.assert_array_equal(back.share, shares.share)
    np.testing.assert_array_equal(back.area_m2, shares.area_m2)
    assert faults_of_cog(tmp_path / "shares.tif") == []
    with rasterio.open(tmp_path / "shares.tif") as raster:
        assert raster.descriptions == ("a", "b", "area_m2")


def test_a_picture_holds_the_colours_of_what_it_shows(tmp_path):
    legend = find_legend("worldcover")

    draw_panels(
        tmp_path / "map.png", [[Panel("one", CODES, 20.0), Panel("two", CODES, 20.0)]], legend
    )

    with Image.open(tmp_path / "map.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(2**24)}
    assert {(0x00, 0x64, 0x00), (0xF0, 0x96, 0xFF), (0x00, 0x64, 0xC8)} <= colours


def test_names_of_pixel_sizes_sort_as_the_sizes_do():
    assert [gsd_name(gsd) for gsd in (2.0, 2.5, 10.0, 100.0)] == ["002m", "002.5m", "010m", "100m"]
