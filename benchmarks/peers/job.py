"""What every tool is given, and how it is measured.

Imported in the environment of each tool, so it needs torch alone.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections import Counter
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

BANDS, CLASSES = 4, 2
TILE_PX, OVERLAP_PX = 512, 64  # of every tool but geoseg, which has its own
# Of the scenes of `scenes.py`, in stored numbers.
MEAN = (1800.0, 2000.0, 2200.0, 3000.0)
STD = (500.0, 500.0, 500.0, 500.0)
_WEIGHT = ((0.3, 0.5, -0.2, -0.7), (-0.6, -0.1, 0.4, 0.8))
_BIAS = (0.1, -0.1)


class Work(Protocol):
    """Maps the first file into the second."""

    def __call__(self, source: Path, target: Path, network: nn.Module) -> None:
        """Map `source` into the class GeoTIFF `target` by means of the network."""


def pixelwise(*, scale: float = 1.0) -> nn.Conv2d:
    """A 1x1 convolution from standardised bands to logits: a network that costs next to nothing."""
    network = nn.Conv2d(BANDS, CLASSES, 1)
    weight = torch.tensor(_WEIGHT)[:, :, None, None] * scale
    network.load_state_dict({"weight": weight, "bias": torch.tensor(_BIAS)})
    return network.eval().requires_grad_(False)


def pixelwise_of_stored(*, divided_by: float = 1.0) -> nn.Conv2d:
    """The same classes from stored numbers, standardised by the weights themselves.

    Args:
        divided_by: what a tool divides the stored numbers by before it shows them to a network.
    """
    network = pixelwise()
    slope = network.weight / torch.tensor(STD)[None, :, None, None]
    shift = torch.tensor(MEAN)[None, :, None, None] * slope
    bias = network.bias - shift.sum(dim=(1, 2, 3))
    network.load_state_dict({"weight": slope * divided_by, "bias": bias})
    return network


class Counted(nn.Module):
    """A network that counts the images it is shown, by their shape (N, C, H, W)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.shapes: Counter[tuple[int, ...]] = Counter()

    def forward(self, image: Tensor) -> Tensor:
        """What the network says."""
        self.shapes[tuple(image.shape)] += 1
        return self.network(image)

    @property
    def pixels(self) -> int:
        """Pixels of all images."""
        return sum(n * shape[0] * shape[2] * shape[3] for shape, n in self.shapes.items())


class Spent:
    """Seconds between its making and `report`, of this process and its children that ended."""

    def __init__(self) -> None:
        self._cpu, self._wall = _cpu_s(), time.perf_counter()

    def report(self) -> dict[str, float]:
        """Seconds, and the peak memory of the process in MB since it was born."""
        wall, cpu = time.perf_counter() - self._wall, _cpu_s() - self._cpu
        return {"wall_s": wall, "cpu_s": cpu, "peak_mb": peak_mb()}


def peak_mb() -> float:
    """Peak resident memory of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(work: Work, network: nn.Module) -> None:
    """Map the file named first on the command line into the second; print what it took as JSON.

    Imports are over when it is called, so they are not measured.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    counted = Counted(network)
    spent = Spent()
    work(options.source, options.target, counted)
    print(json.dumps({**spent.report(), "network_px": counted.pixels}))


def _cpu_s() -> float:
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, kinds))
