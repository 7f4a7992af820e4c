"""Chips of several scenes, pixels and kinds of ground."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import HEIGHT, PIXEL_M, WIDTH, scene_of, write_raster
from odc.geo.geobox import GeoBox
from rasterio import Affine
from rasterio.windows import Window

from geoseg.chips import (
    LEARN,
    UNLEARNED,
    UNSEEN,
    Batch,
    ChipSource,
    HeldOut,
    MixedChips,
    RandomChips,
    drop_bands,
    part_to_learn,
    stack,
)
from geoseg.config import ChipSettings
from geoseg.errors import LabelError
from geoseg.labels import GLACIER, IGNORE, place_labels, read_outlines
from geoseg.scenes import open_scene
from geoseg.sensors import find_sensor

WHOLE = Window(0, 0, WIDTH, HEIGHT)


def labels_of(example, scene):
    with open_scene(scene) as reader:
        table = read_outlines(example.outlines, GLACIER, layer=None, class_of="glacier")
        return place_labels(table, reader.grid, GLACIER), reader.grid


@pytest.fixture
def source(example):
    labels, _ = labels_of(example, example.scene)
    made = ChipSource(example.scene, labels, ("red", "nir08"))
    yield made
    made.close()


def random_of(source, seed=0, **settings):
    return RandomChips(source, WHOLE, ChipSettings(size_px=32, **settings), seed=seed)


def test_a_coarser_chip_is_the_mean_of_the_pixels_under_it(source):
    fine = source.cut(Window(8, 16, 64, 64), WHOLE)
    coarse = source.cut(Window(8, 16, 64, 64), WHOLE, size_px=32)

    means = fine.image.reshape(2, 32, 2, 32, 2).mean(dim=(2, 4))
    torch.testing.assert_close(coarse.image, means)
    assert coarse.gsd_m == 2 * PIXEL_M
    assert (coarse.label == fine.label[1::2, 1::2]).float().mean() > 0.99


def test_chips_come_at_all_pixels_between_the_limits(source):
    chips = random_of(source, gsd_m=(30, 60))
    gsds = [chips[i].gsd_m for i in range(40)]

    assert 30 <= min(gsds) < 36
    assert 50 < max(gsds) <= 60
    assert chips.gsd_m == (30, 60)
    assert chips[3].image.shape == (2, 32, 32)


def test_no_chip_is_finer_than_its_scene_nor_wider_than_its_region(source):
    assert random_of(source, gsd_m=(1, 10)).gsd_m == (30, 30)
    assert random_of(source, gsd_m=(30, 900)).gsd_m == (30, 90)


def test_every_sensor_is_met_as_often_as_any_other(example, tmp_path):
    rng = np.random.default_rng(1)
    pan = rng.integers(1, 255, (1, HEIGHT, WIDTH)).astype(np.uint8)
    film = scene_of(
        write_raster(tmp_path / "film.tif", pan), bands=("pan",), sensor="hexagon-kh9-mapping"
    )
    copies = [replace(example.scene, id=f"scene{i}") for i in range(3)]
    sources = [
        ChipSource(scene, labels_of(example, scene)[0], tuple(scene.bands))
        for scene in (*copies, film)
    ]

    mixed = MixedChips([random_of(source) for source in sources], seed=0)

    sensors = [mixed[i].sensor_id for i in range(80)]
    assert 25 < sensors.count("hexagon-kh9-mapping") < 55
    batches = stack([mixed[i] for i in range(12)])
    assert sum(len(batch.image) for batch in batches) == 12
    assert {batch.image.shape[1] for batch in batches} == {1, 2}
    for source in sources:
        source.close()


def test_ground_that_may_not_be_seen_is_gone_and_that_not_learned_from_is_there(example):
    labels, _ = labels_of(example, example.scene)

    def ground(grid):
        column = (np.arange(grid.shape.x) + 0.5) * grid.resolution.x + grid.affine.c
        role = np.select([column > 501_500, column > 500_900], [UNSEEN, UNLEARNED], LEARN)
        return np.broadcast_to(role.astype(np.uint8), grid.shape)

    source = ChipSource(example.scene, labels, ("red",), ground=ground)
    chip = source.cut(WHOLE, WHOLE)
    source.close()

    assert not chip.valid[:, 50:].any()
    assert (chip.image[:, :, 50:] == 0).all()
    # A pixel beside unseen ground may show some of it.
    assert not chip.valid[:, 49].any()
    assert chip.valid[:, :49].all()
    assert (chip.label[:, 30:] == IGNORE).all()
    assert (chip.label[:, :30] != IGNORE).all()


def test_held_out_ground_is_held_out_of_scenes_of_any_grid(example):
    _, grid = labels_of(example, example.scene)
    held = HeldOut.parts(grid, [Window(100, 0, 60, HEIGHT)])

    own = held(grid)
    assert (own[:, :100] == LEARN).all()
    assert (own[:, 100:] == UNSEEN).all()
    assert held.window(grid) == Window(100, 0, 60, HEIGHT)

    # The same ground in the neighbouring zone, twice as fine.
    other = GeoBox.from_bbox(
        grid.extent.to_crs("EPSG:32644").boundingbox, "EPSG:32644", resolution=15
    )
    share = (held(other) == UNSEEN).mean() * other.extent.area / 1e6
    assert share == pytest.approx(60 * HEIGHT * PIXEL_M**2 / 1e6, rel=0.03)
    far = GeoBox((50, 50), Affine(30, 0, 900_000, 0, -30, 3_000_000), "EPSG:32645")
    assert (held(far) == LEARN).all()
    assert held.window(far) is None


def test_two_parts_are_held_out_and_what_lies_between_is_learned_from(example):
    _, grid = labels_of(example, example.scene)
    held = HeldOut.parts(grid, [Window(0, 0, 20, HEIGHT), Window(100, 0, 60, HEIGHT)])
    source = ChipSource(example.scene, None, ("red",), ground=held)

    assert part_to_learn(source) == Window(20, 0, 80, HEIGHT)
    source.close()


def test_a_source_that_is_held_out_whole_is_named(example):
    _, grid = labels_of(example, example.scene)
    source = ChipSource(example.scene, None, ("red",), ground=HeldOut.parts(grid, [WHOLE]))

    with pytest.raises(LabelError, match="All ground of scene scene is held out"):
        part_to_learn(source)
    source.close()


def test_a_scene_without_labels_gives_chips_without_classes(example):
    source = ChipSource(example.scene, None, ("red",))
    chip = random_of(source)[0]
    source.close()

    assert (chip.label == IGNORE).all()
    assert chip.valid.all()


def test_the_palette_is_of_the_whole_scene_and_always_the_same(example, source):
    other = ChipSource(example.scene, None, ("red", "nir08"))

    assert torch.equal(source.palette, other.palette)
    assert source.palette.shape[0] == 2
    with open_scene(example.scene) as reader:
        image = reader.read(WHOLE).image
    assert float(source.palette[0].mean()) == pytest.approx(image[0].mean(), rel=0.05)
    other.close()


def test_a_chip_reaches_beyond_its_scene_as_not_valid(source):
    chip = source.cut(Window(-8, -8, 32, 32), WHOLE)

    assert not chip.valid[:8].any()
    assert (chip.label[:8] == IGNORE).all()
    assert chip.valid[8:, 8:].all()


def test_bands_that_go_are_missing_and_one_is_left():
    torch.manual_seed(0)
    s2, dem = find_sensor("sentinel-2"), find_sensor("dem")
    bands = (*(s2.band(n) for n in ("green", "red")), dem.band("slope"), dem.band("elevation"))
    image = torch.ones(400, 4, 2, 2)
    valid = torch.ones(400, 2, 2, dtype=torch.bool)
    batch = Batch(
        image, valid, valid.to(torch.uint8), image.flatten(2), torch.full((400,), 10.0), bands
    )

    kept = drop_bands(batch, share=0.4).image.isfinite()

    assert kept.any(dim=1).all()
    assert (kept.all(dim=(2, 3)) == kept.any(dim=(2, 3))).all()
    there = kept[:, :, 0, 0]
    assert 0.2 < there[:, 0].float().mean() < 0.7
    # Terrain goes as a whole: two bands by themselves would in 0.16 of the chips.
    assert (~there[:, 2] & ~there[:, 3]).float().mean() > 0.2
