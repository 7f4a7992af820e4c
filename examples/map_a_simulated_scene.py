"""Train on a small simulated scene, map it, and print what was found: the library without the CLI.

    python examples/map_a_simulated_scene.py

About a minute on two cores: for a map to use, leave `chips` and `training` to their defaults.
"""

from __future__ import annotations

from pathlib import Path

from geoseg.config import ChipSettings, Recipe, TrainingSettings
from geoseg_recipes.glacier_inventory.run import Run
from geoseg_recipes.glacier_inventory.steps import evaluate, predict, train, vectorize

recipe = Recipe(
    data="simulated-scene",
    chips=ChipSettings(size_px=96),
    training=TrainingSettings(
        steps=100, validate_every=50, warmup_steps=10, learning_rate=0.004, averaging=0.9
    ),
)
run = Run(recipe=recipe, base=Path(), out=Path("out/example"), device="auto")

train(run)
predict(run)
(outlines,) = vectorize(run)  # one table for each scene
print(outlines.groupby("class_name")["area_km2"].agg(["size", "sum"]).round(2))
print(f"mean IoU on the held-out part: {evaluate(run).mean_iou:.3f}")
