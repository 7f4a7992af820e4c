"""A network from images of a place, of any sensors and dates, to whether it holds something.

Pixels of an image, and images of a place, are pooled by gated attention (Ilse, Tomczak and Welling
2018, Attention-based deep multiple instance learning). The same linear head reads a pixel, an image
and a place, so that the logit of an image is the mean of the evidence of its pixels under their
attention: the map of evidence is a class activation map (Zhou and others 2016) that needs no second
pass.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg.errors import ModelError
from geoseg.files import sha256_of, write_json
from geoseg.models.checkpoint import (
    UNFIT,
    does_not_fit,
    input_of,
    read_tensors,
    write_tensors,
)
from geoseg.models.network import AnyInput, FixedInput, build_stem
from geoseg.models.torchvision import make_torchvision_importable

make_torchvision_importable()

import timm  # noqa: E402  torchvision has to be importable first

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from geoseg.views import View

__all__ = [
    "Classifier",
    "ClassifierCheckpoint",
    "ClassifierSpec",
    "Findings",
    "build_classifier",
    "load_classifier",
    "require_timm_encoder",
    "save_classifier",
]

_LEAST_VALID = 1e-3  # share of a cell of features that has to be valid for it to be looked at
_ATTENTION_WIDTH = 64
_WIDEST = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierSpec:
    """All that is needed to build a classifier again and to feed it."""

    encoder: str  # of timm: resnet18, convnext_atto, vit_small_patch16_dinov3
    input: FixedInput | AnyInput
    target: str  # what is present or not: thaw_slump
    size_px: int  # side of the images in training
    output_stride: int = 32  # pixels of an image to one of its evidence: 8, 16 or 32
    width: int = 128  # of an embedding

    def __post_init__(self) -> None:
        # Of a checkpoint that says more, the network would fill the memory before it did not fit.
        if not 1 <= self.width <= _WIDEST:
            raise ModelError(
                f"An embedding has width = {self.width}; give 1 to {_WIDEST} numbers, as 128."
            )


class Findings(NamedTuple):
    """What a classifier says of places, logits all."""

    places: Tensor  # (N,) of each place
    images: tuple[Tensor, ...]  # for each batch, of each image (n,)
    evidence: tuple[Tensor, ...]  # for each batch, of each cell of its images (n, h, w)
    embeddings: tuple[Tensor, ...]  # for each batch, of each image (n, D)
    joined: Tensor  # (N, D) embedding of each place: the mean of its images by their attention


class Classifier(nn.Module):
    """A network from images in the unit of their scenes to logits of presence.

    A cell of features without a valid pixel takes no part; an image without one takes no part in
    its place. A place without any valid pixel gets the logit of the bias alone.
    """

    def __init__(self, stem: nn.Module, encoder: nn.Module, spec: ClassifierSpec) -> None:
        super().__init__()
        self.stem = stem
        self.encoder = encoder
        self.spec = spec
        described: Any = encoder.feature_info  # of timm
        features = described.channels()[-1]
        self.stride = int(described.reduction()[-1])  # pixels to one cell
        self._channels_last = getattr(encoder, "output_fmt", None) == "NHWC"  # as Swin's
        self.neck = nn.Sequential(nn.Conv2d(features, spec.width, 1), nn.GELU())
        self.pixels = _Attention(spec.width)
        self.dates = _Attention(spec.width)
        self.head = nn.Linear(spec.width, 1)

    def forward(
        self,
        views: Sequence[View],
        owners: Sequence[Tensor] | None = None,
        count: int | None = None,
    ) -> Findings:
        """Logits of places, of their images and of the cells of these.

        Args:
            views: images, each view of one set of bands and one height and width.
            owners: for each view, the number (n,) of the place of each image; when not given, each
                image of one view is a place.
            count: how many places.
        """
        cells = self.features(views)
        pooled = [self._pool(f, view.valid) for f, view in zip(cells, views, strict=True)]
        embeddings = tuple(embedding for embedding, _ in pooled)
        images = tuple(self.head(embedding).squeeze(-1) for embedding in embeddings)
        evidence = tuple(self.head(f.movedim(1, -1)).squeeze(-1) for f in cells)
        every = torch.cat(embeddings)
        if owners is None:
            return Findings(torch.cat(images), images, evidence, embeddings, every)
        owner = torch.cat(list(owners))
        seen = torch.cat([valid for _, valid in pooled])
        size = int(owner.max()) + 1 if count is None else count
        weights = _softmax_of_groups(self.dates(every) + seen.log(), owner, size)
        places = every.new_zeros(size, every.shape[1])
        places = places.index_add(0, owner, every * weights[:, None])
        return Findings(self.head(places).squeeze(-1), images, evidence, embeddings, places)

    def features(self, views: Sequence[View]) -> list[Tensor]:
        """Features (n, D, h, w) of the images of each view.

        Images of one shape go through the encoder together, whatever their sensors, so that its
        normalisation sees them together.
        """
        stemmed = [self.stem(view) for view in views]
        out: list[Tensor | None] = [None] * len(stemmed)
        for shape in dict.fromkeys(s.shape[-2:] for s in stemmed):
            same = [i for i, s in enumerate(stemmed) if s.shape[-2:] == shape]
            together = self.whole_cells(torch.cat([stemmed[i] for i in same]))
            deepest = self.encoder(together)[-1]
            if self._channels_last:
                deepest = deepest.movedim(-1, 1)
            parts = self.neck(deepest).split([len(stemmed[i]) for i in same])
            for i, part in zip(same, parts, strict=True):
                out[i] = part
        return [features for features in out if features is not None]

    def whole_cells(self, images: Tensor, *, fill: float = 0) -> Tensor:
        """Images (..., H, W) continued to the right and below to whole cells of evidence."""
        height, width = images.shape[-2:]
        beyond = (0, -width % self.stride, 0, -height % self.stride)
        return F.pad(images, beyond, value=fill) if any(beyond) else images

    def _pool(self, cells: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (n, D) and the valid share (n,) of images, by attention over their cells."""
        known = valid.to(cells.dtype)
        height, width = cells.shape[-2:]
        share = F.adaptive_avg_pool2d(self.whole_cells(known)[:, None], (height, width)).flatten(1)
        flat = cells.flatten(2).movedim(1, -1)  # (n, cells, D)
        there = share >= _LEAST_VALID
        logits = self.pixels(flat) + share.clamp(min=_LEAST_VALID).log()
        weights = logits.masked_fill(~there, -torch.inf).softmax(dim=1)
        weights = weights.nan_to_num()  # no cell is valid: no weight at all
        # Nor has the image any in its place.
        seen = known.mean(dim=(1, 2)) * there.any(dim=1)
        return (flat * weights[..., None]).sum(dim=1), seen


