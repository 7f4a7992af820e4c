"""What a network of presence is and was made of, as a STAC item beside its checkpoint."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from pystac.utils import datetime_to_str

from geoseg.errors import ModelError
from geoseg.files import write_json
from geoseg.models import AnyInput
from geoseg.training.card_parts import (
    PYTHON,
    card_beside,
    described_bands,
    described_input,
    described_network,
    described_settings,
    floats,
    item_of,
    weights_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from shapely.geometry.base import BaseGeometry

    from geoseg.chips import Place
    from geoseg.config import PresenceRecipe
    from geoseg.models import Classifier
    from geoseg.sensors import Band

__all__ = ["continue_card", "write_classifier_card"]

_ARCHITECTURE = "presence"
_TASKS = ["classification"]


def write_classifier_card(
    model: Path,
    classifier: Classifier,
    places: Sequence[Place],
    recipe: PresenceRecipe,
    record: Mapping[str, Any],
) -> None:
    """Write the card of a checkpoint beside it, whole or not at all.

    Of its ground it names squares of one degree, as places are too many to be listed; none where
    nobody knows where they lie.

    Args:
        model: the checkpoint, as it lies on disk.
        classifier: that is in it.
        places: that were learned from, one at a time in memory; at least one.
        recipe: of the training.
        record: as it was given to `save_classifier`.

    Raises:
        OutputError: it cannot be written.
    """
    spec = classifier.spec
    squares: set[tuple[float, float]] = set()
    bands: dict[str, Band] = {}
    times = []
    for place in places:
        if np.isfinite(place.lon) and np.isfinite(place.lat):
            squares.add((np.floor(place.lon), np.floor(place.lat)))
        for image in place.images:
            times.append(image.time)
            bands |= {band.common_name: band for band in image.bands}
    taken = spec.input
    listed = taken.seen if isinstance(taken, AnyInput) else [bands[name] for name in taken.bands]
    sections = {
        "model": recipe.model,
        "learning": recipe.learning,
        "few_labels": recipe.few_labels,
    }
    properties = {
        "datetime": None,
        "start_datetime": datetime_to_str(min(times)),
        "end_datetime": datetime_to_str(max(times)),
        **described_network(
            classifier,
            name=f"geoseg {_ARCHITECTURE} on {spec.encoder}",
            architecture=_ARCHITECTURE,
            tasks=_TASKS,
            pretrained=recipe.model.pretrained,
        ),
        "bands": described_bands(listed),
        "mlm:input": [described_input(taken, "an image of a place")],
        "mlm:output": [_output(spec.target)],
        "mlm:hyperparameters": {**described_settings(sections), "seed": recipe.seed},
        "geoseg:places": len(places),
        "geoseg:record": dict(record),
    }
    ground = _ground(squares)
    item = item_of(model, architecture=_ARCHITECTURE, ground=ground, properties=properties)
    write_json(card_beside(model), item)


def continue_card(trained: Path, model: Path, record: Mapping[str, Any]) -> None:
    """Write the card of a checkpoint with the same weights and more in its record.

    None where the trained one has no card, as of a training by an older geoseg.

    Args:
        trained: the checkpoint as it was trained.
        model: the one with more in its record, as it lies on disk.
        record: of the latter.

    Raises:
        ModelError: the card of the trained one is damaged.
        OutputError: it cannot be written.
    """
    card = card_beside(trained)
    if not card.is_file():
        card_beside(model).unlink(missing_ok=True)
        return
    try:
        item = json.loads(card.read_text(encoding="utf-8"))
        told = {**item["properties"], "geoseg:record": dict(record)}
        weights = weights_of(model, _ARCHITECTURE, told["bands"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{card} is no card of a network any more; remove it, or train again."
        ) from error
    write_json(card_beside(model), {**item, **weights, "properties": told})


def _ground(squares: set[tuple[float, float]]) -> BaseGeometry | None:
    if not squares:
        return None
    west, south = np.array(sorted(squares)).T
    ground: BaseGeometry = shapely.union_all(shapely.box(west, south, west + 1, south + 1))
    return ground


def _output(target: str) -> dict[str, Any]:
    words = target.replace("_", " ")
    return {
        "name": "logit of a place",
        "tasks": _TASKS,
        "result": floats([-1], ["batch"]),
        "classification:classes": [
            {"value": 0, "name": "absent", "description": f"no {words}"},
            {"value": 1, "name": target, "description": words},
        ],
        "post_processing_function": {"format": PYTHON, "expression": "torch.sigmoid"},
    }
