"""Trainings as one of two ranks, in a process of its own.

    python rank_work.py FOLDER

FOLDER holds what `write_scenes` wrote. Each training has a folder there; the loss of every step
goes to its `losses`. One after another, since to start a process takes longer than a training.
"""

import os
import sys
from pathlib import Path

import numpy as np
import torch
from conftest import HEIGHT, WIDTH, scene_of, write_example, write_raster

from geoseg.config import Recipe
from geoseg.data import LabelledScene
from geoseg.labels import GLACIER
from geoseg.training import Devices, averaging, gather, new_segmenter, ranks, train

RECIPE = {
    "data": "simulated-scene",
    "chips": {"size_px": 32, "band_dropout": 0.3},
    "film": {"share": 0.5, "cameras": ["corona-kh4b"]},
    "model": {"stem": "any", "encoder": "test_resnet"},
    "training": {"steps": 6, "batch": 4, "validate_every": 2, "jitter": 0.1, "flips": True},
}
ADAPTATION = {
    "scenes": [{"path": "s2.tif"}],
    "methods": ["self_training", "histogram"],
    "confidence": 0.5,
}
# In double precision: in single, rounding alone is amplified to 1e-2 within six steps.
DOUBLE = ("64-true", {})
SINGLE = ("32-true", {"adaptation": ADAPTATION})
TRAININGS = {"two": DOUBLE, "whole": SINGLE, "killed": SINGLE}


def write_scenes(folder):
    """The example, and another sensor beside the one of it."""
    write_example(folder)
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


def work(folder, out, devices, precision, settings):
    ranks.precision_of = averaging.precision_of = lambda _: precision
    out.mkdir(parents=True, exist_ok=True)
    (out / f"pid-{os.environ['RANK']}").write_text(str(os.getpid()))
    recipe = Recipe(**RECIPE, **settings)
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


def work_on_all(folder):
    for name, training in TRAININGS.items():
        done = folder / name / f"done-{os.environ['RANK']}"
        if not done.exists():  # a rank that was started again goes on where it was killed
            work(folder, folder / name, 2, *training)
            done.touch()


if __name__ == "__main__":
    work_on_all(Path(sys.argv[1]))
