"""The recipe of presence: every key with its default and what it means."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from geoseg.config.sections import MOST, NAME, Section

__all__ = [
    "CalibrationSettings",
    "ClassifierSettings",
    "FewLabelSettings",
    "LearningSettings",
    "PresenceRecipe",
]


class ClassifierSettings(Section):
    """The network: a stem, an encoder of timm, attention over pixels and over dates."""

    encoder: str = "resnet10t"
    """Of timm. A small one learns more from few labels in the same time."""
    stem: Literal["fixed", "any"] = "any"
    """fixed: the bands of one sensor in their unit; any: any bands of any sensor."""
    output_stride: Literal[8, 16, 32] = 16
    """Pixels of a chip to one of its evidence; 32 for encoders that know no other."""
    width: int = Field(default=128, ge=8, le=1024)
    """Of the embedding of an image, in numbers."""
    pretrained: bool = False
    """Start from the publisher's weights; needs a network or a filled cache."""


class LearningSettings(Section):
    """The loop."""

    steps: int = Field(default=400, ge=1, le=MOST)
    """Of the training: a batch is learned from in each."""
    batch: int = Field(default=32, ge=4, le=4096)
    """Places of a step."""
    learning_rate: float = Field(default=1e-3, gt=0, lt=1)
    """Right after the warm-up; from there it falls to 0, as half a cosine."""
    weight_decay: float = Field(default=1e-2, ge=0, lt=1)
    """Of AdamW."""
    warmup_steps: int = Field(default=20, ge=0, le=MOST)
    """Steps over which the learning rate rises from nothing."""
    averaging: float = Field(default=0.95, ge=0, lt=1)
    """Decay of the running mean of the weights that is kept as the model; 0 keeps the last ones."""
    present_share: float = Field(default=0.4, gt=0, lt=1)
    """Of the places of a step that hold what is looked for, however rare it is."""
    loss: Literal[
        "cross_entropy",
        "class_balanced",
        "focal",
        "class_balanced_focal",
        "asymmetric",
        "logit_adjusted",
    ] = "cross_entropy"
    """Of places with a label: one of `geoseg.models.imbalance.multilabel_loss`. Classes are as
    common to it as they are in a step, which `present_share` has balanced already: those that weigh
    by it do little here."""
    flips: bool = True
    """Turn and mirror images at random."""
    jitter: float = Field(default=0.0, ge=0, le=1)
    """Standard deviation of a random gain and offset of each band, in its standard deviations."""
    image_dropout: float = Field(default=0.2, ge=0, lt=1)
    """Share of the images of a place that are left out of a step, so that a place is known by any
    of them; one always stays."""
    validate_every: int = Field(default=100, ge=1, le=MOST)
    """Steps between two checkpoints to resume from."""


class FewLabelSettings(Section):
    """What is learned beside the labels of places."""

    labels: int | None = Field(default=None, ge=4, le=MOST)
    """Labelled places to learn from, drawn at random; all when not named. The others count as
    unlabelled."""
    masks: float = Field(default=0.0, ge=0, le=10)
    """Weight of masks where places with a label have them: each cell of evidence learns what it
    shows."""
    pretrain_steps: int = Field(default=0, ge=0, le=MOST)
    """Steps of learning from all places without labels first (SimSiam)."""
    unlabelled: Literal["left_out", "forest", "pseudo_labels", "positive_unlabelled"] = "left_out"
    """left_out: learn from labels alone; forest: also from what trees say that are grown on colours
    and textures of the labelled places, where any are unlabelled; pseudo_labels: also from
    confident answers of the running mean of the network; positive_unlabelled: of the labels take
    those of presence alone, all other places are unlabelled (non-negative PU)."""
    prior: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of unlabelled places that hold it, for positive_unlabelled."""
    confidence: float = Field(default=0.9, gt=0.5, lt=1)
    """Probability from which an answer is learned from, for pseudo_labels."""
    weight: float = Field(default=0.5, ge=0, le=10)
    """Of what is learned from pseudo-labels, beside labels."""

    @model_validator(mode="after")
    def _prior_is_known(self) -> FewLabelSettings:
        if self.unlabelled == "positive_unlabelled" and self.prior is None:
            raise ValueError(
                "few_labels.unlabelled = positive_unlabelled needs few_labels.prior: the share of "
                "places that hold it, which positives alone do not tell"
            )
        return self


class CalibrationSettings(Section):
    """From logits to probabilities and decisions, on places held out for it."""

    recall: float = Field(default=0.95, gt=0, lt=1)
    """Share of what is there that the threshold has to find."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """With which it does."""
    prevalence: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of places that hold it where the model is used; that of the held-out ones when not
    named."""


class PresenceRecipe(Section):
    """A whole run of `geoseg thaw-slump`."""

    seed: int = Field(default=0, ge=0, lt=2**31)
    """Of all that is drawn at random: the same seed gives the same run."""
    data: str | None = "simulated"
    """simulated: series of images of a tundra; rts-chips: windows of images with masks."""
    pack: str | None = None
    """A pack of `geoseg presence pack` with labels, instead of data; relative to the recipe."""
    places: int = Field(default=2_000, ge=60, le=MOST)
    """How many places are simulated."""
    target: str = Field(default="thaw_slump", pattern=NAME)
    """The name of what is present or not."""
    model: ClassifierSettings = ClassifierSettings()
    learning: LearningSettings = LearningSettings()
    few_labels: FewLabelSettings = FewLabelSettings()
    calibration: CalibrationSettings = CalibrationSettings()

    @model_validator(mode="after")
    def _loss_is_of_labels(self) -> PresenceRecipe:
        if (
            self.few_labels.unlabelled == "positive_unlabelled"
            and self.learning.loss != "cross_entropy"
        ):
            raise ValueError(
                f"learning.loss = {self.learning.loss} is of places with and without it, and "
                "few_labels.unlabelled = positive_unlabelled has a loss of its own; keep one of "
                "them"
            )
        return self

    @model_validator(mode="after")
    def _places_are_of_one_source(self) -> PresenceRecipe:
        if self.pack is not None and self.data is not None and "data" in self.model_fields_set:
            raise ValueError(f"data = {self.data} and pack = {self.pack}; name one of them")
        return self
