import pickle

import numpy as np
import pytest
import torch
from conftest import HEIGHT, WIDTH, scene_of, write_raster
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio import Affine
from rasterio.windows import Window

from geoseg.chips import (
    Batch,
    ChipSource,
    GridChips,
    MixedChips,
    RandomChips,
    band_statistics,
    flip_randomly,
    jitter_bands,
    split_scene,
    stack,
    tiles_of,
)
from geoseg.config import ChipSettings, SplitSettings
from geoseg.errors import ConfigError, SceneError
from geoseg.labels import GLACIER, IGNORE, place_labels, read_outlines
from geoseg.scenes import open_scene
from geoseg.sensors import find_sensor


def source_of(scene, outlines):
    with open_scene(scene) as reader:
        table = read_outlines(outlines, GLACIER, layer=None, class_of="glacier")
        labels = place_labels(table, reader.grid, GLACIER)
    return ChipSource(scene, labels, tuple(scene.bands))


@pytest.fixture
def source(example):
    made = source_of(example.scene, example.outlines)
    yield made
    made.close()


def batch_of(image, label, *, bands=("red", "nir08"), sensor="landsat-7"):
    return Batch(
        image,
        label != IGNORE,
        label,
        image.flatten(2),
        torch.full((len(image),), 30.0),
        tuple(find_sensor(sensor).band(name) for name in bands),
    )


WEST = Window(0, 0, 100, HEIGHT)


def mixed(source):
    return MixedChips([RandomChips(source, WEST, ChipSettings(size_px=32), seed=0)], seed=0)


def test_a_chip_depends_on_seed_and_number_alone(source):
    settings = ChipSettings(size_px=32)
    one = RandomChips(source, WEST, settings, seed=3)
    two = RandomChips(pickle.loads(pickle.dumps(source)), WEST, settings, seed=3)
    other = RandomChips(source, WEST, settings, seed=4)

    assert all(torch.equal(one[i].image, two[i].image) for i in (5, 0, 9))
    assert not all(torch.equal(one[i].image, other[i].image) for i in range(5))


def test_no_chip_holds_a_labelled_pixel_outside_its_region(source):
    # A region narrower than a chip, so that each chip has to reach out of it.
    narrow = Window(40, 0, 20, HEIGHT)
    chips = RandomChips(source, narrow, ChipSettings(size_px=32), seed=0)

    for i in range(10):
        assert (chips[i].label != IGNORE).sum() <= 20 * 32
        assert (chips[i].label != IGNORE).any()


def test_a_rare_class_is_met_as_often_as_asked(source):
    chips = RandomChips(source, WEST, ChipSettings(size_px=32, balanced_share=1.0), seed=0)
    scattered = RandomChips(source, WEST, ChipSettings(size_px=32, balanced_share=0.0), seed=0)

    def share(dataset):
        return np.mean([(dataset[i].label == 1).any() for i in range(60)])

    assert share(chips) > 0.6
    assert share(scattered) < share(chips) + 0.2


def test_pixels_without_data_carry_no_label_and_no_value(example, tmp_path):
    image = np.full((2, HEIGHT, WIDTH), 100, np.float32)
    image[0, 20:40] = np.nan
    image[:, 50:70, :60] = -9999
    scene = scene_of(write_raster(tmp_path / "holes.tif", image, nodata=-9999))
    source = source_of(scene, example.outlines)

    chip = source.cut(Window(0, 0, WIDTH, HEIGHT), Window(0, 0, WIDTH, HEIGHT))
    source.close()

    assert not chip.valid[20:40].any()
    assert not chip.valid[50:70, :60].any()
    assert (chip.label[~chip.valid] == IGNORE).all()
    assert (chip.image[:, ~chip.valid] == 0).all()
    assert chip.gsd_m == 30


def test_a_region_without_a_valid_pixel_is_refused(example, tmp_path):
    image = np.full((2, HEIGHT, WIDTH), np.nan, np.float32)
    source = source_of(scene_of(write_raster(tmp_path / "a.tif", image)), example.outlines)

    with pytest.raises(SceneError, match="hardly a valid, labelled pixel"):
        RandomChips(source, WEST, ChipSettings(size_px=32), seed=0)[0]
    source.close()