class _Attention(nn.Module):
    """Gated attention: how much an embedding counts, before the softmax."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.what = nn.Linear(width, _ATTENTION_WIDTH)
        self.gate = nn.Linear(width, _ATTENTION_WIDTH)
        self.weigh = nn.Linear(_ATTENTION_WIDTH, 1)
        # All count alike at first.
        nn.init.zeros_(self.weigh.weight)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Of embeddings (..., D): (...)."""
        gated = self.what(embeddings).tanh() * self.gate(embeddings).sigmoid()
        logits: Tensor = self.weigh(gated).squeeze(-1)
        return logits


def _softmax_of_groups(logits: Tensor, group: Tensor, count: int) -> Tensor:
    """Softmax (n,) over the members of each group; 0 where all of a group are -inf."""
    top = logits.new_full((count,), -torch.inf)
    top = top.scatter_reduce(0, group, logits.detach(), "amax")
    safe = torch.where(top.isfinite(), top, 0)
    weights = (logits - safe[group]).exp()
    total = weights.new_zeros(count).index_add(0, group, weights)
    return weights / total.clamp(min=torch.finfo(weights.dtype).tiny)[group]


def require_timm_encoder(name: str) -> None:
    """Refuse the name of an encoder that timm does not have.

    Raises:
        ModelError: so it is; the message names the nearest ones.
    """
    if not timm.is_model(name.split(".")[0]):
        close = get_close_matches(name, timm.list_models(), n=3, cutoff=0.5) or ["resnet18"]
        raise ModelError(
            f"timm has no encoder named {name!r}. Did you mean {' or '.join(map(repr, close))}?"
        )


