import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine
from conftest import write_raster
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioIOError
from rasterio.shutil import copy
from rasterio.transform import from_origin

from geoseg.config import OutlineSettings
from geoseg.errors import ConfigError, GridError, OutputError, SceneError
from geoseg.grids import crs_of, raster_grid, same_grid
from geoseg.inference import Prediction
from geoseg.labels import GLACIER, IGNORE, ClassScheme, geodesic_areas_km2
from geoseg.mosaic import (
    MapOfScene,
    dates_of,
    grids_of,
    join,
    mosaic_grid,
    mosaic_maps,
    source_path,
)
from geoseg.vectorize import outline_classes

LAKES = ClassScheme.of({"glacier": "#4aa8d8", "lake": "#1f4fd8"})
# Pixels that touch the disc by a corner only are no glacier of their own.
WHOLE = OutlineSettings(min_area_m2=10_000, min_hole_m2=0, simplify_px=0)


def day(year, month=8, date=1):
    return datetime(year, month, date, tzinfo=UTC)


def write_map(folder, name, stored, *, scheme=GLACIER, year=2000, classes=None, **place):
    """A map whose class is the most probable one, from stored probabilities (K, H, W)."""
    stored = np.asarray(stored, dtype=np.uint8)
    if classes is None:
        classes = np.where(stored[0] == IGNORE, IGNORE, stored.argmax(axis=0))
    folder.mkdir(exist_ok=True)
    prediction = Prediction(
        classes=folder / f"{name}_classes.tif", probability=folder / f"{name}_probability.tif"
    )
    write_raster(prediction.classes, classes.astype(np.uint8), nodata=IGNORE, **place)
    with rasterio.open(prediction.classes, "r+") as raster:
        raster.update_tags(CLASSES=",".join(scheme.names))
    write_raster(prediction.probability, stored, nodata=IGNORE, **place)
    return MapOfScene(scene_id=name, start=day(year), end=day(year, 8, 2), prediction=prediction)


def mosaic(maps, folder, *, rule="best", grid=None, scheme=GLACIER, on_block=lambda *_: None):
    return mosaic_maps(
        maps,
        rule=rule,
        grid=mosaic_grid(grids_of(maps)) if grid is None else grid,
        prediction=Prediction(
            classes=folder / "classes.tif", probability=folder / "probability.tif"
        ),
        scheme=scheme,
        tags={"recipe_hash": "abc"},
        on_block=on_block,
    )


def read(path):
    with rasterio.open(path) as raster:
        return raster.read()


def random_stored(shape, *, seed=0, bands=2):
    rng = np.random.default_rng(seed)
    chance = rng.dirichlet(np.ones(bands), shape).transpose(2, 0, 1)
    return np.rint(chance * 250).astype(np.uint8)


def grid_at(crs, x, y, *, shape=(100, 120), pixel=30.0):
    return GeoBox(shape, Affine(pixel, 0, x, 0, -pixel, y), crs)


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["best", "newest", "vote"])
@pytest.mark.parametrize("block_px", [1024, 37])
def test_two_overlapping_halves_give_the_whole_back(tmp_path, monkeypatch, rule, block_px):
    monkeypatch.setattr(join, "_BLOCK_PX", block_px)
    whole = random_stored((90, 130))
    whole[:, 20:30, 40:90] = IGNORE
    west = write_map(tmp_path, "west", whole[:, :80, :70])
    at = (500_000 + 50 * 30, 3_100_000 - 10 * 30)
    east = write_map(tmp_path, "east", whole[:, 10:, 50:], year=2001, origin=at)

    made = mosaic([west, east], tmp_path / "out", rule=rule)

    expected = np.full_like(whole, IGNORE)
    expected[:, :80, :70] = whole[:, :80, :70]
    expected[:, 10:, 50:] = whole[:, 10:, 50:]
    known = expected[0] != IGNORE
    classes = np.where(known, expected.argmax(axis=0), IGNORE)
    stored, found = read(made.probability), read(made.classes)[0]
    if rule == "vote":
        # The mean of two equal probabilities is itself, but for the rounding of their sum.
        several = known & (np.arange(90)[:, None] >= 10) & (np.arange(90)[:, None] < 80)
        several &= (np.arange(130) >= 50) & (np.arange(130) < 70)
        np.testing.assert_array_equal(stored[:, ~several], expected[:, ~several])
        np.testing.assert_allclose(
            stored[:, several].astype(int), expected[:, several].astype(int), atol=1
        )
    else:
        np.testing.assert_array_equal(stored, expected)
    np.testing.assert_array_equal(found, classes)


