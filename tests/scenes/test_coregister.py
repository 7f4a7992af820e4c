from dataclasses import replace
from itertools import pairwise

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
from conftest import scene_of, write_raster
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio import Affine
from rasterio.vrt import WarpedVRT
from scipy.ndimage import gaussian_filter, zoom

from geoseg.data.simulate import simulate
from geoseg.errors import GridError, SceneError
from geoseg.scenes import Asset, read_scene
from geoseg.scenes.coregister import measure_shift
from geoseg.scenes.scene_shift import scene_shift_m
from geoseg.sensors import load_sensors

pytestmark = pytest.mark.slow

FILM, TM, S2 = "hexagon-kh9-mapping_19750812", "landsat-5_19900820", "sentinel-2_20160817"
MOVING = ["clean_ice", "debris_ice", "supraglacial_lake", "proglacial_lake", "thaw_slump"]


@pytest.fixture(scope="module")
def landscape(tmp_path_factory):
    folder = tmp_path_factory.mktemp("landscape")
    simulate(folder, seed=1, size_m=4800)
    return folder


@pytest.fixture(scope="module")
def scenes(landscape):
    return {p.stem: read_scene(p) for p in (landscape / "scenes").glob("*.json")}


@pytest.fixture(scope="module")
def unstable(landscape):
    years = (1975, 1990, 2016)
    layers = [gpd.read_file(landscape / "outlines.gpkg", layer=f"outlines_{y}") for y in years]
    outlines = pd.concat(layers)
    return outlines[outlines.class_name.isin(MOVING)]


def ground(height, width, seed=0):
    """Rough ground (H, W), the same below the finest detail as above it."""
    rng = np.random.default_rng(seed)
    sizes = (0.8, 1.6, 4, 12)
    return sum(s * gaussian_filter(rng.standard_normal((height, width)), s) for s in sizes)


