"""Which weights of a network are trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from torch import nn

if TYPE_CHECKING:
    from geoseg.config import ModelSettings
    from geoseg.models.network import Segmenter

__all__ = ["Tuning", "tune", "warning_of"]

Tuning = Literal["full", "last_blocks", "frozen"]

_LAST = 2  # blocks, as is usual for transformers on few labels


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


def warning_of(settings: ModelSettings) -> str | None:
    """One sentence on an encoder that is kept as it was drawn at random; None where it is not."""
    if settings.tuning == "full" or settings.pretrained:
        return None
    return (
        f"model.tuning = {settings.tuning} keeps weights of {settings.encoder} that were drawn at "
        "random; set model.pretrained to true to keep those of its publisher."
    )


def _last_parts(encoder: nn.Module) -> list[nn.Module]:
    """The last two blocks of an encoder and the parts with weights that follow them."""
    parts = _parts(encoder)
    while len(parts) == 1:
        parts = _parts(parts[0])
    stacks = [i for i, p in enumerate(parts) if isinstance(p, nn.Sequential | nn.ModuleList)]
    if len(stacks) != 1:  # stages side by side, as in a ResNet
        return parts[-_LAST:]
    return [*_parts(parts[stacks[0]])[-_LAST:], *parts[stacks[0] + 1 :]]


def _parts(module: nn.Module) -> list[nn.Module]:
    return [child for child in module.children() if any(True for _ in child.parameters())]