# One row of five pixels: all three maps; A and B; B and C; C alone; none.
A = [[200, 50, 0], [100, 150, 0], [255] * 3, [255] * 3, [255] * 3]
B = [[25, 225, 0], [110, 140, 0], [230, 10, 10], [255] * 3, [255] * 3]
C = [[240, 0, 10], [255] * 3, [100, 40, 110], [0, 10, 240], [255] * 3]


@pytest.mark.parametrize(
    ("rule", "classes", "source", "chance"),
    [
        ("best", [0, 1, 0, 2, 255], [3, 1, 2, 3, 0], [[240, 0, 10], [100, 150, 0]]),
        ("newest", [1, 1, 0, 2, 255], [2, 2, 2, 3, 0], [[25, 225, 0], [110, 140, 0]]),
        ("vote", [0, 1, 0, 2, 255], [3, 1, 2, 3, 0], [[155, 92, 3], [105, 145, 0]]),
    ],
)
def test_each_rule_on_three_maps(tmp_path, rule, classes, source, chance):
    stored = [np.array(one).T[:, None] for one in (A, B, C)]
    # B is the newest, A the oldest; the order of the list does not matter to the rule.
    maps = [
        write_map(tmp_path, name, one, scheme=LAKES, year=year)
        for name, one, year in zip("abc", stored, (1990, 2020, 2005), strict=True)
    ]

    made = mosaic(maps, tmp_path / "out", rule=rule, scheme=LAKES)

    assert read(made.classes)[0, 0].tolist() == classes
    assert read(source_path(made))[0, 0].tolist() == source
    assert read(made.probability)[:, 0, :2].T.tolist() == chance
    assert (read(made.probability)[:, 0, 4] == IGNORE).all()


@pytest.mark.parametrize("rule", ["best", "newest", "vote"])
def test_of_equals_the_newest_is_taken(tmp_path, rule):
    stored = np.full((2, 4, 6), 125) + np.array([-25, 25])[:, None, None]
    old = write_map(tmp_path, "old", stored, year=1990)
    new = write_map(tmp_path, "new", stored, year=2010)

    for maps, number in (([old, new], 2), ([new, old], 1)):
        made = mosaic(maps, tmp_path / "out", rule=rule)

        assert (read(source_path(made)) == number).all()


@pytest.mark.parametrize(("first", "last", "newest"), [(1960, 1990, 2), (1980, 2010, 1)])
def test_film_dated_to_years_counts_as_of_their_middle(tmp_path, first, last, newest):
    stored = random_stored((4, 6))
    film = replace(write_map(tmp_path, "film", stored), start=day(first), end=day(last))
    landsat = write_map(tmp_path, "landsat", stored, year=1985)

    made = mosaic([film, landsat], tmp_path / "out", rule="newest")

    assert (read(source_path(made)) == newest).all()


