"""torchvision beside a torch it was not built for."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import torch

__all__ = ["TorchPair", "inspect_pair", "make_torchvision_importable"]

# timm and segmentation_models_pytorch import torchvision, which registers shape functions for these
# two operators even when the library that declares them did not load. Segmentation calls neither.
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[
    torch.library.Library
] = []  # a Library object that is collected takes its schemas along


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchPair:
    """Which torch and torchvision are installed, and whether they were built for each other."""

    torch: str
    torchvision: str | None
    matching: bool


def inspect_pair() -> TorchPair:
    """The installed torch and torchvision."""
    try:
        vision = version("torchvision")
    except PackageNotFoundError:
        vision = None
    return TorchPair(torch=torch.__version__, torchvision=vision, matching=_operators_load())


def make_torchvision_importable() -> None:
    """Declare the two missing operator schemas when torchvision's own library does not load.

    A CPU-only torch beside the registry's torchvision otherwise ends every import of timm with
    `operator torchvision::nms does not exist`. With a matching pair nothing is changed.
    """
    if _declared or _operators_load():
        return
    library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        library.define(schema)
    _declared.append(library)


def _operators_load() -> bool:
    """Whether torchvision's compiled operators work with this torch."""
    if _declared:
        return False
    spec = find_spec("torchvision")
    if spec is None or spec.origin is None:
        return False
    for library in Path(spec.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(library)
        except OSError:
            return False
    return hasattr(torch.ops.torchvision, "nms")
