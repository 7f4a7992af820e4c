"""The families of products, and which of them a file belongs to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from geoseg.scenes.products import dimap, film, landsat, sentinel2
from geoseg.scenes.products.product import Product
from geoseg.scenes.scene import Scene

__all__ = ["FAMILIES", "Family", "read_product", "recognise"]


class Family(NamedTuple):
    """How products of one kind are found and read."""

    recognise: Callable[[Path], Product | None]
    read: Callable[[Path], tuple[Scene, ...]]


FAMILIES = {
    "landsat": Family(landsat.recognise, landsat.read),
    "sentinel-2": Family(sentinel2.recognise, sentinel2.read),
    "dimap": Family(dimap.recognise, dimap.read),
    "film": Family(film.recognise, film.read),
}


def recognise(path: Path) -> Product | None:
    """The product that a file describes, by its name."""
    for family in FAMILIES.values():
        product = family.recognise(path)
        if product is not None:
            return product
    return None


def read_product(product: Product) -> tuple[Scene, ...]:
    """The scenes of a product; no more of a raster than its header is read.

    Raises:
        SceneError: it cannot be read.
    """
    return FAMILIES[product.family].read(product.path)
