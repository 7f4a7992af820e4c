"""Rounds: proposed whole, recorded last, answered, learned from."""

import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from active.labelling import CLASSES, classes_of, items, small_pool, small_project

from geoseg.active import sources
from geoseg.active.answers import soft_labels
from geoseg.active.audits import audit_rounds
from geoseg.active.estimate import round_worth
from geoseg.active.folder import held, opened
from geoseg.active.heads import HeadSettings, load_heads
from geoseg.active.project import UNKNOWN, Answer, Project
from geoseg.active.propose import ProposeSettings
from geoseg.active.rounds import labels_table, make_round, train
from geoseg.active.sources import Source
from geoseg.active.standing import standing
from geoseg.active.start import Beginning, start_project
from geoseg.commands.active.status import left_out
from geoseg.errors import ConfigError, DataError, LabelError, OutputError
from geoseg.presence.packs import read_labels
from geoseg.scale import Engine

QUICK = HeadSettings(steps=100, members=1, hidden=0)


@pytest.fixture
def made(tmp_path):
    project, pool = small_project(tmp_path / "p")
    with project:
        yield project, pool


def a_round(
    project, pool, count=10, strategy="mixture", write=lambda path, _: path.touch(), **more
):
    settings = ProposeSettings(strategy=strategy, count=count, **more)
    return make_round(project, pool, settings, heads=QUICK, write_layer=write)


def answer(project, names, who="anna", truth=None):
    truth = truth or classes_of(60)
    project.record_all([(name, who, truth[name]) for name in names], via="page")


def names_of(made_round):
    return [one.item for one in made_round.proposed]


def test_a_round_has_its_files_and_its_record_and_the_next_asks_for_others(made):
    project, pool = made
    first = a_round(project, pool)
    answer(project, names_of(first)[:5])
    second = a_round(project, pool)

    assert (first.number, second.number) == (1, 2)
    assert first.learned.heads is None
    assert not set(names_of(first)) & set(names_of(second))
    assert [one.item for one in project.proposed(2)] == names_of(second)
    table = pq.read_table(second.folder / "proposal.parquet").to_pandas()
    assert table["item"].tolist() == names_of(second)
    assert table["rank"].tolist() == list(range(1, 11))
    rows = pool.positions(table["item"].tolist())
    np.testing.assert_array_equal(table["lon"], pool.lon[rows])
    assert "probability" not in table.columns
    assert sorted(path.name for path in (project.folder / "rounds").iterdir()) == ["001", "002"]


def test_heads_that_proposed_are_kept_and_named_by_the_round(made):
    project, pool = made
    answer(project, items(60)[:20])

    done = a_round(project, pool)

    assert done.learned.heads is not None
    assert load_heads(done.folder / "heads.safetensors").classes == 2
    (recorded,) = project.rounds()
    assert len(recorded.model) == 64
    assert recorded.settings["heads"]["steps"] == 100
    # The first number of an item tells what it is.
    found = [one.item for one in done.proposed if one.why == "likely"]
    assert {classes_of(60)[name] for name in found} == {"present"}


def test_what_nobody_could_tell_teaches_nothing_and_is_not_asked_again(made):
    project, pool = made
    project.record_all([(name, "anna", UNKNOWN) for name in items(60)[:50]], via="page")

    done = a_round(project, pool, count=30, strategy="random")

    assert len(done.learned.known.rows) == 0
    assert sorted(names_of(done)) == items(60)[50:]
    with pytest.raises(LabelError, match="All 60 items of the pool were proposed or labelled"):
        a_round(project, pool)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["random", "mixture"])
def test_items_of_known_class_are_mixed_in_and_not_told_apart(made, strategy):
    project, pool = made
    answer(project, items(60)[:20])
    project.set_gold({name: classes_of(60)[name] for name in items(60)[15:24]})
    project.set_gold({"not there": "absent"})

    rounds = [names_of(a_round(project, pool, count=10, strategy=strategy)) for _ in range(3)]

    gold = [[name for name in names if name in project.gold()] for names in rounds]
    assert gold[0]
    assert {name for one in gold for name in one} >= set(items(60)[20:23])
    assert {len(set(names)) for names in rounds} == {10}
    assert len({name for names in rounds for name in names}) == 30
    whys = {one.why for one in project.proposed()}
    assert whys <= {"likely", "doubtful", "representative", "audit"}
    chosen = [one.why != "audit" for one in project.proposed() if one.item in project.gold()]
    assert any(chosen) == (strategy == "mixture")
    probabilities = [one.probability is None for one in project.proposed()]
    assert not any(probabilities)


