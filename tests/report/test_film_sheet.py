"""The contact sheet of film, and the page that explains it."""

import json
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import pytest

from geoseg.chips import EFFECTS

DOCS = Path(__file__).parents[2] / "docs"
GEOSEG = Path(sys.executable).with_name("geoseg")


def test_the_page_on_film_has_every_effect_with_its_range_and_source():
    page = (DOCS / "film.md").read_text()

    for name, e in EFFECTS.items():
        assert f"| {name} | {e.low:g} to {e.high:g} | {e.unit} | {e.source} |" in page


@pytest.mark.slow
def test_the_command_writes_a_contact_sheet(tmp_path):
    sheet = tmp_path / "film.png"

    done = subprocess.run(
        [GEOSEG, "sensors", "film", "--preview", sheet, "--json"], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["preview"] == str(sheet)
    assert set(figures["effects"]) == set(EFFECTS)
    picture = matplotlib.image.imread(sheet)
    assert min(picture.shape[:2]) > 500
    assert picture.std() > 0.2


@pytest.mark.slow
def test_a_preview_that_is_no_png_is_refused(tmp_path):
    done = subprocess.run(
        [GEOSEG, "sensors", "film", "--preview", tmp_path / "film.tif"],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 2
    assert "film.tif is no picture that can be written; name it .png." in done.stderr
    assert list(tmp_path.iterdir()) == []
