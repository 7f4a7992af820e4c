"""What people said is kept, whoever says it, however often, and whatever ends the program."""

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.active import database
from geoseg.active.project import (
    UNKNOWN,
    Drawn,
    Said,
    create_project,
    holds_project,
    open_project,
)
from geoseg.errors import ConfigError, DataError, LabelError, OutputError

CLASSES = ("absent", "present")
SQUARE = {"type": "Polygon", "coordinates": [[[1, 2], [5, 2], [5, 9], [1, 9], [1, 2]]]}
ANY_NAME = st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable() and text.strip())
ANY_ID = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@pytest.fixture
def project(tmp_path):
    with create_project(tmp_path / "p", classes=CLASSES, pool="abc") as made:
        yield made


def drawn(*items):
    return [Drawn(item, "audit", 0.5) for item in items]


def test_the_last_word_of_each_person_counts(project):
    project.record("a", "anna", "absent", via="page")
    project.record("a", "ben", "absent", via="page")
    project.record("a", "anna", "present", via="qgis")

    said = [(one.item, one.annotator, one.said, one.via) for one in project.answers()]

    assert said == [("a", "ben", "absent", "page"), ("a", "anna", "present", "qgis")]


def test_answers_of_one_item_are_those_of_all_that_are_on_it(project):
    for number, item in enumerate("abab"):
        project.record(item, f"person {number}", "absent", via="page")
    project.undo("person 2")

    for item, people in (("a", ["person 0"]), ("b", ["person 1", "person 3"]), ("c", [])):
        assert [one.annotator for one in project.answers(item)] == people
        assert project.answers(item) == [one for one in project.answers() if one.item == item]


def test_the_first_word_of_each_person_is_kept_also_where_it_was_taken_back(project):
    project.record("a", "anna", "absent", via="page")
    project.record("a", "ben", "present", via="page")
    project.record("b", "ben", "present", via="page")
    project.undo("anna")
    project.undo("ben")
    project.record("a", "anna", "present", via="page")
    project.record("a", "ben", "absent", via="qgis")

    said = [(one.item, one.annotator, one.said) for one in project.first_answers()]

    # Of `b` no word stands.
    assert said == [("a", "anna", "absent"), ("a", "ben", "present")]


def test_what_is_undone_gives_way_to_what_was_said_before(project):
    project.record("a", "anna", "absent", via="page")
    project.record("b", "anna", "absent", via="page")
    project.record("a", "anna", "present", via="page")
    project.record("c", "ben", "present", via="page")

    assert project.undo("anna") == "a"

    assert {one.item: one.said for one in project.answers()} == {
        "a": "absent",
        "b": "absent",
        "c": "present",
    }
    assert [project.undo("anna") for _ in range(3)] == ["b", "a", None]
    assert project.undo("nobody") is None


@settings(max_examples=10, deadline=None)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(ANY_ID, st.sampled_from(["anna", "ben"]), st.sampled_from(CLASSES)),
            st.sampled_from(["anna", "ben"]),
        ),
        max_size=12,
    )
)
def test_answers_and_undoing_are_those_of_a_plain_list(tmp_path_factory, steps):
    said = []
    with create_project(tmp_path_factory.mktemp("p"), classes=CLASSES, pool="") as project:
        for step in steps:
            if isinstance(step, tuple):
                project.record(*step, via="page")
                said.append(step)
            else:
                own = [number for number, one in enumerate(said) if one[1] == step]
                expected = said.pop(own[-1])[0] if own else None
                assert project.undo(step) == expected

        found = {(one.item, one.annotator): one.said for one in project.answers()}

    assert found == {one[:2]: one[2] for one in said}


@settings(max_examples=10, deadline=None)
@given(item=ANY_ID, annotator=ANY_NAME)
def test_names_with_odd_characters_come_back_as_they_were(tmp_path_factory, item, annotator):
    folder = tmp_path_factory.mktemp("p")
    with create_project(folder, classes=CLASSES, pool="") as project:
        project.record_round(drawn(item), strategy="random", settings={})
        project.record(item, annotator, UNKNOWN, via="page")

    with open_project(folder) as project:
        (answer,) = project.answers()
        (proposed,) = project.proposed()

    assert (answer.item, answer.annotator) == (item, annotator.strip())
    assert proposed.item == item


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 101, "\ud800"])
def test_what_is_no_name_of_a_person_is_refused(project, name):
    with pytest.raises(ConfigError, match=r"no annotator|no name of a person"):
        project.record("a", name, "absent", via="page")

    assert project.answers() == []