@pytest.mark.slow
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_maps_on_the_pixels_of_the_mosaic_are_copied(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("maps")
    side, shift = st.integers(1, 40), st.integers(-30, 30)
    maps, arrays, places = [], [], []
    for i in range(data.draw(st.integers(1, 3))):
        arrays.append(random_stored((data.draw(side), data.draw(side)), seed=i))
        places.append((data.draw(shift), data.draw(shift)))
        at = (500_000 + places[i][1] * 30, 3_100_000 - places[i][0] * 30)
        maps.append(write_map(folder, str(i), arrays[i], year=2000 + i, origin=at))

    made = mosaic(maps, folder / "out", rule="newest")

    top, left = np.min(places, axis=0)
    expected = np.full_like(read(made.probability), IGNORE)
    for array, (row, column) in zip(arrays, places, strict=True):
        height, width = array.shape[1:]
        rows = slice(row - top, row - top + height)
        expected[:, rows, column - left : column - left + width] = array
    np.testing.assert_array_equal(read(made.probability), expected)


def test_all_three_maps_are_cloud_optimised_and_name_their_making(tmp_path):
    one = write_map(tmp_path, "one", random_stored((30, 50)))

    made = mosaic([one], tmp_path / "out", rule="vote")

    for path in (made.classes, made.probability, source_path(made)):
        with rasterio.open(path) as raster:
            assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert raster.tags()["recipe_hash"] == "abc"
            assert raster.tags()["MOSAIC_RULE"] == "vote"
    with rasterio.open(made.classes) as raster:
        assert raster.tags()["CLASSES"] == "ground,glacier"
        assert raster.nodata == IGNORE
    with rasterio.open(source_path(made)) as raster:
        assert (raster.dtypes, raster.nodata) == (("uint16",), 0)
        assert json.loads(raster.tags()["SCENES"]) == [
            {
                "id": "one",
                "start": "2000-08-01T00:00:00+00:00",
                "end": "2000-08-02T00:00:00+00:00",
            }
        ]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "classes.tif",
        "probability.tif",
        "source.tif",
    ]


def disc_maps(folder, centre, places, *, radius_m=3000):
    """Maps of a disc about a longitude and latitude, each on the grid of a place."""
    geod = pyproj.Geod(ellps="WGS84")
    maps = []
    for name, grid in places.items():
        column, row = np.meshgrid(np.arange(grid.shape.x) + 0.5, np.arange(grid.shape.y) + 0.5)
        x, y = grid.affine * (column, row)
        to_degrees = pyproj.Transformer.from_crs(crs_of(grid), 4326, always_xy=True)
        east, north = to_degrees.transform(x, y)
        _, _, away_m = geod.inv(
            np.full_like(east, centre[0]), np.full_like(east, centre[1]), east, north
        )
        glacier = np.where(away_m < radius_m, 225, 25)
        place = {"crs": grid.crs.to_wkt(), "origin": (grid.affine.c, grid.affine.f)}
        pixel = grid.resolution.x
        maps.append(
            write_map(folder, name, np.stack([250 - glacier, glacier]), pixel=pixel, **place)
        )
    return maps


def about(crs, centre, *, east_m, north_m, width_m=6000, height_m=9000, pixel=30.0):
    """A grid whose middle lies east and north, in the axes of its CRS, of a place in degrees."""
    x, y = pyproj.Transformer.from_crs(4326, crs, always_xy=True).transform(*centre)
    shape = (int(height_m / pixel), int(width_m / pixel))
    left, top = x + east_m - width_m / 2, y + north_m + height_m / 2
    # An odd part of a pixel, so that the grids of two zones do not meet by chance.
    return grid_at(crs, round(left, 1) + 7.3, round(top, 1) + 11.9, shape=shape, pixel=pixel)


