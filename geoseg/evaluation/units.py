"""Models trained and scored over the same folds of ground.

A unit is a model, a fold and a seed. It leaves a folder, and is done when that holds unit.json;
what is done is not done again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from geoseg.chips import make_folds
from geoseg.chips.source import UNSEEN
from geoseg.config import recipe_hash, training_hash
from geoseg.errors import ConfigError
from geoseg.evaluation.comparison import (
    BlockConfusion,
    Cost,
    UnitKey,
    UnitResult,
    read_unit,
    write_unit,
)
from geoseg.evaluation.memory import PeakMemory
from geoseg.files import plain_name
from geoseg.grids import gsd_m, part_of, raster_grid
from geoseg.inference import Prediction, predict_scene
from geoseg.labels import IGNORE
from geoseg.metrics import confusion_matrix
from geoseg.models import AnyInput, ModelSpec, build_segmenter, load_checkpoint
from geoseg.scenes import open_raster, open_scene, reading
from geoseg.training import gather, new_segmenter, teaches, train

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geoseg.chips import Folds
    from geoseg.config import Recipe
    from geoseg.data import LabelledScene, Sources
    from geoseg.evaluation.candidates import Candidate
    from geoseg.labels import ClassScheme
    from geoseg.models import Segmenter
    from geoseg.training import StepReport

__all__ = ["Plan", "Unit", "make_plan", "map_of", "run_unit"]

_BLOCKS_ACROSS = 8  # of the longer side of the area, where no width is given
_BUFFER = 0.125  # of a block, likewise
_MOST_BLOCKS_ACROSS = 1000
_TRUTH_SIDE = 1024  # pixels a side of the class map by which blocks are dealt
_STRIP_PX = 512
_STEPS = 32  # points a side: a straight side in one projection is bent in another


class Progress(Protocol):
    """Is told how far a unit is."""

    def __call__(self, done: int, total: int, what: str, /) -> None:
        """Take the steps done and of all."""


class Unit(NamedTuple):
    """One training of one model, scored on one fold."""

    candidate: Candidate
    fold: int
    seed: int

    @property
    def key(self) -> UnitKey:
        """Which unit of the comparison this is."""
        return UnitKey(self.candidate.name, self.fold, self.seed)

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.candidate.name}, fold {self.fold}, seed {self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that is to be compared."""

    recipe: Recipe
    sources: Sources
    folds: Folds
    units: tuple[Unit, ...]
    folder: Path
    fingerprint: str  # of data and folds

    @property
    def scheme(self) -> ClassScheme:
        """The classes of all maps."""
        return self.sources.mapped.scheme

    def place(self, unit: Unit) -> Path:
        """The folder of a unit: another one for each recipe, fold, or change of the data."""
        key = recipe_hash(self.recipe_of(unit))
        digest = hashlib.sha256(f"{self.fingerprint} {key}".encode()).hexdigest()[:8]
        # A loss is in the recipe, and may have been compared with others before, or with none.
        short = unit.candidate.name.partition("+")[0].replace("/", "-").replace(":", "-")
        return self.folder / "units" / f"{short}_fold{unit.fold}_seed{unit.seed}_{digest}"

    def recipe_of(self, unit: Unit) -> Recipe:
        """The recipe with the network, the loss and the seed of a unit."""
        model, loss = unit.candidate.model, unit.candidate.loss
        training = self.recipe.training.model_copy(update={"loss": loss} if loss else {})
        changed = {"model": model, "training": training, "seed": unit.seed}
        return self.recipe.model_copy(update=changed)

    def result(self, unit: Unit) -> UnitResult | None:
        """What a unit found; None while it is not done."""
        path = self.place(unit) / "unit.json"
        if not path.is_file():
            return None
        return replace(read_unit(path), model=unit.candidate.name)


