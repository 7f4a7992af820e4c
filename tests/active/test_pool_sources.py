"""A pool holds what its source holds, item by item."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from presence.small_pack import (
    SPOT,
    image,
    make_small_model,
    make_small_pack,
    place,
    varied,
)

from geoseg.active.folder import pool_folder
from geoseg.active.pool import holds_pool
from geoseg.active.sources import fill_pool, read_source, source_of
from geoseg.chips import stack_places
from geoseg.dates import as_utc
from geoseg.errors import ConfigError, DataError
from geoseg.models.classifier import load_classifier
from geoseg.presence.packs import read_shard
from geoseg.presence.rows.grid import PlaceGrid
from geoseg.presence.rows.quantise import Quantiser
from geoseg.presence.rows.store import RowsHeader, SceneRows, rows_folder, write_header, write_rows
from geoseg.scale import Engine
from geoseg.scenes import Asset, Scene
from geoseg.training.forest import statistics_of

SERIAL = Engine()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_small_model(tmp_path_factory.mktemp("model") / "model.safetensors")


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    return make_small_pack(folder, [[varied(n) for n in of] for of in (range(8), range(8, 12))])


@pytest.mark.slow
def test_the_head_reads_from_embeddings_of_a_pack_what_the_network_says(tmp_path, pack, model):
    """The logit of a place is linear in its embedding, as the classifier joins images."""
    classifier = load_classifier(model).classifier

    pool, problems = fill_pool(
        tmp_path, source_of("pack", pack.folder, model), SERIAL, device="cpu"
    )

    assert [problem.key for problem in problems] == ["p3", "p7", "p11"]
    assert pool.names(np.arange(len(pool))) == [f"p{n}" for n in range(12) if n % 4 != 3]
    np.testing.assert_allclose(pool.lon, [10 + n / 100 for n in range(12) if n % 4 != 3])
    weight = classifier.head.weight.detach().numpy()[0]
    told = pool.embeddings(slice(None)) @ weight + classifier.head.bias.detach().numpy()
    logits = []
    for shard in pack.shards:
        for found in read_shard(shard, pack):
            batch = stack_places([found])
            with torch.inference_mode():
                said = classifier([b.view() for b in batch.batches], batch.owners, 1)
            if any(bool(one.valid.any()) for one in found.images):
                logits.append(float(said.places))
    np.testing.assert_allclose(told, logits, atol=0.05)
    assert np.ptp(logits) > 1


def test_without_a_model_items_are_standardised_colours_and_textures(tmp_path, pack):
    pool, _ = fill_pool(tmp_path, source_of("pack", pack.folder), SERIAL)

    rows = []
    for shard in pack.shards:
        for found in read_shard(shard, pack):
            seen = [statistics_of(one) for one in found.images if one.valid.any()]
            if seen:
                rows.append(np.mean(seen, axis=0, dtype=np.float64))
    rows = np.stack(rows)
    moving = rows.std(axis=0) > 1e-4
    expected = (rows - rows.mean(axis=0))[:, moving] / rows.std(axis=0)[moving]
    np.testing.assert_allclose(pool.embeddings(slice(None))[:, moving], expected, atol=5e-3)
    assert "colours and textures" in pool.source
    assert read_source(tmp_path).digest == pack.digest


def test_images_of_several_kinds_need_a_model(tmp_path):
    pack = make_small_pack(tmp_path, [[place("a", image(1)), place("b", image(2, SPOT))]])

    with pytest.raises(
        ConfigError, match=r"images of 2 kinds, .* give --model, or pack one sensor"
    ):
        fill_pool(tmp_path / "p", source_of("pack", pack.folder), SERIAL)

    assert not holds_pool(pool_folder(tmp_path / "p"))


def test_shards_that_are_done_are_not_embedded_again(tmp_path, monkeypatch):
    pack = make_small_pack(tmp_path, [[varied(0)], [varied(1)], [varied(2)]])
    source = source_of("pack", pack.folder)
    path = pack.shards[2].path
    whole = path.read_bytes()
    path.write_bytes(whole[:-600])

    with pytest.raises(DataError, match=r"1 of 3 shards were not embedded \(.*s2.tar has"):
        fill_pool(tmp_path / "p", source, SERIAL)
    path.write_bytes(whole)
    seen = []
    real = statistics_of
    monkeypatch.setattr(
        "geoseg.active.source_pack.statistics_of", lambda one: seen.append(one) or real(one)
    )
    pool, _ = fill_pool(tmp_path / "p", source, SERIAL)

    assert len(pool) == 3
    assert len(seen) == 2  # the images of the third shard
    assert sorted(one.name for one in (tmp_path / "p").iterdir()) == ["pool", "source.json"]


def test_a_pool_that_is_there_is_not_made_again_unless_its_source_is_another(tmp_path):
    table = tmp_path / "a.csv"
    table.write_text("item,e0\na,1\nb,2\n")
    first, _ = fill_pool(tmp_path, source_of("table", table), SERIAL)
    made = (pool_folder(tmp_path) / "embeddings.npy").stat().st_mtime_ns

    fill_pool(tmp_path, source_of("table", table), SERIAL)
    assert (pool_folder(tmp_path) / "embeddings.npy").stat().st_mtime_ns == made

    table.write_text("item,e0\na,1\nb,3\n")
    second, _ = fill_pool(tmp_path, source_of("table", table), SERIAL)
    assert second.digest != first.digest


def test_a_pack_that_shows_nothing_makes_no_pool(tmp_path):
    pack = make_small_pack(tmp_path, [[varied(3)]])

    with pytest.raises(DataError, match="no place that shows anything"):
        fill_pool(tmp_path / "p", source_of("pack", pack.folder), SERIAL)


# Rows


def scene_of(number):
    start = as_utc(pd.Timestamp("2020-07-01").to_pydatetime()) + timedelta(days=number)
    return Scene(
        id=f"scene {number}",
        sensor_id="sentinel-2",
        start=start,
        end=start + timedelta(hours=1),
        bands={"red": Asset(path=Path("a.tif"))},
    )


def make_rows(folder, rng):
    """Rows of two scenes; places far enough apart to lie in several blocks."""
    grid = PlaceGrid(320.0)
    quantiser = Quantiser.fit(rng.normal(size=(50, 4)).astype(np.float32))
    header = RowsHeader(
        model_sha256="0" * 64,
        embedder_sha256="1" * 64,
        head_sha256="2" * 64,
        target="thaw_slump",
        spacing_m=320.0,
        chip_m=640.0,
        least_valid=0.0,
        quantiser=quantiser,
    )
    write_header(folder, header)
    cells = np.unique(grid.cells_at(rng.uniform(10, 11, 40), rng.uniform(60, 60.5, 40)))
    kept = []
    for number in range(2):
        own = cells if number else cells[::2]
        rows = SceneRows(
            cell=own,
            valid=rng.integers(0, 101, len(own)).astype(np.uint8),
            logit=np.zeros(len(own), dtype=np.float32),
            stored=rng.integers(-127, 128, (len(own), 4)).astype(np.int8),
        )
        path = rows_folder(folder) / f"{number}.parquet"
        write_rows(path, grid, scene_of(number), rows)
        kept.append(rows)
    return grid, quantiser, kept


def test_items_of_rows_are_places_with_the_mean_of_their_dates(tmp_path):
    grid, quantiser, scenes = make_rows(tmp_path / "rows", np.random.default_rng(5))

    pool, problems = fill_pool(tmp_path, source_of("rows", tmp_path / "rows"), SERIAL)

    assert problems == []
    assert sorted(pool.names(np.arange(len(pool)))) == sorted(map(str, scenes[1].cell.tolist()))
    for cell in scenes[1].cell.tolist():
        (row,) = pool.positions([str(cell)])
        total, weights = np.zeros(4), 0.0
        for scene in scenes:
            for at in np.flatnonzero(scene.cell == cell):
                weight = max(float(scene.valid[at]), 1.0)
                total += weight * quantiser.restore(scene.stored[at : at + 1])[0]
                weights += weight
        np.testing.assert_allclose(
            pool.embeddings(slice(row, row + 1))[0], total / weights, rtol=2e-3, atol=2e-3
        )
        lon, lat = grid.centres(np.array([cell], dtype=np.uint64))
        assert (pool.lon[row], pool.lat[row]) == (lon[0], lat[0])


def test_rows_that_were_added_make_another_source(tmp_path):
    folder = tmp_path / "rows"
    make_rows(folder, np.random.default_rng(5))
    before = source_of("rows", folder)
    (rows_folder(folder) / "1.parquet").unlink()

    assert source_of("rows", folder).digest != before.digest


def test_what_is_no_source_is_told(tmp_path, model):
    with pytest.raises(DataError, match="holds no rows; make them with `geoseg presence embed`"):
        source_of("rows", tmp_path)
    with pytest.raises(DataError, match="is no finished pack"):
        source_of("pack", tmp_path)
    with pytest.raises(DataError, match="is no file; give a table of embeddings"):
        source_of("table", tmp_path)
    with pytest.raises(ConfigError, match="holds embeddings already; leave --model out"):
        source_of("table", tmp_path, model)
    with pytest.raises(ConfigError, match=r"is no file; give the model.safetensors"):
        source_of("pack", tmp_path, tmp_path / "model")
    with pytest.raises(DataError, match=r"source.json cannot be read .*; run `geoseg active init`"):
        read_source(tmp_path)
    (tmp_path / "source.json").write_text('{"format": 2}')
    with pytest.raises(DataError, match="written by another version"):
        read_source(tmp_path)


# Tables


def filled(tmp_path, table):
    if isinstance(table, str):
        path = tmp_path / "table.csv"
        path.write_text(table)
    else:
        path = tmp_path / "table.parquet"
        pq.write_table(table, path)
    return fill_pool(tmp_path / "p", source_of("table", path), SERIAL)


NUMBERS = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float64(), 3)])
def test_lists_of_numbers_are_embeddings(tmp_path, kind):
    lists = pa.array(NUMBERS.tolist(), kind)
    table = pa.table({"item": list("dcba"), "lon": [1.0, 2, 3, None], "lat": [4.0] * 4})

    pool, _ = filled(tmp_path, table.append_column("embedding", lists))

    assert pool.names(np.arange(4)) == list("dcba")
    np.testing.assert_array_equal(pool.embeddings(slice(None)), NUMBERS)
    np.testing.assert_array_equal(pool.lon, [1, 2, 3, np.nan])
    np.testing.assert_array_equal(pool.lat, [4] * 4)


def test_numbered_columns_are_embeddings_and_ids_stay_text(tmp_path):
    text = "e1,item,lon,e0,lat,e2,name\n" + "".join(
        f"{one[1]:g},00{n},10,{one[0]:g},60,{one[2]:g},3\n" for n, one in enumerate(NUMBERS)
    )

    pool, _ = filled(tmp_path, text)

    assert pool.names(np.arange(4)) == ["000", "001", "002", "003"]
    np.testing.assert_array_equal(pool.embeddings(slice(None)), NUMBERS)
    assert set(pool.lon) == {10}


def test_items_without_an_embedding_are_left_out_and_told(tmp_path):
    table = pa.table({"item": ["a", "b"], "embedding": [[1.0, 2.0], None]})

    pool, problems = filled(tmp_path, table)

    assert pool.names(np.arange(1)) == ["a"]
    assert np.isnan(pool.lon).all()
    assert [tuple(one) for one in problems] == [("b", "it has no embedding.")]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("item,e0\n", "has no row|no item with"),
        ("name,e0\na,1\n", "has the columns name, e0; give item, lon, lat, and either"),
        ("item,e0,e2\na,1,2\n", "give item, lon, lat, and either"),
        ("item,lon\na,1\n", "give item, lon, lat, and either"),
        ("item,e0\na,x\n", "cannot be read"),
        ("item,e0\na,1\na,2\n", "'a' occurs twice"),
        ("item,e0,lon,lat\na,1,190,0\n", "says that 'a' lies at lon 190, lat 0; give degrees"),
        ("item,e0,e1\na,1,\n", "is not finite"),
        (pa.table({"item": ["a", "b"], "embedding": [[1.0], [1.0, 2.0]]}), "without 2 numbers"),
        (pa.table({"item": ["a"], "embedding": ["x"]}), "give item, lon, lat, and either"),
        (pa.table({"item": ["a"], "embedding": [["x"]]}), "without 1 numbers"),
        (pa.table({"item": ["a"], "embedding": [[]]}), "give item, lon, lat, and either"),
        (pa.table({"item": [None], "e0": [1.0]}), "'' is no id of an item"),
    ],
)
def test_a_table_that_cannot_be_used_is_told(tmp_path, table, said):
    with pytest.raises(DataError, match=said):
        filled(tmp_path, table)

    assert not (tmp_path / "p" / "source.json").exists()


def test_a_file_that_is_no_table_is_told(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"no table")
    (tmp_path / "a.txt").write_bytes(b"no table")
    with pytest.raises(DataError, match=r"a.parquet cannot be read .* give a whole table"):
        fill_pool(tmp_path, source_of("table", tmp_path / "a.parquet"), SERIAL)
    with pytest.raises(DataError, match=r"give a .parquet or .csv file"):
        fill_pool(tmp_path, source_of("table", tmp_path / "a.txt"), SERIAL)
