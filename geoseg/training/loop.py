"""The training loop, read from top to bottom."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers.tensorboard import TensorBoardLogger
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from geoseg.chips import Batch, MixedChips, film_some, stack
from geoseg.errors import ModelError
from geoseg.metrics import confusion_matrix, score_classes
from geoseg.models import Segmenter, save_checkpoint, segmentation_loss
from geoseg.training.adapt import Teacher, style_of
from geoseg.training.averaging import precision_of, running_mean
from geoseg.training.resume import TrainingState, restore_state, save_state
from geoseg.training.schedule import learning_rate
from geoseg.training.vary import vary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch.utils.data import Dataset

    from geoseg.chips import Chip, GridChips
    from geoseg.config import Recipe
    from geoseg.models.imbalance_maps import SegmentationLoss

__all__ = ["StepReport", "TrainingChips", "TrainingResult", "train"]

_SEED_STRIDE = 1_000_003  # a prime: neighbouring seeds share no step
_NOISE = 0.02  # of a validation score


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

    labelled: MixedChips
    validation: Sequence[GridChips] = ()
    unlabelled: MixedChips | None = None  # of the scenes to adapt to
    pixels: tuple[int, ...] = ()  # of each class among the labelled, for losses that ask for it


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """The trained network and how it was chosen."""

    model: Path  # model.safetensors
    steps: int
    best_step: int
    best_score: float  # its mean IoU over the validation part; NaN without one


def train(
    segmenter: Segmenter,
    chips: TrainingChips,
    recipe: Recipe,
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
        recipe: the loop, what is changed in chips, and how to adapt to scenes without labels.
        folder: gets model.safetensors, model.json, state.safetensors and the TensorBoard log.
        device: one device; mixed precision is used where it is a GPU.
        record: goes into the checkpoint; its `training_hash` and `data_hash` tell trainings apart.
        on_step: is told of every step.

    Raises:
        ConfigError: the loss asks how common classes are, and the chips do not tell.
        ModelError: the loss is no longer a finite number.
    """
    settings = recipe.training
    loss_of = segmentation_loss(settings.loss, chips.pixels)
    log = TensorBoardLogger(folder, name="log", version="")
    fabric = Fabric(
        accelerator=device.type, devices=1, precision=precision_of(device), loggers=[log]
    )
    trained = [weights for weights in segmenter.parameters() if weights.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    network, optimizer = fabric.setup(segmenter, optimizer)
    average = AveragedModel(
        segmenter, multi_avg_fn=running_mean(settings.averaging), use_buffers=True
    )
    kept = {"network": segmenter, "average": average}
    model, resume = folder / "model.safetensors", folder / "state.safetensors"
    state = TrainingState(fingerprint=f"{record['training_hash']} {record['data_hash']}")
    if model.exists():
        state = restore_state(resume, state, kept, optimizer)
    learner = _Learner(
        fabric, network, optimizer, Teacher(_averaged(average), recipe.adaptation), loss_of
    )
    score = None

    for step, batches, targets in _batches(chips, recipe, first=state.step, device=device):
        if state.stale >= settings.patience:
            break
        # Not one stream of random numbers: a resumed step has to draw what it would have drawn.
        torch.manual_seed(chips.labelled.seed * _SEED_STRIDE + step)
        loss = learner.learn(batches, targets, recipe, step)
        average.update_parameters(segmenter)
        fabric.log("loss", loss, step)
        state = replace(state, step=step + 1)
        if state.step % settings.validate_every == 0 or state.step == settings.steps:
            if not np.isfinite(loss):
                raise ModelError(
                    f"The loss is {loss} at step {step}; lower training.learning_rate."
                )
            score = _score(fabric, _averaged(average), chips.validation, recipe)
            if np.isfinite(score):
                fabric.log("validation_iou", score, step)
            state = _judge(state, score)
            if state.best_step == state.step:
                found = {"step": state.step, "validation_iou": score}
                save_checkpoint(model, _averaged(average), {**record, **found})
            save_state(resume, state, kept, optimizer)
        on_step(StepReport(step=state.step, steps=settings.steps, loss=loss, score=score))
    log.finalize("success")
    return TrainingResult(
        model=model, steps=state.step, best_step=state.best_step, best_score=state.kept_score
    )


class _Learner(NamedTuple):
    """What takes a step of gradient descent."""

    fabric: Fabric
    network: Any  # a Segmenter inside Fabric's wrapper, which has no such type
    optimizer: Any  # likewise
    teacher: Teacher
    loss_of: SegmentationLoss

    def learn(self, batches: list[Batch], targets: list[Batch], recipe: Recipe, step: int) -> float:
        """One step; the loss before it."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, recipe.training)
        self.network.train()
        batches = style_of(targets, vary(batches, recipe), recipe.adaptation)
        label = torch.cat([batch.label for batch in batches])
        unlabelled = self.teacher.lessons(targets)
        logits = self.network(*(batch.view() for batch in (*batches, *unlabelled)))
        progress = step / recipe.training.steps
        loss = self.loss_of(logits[: len(label)], label, progress)
        if unlabelled:
            taught = torch.cat([batch.label for batch in unlabelled])
            weight = self.teacher.weight(step)
            loss = loss + weight * self.loss_of(logits[len(label) :], taught, progress)
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        self.optimizer.step()
        return float(loss.detach())


def _batches(
    chips: TrainingChips, recipe: Recipe, *, first: int, device: torch.device
) -> Iterator[tuple[int, list[Batch], list[Batch]]]:
    """Step, labelled batches and unlabelled ones."""
    labelled = _loader(chips.labelled, recipe.training.batch, recipe, first, device)
    targets: Iterator[list[Batch]] = repeat([])
    if chips.unlabelled is not None:
        targets = iter(_loader(chips.unlabelled, recipe.adaptation.batch, recipe, first, device))
    for step, (batches, others) in enumerate(zip(labelled, targets, strict=False), start=first):
        yield step, [b.to(device) for b in batches], [b.to(device) for b in others]


def _loader(
    chips: Dataset[Chip], batch: int, recipe: Recipe, first: int, device: torch.device
) -> DataLoader[Chip]:
    return DataLoader(
        chips,
        batch_size=batch,
        sampler=range(first * batch, recipe.training.steps * batch),
        collate_fn=stack,
        num_workers=recipe.training.workers,
        pin_memory=device.type == "cuda",
    )


@torch.no_grad()
def _score(
    fabric: Fabric, segmenter: Segmenter, validation: Sequence[GridChips], recipe: Recipe
) -> float:
    """Mean IoU over sensors, of each over the classes that its validation parts hold.

    Film made of these parts counts as a sensor where film is trained on.
    """
    segmenter.eval()
    classes = len(segmenter.spec.scheme.classes)
    confusion: defaultdict[str, Any] = defaultdict(lambda: np.zeros((classes,) * 2, np.int64))
    for chips in validation:
        for batches in DataLoader(chips, batch_size=recipe.training.batch, collate_fn=stack):
            for batch in batches:
                moved = batch.to(fabric.device)
                confusion[chips.source.scene.sensor_id] += _confusion(fabric, segmenter, [moved])
                if recipe.film.share > 0:
                    film = _as_film(moved, recipe)
                    confusion["film"] += _confusion(fabric, segmenter, film)
    scores = [[s.iou for s in score_classes(c)[1:] if s.pixels > 0] for c in confusion.values()]
    means = [float(np.mean(ious)) for ious in scores if ious]
    return float(np.mean(means)) if means else float("nan")


def _as_film(batch: Batch, recipe: Recipe) -> list[Batch]:
    """The same film at every validation."""
    with torch.random.fork_rng(devices=[batch.image.device] if batch.image.is_cuda else []):
        torch.manual_seed(recipe.seed)
        films = film_some([batch], share=1.0, cameras=recipe.film.cameras)
    return [film for film in films if film.bands != batch.bands]


def _confusion(fabric: Fabric, segmenter: Segmenter, batches: Sequence[Batch]) -> NDArray[np.int64]:
    classes = len(segmenter.spec.scheme.classes)
    found = np.zeros((classes, classes), dtype=np.int64)
    for batch in batches:
        with fabric.autocast():
            mapped = segmenter(batch.view()).argmax(dim=1)
        found += confusion_matrix(
            batch.label.cpu().numpy(), mapped.cpu().numpy().astype(np.uint8), classes
        )
    return found


def _averaged(average: AveragedModel) -> Segmenter:
    return cast("Segmenter", average.module)


def _judge(state: TrainingState, score: float) -> TrainingState:
    """The counters after a validation; without a score the newest is the best.

    A newer network that scores a little less is kept all the same: the part to validate on is
    small, and the learning rate falls to the end.
    """
    if np.isnan(score):
        return replace(state, kept_score=score, best_step=state.step, stale=0)
    stale = 0 if score > state.best_score else state.stale + 1
    state = replace(state, best_score=max(score, state.best_score), stale=stale)
    if score < state.best_score - _NOISE:
        return state
    return replace(state, kept_score=score, best_step=state.step)
