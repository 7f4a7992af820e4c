"""A small scene with known truth, made in a moment."""

from __future__ import annotations

import signal
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import rasterio.features
import shapely
from hypothesis import settings
from rasterio.transform import from_origin

from geoseg.scenes import Asset, Scene

# A shell that starts something in the background takes Ctrl-C from it, and from all it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says nothing of whether it is right.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

SYSTEM_PYTHON = "/usr/bin/python3"
CRS = "EPSG:32645"
PIXEL_M = 30.0
HEIGHT, WIDTH = 96, 160  # not square: a swapped axis is seen


@dataclass(frozen=True)
class Example:
    """A bright square glacier in the west and one in the east, each with a hole."""

    raster: Path
    outlines: Path
    scene: Scene


def write_raster(path, image, *, crs=CRS, origin=(500_000, 3_100_000), pixel=PIXEL_M, **extra):
    image = np.atleast_3d(image) if image.ndim == 2 else np.moveaxis(image, 0, -1)
    height, width, count = image.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=height,
        width=width,
        count=count,
        dtype=image.dtype,
        crs=crs,
        transform=from_origin(*origin, pixel, pixel),
        **extra,
    ) as raster:
        raster.write(np.moveaxis(image, -1, 0))
    return path


def scene_of(path, *, bands=("red", "nir08"), sensor="landsat-7", **extra):
    assets = {name: Asset(path=path, index=i, **extra) for i, name in enumerate(bands, start=1)}
    return Scene(
        id=path.stem,
        sensor_id=sensor,
        start=datetime(2000, 10, 30, tzinfo=UTC),
        end=datetime(2000, 10, 31, tzinfo=UTC),
        bands=assets,
    )


def two_band_spec(**changes):
    """Of a network for the bands of `scene_of`."""
    from geoseg.labels import GLACIER
    from geoseg.models import FixedInput, ModelSpec

    fields = {
        "architecture": "unet",
        "encoder": "resnet18",
        "input": FixedInput(bands=("red", "nir08"), mean=(100.0, 100.0), std=(50.0, 50.0)),
        "scheme": GLACIER,
        "prior": (0.5, 0.5),
    }
    return ModelSpec(**{**fields, **changes})


def true_outlines():
    def ring(column, row, columns, rows):
        left, top = 500_000 + column * PIXEL_M, 3_100_000 - row * PIXEL_M
        return shapely.box(left, top - rows * PIXEL_M, left + columns * PIXEL_M, top)

    west = ring(10, 20, 50, 50).difference(ring(30, 40, 10, 10))
    east = ring(105, 30, 40, 50).difference(ring(120, 50, 10, 10))
    return gpd.GeoDataFrame({"class_name": ["glacier", "glacier"]}, geometry=[west, east], crs=CRS)


def write_example(folder):
    outlines = true_outlines()
    ice = rasterio.features.rasterize(
        outlines.geometry,
        out_shape=(HEIGHT, WIDTH),
        transform=from_origin(500_000, 3_100_000, PIXEL_M, PIXEL_M),
    )
    rng = np.random.default_rng(0)
    bands = [60 + 120 * ice + rng.normal(0, 8, ice.shape) for _ in range(2)]
    raster = write_raster(folder / "scene.tif", np.stack(bands).astype(np.uint8))
    path = folder / "outlines.gpkg"
    outlines.to_file(path, layer="glaciers")
    return Example(raster=raster, outlines=path, scene=scene_of(raster))


@pytest.fixture
def example(tmp_path):
    return write_example(tmp_path)


@pytest.fixture(scope="session")
def qgis():
    """Run the Python of QGIS, apart from this virtual environment."""

    def run(*arguments):
        return subprocess.run(
            [SYSTEM_PYTHON, "-I", *map(str, arguments)],
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "QT_QPA_PLATFORM": "offscreen"},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    if not Path(SYSTEM_PYTHON).exists() or run("-c", "import qgis.core").returncode:
        pytest.skip(
            f"{SYSTEM_PYTHON} has no qgis; apt-get install --no-install-recommends "
            "python3-qgis qgis-providers."
        )
    return run
