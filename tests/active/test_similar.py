"""How near items are to known positives."""

import numpy as np
import pytest

from geoseg.active.acquire.similar import similarity
from geoseg.errors import ConfigError

EAST, NORTH = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])


def test_an_item_is_as_similar_as_its_angle_to_the_nearest_positive_is_small():
    items = np.array([[3.0, 0.0], [0.0, 0.1], [1.0, 1.0], [-2.0, 0.0], [0.0, 0.0]])

    np.testing.assert_allclose(similarity(items, EAST), [1, 0, 0.5**0.5, -1, 0], atol=1e-12)
    both = similarity(items, np.concatenate([EAST, NORTH]))
    np.testing.assert_allclose(both, [1, 1, 0.5**0.5, 0, 0], atol=1e-12)


def test_items_in_half_precision_beyond_a_block_are_each_compared(monkeypatch):
    monkeypatch.setattr("geoseg.active.acquire.similar._BLOCK", 7)
    rng = np.random.default_rng(0)
    items, known = (rng.normal(size=(n, 16)).astype(np.float16) for n in (50, 3))

    found = similarity(items, known)

    whole = items.astype(float) @ known.T.astype(float)
    lengths = np.linalg.norm(items.astype(float), axis=1)[:, None] * np.linalg.norm(
        known.astype(float), axis=1
    )
    np.testing.assert_allclose(found, (whole / lengths).max(axis=1), rtol=1e-5)


def test_nothing_is_similar_where_no_positive_is_known():
    with pytest.raises(ConfigError) as error:
        similarity(np.zeros((3, 4)), np.zeros((0, 4)))

    assert str(error.value) == (
        "No positive item is known, so none can be similar to it; give one an answer, or propose "
        "by typiclust."
    )


def test_positives_of_another_encoder_are_refused():
    with pytest.raises(ConfigError) as error:
        similarity(np.zeros((3, 4)), np.zeros((1, 8)))

    assert str(error.value) == (
        "Known items have 8 numbers and the others 4; embed both with one encoder."
    )
