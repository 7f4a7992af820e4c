"""Images of one ground are known by their pixels."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from geoseg.data.slumps.ground import same_ground


def mosaic(seed, side=500):
    """Ground with detail of several sizes."""
    rng = np.random.default_rng(seed)
    noise = [rng.normal(size=(side, side)) for _ in range(4)]
    grey = sum(ndimage.gaussian_filter(n, s) * s for n, s in zip(noise, (1, 2, 5, 20), strict=True))
    grey = 120 + 40 * grey / grey.std()
    return np.stack([grey, grey + 5, grey - 5], axis=-1).clip(0, 255).astype(np.uint8)


def cut(ground, row, column, height=150, width=200, quality=75):
    """As an image that was compressed."""
    file = io.BytesIO()
    Image.fromarray(ground[row : row + height, column : column + width]).save(
        file, "JPEG", quality=quality
    )
    return np.asarray(Image.open(file))


@pytest.fixture(scope="module")
def ground():
    return mosaic(0)


def test_cuts_that_overlap_are_one_ground_and_so_on_from_cut_to_cut(ground):
    images = [
        cut(ground, 0, 0), cut(mosaic(1), 0, 0), cut(ground, 60, 100, quality=40),
        cut(ground, 120, 200), cut(ground, 300, 0), cut(mosaic(1), 300, 300),
    ]  # fmt: skip

    found = same_ground(images)

    # The first and the fourth meet by way of the third alone.
    assert found[0] == found[2] == found[3]
    assert len({found[0], found[1], found[4], found[5]}) == 4


@settings(max_examples=15, deadline=None)
@given(row=st.integers(0, 90), column=st.integers(0, 120))
def test_a_third_of_the_ground_in_common_is_enough(ground, row, column):
    shared = (150 - row) * (200 - column) / (150 * 200)

    one, other = same_ground([cut(ground, 0, 0), cut(ground, row, column)])

    if shared > 0.33:
        assert one == other


def test_slopes_of_brightness_are_no_ground_in_common():
    rows, columns = np.indices((150, 200))
    images = []
    for seed in range(12):
        noise = np.random.default_rng(seed).normal(0, 3, (150, 200))
        grey = (rows + columns) * 0.6 + 20 + noise
        images.append(np.stack([grey] * 3, axis=-1).clip(0, 255).astype(np.uint8))

    assert len(set(same_ground(images))) == 12


def test_images_without_detail_are_each_by_themselves():
    flat, small = np.full((60, 60, 3), 7, np.uint8), np.zeros((20, 30, 3), np.uint8)

    assert same_ground([flat, flat, small]).tolist() == [0, 1, 2]
