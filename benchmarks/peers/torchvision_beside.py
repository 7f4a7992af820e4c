"""Imported before torchvision, which may be beside a torch that it was not built for.

It registers shape functions for two operators even when the library that declares them does not
load, as with a small build of torch for the CPU; importing it then fails. None of the tools calls
them.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_library = torch.library.Library("torchvision", "FRAGMENT")


def _declare_missing_operators() -> None:
    spec = find_spec("torchvision")
    if spec is None or spec.origin is None:
        return
    for compiled in Path(spec.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(compiled)
        except OSError:
            for name in ("nms", "qnms"):
                _library.define(
                    f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
                )


_declare_missing_operators()
