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
from geoseg.models.stem import AnyBands, FixedBands, SettledBands
from geoseg.models.torchvision import make_torchvision_importable

make_torchvision_importable()

import segmentation_models_pytorch as smp  # noqa: E402  torchvision has to be importable first
import timm  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geoseg.sensors import Band
    from geoseg.views import View

__all__ = [
    "AnyInput",
    "FixedInput",
    "ModelSpec",
    "Segmenter",
    "build_segmenter",
    "build_stem",
    "find_encoder",
]

_STRIDE = 32  # the deepest features of the deepest networks
_STEM_CHANNELS = 8  # of the any-band stem: 4 lose colour, 16 cost a tenth of a small network


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedInput:
    """One set of bands in one order and unit, as in the scene that was trained on."""

    bands: tuple[str, ...]  # common names, in the order of the channels
    mean: tuple[float, ...]  # of each band over the training pixels, in the unit of the scene
    std: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyInput:
    """Any bands of any sensor; what was seen in training is kept to tell what is new."""

    seen: tuple[Band, ...]
    gsd_m: tuple[float, float]  # finest and coarsest in training


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """All that is needed to build a network again and to feed it."""

    architecture: str  # unet, deeplabv3plus, dpt
    encoder: str  # resnet34, tu-vit_small_patch16_dinov3; empty where it was adopted
    input: FixedInput | AnyInput
    scheme: ClassScheme
    prior: tuple[float, ...]  # share of each class among the training pixels


class Segmenter(nn.Module):
    """A network from pixels in the unit of their scene to class logits.

    A pixel that is not valid enters as the mean of its band, so that no value of it reaches the
    network, NaN included.
    """

    def __init__(
        self, stem: FixedBands | AnyBands | SettledBands, network: nn.Module, spec: ModelSpec
    ) -> None:
        super().__init__()
        self.stem = stem
        self.network = network
        self.spec = spec
        self._fixed: tuple[nn.Module, ...] = ()

    def fix(self, modules: Sequence[nn.Module]) -> None:
        """Keep modules in evaluation mode, also while the others are trained."""
        self._fixed = tuple(modules)
        self.train(self.training)

    def train(self, mode: bool = True) -> Segmenter:
        """Training or evaluation mode for all modules that are not fixed."""
        super().train(mode)
        for module in self._fixed:
            module.eval()
        return self

    def forward(self, *views: View) -> Tensor:
        """Logits (N, K, H, W) of views of one height and width, one after the other.

        Several views, each of its own sensor, are one batch of the network behind the stem, so
        that its normalisation sees them together.
        """
        found = [self.stem(view) for view in views]
        features = found[0] if len(found) == 1 else torch.cat(found)
        height, width = features.shape[-2:]
        beyond = (0, -width % _STRIDE, 0, -height % _STRIDE)
        out: Tensor = self.network(F.pad(features, beyond) if any(beyond) else features)
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
    encoder = find_encoder(spec.encoder)
    # Vision transformers otherwise take one image size only.
    options = {"dynamic_img_size": True} if spec.architecture == "dpt" else {}
    stem, channels = build_stem(spec.input)
    try:
        network = smp.create_model(
            spec.architecture,
            encoder_name=encoder,
            encoder_weights="imagenet" if pretrained else None,
            in_channels=channels,
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
    # Convolutions run a fifth faster on this layout, on CPUs and GPUs alike.
    return Segmenter(stem, network.to(memory_format=torch.channels_last), spec)


def build_stem(given: FixedInput | AnyInput) -> tuple[FixedBands | AnyBands, int]:
    """What turns the bands of an image into channels, and how many."""
    if isinstance(given, AnyInput):
        return AnyBands(_STEM_CHANNELS), _STEM_CHANNELS
    return FixedBands(given.mean, given.std), len(given.bands)


def find_encoder(name: str) -> str:
    """The name by which smp knows an encoder: timm's own carry the prefix tu-.

    Raises:
        ModelError: neither smp nor timm has it; the message names the nearest ones.
    """
    known: Sequence[str] = smp.encoders.get_encoder_names()
    bare = name.removeprefix("tu-")
    if name in known:
        return name
    if timm.is_model(bare.split(".")[0]):
        return f"tu-{bare}"
    # Many stand in both lists.
    names = {*known, *timm.list_models()}
    close = get_close_matches(bare, sorted(names), n=3, cutoff=0.5) or ["resnet34"]
    raise ModelError(
        f"no encoder named {name!r}. Did you mean {' or '.join(map(repr, close))}? "
        "Every encoder of segmentation_models_pytorch and timm is known."
    )
