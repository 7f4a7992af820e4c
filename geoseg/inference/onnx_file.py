"""A network as ONNX, for programs without geoseg: QGIS by its plugin Deepness, or any runtime.

Deepness divides what it reads by 255 and standardises it by the metadata of the file, which here
undo the division: the network is shown the pixels of the scene, and standardises them itself. The
keys are those that model_base.py of PUTvision/qgis-plugin-deepness reads, each value in JSON.
"""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from geoseg.errors import ConfigError
from geoseg.files import writing
from geoseg.grids import gsd_m
from geoseg.inference.scene_view import SceneView, open_input
from geoseg.models import Segmenter
from geoseg.models.stem import AnyBands
from geoseg.scenes import TERRAIN_BANDS, bands_of
from geoseg.views import View, band_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from geoseg.config import InferenceSettings
    from geoseg.scenes import Scene, SceneReader

__all__ = ["OnnxFile", "write_onnx"]

# Read by onnxruntime 1.17, which takes no IR beyond 9; IR 8 came with opset 18.
_OPSET, _IR = 18, 8
_STRIDE_PX = 32
_DIVISOR = 255.0  # by which Deepness divides all that it reads
_NEAR = 1e-6  # of a void: the division by 255 and back is not exact


class OnnxFile(NamedTuple):
    """What was written, and how it is to be fed."""

    path: Path
    bands: tuple[str, ...]  # in the order of the channels
    gsd_m: float  # pixel of the images
    tile_px: int  # side of the images
    overlap_percent: int  # of neighbouring tiles


def write_onnx(
    path: Path,
    segmenter: Segmenter,
    scene: Scene,
    settings: InferenceSettings,
    *,
    tags: Mapping[str, str],
) -> OnnxFile:
    """Write a network as it maps a scene, and others of its sensor and unit.

    It takes images (N, C, H, W) float32 in the unit of the scene, of any N, and gives probabilities
    (N, K, H, W): 0 for all classes where a band has no data. The filters of a network for any bands
    are made for those of the scene, and what is usual in the scene is kept for all that is mapped.

    Args:
        path: of the file.
        segmenter: the trained network; left as it is.
        scene: of the sensor to map.
        settings: pixel of the map, side of a tile and its halo; no more of them is kept.
        tags: provenance for the metadata.

    Raises:
        ConfigError: onnx or onnxscript is not installed.
        SceneError: the scene lacks a band of the network, or a file cannot be read.
        OutputError: the file cannot be written.
    """
    _require_onnx()
    side = -(-(settings.tile_px + 2 * settings.halo_px) // _STRIDE_PX) * _STRIDE_PX
    with open_input(segmenter.spec.input, scene, settings.gsd_m) as reader:
        written = OnnxFile(
            path=path,
            bands=reader.bands,
            gsd_m=gsd_m(reader.grid),
            tile_px=side,
            overlap_percent=-(-200 * settings.halo_px // side),
        )
        tile = _Tile(_settled(segmenter, reader), reader)
    model = _graph(tile.eval(), len(written.bands), side)
    _describe(model, written, segmenter.spec.scheme.names, {"sensor": scene.sensor_id, **tags})
    with writing(path) as aside:
        aside.write_bytes(model.SerializeToString())
    return written


class _Tile(nn.Module):
    """Probabilities of images alone: what is valid is told from their pixels."""

    voids: Tensor
    measured: Tensor
    bands: Tensor

    def __init__(self, segmenter: Segmenter, reader: SceneReader) -> None:
        super().__init__()
        self.segmenter = segmenter
        most = max(map(len, reader.voids))
        voids = [[*of_band, *[torch.nan] * (most - len(of_band))] for of_band in reader.voids]
        self.register_buffer("voids", torch.tensor(voids).view(len(voids), most, 1, 1))
        measured = [name not in TERRAIN_BANDS for name in reader.bands]
        self.register_buffer("measured", torch.tensor(measured).view(-1, 1, 1))
        table = band_table(bands_of(reader.scene, reader.bands))
        self.register_buffer("bands", table)

    def forward(self, image: Tensor) -> Tensor:
        known = image.isfinite()
        if self.voids.shape[1]:
            away = (image.unsqueeze(2) - self.voids).abs() > _NEAR * self.voids.abs()
            known = known & (away | self.voids.isnan()).all(dim=2)
        # A void of the terrain is one of that band alone.
        valid = (known | ~self.measured).all(dim=1)
        view = View(image, valid, image[..., 0], image[:, 0, 0, 0], self.bands)
        chance: Tensor = self.segmenter(view).softmax(dim=1)
        return chance * valid.unsqueeze(1)


def _settled(segmenter: Segmenter, reader: SceneReader) -> Segmenter:
    """The network for the bands of a scene, to be called with their pixels alone."""
    stem = segmenter.stem
    if not isinstance(stem, AnyBands):
        return segmenter
    shown = SceneView.of(reader, segmenter.spec.input, torch.device("cpu"))
    image = torch.zeros(1, len(reader.bands), 1, 1)
    view = View(image, image[:, 0] == 0, shown.palette, shown.gsd_m, shown.bands)
    return Segmenter(stem.settled(view), segmenter.network, segmenter.spec)


def _graph(tile: nn.Module, channels: int, side: int) -> Any:  # noqa: ANN401  a protobuf message
    """The model of ONNX, of batches of any size, without a word of where it was made."""
    image = torch.zeros(2, channels, side, side)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of torch about itself
        program = torch.onnx.export(
            tile,
            (image,),
            dynamo=True,
            dynamic_shapes={"image": {0: torch.export.Dim("batch")}},
            input_names=["image"],
            output_names=["probability"],
            opset_version=_OPSET,
            verbose=False,
        )
    assert program is not None
    model: Any = program.model_proto
    model.ir_version = _IR
    for node in model.graph.node:
        del node.metadata_props[:]  # traces of the stack, with paths of this machine
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    return model


def _describe(
    model: Any,  # noqa: ANN401  a protobuf message
    written: OnnxFile,
    classes: Sequence[str],
    tags: Mapping[str, str],
) -> None:
    count = len(written.bands)
    said: dict[str, Any] = {
        "model_type": "Segmentor",
        "class_names": {str(number): name for number, name in enumerate(classes)},
        "resolution": 100 * written.gsd_m,  # cm
        "tile_size": written.tile_px,
        "tiles_overlap": written.overlap_percent,
        "standardization_mean": [0.0] * count,
        "standardization_std": [1 / _DIVISOR] * count,
        "seg_thresh": 0.0,  # the most probable class, however improbable
        "seg_small_segment": 0,
        "bands": list(written.bands),
        **tags,
    }
    for key, value in said.items():
        model.metadata_props.add(key=key, value=json.dumps(value))


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"ONNX needs {error.name}; run pip install 'onnx>=1.17' 'onnxscript>=0.5'."
        ) from error
