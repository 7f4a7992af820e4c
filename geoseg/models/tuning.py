"""Which weights of a network are trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from torch import nn

if TYPE_CHECKING:
    from geoseg.models.network import Segmenter

__all__ = ["Tuning", "tune"]

Tuning = Literal["full", "last_blocks", "frozen"]

_LAST = 2  # blocks, as is usual for transformers on few labels
_STACK = 6  # so many modules in a row are the blocks of a transformer or an EfficientNet


def tune(segmenter: Segmenter, tuning: Tuning) -> Segmenter:
    """The network with part of its encoder fixed, statistics of normalisation included.

    Args:
        segmenter: changed in place; its stem and its decoder always learn.
        tuning: `full`, the encoder learns; `last_blocks`, its last two blocks do (of a transformer
            or EfficientNet; the last two stages of a ResNet) with what follows them; `frozen`,
            nothing of it does.
    """
    encoder = segmenter.network.encoder
    assert isinstance(encoder, nn.Module)
    if tuning == "full":
        return segmenter
    encoder.requires_grad_(False)
    learning = [] if tuning == "frozen" else _last_parts(encoder)
    for part in learning:
        part.requires_grad_(True)
    taught = {module for part in learning for module in part.modules()}
    leaves = [m for m in encoder.modules() if not any(m.children()) and m not in taught]
    segmenter.fix(leaves)
    return segmenter


def _last_parts(encoder: nn.Module) -> list[nn.Module]:
    """The last two blocks of an encoder and the parts with weights that follow them."""
    parts = _parts(encoder)
    while len(parts) == 1:
        parts = _parts(parts[0])
    sizes = [len(_parts(p)) if isinstance(p, nn.Sequential | nn.ModuleList) else 0 for p in parts]
    if not sizes or max(sizes) < _STACK:
        return parts[-_LAST:]
    stack = sizes.index(max(sizes))
    return [*_parts(parts[stack])[-_LAST:], *parts[stack + 1 :]]


def _parts(module: nn.Module) -> list[nn.Module]:
    return [child for child in module.children() if any(True for _ in child.parameters())]
