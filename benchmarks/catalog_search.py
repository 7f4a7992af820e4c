"""Searching a catalogue of 100,000 scenes, and scanning folders of products.

    python benchmarks/catalog_search.py [--json]

The catalogue is simulated: Landsat of 60 years, at all latitudes. Products are folders of Landsat
Collection 2 with seven bands of a few pixels: only headers are read, whatever their size.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import rasterio
import shapely
from odc.geo.geom import Geometry
from rasterio.transform import from_origin

from geoseg.dates import parse_interval
from geoseg.scenes import (
    Asset,
    CatalogEntry,
    Query,
    Scene,
    area_of_bbox,
    scan_folders,
    search_catalog,
    writing_catalog,
)

SCENES, PRODUCTS, REPEATS = 100_000, 300, 5
BANDS = {"B1": "coastal", "B2": "blue", "B3": "green", "B4": "red", "B5": "nir08"}
BANDS |= {"B6": "swir16", "B7": "swir22"}
QUERIES = {
    "area": Query(area=area_of_bbox((70, 27, 96, 40))),
    "time": Query(interval=parse_interval("1960/1990")),
    "all of it": Query(
        area=area_of_bbox((70, 27, 96, 40)),
        interval=parse_interval("2000/2010"),
        sensors=["landsat-8"],
        max_cloud_percent=20,
    ),
    "everything": Query(),
}


def write_archive(path: Path) -> None:
    """A catalogue of scenes whose files need not exist."""
    rng = np.random.default_rng(0)
    first = datetime(1965, 1, 1, tzinfo=UTC)
    with writing_catalog(path) as table:
        for number in range(SCENES):
            west, south = rng.uniform(-178, 176), rng.uniform(-75, 78)
            start = first + timedelta(days=float(rng.uniform(0, 365.25 * 60)))
            outline = shapely.Polygon(
                [
                    (west + 0.4, south),
                    (west + 2, south + 0.3),
                    (west + 1.6, south + 2),
                    (west, south + 1.7),
                ]
            )
            files = {
                name: Asset(path=path.parent / f"{number}" / f"{own}.TIF", nodata=0.0)
                for own, name in BANDS.items()
            }
            scene = Scene(
                id=f"scene-{number:06d}",
                sensor_id="landsat-8",
                start=start,
                end=start + timedelta(microseconds=1),
                bands=files,
                cloud_percent=float(rng.uniform(0, 100)),
            )
            table.add(CatalogEntry(scene=scene, footprint=Geometry(outline, "EPSG:4326")))


def write_products(folder: Path) -> None:
    """Folders of Landsat as USGS delivers them."""
    for number in range(PRODUCTS):
        product = f"LC08_L1TP_{number:06d}_20160817_20200906_02_T1"
        place = folder / product
        place.mkdir(parents=True)
        for own in BANDS:
            with rasterio.open(
                place / f"{product}_{own}.TIF", "w", driver="GTiff", height=8, width=8, count=1,
                dtype="uint16", crs="EPSG:32645",
                transform=from_origin(500_000 + 100 * number, 3_100_000, 30, 30),
            ) as raster:  # fmt: skip
                raster.write(np.ones((1, 8, 8), np.uint16))
        groups = {
            "PRODUCT_CONTENTS": {
                f"FILE_NAME_BAND_{own[1:]}": f"{product}_{own}.TIF" for own in BANDS
            },
            "IMAGE_ATTRIBUTES": {
                "DATE_ACQUIRED": "2016-08-17",
                "SCENE_CENTER_TIME": "04:41:56.2861760Z",
                "CLOUD_COVER": "12.3",
                "SUN_AZIMUTH": "111.5",
                "SUN_ELEVATION": "58.2",
            },
        }
        text = json.dumps({"LANDSAT_METADATA_FILE": groups})
        (place / f"{product}_MTL.json").write_text(text)


def search_times(catalog: Path) -> dict[str, tuple[float, int]]:
    """Median seconds of each query, and how many scenes it found."""
    found = {}
    for name, query in QUERIES.items():
        times = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            result = search_catalog(catalog, query, catalog.with_name("found.parquet"))
            times.append(time.perf_counter() - start)
        found[name] = (statistics.median(times), result.scenes)
    return found


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        start = time.perf_counter()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        write_archive(top / "all.parquet")
        write_s = time.perf_counter() - start
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        size = (top / "all.parquet").stat().st_size / 2**20
        print(
            f"{SCENES} scenes written in {write_s:.0f} s, {size:.0f} MiB, {grown:.0f} MiB of memory"
        )
        searched = search_times(top / "all.parquet")
        for name, (seconds, count) in searched.items():
            print(f"  {name:<12} {seconds:6.2f} s  {count:>7} scenes")
        write_products(top / "products")
        start = time.perf_counter()
        scanned = sum(len(step.entries) for step in scan_folders([top / "products"]))
        rate = scanned / (time.perf_counter() - start)
        print(f"{scanned} products scanned, {rate:.0f} a second")
    if arguments.json:
        figures = {
            "search_s": max(
                seconds for name, (seconds, _) in searched.items() if name != "everything"
            ),
            "copy_all_s": searched["everything"][0],
            "scan_scenes_per_s": rate,
            "write_scenes_per_s": SCENES / write_s,
            "write_memory_mib": grown,
        }
        machine = f"{os.cpu_count()} cores {platform.machine()}"
        print(json.dumps({"benchmark": "catalog_search", "machine": machine, "figures": figures}))


if __name__ == "__main__":
    main()
