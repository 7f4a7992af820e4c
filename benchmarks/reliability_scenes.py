"""Small scenes for benchmarks/reliability.py, and how they are mapped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from conftest import scene_of, write_raster

from geoseg.scenes import scan_scene, write_catalog, write_scene

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["SMALL", "noise", "write_archive", "write_item", "write_noise"]

SMALL = ("--set", "inference.tile_px=64", "--set", "inference.halo_px=16", "--device", "cpu")


def noise(shape: tuple[int, int] = (70, 90), seed: int = 0) -> NDArray[np.uint8]:
    """Two bands (C, H, W) of 1 to 254."""
    return np.random.default_rng(seed).integers(1, 255, (2, *shape), dtype=np.uint8)


def write_noise(path: Path, shape: tuple[int, int] = (70, 90), seed: int = 0) -> Path:
    """The STAC item of a scene of noise, whose image lies beside it."""
    write_raster(path, noise(shape, seed), tiled=True, blockxsize=64, blockysize=64, nodata=0)
    return write_item(path)


def write_item(path: Path) -> Path:
    """A STAC item that says an image of two bands lies beside it, whatever that is."""
    item = path.with_name(f"{path.stem}.json")
    with TemporaryDirectory() as folder:
        good = write_raster(Path(folder) / path.name, noise())
        write_scene(scene_of(good), good.with_suffix(".json"))
        item.write_text(good.with_suffix(".json").read_text())
    return item


def write_archive(folder: Path, names: Sequence[str]) -> Path:
    """A catalogue of scenes, each of its own."""
    entries = []
    for number, name in enumerate(names):
        path = write_raster(
            folder / f"{name}.tif", noise(seed=number), tiled=True, compress="deflate"
        )
        entries.append(scan_scene(replace(scene_of(path), id=name)))
    write_catalog(entries, folder / "archive.parquet")
    return folder / "archive.parquet"