def test_a_constant_band_is_named(example, tmp_path):
    image = np.stack([np.random.default_rng(0).random((HEIGHT, WIDTH)), np.ones((HEIGHT, WIDTH))])
    scene = scene_of(write_raster(tmp_path / "a.tif", image.astype(np.float32)))
    source = source_of(scene, example.outlines)

    with pytest.raises(SceneError, match="band nir08 of scene a is constant"):
        band_statistics(mixed(source))
    source.close()


def test_statistics_are_those_of_the_valid_pixels(source):
    mean, std = band_statistics(mixed(source))

    assert 80 < mean[0] < 160
    assert 30 < std[0] < 70


def test_grid_chips_cover_a_region_once_or_more(source):
    grid = GridChips(source, WEST, ChipSettings(size_px=64))
    seen = np.zeros((HEIGHT, WIDTH), int)
    for window in grid.windows:
        seen[window.row_off : window.row_off + 64, window.col_off : window.col_off + 64] += 1

    assert (seen[:, :100] > 0).all()
    assert (seen[:, 100:] == 0).all()
    assert len(grid) == 4


side = st.integers(1, 300)


@given(start=st.integers(-50, 50), length=side, size=st.integers(1, 120))
@pytest.mark.slow
def test_tiles_reach_from_the_first_to_the_last_pixel(start, length, size):
    tiles = tiles_of(Window(start, start, length, length), size)
    rows = {row for t in tiles for row in range(t.row_off, t.row_off + size)}

    assert set(range(start, start + length)) <= rows
    assert min(rows) == start


@given(
    height=side,
    width=side,
    train_from=st.sampled_from(["west", "east", "north", "south"]),
    train_share=st.floats(0.2, 1),
    validation_share=st.floats(0, 0.5),
)
def test_the_parts_of_a_scene_share_no_pixel_and_leave_none(
    height, width, train_from, train_share, validation_share
):
    grid = GeoBox((height, width), Affine(1, 0, 0, 0, -1, 0), "EPSG:32645")
    settings = SplitSettings(
        train_from=train_from, train_share=train_share, validation_share=validation_share
    )
    count = np.zeros((height, width), int)
    try:
        split = split_scene(grid, settings)
    except ConfigError:
        return
    for window in (split.train, split.validation, split.test):
        if window is not None:
            rows, columns = window.toslices()
            count[rows, columns] += 1

    assert (count == 1).all()


def test_the_side_that_trains_is_the_side_that_is_named():
    grid = GeoBox((80, 160), Affine(1, 0, 0, 0, -1, 0), "EPSG:32645")
    west = split_scene(grid, SplitSettings())
    south = split_scene(grid, SplitSettings(train_from="south", train_share=0.5))

    assert west.test == Window(100, 0, 60, 80)
    assert south.test == Window(0, 0, 160, 40)


def test_flips_move_image_mask_and_label_together():
    torch.manual_seed(0)
    label = torch.randint(0, 2, (16, 32, 32), dtype=torch.uint8)
    label[:, :4] = IGNORE
    image = label.float().unsqueeze(1).repeat(1, 2, 1, 1)
    batch = batch_of(image, label)

    flipped = flip_randomly(batch)

    torch.testing.assert_close(flipped.image[:, 0], flipped.label.float(), atol=0.01, rtol=0)
    assert torch.equal(flipped.valid, flipped.label != IGNORE)
    assert not torch.equal(flipped.label, label)


def test_jitter_turns_about_the_mean_of_a_band():
    torch.manual_seed(0)
    image = torch.full((4000, 1, 1, 1), 60.0)
    batch = batch_of(image, torch.zeros(4000, 1, 1, dtype=torch.uint8), bands=("red",))
    palette = torch.tensor([40.0, 60.0]).expand(4000, 1, 2)
    batch = batch._replace(palette=palette)

    changed = jitter_bands(batch, strength=0.2).image

    assert changed.mean().item() == pytest.approx(60, abs=0.3)
    assert changed.std().item() == pytest.approx(10 * 0.2 * 2**0.5, rel=0.1)
    assert torch.equal(jitter_bands(batch, strength=0.0).image, image)


def test_chips_stack_into_a_batch(source):
    chips = RandomChips(source, WEST, ChipSettings(size_px=32), seed=0)

    (batch,) = stack([chips[0], chips[1]])

    assert batch.image.shape == (2, 2, 32, 32)
    assert batch.label.dtype == torch.uint8
