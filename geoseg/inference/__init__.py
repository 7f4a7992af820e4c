"""Whole scenes through a network."""

from geoseg.inference.maps import Prediction
from geoseg.inference.predict import open_input, predict_scene, probabilities
from geoseg.inference.tiles import blend_weights, tile_rows

__all__ = [
    "Prediction",
    "blend_weights",
    "open_input",
    "predict_scene",
    "probabilities",
    "tile_rows",
]
