"""The sections of a recipe: every key with its default and what it means."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

__all__ = [
    "AdaptationSettings",
    "Architecture",
    "ChipSettings",
    "FilmSettings",
    "InferenceSettings",
    "InventorySettings",
    "LabelSettings",
    "ModelSettings",
    "OutlineSettings",
    "SceneSettings",
    "SchemeClass",
    "Section",
    "SourceSettings",
    "SplitSettings",
    "TrainingSettings",
]

Share = Annotated[float, Field(ge=0, le=1)]
Metres = Annotated[float, Field(ge=0)]
# Of segmentation_models_pytorch: named here, as its import takes seconds.
Architecture = Literal[
    "unet",
    "unetplusplus",
    "manet",
    "linknet",
    "fpn",
    "pspnet",
    "deeplabv3",
    "deeplabv3plus",
    "pan",
    "upernet",
    "segformer",
    "dpt",
]
NAME = "^[a-z][a-z0-9_]{0,62}$"
COLOUR = "^#[0-9a-f]{6}$"
# What is counted in a run: no more can be meant, and longer numbers are slips of the hand.
MOST = 10_000_000


class Section(BaseModel):
    """Keys of a recipe that belong together; an unknown key is refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    @field_validator("*", mode="before")
    @classmethod
    def _switch_is_no_number(cls, value: object, info: ValidationInfo) -> object:
        # Python counts with them: `steps: on` would be one step.
        annotation = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and bool not in (annotation, *get_args(annotation)):
            raise PydanticCustomError("switch", "true and false are no value of this key")
        return value


class SceneSettings(Section):
    """One image: a STAC item, or raster files with what they do not say of themselves."""

    path: str
    """A STAC item (.json) or a raster file, relative to the recipe."""
    sensor: str | None = None
    """An id of `geoseg sensors list`; a STAC item names its own."""
    date: dt.date | None = None
    """Acquisition day (UTC); a STAC item names its own."""
    bands: tuple[str, ...] = ()
    """Common names of the bands of `path`, in their order in the file."""
    more: dict[str, str] = {}
    """Bands in other files on the same pixels: {nir08: b4.tif}."""
    nodata: Annotated[float, Field(allow_inf_nan=True)] | None = None
    """The value that means no data, where the file does not say so."""
    dem: str | None = None
    """Elevation in metres, in any reference system; adds the terrain bands to the network."""


class LabelSettings(Section):
    """Outlines to learn from and to be scored against."""

    path: str
    """Any vector file, relative to the recipe."""
    layer: str | None = None
    """The first layer when not named."""
    class_of: str = "class_name"
    """The column with the class of each outline, or one class name for all of them."""
    inside: str | None = None
    """A layer of the same file that frames where all was outlined, such as `windows` of `geoseg
    active regions`: nothing is known elsewhere. Frames whose `said` is not `labelled` do not count.
    """
    date_of: str | None = None
    """The column with the day that each outline shows; that of the scene when not named."""
    within_years: float = Field(default=2.0, ge=0, le=100)
    """How far from the scene the day may lie of outlines that label it; the nearest serve."""
    moved_m_per_year: Metres = 20.0
    """How far an edge may have moved in a year: not learned from, on either side of the outline."""


class SourceSettings(Section):
    """One image to learn from, with its outlines."""

    scene: SceneSettings
    labels: LabelSettings
    learn: bool = True
    """Whether to learn from it; `geoseg compare` scores it in any case."""


class SchemeClass(Section):
    """One class of the map; ids run from 1 in the order of the list, 0 is the ground."""

    name: str = Field(pattern=NAME)
    """As it stands in outlines: lower case letters, digits and _."""
    colour: str = Field(pattern=COLOUR)
    """On maps and in QGIS: '#1f78b4', in quotes."""


class SplitSettings(Section):
    """Which part of the scene trains and which part is held out."""

    train_from: Literal["west", "east", "north", "south"] = "west"
    """The side that trains; the opposite one is held out."""
    train_share: Share = 0.625
    """Share of the scene that trains, 5/8 by default."""
    validation_share: Share = 0.1
    """Share of the training part kept for validation, at its edge far from the held-out part."""


