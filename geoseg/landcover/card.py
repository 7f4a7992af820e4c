"""What a network of land cover is and was made of, as a STAC item beside its checkpoint."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import shapely
from pystac.utils import datetime_to_str

from geoseg.files import write_json
from geoseg.grids import DEGREES
from geoseg.pivot.measurement.variables import find_variable
from geoseg.training.card_parts import (
    PYTHON,
    card_beside,
    described_bands,
    described_network,
    described_settings,
    floats,
    item_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from geoseg.config import LandCoverRecipe
    from geoseg.landcover.attention import AttentionSpec, TemporalAttention
    from geoseg.landcover.ground import LabelledGround

__all__ = ["write_attention_card"]

_ARCHITECTURE = "temporal-attention"
_TASKS = ["classification"]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def write_attention_card(
    model: Path,
    network: TemporalAttention,
    grounds: Iterable[LabelledGround],
    recipe: LandCoverRecipe,
    record: Mapping[str, Any],
) -> None:
    """Write the card of a checkpoint beside it, whole or not at all.

    Args:
        model: the checkpoint of `save_attention`, as it lies on disk.
        network: that is in it.
        grounds: that were learned from, one at a time in memory; at least one.
        recipe: of the training.
        record: as it was given to `save_attention`.

    Raises:
        OutputError: it cannot be written.
    """
    places, days = [], []
    for ground in grounds:
        places.append(ground.grid.extent.to_crs(DEGREES).geom)
        days += [ground.days[0], ground.days[-1]]
    spec = network.spec
    properties = {
        "datetime": None,
        "start_datetime": _moment(min(days)),
        "end_datetime": _moment(max(days)),
        **described_network(
            network,
            name="geoseg temporal attention over the pivot",
            architecture=_ARCHITECTURE,
            tasks=_TASKS,
            pretrained=False,
        ),
        "bands": _bands(spec),
        "mlm:input": _inputs(spec),
        "mlm:output": [_output(spec)],
        "mlm:hyperparameters": {
            **described_settings({"learning": recipe.learning}),
            "legend": recipe.legend,
            "seed": recipe.seed,
        },
        "geoseg:record": dict(record),
    }
    item = item_of(
        model,
        architecture=_ARCHITECTURE,
        ground=shapely.union_all(places),
        properties=properties,
    )
    write_json(card_beside(model), item)


def _moment(day: float) -> str:
    return datetime_to_str(_EPOCH + timedelta(days=day))


def _bands(spec: AttentionSpec) -> list[dict[str, Any]]:
    """The variables of the pivot, which have names of their own."""
    told = described_bands([find_variable(name).band for name in spec.variables])
    return [{**band, "name": name} for band, name in zip(told, spec.variables, strict=True)]


def _inputs(spec: AttentionSpec) -> list[dict[str, Any]]:
    """What `TemporalAttention.forward` takes, in its order."""
    names = list(spec.variables)
    year = floats([-1, -1, len(names)], ["batch", "time", "bands"])
    standardised = [
        {"type": "z-score", "mean": centre, "stddev": scale}
        for centre, scale in zip(spec.centre, spec.scale, strict=True)
    ]
    divided = [{"type": "scale", "value": scale} for scale in spec.scale]
    return [
        {"name": "mean", "bands": names, "input": year, "value_scaling": standardised},
        {"name": "standard deviation", "bands": names, "input": year, "value_scaling": divided},
        {"name": "validity", "bands": names, "input": year},
        {"name": "day of the year", "bands": [], "input": floats([-1], ["time"])},
    ]


def _output(spec: AttentionSpec) -> dict[str, Any]:
    return {
        "name": "logits of classes of a cell",
        "tasks": _TASKS,
        "result": floats([-1, len(spec.classes)], ["batch", "class"]),
        "classification:classes": [
            {"value": value, "name": name, "description": name.replace("_", " ")}
            for value, name in enumerate(spec.classes)
        ],
        "post_processing_function": {
            "format": PYTHON,
            "expression": "torch.nn.functional.softmax",
        },
    }
