"""A recipe, the folder that its results go to, and what the steps of the recipe share."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from geoseg import __version__
from geoseg.archive import Folders
from geoseg.chips import HeldOut, split_scene
from geoseg.config import OutlineSettings, recipe_hash
from geoseg.data import find_sources
from geoseg.errors import ConfigError, SceneError
from geoseg.inference import Prediction, read_origin
from geoseg.models import Checkpoint, shared_checkpoints
from geoseg.scale import Engine
from geoseg.scenes import open_scene, scene_shift_m
from geoseg.sensors import SensorKind, find_sensor
from geoseg.terminal import note
from geoseg.training import Fleet
from geoseg.vectorize import outline_raster

if TYPE_CHECKING:
    import geopandas as gpd
    from odc.geo.geobox import GeoBox
    from rasterio.windows import Window

    from geoseg.chips import Split
    from geoseg.config import Recipe
    from geoseg.data import LabelledScene, Sources
    from geoseg.scenes import Scene, Shift

__all__ = ["Run"]

_ANYTHING = OutlineSettings()
_OPTICAL = (SensorKind.MULTISPECTRAL, SensorKind.PANCHROMATIC, SensorKind.FILM)


@dataclass(frozen=True)
class Run:
    """A recipe and the folder that its results go to."""

    recipe: Recipe
    base: Path  # relative paths of the recipe start here
    out: Path
    device: str
    engine: Engine = field(default_factory=Engine)
    fleet: Fleet = field(default_factory=Fleet)

    @property
    def model(self) -> Path:
        """The checkpoint."""
        return self.out / "model" / "model.safetensors"

    @property
    def prediction(self) -> Prediction:
        """The maps of the scene that is scored."""
        return self.prediction_of(self.source.scene)

    def prediction_of(self, scene: Scene) -> Prediction:
        """The maps of a scene, as the network made them."""
        if scene.id == self.source.scene.id:
            return Prediction.within(self.out / "map", self.recipe.inference)
        return Prediction.within(self.out / "maps" / self.names[scene.id], self.recipe.inference)

    def consistent_of(self, scene: Scene) -> Prediction:
        """The maps of a scene, made consistent with those of other dates."""
        folder = self.out / "consistent" / self.names[scene.id]
        chances = folder / "probability.tif" if self.recipe.inference.probability else None
        return Prediction(classes=folder / "classes.tif", probability=chances)

    def outlines_of(self, scene: Scene) -> Path:
        """The outlines of a scene."""
        return self.out / "outlines" / f"{self.names[scene.id]}.gpkg"

    @property
    def inventory(self) -> Path:
        """The outlines of all dates, linked."""
        return self.out / "inventory.gpkg"

    @cached_property
    def names(self) -> dict[str, str]:
        """The name in this folder of what is made of each scene, by its id."""
        folders = Folders()
        return {scene.id: folders.of(scene) for scene in self.sources.series}

    @property
    def series(self) -> tuple[Scene, ...]:
        """The scenes that are mapped, oldest first."""
        if self.recipe.catalog is None:
            return self.sources.series
        return tuple(
            scene
            for scene in self.sources.series
            if scene.id not in self.sources.listed or self.prediction_of(scene).classes.is_file()
        )

    @cached_property
    def shifts(self) -> dict[str, Shift]:
        """How each scene lies to the one that is scored, by its id, where it could be measured."""
        base = self.source.scene
        others = [s for s in self.series if s.id != base.id and _is_optical(s)]
        if not others or not _is_optical(base):
            return {}
        unstable = outline_raster(
            self.prediction.classes, read_origin(self.prediction.classes).scheme, _ANYTHING
        )
        found = {}
        for scene in others:
            try:
                shift = scene_shift_m(base, scene, unstable=unstable)
            except SceneError as error:
                note(f"{scene.id}: how it lies could not be measured on the image: {error}")
                continue
            if shift is not None:
                found[scene.id] = shift
        return found

    @property
    def smoothed(self) -> bool:
        """Whether maps of several dates are made consistent."""
        return self.recipe.inventory.consistent and len(self.series) > 1

    @cached_property
    def sources(self) -> Sources:
        """The scenes; fetched or simulated on first use."""
        return find_sources(self.recipe, base=self.base, work=self.out, on_step=note)

    @property
    def source(self) -> LabelledScene:
        """The scene that is mapped, and where its outlines lie."""
        return self.sources.mapped

    @cached_property
    def grid(self) -> GeoBox:
        """The grid of the scene."""
        with open_scene(self.source.scene) as reader:
            return reader.grid

    @cached_property
    def split(self) -> Split:
        """The parts of the scene."""
        return split_scene(self.grid, self.recipe.split)

    @property
    def held_out(self) -> Window:
        """The part of the scene that is scored."""
        if self.split.test is None:
            raise ConfigError("Nothing is held out to score; lower split.train_share.")
        return self.split.test

    @property
    def kept_from_training(self) -> HeldOut | None:
        """The ground that no training sees, in whatever scene it lies."""
        # A scene without outlines is not scored, so that nothing of it has to be held out.
        scored = None if self.source.outlines is None else self.split.test
        parts = [part for part in (self.split.validation, scored) if part is not None]
        return HeldOut.parts(self.grid, parts) if parts else None

    @property
    def validation(self) -> HeldOut | None:
        """The ground that the best weights are chosen on."""
        part = self.split.validation
        return None if part is None else HeldOut.parts(self.grid, [part])

    @cached_property
    def outlines(self) -> gpd.GeoDataFrame:
        """The outlines to learn from and to be scored against."""
        return self.source.read_outlines()

    @cached_property
    def provenance(self) -> dict[str, str]:
        """What every result names: package, recipe and data, and the number of threads."""
        return {
            "geoseg": __version__,
            "recipe_hash": recipe_hash(self.recipe),
            "data_hash": self.sources.fingerprint(),
            "scene": self.source.scene.id,
            "threads": str(torch.get_num_threads()),
        }

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The trained network, read on first use: after the training, where there is one."""
        return shared_checkpoints((self.model,))[0]


def _is_optical(scene: Scene) -> bool:
    return find_sensor(scene.sensor_id).kind in _OPTICAL
