"""Windows of images of slumps: where they are cut, and what they are dealt to."""

import os
from zlib import crc32

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from geoseg.chips import stack_places
from geoseg.data import fetch
from geoseg.data.slumps import (
    FOLDS,
    SlumpImage,
    WindowSpec,
    cut_windows,
    read_slump_images,
)
from geoseg.errors import DataError

needs_data = pytest.mark.skipif(
    "GEOSEG_DATA_MIRROR" not in os.environ,
    reason="needs the open data sets: name a mirror of them by GEOSEG_DATA_MIRROR",
)
SPEC = WindowSpec(size_px=32, least_px=30)
HEIGHT, WIDTH = 96, 160  # not square: a swapped axis is seen


def drawn(name, *slumps, colour=(200, 100, 50)):
    """Tundra that says its row in green and its column in blue, with rectangles of slump."""
    rows, columns = np.indices((HEIGHT, WIDTH))
    rng = np.random.default_rng(crc32(name.encode()))  # each is of a ground of its own
    colours = np.stack([rng.integers(20, 60, rows.shape), rows, columns], axis=-1)
    slump = np.zeros(rows.shape, dtype=bool)
    for row, column, height, width in slumps:
        slump[row : row + height, column : column + width] = True
    colours[slump] = colour
    return SlumpImage(name=name, colours=colours.astype(np.uint8), slump=slump)


