"""The schema of a recipe.

Every key has a default except what only the user knows: where the images and the outlines lie.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from geoseg.config.strict_yaml import parse_yaml, read_yaml
from geoseg.errors import ConfigError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pydantic_core import ErrorDetails

__all__ = [
    "ChipSettings",
    "InferenceSettings",
    "LabelSettings",
    "ModelSettings",
    "OutlineSettings",
    "Recipe",
    "SceneSettings",
    "SchemeClass",
    "SplitSettings",
    "TrainingSettings",
    "load_recipe",
    "recipe_hash",
    "training_hash",
]

Share = Annotated[float, Field(ge=0, le=1)]
Metres = Annotated[float, Field(ge=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class SceneSettings(_Section):
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
    nodata: float | None = None
    """The value that means no data, where the file does not say so."""


class LabelSettings(_Section):
    """Outlines to learn from and to be scored against."""

    path: str
    """Any vector file, relative to the recipe."""
    layer: str | None = None
    """The first layer when not named."""
    class_of: str = "class_name"
    """The column with the class of each outline, or one class name for all of them."""


class SchemeClass(_Section):
    """One class of the map; ids run from 1 in the order of the list, 0 is the ground."""

    name: str
    colour: str


class SplitSettings(_Section):
    """Which part of the scene trains and which part is held out."""

    train_from: Literal["west", "east", "north", "south"] = "west"
    """The side that trains; the opposite one is held out."""
    train_share: Share = 0.625
    """Share of the scene that trains, 5/8 by default."""
    validation_share: Share = 0.1
    """Share of the training part kept for validation, at its edge far from the held-out part."""


class ChipSettings(_Section):
    """How training samples are cut."""

    size_px: int = Field(default=128, ge=32, le=2048, multiple_of=32)
    """Side of a chip."""
    balanced_share: Share = 0.5
    """Share of chips centred on a class drawn evenly; the others lie anywhere."""
    margin_px: float = Field(default=0.5, ge=0, le=20)
    """How far the true edge may lie from the drawn one, to either side: not learned from."""


class ModelSettings(_Section):
    """The network, by its names in segmentation_models_pytorch and timm."""

    architecture: str = "unet"
    encoder: str = "resnet18"
    pretrained: bool = False
    """Start from the publisher's weights; needs a network or a filled cache."""


class TrainingSettings(_Section):
    """The loop."""

    steps: int = Field(default=400, ge=1)
    batch: int = Field(default=8, ge=2, le=4096)
    learning_rate: float = Field(default=1e-3, gt=0, lt=1)
    weight_decay: float = Field(default=1e-2, ge=0, lt=1)
    warmup_steps: int = Field(default=50, ge=0)
    averaging: float = Field(default=0.99, ge=0, lt=1)
    """Decay of the running mean of the weights that is kept as the model; 0 keeps the last ones."""
    flips: bool = False
    """Turn and mirror chips at random; off where one sun lights all scenes."""
    jitter: float = Field(default=0.0, ge=0, le=1)
    """Standard deviation of a random gain and offset of each band, in its standard deviations; for
    scenes of other light or calibration than the ones trained on."""
    validate_every: int = Field(default=100, ge=1)
    """Steps between two validations, each followed by a checkpoint to resume from."""
    patience: int = Field(default=5, ge=1)
    """Validations without a better score before training stops early."""
    workers: int = Field(default=0, ge=0, le=64)
    """Processes that read chips beside the one that trains."""


class InferenceSettings(_Section):
    """How a scene is mapped."""

    tile_px: int = Field(default=512, ge=64, le=4096, multiple_of=32)
    halo_px: int = Field(default=64, ge=0, le=1024)
    """Overlap of neighbouring tiles, to each side; blended."""
    batch: int = Field(default=1, ge=1, le=256)
    flips: bool = False
    """Average over the eight rotations and mirror images of a tile; for networks trained so."""
    prevalence_reach_m: Metres = 3_000
    """Distance over which the share of each class is estimated from the map itself, to correct a
    network for a place with more or less ice than where it was trained; 0 leaves it as it is."""

    @model_validator(mode="after")
    def _halo_fits(self) -> InferenceSettings:
        if 4 * self.halo_px > self.tile_px:
            raise ValueError("halo_px must be at most a quarter of tile_px")
        return self


