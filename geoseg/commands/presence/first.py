"""`geoseg presence first`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geoseg.commands.options import Json
from geoseg.commands.presence.missing import note_missing_shards
from geoseg.terminal import Outcome, Table, note, progress, show

if TYPE_CHECKING:
    from geoseg.presence.first_table import FirstSeen

__all__ = ["first"]

_MOST_ROWS = 30  # of the table; the JSON has all


def first(
    results: Annotated[Path, typer.Argument(help="Folder that `geoseg presence predict` wrote.")],
    out: Annotated[Path, typer.Option(help="The GeoParquet to write.")] = Path("first.parquet"),
    labelled: Annotated[
        Path | None,
        typer.Option(
            help="Results of places with labels, not those of training: how single images err is "
            "learnt from them. Without, as the model tells that was calibrated on series; else "
            "images are taken as calibrated and independent."
        ),
    ] = None,
    years_before: Annotated[
        float,
        typer.Option(help="The time before the first image counts as this many years."),
    ] = 10.0,
    per_year: Annotated[
        float, typer.Option(help="Share of the places without it that get it in a year.")
    ] = 1e-4,
    json: Json = False,
) -> None:
    """Say since when each place holds what was found in it: between which two images it came.

    A hidden image counts for nothing, a partly hidden one for less: not seen in 1999, cloud in
    2001, seen in 2003 is first seen between 1999 and 2003.

    Example: geoseg presence first out/presence --out first.parquet
    """
    from geoseg.presence.appearance import DateErrors, OnsetPrior
    from geoseg.presence.first_table import (
        date_errors_of,
        shipped_date_errors,
        write_first_appearances,
    )

    prior = OnsetPrior(per_year=per_year, years_before=years_before)
    errors = shipped_date_errors(results) if labelled is None else date_errors_of(labelled)
    learnt = errors is not None
    errors = errors or DateErrors()
    note_missing_shards(results)
    try:
        with progress("Dating") as advance:
            seen = write_first_appearances(
                results,
                out,
                prior=prior,
                errors=errors,
                on_places=lambda done, total: advance(done, total, ""),
            )
    except KeyboardInterrupt:
        note("Stopped; nothing was written. Run the same command again.")
        raise typer.Exit(130) from None
    if not learnt:
        note(
            "How single images err is not known: they are taken as calibrated and independent, and "
            "the intervals may be too narrow. Name places with --labelled to learn it."
        )
    note(f"The first appearances lie in {out}")
    figures = {
        "places": seen.places,
        "present": seen.present,
        "without_valid_image": seen.unseen,
        "calibrated": seen.calibrated,
        "date_errors": asdict(errors),
        "first_seen": [{**span._asdict(), "places": n} for span, n in seen.spans.items()],
    }
    show(Outcome(figures, (_table(seen),)), as_json=json)


def _table(seen: FirstSeen) -> Table:
    """The intervals with most places, in the order of time."""
    most = sorted(seen.spans, key=lambda span: -seen.spans[span])[:_MOST_ROWS]
    rows = [
        (f"by {span.until}" if span.after is None else f"{span.after} to {span.until}", str(n))
        for span, n in seen.spans.items()
        if span in most
    ]
    others = sum(n for span, n in seen.spans.items() if span not in most)
    if others:
        rows.append(("other intervals", str(others)))
    title = f"First seen: {seen.present} of {seen.places} places"
    return Table(title, ("between", "places"), rows)