def many(count=40):
    """Two regions, tens of images each; every other with a slump of its own look."""
    return [
        drawn(
            f"train_{region}_{number:03d}",
            *([(10 + number, 20, 14, 9)] if number % 2 else []),
            colour=(180 + number, 90, 50 + number),
        )
        for region in ("yg", "nitze")
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def windows():
    return cut_windows(many(), SPEC, seed=3)


def test_a_window_is_what_its_image_shows_there(windows):
    for number in range(0, len(windows), 37):
        place = windows[number]
        (chip,) = place.images
        source = windows.images[windows.image[number]]
        row, column = windows.row[number], windows.column[number]

        assert chip.image.shape == (3, 32, 32)
        tundra = ~chip.label.bool()
        rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
        assert torch.equal(chip.image[1][tundra], (rows + int(row))[tundra].float())
        assert torch.equal(chip.image[2][tundra], (columns + int(column))[tundra].float())
        assert place.id == f"{source.name}/r{row:03d}c{column:03d}"
        assert place.present == bool(chip.label.any()) == bool(windows.present[number])
        assert float(chip.label.float().mean()) == pytest.approx(windows.share[number], abs=1e-6)
        assert [band.common_name for band in chip.bands] == ["red", "green", "blue"]


@settings(deadline=None, max_examples=40)
@given(
    slumps=st.lists(
        st.tuples(
            st.integers(0, HEIGHT - 5), st.integers(0, WIDTH - 5), st.integers(1, 40),
            st.integers(1, 40),
        ),
        max_size=4,
    ),
    seed=st.integers(0, 9),
)  # fmt: skip
def test_a_window_holds_a_slump_or_keeps_its_margin_from_every_one(slumps, seed):
    # The second one trains or calibrates.
    images = [drawn("train_yg_001", *slumps), drawn("train_yg_011")]

    windows = cut_windows(images, SPEC, seed=seed)

    marked = images[0].slump
    grid = 0
    for row, column, present in zip(
        *(getattr(windows, f)[windows.image == 0] for f in ("row", "column", "present")),
        strict=True,
    ):
        assert 0 <= row <= HEIGHT - 32
        assert 0 <= column <= WIDTH - 32
        inside = marked[row : row + 32, column : column + 32].sum()
        top, left = max(row - SPEC.margin_px, 0), max(column - SPEC.margin_px, 0)
        around = marked[top : row + 32 + SPEC.margin_px, left : column + 32 + SPEC.margin_px].sum()
        assert inside >= SPEC.least_px if present else around == 0
        grid += not present
    # And no window that could be one is left out.
    clear = sum(
        not marked[
            max(r - SPEC.margin_px, 0) : r + 32 + SPEC.margin_px,
            max(c - SPEC.margin_px, 0) : c + 32 + SPEC.margin_px,
        ].any()
        for r in range(0, HEIGHT - 31, 16)
        for c in range(0, WIDTH - 31, 16)
    )
    assert grid == clear


def test_every_slump_that_is_large_enough_has_one_window_around_its_middle():
    image = drawn(
        "train_yg_001", (30, 100, 12, 10), (80, 20, 10, 10), (5, 5, 5, 5), (60, 140, 30, 20)
    )
    windows = cut_windows([image, drawn("train_yg_011")], SPEC)

    found = [(int(windows.row[n]), int(windows.column[n])) for n in np.flatnonzero(windows.present)]

    assert len(found) == 3  # 25 px are fewer than least_px
    numbered, _ = ndimage.label(image.slump)
    middles = ndimage.center_of_mass(image.slump, numbered, [2, 3, 4])
    for middle in middles:
        aim = np.clip(np.array(middle) - 16, 0, (HEIGHT - 32, WIDTH - 32))
        off = min(np.abs(np.array(corner) - aim).max() for corner in found)
        assert off <= SPEC.off_centre * 32 + 1


def test_a_slump_is_not_always_in_the_middle_of_its_window(windows):
    middles = [
        ndimage.center_of_mass(windows[int(n)].images[0].label.numpy())
        for n in np.flatnonzero(windows.present)
    ]

    assert np.std(middles, axis=0).min() > 1


def test_a_slump_bent_around_its_middle_that_lies_outside_of_its_window_has_none():
    image = drawn("train_yg_001")
    image.slump[4:92, 40:150] = True
    image.slump[8:88, 44:146] = False  # a ring
    image.slump[47, 44:102] = True  # of which fewer than least_px reach to its middle

    windows = cut_windows([image, drawn("train_yg_011")], SPEC)

    assert not windows.present[windows.image == 0].any()


@pytest.mark.slow
def test_images_that_overlap_are_in_one_fold_and_each_region_is_in_all():
    images = many()
    # Numbers far apart, one of them cut and compressed anew.
    again = images[3].colours[10:, 20:].astype(int) + np.random.default_rng(0).integers(-2, 3, 3)
    images[31] = SlumpImage(
        name=images[31].name, colours=again.clip(0, 255).astype(np.uint8),
        slump=images[3].slump[10:, 20:],
    )  # fmt: skip

    for seed in range(5):
        windows = cut_windows(images, SPEC, seed=seed)

        fold_of = dict(zip(windows.image.tolist(), windows.fold, strict=True))
        ground_of = dict(zip(windows.image.tolist(), windows.ground, strict=True))
        assert fold_of[3] == fold_of[31]
        assert ground_of[3] == ground_of[31]
        assert len(set(ground_of.values())) == len(ground_of) - 1
        for region in (range(40), range(40, 80)):
            counts = np.bincount([fold_of[n] for n in region])
            assert counts.tolist() == pytest.approx([20, 10, 10], abs=1)
        parts = [windows.part(fold) for fold in FOLDS]
        assert sum(map(len, parts)) == len(windows)
        assert not set(parts[0].ground) & set(parts[2].ground)


def test_the_cut_depends_on_the_seed_alone(windows):
    again, other = cut_windows(many(), SPEC, seed=3), cut_windows(many(), SPEC, seed=4)

    assert np.array_equal(again.row, windows.row)
    assert np.array_equal(again.fold, windows.fold)
    assert not np.array_equal(other.row, windows.row) or len(other) != len(windows)


def test_the_palette_is_of_training_images_alone(windows):
    images = many()
    training = {windows.images[i].name for i in windows.image[windows.fold == 0]}
    changed = [
        image
        if image.name in training
        else SlumpImage(name=image.name, colours=255 - image.colours, slump=image.slump)
        for image in images
    ]

    other = cut_windows(changed, SPEC, seed=3)

    assert np.array_equal(other.palette, windows.palette)
    assert windows.palette.shape[0] == 3
    # Rows and columns are in green and blue: the pixels come from everywhere.
    assert np.ptp(windows.palette[1]) > 80
    assert np.ptp(windows.palette[2]) > 140


def test_windows_are_a_sequence_of_places(windows):
    assert windows[-1].id == windows[len(windows) - 1].id
    assert [place.id for place in windows[3:9:2]] == [windows[i].id for i in (3, 5, 7)]
    with pytest.raises(IndexError):
        windows[len(windows)]
    batch = stack_places(windows[:5])
    assert batch.size == 5
    assert batch.present.tolist() == windows.present[:5].astype(float).tolist()


def test_slumps_whose_windows_are_one_are_one_place_and_the_others_stay_as_they_are():
    # Two in the upper left corner, to which their windows are clipped, and one that lies free.
    corner, free = [(0, 0, 6, 6), (8, 2, 6, 6)], (60, 90, 12, 10)
    images = [drawn("train_yg_001", *corner, free), drawn("train_yg_011")]

    windows = cut_windows(images, SPEC)

    ids = [place.id for place in windows]
    assert len(set(ids)) == len(ids)
    first, second = windows.chosen(np.flatnonzero(windows.present))
    assert first.id == "train_yg_001/r000c000"
    assert first.images[0].label.sum() == 2 * 36
    # Where it lies in its window was drawn as the third.
    off = np.random.default_rng(0).uniform(-SPEC.off_centre, SPEC.off_centre, (3, 2))[2] * 32
    row, column = np.round(np.array([65.5, 94.5]) + off - 16).astype(int)
    assert second.id == f"train_yg_001/r{row:03d}c{column:03d}"


def test_an_image_smaller_than_a_window_has_none():
    small = SlumpImage(
        name="train_yg_003",
        colours=np.zeros((20, 160, 3), dtype=np.uint8),
        slump=np.ones((20, 160), dtype=bool),
    )

    windows = cut_windows([small, drawn("train_yg_001"), drawn("train_yg_011")], SPEC)

    assert (windows.image != 0).all()


@pytest.mark.parametrize("images", [[], [drawn("train_yg_001"), drawn("train_yg_001")]])
def test_images_that_leave_none_to_train_on_are_refused(images):
    with pytest.raises(DataError, match="give images of two places of one region at least"):
        cut_windows(images, SPEC)


def write(folder, image, *, mask=True):
    for kind in ("images", "masks"):
        (folder / kind).mkdir(exist_ok=True)
    Image.fromarray(image.colours).save(folder / "images" / f"{image.name}.jpg", quality=95)
    if mask:
        grey = Image.fromarray(image.slump.astype(np.uint8) * 255)
        grey.save(folder / "masks" / f"{image.name}.jpg", quality=75)


def test_images_come_by_name_with_masks_free_of_the_noise_of_their_compression(tmp_path):
    images = [drawn("train_yg_012", (20, 30, 16, 40)), drawn("train_nitze_002")]
    for image in images:
        write(tmp_path, image)

    nitze, yg = read_slump_images(tmp_path)

    assert (nitze.name, nitze.region, yg.region) == ("train_nitze_002", "nitze", "yg")
    assert not nitze.slump.any()
    assert (yg.slump == images[0].slump).mean() > 0.999
    assert np.abs(yg.colours[:, :, 2].astype(int) - images[0].colours[:, :, 2]).mean() < 10


def test_what_is_missing_is_named_with_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"holds no \.jpg; fetch the set rts-chips again"):
        read_slump_images(tmp_path)

    write(tmp_path, drawn("train_yg_001"), mask=False)
    with pytest.raises(DataError, match=r"masks/train_yg_001\.jpg is missing"):
        read_slump_images(tmp_path)

    write(tmp_path, drawn("train_yg_001"))
    Image.new("L", (10, 20)).save(tmp_path / "masks" / "train_yg_001.jpg")
    with pytest.raises(DataError, match=r"has \(20, 10\) rows and columns, its image \(96, 160\)"):
        read_slump_images(tmp_path)


@needs_data
@pytest.mark.slow
def test_the_windows_of_the_real_set_are_of_both_kinds_in_every_fold():
    images = read_slump_images(fetch("rts-chips"))
    windows = cut_windows(images)

    assert len(images) == 756
    where = np.column_stack([windows.image, windows.row, windows.column])
    assert len(np.unique(where, axis=0)) == len(windows)
    for fold in FOLDS:
        part = windows.part(fold)
        assert part.present.sum() > 100
        assert (~part.present).sum() > 500
        assert {images[i].region for i in part.image} == {"yg", "nitze"}
        assert set(part.ground).isdisjoint(windows.ground[windows.fold != FOLDS.index(fold)])
    # Most show ground that another one shows too, also under numbers far apart.
    assert len(set(windows.ground)) < 400
    regions = {(g, images[i].region) for g, i in zip(windows.ground, windows.image, strict=True)}
    assert len(regions) == len(set(windows.ground))
    held = windows[int(np.flatnonzero(windows.present)[0])]
    assert held.images[0].label.any()
    assert held.images[0].image.shape == (3, 64, 64)
