"""Snow on outlines, and shadow, when their image was taken."""

import os
from dataclasses import replace
from datetime import UTC, datetime

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from conftest import scene_of, write_raster
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from rasterio.features import rasterize
from scipy.ndimage import binary_dilation, gaussian_filter, map_coordinates

from geoseg.config import OutlineSettings
from geoseg.data import fetch
from geoseg.data.simulate import simulate
from geoseg.data.simulate.landscape import make_landscape
from geoseg.data.simulate.surface import surface
from geoseg.errors import SceneError
from geoseg.inventory.attributes import conditions
from geoseg.inventory.attributes.conditions import conditions_of, in_shadow, snow_on_ice
from geoseg.labels import GLACIER
from geoseg.map_origin import origin_tags
from geoseg.outlining import outline_map
from geoseg.scenes import read_scene
from geoseg.scenes.scene import SunPosition

pytestmark = pytest.mark.slow

CRS = "EPSG:32645"
LEFT, TOP, PIXEL = 500_000, 3_100_000, 30.0
HEIGHT, WIDTH = 70, 110
SUN = SunPosition(azimuth=150, elevation=35)


def sun(azimuth, elevation):
    return SunPosition(azimuth=azimuth, elevation=elevation)


def patch(column, row, columns, rows):
    """A box of whole pixels."""
    left, top = LEFT + column * PIXEL, TOP - row * PIXEL
    return shapely.box(left, top - rows * PIXEL, left + columns * PIXEL, top)


def place(*polygons, classes="clean_ice", crs=CRS):
    classes = [classes] * len(polygons) if isinstance(classes, str) else classes
    return gpd.GeoDataFrame({"class_name": classes}, geometry=list(polygons), crs=crs)


def mountains(seed=0, shape=(HEIGHT, WIDTH)):
    rough = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 8)
    return (4000 + 250 * rough / rough.std()).astype(np.float32)


def two_kinds(share=0.6, seed=0, shape=(HEIGHT, WIDTH)):
    """Near infrared, and where it is that of snow: in the upper part."""
    rng = np.random.default_rng(seed)
    snow = np.zeros(shape, bool)
    snow[: round(share * shape[0])] = True
    return np.where(snow, 0.8, 0.35) + rng.normal(0, 0.05, shape), snow


def scene_with(folder, image, *, bands=("nir08",), name="scene", **extra):
    """A scene of a landsat whose sun is known."""
    sensor = extra.pop("sensor", "landsat-7")
    path = write_raster(folder / f"{name}.tif", np.asarray(image, np.float32), **extra)
    return replace(scene_of(path, bands=bands, sensor=sensor), sun=SUN)


def traced(elevation_m, light, pixel_m, *, reach_m=9000.0):
    """Shadow by following the ray to the sun from each pixel, a third of a pixel at a time."""
    azimuth = np.radians(light.azimuth)
    rows, columns = np.indices(elevation_m.shape).astype(float)
    dark = np.zeros(elevation_m.shape, bool)
    for away_px in np.arange(1 / 3, reach_m / pixel_m, 1 / 3):
        there = [rows - away_px * np.cos(azimuth), columns + away_px * np.sin(azimuth)]
        ground = map_coordinates(elevation_m, there, order=1, cval=-1e4)
        rise = away_px * pixel_m * np.tan(np.radians(light.elevation))
        dark |= ground > elevation_m + rise
    return dark


@given(
    azimuth=st.floats(0, 360),
    elevation=st.floats(0.01, 90),
    height=st.integers(1, 12),
    width=st.integers(1, 17),
)
def test_level_ground_has_no_shadow(azimuth, elevation, height, width):
    ground = np.full((height, width), 4321.0)

    assert not in_shadow(ground, sun(azimuth, elevation), ground_m=(30, 20)).any()


