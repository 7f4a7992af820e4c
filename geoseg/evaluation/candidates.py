"""The models of a comparison, by short names, each with a loss."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, get_args

from geoseg.config import Architecture, ModelSettings
from geoseg.errors import ConfigError, ModelError, nearest
from geoseg.models import SEGMENTATION_LOSSES, Tuning, find_encoder

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Candidate", "find_candidates"]

# DINOv3 is an encoder; the dense prediction transformer makes maps of what it sees.
_SHORT = {"dinov3": ("dpt", "vit_small_patch16_dinov3")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model that takes part."""

    name: str  # as it was asked for
    model: ModelSettings
    loss: str | None = None  # that of the recipe when None


def find_candidates(
    names: Sequence[str], usual: ModelSettings, losses: Sequence[str] = ()
) -> tuple[Candidate, ...]:
    """Models by name: `architecture[/encoder][:tuning]`; each with each of the losses.

    Of several losses a candidate is named like `unet+focal_tversky`.

    Args:
        names: of segmentation_models_pytorch, as `unet`, `deeplabv3plus/resnet34`, or `dinov3`,
            each with `:frozen` or `:last_blocks` where the encoder is not to be trained as a whole.
        usual: gives the encoder where a name has none, and all else.
        losses: of SEGMENTATION_LOSSES; that of the recipe when there are none.

    Raises:
        ConfigError: fewer than one name, one that occurs twice, or an unknown
            architecture, encoder, tuning or loss.
    """
    if not names or len(set(names)) < len(names):
        raise ConfigError(
            f"The models to compare are {', '.join(names) or 'none'}; name each once, as "
            "unet,deeplabv3plus,dinov3."
        )
    _require_losses(losses)
    models = tuple(_candidate(name, usual) for name in names)
    if not losses:
        return models
    both = [(model, loss) for model in models for loss in losses]
    if len(losses) == 1:
        return tuple(replace(model, loss=loss) for model, loss in both)
    return tuple(replace(model, name=f"{model.name}+{loss}", loss=loss) for model, loss in both)


def _require_losses(losses: Sequence[str]) -> None:
    if len(set(losses)) < len(losses):
        raise ConfigError(f"The losses to compare are {', '.join(losses)}; name each once.")
    for loss in losses:
        if loss not in SEGMENTATION_LOSSES:
            raise ConfigError(f"no loss named {loss!r}. {nearest(loss, SEGMENTATION_LOSSES)}")


def _candidate(name: str, usual: ModelSettings) -> Candidate:
    network, _, tuning = name.partition(":")
    tuning = tuning.replace("-", "_") or usual.tuning
    if tuning not in get_args(Tuning):
        raise ConfigError(
            f"{name!r} has the tuning {tuning!r}. {nearest(tuning, get_args(Tuning))}"
        )
    architecture, _, encoder = network.partition("/")
    architecture, own = _SHORT.get(architecture, (architecture, usual.encoder))
    if architecture not in get_args(Architecture):
        hint = nearest(architecture, get_args(Architecture))
        raise ConfigError(f"no architecture named {architecture!r}. {hint}")
    try:
        find_encoder(encoder or own)
    except ModelError as error:
        raise ConfigError(str(error)) from error
    changed = {"architecture": architecture, "encoder": encoder or own, "tuning": tuning}
    return Candidate(name=name, model=usual.model_copy(update=changed))
