"""A training as one of several ranks, in a process of its own.

    python rank_work.py FOLDER OUT DEVICES PRECISION [SETTINGS]

FOLDER holds what `write_scenes` wrote. The loss of every step goes to OUT/losses.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
from conftest import HEIGHT, WIDTH, scene_of, write_raster

from geoseg.config import Recipe
from geoseg.data import LabelledScene
from geoseg.labels import GLACIER
from geoseg.training import Devices, averaging, gather, new_segmenter, ranks, train

RECIPE = {
    "data": "simulated-scene",
    "chips": {"size_px": 32, "band_dropout": 0.3},
    "film": {"share": 0.5, "cameras": ["corona-kh4b"]},
    "model": {"stem": "any"},
    "training": {"steps": 6, "batch": 4, "validate_every": 2, "jitter": 0.1, "flips": True},
}


def write_scenes(folder):
    """Another sensor beside the one of the example."""
    colours = np.random.default_rng(1).integers(1, 255, (3, HEIGHT, WIDTH)).astype(np.uint8)
    write_raster(folder / "s2.tif", colours)


def sources(folder):
    second = scene_of(folder / "s2.tif", bands=("blue", "green", "red"), sensor="sentinel-2")
    return [
        LabelledScene(
            scene=scene,
            outlines=folder / "outlines.gpkg",
            layer=None,
            class_of="glacier",
            scheme=GLACIER,
        )
        for scene in (scene_of(folder / "scene.tif"), second)
    ]


def work(folder, out, devices, precision, settings="{}"):
    ranks.precision_of = averaging.precision_of = lambda _: precision
    out.mkdir(parents=True, exist_ok=True)
    (out / f"pid-{os.environ['RANK']}").write_text(str(os.getpid()))
    recipe = Recipe(**{**RECIPE, **json.loads(settings)})
    adapted = [scene_of(folder / "s2.tif", bands=("blue", "green", "red"), sensor="sentinel-2")]
    material = gather(sources(folder), adapted if recipe.adaptation.scenes else (), recipe)

    def on_step(report):
        with (out / "losses").open("a") as file:
            file.write(f"{report.step} {report.loss!r}\n")

    train(
        new_segmenter(material.spec, recipe),
        material.chips,
        recipe,
        folder=out,
        device=Devices(kind=torch.device("cpu"), each=devices),
        record={"training_hash": "t", "data_hash": "d"},
        on_step=on_step,
    )


if __name__ == "__main__":
    work(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
