"""geoseg: `predict_scene`, from a file to a class map."""

from __future__ import annotations

import argparse
import json
import os
import time
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path

import job
import torch
from torch import nn

from geoseg.config import InferenceSettings
from geoseg.inference import Prediction, open_input, plan_tiles, predict_scene
from geoseg.labels import GLACIER
from geoseg.models import FixedInput, ModelSpec, Segmenter, build_segmenter
from geoseg.scenes import Asset, Scene

BAND_NAMES = ("blue", "green", "red", "nir")
SPEC = ModelSpec(
    architecture="unet",
    encoder="resnet18",
    input=FixedInput(bands=BAND_NAMES, mean=job.MEAN, std=job.STD),
    scheme=GLACIER,
    prior=(0.5, 0.5),
)


def scene_of(path: Path) -> Scene:
    """A file of `scenes.py`."""
    day = datetime(2025, 8, 1, tzinfo=UTC)
    return Scene(
        id=path.stem,
        sensor_id="sentinel-2",
        start=day,
        end=day + timedelta(days=1),
        bands={name: Asset(path=path, index=i) for i, name in enumerate(BAND_NAMES, start=1)},
    )


def unet() -> Segmenter:
    """A Unet of fresh weights, the same ones each time."""
    torch.manual_seed(0)
    return build_segmenter(SPEC).eval()


def with_network(network: nn.Module) -> Segmenter:
    """A segmenter that standardises the bands for this network."""
    return Segmenter(unet().stem, network, SPEC).eval()


def settings_of(*, core_px: int, halo_px: int) -> InferenceSettings:
    """A class map alone, of tiles that meet in the middle of their overlap."""
    return InferenceSettings(
        tile_px=core_px,
        halo_px=halo_px,
        blend="crop",
        batch=1,
        probability=False,
        prevalence_reach_m=0,
    )


def map_scene(segmenter: Segmenter, source: Path, target: Path, how: InferenceSettings) -> None:
    """The class map of a file."""
    predict_scene(
        [segmenter],
        scene_of(source),
        how,
        prediction=Prediction(classes=target),
        device=torch.device("cpu"),
        tags={},
        on_tile=lambda *_: None,
    )


def tile_shape(source: Path, how: InferenceSettings) -> tuple[int, ...]:
    """Shape (N, C, H, W) of the images that the network is shown."""
    with open_input(SPEC, scene_of(source), how) as reader:
        return how.batch, job.BANDS, *plan_tiles(reader.grid, how).tile_shape


class BareForward:
    """The network alone, on random images of one shape in memory."""

    def __init__(self, network: nn.Module, shape: tuple[int, ...]) -> None:
        self._network = deepcopy(network)
        image = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        self._image = image.to(memory_format=torch.channels_last)
        self.shape = shape
        self._times, self._wall_s = 0, 0.0

    def run(self, times: int) -> None:
        """Some images, after one that is not counted."""
        with torch.inference_mode():
            self._network(self._image)
            start = time.perf_counter()
            for _ in range(times):
                self._network(self._image)
        self._wall_s += time.perf_counter() - start
        self._times += times

    def seconds_for(self, shown: job.Counted) -> float:
        """What it takes for all images that a network was shown."""
        if set(shown.shapes) != {self.shape}:
            raise SystemExit(f"measured {self.shape}, but the network was shown {shown.shapes}")
        return self._wall_s / self._times * shown.shapes[self.shape]


def main() -> None:
    """Map the first file into the second; print what it took as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--core", type=int, required=True, help="px to a side that a tile gives")
    parser.add_argument("--halo", type=int, required=True, help="px that it sees beyond them")
    parser.add_argument("--unet", action="store_true", help="instead of the 1x1 convolution")
    parser.add_argument("--bare", type=int, default=0, help="tiles of the network alone, twice")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    shown = job.Counted(unet().network if options.unet else job.pixelwise())
    how = settings_of(core_px=options.core, halo_px=options.halo)
    segmenter = with_network(shown)
    bare = BareForward(shown.network, tile_shape(options.source, how)) if options.bare else None
    if bare:
        bare.run(options.bare)
    spent = job.Spent()
    map_scene(segmenter, options.source, options.target, how)
    report = {**spent.report(), "network_px": shown.pixels}
    if bare:
        bare.run(options.bare)
        report["bare_s_for_all"] = bare.seconds_for(shown)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
