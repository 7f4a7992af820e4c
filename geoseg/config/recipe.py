"""A recipe: a whole run, as a file that is checked before anything starts.

Every key has a default except what only the user knows: where the images and the outlines lie.
"""

from __future__ import annotations

import hashlib
import json
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar, overload

from pydantic import Field, ValidationError, model_validator

from geoseg.config.refusal import shorten, why_refused, why_unknown
from geoseg.config.sections import (
    AdaptationSettings,
    ChipSettings,
    FilmSettings,
    InferenceSettings,
    InventorySettings,
    LabelSettings,
    ModelSettings,
    OutlineSettings,
    SceneSettings,
    SchemeClass,
    Section,
    SourceSettings,
    SplitSettings,
    TrainingSettings,
)
from geoseg.config.strict_yaml import Source, parse_value, read_yaml
from geoseg.errors import ConfigError, GeosegError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

__all__ = ["RECIPE", "Recipe", "load_recipe", "recipe_hash", "training_hash", "with_absolute_paths"]

# What a run leaves in its folder, to go on with.
RECIPE = "recipe.json"

# Keys with a file in them.
_PATHS = frozenset({"path", "dem", "reference", "divides", "pack", "catalog"})
# What of a recipe no network depends on.
_AFTER_TRAINING = {"inference", "outlines", "inventory", "series", "catalog", "calibration", "maps"}


AnyRecipe = TypeVar("AnyRecipe", bound=Section)


class Recipe(Section):
    """A whole run. Give `data`, or `scene` and `labels`."""

    seed: int = Field(default=0, ge=0, lt=2**31)
    """Of all that is drawn at random: the same seed gives the same run."""
    data: str | None = None
    """A data set of `geoseg data list`; `simulated`: five dates and three sensors of a landscape;
    `simulated-scene`: the newest of them."""
    scene: SceneSettings | None = None
    """The image that is mapped and scored, and learned from when no sources are named."""
    labels: LabelSettings | None = None
    """Outlines on `scene`."""
    series: tuple[SceneSettings, ...] = ()
    """Images of the place of other dates, of any sensors, that are mapped for the inventory."""
    catalog: str | None = None
    """More of these: a table of scenes of `geoseg catalog`. One that cannot be mapped is told of
    and passed over."""
    sources: tuple[SourceSettings, ...] = ()
    """Images to learn from, of any sensors and dates."""
    scheme: tuple[SchemeClass, ...] = ()
    """Classes to map beside the ground; those of the data set when empty."""
    split: SplitSettings = SplitSettings()
    chips: ChipSettings = ChipSettings()
    film: FilmSettings = FilmSettings()
    adaptation: AdaptationSettings = AdaptationSettings()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    inference: InferenceSettings = InferenceSettings()
    outlines: OutlineSettings = OutlineSettings()
    inventory: InventorySettings = InventorySettings()

    @model_validator(mode="after")
    def _stem_fits(self) -> Recipe:
        asked = {
            "chips.band_dropout": self.chips.band_dropout,
            "film.share": self.film.share,
            "adaptation.methods": list(self.adaptation.methods),
        }
        if self.model.stem == "fixed" and any(asked.values()):
            keys = " and ".join(f"{key} = {value}" for key, value in asked.items() if value)
            raise ValueError(f"model.stem = fixed takes one set of bands; set it to any for {keys}")
        return self


