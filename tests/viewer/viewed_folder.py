"""A folder as a run leaves it: scenes of two dates, a map, an inventory, and what does not belong.

All lie on the ground of `small_inventory`. Scenes get redder to the east and greener to the north.
The map has ice in the north west quarter, and a probability that grows to the east.
"""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import rasterio
from conftest import write_raster
from inventory.small_inventory import small_inventory

from geoseg.inference.maps import (
    as_stored,
    describe_classes,
    describe_probability,
    describe_uncertainty,
)
from geoseg.inventory import write_inventory
from geoseg.labels import GLACIER_SURFACE
from geoseg.map_origin import origin_tags
from geoseg.scenes import Asset, Scene, write_scene
from geoseg.viewer.folder import look_into

CRS = "EPSG:32645"
WEST_M, NORTH_M = 460_000, 3_098_000
PIXEL_M = 50
HEIGHT, WIDTH = 260, 400
DATES = ("2000-10-30", "2020-10-12")
BANDS = ("red", "green", "blue", "nir")
HOSTILE = "<img src=x onerror=alert(1)>&copy;.tif"
VOID = 40  # columns in the west without data


def place(path, image, **extra):
    """Write a raster on the ground of the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = {"origin": (WEST_M, NORTH_M), "pixel": PIXEL_M, "crs": CRS}
    return write_raster(path, image, **size, **extra)


def scene_image():
    row, column = np.mgrid[:HEIGHT, :WIDTH]
    east, north = column / (WIDTH - 1), 1 - row / (HEIGHT - 1)
    image = np.stack([east, north, 0 * east + 0.5, 1 - east]) * 1000 + 1
    image[:, :, :VOID] = 0
    return image.astype(np.uint16)


def add_scene(folder, day, image=None, name=None):
    """Write a scene and its STAC item."""
    name = name or f"sentinel-2_{day.replace('-', '')}"
    path = place(folder / name / "image.tif", scene_image() if image is None else image, nodata=0)
    start = datetime.fromisoformat(day).replace(tzinfo=UTC)
    scene = Scene(
        id=name,
        sensor_id="sentinel-2",
        start=start,
        end=start + timedelta(days=1),
        bands={band: Asset(path=path, index=i) for i, band in enumerate(BANDS, start=1)},
    )
    write_scene(scene, folder / f"{name}.json")
    return scene


def add_maps(folder, scene, **tags):
    """Write the maps of a scene."""
    classes = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    classes[: HEIGHT // 2, : WIDTH // 2] = GLACIER_SURFACE.find("clean_ice").id
    classes[-10:] = 255
    east = np.broadcast_to(np.linspace(0, 1, WIDTH, dtype=np.float32), (HEIGHT, WIDTH))
    count = len(GLACIER_SURFACE.classes)
    chance = np.stack([1 - east, east, *[0 * east] * (count - 2)])
    about = {**origin_tags(scene), **tags}
    layers = {
        "classes": (classes, lambda raster: describe_classes(raster, GLACIER_SURFACE, about)),
        "probability": (
            as_stored(chance),
            lambda raster: describe_probability(raster, GLACIER_SURFACE, about),
        ),
        "uncertainty": (
            as_stored(east[None]),
            lambda raster: describe_uncertainty(raster, "entropy", about),
        ),
    }
    for name, (image, describe) in layers.items():
        path = place(folder / f"{name}.tif", image, nodata=255)
        with rasterio.open(path, "r+") as raster:
            describe(raster)


def make_folder(folder):
    """Write it all."""
    scenes = [add_scene(folder / "scenes", day) for day in DATES]
    add_maps(folder / "map", scenes[1])
    write_inventory(
        folder / "inventory.gpkg", small_inventory(), styles={}, project=None, parquet=False
    )
    place(folder / HOSTILE, scene_image()[:3])
    (folder / "scores.json").write_text(json.dumps({"mean_iou": 0.5}))
    return folder


def look(folder):
    """What is found in a folder."""
    steps = []
    found = look_into(folder, lambda done, total: steps.append((done, total)))
    assert all(done <= total for done, total in steps)
    return found
