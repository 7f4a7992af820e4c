"""Train on two ranks as on one process, and kill ranks on the way.

    python benchmarks/scale_ddp.py [--json] [--kills 5]

A small U-Net (resnet18) with a stem for any bands learns bright squares on scenes of two sensors,
with film made of one of them, missing bands, turns and jitter. One process takes whole batches;
two processes (gloo, one thread each) take half of each batch, both in double precision: in single
precision one process with one thread and with two are 1e-2 apart after six steps, because rounding
is amplified by each step of Adam, and nothing could be told. Then pairs are trained in single
precision, one left alone and the others killed: one of the two (SIGKILL) after a random step.
torchrun's agent starts both again and they go on from the last checkpoint.

ddp_loss_diff: the largest difference of the two loss curves; ddp_kills_ok: how many killed runs
ended by themselves with a model and a state that are those of the unbroken pair, byte by byte.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
import shapely
import torch
from rasterio.transform import from_origin

from geoseg.config import Recipe
from geoseg.data import LabelledScene
from geoseg.files import sha256_of
from geoseg.labels import GLACIER
from geoseg.scenes import Asset, Scene
from geoseg.training import StepReport, averaging, gather, new_segmenter, ranks, train
from geoseg.training.launch import run_ranks
from geoseg.training.ranks import Devices

HEIGHT_PX, WIDTH_PX, PIXEL_M = 96, 160, 30
CRS, CORNER = "EPSG:32645", (500_000, 3_100_000)
STEPS = 16
KILLS = 5
LEFT = ("model.safetensors", "state.safetensors")
RECIPE = Recipe(
    data="simulated-scene",
    chips={"size_px": 32, "gsd_m": [30, 60], "band_dropout": 0.3},
    film={"share": 0.5, "cameras": ["corona-kh4b"]},
    model={"stem": "any"},
    training={
        "steps": STEPS,
        "batch": 8,
        "validate_every": 4,
        "warmup_steps": 4,
        "jitter": 0.1,
        "flips": True,
    },
)
RECORD = {"training_hash": "t", "data_hash": "d"}


def write_scenes(folder: Path) -> None:
    """Two rasters of one place and the outlines on them."""
    rng = np.random.default_rng(0)
    ice = np.zeros((HEIGHT_PX, WIDTH_PX), dtype=bool)
    ice[20:60, 20:70] = ice[30:80, 100:140] = True
    for name, bands in (("landsat", 2), ("sentinel", 4)):
        image = rng.normal(60, 10, (bands, HEIGHT_PX, WIDTH_PX)) + 120 * ice
        with rasterio.open(
            folder / f"{name}.tif",
            "w",
            driver="GTiff",
            height=HEIGHT_PX,
            width=WIDTH_PX,
            count=bands,
            dtype="uint8",
            crs=CRS,
            transform=from_origin(*CORNER, PIXEL_M, PIXEL_M),
        ) as raster:
            raster.write(image.clip(1, 255).astype(np.uint8))
    boxes = [_box(20, 60, 20, 70), _box(30, 80, 100, 140)]
    gpd.GeoDataFrame(geometry=boxes, crs=CRS).to_file(folder / "outlines.gpkg")


def _box(top: int, bottom: int, left: int, right: int) -> shapely.Geometry:
    east, north = CORNER
    return shapely.box(
        east + left * PIXEL_M,
        north - bottom * PIXEL_M,
        east + right * PIXEL_M,
        north - top * PIXEL_M,
    )


def sources_of(folder: Path) -> list[LabelledScene]:
    """The scenes of `write_scenes`."""
    named = {
        "landsat": ("landsat-7", ("red", "nir08")),
        "sentinel": ("sentinel-2", ("blue", "green", "red", "nir")),
    }
    return [
        LabelledScene(
            scene=Scene(
                id=name,
                sensor_id=sensor,
                start=datetime(2000, 10, 30, tzinfo=UTC),
                end=datetime(2000, 10, 31, tzinfo=UTC),
                bands={
                    band: Asset(path=folder / f"{name}.tif", index=number)
                    for number, band in enumerate(bands, start=1)
                },
            ),
            outlines=folder / "outlines.gpkg",
            layer=None,
            class_of="glacier",
            scheme=GLACIER,
        )
        for name, (sensor, bands) in named.items()
    ]


def train_rank(scenes: Path, out: Path, devices: int, precision: str) -> None:
    """Train as one of so many ranks; the first one writes the loss of every step."""
    ranks.precision_of = averaging.precision_of = lambda _: precision
    out.mkdir(parents=True, exist_ok=True)
    (out / f"pid-{os.environ.get('RANK', '0')}").write_text(str(os.getpid()))
    material = gather(sources_of(scenes), (), RECIPE)

    def on_step(report: StepReport) -> None:
        with (out / "losses").open("a") as file:
            file.write(f"{report.step} {report.loss!r}\n")

    train(
        new_segmenter(material.spec, RECIPE),
        material.chips,
        RECIPE,
        folder=out,
        device=Devices(kind=torch.device("cpu"), each=devices),
        record=RECORD,
        on_step=on_step,
    )


def losses_of(out: Path) -> dict[int, float]:
    """The loss of each step, as it was last."""
    if not (out / "losses").exists():
        return {}
    rows = (line.split() for line in (out / "losses").read_text().splitlines())
    return {int(row[0]): float(row[1]) for row in rows if len(row) == 2}


def train_on(folder: Path, out: Path, devices: int, precision: str) -> None:
    """Train on so many ranks, started again when one dies."""
    given = [str(folder), str(out), str(devices), precision]
    command = [sys.executable, str(Path(__file__).resolve()), "--rank", *given]
    run_ranks(command, devices=devices, logs=folder / "logs")


class Killer(threading.Thread):
    """Kills a rank when a step is done, and remembers whether it hit."""

    def __init__(self, out: Path, rank: int, step: int) -> None:
        super().__init__(daemon=True)
        self.out, self.rank, self.step, self.hit = out, rank, step, False

    def run(self) -> None:
        """Wait for the step, then kill."""
        while not any(step >= self.step for step in losses_of(self.out)):
            time.sleep(0.01)
        os.kill(int((self.out / f"pid-{self.rank}").read_text()), signal.SIGKILL)
        self.hit = True


def unbroken(folder: Path) -> dict[str, str]:
    """SHA-256 of what a pair leaves that is left alone."""
    train_on(folder, folder / "whole", 2, "32-true")
    return {file: sha256_of(folder / "whole" / file) for file in LEFT}


def survives(folder: Path, number: int, whole: dict[str, str]) -> tuple[bool, bool]:
    """Whether a rank of a pair was killed, and it ends in the weights of one left alone."""
    rng = np.random.default_rng()
    out = folder / f"killed-{number}"
    killer = Killer(out, int(rng.integers(2)), int(rng.integers(1, STEPS)))
    begun = time.perf_counter()
    killer.start()
    train_on(folder, out, 2, "32-true")
    same = {file: sha256_of(out / file) for file in LEFT} == whole
    print(
        f"rank {killer.rank} killed after step {killer.step} of {STEPS}: "
        f"{'the same' if same else 'OTHER'} weights after "
        f"{time.perf_counter() - begun:.0f} s",
        flush=True,
    )
    return killer.hit, same


def measure(kills: int = KILLS) -> dict[str, Any]:
    """The figures, by their names."""
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_scenes(folder)
        one, two = folder / "one", folder / "two"
        train_on(folder, one, 1, "64-true")
        train_on(folder, two, 2, "64-true")
        alone, together = losses_of(one), losses_of(two)
        apart = max(abs(alone[step] - together[step]) for step in range(1, STEPS + 1))
        print(f"largest difference of the loss curves over {STEPS} steps: {apart:.1e}", flush=True)
        whole = unbroken(folder)
        good = sum(all(survives(folder, number, whole)) for number in range(kills))
    return {"ddp_loss_diff": apart, "ddp_kills_ok": good}


def main() -> None:
    """Measure, and with --json print one object; as a rank, train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--rank", nargs=4, metavar=("SCENES", "OUT", "DEVICES", "PRECISION"))
    options = parser.parse_args()
    if options.rank:
        scenes, out, devices, precision = options.rank
        train_rank(Path(scenes), Path(out), int(devices), precision)
        return
    figures = measure(options.kills)
    for key, value in figures.items():
        print(f"{key:15} {value}")
    if options.json:
        machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
        print(json.dumps({"benchmark": "scale_ddp", "machine": machine, "figures": figures}))


if __name__ == "__main__":
    main()
