"""Images: one acquisition is a scene, read by windows together with what is valid in them."""

from geoseg.scenes.raster import open_raster, read_onto, reading
from geoseg.scenes.reader import Pixels, SceneReader, open_scene
from geoseg.scenes.scene import Asset, Scene
from geoseg.scenes.stac import footprint, read_scene, write_scene

__all__ = [
    "Asset",
    "Pixels",
    "Scene",
    "SceneReader",
    "footprint",
    "open_raster",
    "open_scene",
    "read_onto",
    "read_scene",
    "reading",
    "write_scene",
]
