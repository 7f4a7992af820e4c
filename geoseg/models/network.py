"""Any segmentation network of segmentation_models_pytorch and timm, by name."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg.errors import ModelError, nearest
from geoseg.labels import ClassScheme
from geoseg.models.torchvision import make_torchvision_importable

make_torchvision_importable()

import segmentation_models_pytorch as smp  # noqa: E402  torchvision has to be importable first
import timm  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ModelSpec", "Segmenter", "build_segmenter"]

_STRIDE = 32  # the deepest features of the deepest networks


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """All that is needed to build a network again and to feed it."""

    architecture: str  # unet, deeplabv3plus, dpt
    encoder: str  # resnet34, tu-vit_small_patch16_dinov3
    bands: tuple[str, ...]  # common names, in the order of the channels
    scheme: ClassScheme
    mean: tuple[float, ...]  # of each band over the training pixels, in the unit of the scene
    std: tuple[float, ...]
    prior: tuple[float, ...]  # share of each class among the training pixels


class Segmenter(nn.Module):
    """A network from pixels in the unit of the scene to class logits.

    A pixel that is not valid enters as the mean of its band, so that no value of it reaches the
    network, NaN included.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, spec: ModelSpec) -> None:
        super().__init__()
        self.network = network
        self.spec = spec
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(spec.std).view(1, -1, 1, 1))

    def normalise(self, image: Tensor, valid: Tensor) -> Tensor:
        """Bands in units of their standard deviation, 0 where not valid."""
        known = valid.unsqueeze(1) & image.isfinite()
        return torch.where(known, (image - self.mean) / self.std, 0.0)

    def forward(self, image: Tensor, valid: Tensor) -> Tensor:
        """Logits (N, K, H, W) of an image (N, C, H, W) and its valid mask (N, H, W)."""
        return self.logits(self.normalise(image, valid))

    def logits(self, normalised: Tensor) -> Tensor:
        """Logits (N, K, H, W) of a normalised image (N, C, H, W) of any size."""
        height, width = normalised.shape[-2:]
        padded = F.pad(normalised, (0, -width % _STRIDE, 0, -height % _STRIDE))
        out: Tensor = self.network(padded)
        return out[..., :height, :width]


def build_segmenter(spec: ModelSpec, *, pretrained: bool = False) -> Segmenter:
    """A network with fresh weights, or with an encoder pretrained by its publisher.

    Args:
        spec: architecture of segmentation_models_pytorch, encoder of it or of timm.
        pretrained: load the encoder's published weights; needs the network or a filled cache.

    Raises:
        ModelError: no such architecture or encoder, the two do not fit, or weights out of reach.
    """
    if spec.architecture not in smp.MODEL_ARCHITECTURES_MAPPING:
        hint = nearest(spec.architecture, smp.MODEL_ARCHITECTURES_MAPPING)
        raise ModelError(f"no architecture named {spec.architecture!r}. {hint}")
    encoder = _encoder_name(spec.encoder)
    # Vision transformers otherwise take one image size only.
    options = {"dynamic_img_size": True} if spec.architecture == "dpt" else {}
    try:
        network = smp.create_model(
            spec.architecture,
            encoder_name=encoder,
            encoder_weights="imagenet" if pretrained else None,
            in_channels=len(spec.bands),
            classes=len(spec.scheme.classes),
            **options,
        )
    except (ValueError, KeyError, TypeError, RuntimeError, OSError) as error:
        remedy = (
            "set model.pretrained to false where the publisher cannot be reached"
            if pretrained
            else "unet and deeplabv3plus take convolutional encoders, dpt plain transformers"
        )
        raise ModelError(
            f"{spec.architecture} on {spec.encoder} cannot be built ({error}); {remedy}."
        ) from error
    return Segmenter(network, spec)


def _encoder_name(name: str) -> str:
    """The name by which smp knows an encoder: timm's own carry the prefix tu-."""
    known: Sequence[str] = smp.encoders.get_encoder_names()
    bare = name.removeprefix("tu-")
    if name in known:
        return name
    if timm.is_model(bare.split(".")[0]):
        return f"tu-{bare}"
    close = get_close_matches(bare, [*known, *timm.list_models()], n=3, cutoff=0.5)
    raise ModelError(
        f"no encoder named {name!r}. Did you mean {' or '.join(close) or 'resnet34'}? "
        "Every encoder of segmentation_models_pytorch and timm is known."
    )
