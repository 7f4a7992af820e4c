"""Training chips a second from 20 scenes with polygon labels, beside what the disk gives.

    python benchmarks/loader.py [--json] [--full]

Twenty deflated, tiled uint16 scenes of four bands and 2048 px (4096 px with --full) are made once;
in each round the same random chips of 256 px are cut in three ways, in turn: raw window reads of
rasterio with no label at all; the loop that one writes first, which opens the file, reads the
window and rasterizes its polygons; and `ChipSource.cut` of geoseg, with validity and labels.

This is done twice: with GDAL's cache of decoded blocks held to a tenth of the pixels, as it is with
an archive larger than memory, where chips are decoded (share_of_raw_reads, chips_per_s); and with
the cache as large as the pixels, where a read is a copy (share_of_cached_reads). The first round of
each is left out; figures are medians of the others. torchgeo is not measured here, for it is not
among the packages of this project.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from rasterio.features import rasterize
from rasterio.transform import from_origin
from rasterio.windows import Window
from scipy.ndimage import gaussian_filter

from geoseg.chips import ChipSource
from geoseg.labels import GLACIER, place_labels
from geoseg.scenes import Asset, Scene, open_scene

SCENES, BANDS, CHIP_PX, PIXEL_M = 20, 4, 256, 10.0
OUTLINES = 120  # of a scene
CRS = "EPSG:32632"


class Place(NamedTuple):
    """A scene on disk and its outlines."""

    path: Path
    outlines: gpd.GeoDataFrame
    tree: shapely.STRtree


def make_place(folder: Path, number: int, side: int) -> Place:
    """A textured scene with round, uneven polygons on it."""
    rng = np.random.default_rng(number)
    path = folder / f"scene_{number}.tif"
    left, top = 400_000.0, 5_200_000.0
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=side,
        width=side,
        count=BANDS,
        dtype="uint16",
        crs=CRS,
        transform=from_origin(left, top, PIXEL_M, PIXEL_M),
        nodata=0,
        tiled=True,
        blockxsize=256,
        blockysize=256,
        compress="deflate",
    ) as raster:
        smooth = gaussian_filter(rng.standard_normal((side, side), dtype=np.float32), 8) * 2e4
        for band in range(1, BANDS + 1):
            noise = rng.normal(0, 40, (side, side))
            values = np.clip(3000 + 300 * band + smooth + noise, 1, 65_535)
            raster.write(values.astype(np.uint16), band)
    extent = side * PIXEL_M
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    shapes = []
    for x, y, size in rng.uniform([0, 0, 100], [extent, extent, extent / 20], (OUTLINES, 3)):
        radius = size * (1 + 0.2 * np.sin(5 * angle + x) + 0.05 * rng.standard_normal(angle.size))
        ring = np.column_stack(
            [left + x + radius * np.cos(angle), top - y + radius * np.sin(angle)]
        )
        shapes.append(shapely.make_valid(shapely.Polygon(ring)))
    outlines = gpd.GeoDataFrame({"class_name": ["glacier"] * len(shapes)}, geometry=shapes, crs=CRS)
    outlines = outlines.explode(ignore_index=True)
    outlines = outlines[outlines.geom_type == "Polygon"].reset_index(drop=True)
    return Place(path, outlines, shapely.STRtree(outlines.geometry.to_numpy()))


def open_source(place: Place) -> ChipSource:
    """The scene as geoseg cuts chips from it, its files open."""
    day = datetime(2020, 8, 1, tzinfo=UTC)
    names = ("blue", "green", "red", "nir")
    scene = Scene(
        id=place.path.stem,
        sensor_id="sentinel-2",
        start=day,
        end=day + timedelta(days=1),
        bands={name: Asset(path=place.path, index=i) for i, name in enumerate(names, start=1)},
    )
    with open_scene(scene) as reader:
        labels = place_labels(place.outlines, reader.grid, GLACIER, margin_m=PIXEL_M / 2)
    return ChipSource(scene, labels, names)


def naive(place: Place, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Image (C, H, W) and label (H, W) of a window, everything done anew."""
    with rasterio.open(place.path) as raster:
        image = raster.read(window=window).astype(np.float32)
        transform = raster.window_transform(window)
    corner = transform * (0, 0)
    end = transform * (window.width, window.height)
    hits = place.tree.query(shapely.box(corner[0], end[1], end[0], corner[1]))
    shape = image.shape[1:]
    if not hits.size:
        return image, np.zeros(shape, dtype=np.uint8)
    label = rasterize(place.outlines.geometry.iloc[hits], shape, transform=transform)
    return image, label


