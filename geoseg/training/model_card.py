"""What a network that maps is and was made of, as a STAC item beside its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import shapely
from pystac.utils import datetime_to_str

from geoseg.files import write_json
from geoseg.models import AnyInput
from geoseg.scenes import bands_of, footprint
from geoseg.training.card_parts import (
    PYTHON,
    card_beside,
    described_bands,
    described_input,
    described_network,
    described_settings,
    floats,
    item_of,
)

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

__all__ = ["ModelCard"]

_TASKS = ["semantic-segmentation"]


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

    def _item(self, model: Path, segmenter: Segmenter, record: Mapping[str, Any]) -> dict[str, Any]:
        spec, recipe = segmenter.spec, self.recipe
        properties = {
            **self._interval(),
            **described_network(
                segmenter,
                name=f"geoseg {spec.architecture} on {spec.encoder}",
                architecture=spec.architecture,
                tasks=_TASKS,
                pretrained=recipe.model.pretrained,
            ),
            "bands": described_bands(self._bands(spec.input)),
            "mlm:input": [described_input(spec.input, "a scene")],
            "mlm:output": [_output(spec.scheme.classes)],
            "mlm:hyperparameters": self._hyperparameters(spec.encoder),
            "geoseg:scenes": [_described(scene) for scene in self.scenes],
            "geoseg:record": dict(record),
        }
        return item_of(
            model, architecture=spec.architecture, ground=self._ground, properties=properties
        )

    @cached_property
    def _ground(self) -> BaseGeometry:
        return shapely.union_all([footprint(scene).geom for scene in self.scenes])

    def _interval(self) -> dict[str, Any]:
        return {
            "datetime": None,
            "start_datetime": datetime_to_str(min(scene.start for scene in self.scenes)),
            "end_datetime": datetime_to_str(max(scene.end for scene in self.scenes)),
        }

    def _bands(self, taken: FixedInput | AnyInput) -> Sequence[Band]:
        if isinstance(taken, AnyInput):
            return taken.seen
        return bands_of(self.scenes[0], taken.bands)

    def _hyperparameters(self, encoder: str) -> dict[str, Any]:
        """Settings of the recipe that decide the weights."""
        recipe = self.recipe
        sections = {"model": recipe.model, "chips": recipe.chips, "training": recipe.training}
        return {**described_settings(sections), "model.encoder": encoder, "seed": recipe.seed}


def _output(classes: Sequence[MapClass]) -> dict[str, Any]:
    return {
        "name": "logits of classes",
        "tasks": _TASKS,
        "result": floats([-1, len(classes), -1, -1], ["batch", "class", "height", "width"]),
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
            "format": PYTHON,
            "expression": "torch.nn.functional.softmax",
        },
    }


def _described(scene: Scene) -> dict[str, str]:
    return {
        "id": scene.id,
        "sensor": scene.sensor_id,
        "start": datetime_to_str(scene.start),
        "end": datetime_to_str(scene.end),
    }
