import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from command_line import geoseg_here
from pools import pool_of

from geoseg.active.heads import HeadSettings
from geoseg.active.loop import LabelledPool, LoopSettings, Worth, run_loop
from geoseg.active.needles import NeedleSettings, needle_pool, simulate_needles
from geoseg.active.pool import PoolBatch, write_pool
from geoseg.active.simulate import (
    Curves,
    Simulation,
    curves_of,
    labels_by_chance,
    simulate,
    summarise,
)
from geoseg.active.truth import read_truth
from geoseg.errors import ConfigError, GeosegError, LabelError
from geoseg.report.active_curves import draw_curves

QUICK = LoopSettings(
    batch=20, rounds=3, starts=2, heads=HeadSettings(members=2, hidden=8, steps=40)
)


def worth(labels, recall, *, ap=0.5):
    return Worth(labels, round(10 * recall), recall, recall / 2, ap, 0.5)


@pytest.fixture(scope="module")
def needles():
    return needle_pool(NeedleSettings(items=400, prevalence=0.1, width=8, clusters=5), seed=0)


@pytest.fixture
def simulation(tmp_path):
    """A pool on disk with its truth: items that test are named."""
    made = simulate_needles(NeedleSettings(items=300, prevalence=0.1, width=8, clusters=5), seed=0)
    names = [f"i{n}" for n in range(300)]
    nowhere = np.full(300, np.nan)
    write_pool(
        tmp_path / "pool",
        [PoolBatch(names, nowhere, nowhere, made.embeddings)],
        count=300,
        width=8,
        source="a test",
    )
    pd.DataFrame(
        {
            "item": names,
            "class": np.where(made.classes == 1, "slump", "none"),
            "kind": made.kinds,
            "part": ["test" if n % 3 == 0 else "" for n in range(300)],
        }
    ).to_csv(tmp_path / "truth.csv", index=False)
    return Simulation(pool=tmp_path / "pool", truth=tmp_path / "truth.csv", seeds=2, loop=QUICK)


def test_a_labelling_labels_a_batch_each_round_and_never_loses_a_positive(needles):
    worths = run_loop(needles, "mixture", QUICK, seed=0)

    assert [one.labels for one in worths] == [2, 22, 42, 62]
    assert [one.found for one in worths] == sorted(one.found for one in worths)
    assert worths[0].found == 2
    assert worths[-1].recall == worths[-1].found / 40
    assert worths[-1].worst_recall <= worths[-1].recall


def test_the_same_seed_labels_the_same_and_another_strategy_does_not(needles):
    loops = [run_loop(needles, name, QUICK, seed=1) for name in ("mixture", "mixture", "random")]

    assert loops[0] == loops[1]
    assert loops[0] != loops[2]


def test_positives_known_before_are_of_one_hidden_kind(needles):
    start = run_loop(needles, "random", dataclasses.replace(QUICK, rounds=1), seed=3)[0]

    assert start.found == 2
    assert start.worst_recall == 0


def test_a_pool_without_positives_to_find_or_to_test_by_is_refused(needles):
    with pytest.raises(LabelError, match="The test part lacks positives or others"):
        dataclasses.replace(needles, tested_classes=np.zeros_like(needles.tested_classes))


@pytest.mark.parametrize(("starts", "share"), [(0, 0.8), (3, 0.5), (20, 0.8)])
def test_chance_needs_as_many_labels_as_drawing_shows(starts, share):
    rng = np.random.default_rng(0)
    wanted = int(np.ceil(share * 20))
    drawn = []
    for _ in range(2000):
        left = rng.permutation(np.arange(200 - starts) < 20 - starts)
        hits = starts + np.concatenate([[0], np.cumsum(left)])
        drawn.append(starts + int(np.argmax(hits >= wanted)))

    expected = labels_by_chance(200, 20, starts, share=share)

    assert expected == pytest.approx(np.mean(drawn), rel=0.02)


def test_what_strategies_need_is_read_from_their_curves():
    seeds = [
        [worth(0, 0.0), worth(10, 0.5, ap=0.7), worth(20, 1.0, ap=0.9)],
        [worth(0, 0.0), worth(10, 0.8, ap=0.9), worth(20, 0.9, ap=0.9)],
    ]
    never = [[worth(0, 0.0), worth(10, 0.1), worth(20, 0.2)]] * 2
    full = [worth(100, 1.0, ap=0.91)] * 2
    curves = Curves({"a": seeds, "b": never}, full, items=100, positives=10, starts=0)

    found = summarise(curves)

    # The first reaches 0.8 at 16, on a line from 10 to 20; the other at 10.
    assert found["a"].labels_for_80 == pytest.approx(13)
    assert found["a"].labels_for_80_share == pytest.approx(13 / (8 * 101 / 11))
    assert found["a"].labels_for_full_ap == 20
    assert found["a"].labels_for_full_ap_share == 0.2
    assert np.isnan(found["b"].labels_for_80)
    assert np.isnan(found["b"].labels_for_full_ap)
    table = curves_of(curves)
    assert table["recall"].tolist() == pytest.approx([0, 0.65, 0.95, 0, 0.1, 0.2])
    assert table.loc[1, "recall_low"] == pytest.approx(0.5)
    assert table.loc[1, "recall_high"] == pytest.approx(0.8)


