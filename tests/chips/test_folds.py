import json
import math
from dataclasses import replace

import numpy as np
import pytest
from affine import Affine
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasterio.windows import Window

from geoseg.chips import LEARN, UNLEARNED, UNSEEN, Folds, make_folds
from geoseg.errors import ConfigError, GridError
from geoseg.grids import part_of

UTM = "EPSG:32607"
POLAR = "EPSG:3413"
LEFT, TOP = 600_000, 6_750_000


def grid_of(height_px, width_px, gsd_m, *, crs=UTM, left=LEFT, top=TOP):
    return GeoBox((height_px, width_px), Affine(gsd_m, 0, left, 0, -gsd_m, top), crs)


def centres(grid):
    rows, columns = np.mgrid[: grid.shape.y, : grid.shape.x] + 0.5
    return grid.affine.c + columns * grid.affine.a, grid.affine.f + rows * grid.affine.e


@st.composite
def dealt(draw):
    """Folds and the grid of 10 m that they were made of."""
    block_m = draw(st.sampled_from([80.0, 150.0, 233.3]))
    grid = grid_of(3 * draw(st.integers(20, 40)), 3 * draw(st.integers(20, 40)), 10, top=TOP + 0.4)
    folds = make_folds(
        grid,
        count=draw(st.integers(2, 5)),
        block_m=block_m,
        buffer_m=draw(st.floats(0, 0.49)) * block_m,
        seed=draw(st.integers(0, 99)),
    )
    return folds, grid


@settings(deadline=None, max_examples=40)
@given(dealt())
def test_each_pixel_is_in_one_fold_and_held_out_once(made):
    folds, grid = made

    fold = folds.fold_of(grid)

    assert set(np.unique(fold)) == set(range(folds.count))
    held = [folds.roles(grid, held_out=k) == UNSEEN for k in range(folds.count)]
    np.testing.assert_array_equal(np.sum(held, axis=0), 1)
    np.testing.assert_array_equal(np.argmax(held, axis=0), fold)


@settings(deadline=None, max_examples=25)
@given(dealt(), st.data())
def test_training_keeps_its_distance_and_gives_away_no_more_than_that(made, data):
    folds, grid = made
    held_out = data.draw(st.integers(0, folds.count - 1))
    x, y = centres(grid)
    # The distance to each held-out square, from its four edges, without looking at neighbours.
    distance = np.full(x.shape, np.inf)
    for row, column in np.argwhere(np.array(folds.dealt) == held_out):
        north, west = folds.top_m - row * folds.block_m, folds.left_m + column * folds.block_m
        down = np.maximum(0, np.maximum(y - north, north - folds.block_m - y))
        right = np.maximum(0, np.maximum(west - x, x - west - folds.block_m))
        distance = np.minimum(distance, np.hypot(down, right))

    roles = folds.roles(grid, held_out=held_out)

    clear = np.abs(distance - folds.buffer_m) > 0.01
    np.testing.assert_array_equal(roles[clear] == LEARN, (distance > folds.buffer_m)[clear])
    assert (distance[roles == UNSEEN] < 0.01).all()


