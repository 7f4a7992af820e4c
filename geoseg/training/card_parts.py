"""What cards of networks of all kinds say: STAC items beside their checkpoints.

By the machine learning model extension of STAC (MLM, stac-extensions/mlm), version 1.6.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from shapely.geometry import mapping

from geoseg.files import sha256_of
from geoseg.models import AnyInput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel
    from shapely.geometry.base import BaseGeometry
    from torch import nn

    from geoseg.models import FixedInput
    from geoseg.sensors import Band

__all__ = [
    "PYTHON",
    "card_beside",
    "damaged_files",
    "described_bands",
    "described_input",
    "described_network",
    "described_settings",
    "floats",
    "item_of",
    "weights_of",
]

_EXTENSIONS = (
    "https://stac-extensions.github.io/mlm/v1.6.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
    "https://stac-extensions.github.io/eo/v2.0.0/schema.json",
)
_SHA256 = "1220"  # a multihash of 32 bytes of SHA-256 begins so
PYTHON = "python"  # format of an expression


def card_beside(model: Path) -> Path:
    """Where the card of a checkpoint lies."""
    return model.with_suffix(".stac.json")


def damaged_files(card: Path) -> list[Path]:
    """The files beside a card that are gone or not what it says; the card where it is none."""
    try:
        assets = json.loads(card.read_text(encoding="utf-8"))["assets"].values()
        # By their names: of what lies elsewhere a card of ours says nothing.
        told = {
            card.with_name(Path(asset["href"]).name): asset["file:checksum"]
            for asset in assets
            if "file:checksum" in asset
        }
    except (OSError, ValueError, LookupError, AttributeError, TypeError, RecursionError):
        return [card]
    return [
        path
        for path, checksum in told.items()
        if not path.is_file() or _SHA256 + sha256_of(path) != checksum
    ]


def item_of(
    model: Path, *, architecture: str, ground: BaseGeometry | None, properties: Mapping[str, Any]
) -> dict[str, Any]:
    """The STAC item of a checkpoint, as it lies on disk with its header beside it.

    Args:
        model: the checkpoint.
        architecture: the first part of the id of the item.
        ground: that was learned from, in degrees; None where nobody knows.
        properties: with `bands`, which the extension looks for there; STAC allows them where an
            asset has them too.
    """
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(_EXTENSIONS),
        **weights_of(model, architecture, properties["bands"]),
        "geometry": None if ground is None else mapping(ground),
        **({} if ground is None else {"bbox": list(ground.bounds)}),
        "properties": dict(properties),
        "links": [],
    }


def weights_of(
    model: Path, architecture: str, bands: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Id and assets of the item of a checkpoint, which its weights decide."""
    sha256, header = sha256_of(model), model.with_suffix(".json")
    return {
        "id": f"{architecture}-{sha256[:16]}",
        "assets": {
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
        },
    }


def described_network(
    network: nn.Module, *, name: str, architecture: str, tasks: Sequence[str], pretrained: bool
) -> dict[str, Any]:
    """What a network is and whether its training began with the weights of a publisher."""
    release = re.match(r"\d+\.\d+\.\d+", torch.__version__)
    assert release is not None
    return {
        "mlm:name": name,
        "mlm:architecture": architecture,
        "mlm:tasks": list(tasks),
        "mlm:framework": "PyTorch",
        "mlm:framework_version": release[0],
        "mlm:total_parameters": sum(weights.numel() for weights in network.parameters()),
        "mlm:pretrained": pretrained,
        **({} if pretrained else {"mlm:pretrained_source": None}),
    }


def described_input(taken: FixedInput | AnyInput, of: str) -> dict[str, Any]:
    """What a network takes.

    Args:
        taken: by the network.
        of: what its bands are of: a scene.
    """
    if isinstance(taken, AnyInput):
        finest, coarsest = taken.gsd_m
        scaling = {
            "type": "processing",
            "format": PYTHON,
            "expression": "geoseg.models.stem.standardise",
        }
        return {
            "name": f"bands of {of}",
            "description": (
                "Any bands of any sensor in any unit, with what each measures; learned from "
                f"those listed, at pixels of {finest:g} to {coarsest:g} m."
            ),
            "input": _images("channel", -1),
            "value_scaling": [scaling],
        }
    return {
        "name": f"bands of {of}",
        "description": "In the unit of the scenes that were learned from; 0 where not valid.",
        "bands": list(taken.bands),
        "input": _images("bands", len(taken.bands)),
        "value_scaling": [
            {"type": "z-score", "mean": mean, "stddev": std}
            for mean, std in zip(taken.mean, taken.std, strict=True)
        ],
    }


def described_bands(bands: Sequence[Band]) -> list[dict[str, Any]]:
    """Bands as STAC describes them."""
    return [_band(band) for band in bands]


def described_settings(sections: Mapping[str, BaseModel]) -> dict[str, Any]:
    """Settings of a recipe by the keys that they have there: `training.steps`."""
    return {
        f"{name}.{key}": value
        for name, section in sections.items()
        for key, value in section.model_dump(mode="json").items()
    }


def floats(shape: Sequence[int], order: Sequence[str]) -> dict[str, Any]:
    """An array of numbers; -1 where a side is as long as one likes."""
    return {"shape": list(shape), "dim_order": list(order), "data_type": "float32"}


def _images(axis: str, length: int) -> dict[str, Any]:
    return floats([-1, length, -1, -1], ["batch", axis, "height", "width"])


def _band(band: Band) -> dict[str, Any]:
    spectral = {"eo:center_wavelength": band.centre_um, "eo:full_width_half_max": band.fwhm_um}
    known = {key: value for key, value in spectral.items() if value is not None}
    return {"name": band.common_name, "gsd": band.gsd_m, **known}