# Where, and the sides that two scenes see of it: each misses a part of the glacier.
PLACES = {
    "two UTM zones": ((90.0, 28.0), ("EPSG:32645", -1500, 0), ("EPSG:32646", 1500, 0)),
    "antimeridian": ((180.0, 70.5), ("EPSG:32660", -1500, 0), ("EPSG:32601", 1500, 0)),
    "pole beside UTM": ((-45.0, 83.0), ("EPSG:3413", -1500, 0), ("EPSG:32623", 1500, 0)),
    "north pole": ((0.0, 90.0), ("EPSG:3413", -1500, 0), ("EPSG:3995", 1500, 0)),
    "south pole": ((0.0, -90.0), ("EPSG:3031", 0, 0), ("EPSG:3031", 1500, 0)),
    "antarctica": ((180.0, -78.0), ("EPSG:3031", 1500, 0), ("EPSG:32701", 1500, 0)),
}


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["best", "vote"])
@pytest.mark.parametrize("place", PLACES)
def test_a_glacier_on_two_scenes_is_one_outline_of_its_true_area(tmp_path, place, rule):
    centre, *sides = PLACES[place]
    grids = {
        crs.replace(":", "") + str(i): about(crs, centre, east_m=east, north_m=north)
        for i, (crs, east, north) in enumerate(sides)
    }
    maps = disc_maps(tmp_path, centre, grids)

    made = mosaic(maps, tmp_path / "out", rule=rule)

    with rasterio.open(made.classes) as raster:
        grid = raster_grid(raster)
        outlines = outline_classes(raster.read(1), grid, GLACIER, WHOLE)
    assert len(outlines) == 1
    assert max(grid.shape) < 500  # nothing of the rest of the Earth
    assert not shapely.get_num_interior_rings(outlines.geometry).any()
    # The projection is a local one, so that pixels are square on the ground.
    assert shapely.Point(0, 0).distance(grid.extent.geom.centroid) < 5000
    area_km2 = geodesic_areas_km2(outlines, bend_m=1500)
    np.testing.assert_allclose(area_km2, np.pi * 9, rtol=0.01)


def test_each_map_alone_holds_less_than_the_glacier(tmp_path):
    centre, *sides = PLACES["two UTM zones"]
    grids = {crs: about(crs, centre, east_m=e, north_m=n) for crs, e, n in sides}

    maps = disc_maps(tmp_path, centre, {k.replace(":", ""): g for k, g in grids.items()})

    for one in maps:
        with rasterio.open(one.prediction.classes) as raster:
            outlines = outline_classes(raster.read(1), raster_grid(raster), GLACIER, WHOLE)
        assert geodesic_areas_km2(outlines, bend_m=1500).sum() < 0.95 * np.pi * 9


def test_resampled_pixels_are_those_of_the_maps(tmp_path):
    centre = (90.0, 28.0)
    grid = about("EPSG:32645", centre, east_m=0, north_m=0)
    stored = random_stored(grid.shape)
    stored[:, 100:150, 50:150] = IGNORE
    origin = (grid.affine.c, grid.affine.f)
    one = write_map(tmp_path, "one", stored, crs="EPSG:32645", origin=origin)
    target = mosaic_grid([grid], crs=pyproj.CRS.from_epsg(32646))

    made = mosaic([one], tmp_path / "out", grid=target)

    classes, found = read(made.classes)[0], read(made.probability)
    rows, columns = np.nonzero(classes != IGNORE)
    to_map = pyproj.Transformer.from_crs(32646, 32645, always_xy=True)
    x, y = to_map.transform(*(target.affine * (columns + 0.5, rows + 0.5)))
    column, row = ~grid.affine * (x, y)
    # The nearest pixel is within half a pixel, and an eighth for the approximate transformation.
    reach = np.array([-0.126, 0, 0.126])
    candidates = [
        stored[
            :,
            np.clip(np.floor(row + dy), 0, 299).astype(int),
            np.clip(np.floor(column + dx), 0, 199).astype(int),
        ]
        for dy in reach
        for dx in reach
    ]
    assert np.any([(c == found[:, rows, columns]).all(axis=0) for c in candidates], axis=0).all()
    lost = (classes == IGNORE).sum() / classes.size
    assert lost < 0.5  # the hole, and the corners of a turned map


def test_blocks_without_a_map_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(join, "_BLOCK_PX", 64)
    one = write_map(tmp_path, "one", random_stored((60, 60)))
    far = write_map(tmp_path, "far", random_stored((60, 60)), origin=(530_000, 3_100_000))
    opened, told = [], []
    actual = join._read_nearest
    monkeypatch.setattr(join, "_read_nearest", lambda p, g: opened.append(p.name) or actual(p, g))

    made = mosaic([one, far], tmp_path / "out", on_block=lambda *at: told.append(at))

    # The far map begins at column 1000, in the block of 960 to 1024, and ends in the next.
    assert sorted(set(opened)) == sorted(
        p.name for m in (one, far) for p in (m.prediction.classes, m.prediction.probability)
    )
    assert len(opened) <= 2 * 3
    assert told == [(i, 17) for i in range(1, 18)]
    assert (read(made.classes)[0, :, 60:1000] == IGNORE).all()
    assert (read(source_path(made))[0, :, 60:1000] == 0).all()