def test_nothing_in_the_files_tells_items_of_known_class_from_an_audit(made):
    project, pool = made
    gold = items(60)[:10]
    project.set_gold({name: classes_of(60)[name] for name in gold})

    done = a_round(project, pool, count=20, strategy="random")

    table = pq.read_table(done.folder / "proposal.parquet").to_pandas()
    assert any(name in gold for name in names_of(done))
    assert set(table["why"]) == {"audit"}
    assert len(set(table["inclusion_probability"])) == 1
    # The record knows that one of them was not drawn.
    assert sum(one.inclusion == 1 for one in done.proposed) == 1
    truth = {name: float(word == "present") for name, word in classes_of(60).items()}
    answer(project, names_of(done))
    (audit,) = audit_rounds(project.rounds(), project.proposed(), project.answers(), truth)
    assert audit.drawn == 19
    assert audit.rest == pytest.approx(59)


def test_the_audit_of_a_round_is_of_the_whole_round_whatever_is_of_known_class(made):
    project, pool = made
    answer(project, items(60)[:10])
    project.set_gold({name: classes_of(60)[name] for name in items(60)[20:40]})

    done = a_round(project, pool, count=20)

    assert len(done.proposed) == 20
    assert sum(one.why == "audit" for one in done.proposed) == 2


def test_a_round_that_fails_leaves_nothing_but_what_the_next_sweeps_away(made):
    project, pool = made

    def fail(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        a_round(project, pool, write=fail)

    assert project.rounds() == []
    assert not (project.folder / "rounds" / "001").exists()
    assert a_round(project, pool).number == 1
    assert sorted(path.name for path in (project.folder / "rounds").iterdir()) == ["001"]


def test_files_of_a_round_that_was_never_recorded_are_kept_under_another_name(made):
    project, pool = made
    left = project.folder / "rounds" / "001"
    for what in ("first", "second"):
        left.mkdir(parents=True)
        (left / "proposal.gpkg").write_text(what)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Project, "record_round", stop)
            with pytest.raises(KeyboardInterrupt):
                a_round(project, pool)
        if what == "first":
            shutil.rmtree(left)

    a_round(project, pool)

    assert sorted(path.name for path in left.iterdir()) == ["proposal.gpkg", "proposal.parquet"]
    kept = [left.with_name(f"001.unrecorded-{n}") / "proposal.gpkg" for n in (1, 2, 3)]
    assert [path.read_text() for path in kept] == ["first", "second", ""]
    assert len(list(left.parent.iterdir())) == 4


def stop(*_, **__):
    raise KeyboardInterrupt


PROPOSE = """
import os, signal, sys
from pathlib import Path
from geoseg.active.audits import audit_rounds
from geoseg.active.folder import held, opened
from geoseg.active.heads import HeadSettings
from geoseg.active.propose import ProposeSettings
from geoseg.active.rounds import make_round
folder = Path(sys.argv[1])
with opened(folder) as (project, pool), held(folder):
    make_round(project, pool, ProposeSettings(count=10), heads=HeadSettings(),
               write_layer=lambda *_: os.kill(os.getpid(), signal.SIGKILL))
"""


@pytest.mark.slow
def test_a_propose_that_is_killed_is_run_again(made):
    project, pool = made

    killed = subprocess.run([sys.executable, "-c", PROPOSE, project.folder], check=False)

    assert killed.returncode == -signal.SIGKILL
    assert project.rounds() == []
    with held(project.folder):
        assert a_round(project, pool).number == 1


@pytest.mark.slow
def test_only_one_proposes_at_a_time(made):
    project, _ = made
    with (
        held(project.folder),
        pytest.raises(OutputError, match=f"is held by pid {os.getpid()}"),
        held(project.folder),
    ):
        pass


def test_a_pool_that_shrank_is_refused(made):
    project, _ = made
    shutil.rmtree(project.folder / "pool")
    small_pool(project.folder, 59)

    with (
        pytest.raises(
            DataError, match=r"is not the pool that the project was made for \(it has 59"
        ),
        opened(project.folder),
    ):
        pass


