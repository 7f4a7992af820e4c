"""Heads: a small ensemble on embeddings that says of what class an item is, and how sure it is.

The encoder stays as it is and only the heads learn, anew in every round, in a second: what a
classifier gets wrong of rare classes lies in its last layers (Kang and others 2020, Decoupling
representation and classifier for long-tailed recognition). Members begin from weights of their own
and weigh items differently (the Bayesian bootstrap of Rubin 1981), so that they disagree where few
labels tell (Lakshminarayanan and others 2017, Simple and scalable predictive uncertainty estimation
using deep ensembles).
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from geoseg.errors import ConfigError, LabelError, ModelError, nearest
from geoseg.files import sha256_of, write_json
from geoseg.models import read_tensors, write_tensors
from geoseg.models.imbalance import CLASSIFICATION_LOSSES, classification_loss, log_shares

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from geoseg.active.pool import Pool

__all__ = [
    "ADJUSTED_AFTER",
    "LOSSES",
    "HeadSettings",
    "Heads",
    "Scale",
    "load_heads",
    "save_heads",
    "scale_of",
    "train_heads",
]

ADJUSTED_AFTER = "adjusted_after"
LOSSES = (ADJUSTED_AFTER, *CLASSIFICATION_LOSSES)
_BATCH = 256  # items that a member sees in a step
_RATE = 0.01  # of AdamW at the begin
_PIECE = 65_536  # items said of at once
_SAMPLE = 100_000  # items that tell the scale of a pool


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadSettings:
    """How heads learn.

    By default cross-entropy, with the log shares of labels taken off logits afterwards (Menon and
    others 2021, Long-tail learning via logit adjustment, equation 9). From few labels that ranks
    rare items better than losses that adjust while they learn, and decides as well: these also
    teach what each kind of common item looks like, and rank what is like nothing known above it.
    """

    loss: str = ADJUSTED_AFTER  # of LOSSES
    hidden: int = 64  # width of the hidden layer of a member; 0: it is linear
    members: int = 5
    weight_decay: float = 0.1  # of AdamW
    steps: int = 200

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise ConfigError(f"no loss named {self.loss!r}. {nearest(self.loss, LOSSES)}")
        if self.hidden < 0 or self.members < 1 or self.steps < 1:
            raise ConfigError(
                f"Heads of {self.members} members, {self.hidden} hidden numbers and {self.steps} "
                "steps are none; give 1 or more members and steps, and 0 or more numbers."
            )
        if not 0 <= self.weight_decay < math.inf:
            raise ConfigError(
                f"The weight decay {self.weight_decay} is none; give 0 or more, such as 0.1."
            )


class Scale(NamedTuple):
    """What embeddings are standardised by."""

    mean: NDArray[np.float32]  # (D,)
    sd: NDArray[np.float32]  # (D,) 1 where a number never changes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Heads:
    """An ensemble of M members that has learned.

    Probabilities are as the loss makes them: by default, and with losses that adjust logits, as if
    all classes were equally frequent, so that the likeliest is the choice of least balanced error.
    """

    settings: HeadSettings
    layers: tuple[tuple[Tensor, Tensor], ...]  # weights (M, in, out), biases (M, 1, out)
    scale: Scale

    @property
    def width(self) -> int:
        """Numbers of an embedding."""
        return len(self.scale.mean)

    @property
    def classes(self) -> int:
        """How many it tells apart."""
        return int(self.layers[-1][0].shape[-1])

    def members(self, embeddings: NDArray[np.floating]) -> NDArray[np.float32]:
        """What each member says (M, N, K) of embeddings (N, D): probabilities.

        Raises:
            ModelError: embeddings of another width.
        """
        return np.concatenate(
            [torch.softmax(p, dim=-1).cpu().numpy() for p in self._logits(embeddings)], axis=1
        )

    def probabilities(self, embeddings: NDArray[np.floating]) -> NDArray[np.float32]:
        """The mean of what members say (N, K) of embeddings (N, D).

        Raises:
            ModelError: embeddings of another width.
        """
        return np.concatenate(
            [torch.softmax(p, dim=-1).mean(0).cpu().numpy() for p in self._logits(embeddings)]
        )

    def features(self, embeddings: NDArray[np.floating]) -> NDArray[np.float32]:
        """What the last layers read (N, M * hidden) of embeddings (N, D); linear ones: (N, D).

        Raises:
            ModelError: embeddings of another width.
        """
        parts = [_below(self.layers, part) for part in self._pieces(embeddings)]
        # Linear members read the same.
        chosen = parts if len(self.layers) > 1 else [part[:1] for part in parts]
        return np.concatenate([p.permute(1, 0, 2).flatten(1).cpu().numpy() for p in chosen])

    def _logits(self, embeddings: NDArray[np.floating]) -> Iterator[Tensor]:
        with torch.no_grad():
            for part in self._pieces(embeddings):
                yield _forward(self.layers, part)

    def _pieces(self, embeddings: NDArray[np.floating]) -> Iterator[Tensor]:
        if embeddings.ndim != 2 or embeddings.shape[1] != self.width:
            raise ModelError(
                f"The heads read {self.width} numbers of an item and were given "
                f"{embeddings.shape[-1]}; give those of the encoder that they learned from."
            )
        for first in range(0, max(len(embeddings), 1), _PIECE):
            yield _standard(embeddings[first : first + _PIECE], self.scale)


def train_heads(
    embeddings: NDArray[np.floating],
    targets: NDArray[np.floating],
    settings: HeadSettings,
    seed: int,
    *,
    weights: NDArray[np.floating] | None = None,
    scale: Scale | None = None,
) -> Heads:
    """Heads that have learned from some items; the same seed gives the same ones on a CPU.

    Args:
        embeddings: of items with a label (L, D).
        targets: how likely each is of which class (L, K); rows add up to 1.
        settings: how they learn.
        seed: of first weights, and of what each member sees.
        weights: of items (L,), above 0; 1 when not given.
        scale: of all items, which many tell better than few: `scale_of`; of these when not given.

    Raises:
        LabelError: no items, or targets that are no probabilities of these.
        ModelError: the loss is not finite.
    """
    of_items = _checked(embeddings, targets, weights)
    scale = scale or _scale(np.asarray(embeddings, dtype=np.float64))
    rng = np.random.default_rng(seed)
    layers = _begin((len(scale.mean), targets.shape[1]), settings, rng)
    inputs = _standard(embeddings, scale)
    wanted = torch.from_numpy(np.asarray(targets, dtype=np.float32))
    seen = _seen(of_items, settings, rng)
    counts = (of_items[:, None] * targets).sum(axis=0)
    plain = settings.loss == ADJUSTED_AFTER
    loss_of = classification_loss("cross_entropy" if plain else settings.loss, counts)
    parameters = [tensor.requires_grad_() for layer in layers for tensor in layer]
    optimizer = torch.optim.AdamW(parameters, lr=_RATE, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    for step, rows in enumerate(seen):
        chosen = torch.from_numpy(rows)
        logits = _forward(layers, inputs[chosen])
        loss = loss_of(
            logits.flatten(0, 1), wanted[chosen].flatten(0, 1), (step + 1) / settings.steps
        )
        if not torch.isfinite(loss):
            raise ModelError(
                f"The loss {settings.loss} became {loss.item():g} in step {step}; look for "
                "embeddings that are huge, or take another loss."
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    learned = [(weight.detach(), bias.detach()) for weight, bias in layers]
    if plain:
        learned[-1] = (learned[-1][0], learned[-1][1] - log_shares(counts).to(learned[-1][1]))
    return Heads(settings=settings, layers=tuple(learned), scale=scale)


def scale_of(pool: Pool) -> Scale:
    """Of up to 100,000 items of a pool, spread evenly over it."""
    step = max(len(pool) // _SAMPLE, 1)
    return _scale(pool.embeddings(slice(0, len(pool), step)).astype(np.float64))


def save_heads(path: Path, heads: Heads) -> str:
    """Write heads as `path` (.safetensors) and, for people, settings as .json; its SHA-256.

    Raises:
        OutputError: it cannot be written.
    """
    tensors = {"mean": torch.from_numpy(heads.scale.mean), "sd": torch.from_numpy(heads.scale.sd)}
    for number, (weight, bias) in enumerate(heads.layers):
        tensors |= {f"weight.{number}": weight, f"bias.{number}": bias}
    header = {"heads": asdict(heads.settings)}
    write_tensors(path, tensors, header)
    write_json(path.with_suffix(".json"), header)
    return sha256_of(path)


def load_heads(path: Path) -> Heads:
    """Read heads back, on the CPU.

    Raises:
        ModelError: no such file, no heads, or damaged.
    """
    tensors, header = read_tensors(path)
    try:
        settings = HeadSettings(**header["heads"])
        depth = 2 if settings.hidden else 1
        layers = tuple((tensors[f"weight.{n}"], tensors[f"bias.{n}"]) for n in range(depth))
        scale = Scale(tensors["mean"].numpy(), tensors["sd"].numpy())
    except (KeyError, TypeError, ConfigError) as error:
        raise ModelError(
            f"{path} holds no heads ({json.dumps(str(error))}); give what `geoseg active train` "
            "wrote."
        ) from error
    return Heads(settings=settings, layers=layers, scale=scale)


def _checked(
    embeddings: NDArray[np.floating],
    targets: NDArray[np.floating],
    weights: NDArray[np.floating] | None,
) -> NDArray[np.float64]:
    """Weights of items (L,), of a mean of 1: losses take their sums for numbers of items."""
    if not len(embeddings) or targets.ndim != 2 or len(targets) != len(embeddings):
        raise LabelError(
            f"{len(embeddings)} items and targets of shape {targets.shape} do not teach; give one "
            "row of class probabilities for each of one or more items."
        )
    if not (targets >= 0).all() or not np.allclose(targets.sum(axis=1), 1, atol=1e-3):
        raise LabelError(
            "Targets are no probabilities; let those of each item be 0 or more and add up to 1."
        )
    if not np.isfinite(embeddings).all():
        raise LabelError("An embedding with a label is not finite; leave that item out.")
    own = np.ones(len(targets)) if weights is None else np.asarray(weights, dtype=np.float64)
    if own.shape != (len(targets),) or not ((own > 0) & np.isfinite(own)).all():
        raise LabelError("Weights of items are no numbers above 0; give each item one.")
    return np.asarray(own / own.mean())


def _scale(embeddings: NDArray[np.float64]) -> Scale:
    sd = embeddings.std(axis=0)
    # What hardly changes tells nothing, and would be blown up.
    still = sd <= 1e-6 * np.abs(embeddings).max(axis=0, initial=0)
    mean, sd = embeddings.mean(axis=0), np.where(still, 1, sd)
    return Scale(mean.astype(np.float32), sd.astype(np.float32))


def _standard(embeddings: NDArray[np.floating], scale: Scale) -> Tensor:
    return torch.from_numpy((np.asarray(embeddings, dtype=np.float32) - scale.mean) / scale.sd)


def _begin(
    ends: tuple[int, int], settings: HeadSettings, rng: np.random.Generator
) -> list[tuple[Tensor, Tensor]]:
    """First weights: normal, of a variance that keeps that of what goes in (He and others 2015)."""
    widths = [ends[0], settings.hidden, ends[1]] if settings.hidden else list(ends)
    layers = []
    for number, (wide, out) in enumerate(pairwise(widths)):
        # The last layer begins small: no class is preferred before something is learned.
        size = math.sqrt(2 / wide) if number < len(widths) - 2 else 0.1 / math.sqrt(wide)
        drawn = rng.standard_normal((settings.members, wide, out), dtype=np.float32) * size
        layers.append((torch.from_numpy(drawn), torch.zeros(settings.members, 1, out)))
    return layers


def _seen(
    weights: NDArray[np.float64], settings: HeadSettings, rng: np.random.Generator
) -> Iterator[NDArray[np.intp]]:
    """Items (M, B) that members see in each step, drawn by weights of their own."""
    shares = np.cumsum(weights * rng.exponential(size=(settings.members, len(weights))), axis=1)
    shares /= shares[:, -1:]
    last = len(weights) - 1
    for _ in range(settings.steps):
        drawn = rng.random((settings.members, _BATCH))
        rows = [np.searchsorted(own, at) for own, at in zip(shares, drawn, strict=True)]
        yield np.minimum(np.stack(rows), last)


def _below(
    layers: tuple[tuple[Tensor, Tensor], ...] | list[tuple[Tensor, Tensor]], inputs: Tensor
) -> Tensor:
    """What the last layers read (M, N, H) of inputs (N, D), or (M, N, D) where members differ."""
    each = inputs if inputs.ndim == 3 else inputs.expand(len(layers[0][0]), *inputs.shape)
    for weight, bias in layers[:-1]:
        each = torch.relu(torch.baddbmm(bias, each, weight))
    return each


def _forward(
    layers: tuple[tuple[Tensor, Tensor], ...] | list[tuple[Tensor, Tensor]], inputs: Tensor
) -> Tensor:
    """Logits (M, N, K)."""
    weight, bias = layers[-1]
    return torch.baddbmm(bias, _below(layers, inputs), weight)
