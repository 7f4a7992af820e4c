"""Results: partitioned GeoParquet that other tools read."""

import json
from datetime import UTC, datetime

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import DataError
from geoseg.presence.duplicates import repeated
from geoseg.presence.results import (
    SCHEMA,
    Result,
    part_of_shard,
    read_results,
    read_told,
    results_table,
    write_part,
)


def result(name, **changes):
    fields = {
        "id": name,
        "lon": -134.5,
        "lat": 69.25,
        "present": None,
        "times": (datetime(1999, 8, 1, tzinfo=UTC), datetime(2021, 7, 1, tzinfo=UTC)),
        "years": (1999.6, 2021.5),
        "sensors": ("landsat-7", "sentinel-2"),
        "image_logits": (-1.0, 2.0),
        "image_valid": (0.5, 1.0),
        "logit": 1.5,
        "probability": 0.8,
        "decision": True,
    }
    return Result(**{**fields, **changes})


def unseen(name):
    nothing = dict.fromkeys(("logit", "probability", "decision"))
    return result(name, image_logits=(None, None), image_valid=(0.0, 0.0), **nothing)


@pytest.fixture
def folder(tmp_path):
    for number in range(3):
        results = [result(f"p{number}"), unseen(f"q{number}")]
        if number == 2:
            results = [result("nowhere", lon=float("nan"), lat=float("nan"))]
        write_part(part_of_shard(tmp_path, number), results, model="abc", told={"number": number})
    return tmp_path


def test_rows_come_back_in_order_and_only_the_columns_asked_for(folder):
    names = [n for batch in read_results(folder, ["chip_id"]) for n in batch["chip_id"].to_pylist()]

    assert names == ["p0", "q0", "p1", "q1", "nowhere"]
    assert results_table(folder, ["chip_id", "lat"]).column_names == ["chip_id", "lat"]
    assert results_table(folder).schema.names == SCHEMA.names


def test_of_a_place_that_was_not_seen_nothing_is_said(folder):
    row = results_table(folder).to_pylist()[1]

    assert (row["logit"], row["probability"], row["decision"]) == (None, None, None)
    assert (row["valid"], row["n_images"]) == (0.0, 2)


def test_first_and_last_date_and_mean_validity_are_of_the_images(folder):
    row = results_table(folder).to_pylist()[0]

    assert (row["start"].year, row["end"].year, row["valid"]) == (1999, 2021, 0.75)
    assert (row["years"], row["sensors"]) == ([1999.6, 2021.5], ["landsat-7", "sentinel-2"])


def test_geopandas_reads_a_part_as_points_in_degrees(folder):
    found = gpd.read_parquet(part_of_shard(folder, 0))
    nowhere = gpd.read_parquet(part_of_shard(folder, 2))

    assert found.crs.to_authority() == ("OGC", "CRS84")
    assert (found.geometry.x[0], found.geometry.y[0]) == (-134.5, 69.25)
    assert nowhere.geometry.isna().all()


def test_duckdb_counts_all_parts_and_knows_their_shards(folder):
    import duckdb

    every = f"read_parquet('{folder}/*/*.parquet', hive_partitioning=true)"
    count, shards, decided = duckdb.sql(
        f"select count(*), count(distinct shard), count(*) filter (decision) from {every}"
    ).fetchall()[0]

    assert (count, shards, decided) == (5, 3, 3)


def test_the_same_results_give_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        write_part(tmp_path / name, [result("a")], model="m", told=[1])

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_what_is_kept_beside_the_rows_is_read_back(folder):
    assert read_told(part_of_shard(folder, 1)) == {"number": 1}
    assert read_told(folder / "nothing") is None
    assert json.loads(pq.read_schema(part_of_shard(folder, 1)).metadata[b"geo"])["version"]


def test_an_empty_shard_is_a_table_without_rows(tmp_path):
    write_part(part_of_shard(tmp_path, 0), [], model="m", told=None)

    assert results_table(tmp_path).num_rows == 0
    assert gpd.read_parquet(part_of_shard(tmp_path, 0)).empty


def test_no_results_and_damaged_ones_are_told_in_a_sentence(folder, tmp_path):
    part_of_shard(folder, 1).write_bytes(b"PAR1 nothing")

    with pytest.raises(DataError, match=r"shard=000001.*delete it"):
        list(read_results(folder))
    with pytest.raises(DataError, match="holds no results"):
        list(read_results(tmp_path / "none"))


@given(st.lists(st.lists(st.text(max_size=3), max_size=30), max_size=5))
def test_names_that_come_twice_are_found_with_where_they_are(groups):
    truth = {}
    for number, names in enumerate(groups):
        for name in names:
            truth.setdefault(name, []).append(number)

    found = dict(repeated(lambda: enumerate(groups)))

    assert found == {name: where for name, where in truth.items() if len(where) > 1}


@pytest.mark.slow
def test_names_are_found_among_more_than_are_held_in_memory():
    rng = np.random.default_rng(0)
    names = [f"n{v}" for v in rng.integers(0, 10**9, 1_200_000)]
    names[900_000] = names[100]
    truth = {name for name in names if name in {names[100]}}

    found = dict(repeated(lambda: [(0, names[:600_000]), (1, names[600_000:])]))

    assert found[truth.pop()] == [0, 1]
    assert len(found) == len(names) - len(set(names))
