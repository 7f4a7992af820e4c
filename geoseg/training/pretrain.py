"""Learning from places without labels first: what changes of a place leave it the same.

SimSiam (Chen and He 2021, Exploring simple Siamese representation learning): the embedding of one
view of a place, through a small predictor, is drawn to that of another view, which gets no
gradient. Two views are two images of the place where it has several, of any sensors and dates, so
that what stays over seasons and instruments is what is learned (as in SeCo, Manas and others 2021);
of a single image they are two random changes of it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg.chips import drop_images, flip_randomly, jitter_bands
from geoseg.errors import ModelError
from geoseg.training.classify import SEED_STRIDE, classify
from geoseg.training.loop import StepReport
from geoseg.training.place_samples import PlaceSamples, unlabelled_steps_of

if TYPE_CHECKING:
    from geoseg.chips import Batch, PlaceBatch
    from geoseg.config import PresenceRecipe
    from geoseg.models import Classifier
    from geoseg.training.loop import OnStep

__all__ = ["pretrain", "simsiam_loss"]

_JITTER = 0.3  # in standard deviations of a band
_LEAST_CROP = 0.5  # of the side of an image
_ONE_IMAGE = 1.0  # of images that are left out: one of each place stays
# Half of the seeds that a generator tells apart: no step that follows has one of these.
_SEEDS_FROM = 2**31


def pretrain(
    classifier: Classifier,
    samples: PlaceSamples,
    recipe: PresenceRecipe,
    *,
    device: torch.device,
    on_step: OnStep,
) -> None:
    """Teach the stem, the encoder and the attention over pixels without a label.

    Args:
        classifier: changed in place.
        samples: all of them, whatever their labels.
        recipe: its `few_labels.pretrain_steps`, size of a batch and learning rate.
        device: one device.
        on_step: is told of every step.

    Raises:
        ModelError: the loss is no longer a finite number.
    """
    steps = recipe.few_labels.pretrain_steps
    width = classifier.spec.width
    projector = nn.Sequential(
        nn.Linear(width, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(),
        nn.Linear(width, width, bias=False), nn.BatchNorm1d(width, affine=False),
    ).to(device)  # fmt: skip
    predictor = nn.Sequential(
        nn.Linear(width, width // 4, bias=False), nn.BatchNorm1d(width // 4), nn.ReLU(),
        nn.Linear(width // 4, width),
    ).to(device)  # fmt: skip
    classifier.to(device).train()
    weights = [p for m in (classifier, projector, predictor) for p in m.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=recipe.learning.learning_rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    drawn = unlabelled_steps_of(samples, recipe, first=0, steps=steps, every=True)
    for step, places in enumerate(drawn):
        torch.manual_seed(_SEEDS_FROM + recipe.seed * SEED_STRIDE + step)
        moved = places.to(device)
        embedded = [projector(_embeddings(classifier, _changed(moved))) for _ in range(2)]
        loss = simsiam_loss(predictor(embedded[0]), embedded[1]) / 2
        loss = loss + simsiam_loss(predictor(embedded[1]), embedded[0]) / 2
        told = float(loss.detach())
        if not math.isfinite(told):
            raise ModelError(
                f"The loss of pretraining is {told} at step {step}; lower learning.learning_rate."
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        on_step(StepReport(step=step + 1, steps=steps, loss=told, score=None))


def simsiam_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean negative cosine of predictions (N, D) with targets (N, D), which get no gradient."""
    return -F.cosine_similarity(predicted, target.detach(), dim=-1).mean()


def _embeddings(classifier: Classifier, places: PlaceBatch) -> Tensor:
    """Embedding (N, D) of the only image of each place."""
    found = classify(classifier, places)
    every, owner = torch.cat(list(found.embeddings)), torch.cat(list(places.owners))
    # By their number: of two images with one draw both stay.
    return every.new_zeros(places.size, every.shape[1]).index_copy(0, owner, every)


def _changed(places: PlaceBatch) -> PlaceBatch:
    """One image of each place, cropped, turned and in another light."""
    single = drop_images(places, share=_ONE_IMAGE)
    batches = tuple(
        jitter_bands(flip_randomly(_cropped(batch)), strength=_JITTER) for batch in single.batches
    )
    return single._replace(batches=batches)


def _cropped(batch: Batch) -> Batch:
    """A random square of the images of a batch, at their old size; the same for all of them."""
    height, width = batch.valid.shape[-2:]
    share = _LEAST_CROP + (1 - _LEAST_CROP) * float(torch.rand(()))
    rows, columns = max(1, round(share * height)), max(1, round(share * width))
    top = int(torch.randint(height - rows + 1, ()))
    left = int(torch.randint(width - columns + 1, ()))
    part = (..., slice(top, top + rows), slice(left, left + columns))
    # NaN spreads over what is interpolated from it; the 0 of what is not valid would be a value.
    known = torch.where(batch.valid[:, None], batch.image, torch.nan)
    image = F.interpolate(known[part], (height, width), mode="bilinear")
    valid = F.interpolate(batch.valid[part][:, None].float(), (height, width), mode="nearest")
    return batch._replace(image=image, valid=valid[:, 0] > 0, gsd_m=batch.gsd_m * share)