@pytest.mark.parametrize(
    ("azimuth", "rows", "columns"),
    [
        (0, slice(21, 25), slice(30, 31)),  # from the north, shadow to the south
        (90, slice(20, 21), slice(24, 30)),
        (180, slice(16, 20), slice(30, 31)),
        (270, slice(20, 21), slice(31, 37)),
    ],
)
def test_a_pillar_casts_a_shadow_of_its_height_away_from_the_sun(azimuth, rows, columns):
    ground = np.zeros((40, 60))
    ground[20, 30] = 126.0  # at 45 degrees: 6 columns of 20 m, 4 rows of 30 m
    expected = np.zeros(ground.shape, bool)
    expected[rows, columns] = True

    np.testing.assert_array_equal(in_shadow(ground, sun(azimuth, 45), ground_m=(20, 30)), expected)


def test_a_slope_steeper_than_the_light_is_dark():
    ground = np.repeat(np.arange(30)[:, None] * -25.0, 11, axis=1)  # falls to the south

    north = in_shadow(ground, sun(0, 39), ground_m=(30, 30))
    higher = in_shadow(ground, sun(0, 41), ground_m=(30, 30))

    assert north[1:].all()  # 39.8 degrees steep
    assert not higher.any()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 999),
    azimuth=st.floats(0, 360),
    low=st.floats(1, 80),
    more=st.floats(0, 40),
)
def test_shadow_grows_as_the_sun_sinks(seed, azimuth, low, more):
    ground = mountains(seed, (31, 43))

    deep = in_shadow(ground, sun(azimuth, low), ground_m=(30, 30))
    high = in_shadow(ground, sun(azimuth, min(low + more, 90)), ground_m=(30, 30))

    assert not (high & ~deep).any()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), azimuth=st.floats(0, 270), elevation=st.floats(5, 60))
def test_a_sun_turned_by_a_quarter_turns_the_shadow(seed, azimuth, elevation):
    assume(abs(azimuth % 90 - 45) > 0.01)
    ground = mountains(seed, (31, 43))
    clockwise = np.rot90(ground, -1)

    turned = in_shadow(clockwise, sun(azimuth + 90, elevation), ground_m=(20, 30))

    wanted = np.rot90(in_shadow(ground, sun(azimuth, elevation), ground_m=(30, 20)), -1)
    assert (turned != wanted).mean() < 0.002  # of rays that just touch


@pytest.mark.parametrize("azimuth", [3, 61, 118, 165, 224, 281, 340])
def test_shadow_is_where_a_ray_to_the_sun_meets_ground(azimuth):
    ground = mountains(seed=azimuth)
    light = sun(azimuth, 25)

    found = in_shadow(ground, light, ground_m=(30, 30))
    wanted = traced(ground, light, 30)

    assert 0.05 < wanted.mean() < 0.7
    # Shifted by one pixel, 4 to 6 in a hundred differ.
    assert (found == wanted).mean() > 0.98
    near = binary_dilation(wanted, np.ones((3, 3))) & binary_dilation(~wanted, np.ones((3, 3)))
    assert ((found != wanted) & ~near).mean() < 0.001


def test_a_void_is_not_dark_and_casts_no_shadow():
    ground = np.zeros((20, 33))
    ground[10, 12] = 500.0
    ground[10, 20] = np.nan
    dark = in_shadow(ground, sun(270, 30), ground_m=(30, 30))

    assert dark[10, 13:20].all()
    assert not dark[10, 20]
    assert dark[10, 21:26].all()  # behind it too
    ground[10, 12] = np.nan
    assert not in_shadow(ground, sun(270, 30), ground_m=(30, 30)).any()


def test_all_that_is_known_is_dark_below_the_horizon():
    ground = np.zeros((3, 4))
    ground[1, 2] = np.nan

    np.testing.assert_array_equal(
        in_shadow(ground, sun(10, -1), ground_m=(30, 30)), np.isfinite(ground)
    )


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0.1, 0.9), gain=st.floats(0.1, 5000), offset=st.floats(-9, 900))
def test_snow_is_told_from_ice_in_whatever_unit(share, gain, offset):
    nir, snow = two_kinds(share)
    ice = np.ones(nir.shape, bool)
    ice[:, :9] = False

    found = snow_on_ice(nir * gain + offset, ice)

    assert not found[~ice].any()
    assert (found == snow)[ice].mean() > 0.995