class ChipSettings(Section):
    """How training samples are cut."""

    size_px: int = Field(default=128, ge=32, le=2048, multiple_of=32)
    """Side of a chip."""
    balanced_share: Share = 0.5
    """Share of chips centred on a class drawn evenly; the others lie anywhere."""
    margin_px: float = Field(default=0.5, ge=0, le=20)
    """How far the true edge may lie from the drawn one, to either side: not learned from."""
    gsd_m: tuple[float, float] | None = None
    """Finest and coarsest pixel of a chip, drawn evenly over octaves and averaged from those
    of the scene; the pixels of the scene when not named."""
    band_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of bands that are taken from a chip at random, so that a network learns to do without;
    for model.stem: any."""

    @model_validator(mode="after")
    def _gsd_is_a_range(self) -> ChipSettings:
        if self.gsd_m is not None and not 0 < self.gsd_m[0] <= self.gsd_m[1]:
            raise ValueError(
                f"chips.gsd_m = {list(self.gsd_m)} is no range of pixels in metres; name the "
                "finest and the coarsest, in this order"
            )
        return self


class FilmSettings(Section):
    """Film made of modern scenes, to learn film without a label on it."""

    share: Share = 0.0
    """Share of optical chips that are rendered as film."""
    cameras: tuple[str, ...] = Field(default=("hexagon-kh9-mapping",), min_length=1)
    """Film sensors of `geoseg sensors list`, drawn evenly."""


class AdaptationSettings(Section):
    """Scenes without labels that the network is to be used on."""

    scenes: tuple[SceneSettings, ...] = ()
    """Images that the network is to be used on, without outlines."""
    methods: tuple[Literal["self_training", "histogram", "fourier"], ...] = ()
    """self_training: learn from confident answers of the running mean of the network (a mean
    teacher); histogram, fourier: give labelled chips of the same bands, film made of modern scenes
    included, the tones or the low frequencies of these scenes."""
    batch: int = Field(default=4, ge=1, le=4096)
    """Chips of these scenes in each step."""
    confidence: float = Field(default=0.9, gt=0, le=1)
    """Probability from which an answer is learned from."""
    weight: float = Field(default=0.5, ge=0, le=10)
    """Weight of what is learned so beside what is learned from labels, after the warm-up."""
    warmup_steps: int = Field(default=100, ge=0, le=MOST)
    """Steps over which that weight rises from nothing."""

    @model_validator(mode="after")
    def _both_or_none(self) -> AdaptationSettings:
        if bool(self.scenes) != bool(self.methods):
            raise ValueError(
                f"adaptation.scenes names {len(self.scenes)} images and adaptation.methods = "
                f"{list(self.methods)}; give both or neither"
            )
        return self


class ModelSettings(Section):
    """The network, by its names in segmentation_models_pytorch and timm."""

    architecture: Architecture = "unet"
    """Of segmentation_models_pytorch; dpt takes transformers, the others convolutional encoders."""
    encoder: str = "resnet18"
    """What looks at the image first, by its name in segmentation_models_pytorch or timm."""
    stem: Literal["fixed", "any"] = "fixed"
    """fixed: the bands of one sensor in their unit; any: any bands of any sensor."""
    tuning: Literal["full", "last_blocks", "frozen"] = "full"
    """What is trained of the encoder: all, its last two blocks, or nothing."""
    pretrained: bool = False
    """Start from the publisher's weights; needs a network or a filled cache."""


class TrainingSettings(Section):
    """The loop."""

    loss: Literal[
        "dice_cross_entropy",
        "focal_tversky",
        "cross_entropy",
        "class_balanced",
        "focal",
        "class_balanced_focal",
        "asymmetric",
        "balanced_softmax",
        "logit_adjusted",
        "ldam_drw",
    ] = "dice_cross_entropy"
    """What the network learns to make small; which of them suits classes that are rare, `geoseg
    compare --losses` tells."""
    steps: int = Field(default=400, ge=1, le=MOST)
    """At most: training stops early where `patience` is over."""
    batch: int = Field(default=8, ge=2, le=4096)
    """Chips of a step, of all processes together."""
    learning_rate: float = Field(default=1e-3, gt=0, lt=1)
    """Right after the warm-up; from there it falls to 0, as half a cosine."""
    weight_decay: float = Field(default=1e-2, ge=0, lt=1)
    """Of AdamW."""
    warmup_steps: int = Field(default=50, ge=0, le=MOST)
    """Steps over which the learning rate rises from nothing."""
    averaging: float = Field(default=0.99, ge=0, lt=1)
    """Decay of the running mean of the weights that is kept as the model; 0 keeps the last ones."""
    flips: bool = False
    """Turn and mirror chips at random; off where one sun lights all scenes."""
    jitter: float = Field(default=0.0, ge=0, le=1)
    """Standard deviation of a random gain and offset of each band, in its standard deviations; for
    scenes of other light or calibration than the ones trained on."""
    validate_every: int = Field(default=100, ge=1, le=MOST)
    """Steps between two validations, each followed by a checkpoint to resume from."""
    patience: int = Field(default=5, ge=1, le=MOST)
    """Validations without a better score before training stops early."""
    workers: int = Field(default=0, ge=0, le=64)
    """Processes that read chips beside each one that trains."""
    compile: bool = False
    """Let torch compile the network first: minutes at the start, faster steps after."""