def test_an_item_that_is_no_text_is_refused_and_the_project_goes_on(project):
    with pytest.raises(ConfigError, match="is no text; give another name"):
        project.record("\ud800", "anna", "absent", via="page")

    assert project.outlines("\ud800") == []
    assert project.record("a", "anna", "absent", via="page") == 1


def test_of_many_answers_all_are_taken_or_none(project):
    with pytest.raises(ConfigError, match=r"no class 'presnt'\. Did you mean 'present'\?"):
        project.record_all([("a", "anna", "absent"), ("b", "anna", "presnt")], via="table")

    assert project.answers() == []


def test_a_file_that_is_taken_in_again_changes_nothing(project):
    rows = [Said("a", "anna", "absent", "by the lake"), Said("b", "anna", "present")]
    assert project.record_new(rows, via="qgis") == 2
    project.record("a", "anna", "present", via="page")
    project.record("b", "anna", "absent", via="page")
    project.undo("anna")

    assert project.record_new(rows, via="qgis") == 0

    assert {one.item: one.said for one in project.answers()} == {"a": "present", "b": "present"}
    changed = [rows[0]._replace(note="on the slope"), rows[1]]
    assert project.record_new(changed, via="qgis") == 1
    assert [one.note for one in project.answers() if one.item == "a"] == ["on the slope"]


def test_a_person_is_asked_for_what_he_has_not_answered_the_oldest_round_first(project):
    project.record_round(drawn("b", "a"), strategy="random", settings={"seed": 1})
    project.record_round(drawn("c", "a"), strategy="entropy", settings={}, model="00ff")
    project.record("a", "anna", UNKNOWN, via="page")

    assert [(one.round, one.item) for one in project.waiting("anna")] == [(1, "b"), (2, "c")]
    assert [one.item for one in project.waiting("ben")] == ["b", "a", "c"]
    assert [one.item for one in project.proposed(2)] == ["c", "a"]
    project.record_metrics(2, {"average_precision": 0.5})
    first, second = project.rounds()
    assert (first.strategy, first.settings, first.metrics) == ("random", {"seed": 1}, {})
    assert (second.model, second.metrics) == ("00ff", {"average_precision": 0.5})
    with pytest.raises(ConfigError, match="There is no round 3; propose first"):
        project.record_metrics(3, {})


@pytest.mark.parametrize(
    "items", [drawn("a", "a"), [Drawn("a", "audit", 0.0)], [Drawn("a", "audit", 1.1)]]
)
def test_a_round_that_cannot_be_is_not_recorded(project, items):
    with pytest.raises(ConfigError, match="each item once, with an inclusion above 0"):
        project.record_round(items, strategy="random", settings={})

    assert project.rounds() == []


def test_gold_is_of_classes_and_the_newest_counts(project):
    project.set_gold({"a": "absent", "b": "present"})
    project.set_gold({"a": "present"})

    assert project.gold() == {"a": "present", "b": "present"}
    with pytest.raises(ConfigError, match="known for sure is not 'unknown'"):
        project.set_gold({"a": UNKNOWN})


def test_outlines_are_kept_by_item_and_undone_one_by_one(project):
    holes = {"type": "MultiPolygon", "coordinates": [[*SQUARE["coordinates"]]]}
    first = project.record_outline("a", " anna ", "present", SQUARE, 2)
    second = project.record_outline("a", "ben", "present", holes, 0)
    project.record_outline("b", "anna", "absent", SQUARE, 0)

    found = project.outlines("a")

    assert [one.number for one in found] == [first, second] == [1, 2]
    assert (found[0].annotator, found[0].class_, found[0].image) == ("anna", "present", 2)
    assert found[0].geometry["type"] == "Polygon"
    assert found[0].geometry["coordinates"] == [[[1, 2], [5, 2], [5, 9], [1, 9], [1, 2]]]
    assert found[1].geometry["type"] == "MultiPolygon"
    assert [project.undo_outline("anna") for _ in range(3)] == ["b", "a", None]
    assert [one.annotator for one in project.outlines("a")] == ["ben"]
    assert project.answers() == []