def test_the_brightest_ice_is_still_ice(tmp_path):
    _, snow = two_kinds(0.4)
    nir = np.where(snow, 0.8, 0.35)

    np.testing.assert_array_equal(snow_on_ice(nir, np.ones(nir.shape, bool)), snow)
    whole = place(patch(0, 0, WIDTH, HEIGHT))
    assert conditions_of(whole, scene_with(tmp_path, nir)).snow_share.tolist() == [0.4]


def test_what_is_saturated_is_snow():
    nir, snow = two_kinds(0.7)
    counts = np.clip(nir * 330, 1, 255).astype(np.uint8)
    assert (counts == 255).mean() > 0.4

    assert (snow_on_ice(counts, np.ones(nir.shape, bool)) == snow).mean() > 0.995


def test_bright_ground_beside_the_ice_moves_no_threshold():
    nir, snow = two_kinds()
    ice = np.ones(nir.shape, bool)
    ice[:, 60:] = False
    nir[:, 60:] = 5.0

    found = snow_on_ice(nir, ice)

    assert (found == snow)[ice].mean() > 0.995


@pytest.mark.parametrize("draw", ["normal", "uniform", "exponential", "lognormal"])
def test_ice_of_one_kind_is_not_divided(draw):
    nir = getattr(np.random.default_rng(3), draw)(size=(HEIGHT, WIDTH))

    assert snow_on_ice(nir, np.ones(nir.shape, bool)) is None


def test_a_few_rocks_make_no_snow_of_the_rest():
    nir = np.random.default_rng(0).normal(0.35, 0.02, (HEIGHT, WIDTH))
    nir[:2] = 0.05

    assert snow_on_ice(nir, np.ones(nir.shape, bool)) is None


@pytest.mark.parametrize("nir", [np.full((4, 5), 0.4), np.full((4, 5), np.nan)])
def test_ice_of_one_value_or_none_is_not_divided(nir):
    assert snow_on_ice(nir, np.ones(nir.shape, bool)) is None
    assert snow_on_ice(nir, np.zeros(nir.shape, bool)) is None


def test_each_outline_has_its_own_share_of_snow(tmp_path):
    nir, _ = two_kinds(0.5)
    scene = scene_with(tmp_path, nir)
    outlines = place(
        *(patch(5, 10, 30, 50), patch(40, 0, 20, 20), patch(60, 60, 30, 10), patch(0, 0, 4, 4)),
        classes=["clean_ice", "debris_ice", "glacier", "proglacial_lake"],
    )
    outlines.index = [7, 3, 9, 4]

    found = conditions_of(outlines, scene)

    assert found.index.tolist() == [7, 3, 9, 4]
    assert found.snow_share[:3].tolist() == pytest.approx([0.5, 1, 0], abs=0.01)
    assert np.isnan(found.snow_share[4])
    assert found.shadow_share.isna().all()


def test_ice_under_debris_moves_no_threshold(tmp_path):
    nir, _ = two_kinds(0.2)
    nir[:, 40:] = 0.1  # rubble; with it, ice would be nearer to snow
    outlines = place(
        patch(0, 0, 40, HEIGHT), patch(40, 0, 70, HEIGHT), classes=["clean_ice", "debris_ice"]
    )

    found = conditions_of(outlines, scene_with(tmp_path, nir))

    assert found.snow_share.tolist() == pytest.approx([0.2, 0], abs=0.01)


def test_pixels_without_data_count_for_neither(tmp_path):
    nir, _ = two_kinds(0.5)
    nir[:20] = np.nan  # 15 rows of snow are left
    ground = np.zeros((HEIGHT, WIDTH), np.float32)
    ground[:, 10] = 3000  # shade in the west of the sun
    dem = write_raster(tmp_path / "dem.tif", ground)
    scene = replace(scene_with(tmp_path, nir, nodata=np.nan), sun=sun(90, 45))
    whole = place(patch(0, 0, WIDTH, HEIGHT))

    blind = conditions_of(whole, replace(scene, sun=None), dem=dem)
    found = conditions_of(whole, scene, dem=dem)

    assert blind.snow_share[0] == pytest.approx(15 / 50, abs=0.005)
    assert found.shadow_share[0] == pytest.approx(10 / WIDTH)
    ground[25:] = np.nan
    voids = write_raster(tmp_path / "voids.tif", ground, nodata=np.nan)
    assert conditions_of(whole, scene, dem=voids).shadow_share[0] == pytest.approx(
        10 / WIDTH, abs=0.02
    )