class OutlineSettings(_Section):
    """How a class raster becomes outlines."""

    min_area_m2: Metres = 10_000
    """Smaller outlines are left out; 0.01 km2 is the limit of RGI 7."""
    min_hole_m2: Metres = 5_000
    """Smaller holes are filled."""
    simplify_px: float = Field(default=0.75, ge=0, le=10)
    """Tolerance of the simplification of common borders, in pixels."""


class Recipe(_Section):
    """A whole run. Give `data`, or `scene` and `labels`."""

    seed: int = Field(default=0, ge=0, lt=2**31)
    data: str | None = None
    """A data set of `geoseg data list`, or `simulated`."""
    scene: SceneSettings | None = None
    labels: LabelSettings | None = None
    scheme: tuple[SchemeClass, ...] = ()
    """Classes to map beside the ground; those of the data set when empty."""
    split: SplitSettings = SplitSettings()
    chips: ChipSettings = ChipSettings()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    inference: InferenceSettings = InferenceSettings()
    outlines: OutlineSettings = OutlineSettings()


def load_recipe(path: Path, *, overlay: Path | None = None, changes: Sequence[str] = ()) -> Recipe:
    """A recipe: defaults of a file, a user's file over them, single keys over both.

    Args:
        path: the defaults.
        overlay: a file that names only what differs.
        changes: `key=value` with dotted keys, for example `training.steps=100`.

    Raises:
        ConfigError: an unknown key (the nearest one is named) or a value out of range.
    """
    values, where = read_yaml(path), str(path)
    over: dict[str, Any] = {}
    if overlay is not None:
        over, where = read_yaml(overlay), str(overlay)
    for change in changes:
        over, where = _merge(over, _change(change)), "--set or an option"
    if "scene" in over and "data" not in over:
        # An image of one's own takes the place of the data set of the defaults.
        values.pop("data", None)
    return _validated(_merge(values, over), where)


def recipe_hash(recipe: Recipe) -> str:
    """Twelve hexadecimal digits that change with any key of a recipe."""
    return _hash(recipe)


def _validated(values: Mapping[str, Any], where: str) -> Recipe:
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        # An unknown key explains the missing one that follows from it.
        problems = sorted(error.errors(), key=lambda p: p["type"] != "extra_forbidden")
        raise ConfigError(_sentence(problems[0], where)) from error


def training_hash(recipe: Recipe) -> str:
    """Twelve hexadecimal digits that change with the keys that a network depends on."""
    return _hash(recipe, without={"inference", "outlines"})


def _hash(recipe: Recipe, without: set[str] | None = None) -> str:
    canonical = json.dumps(recipe.model_dump(mode="json", exclude=without), sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def _merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            merged[key] = _merge(below, value)
        else:
            merged[key] = value
    return merged


def _change(change: str) -> dict[str, Any]:
    key, equals, value = change.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"{change!r} changes nothing; write it as training.steps=100.")
    tree = parse_yaml(f"value: {value}", where=f"--set {change}")["value"]
    for part in reversed(key.strip().split(".")):
        tree = {part: tree}
    return dict(tree)


def _sentence(problem: ErrorDetails, where: str) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] != "extra_forbidden":
        reason = problem["msg"].removeprefix("Value error, ")
        return f"{where}: {key or 'the recipe'} = {problem['input']!r} cannot be used: {reason}."
    *parents, last = (str(part) for part in problem["loc"])
    return f"{where} has the unknown key {key!r}. {nearest(last, _keys(parents))}"


def _keys(parents: Sequence[str]) -> list[str]:
    """The keys of a section, found through the schema."""
    schema = Recipe.model_json_schema()
    node: dict[str, Any] = schema
    for name in parents:
        inner = node["properties"][name]
        options = [inner, *inner.get("anyOf", [])]
        reference = next((o["$ref"] for o in options if "$ref" in o), None)
        if reference is None:
            break
        node = schema["$defs"][reference.rsplit("/", 1)[-1]]
    return list(node["properties"])
