"""Debris IoU on the Liligo glacier, Karakoram, with terrain bands and without.

    python benchmarks/terrain.py [--json] [--full]

The data set (CRAN package glacierSMBM, GPL-3; read from GEOSEG_DATA_MIRROR/liligo_debris) has
surface temperature, an elevation model, and masks of debris, ice and firn on the glacier, of 10
August 2011 at 30 m. There are no reflectances: the network sees the temperature as a thermal band,
once alone and once with elevation, slope, aspect and curvature. Three spatial folds of blocks of
1500 m with a buffer of 150 m; every pixel is scored once. The masks were themselves made from the
same images, so this tells what terrain adds, and not how good debris maps are.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import rasterio.features
import shapely
import torch

from geoseg.chips import UNSEEN, Folds, make_folds
from geoseg.config import Recipe
from geoseg.data import LabelledScene
from geoseg.grids import raster_grid
from geoseg.inference import Prediction, predict_scene
from geoseg.labels import IGNORE, ClassScheme
from geoseg.metrics import confusion_matrix, score_classes
from geoseg.models import load_checkpoint
from geoseg.scenes import Asset, Scene
from geoseg.training import gather, new_segmenter, train

CPU = torch.device("cpu")
MASKS = {"debris_ice": "debrisMask", "clean_ice": "iceMask", "firn": "firnMask"}
SCHEME = ClassScheme.of({"debris_ice": "#8c6d46", "clean_ice": "#7fd0ee", "firn": "#d8eef6"})


def read_truth(folder: Path) -> tuple[np.ndarray, gpd.GeoDataFrame]:
    """Class ids (H, W), and the same as outlines."""
    truth = None
    for number, name in enumerate(MASKS.values(), start=1):
        with rasterio.open(folder / f"{name}_30m.tif") as raster:
            mask, transform, crs = raster.read(1), raster.transform, raster.crs
        truth = np.full(mask.shape, IGNORE, np.uint8) if truth is None else truth
        truth[mask == 1] = number
    assert truth is not None
    found = rasterio.features.shapes(truth, mask=truth != IGNORE, transform=transform)
    pairs = [(shapely.geometry.shape(shape), SCHEME.names[int(value)]) for shape, value in found]
    names = [name for _, name in pairs]
    return truth, gpd.GeoDataFrame({"class_name": names}, geometry=[g for g, _ in pairs], crs=crs)


def labelled(folder: Path, outlines: Path, *, terrain: bool) -> LabelledScene:
    """The glacier by its temperature, with its elevation model or without."""
    scene = Scene(
        id="liligo",
        sensor_id="landsat-5",
        start=datetime(2011, 8, 10, tzinfo=UTC),
        end=datetime(2011, 8, 11, tzinfo=UTC),
        bands={"lwir": Asset(path=folder / "lst_30m_hourly.tif")},
        dem=folder / "srtm_dem_30m.tif" if terrain else None,
    )
    return LabelledScene(
        scene=scene, outlines=outlines, layer=None, class_of="class_name", scheme=SCHEME
    )


def mapped(source: LabelledScene, folds: Folds, fold: int, steps: int, work: Path) -> np.ndarray:
    """Class ids (H, W) by a network that was not shown a fold."""
    recipe = Recipe(
        data="simulated-scene",
        chips={"size_px": 64, "margin_px": 0},
        model={"stem": "any"},
        training={"steps": steps, "batch": 8, "validate_every": steps, "averaging": 0.95},
        inference={"prevalence_reach_m": 0},
    )
    material = gather([source], (), recipe, ground=partial(folds.roles, held_out=fold))
    result = train(
        new_segmenter(material.spec, recipe),
        material.chips,
        recipe,
        folder=work,
        device=CPU,
        record={"training_hash": str(work), "data_hash": str(fold)},
        on_step=lambda _: None,
    )
    prediction = predict_scene(
        load_checkpoint(result.model).segmenter,
        source.scene,
        recipe.inference,
        prediction=Prediction(classes=work / "classes.tif", probability=work / "chance.tif"),
        device=CPU,
        tags={},
        on_tile=lambda *_: None,
    )
    with rasterio.open(prediction.classes) as raster:
        return raster.read(1)


def main() -> None:
    """Measure, print a table, and with --json one object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--full", action="store_true")
    options = parser.parse_args()
    folder = Path(os.environ.get("GEOSEG_DATA_MIRROR", "")) / "liligo_debris"
    truth, outlines = read_truth(folder)
    figures = {}
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        outlines.to_file(work / "truth.gpkg")
        with rasterio.open(folder / "lst_30m_hourly.tif") as raster:
            grid = raster_grid(raster)
        folds = make_folds(grid, count=3, block_m=1500, buffer_m=150, seed=0, truth=truth)
        for terrain in (False, True):
            source = labelled(folder, work / "truth.gpkg", terrain=terrain)
            confusion = np.zeros((4, 4), np.int64)
            for fold in range(3):
                steps = 600 if options.full else 150
                classes = mapped(source, folds, fold, steps, work / f"{terrain}{fold}")
                held = (folds.roles(grid, held_out=fold) == UNSEEN) & (classes != IGNORE)
                confusion += confusion_matrix(truth[held], classes[held], 4)
            scores = score_classes(confusion)
            name = "with terrain" if terrain else "temperature alone"
            told = (f"{n} {s.iou:.3f}" for n, s in zip(SCHEME.names[1:], scores[1:], strict=True))
            print(f"{name}: IoU", *told, flush=True)
            figures["debris_iou_terrain" if terrain else "debris_iou"] = scores[1].iou
    if options.json:
        machine = f"{os.cpu_count()} cores {platform.machine()}, torch {torch.__version__}"
        print(json.dumps({"benchmark": "terrain", "machine": machine, "figures": figures}))


if __name__ == "__main__":
    main()