def test_slopes_are_made_as_bright_as_level_ground(tmp_path):
    nir, snow = two_kinds(0.6)
    ground = mountains(seed=5)
    down, right = np.gradient(ground, PIXEL)
    light, rise = np.radians(SUN.azimuth), np.tan(np.radians(SUN.elevation))
    facing = rise - right * np.sin(light) + down * np.cos(light)
    facing = np.maximum(facing / rise / np.sqrt(1 + down**2 + right**2), 0)
    seen = nir * (0.85 * facing + 0.15)
    scene = scene_with(tmp_path, seen)
    dem = write_raster(tmp_path / "dem.tif", ground)
    whole = place(patch(2, 2, WIDTH - 4, HEIGHT - 4))
    lit = ~in_shadow(ground, SUN, ground_m=(PIXEL, PIXEL))[2:-2, 2:-2]

    found = conditions_of(whole, scene, dem=dem)

    assert found.snow_share[0] == pytest.approx(snow[2:-2, 2:-2][lit].mean(), abs=0.03)
    # With the sun on the other side it is no better than without.
    other = conditions_of(whole, replace(scene, sun=sun(330, 35)), dem=dem)
    assert not abs(other.snow_share[0] - found.snow_share[0]) < 0.03


@pytest.mark.parametrize(("azimuth", "strip_px"), [(20, 800), (110, 500), (200, 900), (290, 300)])
def test_shares_of_shadow_are_those_of_the_pixels_however_it_is_read(
    tmp_path, monkeypatch, azimuth, strip_px
):
    ground = mountains(seed=2)
    dem = write_raster(tmp_path / "dem.tif", ground)
    scene = replace(scene_with(tmp_path, np.ones((HEIGHT, WIDTH))), sun=sun(azimuth, 20))
    outlines = place(patch(50, 20, 31, 22), patch(12, 40, 20, 25), classes=["glacier", "lake"])
    at_once = conditions_of(outlines, scene, dem=dem)
    monkeypatch.setattr(conditions, "_STRIP_PX", strip_px)

    found = conditions_of(outlines, scene, dem=dem)

    dark = in_shadow(ground, scene.sun, ground_m=(PIXEL, PIXEL))
    expected = [dark[20:42, 50:81].mean(), dark[40:65, 12:32].mean()]
    assert found.equals(at_once)
    # A metre of the map is 0.04 % more on the ground, which tips the pixels that light just grazes.
    assert found.shadow_share.tolist() == pytest.approx(expected, abs=0.01)
    assert max(expected) > 0.04


def test_ridges_beyond_the_scene_cast_shadows_into_it(tmp_path):
    ground = np.zeros((HEIGHT, WIDTH + 100), np.float32)
    ground[:, 40] = 2000  # 60 columns west of the scene
    dem = write_raster(tmp_path / "dem.tif", ground, origin=(LEFT - 100 * PIXEL, TOP))
    scene = scene_with(tmp_path, np.ones((HEIGHT, WIDTH)))
    whole = place(patch(0, 0, WIDTH, HEIGHT))

    found = conditions_of(whole, replace(scene, sun=sun(270, 30)), dem=dem)

    reach = 2000 / np.tan(np.radians(30)) / PIXEL - 60
    assert found.shadow_share[0] == pytest.approx(reach / WIDTH, abs=1 / WIDTH)


