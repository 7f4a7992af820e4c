"""The loop that one writes first, with rasterio: read a window, run, write its middle."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import job
import rasterio
import torch
from rasterio.windows import Window

STEP = job.TILE_PX - job.OVERLAP_PX
MARGIN = job.OVERLAP_PX // 2


def naive(source: Path, target: Path, network: torch.nn.Module) -> None:
    """Tile by tile."""
    with rasterio.open(source) as scene:
        height, width = scene.shape
        profile = {**scene.profile, "count": 1, "dtype": "uint8", "nodata": 255}
        with rasterio.open(target, "w", **profile) as classes, torch.inference_mode():
            for top, left in product(starts(height), starts(width)):
                image = scene.read(window=Window(left, top, job.TILE_PX, job.TILE_PX))
                logits = network(torch.from_numpy(image.astype("float32"))[None])
                found = logits.argmax(dim=1)[0].to(torch.uint8).numpy()
                first, last = middle(top, height)
                begin, end = middle(left, width)
                classes.write(
                    found[first - top : last - top, begin - left : end - left],
                    1,
                    window=Window(begin, first, end - begin, last - first),
                )


def starts(length: int) -> list[int]:
    """Where tiles begin; the last one is moved inside."""
    return [*range(0, length - job.TILE_PX, STEP), max(0, length - job.TILE_PX)]


def middle(start: int, length: int) -> tuple[int, int]:
    """What is written of a tile: all but its margin, and the margin at the edge of the scene."""
    first = start + MARGIN if start else 0
    last = start + job.TILE_PX
    return first, last - MARGIN if last < length else length


if __name__ == "__main__":
    job.run(naive, job.pixelwise_of_stored())
