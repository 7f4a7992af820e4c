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
        str,
        typer.Option(
            help="Architectures, each with /encoder, :frozen or :last_blocks after it where "
            "wanted, with commas between."
        ),
    ] = "unet,deeplabv3plus,dinov3",
    losses: Annotated[
        str, typer.Option(help="Losses of each, with commas between; that of the recipe if none.")
    ] = "",
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
    """Compare networks, or losses, over the same spatial folds, or go on where it was stopped.

    Example: geoseg compare --recipe examples/compare.yaml --models unet,deeplabv3plus --folds 3

    Example: geoseg compare --recipe examples/compare.yaml --models unet
    --losses dice_cross_entropy,focal_tversky,logit_adjusted
    """
    from geoseg.compare import as_outcome, compare_models
    from geoseg.config import load_recipe
    from geoseg.evaluation import find_candidates

    loaded = load_recipe(recipe, changes=changes or [])
    try:
        comparison = compare_models(
            loaded,
            find_candidates(_names(models), loaded.model, _names(losses)),
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


def _names(listed: str) -> list[str]:
    return [name.strip() for name in listed.split(",") if name.strip()]
