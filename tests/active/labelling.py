"""A small project, and somebody who answers on a layer as QGIS stores it."""

import sqlite3
from contextlib import closing

import numpy as np

from geoseg.active.pool import PoolBatch, write_pool
from geoseg.active.project import create_project

CLASSES = ("absent", "present")


def items(count):
    return [f"i{n:03d}" for n in range(count)]


def classes_of(count):
    """Every fifth item is present."""
    return {name: CLASSES[n % 5 == 0] for n, name in enumerate(items(count))}


def small_pool(folder, count=60):
    """Items whose first number tells what they are; the last one lies nowhere."""
    rng = np.random.default_rng(4)
    embeddings = rng.normal(size=(count, 4)).astype(np.float32)
    embeddings[:, 0] += [4 * (name == "present") for name in classes_of(count).values()]
    lon, lat = rng.uniform(10, 12, count), rng.uniform(60, 61, count)
    lon[-1] = np.nan
    batch = PoolBatch(items(count), lon, lat, embeddings)
    return write_pool(folder / "pool", [batch], width=4, source="test")


def small_project(folder, count=60, classes=CLASSES):
    pool = small_pool(folder, count)
    return create_project(folder, classes=classes, pool=pool.digest), pool


def answer_on(path, said, annotator=None):
    """Fill a layer in; `said` by item."""
    with closing(sqlite3.connect(path)) as file, file:
        for name in ("ST_IsEmpty", "ST_MinX", "ST_MaxX", "ST_MinY", "ST_MaxY"):
            file.create_function(name, 1, lambda _: 0)  # of GDAL, for the index of the layer
        for item, word in said.items():
            file.execute(
                "UPDATE places SET said = ?, annotator = ? WHERE item = ?", (word, annotator, item)
            )
