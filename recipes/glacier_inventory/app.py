"""`geoseg glacier-inventory`: the commands of the recipe.

Nothing heavy is imported before a command runs, so that `--help` stays instant.
"""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geoseg.commands.engine import Address, Executor, Slurm, Workers, engine_of
from geoseg.commands.fleet import Devices, DryRun, Launcher, Nodes, fleet_of
from geoseg.commands.options import Bands, Changes, Date, Device, Sensor, require_encoder
from geoseg.commands.steps import step_command
from geoseg.terminal import Outcome, Table, note

if TYPE_CHECKING:
    from geoseg_recipes.glacier_inventory.run import Run

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    help="Train a network on outlines, map a scene, write a GeoPackage that opens styled in QGIS.",
)


def _open_run(
    out: Annotated[
        Path, typer.Option(help="Folder of the run; each step finds there what the others left.")
    ] = Path("out/glacier-inventory"),
    recipe: Annotated[
        Path | None, typer.Option(help="YAML that names only what differs from the defaults.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="A labelled data set: simulated (default) or everest.")
    ] = None,
    scene: Annotated[
        str | None, typer.Option(help="Your own image: a STAC item (.json) or a GeoTIFF.")
    ] = None,
    sensor: Sensor = None,
    bands: Bands = None,
    date: Date = None,
    labels: Annotated[str | None, typer.Option(help="Your own outlines: any vector file.")] = None,
    class_of: Annotated[
        str | None,
        typer.Option(help="Column with the class of each outline, or one class for all of them."),
    ] = None,
    scenes: Annotated[
        str | None, typer.Option(help="A catalogue of further scenes of the place to map.")
    ] = None,
    executor: Executor = None,
    workers: Workers = 1,
    address: Address = None,
    slurm: Slurm = None,
    devices: Devices = 1,
    nodes: Nodes = 1,
    launcher: Launcher = "local",
    dry_run: DryRun = False,
    changes: Changes = None,
    device: Device = "auto",
) -> Run:
    """The run that the options name."""
    from geoseg.config import RECIPE, load_recipe, with_absolute_paths

    options = {
        "--data": ("data", data),
        "--scene": ("scene.path", _from_here(scene)),
        "--sensor": ("scene.sensor", sensor),
        "--date": ("scene.date", date),
        "--bands": (
            "scene.bands",
            None if bands is None else [name.strip() for name in bands.split(",")],
        ),
        "--labels": ("labels.path", _from_here(labels)),
        "--class-of": ("labels.class_of", class_of),
        "--scenes": ("catalog", _from_here(scenes)),
    }
    if recipe is None and data is None and scene is None and (out / RECIPE).is_file():
        # A step that is told nothing goes on with what the folder was begun with.
        recipe = out / RECIPE
    with as_file(files("geoseg_recipes.glacier_inventory")) as folder:
        loaded = load_recipe(
            folder / "recipe.yaml",
            of_data={"simulated": folder / "simulated.yaml"},
            overlay=recipe,
            options=options,
            changes=changes or [],
            names={"model.encoder": require_encoder},
        )
    # Absolute: the recipe that a run leaves behind is then the one it was begun with.
    loaded = with_absolute_paths(loaded, Path() if recipe is None else recipe.parent)
    # After the recipe: with torch behind them, these take seconds.
    from geoseg_recipes.glacier_inventory.run import Run
    from geoseg_recipes.glacier_inventory.steps import require_one_job

    fleet = fleet_of(devices, nodes, launcher, slurm, dry_run=dry_run)
    # --slurm is the job that trains, or that of a worker that maps.
    if fleet.job is not None:
        require_one_job(executor)
    engine = engine_of(executor, workers, address, slurm if fleet.job is None else None)
    return Run(recipe=loaded, base=Path(), out=out, device=device, engine=engine, fleet=fleet)


def _from_here(path: str | None) -> str | None:
    """A path of the command line: it starts from the working folder, one of a recipe does not."""
    return None if path is None else str(Path(path).absolute())


_step = step_command(_open_run)


@app.command()
@_step
def run(run: Run) -> Outcome:
    """Do it all: train, predict, smooth, vectorize, track, report, evaluate, draw a map.

    Example: geoseg glacier-inventory run --data everest --out out/everest
    """
    from geoseg_recipes.glacier_inventory import steps

    scored_too = run.source.outlines is not None
    if scored_too:
        _ = run.held_out, run.outlines  # what cannot be scored is not begun
    if run.fleet.job is not None:
        return _submit(run, rest=True)
    trained = _train(run)
    steps.predict(run)
    if run.smoothed:
        steps.smooth(run)
    steps.vectorize(run)
    tracked = _track(run)
    scored = _evaluate(run) if scored_too else Outcome({})
    if not scored_too:
        note(f"Scene {run.source.scene.id} has no outlines: nothing is scored")
    picture = steps.draw(run)
    note(f"The inventory lies in {run.inventory}, a page of it beside it, and {picture.name}")
    figures = {**trained.figures, **tracked.figures, **scored.figures}
    return Outcome(
        {**figures, "map": str(picture), **run.provenance}, (*tracked.tables, *scored.tables)
    )


@app.command()
@_step
def train(run: Run) -> Outcome:
    """Train the network, or go on with a training that was stopped.

    Example: geoseg glacier-inventory train --data everest --out out/everest --devices 2
    """
    return _train(run) if run.fleet.job is None else _submit(run, rest=False)


@app.command()
@_step
def predict(run: Run) -> Outcome:
    """Map the whole scene, and those of other dates, with the trained network.

    Example: geoseg glacier-inventory predict --data everest --out out/everest
    """
    from geoseg_recipes.glacier_inventory import steps

    maps = steps.predict(run)
    note(f"The maps of {len(maps)} scenes lie in {run.out}")
    scene = run.prediction
    return Outcome(
        {
            "classes": str(scene.classes),
            "probability": str(scene.probability),
            "maps": [str(one.classes) for one in maps],
        }
    )


@app.command()
@_step
def smooth(run: Run) -> Outcome:
    """Make the maps of several dates consistent with each other; the maps themselves stay.

    Example: geoseg glacier-inventory smooth --out out/run
    """
    from geoseg_recipes.glacier_inventory import steps

    maps = steps.smooth(run)
    note(f"The consistent maps lie in {run.out / 'consistent'}")
    return Outcome({"maps": [str(one.classes) for one in maps]})


@app.command()
@_step
def vectorize(run: Run) -> Outcome:
    """Draw the outlines of each date.

    Example: geoseg glacier-inventory vectorize --data everest --out out/everest
    """
    from geoseg_recipes.glacier_inventory import steps

    found = steps.vectorize(run)
    files = [str(run.outlines_of(scene)) for scene in run.series]
    note(f"The outlines of {len(found)} dates lie in {run.out / 'outlines'}")
    return Outcome({"outlines": sum(map(len, found)), "files": files})


@app.command()
@_step
def track(run: Run) -> Outcome:
    """Link the outlines of all dates, write the inventory and a page of it.

    Example: geoseg glacier-inventory track --out out/run
    """
    return _track(run)


@app.command()
@_step
def evaluate(run: Run) -> Outcome:
    """Score the map against the outlines, over the held-out part of the scene.

    Example: geoseg glacier-inventory evaluate --data everest --out out/everest
    """
    return _evaluate(run)


def _train(run: Run) -> Outcome:
    from geoseg_recipes.glacier_inventory import steps

    result = steps.train(run)
    note(f"The network of step {result.best_step} of {result.steps} lies in {result.model}")
    return Outcome(
        {
            "model": str(result.model),
            "steps": result.steps,
            "best_step": result.best_step,
            "validation_iou": result.best_score,
        }
    )


def _submit(run: Run, *, rest: bool) -> Outcome:
    from geoseg_recipes.glacier_inventory import steps

    script, job = steps.submit(run, rest=rest)
    if job is None:
        note(script.read_text())
        note(f"The job lies in {script}; nothing is submitted")
    else:
        note(f"Slurm has taken {script} as job {job}")
    return Outcome({"script": str(script), "job": job})


def _track(run: Run) -> Outcome:
    from geoseg.tracking import as_outcome
    from geoseg_recipes.glacier_inventory import steps

    inventory = steps.track(run)
    page = steps.report(run, inventory)
    outcome = as_outcome(inventory, run.inventory)
    return outcome._replace(figures={**outcome.figures, "report": str(page)})


def _evaluate(run: Run) -> Outcome:
    from dataclasses import asdict

    from geoseg_recipes.glacier_inventory import steps

    scores = steps.evaluate(run)
    rows = [
        (name, *(f"{v:.3f}" for v in (s.iou, s.f1, s.precision, s.recall)), str(s.pixels))
        for name, s in scores.classes.items()
    ]
    columns = ("class", "IoU", "F1", "precision", "recall", "pixels")
    figures = {
        "mean_iou": scores.mean_iou,
        "scores": {name: asdict(score) for name, score in scores.classes.items()},
    }
    title = f"Held-out part of the scene, mean IoU {scores.mean_iou:.3f}"
    return Outcome(figures, (Table(title, columns, rows),))
