"""Class maps of many kinds, and what is known of them by other means."""

import numpy as np
import shapely
from hypothesis import strategies as st
from rasterio import features

from geoseg.config import OutlineSettings
from geoseg.labels import IGNORE
from geoseg.vectorize.runs import label_strips
from geoseg.vectorize.tracing import trace

RAW = OutlineSettings(min_area_m2=0, min_hole_m2=0, simplify_px=0)


@st.composite
def class_maps(draw, least=1, most=16, void=True):
    """Small maps of noise in which saddles, holes in holes and pixels without data are common."""
    height, width = draw(st.integers(least, most)), draw(st.integers(least, most))
    classes = [0, 1, 2, IGNORE] if void else [0, 1, 2]
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shares = rng.dirichlet(np.ones(len(classes)))
    return rng.choice(np.array(classes, np.uint8), (height, width), p=shares)


@st.composite
def full_maps(draw):
    """Maps of boxes large and small, none of it ground: their outlines cover all of it."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    height, width = rng.integers(3, 50, 2)
    classes = np.ones((height, width), np.uint8)
    for _ in range(draw(st.integers(0, 30))):
        largest = rng.choice([3, 20])
        row, column = rng.integers(0, height), rng.integers(0, width)
        rows, columns = rng.integers(1, largest, 2)
        classes[row : row + rows, column : column + columns] = rng.integers(1, 5)
    return classes


def traced(classes, settings=RAW, rows=None):
    """Polygons in columns and rows, from strips of so many rows; pixels of a square metre."""
    step = rows or len(classes)
    parts = (classes[top : top + step] for top in range(0, len(classes), step))
    return trace(label_strips(parts, classes.shape[1]), settings, pixel_m2=1)


def polygonized(classes):
    """Pairs of polygon and class as GDAL draws them."""
    found = features.shapes(classes, mask=(classes != 0) & (classes != IGNORE), connectivity=4)
    return [(shapely.geometry.shape(shape), int(value)) for shape, value in found]
