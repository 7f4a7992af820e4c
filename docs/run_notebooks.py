"""Run notebooks and keep what they show, small enough to be read in the repository.

    python docs/run_notebooks.py examples/*.ipynb

Each runs in an empty folder of its own. What cells print on stderr, which is how far they are, is
left out; so are times and the names of this machine, and pictures get a palette.
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
from nbclient import NotebookClient
from PIL import Image

if TYPE_CHECKING:
    from nbformat import NotebookNode

__all__ = ["run_notebook", "without_traces"]

_LONGEST_S = 900
_COLOURS = 96
# The kernel comes from the environment that runs this, whatever its name is there.
_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
_OBJECT = re.compile(r"<Figure size [^>]*>")
_STYLE = re.compile(r"\x1b\[[0-9;]*m")  # of tables; IPython tells commands that it can show it


def run_notebook(notebook: NotebookNode) -> NotebookNode:
    """The notebook with the outputs of a run of all its cells.

    Raises:
        CellExecutionError: a cell failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        client = NotebookClient(
            notebook, timeout=_LONGEST_S, resources=resources, coalesce_streams=True
        )
        return without_traces(client.execute(), folder)


def without_traces(notebook: NotebookNode, folder: str) -> NotebookNode:
    """The notebook as another machine would have written it, with small pictures.

    Args:
        notebook: with its outputs; changed.
        folder: that it ran in, which is left out of what it tells.
    """
    notebook.metadata = nbformat.from_dict(_METADATA)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02d}"
        cell.metadata = nbformat.from_dict({})
        if cell.cell_type != "code":
            continue
        cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr"]
        for output in cell.outputs:
            if "text" in output:
                output.text = _STYLE.sub("", output.text).replace(f"{folder}/", "")
            _make_small(output.get("data", {}))
    return notebook


def _make_small(shown: dict[str, str]) -> None:
    """A picture with a palette, and without the name of the object that it was."""
    if "image/png" not in shown:
        return
    png = io.BytesIO(base64.b64decode(shown["image/png"]))
    small = io.BytesIO()
    with Image.open(png) as picture:
        # An octree keeps the rare colours of a legend apart.
        rgb, tree = picture.convert("RGB"), Image.Quantize.FASTOCTREE
        drawn = rgb.quantize(_COLOURS, method=tree, dither=Image.Dither.NONE)
        drawn.save(small, format="png", optimize=True)
    shown["image/png"] = base64.b64encode(small.getvalue()).decode("ascii")
    if "text/plain" in shown:
        shown["text/plain"] = _OBJECT.sub("a picture", shown["text/plain"])


def main() -> int:
    """Run the notebooks that are named, each in place."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="+", type=Path)
    paths = parser.parse_args().notebooks
    # `geoseg` of this Python, which the shell need not know.
    os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    for path in paths:
        ran = run_notebook(nbformat.read(path, as_version=4))
        nbformat.write(ran, path)
        sys.stdout.write(f"{path}: {path.stat().st_size / 1000:.0f} kB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