def build_classifier(spec: ClassifierSpec, *, pretrained: bool = False) -> Classifier:
    """A classifier with fresh weights, or with an encoder pretrained by its publisher.

    Args:
        spec: what to build.
        pretrained: load the encoder's published weights; needs the network or a filled cache.

    Raises:
        ModelError: no such encoder, one that does not fit, or weights out of reach.
    """
    stem, channels = build_stem(spec.input)
    require_timm_encoder(spec.encoder)
    try:
        # Any: some releases of torch type `to` without the memory format of a module.
        encoder: Any = _build_encoder(spec, channels, pretrained=pretrained)
    except (ValueError, KeyError, TypeError, RuntimeError, OSError, NotImplementedError) as error:
        remedy = (
            "set model.pretrained to false where the publisher cannot be reached"
            if pretrained
            else "set model.output_stride to 32, or name a convolutional encoder"
        )
        raise ModelError(f"{spec.encoder} cannot be built ({error}); {remedy}.") from error
    return Classifier(stem, encoder.to(memory_format=torch.channels_last), spec)


def _build_encoder(spec: ClassifierSpec, channels: int, *, pretrained: bool) -> nn.Module:
    options: dict[str, Any] = {
        "pretrained": pretrained,
        "in_chans": channels,
        "features_only": True,
        "out_indices": (-1,),
    }
    # A stride of 32 is what every network has; fewer know how to keep it smaller.
    if spec.output_stride != 32:
        options["output_stride"] = spec.output_stride
    published = timm.get_pretrained_cfg(spec.encoder)
    if published is not None and published.fixed_input_size:
        # A transformer otherwise takes one image size only. CLIP's ResNets know no such option, nor
        # do they need it.
        with suppress(TypeError):
            return timm.create_model(spec.encoder, dynamic_img_size=True, **options)
    return timm.create_model(spec.encoder, **options)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierCheckpoint:
    """A classifier as it was read, with what was recorded of its making."""

    classifier: Classifier
    sha256: str  # of the file: the identity of the model
    record: Mapping[str, Any]  # recipe and data hashes, scores, calibration, threshold


def save_classifier(path: Path, classifier: Classifier, record: Mapping[str, Any]) -> None:
    """Write a classifier as `path` (.safetensors) and, for people, its header as .json beside."""
    header = {"classifier": asdict(classifier.spec), "record": dict(record)}
    write_tensors(path, classifier.state_dict(), header)
    write_json(path.with_suffix(".json"), header)


def load_classifier(path: Path) -> ClassifierCheckpoint:
    """Read a classifier back, on the CPU and ready to predict.

    Raises:
        ModelError: no such file, not a classifier of geoseg, or damaged.
    """
    tensors, header = read_tensors(path)
    if "classifier" not in header:
        raise ModelError(f"{path} holds no classifier of presence; give that of a thaw-slump run.")
    try:
        fields = dict(header["classifier"])
        spec = ClassifierSpec(**{**fields, "input": input_of(fields["input"])})
        classifier = build_classifier(spec)
        classifier.load_state_dict(tensors)
    except UNFIT as error:
        raise does_not_fit(path, error) from error
    return ClassifierCheckpoint(
        classifier=classifier.eval(), sha256=sha256_of(path), record=header.get("record", {})
    )
