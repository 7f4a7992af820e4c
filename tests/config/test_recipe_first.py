"""A recipe is checked before anything is imported that takes seconds."""

import subprocess
import sys

import pytest

# torch ends the program: what a wrong recipe says is then said without it.
WITHOUT_TORCH = """
import sys
sys.modules["torch"] = sys.modules["rasterio"] = None
from geoseg.cli import main
main()
"""


@pytest.mark.parametrize(
    "arguments",
    [
        "glacier-inventory train --set training.stepz=5",
        "thaw-slump train --set learning.stepz=5",
        "pivot-landcover train --set learning.stepz=5",
        "active-labelling run --set round.itemz=5",
        "compare --recipe examples/compare.yaml --set training.stepz=5",
        "predict --model a.safetensors --scene a.json --set inference.halo=5",
        "vectorize out/maps/a --set outlines.smoth=2",
        "export-onnx a.safetensors --scene a.json --set inference.tile=64",
    ],
)
def test_a_wrong_key_is_told_without_torch(request, arguments):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *arguments.split()],
        cwd=request.config.rootpath,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2, done.stderr
    assert f"Error: --set {arguments.rpartition(' ')[2]} has the unknown key" in done.stderr
