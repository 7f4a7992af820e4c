"""The training loop, read from top to bottom."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers.tensorboard import TensorBoardLogger
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from geoseg.chips import Batch, flip_randomly, jitter_bands, stack
from geoseg.errors import ModelError
from geoseg.metrics import confusion_matrix, score_classes
from geoseg.models import Segmenter, dice_cross_entropy, save_checkpoint
from geoseg.training.resume import TrainingState, restore_state, save_state
from geoseg.training.schedule import learning_rate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from geoseg.chips import GridChips, RandomChips
    from geoseg.config import TrainingSettings

__all__ = ["StepReport", "TrainingChips", "TrainingResult", "train"]

_SEED_STRIDE = 1_000_003  # a prime: neighbouring seeds share no step


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """What is known after a step."""

    step: int  # steps done
    steps: int
    loss: float
    score: float | None  # mean IoU of the last validation


class OnStep(Protocol):
    """Is told of every step."""

    def __call__(self, report: StepReport, /) -> None:
        """Take the report of one step."""


class TrainingChips(NamedTuple):
    """What a network is trained on and chosen by."""

    random: RandomChips
    validation: GridChips | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """The trained network and how it was chosen."""

    model: Path  # model.safetensors
    steps: int
    best_step: int
    best_score: float  # mean IoU over the validation part; NaN without one


def train(
    segmenter: Segmenter,
    chips: TrainingChips,
    settings: TrainingSettings,
    *,
    folder: Path,
    device: torch.device,
    record: Mapping[str, Any],
    on_step: OnStep,
) -> TrainingResult:
    """Train a network and keep the best of its running means.

    Step `i` depends on the seed of the chips and on `i` alone, so a training that was killed and
    started again ends in the same weights as one that was not.

    Args:
        segmenter: with fresh or pretrained weights; changed in place.
        chips: to learn from, and to be scored on every `validate_every` steps; without the latter
            the last weights are kept.
        settings: the loop.
        folder: gets model.safetensors, model.json, state.safetensors and the TensorBoard log.
        device: one device; mixed precision is used where it is a GPU.
        record: goes into the checkpoint; its `training_hash` and `data_hash` tell trainings apart.
        on_step: is told of every step.

    Raises:
        ModelError: the loss is no longer a finite number.
    """
    log = TensorBoardLogger(folder, name="log", version="")
    fabric = Fabric(accelerator=device.type, devices=1, precision=_precision(device), loggers=[log])
    optimizer = torch.optim.AdamW(
        segmenter.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    network, optimizer = fabric.setup(segmenter, optimizer)
    average = AveragedModel(
        segmenter, multi_avg_fn=get_ema_multi_avg_fn(settings.averaging), use_buffers=True
    )
    kept = {"network": segmenter, "average": average}
    model, resume = folder / "model.safetensors", folder / "state.safetensors"
    state = TrainingState(fingerprint=f"{record['training_hash']} {record['data_hash']}")
    if model.exists():
        state = restore_state(resume, state, kept, optimizer)
    score = None

    for step, batch in _batches(chips.random, settings, first=state.step, device=device):
        if state.stale >= settings.patience:
            break
        # Not one stream of random numbers: a resumed step has to draw what it would have drawn.
        torch.manual_seed(chips.random.seed * _SEED_STRIDE + step)
        loss = _update(fabric, network, optimizer, batch, settings, step)
        average.update_parameters(segmenter)
        fabric.log("loss", loss, step)
        state = replace(state, step=step + 1)
        if state.step % settings.validate_every == 0 or state.step == settings.steps:
            if not np.isfinite(loss):
                raise ModelError(
                    f"The loss is {loss} at step {step}; lower training.learning_rate."
                )
            score = _score(fabric, average, chips.validation, settings)
            if np.isfinite(score):
                fabric.log("validation_iou", score, step)
            state = _judge(state, score)
            if state.stale == 0:
                found = {"step": state.step, "validation_iou": score}
                save_checkpoint(model, _averaged(average), {**record, **found})
            save_state(resume, state, kept, optimizer)
        on_step(StepReport(step=state.step, steps=settings.steps, loss=loss, score=score))
    log.finalize("success")
    return TrainingResult(
        model=model, steps=state.step, best_step=state.best_step, best_score=state.best_score
    )


def _batches(
    chips: RandomChips, settings: TrainingSettings, *, first: int, device: torch.device
) -> Iterator[tuple[int, Batch]]:
    numbers = range(first * settings.batch, settings.steps * settings.batch)
    loader = DataLoader(
        chips,
        batch_size=settings.batch,
        sampler=numbers,
        collate_fn=stack,
        num_workers=settings.workers,
        pin_memory=device.type == "cuda",
    )
    for step, batch in enumerate(loader, start=first):
        yield step, batch.to(device)


def _update(
    fabric: Fabric,
    network: Any,  # noqa: ANN401  a Segmenter inside Fabric's wrapper, which has no such type
    optimizer: Any,  # noqa: ANN401  likewise
    batch: Batch,
    settings: TrainingSettings,
    step: int,
) -> float:
    """One step of gradient descent; the loss before it."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(step, settings)
    network.train()
    changed = flip_randomly(batch) if settings.flips else batch
    changed = jitter_bands(changed, mean=network.mean, std=network.std, strength=settings.jitter)
    loss = dice_cross_entropy(network(changed.image, changed.valid), changed.label)
    optimizer.zero_grad()
    fabric.backward(loss)
    optimizer.step()
    return float(loss.detach())


@torch.no_grad()
def _score(
    fabric: Fabric,
    average: AveragedModel,
    validation: GridChips | None,
    settings: TrainingSettings,
) -> float:
    """Mean IoU of the running mean over the classes that the validation part holds."""
    if validation is None:
        return float("nan")
    segmenter = _averaged(average).eval()
    classes = len(segmenter.spec.scheme.classes)
    confusion = np.zeros((classes, classes), dtype=np.int64)
    for batch in DataLoader(validation, batch_size=settings.batch, collate_fn=stack):
        image, valid, label = batch.to(fabric.device)
        with fabric.autocast():
            mapped = segmenter(image, valid).argmax(dim=1)
        confusion += confusion_matrix(
            label.cpu().numpy(), mapped.cpu().numpy().astype(np.uint8), classes
        )
    present = [s.iou for s in score_classes(confusion)[1:] if s.pixels > 0]
    return float(np.mean(present)) if present else float("nan")


def _averaged(average: AveragedModel) -> Segmenter:
    return cast("Segmenter", average.module)


def _judge(state: TrainingState, score: float) -> TrainingState:
    """The counters after a validation; without a score the newest is the best."""
    if np.isnan(score) or score > state.best_score:
        return replace(state, best_score=score, best_step=state.step, stale=0)
    return replace(state, stale=state.stale + 1)


def _precision(device: torch.device) -> Literal["32-true", "bf16-mixed", "16-mixed"]:
    if device.type != "cuda":
        return "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
