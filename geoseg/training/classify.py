"""A classifier of places is taught: from labels, masks and places without either."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import torch
from lightning_fabric.loggers.tensorboard import TensorBoardLogger
from torch.optim.swa_utils import AveragedModel

from geoseg.chips import PlaceBatch, drop_images, flip_randomly, jitter_bands
from geoseg.errors import ModelError
from geoseg.labels import IGNORE
from geoseg.models import (
    Classifier,
    evidence_loss,
    non_negative_pu_loss,
    presence_loss,
    read_tensors,
    save_classifier,
)
from geoseg.models.imbalance import multilabel_loss
from geoseg.training.averaging import fabric_alone, running_mean
from geoseg.training.classifier_card import write_classifier_card
from geoseg.training.forest import forest_labels
from geoseg.training.loop import StepReport
from geoseg.training.place_samples import (
    PlaceSamples,
    shown_of_step,
    steps_of,
    unlabelled_steps_of,
)
from geoseg.training.resume import TrainingState, restore_state, save_state
from geoseg.training.schedule import learning_rate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from lightning_fabric import Fabric
    from torch import Tensor

    from geoseg.config import PresenceRecipe
    from geoseg.models import Findings
    from geoseg.training.loop import OnStep

__all__ = [
    "SEED_STRIDE",
    "TaughtClassifier",
    "classify",
    "is_begun",
    "train_classifier",
    "vary_places",
]

SEED_STRIDE = 1_000_003  # a prime: neighbouring seeds share no step
_STATE = "state.safetensors"  # in the folder of a training
_STRONG = 0.2  # jitter of what the pupil sees, in standard deviations of a band


@dataclass(frozen=True, slots=True, kw_only=True)
class TaughtClassifier:
    """The trained classifier."""

    model: Path  # model.safetensors
    steps: int
    loss: float  # of the last step


def train_classifier(
    classifier: Classifier,
    samples: PlaceSamples,
    recipe: PresenceRecipe,
    *,
    folder: Path,
    device: torch.device,
    record: Mapping[str, Any],
    on_step: OnStep,
) -> TaughtClassifier:
    """Train a classifier and keep the running mean of its weights.

    Step `i` depends on the seed and on `i` alone, so a training that was killed and started again
    ends in the same weights as one that was not.

    Args:
        classifier: with fresh or pretrained weights; changed in place.
        samples: with the labels that are granted, as of `choose_labels`.
        recipe: the loop, and what is learned beside labels.
        folder: gets model.safetensors, model.json, model.stac.json, which describes the model in
            STAC, state.safetensors and the TensorBoard log.
        device: one device; mixed precision is used where it is a GPU.
        record: goes into the checkpoint; its `training_hash` and `data_hash` tell trainings apart.
        on_step: is told of every step.

    Raises:
        LabelError: nothing to learn from.
        ModelError: the loss is no longer a finite number.
    """
    settings = recipe.learning
    log = TensorBoardLogger(folder, name="log", version="")
    fabric = fabric_alone(device, [log])
    optimizer = torch.optim.AdamW(
        classifier.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    network, optimizer = fabric.setup(classifier, optimizer)
    average = AveragedModel(
        classifier, multi_avg_fn=running_mean(settings.averaging), use_buffers=True
    )
    kept = {"network": classifier, "average": average}
    resume = folder / _STATE
    state = restore_state(resume, TrainingState(fingerprint=_fingerprint(record)), kept, optimizer)
    if recipe.few_labels.pretrain_steps and state.step == 0:
        # What was learned without labels is not to be lost before the first validation.
        save_state(resume, state, kept, optimizer)
    teacher = cast("Classifier", average.module)
    learner = _Learner(fabric, network, optimizer, teacher, recipe, shown_of_step(samples, recipe))
    # The loss of the last step is kept where another keeps its score.
    loss = state.kept_score

    for step, places, others in _batches(samples, recipe, first=state.step, device=device):
        # Not one stream of random numbers: a resumed step has to draw what it would have drawn.
        torch.manual_seed(recipe.seed * SEED_STRIDE + step)
        loss = learner.learn(places, others, step)
        average.update_parameters(classifier)
        fabric.log("loss", loss, step)
        state = replace(state, step=step + 1, kept_score=loss)
        if state.step % settings.validate_every == 0 or state.step == settings.steps:
            if not np.isfinite(loss):
                raise ModelError(
                    f"The loss is {loss} at step {step}; lower learning.learning_rate."
                )
            save_state(resume, state, kept, optimizer)
        on_step(StepReport(step=state.step, steps=settings.steps, loss=loss, score=None))
    log.finalize("success")
    model = folder / "model.safetensors"
    told = {**record, "step": state.step}
    save_classifier(model, teacher, told)
    write_classifier_card(model, teacher, samples.places, recipe, told)
    return TaughtClassifier(model=model, steps=state.step, loss=loss)


def is_begun(folder: Path, record: Mapping[str, Any]) -> bool:
    """Whether `train_classifier` would go on with a training that it left in a folder.

    Its weights go over those of the classifier, so that these need not be pretrained.

    Args:
        folder: of a training.
        record: as it is given to `train_classifier`.
    """
    try:
        _, counters = read_tensors(folder / _STATE)
    except ModelError:  # nothing there, or nothing whole
        return False
    return bool(counters.get("fingerprint") == _fingerprint(record))


def _fingerprint(record: Mapping[str, Any]) -> str:
    return f"{record['training_hash']} {record['data_hash']}"


class _Learner(NamedTuple):
    """What takes a step of gradient descent."""

    fabric: Fabric
    network: Any  # a Classifier inside Fabric's wrapper, which has no such type
    optimizer: Any  # likewise
    teacher: Classifier  # the running mean
    recipe: PresenceRecipe
    shown: tuple[int, int]  # places of a step with a label, without what is looked for and with it

    def learn(self, places: PlaceBatch, others: PlaceBatch | None, step: int) -> float:
        """One step; the loss before it."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.recipe.learning)
        self.network.train()
        places = vary_places(places, self.recipe)
        loss = self._loss(places)
        if others is not None:
            loss = loss + self._weight(step) * self._taught(others)
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        self.optimizer.step()
        return float(loss.detach())

    def _loss(self, places: PlaceBatch) -> Tensor:
        settings = self.recipe.few_labels
        found = classify(self.network, places)
        # Of a place that shows nothing the network gives its bias, which is not to learn from it.
        seen = places.seen
        logits, present = found.places[seen], places.present[seen]
        if settings.unlabelled == "positive_unlabelled":
            assert settings.prior is not None  # the recipe refuses it otherwise
            positive = present > 0.5
            loss = non_negative_pu_loss(logits[positive], logits[~positive], prior=settings.prior)
        else:
            loss = self._of_labels(logits, present)
        if settings.masks > 0:
            loss = loss + settings.masks * self._of_masks(found, places)
        return loss

    def _of_labels(self, logits: Tensor, present: Tensor) -> Tensor:
        loss = self.recipe.learning.loss
        if loss == "cross_entropy":
            return presence_loss(logits, present)
        return multilabel_loss(loss, [self.shown])(logits[:, None], present[:, None])

    def _of_masks(self, found: Findings, places: PlaceBatch) -> Tensor:
        """Mean over what is known of the places with a label, whatever the bands of an image.

        A mask is a label too: of a place whose label is not granted it teaches nothing.
        """
        losses, pixels = [], []
        for cells, batch, owner in zip(found.evidence, places.batches, places.owners, strict=True):
            present = places.present[owner]
            granted = (present == 0) | (present == 1)
            label = batch.label.masked_fill(~granted[:, None, None], IGNORE)
            losses.append(evidence_loss(cells, self.teacher.whole_cells(label, fill=IGNORE)))
            pixels.append((label != IGNORE).sum())
        # A cell is of as many pixels in each set of bands, so that each cell counts alike.
        known = torch.stack(pixels)
        return (torch.stack(losses) * known).sum() / known.sum().clamp(min=1)

    def _taught(self, places: PlaceBatch) -> Tensor:
        """Of places that nobody labelled, by what the running mean is sure of.

        Tarvainen and Valpola 2017; the pupil sees them changed, as in FixMatch (Sohn and others
        2020).
        """
        confidence = self.recipe.few_labels.confidence
        self.teacher.eval()
        with torch.no_grad():
            said = classify(self.teacher, places).places.float().sigmoid()
        sure = (said >= confidence) | (said <= 1 - confidence)
        label = torch.where(sure & places.seen, said.round(), torch.nan)
        batches = tuple(jitter_bands(b, strength=_STRONG) for b in places.batches)
        changed = vary_places(places._replace(batches=batches, present=label), self.recipe)
        return presence_loss(classify(self.network, changed).places, label)

    def _weight(self, step: int) -> float:
        """A rise over the first half: at the beginning the running mean knows nothing."""
        return self.recipe.few_labels.weight * min(1.0, 2 * step / self.recipe.learning.steps)