def make_plan(
    recipe: Recipe,
    sources: Sources,
    candidates: Sequence[Candidate],
    *,
    folds: tuple[int, float | None, float | None],
    seeds: int,
    folder: Path,
) -> Plan:
    """Every model with every fold and seed.

    Args:
        recipe: all but the network, and the first seed.
        sources: their labelled scenes are all scored, those to learn from also learned from.
        candidates: the models.
        folds: how many, the width of a block and that of the buffer in metres; an eighth of the
            widest scene and of a block where None. The buffer only has to be as wide as the ground
            is alike: what is held out is masked in every chip, so no training pixel sees it,
            however far a network looks.
        seeds: trainings of each model on each fold.
        folder: where units leave what they found.

    Raises:
        ConfigError: lengths that do not fit, fewer blocks than folds, or nothing to learn from.
        GridError: the mapped scene is not in metres.
        ModelError: a network cannot be built.
    """
    if not any(source.learned for source in sources.labelled):
        raise ConfigError("No scene of the recipe may be learned from; set learn: true for one.")
    for candidate in candidates:
        _require_buildable(candidate, sources.mapped.scheme)
    area = _area(sources)
    count, block_m, buffer_m = folds
    block_m = _widest_m(sources) / _BLOCKS_ACROSS if block_m is None else block_m
    buffer_m = _BUFFER * block_m if buffer_m is None else buffer_m
    if (max(area.shape) * gsd_m(area) / block_m) > _MOST_BLOCKS_ACROSS:
        raise ConfigError(
            f"The scenes lie so far apart that over {_MOST_BLOCKS_ACROSS} blocks of {block_m:g} m "
            "lie between them; compare on scenes of one region, or make block_m larger."
        )
    truth = sources.labelled[-1].labels_on(area, margin_m=0).burn(area)
    made = make_folds(
        area, count=count, block_m=block_m, buffer_m=buffer_m, seed=recipe.seed, truth=truth
    )
    known = f"{sources.fingerprint()} {json.dumps(made.to_dict())}"
    units = tuple(
        Unit(candidate, fold, recipe.seed + number)
        for number in range(seeds)
        for fold in range(made.count)
        for candidate in candidates
    )
    return Plan(
        recipe=recipe,
        sources=sources,
        folds=made,
        units=units,
        folder=folder,
        fingerprint=hashlib.sha256(known.encode()).hexdigest(),
    )


def _require_buildable(candidate: Candidate, scheme: ClassScheme) -> None:
    """Refuse a wrong name before hours are spent on the others."""
    build_segmenter(
        ModelSpec(
            architecture=candidate.model.architecture,
            encoder=candidate.model.encoder,
            input=AnyInput(seen=(), gsd_m=(1, 1)),
            scheme=scheme,
            prior=(1.0,) * len(scheme.classes),
        )
    )


def run_unit(plan: Plan, unit: Unit, *, device: torch.device, on_step: Progress) -> UnitResult:
    """Train a model without a fold, map every labelled scene, and score it on that fold.

    Args:
        plan: what the unit is part of.
        unit: of the plan.
        device: for training and mapping.
        on_step: is told of every step and tile.

    Raises:
        GeosegError: the network cannot be built, or a file cannot be read.
    """
    place, recipe = plan.place(unit), plan.recipe_of(unit)
    memory = PeakMemory.begin(device)
    ground = partial(plan.folds.roles, held_out=unit.fold)
    learned_from = [s for s in plan.sources.labelled if s.learned and teaches(s, ground)]
    material = gather(learned_from, plan.sources.unlabelled, recipe, ground=ground)
    segmenter = new_segmenter(material.spec, recipe)
    weights = [p.numel() for p in segmenter.parameters()]
    learned = [p.numel() for p in segmenter.parameters() if p.requires_grad]
    clock = _Clock()

    def after_step(report: StepReport) -> None:
        clock.tick()
        on_step(report.step, report.steps, f"{unit.name}: loss {report.loss:.3f}")

    trained = train(
        segmenter,
        material.chips,
        recipe,
        folder=place / "model",
        device=device,
        record={"training_hash": training_hash(recipe), "data_hash": plan.fingerprint},
        on_step=after_step,
    )
    network = load_checkpoint(trained.model).segmenter
    scores: list[BlockConfusion] = []
    seconds = megapixels = 0.0
    for source in plan.sources.labelled:
        begun = time.perf_counter()
        prediction = _map(network, source, plan, unit, device, on_step)
        seconds += time.perf_counter() - begun
        found, mapped = _score(source, prediction.classes, plan, unit.fold)
        megapixels += mapped / 1e6
        scores += found
    result = UnitResult(
        model=unit.candidate.name,
        fold=unit.fold,
        seed=unit.seed,
        scores=tuple(scores),
        cost=Cost(
            train_seconds=clock.mean_s() * trained.steps,
            predict_seconds_per_mpx=seconds / megapixels,
            parameters=sum(weights),
            trained_parameters=sum(learned),
            peak_memory_mb=memory.peak_mb(),
            device=str(device),
        ),
    )
    write_unit(place / "unit.json", result)
    return result


