"""`geoseg active-labelling`: the commands of the recipe.

Nothing heavy is imported before a command runs, so that `--help` stays instant.
"""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geoseg.commands.options import Changes, Json
from geoseg.terminal import Outcome, Table, note, show

if TYPE_CHECKING:
    from geoseg_recipes.active_labelling.steps import Run

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    help="Label where few places hold what is looked for; see what labels are worth.",
)


@app.callback()
def _recipe() -> None:
    """Keep `run` a command of its own, though it is the only one."""


@app.command()
def run(
    out: Annotated[
        Path, typer.Option(help="Folder of the run; what is there is not made again.")
    ] = Path("out/active-labelling"),
    recipe: Annotated[
        Path | None, typer.Option(help="YAML that names only what differs from the defaults.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Labelled places: rts-chips (default) or simulated.")
    ] = None,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Answer by what is known, and draw the curves.")
    ] = False,
    workers: Annotated[int, typer.Option(help="Processes that embed and simulate.", min=1)] = 1,
    changes: Changes = None,
    json: Json = False,
) -> None:
    """Make a pool of a data set and begin to label it, or simulate that by several strategies.

    Example: geoseg active-labelling run --data rts-chips --simulate --out out/labels
    """
    from geoseg.config import LabellingRecipe, load_recipe

    with as_file(files("geoseg_recipes.active_labelling")) as folder:
        loaded = load_recipe(
            folder / "recipe.yaml",
            of_data={"simulated": folder / "simulated.yaml"},
            overlay=recipe,
            options={"--data": ("data", None if data is None else data.replace("_", "-"))},
            changes=changes or [],
            kind=LabellingRecipe,
        )
    # After the recipe: with torch behind it, this takes seconds.
    from geoseg_recipes.active_labelling import steps

    opened = steps.Run(recipe=loaded, out=out, workers=workers)
    try:
        outcome = _simulated(opened) if simulate else _begun(opened)
    except KeyboardInterrupt:
        note("Stopped. Run the same command again to go on.")
        raise typer.Exit(130) from None
    show(outcome, as_json=json)


def _simulated(opened: Run) -> Outcome:
    from geoseg.commands.active.simulate import figures_of
    from geoseg_recipes.active_labelling import steps

    curves = steps.simulate(opened)
    return figures_of(curves, opened.simulation)


def _begun(opened: Run) -> Outcome:
    from geoseg_recipes.active_labelling import steps

    made = steps.begin(opened)
    note(f"Label it: geoseg active serve {opened.project} --pack {opened.pack}")
    reasons = [one.why for one in made.proposed]
    counts = {why: reasons.count(why) for why in dict.fromkeys(reasons)}
    figures = {
        "project": str(opened.project),
        "pack": str(opened.pack),
        "round": made.number,
        "proposed": len(reasons),
        "why": counts,
    }
    rows = [(why, str(number)) for why, number in counts.items()]
    return Outcome(figures, (Table(f"Round {made.number}", ("why", "places"), rows),))