def test_the_sun_stands_over_true_north_in_any_projection(tmp_path):
    # On 45 degrees east, north is to the left in this projection.
    x, y = Transformer.from_crs(4326, 3413, always_xy=True).transform(45, 79)
    corner = (x - WIDTH * PIXEL / 2, y + HEIGHT * PIXEL / 2)
    ground = np.zeros((HEIGHT, WIDTH), np.float32)
    ground[:, 55] = 300
    where = {"crs": "EPSG:3413", "origin": corner}
    dem = write_raster(tmp_path / "dem.tif", ground, **where)
    scene = scene_with(tmp_path, np.ones((HEIGHT, WIDTH)), **where)
    left = shapely.box(corner[0], y - 600, x - 20, y + 600)
    right = shapely.box(x + 40, y - 600, x + 40 + 30 * PIXEL, y + 600)
    outlines = place(left, right, crs="EPSG:3413")

    north = conditions_of(outlines, replace(scene, sun=sun(0, 45)), dem=dem).shadow_share
    south = conditions_of(outlines, replace(scene, sun=sun(180, 45)), dem=dem).shadow_share

    assert north[0] == south[1] == 0
    assert north[1] == pytest.approx(9 / 30, abs=1.5 / 30)
    assert south[0] > 0.1


def test_film_and_radar_say_what_they_can(tmp_path):
    dem = write_raster(tmp_path / "dem.tif", mountains(seed=4))
    image = two_kinds()[0]
    film = scene_with(tmp_path, image, bands=("pan",), sensor="corona-kh4b", name="film")
    radar = scene_with(tmp_path, image, bands=("vv",), sensor="sentinel-1", name="radar")
    whole = place(patch(0, 0, WIDTH, HEIGHT))

    assert conditions_of(whole, film, dem=dem).notna().iloc[0].tolist() == [False, True]
    assert conditions_of(whole, replace(film, dem=dem)).notna().iloc[0].tolist() == [False, True]
    assert conditions_of(whole, film).isna().all(axis=None)
    assert conditions_of(whole, replace(film, sun=None), dem=dem).isna().all(axis=None)
    assert conditions_of(whole, radar, dem=dem).isna().all(axis=None)


def test_film_is_read_at_the_pixel_of_the_model(tmp_path):
    ground = mountains(seed=4)
    dem = write_raster(tmp_path / "dem.tif", ground)
    fine = np.ones((4 * HEIGHT, 4 * WIDTH))
    film = scene_with(tmp_path, fine, bands=("pan",), sensor="corona-kh4b", pixel=PIXEL / 4)
    outlines = place(patch(30, 10, 41, 50), shapely.Point(LEFT + 1777, TOP - 999).buffer(3))

    found = conditions_of(outlines, film, dem=dem).shadow_share

    dark = in_shadow(ground, SUN, ground_m=(PIXEL, PIXEL))
    assert found[0] == pytest.approx(dark[10:60, 30:71].mean(), abs=0.004)
    assert found[1] == dark[33, 59]  # of the one pixel that it lies in


def test_outlines_elsewhere_and_none_are_results(tmp_path):
    scene = scene_with(tmp_path, two_kinds()[0])
    dem = write_raster(tmp_path / "dem.tif", mountains())
    away = place(patch(500, 500, 3, 4))

    assert conditions_of(away, scene, dem=dem).isna().all(axis=None)
    assert conditions_of(away[:0], scene, dem=dem).columns.tolist() == [
        "snow_share",
        "shadow_share",
    ]


def test_a_model_of_another_place_is_refused(tmp_path):
    scene = scene_with(tmp_path, two_kinds()[0])
    dem = write_raster(tmp_path / "dem.tif", mountains(), origin=(LEFT, TOP + 400_000))

    with pytest.raises(SceneError, match="does not lie under the scene"):
        conditions_of(place(patch(0, 0, 9, 9)), scene, dem=dem)


