"""From labelled scenes to the chips that a network learns from, and to the network itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from geoseg.chips import (
    ChipSource,
    GridChips,
    MixedChips,
    RandomChips,
    band_statistics,
    class_shares,
    part_to_learn,
)
from geoseg.errors import ConfigError
from geoseg.grids import gsd_m
from geoseg.models import AnyInput, FixedInput, ModelSpec, Segmenter, build_segmenter, tune
from geoseg.scenes import band_names, describe_units, open_scene
from geoseg.sensors import find_sensor
from geoseg.training.loop import TrainingChips

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geoseg.chips import Ground, HeldOut
    from geoseg.config import Recipe
    from geoseg.data import LabelledScene
    from geoseg.labels import ClassScheme
    from geoseg.scenes import Scene
    from geoseg.sensors import Band

__all__ = ["Material", "gather", "new_segmenter"]


class Material(NamedTuple):
    """What a network is made of and trained on."""

    chips: TrainingChips
    spec: ModelSpec
    remark: str | None  # on the units of the scenes, where they differ


def gather(
    sources: Sequence[LabelledScene],
    unlabelled: Sequence[Scene],
    recipe: Recipe,
    *,
    ground: Ground | None = None,
    validation: HeldOut | None = None,
) -> Material:
    """The chips of some labelled scenes and the network that takes them.

    Args:
        sources: to learn from, of one class scheme.
        unlabelled: to adapt to.
        recipe: how chips are cut and which network takes them.
        ground: what may be learned from, in all scenes alike; everything when None.
        validation: ground to choose the best weights on; the last ones are kept when None.

    Raises:
        ConfigError: scenes of several sets of bands for a stem of fixed bands.
        LabelError: labels that do not lie on their scene.
        SceneError: a file that cannot be read, or nothing valid to learn from.
    """
    _require_one_set(sources, recipe)
    parts = [_random(_source(source, recipe, ground), recipe) for source in sources]
    mixed = MixedChips(parts, seed=recipe.seed)
    others = [_random(_unlabelled(scene, ground), recipe) for scene in unlabelled]
    scheme = sources[0].scheme
    return Material(
        chips=TrainingChips(
            mixed,
            () if validation is None else _validation(mixed, validation, recipe),
            MixedChips(others, seed=recipe.seed + 1) if others else None,
        ),
        spec=_spec(mixed, others, scheme, recipe),
        remark=describe_units({p.source.scene.id: p.source.palette for p in (*parts, *others)}),
    )


def new_segmenter(spec: ModelSpec, recipe: Recipe) -> Segmenter:
    """The untrained network of a recipe: the same weights for the same seed."""
    torch.manual_seed(recipe.seed)
    segmenter = build_segmenter(spec, pretrained=recipe.model.pretrained)
    return tune(segmenter, recipe.model.tuning)


def _source(source: LabelledScene, recipe: Recipe, ground: Ground | None) -> ChipSource:
    with open_scene(source.scene) as reader:
        grid = reader.grid
    labels = source.labels_on(grid, margin_m=recipe.chips.margin_px * gsd_m(grid))
    return ChipSource(source.scene, labels, band_names(source.scene), ground=ground)


def _unlabelled(scene: Scene, ground: Ground | None) -> ChipSource:
    return ChipSource(scene, None, band_names(scene), ground=ground)


def _random(source: ChipSource, recipe: Recipe) -> RandomChips:
    return RandomChips(source, part_to_learn(source), recipe.chips, seed=recipe.seed)


def _validation(mixed: MixedChips, held: HeldOut, recipe: Recipe) -> list[GridChips]:
    """The held ground in chips side by side, in every scene that shows it."""
    chips = []
    for part in mixed.parts:
        source = part.source
        window = held.window(source.grid)
        if window is not None:
            shown = ChipSource(source.scene, source.labels, band_names(source.scene))
            chips.append(GridChips(shown, window, recipe.chips))
    return chips


def _spec(
    mixed: MixedChips, others: Sequence[RandomChips], scheme: ClassScheme, recipe: Recipe
) -> ModelSpec:
    return ModelSpec(
        architecture=recipe.model.architecture,
        encoder=recipe.model.encoder,
        input=_any(mixed, others, recipe) if recipe.model.stem == "any" else _fixed(mixed),
        scheme=scheme,
        prior=class_shares(mixed, len(scheme.classes)),
    )


def _fixed(mixed: MixedChips) -> FixedInput:
    statistics = band_statistics(mixed)
    names = tuple(band.common_name for band in mixed.parts[0].source.bands)
    return FixedInput(bands=names, mean=statistics.mean, std=statistics.std)


def _any(mixed: MixedChips, others: Sequence[RandomChips], recipe: Recipe) -> AnyInput:
    seen: list[Band] = [band for part in (*mixed.parts, *others) for band in part.source.bands]
    if recipe.film.share > 0:
        seen += [band for camera in recipe.film.cameras for band in find_sensor(camera).bands]
    ranges = [part.gsd_m for part in mixed.parts]
    finest, coarsest = min(low for low, _ in ranges), max(high for _, high in ranges)
    return AnyInput(seen=tuple(dict.fromkeys(seen)), gsd_m=(finest, coarsest))


def _require_one_set(sources: Sequence[LabelledScene], recipe: Recipe) -> None:
    if recipe.model.stem == "any":
        return
    first = sources[0].scene
    for source in sources[1:]:
        scene = source.scene
        if band_names(scene) != band_names(first) or scene.sensor_id != first.sensor_id:
            raise ConfigError(
                f"scenes {first.id} and {scene.id} are of other bands or sensors, and "
                "model.stem = fixed takes one set; set model.stem to any."
            )
