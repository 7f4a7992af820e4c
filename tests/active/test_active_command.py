"""`geoseg active`: from a table of embeddings to labels, by commands alone."""

import json

import numpy as np
import pandas as pd
import pytest
from active.labelling import answer_on, classes_of, items
from command_line import geoseg_here

from geoseg.report.active_layer import map_link


def as_json(*arguments):
    done = geoseg_here("active", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refused(*arguments):
    done = geoseg_here("active", *arguments)
    assert done.returncode in {1, 2}
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(4)
    rows = pd.DataFrame({"item": items(60)})
    present = [name == "present" for name in classes_of(60).values()]
    rows["e0"] = rng.normal(size=60) + 4 * np.array(present)
    rows["e1"] = rng.normal(size=60)
    rows["lon"], rows["lat"] = rng.uniform(10, 12, 60), rng.uniform(60, 61, 60)
    rows.to_csv(tmp_path / "pool.csv", index=False)
    return tmp_path / "pool.csv"


@pytest.mark.slow
def test_a_labelling_goes_from_a_table_to_labels(tmp_path, table):
    folder = tmp_path / "p"
    seeds = tmp_path / "seeds.csv"
    seeds.write_text("item,present\ni000,yes\ni005,yes\ni001,no\n")
    begun = as_json("init", folder, "--embeddings", table, "--seeds", seeds)
    assert (begun["items"], begun["width"], begun["seeds"]) == (60, 2, 3)

    made = as_json("propose", folder, "--count", "30")
    assert (made["round"], made["proposed"], made["labels"]) == (1, 30, 3)
    assert made["why"]["audit"] == 3
    answer_on(made["geopackage"], classes_of(60), "anna")
    taken = as_json("ingest", folder, made["geopackage"])
    assert (taken["taken"], taken["known"], taken["empty"]) == (30, 0, 0)
    assert as_json("ingest", folder, made["geopackage"])["taken"] == 0

    worth = as_json("train", folder)
    assert worth["labels"] == 33
    stands = as_json("status", folder)
    assert stands["labelled"] == 33
    assert stands["rounds"][0]["metrics"]["labels"] == 33
    assert stands["annotators"]["anna"]["waiting"] == 0
    assert list(stands["annotators"]) == ["anna"]
    assert stands["rounds_left_out"] == worth["rounds_left_out"] == 0
    assert "Annotators" in geoseg_here("active", "status", folder).stdout
    assert pd.read_csv(worth["labels_file"])["present"].notna().sum() == 33


@pytest.mark.slow
def test_labels_of_a_project_are_a_truth_and_seeds_are_nobody(tmp_path, table):
    folder, said = tmp_path / "p", tmp_path / "said.csv"
    classes = classes_of(60)
    rows = [f"{item},{word},{{}}" for item, word in classes.items()]
    said.write_text("\n".join(["item,said,annotator", *rows]).format(*["anna"] * 60))
    as_json("init", folder, "--embeddings", table)
    proposed = geoseg_here("active", "propose", folder, "--count", "10")
    assert f"`geoseg active serve {folder} --pack PACK`" in proposed.stderr
    as_json("ingest", folder, said)
    as_json("train", folder)

    curves = geoseg_here(
        *("active", "simulate", "--pool", folder / "pool", "--truth", folder / "labels.csv"),
        *("--strategies", "likely", "--seeds", 1, "--rounds", 1, "--batch", 5, "--json"),
        *("--out", tmp_path / "out"),
    )

    assert curves.returncode == 0, curves.stderr
    said.write_text("item,said,annotator\ni000,present,seeds\n")
    assert "stands for labels that were there before" in refused("ingest", folder, said)


def test_what_cannot_be_done_is_one_sentence(tmp_path, table):
    folder = tmp_path / "p"
    assert "Give one of --pack, --rows and --embeddings" in refused("init", folder)
    assert "is no name of a class" in refused(
        "init", folder, "--embeddings", table, "--classes", "No,Yes"
    )
    assert not folder.exists()
    assert "holds no project; make one with `geoseg active init`" in refused("status", folder)
    as_json("init", folder, "--embeddings", table)
    assert "There is no strategy 'mixtur'. Did you mean 'mixture'?" in refused(
        "propose", folder, "--strategy", "mixtur"
    )
    assert "0 items have a label, of fewer than two classes" in refused("train", folder)
    assert "holds no answers; give a .csv" in refused("ingest", folder, tmp_path / "a.shp")


def test_a_place_has_a_link_to_a_map_and_nowhere_has_none():
    assert map_link(-45.5, 70.25) == (
        "https://www.openstreetmap.org/?mlat=70.25000&mlon=-45.50000#map=14/70.25000/-45.50000"
    )
    assert map_link(np.nan, 70.0) is None