@pytest.mark.parametrize(
    ("geometry", "said"),
    [
        ({}, "The outline is a None; draw a Polygon"),
        ({"type": "Polygon"}, "no GeoJSON polygon"),
        ({"type": ["Polygon"], "coordinates": []}, "draw a Polygon or MultiPolygon"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [10**400, 0], [4, 4]]]}, "no GeoJSON"),
        ({"type": "Polygon", "coordinates": "x"}, "no GeoJSON polygon"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}, "no GeoJSON polygon"),
        ({"type": "Polygon", "coordinates": []}, "no simple polygon"),
        ({"type": "Point", "coordinates": [1, 2]}, "is a Point; draw a Polygon"),
        (
            {"type": "Polygon", "coordinates": [[[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]]]},
            "no simple polygon",
        ),
        (
            {"type": "Polygon", "coordinates": [[[0, 0], [2, 0], [4, 0], [0, 0]]]},
            "no simple polygon",
        ),
        (
            {"type": "Polygon", "coordinates": [[[0, 0], [float("nan"), 0], [4, 4], [0, 0]]]},
            "no GeoJSON polygon",
        ),
        (
            {"type": "Polygon", "coordinates": [[[0, 0], [float("inf"), 0], [4, 4], [0, 0]]]},
            "no GeoJSON polygon",
        ),
    ],
)
def test_what_is_no_polygon_is_no_outline(project, geometry, said):
    with pytest.raises(LabelError, match=said):
        project.record_outline("a", "anna", "present", geometry, 0)

    assert project.outlines("a") == []


def test_an_outline_is_of_a_class_by_a_person_on_an_image(project):
    with pytest.raises(ConfigError, match="An outline is of a class, not of 'unknown'"):
        project.record_outline("a", "anna", UNKNOWN, SQUARE, 0)
    with pytest.raises(ConfigError, match="no class 'lake'"):
        project.record_outline("a", "anna", "lake", SQUARE, 0)
    with pytest.raises(ConfigError, match="no annotator"):
        project.record_outline("a", "", "present", SQUARE, 0)
    with pytest.raises(ConfigError, match="There is no image -1; they are counted from 0"):
        project.record_outline("a", "anna", "present", SQUARE, -1)


def test_threads_that_share_a_project_lose_nothing(project):
    def work(name):
        for number in range(8):
            project.record(f"{number}", name, "absent", via="page")
            project.answers()

    threads = [threading.Thread(target=work, args=(f"person {n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(project.answers()) == 32


def _write(folder, name):
    with open_project(folder) as project:
        for number in range(15):
            project.record(f"{number}", name, "absent", via="page")


def test_two_processes_write_at_once_and_nothing_is_lost(project):
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=_write, args=(project.folder, name)) for name in ("anna", "ben")
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)

    numbers = [one.number for one in project.answers()]
    assert numbers == list(range(1, 31))


WRITER = """
import sys
from pathlib import Path
from geoseg.active.project import open_project
with open_project(Path(sys.argv[1])) as project:
    for number in range(10_000):
        project.record(f"{number}", "anna", "absent", via="page")
        print(number, flush=True)
"""


@pytest.mark.slow
def test_no_answer_that_was_told_is_lost_when_the_writer_is_killed(project):
    for _ in range(3):
        before = len(project.answers())
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, project.folder], stdout=subprocess.PIPE, text=True
        )
        writer.stdout.readline()
        time.sleep(0.2)
        os.kill(writer.pid, signal.SIGKILL)
        told = 1 + len(writer.communicate()[0].splitlines())
        with sqlite3.connect(project.folder / "project.sqlite") as raw:
            (stored,) = raw.execute("SELECT count(*) FROM answer").fetchone()
            raw.execute("DELETE FROM answer")
        raw.close()

        assert told <= stored <= told + 1
        assert before == 0


def test_a_transaction_that_fails_leaves_nothing(project):
    def write_and_stop():
        with project._database.writing() as database:
            database.execute("INSERT INTO gold VALUES ('a', 'absent')")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_stop()

    assert project.gold() == {}


def test_a_project_is_made_once_and_only_of_plain_classes(tmp_path, project):
    with pytest.raises(ConfigError, match="holds a project already; give another folder"):
        create_project(project.folder, classes=CLASSES, pool="abc")
    for classes in [(), ("a",), ("a", "a")]:
        with pytest.raises(ConfigError, match="name two or more, each once"):
            create_project(tmp_path / "q", classes=classes, pool="")
    for wrong in ["Absent", "a b", "", UNKNOWN, "<b>"]:
        with pytest.raises(ConfigError, match="is no name of a class"):
            create_project(tmp_path / "q", classes=("absent", wrong), pool="")
    assert not holds_project(tmp_path / "q")


