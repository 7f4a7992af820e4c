"""From what a recipe names to a scene with its outlines."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

from geoseg.data.labelled import LabelledScene, labelled_everest, labelled_simulated
from geoseg.data.registry import fetch
from geoseg.data.simulate import simulate
from geoseg.errors import ConfigError, nearest
from geoseg.labels import GLACIER, ClassScheme
from geoseg.scenes import Asset, Scene, open_raster, read_scene
from geoseg.sensors import find_sensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from geoseg.config import Recipe, SceneSettings

__all__ = ["find_source"]

_SIMULATED = "simulated"
_LEFT_OUT = "_"
_KNOWN = {"everest": labelled_everest}


def find_source(
    recipe: Recipe, *, base: Path, work: Path, on_step: Callable[[str], None]
) -> LabelledScene:
    """The labelled scene of a recipe; a data set is fetched or simulated when it is not there yet.

    Args:
        recipe: names a data set, or a scene and its labels.
        base: folder that relative paths of the recipe start from.
        work: folder for what is simulated.
        on_step: is told what is being fetched or made.

    Raises:
        ConfigError: neither or both are named, or a data set that is not known.
        SceneError: the scene cannot be read or lacks what the recipe must then say.
    """
    if recipe.scene is not None:
        return _from_files(recipe, recipe.scene, base)
    if recipe.data is None:
        raise ConfigError("The recipe names no image; give `data`, or `scene` and `labels`.")
    if recipe.data == _SIMULATED:
        folder = work / "landscape"
        simulate(folder, seed=recipe.seed, on_step=on_step)
        return labelled_simulated(folder)
    if recipe.data not in _KNOWN:
        hint = nearest(recipe.data, [*_KNOWN, _SIMULATED])
        raise ConfigError(f"no labelled data set named {recipe.data!r}. {hint}")
    return _KNOWN[recipe.data](fetch(recipe.data, on_file=on_step))


def _from_files(recipe: Recipe, settings: SceneSettings, base: Path) -> LabelledScene:
    if recipe.data is not None:
        raise ConfigError(
            f"The recipe names both data = {recipe.data!r} and a scene; keep one of them."
        )
    labels = recipe.labels
    return LabelledScene(
        scene=_scene(settings, base),
        outlines=None if labels is None else base / labels.path,
        layer=None if labels is None else labels.layer,
        class_of="" if labels is None else labels.class_of,
        scheme=_scheme(recipe),
    )


def _scheme(recipe: Recipe) -> ClassScheme:
    if not recipe.scheme:
        return GLACIER
    return ClassScheme.of({c.name: c.colour for c in recipe.scheme})


def _scene(settings: SceneSettings, base: Path) -> Scene:
    path = base / settings.path
    if path.suffix == ".json":
        return read_scene(path)
    if settings.sensor is None or settings.date is None:
        raise ConfigError(
            f"{path} does not say which sensor took it and when; give scene.sensor and scene.date."
        )
    sensor = find_sensor(settings.sensor)
    bands = {
        sensor.band(name).common_name: Asset(path=path, index=i, nodata=settings.nodata)
        for i, name in enumerate(_band_names(path, settings.bands), start=1)
        if name != _LEFT_OUT
    }
    for name, file in settings.more.items():
        asset = Asset(path=base / file, nodata=settings.nodata)
        bands[sensor.band(name).common_name] = asset
    day = datetime.combine(settings.date, time(), tzinfo=UTC)
    return Scene(
        id=path.stem, sensor_id=sensor.id, start=day, end=day + timedelta(days=1), bands=bands
    )


def _band_names(path: Path, names: Sequence[str]) -> Sequence[str]:
    with open_raster(path) as raster:
        count = raster.count
    if len(names) != count:
        raise ConfigError(
            f"{path} has {count} bands, scene.bands names {len(names)}; name each in its order, "
            f"{_LEFT_OUT} for one to leave out."
        )
    return names