@pytest.mark.slow
def test_training_records_what_labels_are_worth_and_writes_them(made):
    project, pool = made
    a_round(project, pool)
    answer(project, items(60)[:40])
    answer(project, items(60)[:30], who="ben")
    project.record("i001", "ben", "present", via="page")
    project.record("i059", "ben", UNKNOWN, via="page")

    worth = train(project, pool, QUICK, seed=0)

    assert worth.labels == 40
    assert worth.balanced_accuracy > 0.5
    assert project.rounds()[0].metrics == worth.figures()
    assert load_heads(project.folder / "heads.safetensors").width == 4
    labels, problems = read_labels(project.folder / "labels.csv")
    assert problems == []
    assert labels["i000"].present is True
    assert labels["i002"].present is False
    assert labels["i001"].present is None  # one of two
    assert labels["i059"].present is None  # nobody could tell
    np.testing.assert_allclose(labels["i000"].lon, pool.lon[0])
    assert len(labels) == 41


def test_labels_of_one_class_teach_nothing(made):
    project, pool = made
    answer(project, ["i001", "i002"])

    with pytest.raises(LabelError, match="2 items have a label, of fewer than two classes"):
        train(project, pool, QUICK, seed=0)


def test_labels_of_three_classes_name_the_likeliest(made):
    _, pool = made
    classes = ("ice", "lake", "rock")
    said = [
        ("i001", "a", "lake"),
        ("i001", "b", "lake"),
        ("i001", "c", "ice"),
        ("i002", "a", "ice"),
    ]
    said += [("i002", "b", "rock"), ("gone", "a", "ice")]
    answers = [Answer(n, *one, "", "page") for n, one in enumerate(said)]

    table = labels_table(soft_labels(answers, classes), pool, classes)

    assert list(table.columns) == [
        *("chip_id", "lon", "lat", "class", "votes", "unknown"),
        *("p_ice", "p_lake", "p_rock"),
    ]
    assert table["chip_id"].tolist() == ["i001", "i002"]
    assert table["class"].tolist() == ["lake", ""]
    np.testing.assert_allclose(table["p_lake"], [2 / 3, 0], rtol=1e-6)
    assert len(labels_table(soft_labels([], classes), pool, classes)) == 0


def test_a_standing_says_who_did_what_and_what_is_left(made):
    project, pool = made
    first = a_round(project, pool, count=20)
    names = names_of(first)
    answer(project, names[:10])
    answer(project, names[:6], who="ben")
    wrong = "absent" if classes_of(60)[names[0]] == "present" else "present"
    project.record(names[0], "ben", wrong, via="page")
    project.record(names[10], "ben", UNKNOWN, via="page")
    project.set_gold({name: classes_of(60)[name] for name in names[:3]})

    figures = standing(project, pool).figures()

    assert (figures["items"], figures["labelled"], figures["untold"]) == (60, 10, 1)
    assert (figures["disagreed"], figures["answers"], figures["gold"]) == (1, 17, 3)
    (only,) = figures["rounds"]
    assert (only["proposed"], only["answered"]) == (20, 11)
    assert figures["annotators"]["ben"]["waiting"] == 13
    # What he said first, before he was told what others and heads say, was right.
    assert figures["annotators"]["ben"]["accuracy"]["value"] == 1
    assert pair_of(figures)["share"]["value"] == 1
    assert figures["annotators"]["anna"]["accuracy"]["value"] == 1
    assert (pair_of(figures)["annotators"], pair_of(figures)["items"]) == (["anna", "ben"], 6)
    present = figures["classes"]["present"]
    truth = [classes_of(60)[name] == "present" for name in names[:10]]
    assert present["labels"] == pytest.approx(sum(truth))
    share = present["prevalence"]
    assert share is None or share["low"] <= share["value"] <= share["high"]


def test_a_round_that_is_half_answered_is_left_out_and_the_next_words_mend_that(made):
    project, pool = made
    names = names_of(a_round(project, pool, count=20))
    audit = [one.item for one in project.proposed() if one.why == "audit"]
    answer(project, {*names[:10], *audit})

    half = standing(project, pool)
    worth = round_worth(
        project, pool, soft_labels(project.answers(), project.classes), QUICK, seed=0
    )
    answer(project, names[10:])
    whole = standing(project, pool)

    assert (half.left_out, whole.left_out, worth.left_out) == (1, 0, 1)
    assert half.figures()["rounds_left_out"] == worth.figures()["rounds_left_out"] == 1
    assert [one.prevalence is None for one in (half.classes[1], worth.classes[1])] == [True] * 2
    assert whole.classes[1].prevalence is not None
    assert left_out(1).startswith("1 round is left out of the share of the pool")
    assert left_out(2).startswith("2 rounds are left out of the share of the pool")