def test_a_folder_without_a_project_says_how_to_make_one(tmp_path):
    with pytest.raises(DataError, match="holds no project; make one with `geoseg active init`"):
        open_project(tmp_path)


def foreign(path, statements):
    with closing(sqlite3.connect(path)) as database, database:
        for statement in statements:
            database.execute(statement)


@pytest.mark.parametrize("content", [b"", b"no database at all, but long enough to be one" * 50])
def test_what_is_no_database_is_told(tmp_path, content):
    (tmp_path / "project.sqlite").write_bytes(content)

    with pytest.raises(DataError, match=r"project.sqlite is damaged \(.*\); restore it from a"):
        open_project(tmp_path)


def test_a_database_of_something_else_is_told(tmp_path):
    path = tmp_path / "project.sqlite"
    foreign(path, ["CREATE TABLE about (key TEXT, value TEXT)"])
    with pytest.raises(DataError, match=r"is damaged \('format'\)"):
        open_project(tmp_path)

    foreign(path, ["INSERT INTO about VALUES ('format', '2')"])
    with pytest.raises(DataError, match="written by another version of geoseg"):
        open_project(tmp_path)

    foreign(path, ["UPDATE about SET value = '1'", "INSERT INTO about VALUES ('key', 'k')"])
    foreign(path, ["INSERT INTO about VALUES ('classes', '3')"])
    with pytest.raises(DataError, match="is damaged"):
        open_project(tmp_path)


def test_a_file_that_was_cut_short_is_told_when_it_is_read(project):
    project.record_all([(f"{n:0100d}", "anna", "absent") for n in range(500)], via="table")
    project.close()
    path = project.folder / "project.sqlite"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(DataError, match=r"restore it from a copy"):
        open_project(project.folder).answers()


def test_a_file_that_another_process_writes_is_not_called_damaged(project, monkeypatch):
    monkeypatch.setattr(database, "_WAIT_S", 0.05)
    with closing(sqlite3.connect(project.folder / "project.sqlite", isolation_level=None)) as other:
        reader = open_project(project.folder)
        other.execute("BEGIN EXCLUSIVE")
        for work in (
            reader.answers,
            lambda: reader.record("a", "Ada", "present", via="page"),
            lambda: open_project(project.folder),
        ):
            with pytest.raises(OutputError) as told:
                work()
            assert str(told.value) == (
                f"Another process has been writing to {project.folder / 'project.sqlite'} for "
                "0.05 s; try again when it is done."
            )
        other.execute("ROLLBACK")

        assert reader.answers() == []
        reader.close()


def test_a_commit_is_followed_by_a_sync_of_the_folder(project):
    assert project._database.read("PRAGMA synchronous") == [(3,)]  # EXTRA


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot be"):
        create_project(tmp_path / "p", classes=CLASSES, pool="")


def test_what_a_page_sends_again_counts_once_also_when_it_was_undone(project):
    first = project.record("a", "Ada", "present", via="page", sent="k1")
    project.undo("Ada", first)

    again = project.record("a", "Ada", "present", via="page", sent="k1")

    assert again == first
    assert project.answers() == []


def test_an_answer_is_taken_back_by_its_number_as_often_as_it_is_said_and_no_other_one(project):
    older = project.record("a", "Ada", "absent", via="page")
    newer = project.record("b", "Ada", "present", via="page")

    items = [project.undo("Ada", newer), project.undo("Ada", newer), project.undo("Bo", older)]

    assert items == ["b", "b", None]
    assert [answer.number for answer in project.answers()] == [older]


def test_a_mended_outline_stands_in_place_of_the_one_before_it(project):
    first = project.record_outline("a", "Ada", "present", SQUARE, 0, sent="k1")

    for _ in range(2):
        mended = project.record_outline("a", "Ada", "present", SQUARE, 0, sent="k2", instead=first)
    project.record_outline("a", "Bo", "present", SQUARE, 0, instead=mended)

    assert [(one.number, one.annotator) for one in project.outlines("a")] == [
        (mended, "Ada"),
        (mended + 1, "Bo"),
    ]