class InferenceSettings(Section):
    """How a scene is mapped."""

    gsd_m: Annotated[float, Field(gt=0)] | None = None
    """Pixel of the map, to which the scene is averaged by a whole number of its pixels; the finest
    that the network was trained at when not named."""
    tile_px: int = Field(default=1024, ge=64, le=8192, multiple_of=32)
    """Pixels to each side that a tile contributes to the map; the network is shown a halo more."""
    halo_px: int = Field(default=32, ge=0, le=2048)
    """What a tile is shown beyond what it contributes, to each side."""
    blend: Literal["smooth", "crop"] = "smooth"
    """Neighbouring tiles fade into each other over their overlap, or meet in its middle. Cropped at
    a halo as wide as the network looks, the map is that of the whole image in one piece."""
    batch: int = Field(default=1, ge=1, le=256)
    """Tiles that go through the network at once; more than 1 is faster on a GPU only."""
    flips: bool = False
    """Average over the eight rotations and mirror images of a tile; for networks trained so."""
    probability: bool = True
    """Whether to write the probability of each class beside the class map."""
    uncertainty: Literal["none", "entropy", "spread"] = "none"
    """A map of how unsure the network is: the entropy of its probabilities, or how far several
    networks, or one whose units drop out, are spread."""
    dropout_samples: int = Field(default=0, ge=0, le=64)
    """Times that each tile is mapped with units of the network dropped at random; 0 drops none."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Of the network; auto is bfloat16 on a GPU and float32 on a CPU."""
    compile: bool = False
    """Let torch compile the network first: minutes at the start, faster tiles after."""
    prevalence_reach_m: Metres = 3_000
    """Distance over which the share of each class is estimated from the map itself, to correct a
    network for a place with more or less ice than where it was trained; 0 leaves it as it is."""

    @model_validator(mode="after")
    def _halo_fits(self) -> InferenceSettings:
        # Halos of neighbours are rounded up to 32 px together, and no three tiles may overlap.
        if 4 * (-(-self.halo_px // 16) * 16) > self.tile_px:
            raise ValueError(
                f"inference.halo_px = {self.halo_px}, rounded up to a multiple of 16, is over a "
                f"quarter of inference.tile_px = {self.tile_px}"
            )
        return self


class OutlineSettings(Section):
    """How a class raster becomes outlines."""

    min_area_m2: Metres = 10_000
    """Smaller outlines are left out; 0.01 km2 is the limit of RGI 7."""
    min_hole_m2: Metres = 5_000
    """Smaller holes are filled."""
    simplify_px: float = Field(default=0.75, ge=0, le=10)
    """Tolerance of the simplification of common borders, in pixels."""
    smooth: int = Field(default=0, ge=0, le=3)
    """Rounds in which the corners of borders are cut after the simplification; each rounds them
    more and doubles the number of vertices."""


class InventorySettings(Section):
    """How the outlines of several dates become one inventory."""

    consistent: bool = True
    """Whether the maps of several dates are first made consistent with each other; the maps as they
    were made are kept beside."""
    align: bool = True
    """Whether a survey that lies off the others by over half a pixel, beyond doubt, is moved."""
    most_shift_m: Annotated[float, Field(gt=0)] | None = None
    """How far a survey may lie off; ten pixels, at most 200 m, when not named."""
    reference: str | None = None
    """Outlines of RGI or GLIMS, relative to the recipe, whose ids are carried over."""
    divides: str | None = None
    """The same, which also split ice masses into glaciers."""
    dem: str | None = None
    """Elevation in metres for heights, slopes and aspects; that of the scene when not named."""
    title: str = "Glacier inventory"
    """Of the inventory and of its page."""
    licence: str = ""
    """Of the inventory, for those who are given it."""

    @model_validator(mode="after")
    def _one_reference(self) -> InventorySettings:
        if self.reference is not None and self.divides is not None:
            raise ValueError(
                f"inventory.divides = {self.divides} carry ids over too; leave out "
                f"inventory.reference = {self.reference}"
            )
        return self
