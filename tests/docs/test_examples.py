"""The notebooks of examples/ as they are committed; whether they run, `make examples` tells."""

import base64
import io
import re
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))

from run_notebooks import run_notebook, without_traces  # noqa: E402

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
MOST_BYTES, MOST_BYTES_OF_ALL = 300_000, 800_000
# Of a machine, or of somebody on it; an escape of a terminal; a bar of progress.
TRACE = re.compile(r"(?<![\w.:/])/(?:tmp|home|root|work|Users|usr|opt|private)/|\x1b|\r|it/s\]")


def code_of(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts_of(cell):
    for output in cell.outputs:
        data = output.get("data", {})
        yield from [output.get("text", ""), data.get("text/plain", ""), data.get("text/html", "")]


def test_there_are_three_and_they_are_small():
    sizes = [path.stat().st_size for path in NOTEBOOKS]

    assert len(NOTEBOOKS) == 3
    assert max(sizes) <= MOST_BYTES
    assert sum(sizes) <= MOST_BYTES_OF_ALL


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestNotebook:
    def test_each_cell_was_run_in_its_order(self, path):
        cells = code_of(nbformat.read(path, as_version=4))

        assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))

    def test_it_shows_pictures_and_no_error(self, path):
        outputs = [o for cell in code_of(nbformat.read(path, as_version=4)) for o in cell.outputs]
        pictures = [o["data"]["image/png"] for o in outputs if "image/png" in o.get("data", {})]

        assert len(pictures) >= 2
        assert all(base64.b64decode(one).startswith(b"\x89PNG") for one in pictures)
        assert not any(o.output_type == "error" or o.get("name") == "stderr" for o in outputs)

    def test_it_tells_nothing_of_the_machine_it_ran_on(self, path):
        notebook = nbformat.read(path, as_version=4)
        texts = [text for cell in code_of(notebook) for text in texts_of(cell)]

        assert [found.group() for text in texts for found in TRACE.finditer(text)] == []
        assert notebook.metadata.kernelspec.name == "python3"
        assert all(cell.metadata == {} for cell in notebook.cells)

    def test_its_links_lead_somewhere(self, path):
        notebook = nbformat.read(path, as_version=4)
        text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
        links = re.findall(r"\]\((?!https?:)([^)#]+)", text)

        assert links
        assert [link for link in links if not (path.parent / link).is_file()] == []


def test_what_a_run_leaves_of_its_machine_is_taken_out():
    cell = new_code_cell("x")
    cell.metadata["execution"] = {"iopub.execute_input": "2026-01-01T00:00:00Z"}
    cell.outputs = [
        new_output("stream", name="stderr", text="3/5, 2 s left"),
        new_output("stream", name="stdout", text="\x1b[1mwrote\x1b[0m /there/run/out/a.gpkg"),
    ]

    trimmed = without_traces(new_notebook(cells=[cell]), "/there/run").cells[0]

    assert trimmed.metadata == {}
    assert [output.text for output in trimmed.outputs] == ["wrote out/a.gpkg"]


@pytest.mark.slow
def test_a_notebook_runs_in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = "from pathlib import Path\nPath('made.txt').touch()\nprint([*Path().iterdir()])"

    ran = run_notebook(new_notebook(cells=[new_code_cell(source)]))

    assert ran.cells[0].outputs[0].text == "[PosixPath('made.txt')]\n"
    assert list(tmp_path.iterdir()) == []


def test_colours_of_a_legend_stay_apart():
    drawn = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    drawn[:2, :2], drawn[:2, 2:4] = (31, 79, 216), (18, 58, 140)  # two kinds of lakes
    png = io.BytesIO()
    Image.fromarray(drawn).save(png, format="png")
    cell = new_code_cell("x")
    shown = {"image/png": base64.b64encode(png.getvalue()).decode("ascii")}
    cell.outputs = [new_output("display_data", data=shown)]

    small = without_traces(new_notebook(cells=[cell]), "/there").cells[0].outputs[0].data

    with Image.open(io.BytesIO(base64.b64decode(small["image/png"]))) as picture:
        colours = np.asarray(picture.convert("RGB"), dtype=float)
    assert len(small["image/png"]) < len(shown["image/png"])
    assert np.abs(colours[0, 0] - colours[0, 2]).max() > 40
