"""What providers deliver, told apart by its names and read into scenes.

A family is a module: `recognise` takes the name of a file for the description of a product, `read`
makes scenes of it or refuses it in one sentence.
"""

from geoseg.scenes.products.family import read_product, recognise
from geoseg.scenes.products.geotiff import BandFiles, group_bands, read_geotiff
from geoseg.scenes.products.landsat import belongs_to
from geoseg.scenes.products.product import Product, UnplacedError, Versions, versions

__all__ = [
    "BandFiles",
    "Product",
    "UnplacedError",
    "Versions",
    "belongs_to",
    "group_bands",
    "read_geotiff",
    "read_product",
    "recognise",
    "versions",
]