def test_grids_that_share_pixels_keep_them():
    one = grid_at("EPSG:32645", 500_010, 3_100_005)
    other = grid_at("EPSG:32645", 500_010 + 50 * 30, 3_100_005 - 10 * 30)

    expected = grid_at("EPSG:32645", 500_010, 3_100_005, shape=(110, 170))
    assert mosaic_grid([one, other]) == expected
    assert mosaic_grid([other, one]).affine == expected.affine
    assert mosaic_grid([other], gsd_m=30) == other


def test_the_pixels_of_the_finest_map_are_kept():
    coarse = grid_at("EPSG:3413", -300_000, -1_000_000)
    fine = grid_at("EPSG:3413", -299_005, -1_000_003, pixel=10.0)

    grid = mosaic_grid([coarse, fine])

    assert grid.resolution.x == 10
    column, row = ~grid.affine * (fine.affine.c, fine.affine.f)
    assert (column % 1, row % 1) == (0, 0)
    assert grid.extent.contains(coarse.extent)


def test_another_reference_system_and_pixel_can_be_asked_for():
    grids = [grid_at("EPSG:32645", 700_000, 3_100_000), grid_at("EPSG:32646", 200_000, 3_100_000)]

    grid = mosaic_grid(grids, crs=pyproj.CRS.from_epsg(32646), gsd_m=60)

    assert crs_of(grid).to_epsg() == 32646
    assert grid.resolution.xy == (60, -60)
    for one in grids:
        # Half a pixel is left to the corner that another tool bends in another way.
        covered = one.extent.to_crs(grid.crs, resolution=100).geom
        assert grid.extent.geom.buffer(30).contains(covered)


def test_a_side_that_is_bent_in_the_mosaic_lies_within_it():
    # The upper side of this map rises 795 m above its corners in UTM.
    wide = grid_at("EPSG:3413", -250_000, -2_000_000, shape=(1000, 5000), pixel=100.0)

    grid = mosaic_grid([wide], crs=pyproj.CRS.from_epsg(32623))

    covered = wide.extent.to_crs(grid.crs, resolution=1000).geom
    assert grid.extent.geom.buffer(1).contains(covered)


def test_maps_about_a_pole_lie_within_their_mosaic():
    # The corners of this square are all at one latitude: a box by corners would have no height.
    around = grid_at("EPSG:3413", -30_000, 30_000, shape=(2000, 2000))
    beside = grid_at("EPSG:32633", 470_000, 9_300_000)

    grid = mosaic_grid([around, beside])

    pole = pyproj.Transformer.from_crs(4326, crs_of(grid), always_xy=True).transform(0, 90)
    column, row = ~grid.affine * pole
    assert 0 < column < grid.shape.x
    assert 0 < row < grid.shape.y
    assert max(grid.shape) < 25_000


def test_maps_in_degrees_are_brought_to_metres():
    grid = mosaic_grid([GeoBox((100, 200), from_origin(86, 28, 0.001, 0.001), "EPSG:4326")])

    assert crs_of(grid).axis_info[0].unit_name == "metre"
    assert grid.resolution.x == pytest.approx(98.3, abs=0.2)


