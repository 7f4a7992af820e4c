"""The steps of the recipe, each a dozen calls of the library.

A step takes what it needs from the folder of the run and leaves its result there:

    recipe.json                     the whole recipe as it was used
    model/model.safetensors         train
    map/classes.tif, probability.tif predict
    inventory.gpkg                  vectorize
    scores.json                     evaluate
    map.png                         draw
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from geoseg import __version__
from geoseg.chips import HeldOut, split_scene
from geoseg.config import recipe_hash, training_hash, with_absolute_paths
from geoseg.data import find_sources
from geoseg.errors import ConfigError
from geoseg.evaluation import score_map
from geoseg.files import require_intact, write_json
from geoseg.grids import gsd_m, raster_grid
from geoseg.inference import Prediction, open_input, predict_scene
from geoseg.inventory import write_geopackage
from geoseg.models import Checkpoint, choose_device, extrapolation, load_checkpoint, warning_of
from geoseg.report import draw_map, outline_style
from geoseg.scenes import bands_of, open_raster, open_scene
from geoseg.terminal import note, progress
from geoseg.training import StepReport, TrainingResult, gather, new_segmenter
from geoseg.training import train as train_network
from geoseg.vectorize import outline_scene

if TYPE_CHECKING:
    from pathlib import Path

    import geopandas as gpd
    from odc.geo.geobox import GeoBox
    from rasterio.windows import Window

    from geoseg.chips import Split
    from geoseg.config import Recipe
    from geoseg.data import LabelledScene, Sources
    from geoseg.evaluation import Scores

__all__ = ["RECIPE", "Run", "draw", "evaluate", "predict", "train", "vectorize"]

RECIPE = "recipe.json"


@dataclass(frozen=True)
class Run:
    """A recipe and the folder that its results go to."""

    recipe: Recipe
    base: Path  # relative paths of the recipe start here
    out: Path
    device: str

    @property
    def model(self) -> Path:
        """The checkpoint."""
        return self.out / "model" / "model.safetensors"

    @property
    def prediction(self) -> Prediction:
        """The maps."""
        return Prediction.within(self.out / "map", self.recipe.inference)

    @property
    def inventory(self) -> Path:
        """The outlines."""
        return self.out / "inventory.gpkg"

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
        return load_checkpoint(self.model)


def train(run: Run) -> TrainingResult:
    """Train a network on the ground that is not held out."""
    recipe, sources = run.recipe, run.sources
    material = gather(
        [source for source in sources.labelled if source.learned],
        sources.unlabelled,
        recipe,
        ground=run.kept_from_training,
        validation=run.validation,
    )
    for remark in (material.remark, warning_of(recipe.model)):
        if remark is not None:
            note(remark)
    _write_recipe(run)
    with progress("Training") as advance:

        def on_step(report: StepReport) -> None:
            score = "" if report.score is None else f", validation IoU {report.score:.3f}"
            advance(report.step, report.steps, f"loss {report.loss:.3f}{score}")

        return train_network(
            new_segmenter(material.spec, recipe),
            material.chips,
            recipe,
            folder=run.model.parent,
            device=choose_device(run.device),
            record={
                **run.provenance,
                "training_hash": training_hash(recipe),
                "split": recipe.split.model_dump(),
            },
            on_step=on_step,
        )


def predict(run: Run) -> Prediction:
    """Map the whole scene."""
    checkpoint, scene = run.checkpoint, run.source.scene
    spec = checkpoint.segmenter.spec
    with open_input(spec, scene, run.recipe.inference) as reader:
        bands, mapped_m = bands_of(scene, reader.bands), gsd_m(reader.grid)
    if (sentence := extrapolation(spec, bands, mapped_m)) is not None:
        note(sentence)
    with progress("Mapping") as advance:
        return predict_scene(
            checkpoint.segmenter,
            scene,
            run.recipe.inference,
            prediction=run.prediction,
            device=choose_device(run.device),
            tags={**run.provenance, "model": checkpoint.sha256},
            on_tile=lambda done, total: advance(done, total, ""),
        )


def vectorize(run: Run) -> gpd.GeoDataFrame:
    """Draw the outlines and write the inventory."""
    _require_map_of(run)
    require_intact(run.prediction.paths)
    checkpoint = run.checkpoint
    scheme = checkpoint.segmenter.spec.scheme
    outlines = outline_scene(
        run.prediction.classes,
        run.prediction.probability,
        scene=run.source.scene,
        scheme=scheme,
        settings=run.recipe.outlines,
    )
    outlines["model"] = checkpoint.sha256[:12]
    write_geopackage(
        run.inventory,
        {"outlines": outlines},
        styles={"outlines": outline_style(scheme)},
        metadata={**run.provenance, "model": checkpoint.sha256},
    )
    return outlines


def evaluate(run: Run) -> Scores:
    """Score the map on the held-out part of the scene."""
    _require_map_of(run)
    checkpoint = run.checkpoint
    if checkpoint.record.get("split") != run.recipe.split.model_dump():
        raise ConfigError(
            f"{run.model} was trained on another part of the scene than `split` says; score it "
            "with the split it was trained with, or train again."
        )
    scheme = checkpoint.segmenter.spec.scheme
    scores = score_map(
        run.prediction.classes,
        run.outlines,
        scheme,
        _held_out_of_map(run),
        dating=run.source.dating,
    )
    figures = {
        "mean_iou": scores.mean_iou,
        "pixels": scores.pixels,
        "classes": {name: asdict(score) for name, score in scores.classes.items()},
        "confusion": scores.confusion.tolist(),
        "model": checkpoint.sha256,
        **run.provenance,
    }
    write_json(run.out / "scores.json", figures)
    return scores


def draw(run: Run, outlines: gpd.GeoDataFrame) -> Path:
    """Draw the scene with its outlines as a picture."""
    picture = run.out / "map.png"
    draw_map(
        run.source.scene,
        outlines,
        run.checkpoint.segmenter.spec.scheme,
        path=picture,
        held_out=run.held_out,
    )
    return picture


def _write_recipe(run: Run) -> None:
    """Write the whole recipe beside the results, its paths made absolute."""
    recipe = with_absolute_paths(run.recipe, run.base)
    write_json(run.out / RECIPE, recipe.model_dump(mode="json", exclude_none=True))


def _held_out_of_map(run: Run) -> Window:
    """The held-out part in pixels of the map, which may be coarser than those of the scene."""
    with open_raster(run.prediction.classes) as raster:
        window = HeldOut.parts(run.grid, [run.held_out]).window(raster_grid(raster))
    if window is None:
        raise ConfigError(f"{run.prediction.classes} lies elsewhere than the part to score.")
    return window


def _require_map_of(run: Run) -> None:
    """Refuse a map of another scene: its outlines would be dated and placed by this one."""
    with open_raster(run.prediction.classes) as raster:
        mapped = raster.tags().get("scene")
    if mapped != run.source.scene.id:
        raise ConfigError(
            f"{run.prediction.classes} is a map of {mapped}, not of {run.source.scene.id}; "
            "name the scene it was made from, or run predict."
        )
