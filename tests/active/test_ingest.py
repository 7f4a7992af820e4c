"""Answers from files: all that can be taken is taken, or nothing is."""

import sqlite3
from contextlib import closing

import pandas as pd
import pytest
from active.labelling import answer_on, small_project

from geoseg.active.ingest import ingest, read_gold
from geoseg.active.project import UNKNOWN
from geoseg.active.record import Proposed
from geoseg.errors import ConfigError, LabelError
from geoseg.report.active_layer import write_places_layer


@pytest.fixture
def made(tmp_path):
    project, pool = small_project(tmp_path / "p")
    with project:
        yield project, pool


def layer(path, made, names=("i000", "i001", "i059"), key=None):
    project, pool = made
    proposed = [Proposed(1, n, name, "audit", 0.5, None) for n, name in enumerate(names, 1)]
    write_places_layer(path, proposed, pool, project.classes, key=key or project.key)
    return path


def table(tmp_path, text, name="a.csv"):
    (tmp_path / name).write_text(text)
    return tmp_path / name


def said_in(project):
    return {(one.item, one.annotator): one.said for one in project.answers()}


def test_answers_of_a_layer_are_taken_once_and_those_not_given_are_not(tmp_path, made):
    path = layer(tmp_path / "a.gpkg", made)
    answer_on(path, {"i000": "present"}, "anna")
    answer_on(path, {"i059": UNKNOWN})

    first = ingest(path, *made, annotator="ben")
    again = ingest(path, *made, annotator="ben")

    assert first == (3, 1, 2, 0)
    assert again == (3, 1, 0, 2)
    assert said_in(made[0]) == {("i000", "anna"): "present", ("i059", "ben"): UNKNOWN}
    assert {one.via for one in made[0].answers()} == {"qgis"}


def test_what_is_changed_in_a_layer_is_a_new_answer_and_another_person_another_one(tmp_path, made):
    path = layer(tmp_path / "a.gpkg", made)
    answer_on(path, {"i000": "present", "i001": "absent"}, "anna")
    ingest(path, *made)
    answer_on(path, {"i000": "absent"}, "anna")
    answer_on(path, {"i001": "present"}, "ben")

    assert ingest(path, *made).taken == 2

    assert said_in(made[0]) == {
        ("i000", "anna"): "absent",
        ("i001", "anna"): "absent",
        ("i001", "ben"): "present",
    }


def test_a_layer_that_is_open_elsewhere_with_answers_in_its_log_is_read_too(tmp_path, made):
    path = layer(tmp_path / "a.gpkg", made)
    with closing(sqlite3.connect(path)) as open_file:
        open_file.execute("PRAGMA journal_mode = WAL")
        answer_on(path, {"i000": "present"}, "anna")

        assert ingest(path, *made).taken == 1


def test_a_layer_of_another_project_is_refused(tmp_path, made):
    path = layer(tmp_path / "a.gpkg", made, key="0" * 32)
    answer_on(path, {"i000": "present"}, "anna")

    with pytest.raises(LabelError, match=r"a.gpkg is of another project; take the proposal.gpkg"):
        ingest(path, *made)

    assert made[0].answers() == []


def test_what_is_no_layer_of_a_proposal_is_told(tmp_path, made):
    with pytest.raises(LabelError, match=r"b.gpkg is no proposal that can be read"):
        ingest(tmp_path / "b.gpkg", *made)
    path = table(tmp_path, "no database" * 500, "c.gpkg")
    with pytest.raises(LabelError, match=r"c.gpkg is no proposal that can be read"):
        ingest(path, *made)
    with closing(sqlite3.connect(tmp_path / "d.gpkg")) as other, other:
        other.execute("CREATE TABLE gpkg_metadata (id, metadata)")
        other.execute("CREATE TABLE gpkg_metadata_reference (md_file_id, table_name)")
    with pytest.raises(LabelError, match=r"d.gpkg is of no project of geoseg"):
        ingest(tmp_path / "d.gpkg", *made)


