import geopandas as gpd
import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from geoseg.data import simulate
from geoseg.data.simulate import make_landscape, surface
from geoseg.data.simulate.render import area_average
from geoseg.data.simulate.surface import CLEAN_ICE, DEBRIS_ICE, LAKE, POND, SLUMP
from geoseg.errors import ConfigError
from geoseg.grids import gsd_m
from geoseg.scenes import open_scene, read_scene
from geoseg.sensors import find_sensor

SIZE_M = 3000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("landscape")
    simulate(out, seed=1, size_m=SIZE_M)
    return out


@pytest.mark.slow
def test_a_seed_gives_the_same_pixels_and_another_seed_others(folder, tmp_path):
    simulate(tmp_path / "same", seed=1, size_m=SIZE_M)
    simulate(tmp_path / "other", seed=2, size_m=SIZE_M)

    for path in sorted(folder.glob("scenes/*/*.tif")):
        name = path.relative_to(folder)
        with rasterio.open(path) as one, rasterio.open(tmp_path / "same" / name) as same:
            np.testing.assert_array_equal(one.read(), same.read())
        with rasterio.open(path) as one, rasterio.open(tmp_path / "other" / name) as other:
            assert (one.read() != other.read()).any()


@pytest.mark.slow
def test_a_landscape_that_is_there_is_left_alone(folder):
    told = []

    simulate(folder, seed=1, size_m=SIZE_M, on_step=told.append)

    assert told == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_every_class_lies_in_the_west_and_in_the_east_of_2025(seed):
    classes = surface(make_landscape(seed=seed), 2025).classes
    border = classes.shape[1] * 5 // 8
    for part in (classes[:, :border], classes[:, border:]):
        for wanted in (CLEAN_ICE, DEBRIS_ICE, LAKE, SLUMP):
            assert (part == wanted).sum() > 400, f"class {wanted}"
    assert (classes == POND).any()


@pytest.mark.slow
def test_ice_shrinks_and_lakes_and_slumps_grow_with_the_years():
    landscape = make_landscape(seed=0)
    years = [surface(landscape, year).classes for year in (1965, 1985, 2005, 2025)]

    ice = [np.isin(c, (CLEAN_ICE, DEBRIS_ICE, POND)).sum() for c in years]
    lakes = [(c == LAKE).sum() for c in years]
    slumps = [(c == SLUMP).sum() for c in years]

    assert ice == sorted(ice, reverse=True)
    assert lakes == sorted(lakes)
    assert slumps == sorted(slumps)
    assert slumps[0] == 0 < slumps[-1]


@pytest.mark.slow
def test_objects_keep_their_id(folder):
    early = gpd.read_file(folder / "outlines.gpkg", layer="outlines_1990")
    late = gpd.read_file(folder / "outlines.gpkg", layer="outlines_2025")
    glaciers = [
        set(o.track_id[o.class_name.isin(["clean_ice", "debris_ice"])]) for o in (early, late)
    ]

    assert glaciers[1] <= glaciers[0]
    for track in glaciers[1]:
        before, after = (o[o.track_id == track].union_all() for o in (early, late))
        assert after.intersection(before).area > 0.9 * after.area


@pytest.mark.parametrize(
    ("scene_id", "expected_m"),
    [
        ("hexagon-kh9-mapping_19750812", 5),
        ("landsat-5_19900820", 30),
        ("sentinel-2_20250815", 10),
        ("sentinel-1_20250820", 10),
    ],
)
def test_scenes_open_at_the_resolution_of_their_sensor(folder, scene_id, expected_m):
    scene = read_scene(folder / "scenes" / f"{scene_id}.json")

    with open_scene(scene) as reader:
        side = round(SIZE_M / expected_m)
        assert gsd_m(reader.grid) == expected_m
        assert reader.grid.shape == (side, side)
        assert reader.read(Window(0, 0, side, side)).valid.mean() > 0.99
    known = find_sensor(scene.sensor_id)
    assert all(known.band(name) for name in scene.bands)


def test_outlines_lie_on_the_bright_ice_of_the_scene(folder):
    scene = read_scene(folder / "scenes" / "sentinel-2_20250815.json")
    outlines = gpd.read_file(folder / "outlines.gpkg", layer="outlines_2025")
    with open_scene(scene, ["green"]) as reader:
        image = reader.read(Window(0, 0, 300, 300)).image[0]
        transform = reader.grid.affine
    ice = rasterio.features.geometry_mask(
        outlines[outlines.class_name == "clean_ice"].geometry, image.shape, transform, invert=True
    )

    assert image[ice].mean() > 1.5 * image[~ice].mean()


def test_outlines_are_valid_and_their_area_is_that_of_their_pixels(folder):
    outlines = gpd.read_file(folder / "outlines.gpkg", layer="outlines_2025")
    classes = surface(make_landscape(seed=1, size_m=SIZE_M), 2025).classes

    assert outlines.geometry.is_valid.all()
    for number, name in ((CLEAN_ICE, "clean_ice"), (LAKE, "proglacial_lake")):
        pixels_km2 = (classes == number).sum() * 25e-6
        assert outlines.area_km2[outlines.class_name == name].sum() == pytest.approx(
            pixels_km2, rel=0.02
        )


def test_averaging_drops_no_pixel():
    fine = np.arange(24 * 36, dtype=np.float32).reshape(24, 36)

    coarse = area_average(fine, 30)

    assert coarse.shape == (4, 6)
    assert coarse.mean() == pytest.approx(fine.mean())
    assert coarse[0, 1] == fine[:6, 6:12].mean()


def test_a_landscape_too_small_for_a_glacier_is_refused():
    with pytest.raises(ConfigError, match="holds no glacier; give at least 2400 m"):
        make_landscape(seed=0, size_m=600)
