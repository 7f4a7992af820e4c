"""The nearest items of a pool, against distances computed one by one."""

import builtins

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geoseg.active.acquire.neighbours import index_pool, nearest
from geoseg.active.pool import PoolBatch, write_pool
from geoseg.errors import ConfigError


def pool_of(folder, embeddings):
    items = [f"item {n}" for n in range(len(embeddings))]
    nowhere = np.full(len(items), np.nan)
    batch = PoolBatch(items, nowhere, nowhere, embeddings)
    return write_pool(folder, [batch], count=len(items), width=embeddings.shape[1], source="test")


def one_by_one(pool, queries):
    """Distances (Q, N) in double precision."""
    return np.linalg.norm(queries[:, None] - pool.stored.astype(float), axis=2)


@pytest.mark.slow
@given(seed=st.integers(0, 2**32 - 1), items=st.integers(1, 40), count=st.integers(1, 8))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_nearest_are_those_of_all_pieces(tmp_path, monkeypatch, seed, items, count):
    monkeypatch.setattr("geoseg.active.pool._PIECE", 7)
    rng = np.random.default_rng(seed)
    pool = pool_of(tmp_path, rng.normal(size=(items, 6)).astype(np.float32))
    queries = rng.normal(size=(5, 6))

    found = nearest(pool, queries, count)

    expected = np.sort(one_by_one(pool, queries), axis=1)[:, :count]
    shown = expected.shape[1]
    np.testing.assert_allclose(found.distances[:, :shown], expected, atol=2e-3)
    own = np.take_along_axis(one_by_one(pool, queries), found.positions[:, :shown], axis=1)
    np.testing.assert_allclose(own, expected, atol=2e-3)
    assert (found.positions[:, shown:] == -1).all()
    assert np.isinf(found.distances[:, shown:]).all()


def test_of_equal_distances_the_lowest_position_is_first(tmp_path, monkeypatch):
    monkeypatch.setattr("geoseg.active.pool._PIECE", 3)
    pool = pool_of(tmp_path, np.array([[2.0], [1], [3], [1], [1], [5]], dtype=np.float32))

    found = nearest(pool, np.array([[1.0]]), 4)

    assert found.positions.tolist() == [[1, 3, 4, 0]]


def test_an_index_that_looks_everywhere_finds_the_same(tmp_path):
    rng = np.random.default_rng(0)
    pool = pool_of(tmp_path, rng.normal(size=(3000, 16)).astype(np.float32))
    queries = pool.embeddings(slice(0, 3000, 100))

    index = index_pool(pool, rng)
    everywhere = index.nearest(queries, 5, looked_into=index.lists)

    assert index.lists == 75
    exact = nearest(pool, queries, 5)
    # Two at nearly one distance may change places by rounding.
    np.testing.assert_array_equal(np.sort(everywhere.positions), np.sort(exact.positions))
    np.testing.assert_allclose(everywhere.distances, exact.distances, atol=2e-3)
    few = index.nearest(queries, 5, looked_into=8)
    assert np.isin(few.positions, exact.positions).mean() > 0.6
    assert (few.positions[:, 0] == np.arange(0, 3000, 100)).all()


def test_an_index_of_few_items_tells_what_it_lacks_and_warns_of_nothing(tmp_path, capfd):
    pool = pool_of(tmp_path, np.array([[0.0, 0], [3, 4]], dtype=np.float32))

    found = index_pool(pool, np.random.default_rng(0)).nearest(np.zeros((1, 2)), 3, looked_into=1)

    assert found.positions.tolist() == [[0, 1, -1]]
    assert found.distances.tolist() == [[0, 5, np.inf]]
    assert capfd.readouterr().err == ""


def test_queries_of_another_encoder_are_refused(tmp_path):
    pool = pool_of(tmp_path, np.zeros((4, 2), dtype=np.float32))

    index = index_pool(pool, np.random.default_rng(0))
    queries = np.zeros((1, 3))

    told = "The items asked about have 3 numbers and those of the pool 2; embed both with one"
    with pytest.raises(ConfigError, match=told):
        nearest(pool, queries, 1)
    with pytest.raises(ConfigError, match=told):
        index.nearest(queries, 1, looked_into=1)


def test_without_faiss_one_is_told_how_to_get_it(tmp_path, monkeypatch):
    pool = pool_of(tmp_path, np.zeros((4, 2), dtype=np.float32))
    known = builtins.__import__

    def without_faiss(name, *rest, **more):
        if name == "faiss":
            raise ModuleNotFoundError(name=name)
        return known(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_faiss)

    with pytest.raises(ConfigError) as error:
        nearest(pool, np.zeros((1, 2)), 1)
    assert str(error.value) == "Nearest neighbours need faiss; run pip install 'faiss-cpu>=1.9'."
