"""Networks that were made elsewhere."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from geoseg.errors import ModelError
from geoseg.models.network import FixedInput, ModelSpec, Segmenter
from geoseg.models.stem import FixedBands
from geoseg.sensors import find_sensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geoseg.labels import ClassScheme

__all__ = ["adopt_network"]

_TRIED_PX = 64


def adopt_network(
    network: nn.Module,
    *,
    scheme: ClassScheme,
    sensor: str,
    bands: Sequence[str],
    mean: Sequence[float],
    std: Sequence[float],
    prior: Sequence[float],
) -> Segmenter:
    """Any network as one that `predict_scene` maps with: of torchgeo, of smp, or your own.

    Its images are standardised before it sees them: (pixel - mean) / std, 0 where not valid. For
    one that divides by 10000 instead, mean 0 and std 10000.

    Args:
        network: from images (N, C, H, W) float32, of heights and widths that are multiples of 32,
            to logits (N, K, H, W). Tried once on zeros, in evaluation mode.
        scheme: its K classes; the first is the ground.
        sensor: that it was trained on: an id of `geoseg sensors list`.
        bands: of the sensor, in the order of its C channels.
        mean: of each band, in the unit of the scenes that will be mapped.
        std: likewise, above 0.
        prior: share of each class among the pixels it was trained on, from which maps are
            corrected for the prevalence of a place; equal shares if its loss made them so.

    Raises:
        SensorError: no such sensor or band.
        ModelError: counts that do not agree, impossible figures, or another output.
    """
    names = tuple(find_sensor(sensor).band(name).common_name for name in bands)
    _require_counts({"mean": mean, "std": std}, names, "bands")
    _require_counts({"prior": prior}, scheme.names, "classes")
    if not all(spread > 0 for spread in std):
        raise ModelError(f"std = {list(std)}; give a number above 0 for each band.")
    if not (all(share > 0 for share in prior) and abs(sum(prior) - 1) < 1e-3):
        raise ModelError(f"prior = {list(prior)}; give shares above 0 that add up to 1.")
    _require_logits(network, len(names), len(scheme.classes))
    spec = ModelSpec(
        architecture=type(network).__name__,
        encoder="",
        input=FixedInput(bands=names, mean=tuple(mean), std=tuple(std)),
        scheme=scheme,
        prior=tuple(prior),
    )
    return Segmenter(FixedBands(mean, std), network, spec).eval()


def _require_counts(given: dict[str, Sequence[float]], names: tuple[str, ...], what: str) -> None:
    for key, numbers in given.items():
        if len(numbers) != len(names):
            raise ModelError(
                f"{key} has {len(numbers)} numbers for {len(names)} {what}, {', '.join(names)}; "
                "give one for each."
            )


def _require_logits(network: nn.Module, channels: int, classes: int) -> None:
    """Refuse a network that takes or gives something else."""
    kind = type(network).__name__
    held = next(chain(network.parameters(), network.buffers()), torch.empty(0))
    image = torch.zeros(1, channels, _TRIED_PX, _TRIED_PX, device=held.device)
    network.eval()
    try:
        with torch.inference_mode():
            found = network(image)
    except (RuntimeError, ValueError, TypeError) as error:
        raise ModelError(
            f"{kind} does not take an image of shape {tuple(image.shape)} ({error}); name the "
            "bands it was trained on, or wrap it in a module that takes such images."
        ) from error
    given = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
    wanted = (1, classes, _TRIED_PX, _TRIED_PX)
    if given != wanted:
        raise ModelError(
            f"{kind} gives {given}, and its classes and bands ask for {wanted}; wrap it in a "
            "module that gives logits of each class for each pixel."
        )