def test_a_simulation_that_was_stopped_goes_on_and_is_drawn(simulation, tmp_path):
    out = tmp_path / "out"
    first = simulate(dataclasses.replace(simulation, seeds=1), out)
    states = []

    curves = simulate(simulation, out, on_done=lambda ended: states.append(ended.state))

    assert sorted(states) == ["done"] * 3 + ["skipped"] * 3
    assert curves.strategies["mixture"][0] == first.strategies["mixture"][0]
    assert curves.items == 200
    assert curves.full[0].labels == 200
    assert len(draw_curves(curves, "a test").axes) == 4


def test_another_truth_is_another_simulation(simulation, tmp_path):
    simulate(dataclasses.replace(simulation, seeds=1, strategies=("random",)), tmp_path / "out")
    other = tmp_path / "other.csv"
    other.write_text(simulation.truth.read_text().replace("i1,none", "i1,slump"))
    states = []

    simulate(
        dataclasses.replace(simulation, truth=other, seeds=1, strategies=("random",)),
        tmp_path / "out",
        on_done=lambda ended: states.append(ended.state),
    )

    assert states == ["done", "done"]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("item\ni1\n", "has no column 'class'"),
        ("item,class\ni1,a\ni1,b\n", "names the item 'i1' twice"),
        ("item,class\nother,a\n", "No item of .* is in the pool"),
        ("item,class\ni0,a\ni1,a\n", "has no two classes, or nothing to test by"),
    ],
)
def test_a_truth_that_tells_nothing_is_refused(table, said, tmp_path):
    path = tmp_path / "truth.csv"
    path.write_text(table)

    with pytest.raises(LabelError, match=said):
        read_truth(path, pool_of(np.zeros((4, 2)), names=["i0", "i1", "i2", "i3"]))


def test_a_truth_without_parts_tests_whole_neighbourhoods(tmp_path):
    place = np.repeat(np.arange(100), 3)
    names = [f"i{n}" for n in range(300)]
    pool = pool_of(
        place[:, None] + np.zeros(2), lon=place * 0.3, lat=np.full(300, 65.0), names=names
    )
    pd.DataFrame({"item": names, "class": ["ab"[n % 3 == 0] for n in range(300)]}).to_csv(
        tmp_path / "truth.csv", index=False
    )

    labelled = read_truth(tmp_path / "truth.csv", pool)

    assert isinstance(labelled, LabelledPool)
    assert labelled.names == ("a", "b")
    learned = set(labelled.pool.embeddings(slice(None))[:, 0])
    assert not learned & set(labelled.tested[:, 0])
    assert 30 <= len(labelled.tested) <= 100
    assert labelled.classes.sum() * 2 == (labelled.classes == 0).sum()


def test_the_command_names_a_strategy_that_there_is_none_of(simulation, tmp_path):
    done = geoseg_here(
        "active", "simulate", "--pool", simulation.pool, "--truth", simulation.truth,
        "--out", tmp_path / "out", "--strategies", "randm",
    )  # fmt: skip

    assert done.returncode == 2
    assert "There is no strategy 'randm'. Did you mean 'random'?" in done.stderr


@pytest.mark.slow
def test_the_command_writes_curves_and_one_object(simulation, tmp_path):
    done = geoseg_here(
        "active", "simulate", "--pool", simulation.pool, "--truth", simulation.truth,
        "--out", tmp_path / "out", "--seeds", 1, "--rounds", 2, "--batch", 10, "--starts", 2,
        "--json",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["strategies"]["mixture"]["last"]["found"] >= 1
    assert (tmp_path / "out" / "curves.png").stat().st_size > 10_000
    labels = pd.read_csv(tmp_path / "out" / "curves.csv")["labels"]
    assert np.diff(labels).tolist() == [10, 10, -20, 10, 10]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"strategies": ("mixture", "mixture")}, "Name one or more strategies, each once"),
        ({"seeds": 0}, "0 seeds are none"),
    ],
)
def test_a_simulation_of_nothing_is_refused(simulation, changed, said):
    with pytest.raises(ConfigError, match=said):
        dataclasses.replace(simulation, **changed)


def test_a_labelling_that_fails_is_told(simulation, tmp_path):
    heads = dataclasses.replace(QUICK.heads, weight_decay=1e30)
    wrong = dataclasses.replace(simulation, loop=dataclasses.replace(QUICK, heads=heads))

    with pytest.raises(GeosegError, match=r"The labelling full-000 failed: The loss .* became"):
        simulate(wrong, tmp_path / "out")
