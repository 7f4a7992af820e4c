"""Whole scenes through networks."""

from geoseg.inference.archive import MapJob, Mapped, map_scenes, plan_scene
from geoseg.inference.chance import Mapper, probabilities
from geoseg.inference.maps import Prediction
from geoseg.inference.onnx_file import OnnxFile, write_onnx
from geoseg.inference.plan import MappingPlan, plan_mapping, plan_tiles, within_memory
from geoseg.inference.predict import predict_scene
from geoseg.inference.scene_view import SceneView, open_input
from geoseg.map_origin import MapOrigin, read_origin

__all__ = [
    "MapJob",
    "MapOrigin",
    "Mapped",
    "Mapper",
    "MappingPlan",
    "OnnxFile",
    "Prediction",
    "SceneView",
    "map_scenes",
    "open_input",
    "plan_mapping",
    "plan_scene",
    "plan_tiles",
    "predict_scene",
    "probabilities",
    "read_origin",
    "within_memory",
    "write_onnx",
]
