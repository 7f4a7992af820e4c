"""From labelled scenes to the chips that a network learns from, and to the network itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from geoseg.chips import (
    LEARN,
    ChipSource,
    GridChips,
    MixedChips,
    RandomChips,
    band_statistics,
    class_pixels,
    in_view,
    part_to_learn,
)
from geoseg.errors import ConfigError
from geoseg.grids import gsd_m
from geoseg.labels import IGNORE
from geoseg.models import (
    AnyInput,
    FixedInput,
    ModelSpec,
    Segmenter,
    assumed_shares,
    build_segmenter,
    tune,
)
from geoseg.scenes import band_names, bands_of, describe_units, open_scene
from geoseg.sensors import find_sensor
from geoseg.training.loop import TrainingChips

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geoseg.chips import Ground, HeldOut
    from geoseg.config import Recipe
    from geoseg.data import LabelledScene
    from geoseg.scenes import Scene
    from geoseg.sensors import Band

__all__ = ["Material", "gather", "new_segmenter", "teaches"]

_COARSE_PX = 1024


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
        ConfigError: scenes of several sets of bands for a stem of fixed bands, film or a style that
            no scene can take, or no scene at all.
        LabelError: labels that do not lie on their scene.
        SceneError: a file that cannot be read, or nothing valid to learn from.
    """
    if not sources:
        raise ConfigError("No scene may be learned from; set learn: true for one of the sources.")
    _require_one_set(sources, recipe)
    _require_use(sources, unlabelled, recipe)
    parts = [_random(_source(source, recipe, ground), recipe) for source in sources]
    mixed = MixedChips(parts, seed=recipe.seed)
    others = [_random(_unlabelled(scene, ground), recipe) for scene in unlabelled]
    scheme = sources[0].scheme
    pixels = class_pixels(mixed, len(scheme.classes))
    return Material(
        chips=TrainingChips(
            mixed,
            () if validation is None else _validation(mixed, validation, recipe),
            MixedChips(others, seed=recipe.seed + 1) if others else None,
            pixels,
        ),
        spec=ModelSpec(
            architecture=recipe.model.architecture,
            encoder=recipe.model.encoder,
            input=_any(mixed, others, recipe) if recipe.model.stem == "any" else _fixed(mixed),
            scheme=scheme,
            prior=assumed_shares(recipe.training.loss, pixels),
        ),
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
    """The held ground in chips side by side, in every scene that shows it.

    At the finest pixel that is trained at, as scenes are mapped.
    """
    chips = []
    finest_m = min(part.gsd_m[0] for part in mixed.parts)
    for part in mixed.parts:
        source = part.source
        window = held.window(source.grid)
        if window is not None:
            shown = ChipSource(source.scene, source.labels, band_names(source.scene))
            coarser = max(1, round(finest_m / gsd_m(source.grid)))
            chips.append(GridChips(shown, window, recipe.chips, coarser=coarser))
    return chips


def _fixed(mixed: MixedChips) -> FixedInput:
    statistics = band_statistics(mixed)
    names = tuple(band.common_name for band in mixed.parts[0].source.bands)
    return FixedInput(bands=names, mean=statistics.mean, std=statistics.std)


def _any(mixed: MixedChips, others: Sequence[RandomChips], recipe: Recipe) -> AnyInput:
    taught = mixed.parts
    if "self_training" in recipe.adaptation.methods:
        taught = (*taught, *others)
    seen: list[Band] = [band for part in taught for band in part.source.bands]
    if recipe.film.share > 0:
        seen += [band for camera in recipe.film.cameras for band in find_sensor(camera).bands]
    ranges = [part.gsd_m for part in mixed.parts]
    finest, coarsest = min(low for low, _ in ranges), max(high for _, high in ranges)
    return AnyInput(seen=tuple(dict.fromkeys(seen)), gsd_m=(finest, coarsest))


def _require_use(
    sources: Sequence[LabelledScene], unlabelled: Sequence[Scene], recipe: Recipe
) -> None:
    """Refuse film and styles that would change nothing."""
    bands = {bands_of(source.scene, band_names(source.scene)) for source in sources}
    films: set[tuple[Band, ...]] = set()
    if recipe.film.share > 0:
        cameras = [find_sensor(name) for name in recipe.film.cameras]
        films = {camera.bands for camera in cameras for own in bands if in_view(own, camera)}
        if not films:
            raise ConfigError(
                "film.share makes film of scenes with a green or red band, and no source has one; "
                "set it to 0 or add such a source."
            )
    styles = {"histogram", "fourier"} & set(recipe.adaptation.methods)
    targets = {bands_of(scene, band_names(scene)) for scene in unlabelled}
    if styles and not targets & (bands | films):
        raise ConfigError(
            f"adaptation.methods names {' and '.join(sorted(styles))}, and no labelled scene has "
            "the bands of a scene to adapt to; for film name its camera in film.cameras."
        )


def teaches(source: LabelledScene, ground: Ground) -> bool:
    """Whether some outline of a scene lies on ground that may be learned from."""
    with open_scene(source.scene) as reader:
        grid = reader.grid
    coarse = grid.zoom_to((min(grid.shape.y, _COARSE_PX), min(grid.shape.x, _COARSE_PX)))
    label = source.labels_on(coarse, margin_m=0).burn(coarse)
    learned = ground(coarse) == LEARN
    return bool((learned & (label > 0) & (label != IGNORE)).any())


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