@settings(deadline=None, max_examples=30)
@given(dealt(), st.data())
def test_a_coarse_and_a_fine_grid_agree_where_their_pixels_have_one_centre(made, data):
    folds, fine = made
    held_out = data.draw(st.integers(0, folds.count - 1))
    coarse = grid_of(fine.shape.y // 3, fine.shape.x // 3, 30, top=TOP + 0.4)

    there = folds.roles(fine, held_out=held_out)[1::3, 1::3]

    np.testing.assert_array_equal(folds.roles(coarse, held_out=held_out), there)
    np.testing.assert_array_equal(folds.block_of(coarse), folds.block_of(fine)[1::3, 1::3])


@settings(deadline=None, max_examples=30)
@given(dealt(), st.sampled_from([UTM, POLAR, "EPSG:4326"]), st.data())
def test_a_window_has_the_folds_of_that_part_of_the_whole(made, crs, data):
    folds, grid = made
    whole = grid.to_crs(crs)
    top = data.draw(st.integers(0, whole.shape.y - 2))
    left = data.draw(st.integers(0, whole.shape.x - 2))
    height = data.draw(st.integers(1, whole.shape.y - top))
    window = Window(left, top, whole.shape.x - left, height)
    rows, columns = window.toslices()

    part = part_of(whole, window)

    for verb in (folds.fold_of, folds.block_of, lambda g: folds.roles(g, held_out=1)):
        np.testing.assert_array_equal(verb(part), verb(whole)[rows, columns])


@settings(deadline=None, max_examples=20)
@given(dealt(), st.data())
def test_the_same_ground_is_in_the_same_fold_in_polar_coordinates(made, data):
    folds, grid = made
    x, y = centres(grid)
    row = data.draw(st.integers(0, grid.shape.y - 1))
    column = data.draw(st.integers(0, grid.shape.x - 1))
    there = Transformer.from_crs(UTM, POLAR, always_xy=True).transform(
        x[row, column], y[row, column]
    )
    # One pixel of 3 cm whose centre is that of the pixel looked at.
    speck = grid_of(1, 1, 0.03, crs=POLAR, left=there[0] - 0.015, top=there[1] + 0.015)
    edge_m = np.array([y[row, column] - folds.top_m, x[row, column] - folds.left_m])
    # On a border the rounding of the projection decides.
    assume((np.abs(edge_m / folds.block_m - np.round(edge_m / folds.block_m)) > 1e-4).all())

    assert folds.fold_of(speck)[0, 0] == folds.fold_of(grid)[row, column]
    assert folds.block_of(speck)[0, 0] == folds.block_of(grid)[row, column]


def test_blocks_are_numbered_along_rows_from_the_north_west():
    folds = make_folds(grid_of(4, 6, 10), count=2, block_m=20, buffer_m=0, seed=0)

    np.testing.assert_array_equal(
        folds.block_of(grid_of(4, 6, 10)),
        [[0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 2, 2], [3, 3, 4, 4, 5, 5], [3, 3, 4, 4, 5, 5]],
    )


def test_a_grid_of_many_rows_is_numbered_to_its_end():
    tall = grid_of(1100, 2, 1)

    blocks = make_folds(tall, count=2, block_m=100, buffer_m=0, seed=0).block_of(tall)

    np.testing.assert_array_equal(blocks[:, 1], np.arange(1100) // 100)


def test_a_pixel_on_a_border_is_in_the_same_block_in_every_window():
    row = grid_of(1, 400, 0.1, left=LEFT + 0.05)
    folds = make_folds(row, count=2, block_m=0.15, buffer_m=0, seed=0)

    for start in range(1, 400):
        part = part_of(row, Window(start, 0, 400 - start, 1))
        np.testing.assert_array_equal(folds.block_of(part), folds.block_of(row)[:, start:])


def test_blocks_that_fill_the_area_to_rounding_are_not_one_more():
    # 90.3 / 30.1 is a little above 3.
    assert make_folds(
        grid_of(3, 3, 30.1, left=0, top=90.3), count=2, block_m=30.1, buffer_m=0, seed=0
    ).shape == (3, 3)


def test_what_lies_outside_the_area_is_in_no_fold_and_does_not_train():
    folds = make_folds(grid_of(4, 6, 10), count=2, block_m=20, buffer_m=5, seed=0)
    wider = grid_of(6, 8, 10, left=LEFT - 10, top=TOP + 10)
    outside = np.ones((6, 8), dtype=bool)
    outside[1:-1, 1:-1] = False

    np.testing.assert_array_equal(folds.fold_of(wider) == -1, outside)
    np.testing.assert_array_equal(folds.block_of(wider) == -1, outside)
    assert (folds.roles(wider, held_out=0)[outside] == UNLEARNED).all()
    far = grid_of(3, 3, 100_000, crs=POLAR, left=0, top=0)
    assert (folds.fold_of(far) == -1).all()


def test_the_buffer_is_round_at_the_corner_of_a_block():
    corner = ((0, 1), (1, 1))  # the north-west block alone is held out
    folds = make_folds(grid_of(40, 40, 1), count=2, block_m=20, buffer_m=9, seed=0)
    folds = replace(folds, dealt=corner)

    roles = folds.roles(grid_of(40, 40, 1), held_out=0)

    assert roles[28, 10] == UNLEARNED  # 8.5 m south of the block
    assert roles[29, 10] == LEARN  # 9.5 m
    assert roles[25, 25] == UNLEARNED  # 5.5 * sqrt(2) = 7.8 m from its corner
    assert roles[27, 27] == LEARN  # 7.5 * sqrt(2) = 10.6 m


def test_each_fold_gets_its_share_of_each_class():
    rng = np.random.default_rng(5)
    grid = grid_of(240, 300, 10)
    truth = np.zeros((120, 150), np.uint8)  # half as fine as the grid
    truth[:, :60] = 1
    for row, column in rng.integers(0, (110, 140), size=(40, 2)):
        truth[row : row + 6, column : column + 6] = 2
    truth[:10] = 255

    folds = make_folds(grid, count=4, block_m=200, buffer_m=20, seed=3, truth=truth)

    fold = folds.fold_of(grid)[::2, ::2]
    for label in (0, 1, 2):
        held = np.bincount(fold[truth == label], minlength=4)
        assert held.max() / held.sum() < 0.29, label
        assert held.min() / held.sum() > 0.21, label


def test_the_rarest_class_is_dealt_richest_block_first_whatever_else_the_blocks_hold():
    # Rare pixels in 3, 1, 1 and 1; the unknown pixels of two blocks are no class to be dealt.
    truth = np.zeros((4, 16), np.uint8)
    truth[0, :3] = truth[0, 4] = truth[0, 8] = truth[0, 12] = 1
    truth[1, 8] = truth[1, 12] = 255
    grid = grid_of(4, 16, 10)

    for seed in range(10):
        folds = make_folds(grid, count=2, block_m=40, buffer_m=10, seed=seed, truth=truth)
        assert np.bincount(folds.fold_of(grid)[truth == 1]).tolist() == [3, 3]


def test_without_truth_folds_are_alike_in_area():
    grid = grid_of(14, 30, 10)  # three whole blocks, and three of which 40 % are on the grid

    for seed in range(10):
        folds = make_folds(grid, count=2, block_m=100, buffer_m=10, seed=seed)
        assert sorted(np.bincount(folds.fold_of(grid).ravel())) == [200, 220]


def test_a_class_in_as_many_blocks_as_folds_is_in_every_fold():
    grid = grid_of(60, 60, 10)
    truth = np.zeros((60, 60), np.uint8)
    for place in ((5, 5), (5, 45), (45, 25)):
        truth[place] = 3

    for seed in range(10):
        folds = make_folds(grid, count=3, block_m=100, buffer_m=10, seed=seed, truth=truth)
        assert set(folds.fold_of(grid)[truth == 3]) == {0, 1, 2}


def test_the_seed_decides_and_nothing_else():
    grid = grid_of(100, 100, 10)

    one, again, other = (
        make_folds(grid, count=4, block_m=100, buffer_m=10, seed=s) for s in (1, 1, 2)
    )

    assert one == again
    assert one.dealt != other.dealt


@given(dealt())
@settings(deadline=None, max_examples=10)
def test_folds_come_back_from_json(made):
    folds, _ = made

    assert Folds.from_dict(json.loads(json.dumps(folds.to_dict()))) == folds


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"block_m": 1000}, "1 blocks of 1000 m cover the area and 3 folds need one each; make"),
        ({"buffer_m": 50}, "make the buffer less than half a block"),
        ({"buffer_m": -1}, "make the buffer less than half a block"),
        ({"buffer_m": math.nan}, "make the buffer less than half a block"),
        ({"block_m": 0}, "block_m = 0; give blocks a positive width in metres"),
        ({"count": 1}, "count = 1 folds; give 2 to 127"),
    ],
)
def test_folds_that_cannot_be_are_refused(changed, words):
    with pytest.raises(ConfigError, match=words):
        make_folds(
            grid_of(50, 50, 10), **{"count": 3, "block_m": 100, "buffer_m": 20, "seed": 0} | changed
        )


