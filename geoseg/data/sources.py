"""From what a recipe names to a scene with its outlines."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, NamedTuple

from geoseg.data.labelled import (
    LabelledScene,
    fingerprint_of,
    labelled_everest,
    labelled_series,
    labelled_simulated,
)
from geoseg.data.registry import fetch
from geoseg.data.simulate import simulate
from geoseg.errors import ConfigError, nearest
from geoseg.labels import GLACIER, ClassScheme
from geoseg.scenes import (
    Asset,
    BrokenEntry,
    Scene,
    data_bands,
    open_raster,
    read_scene,
    stream_catalog,
)
from geoseg.sensors import find_sensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from geoseg.config import LabelSettings, Recipe, SceneSettings

    _Sets = dict[str, Callable[[Path], tuple[LabelledScene, ...]]]

__all__ = ["Sources", "describe_scene", "find_sources"]

_LEFT_OUT = "_"
_LANDSCAPE = "landscape"  # folder of what is simulated
_SIMULATED: _Sets = {
    "simulated": labelled_series,
    "simulated-scene": lambda folder: (labelled_simulated(folder),),
}
_KNOWN: _Sets = {"everest": lambda folder: (labelled_everest(folder),)}


class Sources(NamedTuple):
    """The scenes of a recipe."""

    mapped: LabelledScene  # that is mapped and scored
    series: tuple[
        Scene, ...
    ]  # that are mapped for the inventory, that one among them, oldest first
    listed: frozenset[str]  # ids of those that only a catalogue names: some may not be mapped
    labelled: tuple[LabelledScene, ...]  # that are learned from, and some only scored
    unlabelled: tuple[Scene, ...]  # that the network is to be adapted to
    dem: Path | None  # elevation of the place
    divides: Path | None  # glaciers of a reference inventory that split ice masses

    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that change with any byte of the images and the outlines."""
        prints = sorted({source.fingerprint() for source in (self.mapped, *self.labelled)})
        prints += sorted(fingerprint_of(scene) for scene in self.unlabelled)
        if len(prints) == 1:
            return prints[0]
        return hashlib.sha256("".join(prints).encode()).hexdigest()[:12]


def find_sources(
    recipe: Recipe, *, base: Path, work: Path, on_step: Callable[[str], None]
) -> Sources:
    """The scenes of a recipe; a data set is fetched or simulated when it is not there yet.

    Args:
        recipe: names a data set, or a scene and its labels; and what else to learn from.
        base: folder that relative paths of the recipe start from.
        work: folder for what is simulated.
        on_step: is told what is being fetched or made.

    Raises:
        ConfigError: neither or both are named, or a data set that is not known.
        SceneError: the scene cannot be read or lacks what the recipe must then say.
    """
    known = _of_data(recipe, work, on_step)
    mapped = _from_files(recipe, recipe.scene, base) if recipe.scene is not None else known[-1]
    further = tuple(
        _labelled(source.scene, source.labels, mapped.scheme, base, learned=source.learn)
        for source in recipe.sources
    )
    unlabelled = tuple(describe_scene(settings, base) for settings in recipe.adaptation.scenes)
    labelled = (*known, *further) or (mapped,)
    if mapped not in labelled and mapped.outlines is not None:
        labelled = (*labelled, replace(mapped, learned=False))
    _refuse_one_name_for_two([source.scene for source in labelled])
    catalogued = _catalogued(recipe, base, on_step)
    named = {mapped.scene.id, *(source.scene.id for source in labelled)}
    return Sources(
        mapped=mapped,
        series=_series(recipe, base, mapped, known, catalogued),
        listed=frozenset(scene.id for scene in catalogued) - named,
        labelled=labelled,
        unlabelled=unlabelled,
        dem=_dem(recipe, base, work, mapped),
        divides=_divides(recipe, base, work),
    )


def _series(
    recipe: Recipe,
    base: Path,
    mapped: LabelledScene,
    known: Sequence[LabelledScene],
    catalogued: Sequence[Scene],
) -> tuple[Scene, ...]:
    """The scenes to map, oldest first."""
    further = [describe_scene(settings, base) for settings in recipe.series]
    there = {mapped.scene.id, *(source.scene.id for source in known)}
    further += [scene for scene in catalogued if scene.id not in there]
    scenes = [mapped.scene, *(source.scene for source in known), *further]
    by_id = {scene.id: scene for scene in scenes}
    _refuse_one_name_for_two([mapped.scene, *further])
    return tuple(sorted(by_id.values(), key=lambda scene: (scene.start, scene.id)))


def _catalogued(recipe: Recipe, base: Path, on_step: Callable[[str], None]) -> list[Scene]:
    """The scenes of the catalogue that a recipe names."""
    found: list[Scene] = []
    for row in () if recipe.catalog is None else stream_catalog(base / recipe.catalog):
        if isinstance(row, BrokenEntry):
            on_step(f"{row.id} of {recipe.catalog} is left out: {row.reason}")
        else:
            found.append(row.scene)
    return found


def _dem(recipe: Recipe, base: Path, work: Path, mapped: LabelledScene) -> Path | None:
    if recipe.inventory.dem is not None:
        return base / recipe.inventory.dem
    if mapped.scene.dem is None and recipe.data in _SIMULATED:
        return work / _LANDSCAPE / "dem.tif"
    return mapped.scene.dem


