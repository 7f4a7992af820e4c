"""Class probabilities of tiles, by one network or several."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from geoseg.errors import ConfigError, ModelError
from geoseg.views import turned

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from torch import Tensor

    from geoseg.config import InferenceSettings
    from geoseg.models import Segmenter
    from geoseg.views import View

__all__ = ["Chance", "Mapper", "probabilities"]

_DROPOUT = (nn.Dropout, nn.Dropout2d, nn.AlphaDropout)
_TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class Chance(NamedTuple):
    """What networks say of tiles."""

    mean: Tensor  # (N, K, H, W) float32 probabilities; logits where only their order is asked for
    spread: Tensor | None  # (N, H, W) float32, 0 to 0.71


class Mapper:
    """One network, or an ensemble, on its device."""

    def __init__(
        self,
        networks: Sequence[Segmenter],
        settings: InferenceSettings,
        device: torch.device,
        *,
        order_only: bool = False,
    ) -> None:
        """Move the networks to the device.

        Args:
            networks: for the same classes and the same input.
            settings: positions, samples and precision.
            device: where tiles are shown.
            order_only: whether nothing but the most likely class is asked for, for which logits
                will do.

        Raises:
            ConfigError: a spread is asked of a single network without samples, or samples of a
                network that drops nothing.
            ModelError: the networks do not fit together.
        """
        _require_agreement(networks)
        self.spec = networks[0].spec
        self.device = device
        self._settings = settings
        self._samples = max(1, settings.dropout_samples)
        self._spread = settings.uncertainty == "spread"
        self._order_only = order_only and not settings.flips and len(networks) == self._samples == 1
        _require_spread(networks, settings)
        self._networks = [network.to(device).eval() for network in networks]
        self._called = [_compiled(n) if settings.compile else n for n in self._networks]

    @torch.inference_mode()
    def __call__(self, view: View, seed: int) -> Chance:
        """Look at tiles of one size; the seed decides what drops out.

        Raises:
            ModelError: a network gives a number that is not finite.
        """
        with self._autocast():
            found = [self._look(called, view) for called in self._members(seed)]
        if len(found) == 1:
            chance = Chance(found[0].float(), None)
        else:
            chance = _summary(found, spread=self._spread)
        # One sum instead of a mask: a single NaN or infinity is enough to make it one.
        if not torch.isfinite(chance.mean.sum()):
            raise ModelError(
                "The network gives numbers that are not finite; its training went wrong, or "
                "inference.precision is too low for it: try float32."
            )
        return chance

    def _look(self, network: nn.Module, view: View) -> Tensor:
        if self._order_only:
            logits: Tensor = network(view)
            return logits
        return probabilities(network, view, flips=self._settings.flips)

    def _members(self, seed: int) -> Iterator[nn.Module]:
        for number, (network, called) in enumerate(zip(self._networks, self._called, strict=True)):
            if not self._settings.dropout_samples:
                yield called
                continue
            with _dropping(network, seed * len(self._networks) + number, self.device):
                for _ in range(self._samples):
                    yield called

    def _autocast(self) -> AbstractContextManager[object]:
        name = self._settings.precision
        if name == "auto":
            name = "bfloat16" if self.device.type == "cuda" else "float32"
        if name == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, _TYPES[name])


@torch.inference_mode()
def probabilities(network: nn.Module, view: View, *, flips: bool) -> Tensor:
    """Class probabilities (N, K, H, W) of images.

    With `flips` the mean over the eight rotations and mirror images.
    """
    if not flips:
        return _seen_from(network, view, 0, mirrored=False)
    positions = product(range(4), (False, True))
    return torch.stack([_seen_from(network, view, t, mirrored=m) for t, m in positions]).mean(0)


def _seen_from(network: nn.Module, view: View, turns: int, *, mirrored: bool) -> Tensor:
    """Probabilities from a turned and mirrored image, in the original position."""
    valid = view.valid.rot90(turns, (-2, -1))
    image = turned(view.image, view.bands, turns, mirrored=mirrored)
    seen = view._replace(image=image, valid=valid.flip(-1) if mirrored else valid)
    chance: Tensor = network(seen).softmax(dim=1)
    if mirrored:
        chance = chance.flip(-1)
    return chance.rot90(-turns, (-2, -1))


def _summary(found: Sequence[Tensor], *, spread: bool) -> Chance:
    """Mean of probabilities and their spread: the root of half the summed variance.

    Of two classes that is the standard deviation of either.
    """
    stack = torch.stack([chance.float() for chance in found])
    if not spread:
        return Chance(stack.mean(dim=0), None)
    variance, mean = torch.var_mean(stack, dim=0, correction=0)
    return Chance(mean, (variance.sum(dim=1) / 2).sqrt())


@contextmanager
def _dropping(network: nn.Module, seed: int, device: torch.device) -> Iterator[None]:
    """Let units drop out, the same ones for the same seed."""
    layers = [m for m in network.modules() if isinstance(m, _DROPOUT)]
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        for layer in layers:
            layer.train()
        try:
            yield
        finally:
            for layer in layers:
                layer.eval()


def _compiled(network: nn.Module) -> nn.Module:
    compiled: nn.Module = torch.compile(network)  # type: ignore[assignment]
    return compiled


def _require_agreement(networks: Sequence[Segmenter]) -> None:
    first = networks[0].spec
    for network in networks[1:]:
        if network.spec.scheme != first.scheme or network.spec.input != first.input:
            raise ModelError(
                "The networks of an ensemble have different classes or bands; give models that "
                "were trained by one recipe, with other seeds."
            )


def _require_spread(networks: Sequence[Segmenter], settings: InferenceSettings) -> None:
    if settings.uncertainty == "spread" and len(networks) * max(1, settings.dropout_samples) < 2:
        raise ConfigError(
            "inference.uncertainty = spread needs several networks, or "
            "inference.dropout_samples = 8 with a network that drops units; use entropy for one."
        )
    if not settings.dropout_samples:
        return
    for network in networks:
        if not any(isinstance(m, _DROPOUT) and m.p > 0 for m in network.modules()):
            raise ConfigError(
                f"inference.dropout_samples = {settings.dropout_samples}, and "
                f"{network.spec.architecture} has no unit that drops out; use deeplabv3plus, or "
                "several networks."
            )
