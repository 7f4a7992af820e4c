"""The training loop, read from top to bottom."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

import numpy as np
import torch
from lightning_fabric.loggers.tensorboard import TensorBoardLogger
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from geoseg.chips import Batch, MixedChips, film_some, stack
from geoseg.errors import ModelError
from geoseg.metrics import confusion_matrix, score_classes
from geoseg.models import Segmenter, save_checkpoint, segmentation_loss
from geoseg.scale.lock import holding
from geoseg.training.adapt import Teacher, style_of
from geoseg.training.averaging import running_mean
from geoseg.training.compiling import compile_problem
from geoseg.training.model_card import ModelCard
from geoseg.training.norms import share_statistics
from geoseg.training.ranks import Devices, Ranks, require_shares, start_fabric
from geoseg.training.resume import TrainingState, restore_state, save_state
from geoseg.training.schedule import learning_rate
from geoseg.training.vary import vary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from lightning_fabric import Fabric
    from numpy.typing import NDArray
    from torch import nn

    from geoseg.chips import Chip, GridChips
    from geoseg.config import Recipe
    from geoseg.models.imbalance_maps import SegmentationLoss

__all__ = ["StepReport", "TrainingChips", "TrainingResult", "train"]

_SEED_STRIDE = 1_000_003  # a prime: neighbouring seeds share no step
_RANK_STRIDE = 2**52  # beyond all of these
_PREFETCHED = 4  # batches that each process reads ahead
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
    device: torch.device | Devices,
    record: Mapping[str, Any],
    on_step: OnStep,
) -> TrainingResult:
    """Train a network and keep the best of its running means.

    Step `i` depends on the seed of the chips and on `i` alone, so a training that was killed and
    started again ends in the same weights as one that was not. Several devices share the chips of
    a step; each is the rank of a process that calls this with the same arguments.

    Args:
        segmenter: with fresh or pretrained weights; changed in place.
        chips: to learn from, and to be scored on every `validate_every` steps; without the latter
            the last weights are kept.
        recipe: the loop, what is changed in chips, and how to adapt to scenes without labels.
        folder: gets model.safetensors, model.json, model.stac.json, which describes the model in
            STAC, state.safetensors and the TensorBoard log.
        device: one device, or several; mixed precision is used where they are GPUs.
        record: goes into the checkpoint; its `training_hash` and `data_hash` tell trainings apart.
        on_step: is told of every step, by the first rank.

    Raises:
        ConfigError: the loss asks how common classes are, and the chips do not tell; or a batch
            cannot be shared alike.
        ModelError: the loss is no longer a finite number, or ranks see different folders.
        OutputError: another training holds the folder.
    """
    settings = recipe.training
    devices = device if isinstance(device, Devices) else Devices(kind=device)
    require_shares(recipe, devices.count)
    loss_of = segmentation_loss(settings.loss, chips.pixels)
    log = TensorBoardLogger(folder, name="log", version="")
    fabric = start_fabric(devices, log)
    ranks = Ranks(fabric)
    with _alone(folder) if ranks.first else nullcontext():
        share_statistics(segmenter, ranks)
        network, optimizer = fabric.setup(segmenter, _optimizer(segmenter, recipe))
        average = AveragedModel(
            segmenter, multi_avg_fn=running_mean(settings.averaging), use_buffers=True
        )
        card = ModelCard.of(chips.labelled, recipe)
        left = _Left(folder, {"network": segmenter, "average": average}, optimizer, record, card)
        state = left.state()
        ranks.require_same(state.step)
        if settings.compile and compile_problem(devices.kind) is None:
            segmenter.network.compile()
        learner = _Learner(
            fabric,
            ranks,
            network,
            optimizer,
            Teacher(_averaged(average), recipe.adaptation),
            loss_of,
        )
        score = None

        for step, batches, targets in _batches(chips, recipe, ranks, first=state.step):
            if state.stale >= settings.patience:
                break
            # Not one stream of random numbers: a resumed step has to draw what it would have drawn.
            torch.manual_seed(chips.labelled.seed * _SEED_STRIDE + step)
            loss = learner.learn(batches, targets, recipe, step)
            average.update_parameters(segmenter)
            fabric.log("loss", loss, step)
            state = replace(state, step=step + 1)
            if state.step % settings.validate_every == 0 or state.step == settings.steps:
                _require_finite(loss, step)
                score = _score(fabric, ranks, _averaged(average), chips.validation, recipe)
                if np.isfinite(score):
                    fabric.log("validation_iou", score, step)
                state = _judge(state, score)
                if ranks.first:
                    left.write(state, _averaged(average), score)
            if ranks.first:
                on_step(StepReport(step=state.step, steps=settings.steps, loss=loss, score=score))
        log.finalize("success")
        ranks.wait()  # for what the first one writes
        return TrainingResult(
            model=left.model,
            steps=state.step,
            best_step=state.best_step,
            best_score=state.kept_score,
        )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other trainings out of a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with holding(folder / "training.lock"):
        yield


def _optimizer(segmenter: Segmenter, recipe: Recipe) -> torch.optim.Optimizer:
    settings = recipe.training
    trained = [weights for weights in segmenter.parameters() if weights.requires_grad]
    return torch.optim.AdamW(trained, lr=settings.learning_rate, weight_decay=settings.weight_decay)


def _require_finite(loss: float, step: int) -> None:
    if not np.isfinite(loss):
        raise ModelError(f"The loss is {loss} at step {step}; lower training.learning_rate.")


class _Left(NamedTuple):
    """What a training leaves on disk."""

    folder: Path
    kept: dict[str, nn.Module]
    optimizer: Any  # inside Fabric's wrapper, which has no type of its own
    record: Mapping[str, Any]
    card: ModelCard

    @property
    def model(self) -> Path:
        """The best network so far."""
        return self.folder / "model.safetensors"

    def state(self) -> TrainingState:
        """How far this training came; its weights are taken up."""
        record = self.record
        state = TrainingState(fingerprint=f"{record['training_hash']} {record['data_hash']}")
        if not self.model.exists():
            return state
        return restore_state(self._resume, state, self.kept, self.optimizer)

    def write(self, state: TrainingState, newest: Segmenter, score: float) -> None:
        """The newest network where it is the best one, and the state to go on from."""
        if state.best_step == state.step:
            found = {"step": state.step, "validation_iou": score}
            record = {**self.record, **found}
            save_checkpoint(self.model, newest, record)
            self.card.write(self.model, newest, record)
        save_state(self._resume, state, self.kept, self.optimizer)

    @property
    def _resume(self) -> Path:
        return self.folder / "state.safetensors"


class _Learner(NamedTuple):
    """What takes a step of gradient descent."""

    fabric: Fabric
    ranks: Ranks
    network: Any  # a Segmenter inside Fabric's wrapper, which has no such type
    optimizer: Any  # likewise
    teacher: Teacher
    loss_of: SegmentationLoss

    def learn(self, batches: list[Batch], targets: list[Batch], recipe: Recipe, step: int) -> float:
        """One step on a batch that all ranks hold; the loss before it."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, recipe.training)
        self.network.train()
        batches = style_of(targets, vary(batches, recipe), recipe.adaptation)
        label = torch.cat([batch.label for batch in batches])
        unlabelled = self.teacher.lessons(targets, self.ranks.part)
        own = self.ranks.part(batches)
        if not self.ranks.first:
            # What is drawn inside a network, such as units that drop out, is not to be alike.
            torch.manual_seed(torch.initial_seed() + self.ranks.number * _RANK_STRIDE)
        logits = self.network(*(batch.view() for batch in (*own, *unlabelled)))
        progress = step / recipe.training.steps
        labelled = len(label) // self.ranks.count
        loss = self.loss_of(self.ranks.of_all(logits[:labelled]), label, progress)
        if unlabelled:
            taught = self.ranks.of_all(torch.cat([batch.label for batch in unlabelled]))
            weight = self.teacher.weight(step)
            lessons = self.ranks.of_all(logits[labelled:])
            loss = loss + weight * self.loss_of(lessons, taught, progress)
        self.optimizer.zero_grad()
        # Each rank has the slopes of its own chips, of which the mean is taken and not the sum.
        self.fabric.backward(loss * self.ranks.count)
        self.optimizer.step()
        return float(loss.detach())


