"""What a network is and was made of, as a STAC item beside its checkpoint.

By the machine learning model extension of STAC (MLM, stac-extensions/mlm), version 1.6.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import shapely
import torch
from pystac.utils import datetime_to_str
from shapely.geometry import mapping

from geoseg.files import sha256_of, write_json
from geoseg.models import AnyInput
from geoseg.scenes import bands_of, footprint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from shapely.geometry.base import BaseGeometry

    from geoseg.chips import MixedChips
    from geoseg.config import Recipe
    from geoseg.labels import MapClass
    from geoseg.models import FixedInput, Segmenter
    from geoseg.scenes import Scene
    from geoseg.sensors import Band

__all__ = ["ModelCard", "card_beside"]

_EXTENSIONS = (
    "https://stac-extensions.github.io/mlm/v1.6.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
    "https://stac-extensions.github.io/eo/v2.0.0/schema.json",
)
_SHA256 = "1220"  # a multihash of 32 bytes of SHA-256 begins so
_TASKS = ["semantic-segmentation"]
_PYTHON = "python"  # format of an expression


def card_beside(model: Path) -> Path:
    """Where the card of a checkpoint lies."""
    return model.with_suffix(".stac.json")


@dataclass(frozen=True)
class ModelCard:
    """The card of the network of a training: what stays the same from one checkpoint to the next.

    It names the files beside it and no other: what lay where it was trained may be gone.
    """

    recipe: Recipe
    scenes: tuple[Scene, ...]  # learned from, with outlines

    @classmethod
    def of(cls, chips: MixedChips, recipe: Recipe) -> ModelCard:
        """The card of a training on these chips."""
        scenes = {part.source.scene.id: part.source.scene for part in chips.parts}
        return cls(recipe, tuple(scenes.values()))

    def write(self, model: Path, segmenter: Segmenter, record: Mapping[str, Any]) -> None:
        """Write the card of a checkpoint beside it, whole or not at all.

        Args:
            model: the checkpoint, as it lies on disk.
            segmenter: that is in it.
            record: as it was given to `save_checkpoint`.

        Raises:
            SceneError: a scene that was learned from cannot be opened any more.
            OutputError: it cannot be written.
        """
        write_json(card_beside(model), self._item(model, segmenter, record))

    @cached_property
    def _ground(self) -> BaseGeometry:
        return shapely.union_all([footprint(scene).geom for scene in self.scenes])

    def _item(self, model: Path, segmenter: Segmenter, record: Mapping[str, Any]) -> dict[str, Any]:
        sha256 = sha256_of(model)
        spec = segmenter.spec
        bands = [_band(band) for band in self._bands(spec.input)]
        return {
            "type": "Feature",
            "stac_version": "1.1.0",
            "stac_extensions": list(_EXTENSIONS),
            "id": f"{spec.architecture}-{sha256[:16]}",
            "geometry": mapping(self._ground),
            "bbox": list(self._ground.bounds),
            "properties": {
                **self._interval(),
                **self._network(segmenter),
                # The extension looks here; STAC allows it where an asset has them too.
                "bands": bands,
                "mlm:input": [self._input(spec.input)],
                "mlm:output": [_output(spec.scheme.classes)],
                "mlm:hyperparameters": self._hyperparameters(spec.encoder),
                "geoseg:scenes": [_described(scene) for scene in self.scenes],
                "geoseg:record": dict(record),
            },
            "links": [],
            "assets": _assets(model, sha256, bands),
        }

    def _interval(self) -> dict[str, Any]:
        return {
            "datetime": None,
            "start_datetime": datetime_to_str(min(scene.start for scene in self.scenes)),
            "end_datetime": datetime_to_str(max(scene.end for scene in self.scenes)),
        }

    def _network(self, segmenter: Segmenter) -> dict[str, Any]:
        spec, pretrained = segmenter.spec, self.recipe.model.pretrained
        release = re.match(r"\d+\.\d+\.\d+", torch.__version__)
        assert release is not None
        return {
            "mlm:name": f"geoseg {spec.architecture} on {spec.encoder}",
            "mlm:architecture": spec.architecture,
            "mlm:tasks": _TASKS,
            "mlm:framework": "PyTorch",
            "mlm:framework_version": release[0],
            "mlm:total_parameters": sum(weights.numel() for weights in segmenter.parameters()),
            "mlm:pretrained": pretrained,
            **({} if pretrained else {"mlm:pretrained_source": None}),
        }

    def _bands(self, taken: FixedInput | AnyInput) -> Sequence[Band]:
        if isinstance(taken, AnyInput):
            return taken.seen
        return bands_of(self.scenes[0], taken.bands)

    def _input(self, taken: FixedInput | AnyInput) -> dict[str, Any]:
        if isinstance(taken, AnyInput):
            finest, coarsest = taken.gsd_m
            return {
                "name": "bands of a scene",
                "description": (
                    "Any bands of any sensor in any unit, with what each measures; learned from "
                    f"those listed, at pixels of {finest:g} to {coarsest:g} m."
                ),
                "input": _floats("channel", -1),
                "value_scaling": [
                    {
                        "type": "processing",
                        "format": _PYTHON,
                        "expression": "geoseg.models.stem.standardise",
                    }
                ],
            }
        return {
            "name": "bands of a scene",
            "description": "In the unit of the scenes that were learned from; 0 where not valid.",
            "bands": list(taken.bands),
            "input": _floats("bands", len(taken.bands)),
            "value_scaling": [
                {"type": "z-score", "mean": mean, "stddev": std}
                for mean, std in zip(taken.mean, taken.std, strict=True)
            ],
        }

    def _hyperparameters(self, encoder: str) -> dict[str, Any]:
        """Settings of the recipe that decide the weights, by the keys that they have there."""
        recipe = self.recipe
        sections = {"model": recipe.model, "chips": recipe.chips, "training": recipe.training}
        settings = {
            f"{name}.{key}": value
            for name, section in sections.items()
            for key, value in section.model_dump(mode="json").items()
        }
        return {**settings, "model.encoder": encoder, "seed": recipe.seed}


def _floats(axis: str, length: int) -> dict[str, Any]:
    return {
        "shape": [-1, length, -1, -1],
        "dim_order": ["batch", axis, "height", "width"],
        "data_type": "float32",
    }


def _output(classes: Sequence[MapClass]) -> dict[str, Any]:
    return {
        "name": "logits of classes",
        "tasks": _TASKS,
        "result": _floats("class", len(classes)),
        "classification:classes": [
            {
                "value": one.id,
                "name": one.name,
                "description": one.name.replace("_", " "),
                "color_hint": one.colour.removeprefix("#").upper(),
            }
            for one in classes
        ],
        "post_processing_function": {
            "format": _PYTHON,
            "expression": "torch.nn.functional.softmax",
        },
    }


def _band(band: Band) -> dict[str, Any]:
    spectral = {"eo:center_wavelength": band.centre_um, "eo:full_width_half_max": band.fwhm_um}
    known = {key: value for key, value in spectral.items() if value is not None}
    return {"name": band.common_name, "gsd": band.gsd_m, **known}


def _described(scene: Scene) -> dict[str, str]:
    return {
        "id": scene.id,
        "sensor": scene.sensor_id,
        "start": datetime_to_str(scene.start),
        "end": datetime_to_str(scene.end),
    }


def _assets(model: Path, sha256: str, bands: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    header = model.with_suffix(".json")
    return {
        "weights": {
            "href": f"./{model.name}",
            "title": "Weights, with a header by which geoseg builds the network again",
            "type": "application/octet-stream",
            "roles": ["mlm:model", "mlm:weights", "data"],
            "mlm:artifact_type": "safetensors.torch.save_file",
            "bands": bands,
            "file:checksum": _SHA256 + sha256,
            "file:size": model.stat().st_size,
        },
        "header": {
            "href": f"./{header.name}",
            "title": "The header alone",
            "type": "application/json",
            "roles": ["metadata"],
            "file:checksum": _SHA256 + sha256_of(header),
        },
    }