@pytest.mark.parametrize(
    ("grids", "wanted", "message"),
    [
        ([], {}, "There is no map to make a mosaic of; give at least one"),
        ([0], {"gsd_m": -3}, "gsd_m = -3; give the side of a pixel in metres, above 0"),
        ([0], {"gsd_m": float("nan")}, "gsd_m = nan; give the side"),
        ([0], {"crs": pyproj.CRS.from_epsg(4326)}, "Mosaics need a scene in metres and WGS 84"),
        ([1], {}, "needs a grid with a coordinate reference system; it has none"),
        ([2, 3], {}, "all around the Earth and have no centre; take one region"),
        (
            [0],
            {"crs": pyproj.CRS.from_proj4("+proj=ortho +lat_0=-28 +lon_0=-93")},
            "EPSG:32645, 100 x 120 px of 30, top left .* has no place in unknown; leave the map",
        ),
    ],
)
def test_a_grid_that_cannot_be_is_refused(grids, wanted, message):
    known = [
        grid_at("EPSG:32645", 500_000, 3_100_000),
        grid_at(None, 500_000, 3_100_000),
        grid_at("EPSG:3413", -1500, 1500),
        grid_at("EPSG:3031", -1500, 1500),
    ]
    with pytest.raises(GridError, match=message):
        mosaic_grid([known[i] for i in grids], **wanted)


def test_the_newest_needs_no_probabilities(tmp_path):
    stored = random_stored((30, 50))
    one = write_map(tmp_path, "one", stored)
    bare = replace(one, prediction=replace(one.prediction, probability=None))
    target = Prediction(classes=tmp_path / "out" / "classes.tif", probability=None)
    wanted = {"grid": grids_of([one])[0], "scheme": GLACIER, "tags": {}, "prediction": target}

    made = mosaic_maps([bare], rule="newest", on_block=lambda *_: None, **wanted)

    assert made == target
    np.testing.assert_array_equal(read(made.classes)[0], stored.argmax(axis=0))
    assert len(list((tmp_path / "out").iterdir())) == 2
    for rule in ("best", "vote"):
        with pytest.raises(SceneError, match=r"mapped without probabilities.*`--rule newest`"):
            mosaic_maps([bare], rule=rule, on_block=lambda *_: None, **wanted)
        # The probabilities decide, even when they are not kept.
        mosaic_maps([one], rule=rule, on_block=lambda *_: None, **wanted)
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_maps_of_other_classes_are_refused_and_leave_nothing(tmp_path):
    one = write_map(tmp_path, "one", random_stored((9, 11)))
    lakes = write_map(tmp_path, "lakes", random_stored((9, 11), bands=3), scheme=LAKES)

    message = r"lakes_classes\.tif holds the classes ground,glacier,lake, and the mosaic ground,gl"
    with pytest.raises(SceneError, match=message):
        mosaic([one, lakes], tmp_path / "out")

    assert not (tmp_path / "out").exists()


def test_what_cannot_be_a_mosaic_is_refused(tmp_path):
    one = write_map(tmp_path, "one", random_stored((9, 11)))
    grid = grid_at("EPSG:32645", 500_000, 3_100_000)
    write_raster(tmp_path / "bare.tif", np.zeros((9, 11), np.uint8))
    bare = replace(one, prediction=replace(one.prediction, classes=tmp_path / "bare.tif"))
    shifted = write_map(tmp_path, "other", random_stored((9, 12)))
    apart = replace(
        one, prediction=replace(one.prediction, probability=shifted.prediction.probability)
    )
    third = write_map(tmp_path, "third", random_stored((9, 11), bands=3))
    wrong = write_map(tmp_path, "wrong", random_stored((9, 11)), classes=np.full((9, 11), 7))
    nowhere = write_map(tmp_path, "nowhere", random_stored((9, 11)), crs=None)

    with pytest.raises(SceneError, match="A mosaic of 0 maps; give 1 to 65535"):
        mosaic([], tmp_path / "out", grid=grid)
    with pytest.raises(ConfigError, match=r"no rule 'bset' for a mosaic\. Did you mean 'best'"):
        mosaic([one], tmp_path / "out", rule="bset")
    with pytest.raises(SceneError, match=r"holds the classes \(no tag CLASSES\)"):
        mosaic([bare], tmp_path / "out")
    with pytest.raises(GridError, match=r"are not on the same pixels .* 9 x 11 px .* 9 x 12 px"):
        mosaic([apart], tmp_path / "out")
    with pytest.raises(SceneError, match="has 3 bands for 2 classes"):
        mosaic([third], tmp_path / "out")
    with pytest.raises(SceneError, match="holds a class 7 and names 2"):
        mosaic([wrong], tmp_path / "out")
    with pytest.raises(GridError, match="has no coordinate reference system"):
        mosaic([nowhere], tmp_path / "out", grid=grid)
    assert not list(tmp_path.glob("out/*"))


