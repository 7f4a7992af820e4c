"""Scenes of any size, written strip by strip: smooth relief with the noise of a sensor.

python benchmarks/peers/scenes.py PATH HEIGHT WIDTH [--repetitive]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rasterio
from job import BANDS, MEAN
from rasterio.transform import from_origin
from rasterio.windows import Window
from scipy.ndimage import gaussian_filter, map_coordinates

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STRIP_PX = 512
_COARSE_PX = 8  # relief is known at every eighth pixel
_PIXEL_M = 10.0
_NOISE = 40.0  # standard deviation in stored numbers
_GAINS = ((350, 200), (350, 150), (400, 50), (250, -350))  # of both reliefs, for each band


def write_scene(path: Path, height: int, width: int, *, seed: int = 0) -> None:
    """A deflated, tiled GeoTIFF of four uint16 bands; 0 is no data, of which there is none."""
    rng = np.random.default_rng(seed)
    coarse = (height // _COARSE_PX + 2, width // _COARSE_PX + 2)
    reliefs = [_relief(rng, coarse) for _ in range(2)]
    with _create(path, height, width) as raster:
        for top in range(0, height, _STRIP_PX):
            rows = range(top, min(top + _STRIP_PX, height))
            smooth = [_fine(relief, rows, width) for relief in reliefs]
            noise = rng.standard_normal((BANDS, len(rows), width), dtype=np.float32) * _NOISE
            for band, (one, two) in enumerate(_GAINS):
                noise[band] += MEAN[band] + one * smooth[0] + two * smooth[1]
            raster.write(
                np.clip(noise, 1, 65_535).astype(np.uint16),
                window=Window(0, top, width, len(rows)),
            )


def write_repetitive_scene(path: Path, height: int, width: int) -> None:
    """The same without noise, one strip over and over: quick to make at any height."""
    relief = _relief(np.random.default_rng(0), (_STRIP_PX // _COARSE_PX + 2, width))
    smooth = _fine(relief, range(_STRIP_PX), width)
    strip = np.stack([mean + gain[0] * smooth for mean, gain in zip(MEAN, _GAINS, strict=True)])
    strip = strip.clip(1, 65_535).astype(np.uint16)
    with _create(path, height, width) as raster:
        for top in range(0, height, _STRIP_PX):
            rows = min(_STRIP_PX, height - top)
            raster.write(strip[:, :rows], window=Window(0, top, width, rows))


def _create(path: Path, height: int, width: int) -> rasterio.io.DatasetWriter:
    return rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=height,
        width=width,
        count=BANDS,
        dtype="uint16",
        crs="EPSG:32632",
        transform=from_origin(400_000, 5_200_000, _PIXEL_M, _PIXEL_M),
        nodata=0,
        tiled=True,
        blockxsize=256,
        blockysize=256,
        compress="deflate",
        num_threads="all_cpus",
    )


def _relief(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Hills within mountains, of mean 0 and standard deviation 1 or so."""
    relief = np.zeros(shape, dtype=np.float32)
    for reach, share in ((2, 0.3), (8, 0.5), (30, 0.8)):
        layer = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), reach, mode="wrap")
        relief += share * layer / layer.std()
    return relief


def _fine(relief: NDArray[np.float32], rows: range, width: int) -> NDArray[np.float32]:
    """Some rows of a relief at every pixel."""
    row = np.arange(rows.start, rows.stop) / _COARSE_PX
    column = np.arange(width) / _COARSE_PX
    where = np.meshgrid(row, column, indexing="ij")
    fine: NDArray[np.float32] = map_coordinates(relief, where, order=1, output=np.float32)
    return fine


def main() -> None:
    """Write one; print its size in bytes as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("height", type=int)
    parser.add_argument("width", type=int)
    parser.add_argument("--repetitive", action="store_true")
    options = parser.parse_args()
    write = write_repetitive_scene if options.repetitive else write_scene
    write(options.path, options.height, options.width)
    print(json.dumps({"bytes": options.path.stat().st_size}))


if __name__ == "__main__":
    main()