def test_degrees_and_turned_grids_are_refused():
    with pytest.raises(GridError, match="Folds need a scene in metres"):
        make_folds(
            grid_of(50, 50, 0.1, crs="EPSG:4326", left=0, top=50),
            count=2,
            block_m=100,
            buffer_m=20,
            seed=0,
        )
    with pytest.raises(GridError, match="north up"):
        make_folds(
            GeoBox((50, 50), Affine.rotation(30) * Affine.scale(10), UTM),
            count=2,
            block_m=100,
            buffer_m=20,
            seed=0,
        )


def test_unknown_folds_and_broken_records_are_refused():
    folds = make_folds(grid_of(50, 50, 10), count=2, block_m=100, buffer_m=20, seed=0)

    with pytest.raises(ConfigError, match="held_out = 2 is no fold; give one from 0 to 1"):
        folds.roles(grid_of(5, 5, 10), held_out=2)
    for broken in (
        {"dealt": [[0, 1], [0]]},
        {"dealt": [[0, 2]]},
        {"dealt": [[]]},
        {"dealt": [["a"]]},
        {"crs": "no"},
        {"left_m": None},
        {"top_m": "north"},
    ):
        with pytest.raises(ConfigError, match="make them again with make_folds"):
            Folds.from_dict(folds.to_dict() | broken)