@overload
def load_recipe(
    path: Path | None,
    *,
    of_data: Mapping[str, Path] | None = None,
    overlay: Path | None = None,
    options: Mapping[str, tuple[str, Any]] | None = None,
    changes: Sequence[str] = (),
    names: Mapping[str, Callable[[str], object]] | None = None,
) -> Recipe: ...
@overload
def load_recipe(
    path: Path | None,
    *,
    of_data: Mapping[str, Path] | None = None,
    overlay: Path | None = None,
    options: Mapping[str, tuple[str, Any]] | None = None,
    changes: Sequence[str] = (),
    names: Mapping[str, Callable[[str], object]] | None = None,
    kind: type[AnyRecipe],
) -> AnyRecipe: ...
def load_recipe(
    path: Path | None,
    *,
    of_data: Mapping[str, Path] | None = None,
    overlay: Path | None = None,
    options: Mapping[str, tuple[str, Any]] | None = None,
    changes: Sequence[str] = (),
    names: Mapping[str, Callable[[str], object]] | None = None,
    kind: type[Section] = Recipe,
) -> Section:
    """A recipe: defaults of a file, a user's file over them, single keys over both.

    Args:
        path: the defaults; those of the schema when None.
        of_data: by the name of a data set, a file of what suits it, over the defaults and under all
            that the user names.
        overlay: a file that names only what differs.
        options: of the command line, over the overlay: by the name of each, its dotted key and its
            value; one that is None was not given.
        changes: `key=value` with dotted keys, for example `training.steps=100`.
        names: by the dotted key of a name, what raises a GeosegError where nothing is called so.
            Asked once all else is right, as it may be slow.
        kind: of recipe, one with the keys `data` and, for images of one's own, `scene` or `pack`.

    Raises:
        ConfigError: an unknown key (the nearest one is named) or a value that cannot be used, with
            the file, line and column, or the option, that it was written in.
    """
    under = [] if path is None else [read_yaml(path)]
    over = [] if overlay is None else [read_yaml(overlay)]
    for name, (key, value) in (options or {}).items():
        if value is not None:
            over.append(Source(name=name, values=_tree(key, value)))
    over += map(_change, changes)
    defaults, named = _merged(under), _merged(over)
    own = any(named.get(key) is not None for key in ("scene", "pack"))
    if own and "data" not in named:
        # Images of one's own take the place of the data set of the defaults.
        under.append(Source(name="the defaults", values={"data": None}))
        defaults["data"] = None
    suited = (of_data or {}).get(str(named.get("data", defaults.get("data"))))
    if suited is not None:
        under.append(read_yaml(suited))
    sources = [*under, *over]
    recipe = _validated(sources, kind)
    for key, require in (names or {}).items():
        _require_name(recipe, key, require, sources)
    return recipe


def _require_name(
    recipe: Section, key: str, require: Callable[[str], object], sources: Sequence[Source]
) -> None:
    name = attrgetter(key)(recipe)
    try:
        require(name)
    except GeosegError as error:
        raise ConfigError(why_unknown(key, name, error, sources)) from error


def recipe_hash(recipe: Section) -> str:
    """Twelve hexadecimal digits that change with any key of a recipe."""
    return _hash(recipe)


def with_absolute_paths(recipe: AnyRecipe, base: Path) -> AnyRecipe:
    """The same recipe, good in any folder.

    Args:
        recipe: as it was read.
        base: folder that its relative paths start from.
    """

    def absolute(value: Any, key: str) -> Any:  # noqa: ANN401  a tree of JSON
        if isinstance(value, dict) and key == "more":
            return {band: str((base / path).absolute()) for band, path in value.items()}
        if isinstance(value, dict):
            return {k: absolute(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [absolute(item, key) for item in value]
        if key in _PATHS and value is not None:
            return str((base / value).absolute())
        return value

    return type(recipe).model_validate(absolute(recipe.model_dump(mode="json"), ""))


def _validated(sources: Sequence[Source], kind: type[Section]) -> Section:
    try:
        return kind.model_validate(_merged(sources))
    except ValidationError as error:
        # Without the cause: it shows the whole recipe.
        raise ConfigError(why_refused(error, sources, kind)) from None


def training_hash(recipe: Section) -> str:
    """Twelve hexadecimal digits that change with the keys that a network depends on."""
    return _hash(recipe, without=_AFTER_TRAINING & type(recipe).model_fields.keys())


def _hash(recipe: Section, without: set[str] | None = None) -> str:
    canonical = json.dumps(recipe.model_dump(mode="json", exclude=without), sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def _merged(sources: Sequence[Source]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for source in sources:
        values = _merge(values, source.values)
    return values


def _merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            merged[key] = _merge(below, value)
        else:
            merged[key] = value
    return merged


def _change(change: str) -> Source:
    key, equals, value = change.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"{change!r} changes nothing; write it as key=value, for example seed=1.")
    name = f"--set {shorten(change)}"
    return Source(name=name, values=_tree(key.strip(), parse_value(value, where=name)))


def _tree(key: str, value: Any) -> dict[str, Any]:  # noqa: ANN401  any value of a key
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)
