"""`geoseg compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geoseg.commands.options import Changes, Device, Json
from geoseg.terminal import note, show

__all__ = ["compare"]


def compare(
    recipe: Annotated[
        Path, typer.Option(help="YAML with the scenes, their labels and the training.")
    ],
    models: Annotated[
        str, typer.Option(help="architecture[/encoder][:frozen|:last_blocks], with commas between.")
    ] = "unet,deeplabv3plus,dinov3",
    folds: Annotated[int, typer.Option(min=2, help="Parts of the ground, each held out once.")] = 3,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each model on each fold.")] = 1,
    block_m: Annotated[
        float | None, typer.Option(help="Width of a block; an eighth of the area when not named.")
    ] = None,
    buffer_m: Annotated[
        float | None, typer.Option(help="Untrained margin of it; an eighth when not named.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the comparison.")] = Path("out/compare"),
    changes: Changes = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Compare networks over the same spatial folds, or go on with a comparison that was stopped.

    Example: geoseg compare --recipe examples/compare.yaml --models unet,deeplabv3plus --folds 3
    """
    from geoseg.compare import as_outcome, compare_models
    from geoseg.config import load_recipe

    try:
        comparison = compare_models(
            load_recipe(recipe, changes=changes or []),
            [name.strip() for name in models.split(",") if name.strip()],
            base=recipe.parent,
            folds=(folds, block_m, buffer_m),
            seeds=seeds,
            out=out,
            device=device,
        )
    except KeyboardInterrupt:
        note("Stopped. Run the same command again to go on.")
        raise typer.Exit(130) from None
    note(f"The report lies in {out / 'comparison.html'}")
    show(as_outcome(comparison), as_json=json)
