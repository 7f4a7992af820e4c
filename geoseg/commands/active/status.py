"""`geoseg active status`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geoseg.commands.options import Json
from geoseg.terminal import Outcome, Table, note, show

if TYPE_CHECKING:
    from geoseg.active.standing import Standing
    from geoseg.metrics.quantify import Estimate

__all__ = ["as_share", "left_out", "status"]


def status(
    folder: Annotated[Path, typer.Argument(help="The project, of `geoseg active init`.")],
    json: Json = False,
) -> None:
    """Say where a project stands: rounds, answers, how far people agree, what waits for them.

    The share of the pool that is of a class is counted by the random audits of all rounds.

    Example: geoseg active status out/labelling
    """
    from geoseg.active.folder import opened
    from geoseg.active.standing import standing

    with opened(folder) as (project, pool):
        stands = standing(project, pool)
    tables = [_project(folder, stands), _classes(stands), _rounds(stands)]
    if stands.annotators:
        tables.append(_people(stands))
    note(f"The pool is {stands.pool}")
    if stands.left_out:
        note(left_out(stands.left_out))
    if any(one.items for one in stands.agreements):
        tables.append(_agreement(stands))
    show(Outcome({"project": str(folder), **stands.figures()}, tables), as_json=json)


def as_share(estimate: Estimate | None) -> str:
    """A share with the interval that it lies in, or a dash."""
    if estimate is None:
        return "-"
    return f"{estimate.value:.2%} ({estimate.low:.2%} to {estimate.high:.2%})"


def left_out(rounds: int) -> str:
    """That rounds are not counted in, and what to do."""
    which = "1 round is" if rounds == 1 else f"{rounds} rounds are"
    return (
        f"{which} left out of the share of the pool, for items that were asked for by then wait; "
        "answer all that is waiting"
    )


def _project(folder: Path, stands: Standing) -> Table:
    rows = [
        ("items", f"{stands.items:,}"),
        ("with a label", f"{stands.labelled:,}"),
        ("nobody could tell", f"{stands.untold:,}"),
        ("two disagree", f"{stands.disagreed:,}"),
        ("of known class", f"{stands.gold:,}"),
    ]
    return Table(f"{folder}", ("what", "items"), rows)


def _classes(stands: Standing) -> Table:
    rows = [(c.name, f"{c.labels:.1f}", as_share(c.prevalence)) for c in stands.classes]
    return Table("Classes", ("class", "labels", "share of the pool"), rows)


def _rounds(stands: Standing) -> Table:
    rows = [
        (
            str(one.number),
            one.strategy,
            str(stands.proposed[one.number]),
            str(stands.answered[one.number]),
            _accuracy(one.metrics.get("balanced_accuracy")),
        )
        for one in stands.rounds
    ]
    return Table("Rounds", ("round", "strategy", "proposed", "answered", "balanced accuracy"), rows)


def _accuracy(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _people(stands: Standing) -> Table:
    rows = []
    for one in stands.annotators:
        of = one.accuracy
        right = f"{of.value:.2f} ({of.low:.2f} to {of.high:.2f})" if one.gold else "-"
        waits = str(stands.waiting[one.name])
        rows.append((one.name, str(one.answers), str(one.unknown), waits, str(one.gold), right))
    columns = ("who", "answers", "unknown", "waiting", "of known class", "right")
    return Table("Annotators", columns, rows)


def _agreement(stands: Standing) -> Table:
    rows = [
        (
            f"{one.first}, {one.second}",
            str(one.items),
            f"{one.share.value:.2f}",
            f"{one.kappa.value:.2f} ({one.kappa.low:.2f} to {one.kappa.high:.2f})",
        )
        for one in stands.agreements
        if one.items
    ]
    return Table("Agreement", ("who", "items", "agree", "kappa"), rows)
