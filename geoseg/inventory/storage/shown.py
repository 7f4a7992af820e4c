"""When each row of an inventory is drawn as one slides through the years."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SHOWN", "with_shown"]

SHOWN = ("shown_from", "shown_until")
# The survey that shows a row, by the layer.
_SURVEY = {
    "surveys": "survey",
    "outlines": "survey",
    "lakes": "survey",
    "changes": "survey_to",
    "events": "survey_after",
}


def with_shown(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The tables with `shown_from` and `shown_until` where a survey shows a row.

    A survey lasts a day; what it found is shown until the next survey that knows more of the same
    track, so that each year has a map. A survey begins with its year, for a map of its year to show
    it alone and not what it replaces; of two in one year the later begins on its day. What no
    survey replaces has no `shown_until`.

    Args:
        tables: by layer name, conforming to the columns of an inventory.
    """
    begins = _begins(tables["surveys"])
    states = tables["states"]
    unknown = states[states["status"] == "unknown"]
    unseen = set(zip(unknown["track_id"], unknown["survey"], strict=True))
    shown = dict(tables)
    for layer, column in _SURVEY.items():
        table = tables[layer]
        tracks = table["track_id"] if "track_id" in table else [None] * len(table)
        spans = [
            (begins.get(survey), _until(track, survey, begins, unseen))
            for track, survey in zip(tracks, table[column], strict=True)
        ]
        times = {
            name: pd.Series([s[i] for s in spans], index=table.index, dtype="M8[s]")
            for i, name in enumerate(SHOWN)
        }
        shown[layer] = table.assign(**times)
    return shown


def _begins(surveys: pd.DataFrame) -> dict[str, dt.date]:
    """The day from which each survey is shown, in the order of time."""
    begins: dict[str, dt.date] = {}
    for name, day in sorted(
        zip(surveys["survey"], surveys["start_date"], strict=True), key=lambda row: row[1]
    ):
        first = all(other.year != day.year for other in begins.values())
        begins[name] = dt.date(day.year, 1, 1) if first else day
    return begins


def _until(
    track: str | None,
    survey: str,
    begins: Mapping[str, dt.date],
    unseen: set[tuple[str, str]],
) -> dt.date | None:
    begin = begins.get(survey)
    for later, day in begins.items():
        if begin is not None and day > begin and (track, later) not in unseen:
            return day
    return None