class Bench:
    """The scenes, open in every way that is measured."""

    def __init__(self, folder: Path, side: int) -> None:
        self.side = side
        self.places = [make_place(folder, number, side) for number in range(SCENES)]
        self.rasters = [rasterio.open(place.path) for place in self.places]
        self.sources = [open_source(place) for place in self.places]

    def raw(self, number: int, window: Window) -> object:
        """A read of rasterio from an open file."""
        return self.rasters[number].read(window=window)

    def naive(self, number: int, window: Window) -> object:
        """The loop that one writes first."""
        return naive(self.places[number], window)

    def geoseg(self, number: int, window: Window) -> object:
        """A chip, learned from wherever it lies."""
        return self.sources[number].cut(window, Window(0, 0, self.side, self.side))

    def close(self) -> None:
        """Close all files."""
        for opened in (*self.rasters, *self.sources):
            opened.close()


def measure(bench: Bench, rounds: int, chips: int) -> dict[str, dict[str, list[float]]]:
    """Wall and CPU seconds of each way in each round but the first."""
    ways = {"raw": bench.raw, "naive": bench.naive, "geoseg": bench.geoseg}
    taken: dict[str, dict[str, list[float]]] = {w: {"wall": [], "cpu": []} for w in ways}
    rng = np.random.default_rng(0)
    for turn in range(rounds + 1):
        numbers = rng.integers(0, SCENES, chips).tolist()
        corners = rng.integers(0, bench.side - CHIP_PX + 1, (chips, 2)).tolist()
        order = list(ways)[turn % 3 :] + list(ways)[: turn % 3]
        for name in order:
            wall, cpu = time.perf_counter(), time.process_time()
            for number, (row, column) in zip(numbers, corners, strict=True):
                ways[name](number, Window(column, row, CHIP_PX, CHIP_PX))
            if turn:
                taken[name]["wall"].append(time.perf_counter() - wall)
                taken[name]["cpu"].append(time.process_time() - cpu)
    return taken


def share(taken: dict[str, dict[str, list[float]]]) -> float:
    """Chips of geoseg for a raw read, by CPU seconds: of each round, then the median."""
    rounds = zip(taken["raw"]["cpu"], taken["geoseg"]["cpu"], strict=True)
    return round(statistics.median(raw / ours for raw, ours in rounds), 3)


def table(title: str, taken: dict[str, dict[str, list[float]]], chips: int) -> dict[str, float]:
    """Print chips a second of each way, and give them back."""
    print(f"{title:24} {'chips/s':>9} {'chips/CPU s':>12}")
    figures = {}
    for name, seconds in taken.items():
        wall, cpu = (chips / statistics.median(seconds[kind]) for kind in ("wall", "cpu"))
        figures[f"{name}_chips_per_s"] = round(wall, 1)
        print(f"  {name:22} {wall:9.1f} {cpu:12.1f}")
    print(f"  share of raw reads     {share(taken):9.3f}")
    return figures


def main() -> None:
    """Measure, print two tables, and with --json one object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--full", action="store_true", help="scenes of 4096 px, more rounds")
    options = parser.parse_args()
    side, rounds, chips = (4096, 15, 600) if options.full else (2048, 9, 200)
    decoded = SCENES * BANDS * 2 * side**2
    with tempfile.TemporaryDirectory() as folder:
        with rasterio.Env(GDAL_CACHEMAX=decoded // 10):
            bench = Bench(Path(folder), side)
            cold = measure(bench, rounds, chips)
            figures = table("decoded for each chip", cold, chips)
        with rasterio.Env(GDAL_CACHEMAX=2 * decoded):
            warm = measure(bench, rounds, chips)
            table("from GDAL's cache", warm, chips)
        bench.close()
    figures |= {
        "share_of_raw_reads": share(cold),
        "share_of_cached_reads": share(warm),
        "chips_per_s": figures["geoseg_chips_per_s"],
    }
    if options.json:
        machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
        print(json.dumps({"benchmark": "loader", "machine": machine, "figures": figures}))


if __name__ == "__main__":
    main()
