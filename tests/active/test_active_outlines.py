"""Outlines that were drawn on the page, as a file for other programs."""

import json

import pytest
from active.labelling import small_project
from command_line import geoseg_here

SQUARE = {"type": "Polygon", "coordinates": [[[1, 1], [5, 1], [5, 4], [1, 4], [1, 1]]]}


@pytest.fixture
def made(tmp_path):
    project, pool = small_project(tmp_path / "p")
    with project:
        yield project, pool


def written(project, out):
    done = geoseg_here("active", "outlines", project.folder, "--out", out)
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text()), done.stderr


def test_outlines_that_stand_are_written_in_pixels_with_where_their_items_lie(made, tmp_path):
    project, pool = made
    project.record_outline("i059", "Bo", "absent", SQUARE, 0)
    gone = project.record_outline("i003", "Ada", "absent", SQUARE, 1)
    project.record_outline("i003", "Ada", "present", SQUARE, 2, instead=gone)

    told, said = written(project, tmp_path / "outlines.json")

    assert said.startswith("2 outlines are in ")
    assert (told["type"], told["unit"]) == ("FeatureCollection", "pixels")
    first, second = (one["properties"] for one in told["features"])
    assert (first["item"], first["lon"], first["annotator"]) == ("i059", None, "Bo")
    assert (second["item"], second["image"], second["class"]) == ("i003", 2, "present")
    assert (second["lon"], second["lat"]) == (pool.lon[3], pool.lat[3])
    assert [one["geometry"] for one in told["features"]] == [SQUARE, SQUARE]


def test_without_an_outline_the_file_is_empty(made, tmp_path):
    told, _ = written(made[0], tmp_path / "outlines.json")

    assert told["features"] == []