def test_a_damaged_map_leaves_no_mosaic(tmp_path):
    one = write_map(tmp_path, "one", random_stored((200, 300)))
    path = one.prediction.probability
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(SceneError, match="truncated or damaged"):
        mosaic([one], tmp_path / "out")

    assert list((tmp_path / "out").iterdir()) == []


def boxes(*bounds, crs="EPSG:32645"):
    at = [(500_000 + 30 * x, 3_100_000 - 30 * y) for x, y in np.reshape(bounds, (-1, 2))]
    shapes = [shapely.box(*a, *b) for a, b in zip(at[::2], at[1::2], strict=True)]
    return gpd.GeoDataFrame(geometry=shapes, crs=crs)


@pytest.mark.parametrize("block_px", [2048, 7])
def test_an_outline_is_dated_by_the_scenes_that_its_pixels_are_of(tmp_path, monkeypatch, block_px):
    monkeypatch.setattr("geoseg.mosaic.dates._BLOCK_PX", block_px)
    old = write_map(tmp_path, "old", random_stored((40, 60)), year=1999)
    new = write_map(
        tmp_path, "new", random_stored((40, 60)), year=2003, origin=(501_500, 3_100_000)
    )
    made = mosaic([new, old], tmp_path / "out", rule="newest")
    # In the old one; on the seam, at column 50; in the new one; beyond both.
    outlines = boxes(0, 0, 20, 30, 40, 10, 60, 20, 50, 0, 100, 40, 200, 0, 210, 10)
    outlines.index = [5, 3, 8, 1]

    for asked in (outlines, outlines.to_crs(3413)):
        dated = dates_of(asked, source_path(made))

        assert dated.index.tolist() == [5, 3, 8, 1]
        assert dated["scenes"].tolist() == ["old", "new,old", "new", ""]
        starts = [None if d is None else d.isoformat() for d in dated["start_date"]]
        ends = [None if d is None else d.isoformat() for d in dated["end_date"]]
        assert starts == ["1999-08-01", "1999-08-01", "2003-08-01", None]
        assert ends == ["1999-08-02", "2003-08-02", "2003-08-02", None]


def test_no_outline_has_no_date_but_the_columns(tmp_path):
    made = mosaic([write_map(tmp_path, "one", random_stored((9, 11)))], tmp_path / "out")

    dated = dates_of(gpd.GeoDataFrame(geometry=[], crs="EPSG:32645"), source_path(made))

    assert isinstance(dated, pd.DataFrame)
    assert dated.columns.tolist() == ["start_date", "end_date", "scenes"]
    assert dated.empty


def test_what_is_no_source_map_is_refused(tmp_path):
    made = mosaic([write_map(tmp_path, "one", random_stored((9, 11)))], tmp_path / "out")

    with pytest.raises(SceneError, match=r"does not list its scenes in the tag SCENES; give the"):
        dates_of(boxes(0, 0, 1, 1), made.classes)
    with pytest.raises(GridError, match="outlines have no coordinate reference system"):
        dates_of(boxes(0, 0, 1, 1, crs=None), source_path(made))


def test_a_mosaic_of_one_map_has_its_grid(tmp_path):
    one = write_map(tmp_path, "one", random_stored((9, 11)))

    made = mosaic([one], tmp_path / "out")

    with rasterio.open(made.classes) as raster, rasterio.open(one.prediction.classes) as own:
        assert same_grid(raster_grid(raster), raster_grid(own))


def write_in_degrees(folder, name, left, stored):
    """A map of pixels of 0.01 degrees that begins at a longitude and 70.5 N."""
    return write_map(folder, name, stored, crs="EPSG:4326", origin=(left, 70.5), pixel=0.01)