def pair_of(figures):
    (pair,) = figures["agreement"]
    return pair


def test_a_standing_of_nothing_is_one(made):
    figures = standing(*made).figures()

    assert figures["rounds"] == figures["agreement"] == []
    assert figures["classes"]["present"] == {"labels": 0.0, "prevalence": None}


# Beginning


def write_table(tmp_path, rows=10):
    frame = pd.DataFrame({"item": items(rows), "e0": np.arange(rows, dtype=float)})
    frame.to_csv(tmp_path / "pool.csv", index=False)
    return source(tmp_path)


def source(tmp_path):
    from geoseg.active.sources import source_of

    return source_of("table", tmp_path / "pool.csv")


def begin(tmp_path, of: Source, **more):
    beginning = Beginning(**{"source": of, "classes": CLASSES, **more})
    return start_project(tmp_path / "p", beginning, Engine())


def test_a_project_begins_with_seeds_and_gold_and_takes_more_later(tmp_path):
    of = write_table(tmp_path)
    (tmp_path / "seeds.csv").write_text("item,present\ni000,yes\ni001,no\n")
    (tmp_path / "gold.csv").write_text("item,present\ni005,yes\n")

    first = begin(tmp_path, of, seeds=tmp_path / "seeds.csv")
    again = begin(tmp_path, of, seeds=tmp_path / "seeds.csv", gold=tmp_path / "gold.csv")

    assert (first.items, first.width, first.seeds, first.gold) == (10, 1, 2, 0)
    assert (again.seeds, again.gold) == (0, 1)
    with opened(tmp_path / "p") as (project, pool):
        assert len(pool) == 10
        assert {one.item: one.said for one in project.answers()} == {
            "i000": "present",
            "i001": "absent",
        }
        assert {one.annotator for one in project.answers()} == {"seeds"}
        assert project.gold() == {"i005": "present"}


@pytest.mark.parametrize(
    ("gold", "why"),
    [
        ("nowhere,yes", "items that the pool has not"),
        ("i005,unknown", r"says 'unknown' of 1 items \('i005'\), which is nothing to be known"),
    ],
)
def test_gold_that_cannot_be_taken_keeps_seeds_out_too(tmp_path, gold, why):
    of = write_table(tmp_path)
    (tmp_path / "seeds.csv").write_text("item,present\ni000,yes\n")
    (tmp_path / "gold.csv").write_text(f"item,present\n{gold}\n")

    with pytest.raises((LabelError, ConfigError), match=why):
        begin(tmp_path, of, seeds=tmp_path / "seeds.csv", gold=tmp_path / "gold.csv")

    with opened(tmp_path / "p") as (project, _):
        assert project.answers() == []


def test_a_pool_that_was_lost_is_made_again_also_when_that_was_killed_before(tmp_path, monkeypatch):
    of = write_table(tmp_path)
    begin(tmp_path, of)
    shutil.rmtree(tmp_path / "p" / "pool")
    with monkeypatch.context() as patch:
        patch.setattr(sources, "_of_embeddings", stop)
        with pytest.raises(KeyboardInterrupt):
            begin(tmp_path, of)

    assert begin(tmp_path, of).items == 10
    with opened(tmp_path / "p") as (_, pool):
        assert len(pool) == 10


def test_another_pool_or_other_classes_are_no_project_that_is_there(tmp_path):
    begin(tmp_path, write_table(tmp_path))

    with pytest.raises(ConfigError, match="holds a project of the classes absent, present; give"):
        begin(tmp_path, source(tmp_path), classes=("no", "yes"))
    with pytest.raises(ConfigError, match="or what they were made of has changed since"):
        begin(tmp_path, write_table(tmp_path, rows=9))
    with pytest.raises(ConfigError, match=r"seeds.csv is no file; give a table of labels"):
        begin(tmp_path, source(tmp_path), seeds=tmp_path / "seeds.csv")
    with opened(tmp_path / "p") as (_, pool):
        assert len(pool) == 10