def classify(network: Any, places: PlaceBatch) -> Findings:  # noqa: ANN401  also inside a wrapper
    """What a classifier says of a batch of places."""
    found: Findings = network([b.view() for b in places.batches], places.owners, places.size)
    return found


def vary_places(places: PlaceBatch, recipe: PresenceRecipe) -> PlaceBatch:
    """Places as the recipe has them changed: fewer images, turns, gains and offsets."""
    settings = recipe.learning
    if settings.image_dropout > 0:
        places = drop_images(places, share=settings.image_dropout)
    batches = places.batches
    if settings.flips:
        batches = tuple(flip_randomly(batch) for batch in batches)
    if settings.jitter > 0:
        batches = tuple(jitter_bands(batch, strength=settings.jitter) for batch in batches)
    return places._replace(batches=batches)


def _batches(
    samples: PlaceSamples, recipe: PresenceRecipe, *, first: int, device: torch.device
) -> Iterator[tuple[int, PlaceBatch, PlaceBatch | None]]:
    """Step, places with labels, and places without."""
    others: Iterator[PlaceBatch | None] = repeat(None)
    steps = recipe.learning.steps
    if recipe.few_labels.unlabelled == "pseudo_labels":
        others = unlabelled_steps_of(samples, recipe, first=first, steps=steps, every=False)
    elif recipe.few_labels.unlabelled == "forest":
        samples = forest_labels(samples, seed=recipe.seed)
    labelled = steps_of(samples, recipe, first=first)
    for step, (places, more) in enumerate(zip(labelled, others, strict=False), start=first):
        yield step, places.to(device), None if more is None else more.to(device)