def _batches(
    chips: TrainingChips, recipe: Recipe, ranks: Ranks, *, first: int
) -> Iterator[tuple[int, list[Batch], list[Batch]]]:
    """Step, labelled batches and unlabelled ones, on the device and of all ranks."""
    labelled = _moved(chips.labelled, recipe.training.batch, recipe, ranks, first)
    targets: Iterator[list[Batch]] = repeat([])
    if chips.unlabelled is not None:
        targets = _moved(chips.unlabelled, recipe.adaptation.batch, recipe, ranks, first)
    for step, (batches, others) in enumerate(zip(labelled, targets, strict=False), start=first):
        yield step, batches, others


def _moved(
    chips: MixedChips, batch: int, recipe: Recipe, ranks: Ranks, first: int
) -> Iterator[list[Batch]]:
    workers, device = recipe.training.workers, ranks.device
    loader: DataLoader[Chip] = DataLoader(
        chips,
        batch_sampler=ranks.indices(batch, first=first, steps=recipe.training.steps),
        collate_fn=stack,
        num_workers=workers,
        prefetch_factor=_PREFETCHED if workers else None,
        pin_memory=device.type == "cuda",
    )
    kinds = tuple(dict.fromkeys(part.source.bands for part in chips.parts))
    for batches in loader:
        yield ranks.whole([one.to(device) for one in batches], kinds)


