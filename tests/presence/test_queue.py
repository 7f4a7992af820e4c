"""The queue of places to look at."""

import itertools

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.errors import ConfigError
from geoseg.presence.queue import (
    QUEUE_SCHEMA,
    QueueSettings,
    Strategy,
    make_queue,
    write_queue,
)
from geoseg.presence.ranking import EARTH_RADIUS_M, cells_of

THRESHOLD = 0.02


def places(count, *, seed=0, degrees=0.2):
    """Places near one another, few with a high probability."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "chip_id": [f"chip-{seed}-{i}" for i in range(count)],
            "lon": rng.uniform(130, 130 + degrees, count),
            "lat": rng.uniform(70, 70 + degrees, count),
            "probability": 1 / (1 + np.exp(-rng.normal(-5, 2, count))),
        }
    )


def queued(rows, **options):
    return make_queue([rows], QueueSettings(**({"threshold": THRESHOLD} | options)))


def distances_m(one, other):
    """Great-circle distances (n, m), by the haversine formula."""
    lat, lon = (np.radians(one[name].to_numpy())[:, None] for name in ("lat", "lon"))
    to_lat, to_lon = (np.radians(other[name].to_numpy())[None] for name in ("lat", "lon"))
    half = np.sin((to_lat - lat) / 2) ** 2
    half = half + np.cos(lat) * np.cos(to_lat) * np.sin((to_lon - lon) / 2) ** 2
    return 2 * EARTH_RADIUS_M * np.arcsin(np.sqrt(half))


def greedy(rows, score, quota, apart_m, before):
    """What is to be picked, by looking at every place and every distance."""
    picked = []
    for index in np.argsort(-score, kind="stable"):
        near = [*before, *picked]
        if len(picked) == quota:
            break
        here = rows.iloc[[index]]
        if index in near or (near and distances_m(here, rows.iloc[near]).min() < apart_m):
            continue
        picked.append(int(index))
    return picked


def test_a_mixed_queue_is_six_tenths_surest_three_doubtful_and_one_audit():
    queue = queued(places(5000), count=100)

    counts = queue.rows["why"].value_counts()
    assert counts.to_dict() == {"surest": 60, "doubtful": 30, "audit": 10}
    assert queue.rows["rank"].tolist() == list(range(1, 101))
    assert queue.rows["chip_id"].is_unique
    assert (queue.places, queue.unscored) == (5000, 0)


def test_the_surest_and_the_most_doubtful_are_those_of_an_exhaustive_search():
    # So far from each other that no cell of ground holds two of them.
    rows = places(400, degrees=20)
    odds = np.log(rows["probability"] / (1 - rows["probability"])).to_numpy()
    doubt = np.abs(odds - np.log(THRESHOLD / (1 - THRESHOLD)))

    queue = queued(rows, count=50, apart_m=2000).rows

    surest = greedy(rows, odds, 30, 2000, [])
    doubtful = greedy(rows, -doubt, 15, 2000, surest)
    for why, wanted in (("surest", surest), ("doubtful", doubtful)):
        assert queue.loc[queue["why"] == why, "chip_id"].tolist() == [
            rows["chip_id"].iloc[i] for i in wanted
        ]


def test_no_two_places_queued_for_their_probability_are_near():
    rows = places(20_000, degrees=0.05)  # 2 km by 5 km

    queue = queued(rows, count=200, apart_m=500).rows

    sure = queue[queue["why"] != "audit"]
    apart = distances_m(sure, sure)[~np.eye(len(sure), dtype=bool)]
    assert apart.min() >= 500
    assert 10 < len(sure) < 60  # all that the ground has room for
    assert (queue["why"] == "audit").sum() == 20


def test_as_many_are_queued_as_there_are_places_for_in_one_cluster_and_elsewhere():
    # A slump that is on thousands of overlapping chips must not hide the others.
    cluster = places(5000, degrees=0.001).assign(probability=0.99)
    others = places(300, seed=1, degrees=10)

    queue = queued(pd.concat([cluster, others]), count=100, apart_m=500).rows

    assert (queue["why"] == "surest").sum() == 60
    assert queue.loc[queue["why"] == "surest", "chip_id"].str.startswith("chip-0-").sum() == 1


def test_a_queue_is_filled_though_the_best_places_crowd_around_one_point():
    rows = places(20_000, degrees=0.3)
    off = np.hypot(rows["lon"] - 130.15, 3 * (rows["lat"] - 70.15))
    rows["probability"] = 0.9 * np.exp(-off)

    queue = queued(rows, count=100, apart_m=500, strategy=Strategy.SUREST).rows

    assert (queue["why"] == "surest").sum() == 90


@settings(deadline=None, max_examples=20)
@given(apart_m=st.sampled_from([1.0, 3e5, 2e6]), seed=st.integers(0, 50))
def test_any_two_places_of_one_cell_are_too_near(apart_m, seed):
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame(
        {
            "lon": rng.uniform(-180, 180, 400),
            "lat": np.degrees(np.arcsin(rng.uniform(-1, 1, 400))),
            "hash": rng.integers(0, 2**63, 400).astype(np.uint64),
        }
    )

    cells = cells_of(rows, apart_m)

    for _, members in rows.groupby(cells):
        assert len(members) == 1 or distances_m(members, members).max() <= apart_m * (1 + 1e-6)


@pytest.mark.slow
@settings(deadline=None, max_examples=25)
@given(
    order=st.permutations(range(6)),
    cuts=st.integers(1, 6),
    count=st.sampled_from([10, 40]),
    apart_m=st.sampled_from([0, 500]),
    seed=st.integers(0, 3),
)
def test_the_order_of_places_and_shards_does_not_matter(order, cuts, count, apart_m, seed):
    rows = places(600, seed=seed, degrees=0.05)
    rows.loc[:400, "probability"] = 0.5  # equal scores
    parts = np.array_split(np.arange(600), 6)
    shuffled = rows.iloc[np.concatenate([parts[i][::-1] for i in order])]
    batches = [shuffled.iloc[i] for i in np.array_split(np.arange(600), cuts)]
    wanted = QueueSettings(threshold=0.5, count=count, apart_m=apart_m, seed=seed)

    queue = make_queue(batches, wanted)

    pd.testing.assert_frame_equal(queue.rows, make_queue([rows], wanted).rows)


@pytest.mark.slow
def test_the_audit_finds_the_total_without_bias_with_its_inclusion_probabilities():
    rows = places(2000, degrees=0.3)
    rng = np.random.default_rng(5)
    present = pd.Series(rng.random(2000) < 0.2, index=rows["chip_id"])

    totals, certain = [], []
    for seed in range(120):
        queue = queued(rows, count=100, seed=seed).rows
        values = present[queue["chip_id"]].to_numpy() / queue["inclusion_probability"]
        totals.append(values.sum())
        sure = queue["why"] != "audit"
        certain.append(values[sure].sum())

    assert len(set(certain)) == 1  # the surest and the most doubtful do not depend on the seed
    spread = np.std(totals, ddof=1)
    assert abs(np.mean(totals) - present.sum()) < 3 * spread / np.sqrt(120)


@pytest.mark.slow
def test_the_audit_is_uniform_and_changes_with_its_seed():
    rows = places(1000)

    drawn = [
        set(queued(rows, count=100, strategy=Strategy.AUDIT, seed=seed).rows["chip_id"])
        for seed in range(100)
    ]

    times = pd.Series(list(itertools.chain(*drawn))).value_counts().reindex(rows["chip_id"])
    assert drawn[0] != drawn[1]
    # Binomial, 100 draws of 1/10: mean 10, variance 9.
    assert times.fillna(0).mean() == 10
    assert 7 < times.fillna(0).var() < 11


def test_inclusion_probabilities_are_the_shares_that_were_drawn():
    rows = queued(places(5000), count=100).rows.set_index("why")["inclusion_probability"]

    assert (rows[["surest", "doubtful"]] == 1).all()
    assert rows["audit"].unique() == pytest.approx(10 / (5000 - 90))


def test_every_first_part_of_a_queue_holds_its_share_of_audit():
    why = queued(places(5000), count=200).rows["why"]

    for length in (20, 60, 100):
        assert abs((why[:length] == "audit").sum() - length / 10) <= 1


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize("count", [1, 7, 10, 99])
def test_a_tenth_at_least_is_audit_whatever_the_strategy(strategy, count):
    rows = queued(places(3000, degrees=5), count=count, strategy=strategy).rows

    assert len(rows) == count
    assert (rows["why"] == "audit").sum() >= count / 10
    assert (rows["why"] == "surest").any() == (
        count > 1 and strategy in (Strategy.MIXED, Strategy.SUREST)
    )


def test_places_without_a_position_are_queued_as_if_far_from_all():
    rows = places(50).assign(lon=np.nan)

    queue = queued(rows, count=40, strategy=Strategy.SUREST).rows

    best = rows.sort_values("probability", ascending=False)["chip_id"].head(36)
    assert queue.loc[queue["why"] == "surest", "chip_id"].tolist() == best.tolist()


def test_places_at_both_sides_of_the_date_line_are_near():
    rows = places(2).assign(lon=[179.9999, -179.9999], lat=70.0, probability=[0.9, 0.8])

    queue = queued(rows, count=10, apart_m=500).rows

    assert (queue["why"] == "surest").sum() == 1
    assert queue["why"].tolist().count("audit") == 1


def test_places_may_touch_where_distance_does_not_matter():
    rows = places(30).assign(lon=130.0, lat=70.0)

    queue = queued(rows, count=20, strategy=Strategy.SUREST, apart_m=0).rows

    assert (queue["why"] == "surest").sum() == 18


def test_places_without_a_probability_are_counted_and_not_queued():
    rows = places(100)
    rows.loc[:9, "probability"] = np.nan

    queue = queued(rows, count=100)

    assert (queue.places, queue.unscored) == (90, 10)
    assert not set(queue.rows["chip_id"]) & set(rows["chip_id"][:10])
    assert queue.rows["probability"].notna().all()


@pytest.mark.parametrize("batches", [[], [places(3).head(0)]])
def test_a_queue_of_nothing_has_its_columns(batches, tmp_path):
    queue = make_queue(batches, QueueSettings(threshold=0.5))

    write_queue(tmp_path / "queue.parquet", queue.rows)

    table = pq.read_table(tmp_path / "queue.parquet")
    assert table.schema.names == QUEUE_SCHEMA.names
    assert table.num_rows == 0
    assert table.schema.field("lon").type == QUEUE_SCHEMA.field("lon").type


def test_a_queue_is_read_back_as_it_was_written(tmp_path):
    rows = queued(places(500), count=30).rows

    write_queue(tmp_path / "queue.parquet", rows)

    back = pd.read_parquet(tmp_path / "queue.parquet")
    pd.testing.assert_frame_equal(back, rows, check_dtype=False)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"count": 0}, "A queue of 0 places is none"),
        ({"apart_m": -1.0}, "cannot be kept -1.0 m apart; give 1 or more metres, or 0"),
        ({"apart_m": float("nan")}, "cannot be kept nan m apart"),
        ({"threshold": 1.5}, "The threshold 1.5 is no probability"),
    ],
)
def test_what_is_no_queue_is_refused(option, words):
    with pytest.raises(ConfigError, match=words):
        QueueSettings(**({"threshold": 0.5} | option))
