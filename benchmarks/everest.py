"""Glacier IoU on the eastern 3/8 of a Landsat 7 scene of Everest: a plain loop against the recipe.

    python benchmarks/everest.py [--json] [--seeds 3]

Both train on the western 5/8 against RGI 6.0 outlines, in turn, and are scored on every pixel of
the eastern 3/8; medians over seeds. The plain loop is what one writes first: a Unet resnet18 of
segmentation_models_pytorch from scratch, binary cross-entropy, Adam at 1e-3, 250 steps of 8 random
chips of 128 px. The recipe runs with its own defaults. The data set is fetched, or read from
GEOSEG_DATA_MIRROR.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import torch
from rasterio.features import rasterize

from geoseg.data import fetch
from geoseg.models import build_segmenter  # noqa: F401  makes torchvision importable

import segmentation_models_pytorch as smp  # isort: skip

TRAIN_SHARE = 5 / 8
STEPS, BATCH, CHIP = 250, 8, 128


def read_everest(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Image (C, H, W) and truth (H, W)."""
    with rasterio.open(folder / "LE71400412000304SGS00_RGB.tif") as rgb:
        colours, transform, crs = rgb.read(), rgb.transform, rgb.crs
    with rasterio.open(folder / "LE71400412000304SGS00_B4.tif") as nir:
        image = np.concatenate([colours, nir.read()]).astype(np.float32)
    outlines = gpd.read_file(folder / "15_rgi60_glacier_outlines.gpkg").to_crs(crs)
    truth = rasterize(outlines.geometry, image.shape[1:], transform=transform)
    return image, truth.astype(np.float32)


def plain_loop(image: np.ndarray, truth: np.ndarray, seed: int) -> float:
    """IoU of the loop that one writes first."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    border = round(image.shape[2] * TRAIN_SHARE)
    west = image[:, :, :border]
    image = (image - west.mean((1, 2), keepdims=True)) / west.std((1, 2), keepdims=True)
    network = smp.Unet("resnet18", encoder_weights=None, in_channels=4, classes=1)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(STEPS):
        rows = rng.integers(0, image.shape[1] - CHIP + 1, BATCH)
        columns = rng.integers(0, border - CHIP + 1, BATCH)
        cuts = [np.s_[..., r : r + CHIP, c : c + CHIP] for r, c in zip(rows, columns, strict=True)]
        batch = torch.from_numpy(np.stack([image[cut] for cut in cuts]))
        label = torch.from_numpy(np.stack([truth[cut] for cut in cuts]))[:, None]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(network(batch), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval()
    padded = np.pad(image, ((0, 0), (0, -image.shape[1] % 32), (0, -image.shape[2] % 32)))
    with torch.inference_mode():
        mapped = network(torch.from_numpy(padded)[None])[0, 0].numpy() > 0
    east = np.s_[: image.shape[1], border : image.shape[2]]
    mapped, ice = mapped[: image.shape[1], : image.shape[2]][east], truth[east] > 0
    return float((mapped & ice).sum() / (mapped | ice).sum())


def recipe(seed: int) -> float:
    """IoU of `geoseg glacier-inventory run --data everest` with its defaults."""
    with tempfile.TemporaryDirectory() as out:
        command = [
            *(str(Path(sys.executable).with_name("geoseg")), "glacier-inventory", "run"),
            *("--data", "everest", "--out", out, "--set", f"seed={seed}", "--json"),
        ]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout)["scores"]["glacier"]["iou"])


def main() -> None:
    """Measure both in turn, print a table, and with --json one object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    image, truth = read_everest(fetch("everest"))
    rows = []
    for seed in range(options.seeds):
        start = time.perf_counter()
        plain = plain_loop(image, truth, seed)
        middle = time.perf_counter()
        ours = recipe(seed)
        end = time.perf_counter()
        rows.append((plain, ours))
        print(
            f"seed {seed}: plain loop {plain:.4f} in {middle - start:.0f} s, "
            f"recipe {ours:.4f} in {end - middle:.0f} s",
            flush=True,
        )
    baseline, geoseg = (statistics.median(column) for column in zip(*rows, strict=True))
    print(f"median: plain loop {baseline:.4f}, recipe {geoseg:.4f}, gain {geoseg - baseline:+.4f}")
    if options.json:
        figures = {"iou_baseline": baseline, "iou_geoseg": geoseg, "gain": geoseg - baseline}
        machine = f"{os.cpu_count()} cores {platform.machine()}, torch {torch.__version__}"
        print(json.dumps({"benchmark": "everest", "machine": machine, "figures": figures}))


if __name__ == "__main__":
    main()
