import numpy as np
import pytest
from conftest import scene_of, write_raster
from hypothesis import given
from hypothesis import strategies as st
from rasterio.windows import Window

from geoseg.errors import SceneError
from geoseg.grids import gsd_m
from geoseg.scenes import area_average, open_scene
from geoseg.scenes.resample import interpolate


def noise(count, height, width, *, seed=0, gaps=0.0):
    rng = np.random.default_rng(seed)
    image = rng.normal(100, 30, (count, height, width)).astype(np.float32)
    return image, rng.random((height, width)) >= gaps


def overlap(start, end, cell):
    return max(0.0, min(end, cell + 1) - max(start, cell))


def by_hand(image, valid, shape):
    """Every fine pixel weighted by the area that it shares with each coarse one, pair by pair."""
    (height, width), (rows, columns) = valid.shape, shape
    down, across = height / rows, width / columns
    mean = np.zeros((len(image), *shape))
    share = np.zeros(shape)
    for r, c in np.ndindex(*shape):
        total = np.zeros(len(image))
        for y, x in np.ndindex(height, width):
            area = overlap(r * down, (r + 1) * down, y) * overlap(c * across, (c + 1) * across, x)
            if area and valid[y, x]:
                total += area * image[:, y, x]
                share[r, c] += area
        mean[:, r, c] = total / share[r, c] if share[r, c] else 0
    return mean, share / (down * across)


@pytest.mark.parametrize("factor", [1, 3, 5, 15])
def test_a_whole_factor_gives_the_means_of_blocks(factor):
    image, _ = noise(3, 30, 45)

    mean, valid = area_average(image, np.ones((30, 45), bool), (30 // factor, 45 // factor))

    blocks = image.reshape(3, 30 // factor, factor, 45 // factor, factor).mean(axis=(2, 4))
    np.testing.assert_allclose(mean, blocks, rtol=1e-5)
    assert valid.all()


@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    gaps=st.sampled_from([0.0, 0.4, 0.9]),
    seed=st.integers(0, 99),
)
def test_any_factor_gives_the_mean_of_the_valid_area(height, width, rows, columns, gaps, seed):
    image, valid = noise(2, height, width, seed=seed, gaps=gaps)

    mean, enough = area_average(image, valid, (rows, columns))

    expected, share = by_hand(image, valid, (rows, columns))
    clear = np.abs(share - 0.5) > 1e-3
    np.testing.assert_array_equal(enough[clear], (share > 0.5)[clear])
    np.testing.assert_allclose(mean[:, enough], expected[:, enough], rtol=1e-4)
    assert (mean[:, ~enough] == 0).all()


def test_half_a_pixel_is_enough_and_less_is_not():
    image = np.arange(8, dtype=np.float32).reshape(1, 2, 4) + 1
    valid = np.array([[True, True, True, False], [False, False, False, False]])

    mean, enough = area_average(image, valid, (1, 2))

    assert enough.tolist() == [[True, False]]
    assert mean.tolist() == [[[1.5, 0]]]


def test_a_void_of_one_band_is_left_out_of_that_band_alone():
    image = np.ones((2, 4, 4), np.float32)
    image[1] = np.arange(16).reshape(4, 4)
    image[1, :2, :2] = np.nan
    image[1, 0, 2] = np.nan

    mean, valid = area_average(image, np.ones((4, 4), bool), (2, 2))

    assert valid.all()
    assert (mean[0] == 1).all()
    assert np.isnan(mean[1, 0, 0])
    assert mean[1, 0, 1] == pytest.approx((3 + 6 + 7) / 3)


def test_between_pixel_centres_a_plane_stays_a_plane():
    rows, columns = np.meshgrid(np.arange(6) + 0.5, np.arange(8) + 0.5, indexing="ij")
    plane = (3 * rows + 10 * columns)[None].astype(np.float32)
    down, across = np.linspace(0.5, 5.5, 11), np.linspace(0.5, 7.5, 23)

    between = interpolate(plane, np.ones((6, 8), bool), down, across)

    np.testing.assert_allclose(between[0], 3 * down[:, None] + 10 * across, rtol=1e-5)


def test_a_gap_is_not_blended_into_its_neighbours():
    image = np.full((1, 4, 4), 7, np.float32)
    valid = np.ones((4, 4), bool)
    image[0, 1, 1], valid[1, 1] = -9999, False

    between = interpolate(image, valid, np.linspace(0, 4, 8), np.linspace(0, 4, 8))

    np.testing.assert_allclose(between, 7, rtol=1e-6)


def test_a_window_is_averaged_with_its_mask(tmp_path):
    image, _ = noise(2, 40, 60)
    image[0, 10:12, 20:23] = -1
    scene = scene_of(write_raster(tmp_path / "a.tif", image, nodata=-1))
    window = Window(17, 8, 30, 20)

    with open_scene(scene) as reader:
        pixels = reader.read(window, (8, 11))

    part = image[:, 8:28, 17:47]
    expected, enough = area_average(part, part[0] != -1, (8, 11))
    np.testing.assert_array_equal(pixels.valid, enough)
    np.testing.assert_allclose(pixels.image, expected, rtol=1e-6)


@pytest.mark.parametrize("factor", [2, 4, 7])
def test_a_coarser_reader_loses_no_pixel(tmp_path, factor):
    image, _ = noise(2, 41, 59)
    scene = scene_of(write_raster(tmp_path / "a.tif", image))

    with open_scene(scene, coarser=factor) as reader:
        rows, columns = reader.grid.shape
        whole = reader.read(Window(0, 0, columns, rows))
        part = reader.read(Window(1, 2, 4, 3))
        assert gsd_m(reader.grid) == 30 * factor
        assert reader.grid.affine * (0, 0) == (500_000, 3_100_000)

    assert (rows, columns) == (-(-41 // factor), -(-59 // factor))
    assert whole.valid.all()
    for r, c in np.ndindex(rows, columns):
        block = image[:, r * factor : (r + 1) * factor, c * factor : (c + 1) * factor]
        np.testing.assert_allclose(whole.image[:, r, c], block.mean(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_array_equal(part.image, whole.image[:, 2:5, 1:5])


def test_a_coarser_window_beyond_the_scene_is_not_valid_there(tmp_path):
    scene = scene_of(write_raster(tmp_path / "a.tif", noise(2, 40, 60)[0]))

    with open_scene(scene, coarser=4) as reader:
        valid = reader.read(Window(-3, -2, 25, 20)).valid

    assert valid[2:12, 3:18].all()
    assert valid.sum() == 10 * 15


def test_strips_do_not_show(tmp_path, monkeypatch):
    image, _ = noise(2, 50, 64)
    scene = scene_of(write_raster(tmp_path / "a.tif", image))
    with open_scene(scene) as reader:
        at_once = reader.read(Window(0, 0, 64, 50), (13, 17))
        monkeypatch.setattr("geoseg.scenes.reader._STRIP_PX", 64 * 7)
        in_strips = reader.read(Window(0, 0, 64, 50), (13, 17))

    np.testing.assert_allclose(in_strips.image, at_once.image, rtol=1e-6)
    np.testing.assert_array_equal(in_strips.valid, at_once.valid)


@pytest.mark.parametrize("factor", [0, -1, 1.5])
def test_a_factor_is_a_whole_number(example, factor):
    with (
        pytest.raises(SceneError, match="give a whole number of pixels, 1 or more"),
        open_scene(example.scene, coarser=factor),
    ):
        pass
