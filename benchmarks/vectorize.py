"""From a class raster on disk to polygons in a GeoPackage, beside rasterio and geopandas.

    python benchmarks/vectorize.py [--json]

The baseline is what one writes first: `rasterio.features.shapes` on the whole array, a GeoDataFrame
of the shapes, its areas, those above a minimum, and the file. It neither simplifies nor sieves, so
that it is compared with `outline_raster` of geoseg without either; what these cost is given in rows
of their own. The two take turns, three rounds each; figures are medians.

- map: 16384 x 16384 px of 10 m, three classes, some thousand polygons and many specks.
- noise: 4096 x 4096 px, most of the borders a few pixels long.
- memory: peaks of fresh processes on 400 round polygons in 8192 and in 32768 px squared.
- faults: area of no polygon, and of more than one, after the simplification of a map without
  ground, in square pixels.
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
from typing import TYPE_CHECKING, NamedTuple

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from rasterio.features import shapes
from rasterio.transform import from_origin
from rasterio.windows import Window
from scipy.ndimage import gaussian_filter, zoom

from geoseg.config import OutlineSettings
from geoseg.labels import GLACIER_SURFACE
from geoseg.vectorize import outline_raster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

PIXEL_M, MIN_AREA_M2, CRS, STRIP = 10.0, 10_000.0, "EPSG:32645", 512
ROUNDS = 3
PLAIN = OutlineSettings(min_area_m2=MIN_AREA_M2, min_hole_m2=0, simplify_px=0)
SETTINGS = {
    "geoseg": PLAIN,
    "geoseg, sieved and simplified": OutlineSettings(),
    "geoseg, smoothed as well": OutlineSettings(smooth=2),
}


class Seconds(NamedTuple):
    """What a job took."""

    wall: float
    cpu: float


def write_map(path: Path, side: int, strips: Iterable[NDArray[np.uint8]]) -> None:
    """A deflated, tiled class map of strips of 512 rows."""
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=side,
        width=side,
        count=1,
        dtype="uint8",
        crs=CRS,
        transform=from_origin(400_000.0, 3_500_000.0, PIXEL_M, PIXEL_M),
        nodata=255,
        compress="deflate",
        zlevel=1,
        tiled=True,
        blockxsize=STRIP,
        blockysize=STRIP,
    ) as raster:
        for i, strip in enumerate(strips):
            raster.write(strip, 1, window=Window(0, i * STRIP, side, len(strip)))


def landscape(side: int) -> Iterable[NDArray[np.uint8]]:
    """Ground, ice and debris in uneven patches, with specks along their borders."""
    rng = np.random.default_rng(0)
    coarse = 16
    fields = [gaussian_filter(rng.standard_normal((side // coarse,) * 2), s) for s in (5, 4)]
    ice, debris = (field / field.std() for field in fields)
    step = STRIP // coarse
    for top in range(0, side // coarse, step):
        rough = rng.normal(0, 0.01, (STRIP, side))
        fine = zoom(ice[top : top + step], coarse, order=1, mode="nearest", grid_mode=True) + rough
        kind = zoom(debris[top : top + step], coarse, order=1, mode="nearest", grid_mode=True)
        yield np.where(fine > 1, np.where(kind > 0.5, 2, 1), 0).astype(np.uint8)


def noise(side: int) -> Iterable[NDArray[np.uint8]]:
    """Three classes without any order but a short reach."""
    rng = np.random.default_rng(1)
    field = gaussian_filter(rng.standard_normal((side, side), dtype=np.float32), 1.5)
    classes = np.digitize(field / field.std(), [-0.4, 0.4]).astype(np.uint8)
    return (classes[top : top + STRIP] for top in range(0, side, STRIP))


def discs(side: int) -> Iterable[NDArray[np.uint8]]:
    """As many round polygons in a raster of any size."""
    rng = np.random.default_rng(2)
    row, column = rng.uniform(0, side, (2, 400))
    radius = rng.uniform(20, 120, 400)
    for top in range(0, side, STRIP):
        strip = np.zeros((STRIP, side), dtype=np.uint8)
        for y, x, r in zip(row - top, column, radius, strict=True):
            if -r < y < STRIP + r:
                left, right = max(0, int(x - r)), min(side, int(x + r) + 1)
                rows, columns = np.ogrid[:STRIP, left:right]
                strip[:, left:right][(rows - y) ** 2 + (columns - x) ** 2 < r * r] = 1
        yield strip


def by_rasterio(source: Path, target: Path) -> int:
    """The baseline; gives the number of polygons."""
    with rasterio.open(source) as raster:
        classes, transform = raster.read(1), raster.transform
    found = shapes(classes, mask=classes > 0, connectivity=4, transform=transform)
    pairs = [(shapely.geometry.shape(shape), int(value)) for shape, value in found]
    table = gpd.GeoDataFrame(
        {"class": [value for _, value in pairs]}, geometry=[p for p, _ in pairs], crs=CRS
    )
    table["area_m2"] = table.area
    table = table[table["area_m2"] >= MIN_AREA_M2]
    table.to_file(target, driver="GPKG")
    return len(table)


def by_geoseg(source: Path, target: Path, settings: OutlineSettings) -> int:
    """The same with geoseg."""
    table = outline_raster(source, GLACIER_SURFACE, settings)
    table["area_m2"] = table.area
    table.to_file(target, driver="GPKG")
    return len(table)


def timed(job: Callable[[Path], int], folder: Path) -> tuple[Seconds, int]:
    """What writing one GeoPackage takes, and the number of polygons in it."""
    target = folder / "out.gpkg"
    target.unlink(missing_ok=True)
    wall, cpu = time.perf_counter(), time.process_time()
    count = job(target)
    return Seconds(time.perf_counter() - wall, time.process_time() - cpu), count


def compare(
    title: str, source: Path, side: int, ways: dict[str, OutlineSettings]
) -> dict[str, Seconds]:
    """Medians of the baseline and of ways of geoseg in turn, printed as a table."""
    jobs = {"rasterio, geopandas": lambda target: by_rasterio(source, target)}
    for name, settings in ways.items():
        jobs[name] = lambda target, settings=settings: by_geoseg(source, target, settings)
    taken: dict[str, list[Seconds]] = {name: [] for name in jobs}
    counts = {}
    for _ in range(ROUNDS):
        for name, job in jobs.items():
            seconds, counts[name] = timed(job, source.parent)
            taken[name].append(seconds)
    medians = {
        name: Seconds(*(statistics.median(kind) for kind in zip(*seconds, strict=True)))
        for name, seconds in taken.items()
    }
    print(f"\n{title:32} {'polygons':>9} {'s':>8} {'CPU s':>8} {'Mpx/s':>8}")
    for name, (wall, cpu) in medians.items():
        print(f"  {name:30} {counts[name]:9} {wall:8.2f} {cpu:8.2f} {side**2 / wall / 1e6:8.1f}")
    return medians


def peak_mb(source: Path) -> float:
    """Peak resident memory in MB of a fresh process that outlines a map."""
    # Memory of the one that starts a process counts in its peak, so a small one starts it.
    code = (
        "import resource, subprocess, sys;"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = [sys.executable, __file__, "--only", str(source)]
    done = subprocess.run(
        [sys.executable, "-c", code, *command], check=True, capture_output=True, text=True
    )
    return int(done.stdout) / 1024


def peaks(folder: Path) -> dict[str, float]:
    """Peak memory on sparse content by the side of the raster."""
    print(f"\n{'peak memory, 400 polygons':32} {'MB':>9}")
    figures = {}
    for side in (8192, 32768):
        source = folder / f"discs_{side}.tif"
        write_map(source, side, discs(side))
        figures[f"peak_mb_{side}"] = round(peak_mb(source), 1)
        print(f"  {f'{side} x {side} px':30} {figures[f'peak_mb_{side}']:9.1f}")
    return figures


def faults(folder: Path) -> dict[str, float]:
    """Gaps and overlaps in square pixels after simplification, of a map without ground."""
    source = folder / "full.tif"
    write_map(source, 1024, (strip + np.uint8(1) for strip in noise(1024)))
    print(f"\n{'faults of a full map':32} {'polygons':>9} {'gaps px2':>9} {'overlaps px2':>13}")
    found = {}
    for name, settings in list(SETTINGS.items())[1:]:
        outlines = outline_raster(
            source, GLACIER_SURFACE, settings.model_copy(update={"min_area_m2": 0})
        )
        union = shapely.union_all(outlines.geometry.to_numpy())
        # The edge of the raster is simplified too, so that what it loses is no gap.
        edge = shapely.get_exterior_ring(shapely.get_parts(union))
        gaps_px2 = (shapely.area(shapely.polygons(edge)).sum() - union.area) / PIXEL_M**2
        overlaps_px2 = (outlines.area.sum() - union.area) / PIXEL_M**2
        found[name] = {"gaps_px2": round(gaps_px2, 6), "overlaps_px2": round(overlaps_px2, 6)}
        print(f"  {name:30} {len(outlines):9} {gaps_px2:9.6f} {overlaps_px2:13.6f}")
    return found["geoseg, sieved and simplified"]


def main() -> None:
    """Measure, print tables, and with --json one object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", type=Path, help="outline this map and print nothing")
    options = parser.parse_args()
    if options.only is not None:
        by_geoseg(options.only, options.only.with_suffix(".gpkg"), PLAIN)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures = peaks(folder) | faults(folder)
        write_map(folder / "map.tif", 16384, landscape(16384))
        large = compare("map, 16384 x 16384 px", folder / "map.tif", 16384, SETTINGS)
        write_map(folder / "noise.tif", 4096, noise(4096))
        dense = compare("noise, 4096 x 4096 px", folder / "noise.tif", 4096, {"geoseg": PLAIN})
    baseline = "rasterio, geopandas"
    figures |= {
        "mpx_per_s": round(16384**2 / large["geoseg"].wall / 1e6, 1),
        "vs_rasterio": round(large[baseline].wall / large["geoseg"].wall, 2),
        "vs_rasterio_noise": round(dense[baseline].wall / dense["geoseg"].wall, 2),
    }
    if options.json:
        machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
        print(json.dumps({"benchmark": "vectorize", "machine": machine, "figures": figures}))


if __name__ == "__main__":
    main()
