"""A small glacierised landscape, 1965 to 2025, with known truth: the test bed of the project."""

from geoseg.data.simulate.landscape import Landscape, make_landscape
from geoseg.data.simulate.render import Sun, film, reflectance
from geoseg.data.simulate.surface import Surface, surface
from geoseg.data.simulate.write import simulate

__all__ = [
    "Landscape",
    "Sun",
    "Surface",
    "film",
    "make_landscape",
    "reflectance",
    "simulate",
    "surface",
]
