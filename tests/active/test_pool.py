"""A pool gives back what was put in, and tells when it cannot."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.active.pool import PoolBatch, holds_pool, open_pool, write_pool
from geoseg.errors import DataError

ANY_ID = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


def batch_of(items, embeddings, lon=None, lat=None):
    unknown = np.full(len(items), np.nan)
    return PoolBatch(
        items,
        unknown if lon is None else np.asarray(lon, dtype=float),
        unknown if lat is None else np.asarray(lat, dtype=float),
        np.asarray(embeddings, dtype=np.float32).reshape(len(items), np.shape(embeddings)[-1]),
    )


def write(folder, *batches, count=None, width=2):

    return write_pool(folder, batches, count=count, width=width, source="test")


@pytest.fixture
def pool(tmp_path):
    return write(
        tmp_path / "pool",
        batch_of(["a", "b"], [[0, 1], [2, 3]], [10, 20], [50, 60]),
        batch_of(["c"], [[4, 5]]),
    )


@settings(max_examples=10)
@given(items=st.lists(ANY_ID, unique=True, max_size=12), cut=st.integers(0, 12), data=st.data())
def test_what_goes_in_comes_out_whatever_the_batches(tmp_path_factory, items, cut, data):
    number = st.floats(-1000, 1000, width=16)
    embeddings = np.array([[data.draw(number), data.draw(number)] for _ in items])
    embeddings = embeddings.reshape(-1, 2)
    folder = tmp_path_factory.mktemp("pool")

    one = write(folder / "one", batch_of(items, embeddings.reshape(len(items), 2)))
    parts = [slice(0, cut), slice(cut, None)]
    two = write(
        folder / "two",
        *(PoolBatch(*(c[p] for c in batch_of(items, embeddings))) for p in parts if items),
    )

    assert len(one) == len(two) == len(items)
    assert one.digest == two.digest
    assert two.names(np.arange(len(items))) == items
    assert two.positions([*items, "not there \ud800"]).tolist() == [*range(len(items)), -1]
    np.testing.assert_array_equal(two.embeddings(slice(None)), embeddings)
    pieces = [piece for _, piece in two.pieces()]
    np.testing.assert_array_equal(np.concatenate([np.empty((0, 2)), *pieces]), embeddings)


def test_places_are_kept_and_unknown_ones_are_nan(pool):
    np.testing.assert_array_equal(pool.lon, [10, 20, np.nan])
    np.testing.assert_array_equal(pool.lat, [50, 60, np.nan])
    assert (pool.width, pool.source) == (2, "test")
    assert pool.positions(["c", "x", "a", "c", ""]).tolist() == [2, -1, 0, 2, -1]
    assert pool.positions([]).tolist() == []
    np.testing.assert_array_equal(pool.embeddings(np.array([2, 0])), [[4, 5], [0, 1]])


@pytest.mark.parametrize(
    "other",
    [
        batch_of(["a", "d"], [[0, 1], [2, 3]], [10, 20], [50, 60]),
        batch_of(["a", "b"], [[0, 1], [2, 4]], [10, 20], [50, 60]),
        batch_of(["a", "b"], [[0, 1], [2, 3]], [10, 21], [50, 60]),
        batch_of(["b", "a"], [[0, 1], [2, 3]], [10, 20], [50, 60]),
    ],
)
def test_another_pool_has_another_digest(tmp_path, other):
    batch = batch_of(["a", "b"], [[0, 1], [2, 3]], [10, 20], [50, 60])

    assert write(tmp_path / "a", batch).digest != write(tmp_path / "b", other).digest


def test_an_empty_pool_is_a_pool(tmp_path):
    empty = write(tmp_path, count=0, width=3)

    assert (len(empty), empty.width) == (0, 3)
    assert list(empty.pieces()) == []
    assert empty.names(np.array([], dtype=np.intp)) == []
    assert empty.positions(["a"]).tolist() == [-1]
    assert empty.embeddings(slice(None)).shape == (0, 3)


@pytest.mark.parametrize(
    ("batches", "said"),
    [
        ([batch_of(["a", "a"], [[0, 1], [2, 3]])], "'a' occurs twice in the pool"),
        ([batch_of(["a"], [[0, 1]]), batch_of(["a"], [[0, 1]])], "'a' occurs twice in the pool"),
        ([batch_of(["a"], [[0, np.nan]])], "not finite, or beyond half precision"),
        ([batch_of(["a"], [[0, 70_000]])], "not finite, or beyond half precision"),
        ([batch_of([""], [[0, 1]])], "'' is no id of an item in the test"),
        ([batch_of(["\ud800"], [[0, 1]])], "is no id of an item in the test"),
        (
            [batch_of(["a"], [[0, 1, 2]])],
            "1 items of the test come with .* give each item one, of 2 numbers",
        ),
        (
            [batch_of(["a", "b"], [[0, 1], [2, 3]])._replace(embeddings=np.zeros((1, 2)))],
            "2 items of the test come with",
        ),
        ([batch_of(["a"], [[0, 1]])._replace(lon=np.zeros(2))], "1 items of the test come with"),
    ],
)
def test_a_pool_that_cannot_be_is_not_written(tmp_path, batches, said):
    with pytest.raises(DataError, match=said):
        write(tmp_path, *batches)

    assert not holds_pool(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", [0, 2])
def test_another_number_of_items_than_announced_is_told(tmp_path, count):
    with pytest.raises(DataError, match=f"and {count} were announced"):
        write(tmp_path, batch_of(["a"], [[0, 1]]), count=count)


def _write_items(folder, **columns):
    pq.write_table(pa.table(columns), folder / "items.parquet")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "pool.json").write_text("{"),
        lambda folder: (folder / "pool.json").write_text("[]"),
        lambda folder: (folder / "pool.json").write_text('{"format": 1}'),
        lambda folder: (folder / "pool.json").write_text(
            '{"format": 2, "digest": "", "source": ""}'
        ),
        lambda folder: (folder / "items.parquet").write_bytes(b"PAR1"),
        lambda folder: (folder / "items.parquet").unlink(),
        lambda folder: _write_items(folder, item=["a"], lon=[0.0], lat=[0.0]),
        lambda folder: _write_items(folder, item=["a", "b", "c"]),
        lambda folder: _write_items(folder, item=[1, 2, 3], lon=[0.0] * 3, lat=[0.0] * 3),
        lambda folder: (folder / "embeddings.npy").unlink(),
        lambda folder: (folder / "embeddings.npy").write_bytes(b""),
        lambda folder: (folder / "embeddings.npy").write_bytes(b"foreign"),
        lambda folder: os.truncate(folder / "embeddings.npy", 130),
        lambda folder: np.save(folder / "embeddings.npy", np.zeros((3, 2))),
        lambda folder: np.save(folder / "embeddings.npy", np.zeros((2, 2), dtype=np.float16)),
        lambda folder: np.save(folder / "embeddings.npy", np.array([{}, {}, {}], dtype=object)),
    ],
)
def test_a_damaged_pool_is_told(pool, tmp_path, spoil):
    folder = tmp_path / "pool"
    del pool

    spoil(folder)

    with pytest.raises(DataError, match=r"holds a (damaged pool \(|pool of another version or)"):
        open_pool(folder)


def test_a_folder_without_a_pool_says_how_to_make_one(tmp_path):
    with pytest.raises(DataError, match="holds no pool; make it with `geoseg active init`"):
        open_pool(tmp_path)


WRITER = """
import sys, time
from pathlib import Path
import numpy as np
from geoseg.active.pool import PoolBatch, write_pool
def batches():
    for n in range(4):
        print(n, flush=True)
        yield PoolBatch([str(n)], np.zeros(1), np.zeros(1), np.zeros((1, 2), np.float32))
        time.sleep(60 if n == 1 else 0)
write_pool(Path(sys.argv[1]), batches(), count=4, width=2, source="test")
"""


@pytest.mark.slow
def test_a_writer_that_is_killed_leaves_no_pool_and_a_rerun_makes_it(tmp_path):
    write(tmp_path, batch_of(["old"], [[0, 1]]))
    writer = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path], stdout=subprocess.PIPE)
    writer.stdout.readline()
    writer.stdout.readline()
    time.sleep(0.1)
    os.kill(writer.pid, signal.SIGKILL)
    writer.communicate()

    assert not holds_pool(tmp_path)
    made = write(tmp_path, batch_of(["new"], [[0, 1]]))
    assert made.names(np.array([0])) == ["new"]
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["embeddings.npy", "items.parquet", "pool.json"]
    assert json.loads((tmp_path / "pool.json").read_text())["digest"] == made.digest