@pytest.mark.parametrize("left", [179.0, -181.0])
def test_longitudes_beyond_the_antimeridian_are_the_same_ground_as_two_maps(tmp_path, left):
    stored = random_stored((50, 200))
    one = write_in_degrees(tmp_path, "one", left, stored)
    west = write_in_degrees(tmp_path, "west", 179.0, stored[:, :, :100])
    east = write_in_degrees(tmp_path, "east", -180.0, stored[:, :, 100:])
    grid = mosaic_grid(grids_of([west, east]))

    whole = mosaic([one], tmp_path / "one_map", grid=grid)
    halves = mosaic([west, east], tmp_path / "two_maps", grid=grid)

    expected = read(halves.classes)
    assert (expected != IGNORE).mean() > 0.8
    # The approximate transformation takes a few pixels from a neighbour; a shift would half of all.
    found = read(whole.classes)
    assert ((found == IGNORE) != (expected == IGNORE)).mean() < 2e-3
    assert (found != expected).mean() < 0.02
    assert mosaic_grid(grids_of([one])).shape == grid.shape


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:4267"])
def test_longitudes_from_0_to_360_are_all_taken(tmp_path, crs):
    stored = random_stored((20, 360))
    place = {"crs": crs, "pixel": 1.0}
    one = write_map(tmp_path, "one", stored, origin=(0, 80), **place)
    usual = write_map(tmp_path, "usual", np.roll(stored, 180, axis=2), origin=(-180, 80), **place)
    grid = mosaic_grid(grids_of([usual]), crs=pyproj.CRS.from_epsg(3413), gsd_m=20_000)

    found, expected = (
        read(mosaic([m], tmp_path / m.scene_id, grid=grid).classes) for m in (one, usual)
    )

    assert (expected != IGNORE).mean() > 0.5
    assert ((found == IGNORE) != (expected == IGNORE)).mean() < 1e-3
    assert (found != expected).mean() < 0.02


def test_a_mosaic_that_cannot_be_written_names_its_folder(tmp_path, monkeypatch):
    def fail(*_):
        raise RasterioIOError("Write failed.") from RuntimeError("No space left on device")

    one = write_map(tmp_path, "one", random_stored((9, 11)))
    monkeypatch.setattr("geoseg.mosaic.files.MosaicWriter.write", fail)

    message = r"The maps in .*out could not be written: the disk is full; free space there and"
    with pytest.raises(OutputError, match=message):
        mosaic([one], tmp_path / "out")

    assert list((tmp_path / "out").iterdir()) == []


def test_a_disk_that_fills_up_as_a_file_is_closed_leaves_no_mosaic(tmp_path, monkeypatch):
    # rasterio logs what fails while it closes a file, and raises nothing.
    one = write_map(tmp_path, "one", random_stored((9, 11)))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))

    with pytest.raises(OutputError, match="the disk is full; free space there and run again"):
        mosaic([one], tmp_path / "out")

    assert list((tmp_path / "out").iterdir()) == []


def test_a_copy_that_was_cut_short_is_no_mosaic(tmp_path, monkeypatch):
    def cut_short(source, target, **how):
        copy(source, target, **how)
        target.write_bytes(target.read_bytes()[: target.stat().st_size * 3 // 4])

    one = write_map(tmp_path, "one", random_stored((200, 300)))
    monkeypatch.setattr("geoseg.scenes.cog.copy", cut_short)

    with pytest.raises(OutputError, match=r"tif was cut short while it was written; see that"):
        mosaic([one], tmp_path / "out")

    assert list((tmp_path / "out").iterdir()) == []


def test_a_mosaic_without_probabilities_leaves_none_of_an_earlier_one(tmp_path):
    one = write_map(tmp_path, "one", random_stored((9, 11)))
    made = mosaic([one], tmp_path / "out")
    (tmp_path / "out" / "SHA256SUMS").write_text("of the earlier one")
    wanted = {"grid": grids_of([one])[0], "scheme": GLACIER, "tags": {}}
    bare = Prediction(classes=made.classes, probability=None)

    mosaic_maps([one], rule="best", on_block=lambda *_: None, prediction=bare, **wanted)

    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert names == {"classes.tif", "source.tif"}
