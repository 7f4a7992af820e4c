"""torchgeo: RasterDataset and GridGeoSampler, stitched into an array as its tutorials do."""

from __future__ import annotations

from pathlib import Path

import torchvision_beside  # noqa: F401  before all that imports torchvision

# isort: split
import job
import numpy as np
import rasterio
import torch
from torch.utils.data import DataLoader
from torchgeo.datasets import RasterDataset, stack_samples
from torchgeo.samplers import GridGeoSampler

BATCH = 1  # 4 are no faster on a CPU
MARGIN = job.OVERLAP_PX // 2


def torchgeo(source: Path, target: Path, network: torch.nn.Module) -> None:
    """Chip by chip, then the whole map at once."""
    dataset = RasterDataset(paths=str(source))
    stride = job.TILE_PX - job.OVERLAP_PX
    sampler = GridGeoSampler(dataset, size=job.TILE_PX, stride=stride)
    chips = DataLoader(dataset, batch_size=BATCH, sampler=sampler, collate_fn=stack_samples)
    with rasterio.open(source) as scene:
        profile = {**scene.profile, "count": 1, "dtype": "uint8", "nodata": 255}
    height, width = profile["height"], profile["width"]
    classes = np.zeros((height, width), dtype=np.uint8)
    with torch.inference_mode():
        for batch in chips:
            found = network(batch["image"]).argmax(dim=1).to(torch.uint8).numpy()
            for chip, (x, y, _) in zip(found, batch["bounds"], strict=True):
                column, row = ~profile["transform"] * (x.start, y.stop)
                paste(classes, chip, round(row), round(column))
    with rasterio.open(target, "w", **profile) as raster:
        raster.write(classes, 1)


def paste(classes: np.ndarray, chip: np.ndarray, top: int, left: int) -> None:
    """Put the middle of a chip into the map; at the edge of the scene all of it."""
    height, width = classes.shape
    rows = slice(max(0, top) if top <= 0 else top + MARGIN, bottom(top, height))
    columns = slice(max(0, left) if left <= 0 else left + MARGIN, bottom(left, width))
    classes[rows, columns] = chip[
        rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
    ]


def bottom(start: int, length: int) -> int:
    """Where the part of a chip ends that is kept."""
    end = start + job.TILE_PX
    return end - MARGIN if end < length else length


if __name__ == "__main__":
    job.run(torchgeo, job.pixelwise_of_stored())