def map_of(plan: Plan, unit: Unit, source: LabelledScene) -> Path:
    """The class map of a scene by a unit."""
    return plan.place(unit) / "maps" / plain_name(source.scene.id) / "classes.tif"


class _Clock:
    """Mean time of a step: a training that was killed is timed on what it still had to do."""

    def __init__(self) -> None:
        self._begun = time.perf_counter()
        self._steps = 0

    def tick(self) -> None:
        self._steps += 1
        self._last = time.perf_counter()

    def mean_s(self) -> float:
        return (self._last - self._begun) / self._steps if self._steps else float("nan")


def _map(
    network: Segmenter,
    source: LabelledScene,
    plan: Plan,
    unit: Unit,
    device: torch.device,
    on_step: Progress,
) -> Prediction:
    classes = map_of(plan, unit, source)
    return predict_scene(
        network,
        source.scene,
        plan.recipe.inference,
        prediction=Prediction(classes=classes),
        device=device,
        tags={"model": unit.name},
        on_tile=lambda done, of: on_step(done, of, f"{unit.name}: mapping {source.scene.id}"),
    )


def _score(
    source: LabelledScene, classes: Path, plan: Plan, fold: int
) -> tuple[list[BlockConfusion], int]:
    """Confusion of each block of the held-out fold, and how many pixels were mapped in all."""
    size, mapped = len(source.scheme.classes), 0
    found: defaultdict[int, Any] = defaultdict(lambda: np.zeros((size, size), np.int64))
    with open_raster(classes) as raster, reading(classes):
        grid = raster_grid(raster)
        labels = source.labels_on(grid, margin_m=0)
        for top in range(0, grid.shape.y, _STRIP_PX):
            window = Window(0, top, grid.shape.x, min(_STRIP_PX, grid.shape.y - top))
            strip = part_of(grid, window)
            said, truth = raster.read(1, window=window), labels.burn(strip)
            mapped += int((said != IGNORE).sum())
            blocks = plan.folds.block_of(strip)
            held = plan.folds.roles(strip, held_out=fold) == UNSEEN
            for block in np.unique(blocks[held]):
                here = held & (blocks == block)
                confusion = confusion_matrix(truth[here], said[here], size)
                found[int(block)] += confusion
    scene = source.scene
    return [
        BlockConfusion(
            scene=scene.id,
            sensor=scene.sensor_id,
            year=scene.start.year,
            gsd_m=gsd_m(grid),
            block=block,
            confusion=confusion,
        )
        for block, confusion in found.items()
        if confusion.sum()
    ], mapped


def _widest_m(sources: Sources) -> float:
    """The longer side of the largest labelled scene."""
    sides = []
    for source in sources.labelled:
        with open_scene(source.scene) as reader:
            sides.append(max(reader.grid.shape) * gsd_m(reader.grid))
    return max(sides)


def _area(sources: Sources) -> GeoBox:
    """A coarse grid of the ground of all labelled scenes, in the CRS of the mapped one."""
    with open_scene(sources.mapped.scene) as reader:
        grid = reader.grid
    assert grid.crs is not None
    extent = grid.extent
    for source in sources.labelled:
        with open_scene(source.scene) as reader:
            other = reader.grid.extent
        extent |= other.to_crs(grid.crs, resolution=other.boundingbox.span_x / _STEPS)
    box = extent.boundingbox
    return GeoBox.from_bbox(box, grid.crs, resolution=max(box.span_x, box.span_y) / _TRUTH_SIDE)
