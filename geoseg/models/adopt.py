"""Networks that were made elsewhere."""

from __future__ import annotations

from itertools import chain
from math import isfinite
from numbers import Real
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
            to logits (N, K, H, W). Tried once on zeros, in evaluation mode; left in its own mode
            where it is refused.
        scheme: its K classes; the first is the ground.
        sensor: that it was trained on: an id of `geoseg sensors list`.
        bands: of the sensor, in the order of its C channels, each once.
        mean: of each band, in the unit of the scenes that will be mapped.
        std: likewise, above 0; both finite.
        prior: share of each class among the pixels it was trained on, from which maps are
            corrected for the prevalence of a place; equal shares if its loss made them so.

    Raises:
        SensorError: no such sensor or band.
        ModelError: counts that do not agree, impossible figures, a band twice, no module, one that
            fails on the trial, or another output.
    """
    if not isinstance(network, nn.Module):
        raise ModelError(
            f"The network is of type {type(network).__name__}; give a torch.nn.Module, or wrap it "
            "in one."
        )
    names = tuple(find_sensor(sensor).band(name).common_name for name in bands)
    _require_once(names)
    _require_counts({"mean": mean, "std": std}, names, "bands")
    _require_counts({"prior": prior}, scheme.names, "classes")
    if not all(_is_finite(number) for number in mean):
        raise ModelError(f"mean = {list(mean)}; give a finite number for each band.")
    if not all(_is_finite(spread) and spread > 0 for spread in std):
        raise ModelError(f"std = {list(std)}; give a finite number above 0 for each band.")
    if not (all(_is_finite(part) and part > 0 for part in prior) and abs(sum(prior) - 1) < 1e-3):
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


def _require_once(names: tuple[str, ...]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ModelError(
            f"bands has {', '.join(twice)} more than once; name the band of each channel."
        )


def _is_finite(number: object) -> bool:
    return isinstance(number, Real) and isfinite(number)


def _require_counts(given: dict[str, Sequence[float]], names: tuple[str, ...], what: str) -> None:
    for key, numbers in given.items():
        if len(numbers) != len(names):
            raise ModelError(
                f"{key} has {len(numbers)} numbers for {len(names)} {what}, {', '.join(names)}; "
                "give one for each."
            )


def _require_logits(network: nn.Module, channels: int, classes: int) -> None:
    """Refuse a network that takes or gives something else, as it was before."""
    kind = type(network).__name__
    held = next(chain(network.parameters(), network.buffers()), torch.empty(0))
    image = torch.zeros(1, channels, _TRIED_PX, _TRIED_PX, device=held.device)
    found = _tried(network, image)
    wanted = (1, classes, _TRIED_PX, _TRIED_PX)
    given = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
    if not isinstance(found, Tensor) or given != wanted:
        raise ModelError(
            f"{kind} gives {given}, and its classes and bands ask for {wanted}; wrap it in a "
            "module that gives logits of each class for each pixel."
        )
    if not found.is_floating_point():
        raise ModelError(
            f"{kind} gives {found.dtype}, and logits are floats; wrap it in a module that gives "
            "logits and not classes."
        )
    if not found.isfinite().all():
        raise ModelError(
            f"{kind} gives logits of an image of zeros that are not finite; look at its weights."
        )


def _tried(network: nn.Module, image: Tensor) -> object:
    """What it gives of an image in evaluation mode; each part of it is left in its own mode."""
    kind = type(network).__name__
    modes = [(part, part.training) for part in network.modules()]
    try:
        network.eval()
        with torch.inference_mode():
            return network(image)
    except Exception as error:
        # Of others, who raise what they like, some of them pages.
        why = " ".join(str(error).split()) or "no reason was given"
        raise ModelError(
            f"{kind} does not take an image of shape {tuple(image.shape)} "
            f"({type(error).__name__}: {why}); name the bands it was trained on, or wrap it in a "
            "module that takes such images."
        ) from error
    finally:
        for part, mode in modes:
            part.training = mode
