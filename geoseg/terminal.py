"""What commands print: progress, tables, one JSON object, one sentence when something is wrong."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import rich.table
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from geoseg.files import without_nan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Outcome", "Table", "note", "progress", "show"]

# Results go to stdout, everything else to stderr: `--json` stays one clean object.
_notes = Console(stderr=True, highlight=False)
_results = Console(highlight=False)
_PLAIN_EVERY_S = 5.0


def note(text: str) -> None:
    """One line about what is going on."""
    _notes.print(text, markup=False, soft_wrap=True)


class Table(NamedTuple):
    """A table of results: the first column is text, the others are numbers."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


class Outcome(NamedTuple):
    """What a command found: figures for a script, tables for a person.

    A figure may be an iterator, which is written as a list, one by one: memory does not grow.
    """

    figures: Mapping[str, Any]
    tables: Sequence[Table] = ()


def show(outcome: Outcome, *, as_json: bool) -> None:
    """Print an outcome on stdout: one JSON object, or its tables."""
    if as_json:
        sys.stdout.writelines(_json(outcome.figures))
        return
    for table in outcome.tables:
        drawn = rich.table.Table(title=table.title, title_justify="left")
        for index, column in enumerate(table.columns):
            drawn.add_column(column, justify="left" if index == 0 else "right")
        for row in table.rows:
            drawn.add_row(*row)
        _results.print(drawn)


def _json(figures: Mapping[str, Any]) -> Iterator[str]:
    """The pieces of a JSON object."""
    before = "{\n  "
    for key, value in figures.items():
        yield f"{before}{json.dumps(key)}: "
        if isinstance(value, Iterator):
            yield from _json_list(value)
        else:
            yield _indented(value, 2)
        before = ",\n  "
    yield "\n}\n" if figures else "{}\n"


def _json_list(values: Iterator[Any]) -> Iterator[str]:
    before = "[\n    "
    for value in values:
        yield before + _indented(value, 4)
        before = ",\n    "
    yield "[]" if before.startswith("[") else "\n  ]"


def _indented(value: Any, by: int) -> str:  # noqa: ANN401  any JSON value
    return json.dumps(without_nan(value), indent=2).replace("\n", "\n" + " " * by)


@contextmanager
def progress(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """A function of (done, total, remark): a bar on a terminal, else a line now and then."""
    if not _notes.is_terminal:
        yield _plain(title)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[remark]}"),
    )
    with Progress(*columns, console=_notes) as bar:
        task = bar.add_task(title, total=None, remark="")

        def advance(done: int, total: int, remark: str = "") -> None:
            bar.update(task, completed=done, total=total, remark=remark)

        yield advance


def _plain(title: str) -> Callable[[int, int, str], None]:
    start = last = time.monotonic()

    def advance(done: int, total: int, remark: str = "") -> None:
        nonlocal last
        now = time.monotonic()
        if done < total and now - last < _PLAIN_EVERY_S:
            return
        last = now
        left = (now - start) * (total - done) / max(done, 1)
        note(f"{title}: {done}/{total}, {now - start:.0f} s, {left:.0f} s left {remark}".rstrip())

    return advance