def _divides(recipe: Recipe, base: Path, work: Path) -> Path | None:
    settings = recipe.inventory
    if settings.divides is None and settings.reference is None and recipe.data in _SIMULATED:
        return work / _LANDSCAPE / "reference.gpkg"
    return None if settings.divides is None else base / settings.divides


def _refuse_one_name_for_two(scenes: Sequence[Scene]) -> None:
    """Maps and scores are kept under the name of their scene."""
    seen: set[str] = set()
    for scene in scenes:
        if scene.id in seen:
            raise ConfigError(
                f"Two scenes are named {scene.id!r}; a raster is named after its file, so rename "
                "one of them."
            )
        seen.add(scene.id)


def _of_data(
    recipe: Recipe, work: Path, on_step: Callable[[str], None]
) -> tuple[LabelledScene, ...]:
    """The scenes of the data set that a recipe names; none where it names a scene of its own."""
    if recipe.data is None:
        if recipe.scene is None:
            raise ConfigError("The recipe names no image; give `data`, or `scene` and `labels`.")
        return ()
    of_its_own = {"a scene": recipe.scene, "labels": recipe.labels, "a scheme": recipe.scheme}
    for what, given in of_its_own.items():
        if given:
            raise ConfigError(
                f"The recipe names both data = {recipe.data!r}, which has its own, and {what}; "
                "keep one of them."
            )
    if recipe.data in _SIMULATED:
        folder = work / _LANDSCAPE
        simulate(folder, seed=recipe.seed, on_step=on_step)
        return _SIMULATED[recipe.data](folder)
    if recipe.data not in _KNOWN:
        hint = nearest(recipe.data, [*_KNOWN, *_SIMULATED])
        raise ConfigError(f"no labelled data set named {recipe.data!r}. {hint}")
    return _KNOWN[recipe.data](fetch(recipe.data, on_file=on_step))


def _from_files(recipe: Recipe, settings: SceneSettings, base: Path) -> LabelledScene:
    if recipe.labels is None:
        return LabelledScene(
            scene=describe_scene(settings, base),
            outlines=None,
            layer=None,
            class_of="",
            scheme=_scheme(recipe),
        )
    return _labelled(settings, recipe.labels, _scheme(recipe), base)


def _labelled(
    settings: SceneSettings,
    labels: LabelSettings,
    scheme: ClassScheme,
    base: Path,
    *,
    learned: bool = True,
) -> LabelledScene:
    return LabelledScene(
        scene=describe_scene(settings, base),
        outlines=base / labels.path,
        layer=labels.layer,
        inside=labels.inside,
        class_of=labels.class_of,
        scheme=scheme,
        learned=learned,
        date_of=labels.date_of,
        within_years=labels.within_years,
        moved_m_per_year=labels.moved_m_per_year,
    )


def _scheme(recipe: Recipe) -> ClassScheme:
    if not recipe.scheme:
        return GLACIER
    return ClassScheme.of({c.name: c.colour for c in recipe.scheme})


def describe_scene(settings: SceneSettings, base: Path) -> Scene:
    """The scene that the settings name, relative to a folder.

    Raises:
        ConfigError: a raster file, without what it does not say of itself.
        SceneError: it cannot be opened.
        SensorError: no such sensor or band.
    """
    path = base / settings.path
    dem = None if settings.dem is None else base / settings.dem
    if path.suffix == ".json":
        scene = read_scene(path)
        return scene if dem is None else replace(scene, dem=dem)
    if settings.sensor is None or settings.date is None:
        raise ConfigError(
            f"{path} does not say which sensor took it and when; give scene.sensor and scene.date "
            "(--sensor and --date)."
        )
    sensor = find_sensor(settings.sensor)
    bands = {
        sensor.band(name).common_name: Asset(path=path, index=i, nodata=settings.nodata)
        for name, i in _band_indexes(path, settings.bands)
        if name != _LEFT_OUT
    }
    for name, file in settings.more.items():
        asset = Asset(path=base / file, nodata=settings.nodata)
        bands[sensor.band(name).common_name] = asset
    day = datetime.combine(settings.date, time(), tzinfo=UTC)
    return Scene(
        id=path.stem,
        sensor_id=sensor.id,
        start=day,
        end=day + timedelta(days=1),
        bands=bands,
        dem=dem,
    )


def _band_indexes(path: Path, names: Sequence[str]) -> list[tuple[str, int]]:
    """The names of the bands of a file, each with its number in it; an alpha band needs none."""
    with open_raster(path) as raster:
        count, data = raster.count, data_bands(raster)
    # Programs tag the fourth band of a picture as alpha, near infrared or not: who names it, knows.
    if len(names) == count:
        return list(zip(names, range(1, count + 1), strict=True))
    if len(names) == len(data):
        return list(zip(names, data, strict=True))
    besides = "" if len(data) == count else ", one of them alpha that may be left unnamed"
    raise ConfigError(
        f"{path} has {count} bands{besides}, scene.bands names {len(names)}; name each in its "
        f"order, {_LEFT_OUT} for one to leave out."
    )
