"""`geoseg compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geoseg.commands.options import Changes, Device, Json, require_encoder
from geoseg.terminal import Outcome, Table, note, progress, show

__all__ = ["compare"]

_OF_RECIPE = ("models", "folds", "block_m", "buffer_m", "out", "changes", "device")


def compare(
    context: typer.Context,
    recipe: Annotated[
        Path | None, typer.Option(help="YAML with the scenes, their labels and the training.")
    ] = None,
    project: Annotated[
        Path | None,
        typer.Option(help="Of `geoseg active`, instead of --recipe: --losses of heads."),
    ] = None,
    models: Annotated[
        str,
        typer.Option(
            help="Architectures, each with /encoder, :frozen or :last_blocks after it where "
            "wanted, with commas between."
        ),
    ] = "unet,deeplabv3plus,dinov3",
    losses: Annotated[
        str,
        typer.Option(
            help="Losses of each, with commas between; that of the recipe, or all of heads."
        ),
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

    Example: geoseg compare --project out/labelling --losses cross_entropy,focal,logit_adjusted
    """
    from geoseg.config import load_recipe
    from geoseg.errors import ConfigError

    if (recipe is None) == (project is None):
        raise ConfigError("Name what to compare by: --recipe of scenes, or --project of labels.")
    if project is not None:
        for name in _OF_RECIPE:
            source = context.get_parameter_source(name)
            if source is not None and source.name == "COMMANDLINE":
                option = {"changes": "set"}.get(name, name.replace("_", "-"))
                raise ConfigError(f"--{option} is for --recipe and changes nothing here; drop it.")
    try:
        if project is not None:
            outcome = _compare_on_labels(project, _names(losses), seeds)
        else:
            assert recipe is not None
            loaded = load_recipe(
                recipe, changes=changes or [], names={"model.encoder": require_encoder}
            )
            # After the recipe: with torch behind them, these take seconds.
            from geoseg.compare import as_outcome, compare_models
            from geoseg.evaluation import find_candidates

            comparison = compare_models(
                loaded,
                find_candidates(_names(models), loaded.model, _names(losses)),
                base=recipe.parent,
                folds=(folds, block_m, buffer_m),
                seeds=seeds,
                out=out,
                device=device,
            )
            note(f"The report lies in {out / 'comparison.html'}")
            outcome = as_outcome(comparison)
    except KeyboardInterrupt:
        note("Stopped." if project else "Stopped. Run the same command again to go on.")
        raise typer.Exit(130) from None
    show(outcome, as_json=json)


def _compare_on_labels(project: Path, losses: list[str], seeds: int) -> Outcome:
    """Losses of heads, on the labels of a project of `geoseg active`."""
    from dataclasses import asdict

    from geoseg.active.answers import known_of, soft_labels
    from geoseg.active.folder import opened
    from geoseg.active.heads import LOSSES
    from geoseg.active.losses import BASE, compare_losses
    from geoseg.compare import as_interval

    with opened(project) as (opened_project, pool):
        classes = opened_project.classes
        labels = soft_labels(opened_project.answers(), classes, opened_project.gold())
        known = known_of(labels, pool)
        with progress("Comparing") as advance:
            found = compare_losses(
                pool,
                known,
                classes,
                losses or LOSSES,
                seeds=seeds,
                on_loss=lambda done, total: advance(done, total, "losses"),
            )
    rows = [
        (
            one.loss,
            as_interval(one.balanced_accuracy),
            "" if one.loss == BASE else as_interval(one.gain),
        )
        for one in found
    ]
    by_class = [
        (
            one.loss,
            *(
                f"{recall:.3f}, {precision:.3f}"
                for recall, precision in zip(one.recall, one.average_precision, strict=True)
            ),
        )
        for one in found
    ]
    title = f"{len(known.rows)} labels, held out neighbourhood by neighbourhood; 95 % intervals"
    tables = (
        Table(title, ("loss", "balanced accuracy", f"gain over {BASE}"), rows),
        Table("Recall, average precision", ("loss", *classes), by_class),
    )
    told = {
        one.loss: {
            "balanced_accuracy": asdict(one.balanced_accuracy),
            "gain": asdict(one.gain),
            "recall": dict(zip(classes, one.recall, strict=True)),
            "average_precision": dict(zip(classes, one.average_precision, strict=True)),
        }
        for one in found
    }
    return Outcome({"labels": len(known.rows), "seeds": seeds, "losses": told}, tables)


def _names(listed: str) -> list[str]:
    return [name.strip() for name in listed.split(",") if name.strip()]
