"""`geoseg thaw-slump`: the commands of the recipe.

Nothing heavy is imported before a command runs, so that `--help` stays instant.
"""

from __future__ import annotations

from dataclasses import asdict
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geoseg.commands.options import Changes, Device
from geoseg.commands.steps import step_command
from geoseg.terminal import Outcome, Table, note

if TYPE_CHECKING:
    from geoseg_recipes.thaw_slump.steps import Run

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    help="Teach a network which image chips hold a thaw slump; say how sure that is, and since "
    "when.",
)


def _open_run(
    out: Annotated[
        Path, typer.Option(help="Folder of the run; each step finds there what the others left.")
    ] = Path("out/thaw-slump"),
    recipe: Annotated[
        Path | None, typer.Option(help="YAML that names only what differs from the defaults.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Labelled places: simulated (default) or rts-chips.")
    ] = None,
    pack: Annotated[
        str | None, typer.Option(help="Your own: a pack of `geoseg presence pack` with labels.")
    ] = None,
    changes: Changes = None,
    device: Device = "auto",
) -> Run:
    """The run that the options name."""
    from geoseg.config import RECIPE, PresenceRecipe, load_recipe, with_absolute_paths

    options = {
        "--data": ("data", None if data is None else data.replace("_", "-")),
        "--pack": ("pack", None if pack is None else str(Path(pack).absolute())),
    }
    if recipe is None and data is None and pack is None and (out / RECIPE).is_file():
        # A step that is told nothing goes on with what the folder was begun with.
        recipe = out / RECIPE
    with as_file(files("geoseg_recipes.thaw_slump")) as folder:
        loaded = load_recipe(
            folder / "recipe.yaml",
            of_data={
                "simulated": folder / "simulated.yaml",
                "rts-chips": folder / "rts_chips.yaml",
            },
            overlay=recipe,
            options=options,
            changes=changes or [],
            names={"model.encoder": _require_encoder},
            kind=PresenceRecipe,
        )
    # Absolute: the recipe that a run leaves behind is then the one it was begun with.
    loaded = with_absolute_paths(loaded, Path() if recipe is None else recipe.parent)
    # After the recipe: with torch behind it, this takes seconds.
    from geoseg_recipes.thaw_slump.steps import Run

    return Run(recipe=loaded, out=out, device=device)


def _require_encoder(name: str) -> None:
    from geoseg.models import require_timm_encoder

    require_timm_encoder(name)


_step = step_command(_open_run)


@app.command()
@_step
def run(run: Run) -> Outcome:
    """Do it all: train, calibrate, predict, date, evaluate, write the page.

    Example: geoseg thaw-slump run --data simulated --out out/slumps
    """
    trained, calibrated = _train(run), _calibrate(run)
    predicted = _predict(run)
    evaluated = _evaluate(run)
    figures = [part.figures for part in (trained, calibrated, predicted, evaluated)]
    merged = {name: value for part in figures for name, value in part.items()}
    return Outcome({**merged, **run.provenance}, evaluated.tables)


@app.command()
@_step
def train(run: Run) -> Outcome:
    """Teach the network, or go on with a training that was stopped.

    Example: geoseg thaw-slump train --data rts-chips --out out/rts --set few_labels.labels=200
    """
    return _train(run)


@app.command()
@_step
def calibrate(run: Run) -> Outcome:
    """Make the logits of the network probabilities, and set the threshold of a recall.

    Example: geoseg thaw-slump calibrate --out out/slumps --set calibration.recall=0.9
    """
    return _calibrate(run)


@app.command()
@_step
def predict(run: Run) -> Outcome:
    """Say of the places that test how likely they hold it, and since when.

    Example: geoseg thaw-slump predict --out out/slumps
    """
    return _predict(run)


@app.command()
@_step
def evaluate(run: Run) -> Outcome:
    """Score what was said of the places that test, and write the page.

    Example: geoseg thaw-slump evaluate --out out/slumps
    """
    return _evaluate(run)


def _train(run: Run) -> Outcome:
    from geoseg_recipes.thaw_slump import steps

    taught = steps.train(run)
    note(f"The network of {taught.steps} steps lies in {taught.model}")
    return Outcome({"steps": taught.steps, "loss": taught.loss})


def _calibrate(run: Run) -> Outcome:
    from geoseg_recipes.thaw_slump import steps

    calibrated = steps.calibrate(run)
    note(f"The calibrated network lies in {calibrated.model}")
    return Outcome(
        {
            "model": str(calibrated.model),
            "calibration": calibrated.calibration.how,
            "threshold": calibrated.shipped,
            "expected_threshold": asdict(calibrated.expected),
        }
    )


def _predict(run: Run) -> Outcome:
    from geoseg_recipes.thaw_slump import steps

    predicted, seen = steps.predict(run), steps.first(run)
    note(f"What it says of {predicted.places} places lies in {run.results}")
    return Outcome(
        {
            "results": str(run.results),
            "places": predicted.places,
            "decided": predicted.decided,
            "dated": 0 if seen is None else sum(seen.spans.values()),
        }
    )


def _evaluate(run: Run) -> Outcome:
    from geoseg_recipes.thaw_slump import steps

    scores, number = steps.evaluate(run), steps.estimate(run)
    page = steps.report(run, number)
    note(f"The page of it is {page}")
    share = scores.prevalence
    rows = [
        ("average precision", _interval(scores.average_precision)),
        ("expected calibration error", f"{scores.ece:.3f} ({scores.ece_debiased:.3f} debiased)"),
        (f"recall, {scores.recall_wanted:.3f} wanted", f"{scores.recall:.3f}"),
        ("precision there", f"{scores.precision:.3f}"),
        ("false of 100,000 at recall 0.9", _interval(scores.false_positives_1e5, ".0f")),
        ("share that holds it", f"{share:.4f}"),
        (
            f"estimated, {100 * number.confidence:g} % interval",
            _interval(number, ".4f"),
        ),
    ]
    title = f"{scores.places} places that test, {scores.positives} of them with it"
    figures = {
        **asdict(scores),
        "average_precision": scores.average_precision.value,
        "average_precision_interval": asdict(scores.average_precision),
        "estimated_prevalence": asdict(number),
        "report": str(page),
    }
    return Outcome(figures, (Table(title, ("what", "figure"), rows),))


def _interval(found: Any, form: str = ".3f") -> str:  # noqa: ANN401  an Interval or Estimate, heavy to import
    from math import isnan

    if isnan(found.low):  # too few groups tell one
        return f"{found.value:{form}}"
    return f"{found.value:{form}} ({found.low:{form}} to {found.high:{form}})"