def test_a_table_names_items_answers_people_and_notes(tmp_path, made):
    text = "chip_id,class,annotator,note\ni000,present, anna ,by the lake\ni001,,anna,\n"
    text += "i002,unknown,,\n"

    taken = ingest(table(tmp_path, text), *made, annotator="ben")

    assert taken == (3, 1, 2, 0)
    assert said_in(made[0]) == {("i000", "anna"): "present", ("i002", "ben"): UNKNOWN}
    assert [one.note for one in made[0].answers()] == ["by the lake", ""]


def test_present_is_written_as_people_write_it(tmp_path, made):
    text = "item,present\ni000,yes\ni001,0\ni002,\ni003,unknown\ni004,TRUE\n"

    ingest(table(tmp_path, text), *made, annotator="anna")

    assert [one.said for one in made[0].answers()] == ["present", "absent", UNKNOWN, "present"]


def test_a_parquet_is_read_as_a_csv(tmp_path, made):
    rows = {"item": ["i000", "i001", "i002"], "present": [True, None, False]}
    pd.DataFrame(rows).to_parquet(tmp_path / "a.parquet")

    ingest(tmp_path / "a.parquet", *made, annotator="anna")

    assert said_in(made[0]) == {("i000", "anna"): "present", ("i002", "anna"): "absent"}


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        (
            "item,said\ni000,present\ni001,lake\ni002,ice\n",
            ConfigError,
            "says 'ice', 'lake', of which the project knows nothing; it knows absent, present, unk",
        ),
        (
            "item,said\ni000,present\nx,present\ny,absent\n",
            LabelError,
            r"has 2 of 3 answers on items that the pool has not \('x', 'y'\); correct their ids",
        ),
        ("item,said\ni000,present\n,absent\n", LabelError, r"1 of 2 answers on items .* \(''\)"),
        (
            "item,said\ni000,present\ni000,absent\n",
            ConfigError,
            "has two answers of anna on 'i000'; leave one",
        ),
        ("name,said\ni000,present\n", LabelError, "has the columns name, said; give item"),
        ("item\ni000\n", LabelError, "has the columns item; give item"),
        ("item,present\ni000,perhaps\n", LabelError, "present = 'perhaps' is neither true nor"),
        ("item,said\ni000,present,anna\n", LabelError, "cannot be read"),
        ("", LabelError, "cannot be read"),
    ],
)
def test_a_table_of_which_anything_cannot_be_taken_is_not_taken(tmp_path, made, text, error, said):
    with pytest.raises(error, match=said):
        ingest(table(tmp_path, text), *made, annotator="anna")

    assert made[0].answers() == []


def test_answers_of_nobody_are_refused(tmp_path, made):
    with pytest.raises(ConfigError, match="has 1 answers without an annotator; give --annotator"):
        ingest(table(tmp_path, "item,said\ni000,present\n"), *made)


def test_a_file_of_another_kind_is_told(tmp_path, made):
    with pytest.raises(LabelError, match=r"a.txt holds no answers; give a .csv, .parquet or .gpkg"):
        ingest(table(tmp_path, "x", "a.txt"), *made)


def test_presence_says_nothing_of_three_classes(tmp_path):
    project, pool = small_project(tmp_path / "p", classes=("ice", "lake", "rock"))
    with project, pytest.raises(LabelError, match="project has 3 classes; name the class in a col"):
        ingest(table(tmp_path, "item,present\ni000,yes\n"), project, pool, annotator="anna")


def test_truth_is_one_class_an_item(tmp_path, made):
    text = "item,present\ni000,yes\ni001,no\ni002,\n"

    assert read_gold(table(tmp_path, text), *made) == {"i000": "present", "i001": "absent"}
    with pytest.raises(ConfigError, match="two answers of gold on 'i000'"):
        read_gold(table(tmp_path, "item,present\ni000,yes\ni000,no\n"), *made)