@torch.no_grad()
def _score(
    fabric: Fabric,
    ranks: Ranks,
    segmenter: Segmenter,
    validation: Sequence[GridChips],
    recipe: Recipe,
) -> float:
    """Mean IoU over sensors, of each over the classes that its validation parts hold.

    Film made of these parts counts as a sensor where film is trained on. The ranks take batches in
    turn.
    """
    segmenter.eval()
    classes = len(segmenter.spec.scheme.classes)
    sensors = [chips.source.scene.sensor_id for chips in validation]
    names = list(dict.fromkeys([*sensors[:1], "film", *sensors[1:]]))
    confusion = np.zeros((len(names), classes, classes), np.int64)
    for sensor, chips in zip(sensors, validation, strict=True):
        for batches in _in_turn(chips, recipe.training.batch, ranks):
            for batch in batches:
                moved = batch.to(fabric.device)
                confusion[names.index(sensor)] += _confusion(fabric, segmenter, [moved])
                if recipe.film.share > 0:
                    film = _as_film(moved, recipe)
                    confusion[names.index("film")] += _confusion(fabric, segmenter, film)
    whole = ranks.summed(torch.from_numpy(confusion).to(fabric.device)).cpu().numpy()
    scores = [[s.iou for s in score_classes(c)[1:] if s.pixels > 0] for c in whole]
    means = [float(np.mean(ious)) for ious in scores if ious]
    return float(np.mean(means)) if means else float("nan")


def _in_turn(chips: GridChips, batch: int, ranks: Ranks) -> DataLoader[Chip]:
    """The batches that this rank scores; whole ones, so that film of them is always the same."""
    own = range(ranks.number * batch, len(chips), ranks.count * batch)
    return DataLoader(
        chips,
        batch_sampler=[list(range(start, min(start + batch, len(chips)))) for start in own],
        collate_fn=stack,
    )


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