def test_outlines_of_a_map_have_snow_and_shadow_where_their_scene_is_given(tmp_path):
    nir, _ = two_kinds(0.5)
    scene = scene_with(tmp_path, nir)
    dem = write_raster(tmp_path / "dem.tif", np.zeros((HEIGHT, WIDTH), np.float32))
    folder = tmp_path / "map"
    folder.mkdir()
    classes = np.zeros((HEIGHT, WIDTH), np.uint8)
    classes[10:60, 20:50] = 1
    write_raster(folder / "classes.tif", classes, nodata=255)
    with rasterio.open(folder / "classes.tif", "r+") as raster:
        raster.update_tags(**origin_tags(scene), CLASSES=",".join(GLACIER.names))
        raster.write_colormap(1, {1: (74, 168, 216, 255)})
    plain = OutlineSettings(min_area_m2=0, min_hole_m2=0, simplify_px=0)

    without = outline_map(folder, plain, tmp_path / "without.gpkg")
    outline_map(folder, plain, tmp_path / "with.gpkg", scene=scene, dem=dem)

    written = gpd.read_file(tmp_path / "with.gpkg", layer="outlines")
    assert "snow_share" not in without.columns
    ice = written[written["class_name"] == "glacier"]
    assert ice.snow_share.tolist() == pytest.approx([0.5], abs=0.01)
    assert ice.shadow_share.tolist() == [0]


@pytest.fixture(scope="module")
def landscape(tmp_path_factory):
    folder = tmp_path_factory.mktemp("landscape")
    simulate(folder, seed=3, size_m=4800)
    return folder


@pytest.mark.slow
def test_scenes_of_the_simulated_landscape_say_where_the_sun_stood(landscape):
    suns = {
        item.stem: read_scene(item).sun for item in sorted((landscape / "scenes").glob("*.json"))
    }

    assert suns.pop("sentinel-1_20250820") is None
    assert suns["hexagon-kh9-mapping_19750812"] == sun(128, 47)
    assert suns["sentinel-2_20250815"] == sun(147, 60)
    assert None not in suns.values()


@pytest.mark.parametrize("name", ["landsat-5_20090824", "sentinel-2_20160817"])
def test_snow_on_simulated_glaciers_is_what_lies_there(landscape, name):
    scene = read_scene(landscape / "scenes" / f"{name}.json")
    assert scene.start < datetime(2020, 1, 1, tzinfo=UTC)
    outlines = gpd.read_file(landscape / "outlines.gpkg", layer=f"outlines_{scene.start.year}")
    land = make_landscape(seed=3, size_m=4800)
    snow = surface(land, scene.start.year).snow
    numbers = rasterize(
        zip(outlines.geometry, range(1, len(outlines) + 1), strict=True),
        out_shape=snow.shape,
        transform=land.grid.affine,
    )
    pixels = np.bincount(numbers.ravel(), minlength=len(outlines) + 1)[1:]
    under = np.bincount(numbers.ravel(), snow.ravel(), len(outlines) + 1)[1:]

    found = conditions_of(outlines, scene, dem=landscape / "dem.tif").snow_share.to_numpy()

    large = (outlines["class_name"] == "clean_ice").to_numpy() & (pixels * 25 > 50_000)
    assert large.sum() >= 2
    truth = under[large] / pixels[large]
    np.testing.assert_allclose(found[large], truth, atol=0.07)
    assert np.ptp(truth) > 0.05
    assert np.isnan(found[~outlines["class_name"].str.endswith("ice").to_numpy()]).all()


@pytest.mark.skipif(
    "GEOSEG_DATA_MIRROR" not in os.environ,
    reason="needs the open data sets: name a mirror of them by GEOSEG_DATA_MIRROR",
)
def test_shadow_on_athabasca_is_where_another_program_has_it():
    """Cast shadows by SatRbedo (R, commit e5b3656): solar zenith 49, azimuth 165; 0 is dark."""
    folder = fetch("athabasca")
    with rasterio.open(folder / "athabasca_dem.tif") as raster:
        ground = raster.read(1, masked=True).astype(float).filled(np.nan)
    with rasterio.open(folder / "athabasca_shadows.tif") as raster:
        theirs = raster.read(1)

    found = in_shadow(ground, sun(165, 41), ground_m=(30, 30))

    known = np.isfinite(theirs) & np.isfinite(ground)
    assert (found == (theirs == 0))[known].mean() > 0.97
