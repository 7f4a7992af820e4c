"""`geoseg pivot-landcover`: the commands of the recipe.

Nothing heavy is imported before a command runs, so that `--help` stays instant.
"""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geoseg.commands.options import Changes, Device
from geoseg.commands.steps import step_command
from geoseg.terminal import Outcome, Table, note

if TYPE_CHECKING:
    from collections.abc import Mapping

    from geoseg_recipes.pivot_landcover.steps import Run

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    help="Classify land cover from the pivot; map it at several pixel sizes that agree.",
)


def _open_run(
    out: Annotated[
        Path, typer.Option(help="Folder of the run; each step finds there what the others left.")
    ] = Path("out/pivot-landcover"),
    recipe: Annotated[
        Path | None, typer.Option(help="YAML that names only what differs from the defaults.")
    ] = None,
    changes: Changes = None,
    device: Device = "auto",
    workers: Annotated[
        int, typer.Option(min=1, help="Processes that make the pivot, a ground at a time each.")
    ] = 2,
) -> Run:
    """The run that the options name."""
    from geoseg.config import RECIPE, LandCoverRecipe, load_recipe, with_absolute_paths

    if recipe is None and not changes and (out / RECIPE).is_file():
        # A step that is told nothing goes on with what the folder was begun with.
        recipe = out / RECIPE
    with as_file(files("geoseg_recipes.pivot_landcover")) as folder:
        loaded = load_recipe(
            folder / "recipe.yaml", overlay=recipe, changes=changes or [], kind=LandCoverRecipe
        )
    # Absolute: the recipe that a run leaves behind is then the one it was begun with.
    loaded = with_absolute_paths(loaded, Path() if recipe is None else recipe.parent)
    # After the recipe: with torch behind it, this takes seconds.
    from geoseg_recipes.pivot_landcover.steps import Run

    return Run(recipe=loaded, out=out, device=device, workers=workers)


_step = step_command(_open_run)


@app.command()
@_step
def run(run: Run) -> Outcome:
    """Do it all: make the pivot, train, map, score, draw.

    Example: geoseg pivot-landcover run --out out/pivot-landcover --json
    """
    trained, predicted, evaluated = _train(run), _predict(run), _evaluate(run)
    figures = {**trained.figures, **predicted.figures, **evaluated.figures}
    return Outcome({**figures, **run.provenance}, evaluated.tables)


@app.command()
@_step
def train(run: Run) -> Outcome:
    """Make the pivot of the grounds and teach the network on those for it.

    Example: geoseg pivot-landcover train --out out/pivot-landcover --set learning.steps=400
    """
    return _train(run)


@app.command()
@_step
def predict(run: Run) -> Outcome:
    """Map the other grounds by the network and by trees, at each pixel size.

    Example: geoseg pivot-landcover predict --out out/pivot-landcover
    """
    return _predict(run)


@app.command()
@_step
def evaluate(run: Run) -> Outcome:
    """Score the maps against what covers the ground, and draw them.

    Example: geoseg pivot-landcover evaluate --out out/pivot-landcover --json
    """
    return _evaluate(run)


def _train(run: Run) -> Outcome:
    from geoseg_recipes.pivot_landcover import steps

    made = steps.make_grounds(run)
    trained = steps.train(run)
    note(f"The network of step {trained.step} lies in {run.model}")
    return Outcome(
        {
            "grounds_made": made,
            "model": str(run.model),
            "step": trained.step,
            "held_out_loss": trained.loss,
            "held_out_accuracy": trained.accuracy,
        }
    )


def _predict(run: Run) -> Outcome:
    from geoseg_recipes.pivot_landcover import steps

    maps = steps.predict(run)
    note(f"{maps} maps, each with its shares, lie in {run.out / 'maps'}")
    return Outcome({"maps": maps, "gsd_m": list(run.gsds_m)})


def _evaluate(run: Run) -> Outcome:
    from geoseg_recipes.pivot_landcover import steps

    scores, picture = steps.evaluate(run), steps.draw(run)
    note(f"The picture of it is {picture}")
    coarsest = f"{max(run.gsds_m):g}"
    rows = [
        (
            method,
            _interval(of_method["accuracy"]),
            _interval(of_method["macro_f1"]),
            f"{of_method['share_error'].get(coarsest, float('nan')):.4f}",
        )
        for method, of_method in scores.items()
    ]
    columns = ("method", "accuracy", "macro F1", f"error of shares, {coarsest} m")
    return Outcome(
        {"methods": scores, "picture": str(picture)}, (Table("Other grounds", columns, rows),)
    )


def _interval(found: Mapping[str, Any]) -> str:
    return f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})"
