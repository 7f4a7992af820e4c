"""`geoseg active train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geoseg.commands.options import Json
from geoseg.terminal import Outcome, Table, note, show

if TYPE_CHECKING:
    from geoseg.active.estimate import ClassWorth

__all__ = ["train"]


def train(
    folder: Annotated[Path, typer.Argument(help="The project, of `geoseg active init`.")],
    seed: Annotated[int, typer.Option(help="Of the heads, and of what is held out.")] = 0,
    json: Json = False,
) -> None:
    """Learn from all answers, and say what the labels are worth.

    Writes heads.safetensors and labels.csv into the project. Scores are of items that were held out
    neighbourhood by neighbourhood; they are recorded in the last round. Labels go into `geoseg
    presence head --labels`, or into a pack for a training of the whole network.

    Example: geoseg active train out/labelling
    """
    from geoseg.active.folder import HEADS, LABELS, held, opened
    from geoseg.active.heads import HeadSettings
    from geoseg.active.rounds import train as learn
    from geoseg.commands.active.status import left_out

    with opened(folder) as (project, pool), held(folder):
        worth = learn(project, pool, HeadSettings(), seed=seed)
    note(f"The heads are {folder / HEADS}, the labels {folder / LABELS}")
    if worth.left_out:
        note(left_out(worth.left_out))
    figures = {"heads": str(folder / HEADS), "labels_file": str(folder / LABELS)}
    columns = ("class", "labels", "average precision", "recall", "share of the pool", "missed <=")
    table = Table(
        f"{worth.labels} labels; scores are of labelled items that were held out",
        columns,
        [_row(one) for one in worth.classes],
    )
    show(Outcome({**figures, **worth.figures()}, (table,)), as_json=json)


def _row(one: ClassWorth) -> tuple[str, ...]:
    from geoseg.commands.active.status import as_share

    return (
        one.name,
        f"{one.labels:.1f}",
        f"{one.average_precision:.3f}",
        f"{one.recall:.3f}",
        as_share(one.prevalence),
        f"{one.missed_at_most:,}",
    )
