"""A proposal opens in QGIS with a list to answer from, and what is answered there comes back."""

import json
from pathlib import Path

import pytest
from active.labelling import CLASSES, small_project

from geoseg.active.ingest import ingest
from geoseg.active.record import Proposed
from geoseg.report.active_layer import write_places_layer

pytestmark = pytest.mark.qgis

ANSWER = Path(__file__).parent / "answer_in_qgis.py"


@pytest.fixture
def made(tmp_path):
    project, pool = small_project(tmp_path / "p")
    with project:
        path = tmp_path / "it's a & b.gpkg"
        names = ["i000", "i001", "i002", "i059"]
        proposed = [Proposed(1, n, name, "audit", 0.5, None) for n, name in enumerate(names, 1)]
        write_places_layer(path, proposed, pool, CLASSES, key=project.key, chip_m=640.0)
        yield path, project, pool


def test_a_proposal_is_answered_in_qgis_and_taken_in(qgis, made):
    path, project, pool = made

    done = qgis(ANSWER, path, "anna", "i000=present", "i059=unknown")

    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert (seen["valid"], seen["rows"], seen["editing"], seen["saved"]) == (True, 4, True, True)
    assert seen["renderer"] == "categorizedSymbol"
    assert seen["legend"] == ["absent", "present", "unknown", "not answered"]
    assert (seen["widget"], seen["link"]) == ("ValueMap", "ExternalResource")
    assert [label for label, _ in seen["offered"]] == [
        *("(not answered)", "absent", "present", "unknown"),
    ]
    assert set(seen["fixed"]) >= {"item", "rank", "link"}
    assert not set(seen["fixed"]) & {"said", "annotator", "note"}

    assert ingest(path, project, pool) == (4, 2, 2, 0)

    assert {one.item: (one.annotator, one.said) for one in project.answers()} == {
        "i000": ("anna", "present"),
        "i059": ("anna", "unknown"),
    }


def test_the_file_is_a_valid_geopackage(qgis, made):
    done = qgis("-m", "osgeo_utils.samples.validate_gpkg", "-k", made[0])

    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