def shifted(fine, dy, dx, factor):
    """A blurred image after a shift of whole fine pixels: nothing is interpolated."""
    moved = gaussian_filter(np.roll(fine, (dy, dx), axis=(0, 1)), 0.6 * factor, mode="wrap")
    height, width = (n // factor for n in moved.shape)
    blocks = moved[: height * factor, : width * factor].reshape(height, factor, width, factor)
    return blocks.mean(axis=(1, 3)).astype(np.float32)


def placed(scene, band, x_m, y_m, folder):
    """A scene of one band whose file says that it lies elsewhere by so much."""
    path = folder / f"{scene.id}_{band}.tif"
    with rasterio.open(scene.bands[band].path) as source:
        profile, image = source.profile, source.read()
        profile["transform"] = Affine.translation(x_m, y_m) * source.transform
    with rasterio.open(path, "w", **profile) as out:
        out.write(image)
    return replace(scene, bands={band: Asset(path=path)})


def warped(scene, band, crs, folder):
    """A scene of one band whose file lies in another reference system."""
    path = folder / f"{scene.id}_{band}_warped.tif"
    with (
        rasterio.open(scene.bands[band].path) as source,
        WarpedVRT(source, crs=crs, resampling=rasterio.enums.Resampling.cubic) as view,
    ):
        profile = {**view.profile, "driver": "GTiff"}
        with rasterio.open(path, "w", **profile) as out:
            out.write(view.read())
    return replace(scene, bands={band: Asset(path=path)})


@settings(max_examples=12, deadline=None)
@given(dy=st.integers(-40, 40), dx=st.integers(-40, 40))
@pytest.mark.slow
def test_a_shift_of_any_sign_and_fraction_is_found_to_a_tenth_of_a_pixel(dy, dx):
    fine = ground(4 * 150, 4 * 210)
    everywhere = np.ones((150, 210), dtype=bool)

    found = measure_shift(
        shifted(fine, 0, 0, 4), shifted(fine, dy, dx, 4), stable=everywhere, valid=everywhere
    )

    assert found is not None
    assert (found.dy, found.dx) == pytest.approx((dy / 4, dx / 4), abs=0.07)
    assert 0.05 <= found.unc < 0.1


def test_the_shift_does_not_depend_on_brightness_or_contrast():
    image = ground(150, 210).astype(np.float32)
    everywhere = np.ones(image.shape, dtype=bool)
    other = np.roll(image, (3, -5), axis=(0, 1))
    lit = np.linspace(1, 40, 210, dtype=np.float32)

    plain = measure_shift(image, other, stable=everywhere, valid=everywhere)
    stretched = measure_shift(
        image, np.exp(other / 3) * lit + 900, stable=everywhere, valid=everywhere
    )

    assert plain is not None
    assert stretched is not None
    assert (plain.dy, plain.dx) == pytest.approx((3, -5), abs=0.02)
    assert (stretched.dy, stretched.dx) == pytest.approx((3, -5), abs=0.1)


def test_what_moves_does_not_count_where_it_is_left_out():
    image = ground(200, 260).astype(np.float32)
    other = np.roll(image, (2, 4), axis=(0, 1))
    stable = np.ones(image.shape, dtype=bool)
    stable[:, :150] = False
    # A glacier that flowed, on more than half of the image.
    other[:, :150] = np.roll(ground(200, 260, seed=5), (12, 9), axis=(0, 1))[:, :150]
    before = image.copy()
    before[:, :150] = ground(200, 260, seed=5)[:, :150]

    found = measure_shift(before, other, stable=stable, valid=np.ones_like(stable))

    assert found is not None
    assert (found.dy, found.dx) == pytest.approx((2, 4), abs=0.05)


def test_the_edge_of_what_was_measured_is_no_feature_of_the_ground():
    image = ground(200, 260).astype(np.float32)
    other = np.roll(image, (3, -6), axis=(0, 1))
    rows, columns = np.mgrid[:200, :260]
    measured = (rows + columns > 130) & (rows - columns < 120)

    found = measure_shift(
        np.where(measured, image, -9999).astype(np.float32),
        np.where(measured, other, -9999).astype(np.float32),
        stable=measured,
        valid=measured,
    )

    assert found is not None
    assert (found.dy, found.dx) == pytest.approx((3, -6), abs=0.1)


@pytest.mark.parametrize(("period", "wide"), [(24, 18), (14, 10)])
@pytest.mark.slow
def test_stripes_without_data_that_stay_in_place_do_not_hold_the_shift(period, wide):
    image = ground(300, 260).astype(np.float32)
    # Slanted, as the gaps of Landsat 7 are.
    rows, columns = np.mgrid[:300, :260]
    measured = (rows + columns // 3) % period < wide

    found = measure_shift(
        np.where(measured, image, 90).astype(np.float32),
        np.where(measured, np.roll(image, (3, 7), axis=(0, 1)), 90).astype(np.float32),
        stable=measured,
        valid=measured,
    )

    assert found is not None
    assert (found.dy, found.dx) == pytest.approx((3, 7), abs=0.06)


@pytest.mark.slow
def test_a_slope_that_all_of_the_ground_shares_does_not_hide_the_shift():
    slope = np.linspace(-75, 75, 300, dtype=np.float32)[:, None]
    image = ground(300, 260).astype(np.float32)
    everywhere = np.ones(image.shape, dtype=bool)

    found = measure_shift(
        image + slope,
        np.roll(image, (3, 7), axis=(0, 1)) + slope,
        stable=everywhere,
        valid=everywhere,
    )

    assert found is not None
    assert (found.dy, found.dx) == pytest.approx((3, 7), abs=0.06)


@pytest.mark.slow
def test_an_image_whose_parts_are_shifted_each_otherwise_has_no_one_shift():
    image = ground(200, 1400).astype(np.float32)
    everywhere = np.ones(image.shape, dtype=bool)

    def torn(parts):
        """Columns up to each place are shifted by so much."""
        other, left = image.copy(), 0
        for right, shift in parts:
            other[:, left:right] = np.roll(image, shift, axis=(0, 1))[:, left:right]
            left = right
        return measure_shift(image, other, stable=everywhere, valid=everywhere)

    halves = torn([(740, (4, 6)), (1400, (-5, -9))])
    scraps = torn([(520, (4, 6))] + [(520 + 176 * n, (9 * n - 20, -12)) for n in range(1, 6)])
    most = torn([(1000, (4, 6)), (1400, (-5, -9))])

    assert halves is None
    assert scraps is None
    assert most is not None
    assert (most.dy, most.dx) == pytest.approx((4, 6), abs=0.05)


def test_images_of_different_places_have_no_shift():
    everywhere = np.ones((300, 420), dtype=bool)
    places = [ground(300, 420, seed).astype(np.float32) for seed in range(9)]

    found = [
        measure_shift(one, two, stable=everywhere, valid=everywhere)
        for one, two in pairwise(places)
    ]

    assert found == [None] * 8


def test_too_little_stable_ground_gives_no_shift_rather_than_none_at_all():
    image = ground(150, 210).astype(np.float32)
    everywhere = np.ones(image.shape, dtype=bool)
    little = np.zeros_like(everywhere)
    little[40:90, 60:110] = True
    level = np.full_like(image, 7)

    assert measure_shift(image, image, stable=little, valid=everywhere) is None
    assert measure_shift(image, image, stable=~everywhere, valid=everywhere) is None
    assert measure_shift(level, level, stable=everywhere, valid=everywhere) is None
    small = np.s_[:60, :200]
    assert (
        measure_shift(image[small], image[small], stable=everywhere[small], valid=everywhere[small])
        is None
    )


def test_images_of_different_shapes_are_refused_with_both_shapes():
    image = np.zeros((70, 90), dtype=np.float32)
    mask = np.ones((70, 90), dtype=bool)

    with pytest.raises(GridError, match=r"\(70, 90\) and \(90, 70\).*one grid"):
        measure_shift(image, image.T, stable=mask, valid=mask)


@pytest.mark.parametrize(
    ("one", "other", "tolerance_m"),
    [(S2, FILM, 3.0), (FILM, S2, 3.0), (S2, TM, 9.0), (TM, FILM, 9.0)],
)
@pytest.mark.slow
def test_scenes_of_different_sensors_and_years_are_placed_to_a_third_of_a_pixel(
    scenes, unstable, tmp_path, one, other, tolerance_m
):
    band = "pan" if other == FILM else "green"
    moved = placed(scenes[other], band, 47.3, -31.9, tmp_path)

    found = scene_shift_m(scenes[one], moved, unstable=unstable)

    assert found is not None
    assert (found.x_m, found.y_m) == pytest.approx((47.3, -31.9), abs=tolerance_m)
    # What is said of the error holds for the error.
    assert np.hypot(found.x_m - 47.3, found.y_m + 31.9) < 3 * np.sqrt(2) * found.unc_m
    assert found.unc_m < tolerance_m / 2
    assert found.length_m == pytest.approx(np.hypot(found.x_m, found.y_m))


def test_scenes_that_lie_right_have_a_shift_of_nought(scenes, unstable):
    found = scene_shift_m(scenes[S2], scenes[FILM], unstable=unstable)

    assert found is not None
    assert found.length_m < 3 * found.unc_m < 5


def test_a_scene_in_another_reference_system_is_brought_onto_the_reference(
    scenes, unstable, tmp_path
):
    moved = placed(scenes[FILM], "pan", -22.5, 61.0, tmp_path)
    polar = warped(moved, "pan", "EPSG:3413", tmp_path)

    found = scene_shift_m(scenes[S2], polar, unstable=unstable)

    assert found is not None
    assert (found.x_m, found.y_m) == pytest.approx((-22.5, 61.0), abs=3)


def test_the_pixel_of_the_comparison_can_be_coarser_than_both(scenes, unstable, tmp_path):
    moved = placed(scenes[FILM], "pan", 47.3, -31.9, tmp_path)

    found = scene_shift_m(scenes[S2], moved, unstable=unstable, pixel_m=20)

    assert found is not None
    assert (found.x_m, found.y_m) == pytest.approx((47.3, -31.9), abs=6)
    assert found.unc_m > 1


def test_what_a_scene_masks_is_not_compared(scenes, tmp_path):
    with rasterio.open(scenes[S2].bands["red"].path) as source:
        profile, image = source.profile, source.read(1)
    # Clouds that stay where they are while the ground below them is shifted.
    cover = gaussian_filter(np.random.default_rng(4).standard_normal(image.shape), 9)
    hidden = cover > np.quantile(cover, 0.4)
    cloud = np.random.default_rng(3).integers(1, 9000, image.shape).astype(np.uint16)
    mask = tmp_path / "mask.tif"
    with rasterio.open(mask, "w", **{**profile, "dtype": "uint8", "nodata": None}) as out:
        out.write((~hidden).astype(np.uint8), 1)
    pair = []
    for name, columns in (("one", 0), ("two", 4)):
        path = tmp_path / f"{name}.tif"
        with rasterio.open(path, "w", **profile) as out:
            out.write(np.where(hidden, cloud, np.roll(image, columns, axis=1)), 1)
        pair.append(replace(scenes[S2], id=name, bands={"red": Asset(path=path)}))

    bare = scene_shift_m(*pair)
    masked = scene_shift_m(*(replace(s, mask=Asset(path=mask)) for s in pair))

    assert bare is not None
    assert masked is not None
    assert bare.x_m == pytest.approx(0, abs=1)
    assert masked.x_m == pytest.approx(40, abs=1)


def test_scenes_without_ground_in_common_have_no_shift(scenes, tmp_path):
    far = placed(scenes[FILM], "pan", 90_000, 0, tmp_path)

    assert scene_shift_m(scenes[S2], far) is None


def test_radar_is_refused_by_name_of_the_scene_and_of_the_way_out(scenes):
    radar = scenes["sentinel-1_20250820"]

    for pair in ((scenes[S2], radar), (radar, scenes[S2])):
        with pytest.raises(
            SceneError, match=r"scene sentinel-1_20250820 has none.*red.*vv, vh; compare outlines"
        ):
            scene_shift_m(*pair)


def test_a_reference_in_degrees_is_refused(scenes, tmp_path):
    degrees = warped(scenes[S2], "red", "EPSG:4326", tmp_path)

    with pytest.raises(GridError, match="Shifts between scenes need a scene in metres"):
        scene_shift_m(degrees, scenes[S2])


@pytest.mark.slow
def test_a_scene_of_many_patches_is_sampled_from_end_to_end(tmp_path):
    coarse = ground(400, 520, seed=2)
    image = (40 * zoom(coarse, 6, order=1) + 9000).astype(np.float32)
    # Detail of a pixel, which the enlarged ground lacks.
    image += 200 * ground(*image.shape, seed=3).astype(np.float32)
    one = scene_of(write_raster(tmp_path / "one.tif", image), bands=("red",))
    # Shifted otherwise in its last third, which is seen as well: it is outvoted there.
    other = np.roll(image, (5, 2), axis=(0, 1))
    other[1600:] = image[1600:]
    two = scene_of(write_raster(tmp_path / "two.tif", other), bands=("red",))

    found = scene_shift_m(one, two)

    assert found is not None
    assert (found.x_m, found.y_m) == pytest.approx((60, -150), abs=3)
    assert found.samples > 1000


def test_every_band_that_may_be_compared_has_a_wavelength():
    named = [
        b for s in load_sensors().values() for b in s.bands if b.name in ("red", "green", "pan")
    ]

    assert named
    assert all(band.centre_um is not None for band in named)
