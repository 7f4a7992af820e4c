"""The steps of the recipe, each a dozen calls of the library.

A step takes what it needs from the folder of the run and leaves its result there:

    recipe.json                      the whole recipe as it was used
    train.sbatch                     submit
    model/model.safetensors          train
    map/, maps/SCENE/                predict: classes.tif, probability.tif, of the scene, others
    consistent/SCENE/                smooth: the same, made consistent with each other
    outlines/SCENE.gpkg              vectorize
    inventory.gpkg                   track
    report.html                      report
    scores.json                      evaluate
    map.png                          draw
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from geoseg.archive import Telling
from geoseg.chips import HeldOut
from geoseg.config import RECIPE, training_hash, with_absolute_paths
from geoseg.errors import ConfigError, SceneError
from geoseg.evaluation import score_map
from geoseg.files import require_intact, write_json, writing
from geoseg.grids import gsd_m, raster_grid
from geoseg.inference import MapJob, Prediction, read_origin
from geoseg.inventory import (
    Interval,
    area_errors,
    decimal_year,
    hypsometry,
    needs_correction,
    read_drawn,
)
from geoseg.inventory.consistency import MapOfSurvey, moved_back_by, write_consistent
from geoseg.mapping import map_and_tell
from geoseg.models import choose_device, warning_of
from geoseg.mosaic import mosaic_grid
from geoseg.outlining import outline_map
from geoseg.report import draw_map, write_report
from geoseg.scenes import open_raster
from geoseg.terminal import note, progress
from geoseg.tracking import Given, TrackOptions, track_files
from geoseg.training import (
    Devices,
    Material,
    StepReport,
    TrainingResult,
    compile_problem,
    gather,
    job_script,
    new_segmenter,
    require_shares,
    run_ranks,
    submit_job,
)
from geoseg.training import train as train_network

from .run import Run  # relative: mypy knows no geoseg_recipes

if TYPE_CHECKING:
    import geopandas as gpd
    from odc.geo.geobox import GeoBox
    from rasterio.windows import Window

    from geoseg.data import LabelledScene
    from geoseg.evaluation import Scores
    from geoseg.inference import Mapped
    from geoseg.inventory import Inventory
    from geoseg.scenes import Scene, Shift

__all__ = [
    "draw",
    "evaluate",
    "predict",
    "report",
    "require_one_job",
    "smooth",
    "submit",
    "track",
    "train",
    "vectorize",
]


def train(run: Run) -> TrainingResult:
    """Train a network on the ground that is not held out, on one device or several.

    The processes of several devices train; this one then finds the training done.
    """
    recipe, fleet = run.recipe, run.fleet
    material = _material(run)
    device = Devices(kind=choose_device(run.device))
    if fleet.is_rank:
        kind = torch.device(device.kind.type)
        device = Devices(kind=kind, each=fleet.devices, nodes=fleet.nodes)
    else:
        _write_recipe(run)
    if fleet.starts_ranks:
        fleet.require_here(device.kind)
        logs = run.model.parent / "ranks"
        run_ranks(_rank_command(run), devices=fleet.devices, logs=logs)
    with progress("Training") as advance:

        def on_step(report: StepReport) -> None:
            score = "" if report.score is None else f", validation IoU {report.score:.3f}"
            advance(report.step, report.steps, f"loss {report.loss:.3f}{score}")

        return train_network(
            new_segmenter(material.spec, recipe),
            material.chips,
            recipe,
            folder=run.model.parent,
            device=device,
            record={
                **run.provenance,
                "training_hash": training_hash(recipe),
                "split": recipe.split.model_dump(),
            },
            on_step=on_step,
        )


def require_one_job(executor: str | None) -> None:
    """Refuse others that map beside a job that trains.

    Raises:
        ConfigError: there are.
    """
    if executor not in {None, "serial"}:
        raise ConfigError(
            f"--launcher slurm maps in the job that trains, and --executor {executor} does not; "
            "leave --executor and --workers out, or train first, then run with the executor alone."
        )


def submit(run: Run, *, rest: bool) -> tuple[Path, str | None]:
    """Have the network trained by a job of Slurm; what cannot be trained is not submitted.

    Returns:
        The script of the job and its number, None of a dry run.
    """
    require_one_job(run.engine.kind)
    _material(run)
    _write_recipe(run)
    rest_of_it = [*_this_run(run, "run"), "--device", run.device] if rest else None
    script = run.out / "train.sbatch"
    text = job_script(
        _rank_command(run),
        rest_of_it,
        run.fleet,
        gpus=run.device != "cpu",
        log=run.out.absolute() / "train-%j.log",
    )
    with writing(script) as aside:
        aside.write_text(text)
    return script, None if run.fleet.dry_run else submit_job(script)


def _material(run: Run) -> Material:
    """What the network is trained on."""
    recipe, sources = run.recipe, run.sources
    require_shares(recipe, run.fleet.count)
    material = gather(
        [source for source in sources.labelled if source.learned],
        sources.unlabelled,
        recipe,
        ground=run.kept_from_training,
        validation=run.validation,
    )
    if not run.fleet.is_rank:
        for remark in (material.remark, warning_of(recipe.model), _remark_on_compiling(run)):
            if remark is not None:
                note(remark)
    return material


def _remark_on_compiling(run: Run) -> str | None:
    if not run.recipe.training.compile or run.fleet.job is not None:
        return None
    return compile_problem(choose_device(run.device))


def _rank_command(run: Run) -> list[str]:
    """What a process is started with that trains with others."""
    return [*_this_run(run, "train"), "--device", run.device, *run.fleet.options]


def _this_run(run: Run, verb: str) -> list[str]:
    """A step of this run, told nothing but its folder."""
    geoseg = Path(sys.executable).with_name("geoseg")
    return [str(geoseg), "glacier-inventory", verb, "--out", str(run.out.absolute())]


def predict(run: Run) -> list[Prediction]:
    """Map all scenes, each as a whole.

    Raises:
        SceneError: one cannot be mapped that the recipe names by itself.
    """
    model, provenance = run.checkpoint.sha256, run.provenance  # what lacks them is not begun
    jobs = (
        MapJob(
            models=(run.model,),
            sha256=(model,),
            scene=scene,
            settings=run.recipe.inference,
            folder=run.prediction_of(scene).classes.parent,
            device=run.device,
            tags=provenance,
        )
        for scene in run.sources.series
    )
    found: list[Prediction] = []
    failed: list[str] = []

    def keep(mapped: Mapped) -> None:
        if mapped.prediction is not None:
            found.append(mapped.prediction)
        elif mapped.scene not in run.sources.listed:
            failed.append(mapped.error)

    count = len(run.sources.series)
    map_and_tell(jobs, run.out, run.engine, Telling(count, keep, alone=count == 1))
    if failed:
        raise SceneError(failed[0])
    return found


def smooth(run: Run) -> list[Prediction]:
    """Make the maps of several dates consistent with each other, beside the maps as they are."""
    note("Measuring how the scenes lie to each other")
    maps = []
    for scene in run.series:
        _require_map_of(run, scene)
        prediction = run.prediction_of(scene)
        require_intact(prediction.paths)
        year = decimal_year(scene.start + (scene.end - scene.start) / 2)
        moved_back = _correction(run, scene) if run.recipe.inventory.align else None
        maps.append(
            MapOfSurvey(prediction=prediction, year=year, name=scene.id, moved_back=moved_back)
        )
    with progress("Making maps consistent") as advance:
        return write_consistent(
            maps,
            [run.consistent_of(scene) for scene in run.series],
            grid=mosaic_grid([_grid_of(one.prediction.classes) for one in maps]),
            on_strip=lambda done, total: advance(done, total, ""),
        )


def vectorize(run: Run) -> list[gpd.GeoDataFrame]:
    """Draw the outlines of each date."""
    found = []
    for scene in run.series:
        _require_map_of(run, scene)
        maps = run.consistent_of(scene) if run.smoothed else run.prediction_of(scene)
        found.append(
            outline_map(
                maps.classes.parent,
                run.recipe.outlines,
                run.outlines_of(scene),
                scene=scene,
                dem=run.sources.dem,
            )
        )
    return found


def track(run: Run) -> Inventory:
    """Link the outlines of all dates and write the inventory."""
    settings, base = run.recipe.inventory, run.base
    options = TrackOptions(
        reference=None if settings.reference is None else base / settings.reference,
        divides=run.sources.divides,
        dem=run.sources.dem,
        correct_shift=settings.align,
        most_shift_m=settings.most_shift_m,
        lies_right=str(_interval(run.source.scene)),
        title=settings.title,
        licence=settings.licence,
        provenance={**run.provenance, "model": run.checkpoint.sha256},
    )
    given = [_given(run, scene) for scene in run.series]
    return track_files(given, options, run.inventory)


def _given(run: Run, scene: Scene) -> Given:
    """The outlines of a scene, and how they lie."""
    path, moved = run.outlines_of(scene), None
    if run.smoothed:
        moved = moved_back_by(read_origin(run.consistent_of(scene).classes))
    shift = run.shifts.get(scene.id) if moved is None else moved
    return Given(
        path,
        when=_interval(scene),
        shift=shift,
        corrected=moved is not None,
        errors=_errors(run, scene),
    )


def _errors(run: Run, scene: Scene) -> dict[str, float]:
    """How far areas were off on the ground that no training saw; nothing where nobody drew it."""
    for labelled in run.sources.labelled:
        if labelled.scene.id == scene.id and labelled.outlines is not None:
            maps = run.consistent_of(scene) if run.smoothed else run.prediction_of(scene)
            if not _holds_what_is_held_out(run, maps.classes):
                return {}
            names = run.checkpoint.segmenter.spec.scheme.names
            return area_errors(_scores(run, labelled, maps).confusion, names)
    return {}


def _interval(scene: Scene) -> Interval:
    return Interval(scene.start, scene.end)


def _correction(run: Run, scene: Scene) -> Shift | None:
    """What the maps of a scene are moved back by; None where it lies well, or nobody knows."""
    shift = run.shifts.get(scene.id)
    pixel_m = max(gsd_m(_grid_of(run.prediction_of(s).classes)) for s in (scene, run.source.scene))
    if shift is None or not needs_correction(shift, pixel_m=pixel_m):
        return None
    note(
        f"{scene.id} lies {shift.length_m:.0f} m off {run.source.scene.id} ({shift.x_m:+.1f} m in "
        f"x, {shift.y_m:+.1f} m in y, each to {shift.unc_m:.1f} m): its maps are moved back"
    )
    return shift


def report(run: Run, inventory: Inventory) -> Path:
    """Write a page of the inventory."""
    page = run.out / "report.html"
    bands = None if run.sources.dem is None else hypsometry(inventory.outlines, run.sources.dem)
    write_report(inventory, page, hypsometry=bands)
    return page


def evaluate(run: Run) -> Scores:
    """Score the map on the held-out part of the scene."""
    _require_map_of(run, run.source.scene)
    checkpoint = run.checkpoint
    if checkpoint.record.get("split") != run.recipe.split.model_dump():
        raise ConfigError(
            f"{run.model} was trained on another part of the scene than `split` says; score it "
            "with the split it was trained with, or train again."
        )
    scores = _scores(run, run.source, run.prediction)
    figures = {
        "mean_iou": scores.mean_iou,
        "pixels": scores.pixels,
        "classes": {name: asdict(score) for name, score in scores.classes.items()},
        "confusion": scores.confusion.tolist(),
        "dates": _scores_by_date(run),
        "model": checkpoint.sha256,
        **run.provenance,
    }
    write_json(run.out / "scores.json", figures)
    return scores


def _scores_by_date(run: Run) -> dict[str, dict[str, float]]:
    """Mean IoU of every date that has outlines, as it was mapped and as it was made consistent."""
    found = {}
    mapped = {scene.id for scene in run.series}
    for labelled in run.sources.labelled:
        if labelled.scene.id not in mapped or labelled.outlines is None:
            continue
        if not _holds_what_is_held_out(run, run.prediction_of(labelled.scene).classes):
            continue
        maps = {"mapped": run.prediction_of(labelled.scene)}
        if run.smoothed:
            maps["consistent"] = run.consistent_of(labelled.scene)
        found[labelled.scene.id] = {
            name: _scores(run, labelled, prediction).mean_iou
            for name, prediction in maps.items()
            if prediction.classes.is_file()
        }
    return found


def _scores(run: Run, labelled: LabelledScene, prediction: Prediction) -> Scores:
    """Of a map, over the ground that no training saw."""
    return score_map(
        prediction.classes,
        labelled.read_outlines(),
        run.checkpoint.segmenter.spec.scheme,
        _held_out_of_map(run, prediction.classes),
        dating=labelled.dating,
        frames=labelled.read_frames(),
    )


def draw(run: Run) -> Path:
    """Draw the scene with its outlines as a picture."""
    picture = run.out / "map.png"
    draw_map(
        run.source.scene,
        read_drawn(run.outlines_of(run.source.scene), when=_interval(run.source.scene)).outlines,
        run.checkpoint.segmenter.spec.scheme,
        path=picture,
        held_out=run.held_out,
    )
    return picture


def _grid_of(classes: Path) -> GeoBox:
    """The pixels of a map."""
    with open_raster(classes) as raster:
        return raster_grid(raster)


def _write_recipe(run: Run) -> None:
    """Write the whole recipe beside the results, its paths made absolute."""
    recipe = with_absolute_paths(run.recipe, run.base)
    write_json(run.out / RECIPE, recipe.model_dump(mode="json", exclude_none=True))


def _holds_what_is_held_out(run: Run, classes: Path) -> bool:
    """Whether there is ground on a map that no training saw."""
    test = run.split.test
    return (
        test is not None and HeldOut.parts(run.grid, [test]).window(_grid_of(classes)) is not None
    )


def _held_out_of_map(run: Run, classes: Path) -> Window:
    """The held-out part in pixels of a map, which may be coarser than those of the scene."""
    window = HeldOut.parts(run.grid, [run.held_out]).window(_grid_of(classes))
    if window is None:
        raise ConfigError(f"{classes} lies elsewhere than the part to score.")
    return window


def _require_map_of(run: Run, scene: Scene) -> None:
    """Refuse a map of another scene: its outlines would be dated and placed by this one."""
    classes = run.prediction_of(scene).classes
    mapped = read_origin(classes).id
    if mapped != scene.id:
        raise ConfigError(
            f"{classes} is a map of {mapped}, not of {scene.id}; name the scene it was made from, "
            "or run predict."
        )
