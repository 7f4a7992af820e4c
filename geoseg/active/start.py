"""Begin a project."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from geoseg.active.folder import held
from geoseg.active.ingest import ingest, read_gold
from geoseg.active.project import create_project, holds_project, open_project, require_classes
from geoseg.active.record import SEEDS
from geoseg.active.sources import fill_pool, is_source_of, read_source
from geoseg.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from geoseg.active.pool import Pool
    from geoseg.active.project import Project
    from geoseg.active.sources import Source
    from geoseg.presence.packs import Problem
    from geoseg.scale import Engine

__all__ = ["Beginning", "Started", "start_project"]


class Started(NamedTuple):
    """A project that was begun, or was there."""

    items: int
    width: int  # numbers of an embedding
    classes: tuple[str, ...]
    seeds: int  # labels that were new
    gold: int  # items of known class, in all
    problems: list[Problem]  # what of the source is not in the pool


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What a project begins with."""

    source: Source  # what the pool is made of
    classes: tuple[str, ...]
    seeds: Path | None = None  # a table of labels, as `geoseg.active.ingest.ingest` takes it
    gold: Path | None = None  # a table of items of known class, likewise

    def __post_init__(self) -> None:
        require_classes(self.classes)
        for path in (self.seeds, self.gold):
            if path is not None and not path.is_file():
                raise ConfigError(f"{path} is no file; give a table of labels.")


def start_project(
    folder: Path,
    beginning: Beginning,
    engine: Engine,
    *,
    device: str = "auto",
    on_part: Callable[[int, int], None] = lambda _done, _total: None,
) -> Started:
    """Make the pool and the record of a project, or take seeds and gold into one that is there.

    Args:
        folder: of the project.
        beginning: what it begins with.
        engine: who embeds a pack.
        device: that a classifier computes on.
        on_part: is told of parts of the source that are done, and of how many there are.

    Raises:
        ConfigError: a project of other items or classes lies there.
        LabelError: seeds or gold that cannot be taken; the project is there then without them.
        DataError: the source cannot be used.
        OutputError: the folder cannot be written, or another process does so.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror}.") from error
    with held(folder):
        if holds_project(folder):
            _require_same(folder, beginning)
        filled = fill_pool(folder, beginning.source, engine, device=device, on_part=on_part)
        if not holds_project(folder):
            create_project(folder, classes=beginning.classes, pool=filled.pool.digest).close()
        with open_project(folder) as project:
            new = _take(project, filled.pool, beginning)
            return Started(
                items=len(filled.pool),
                width=filled.pool.width,
                classes=project.classes,
                seeds=new,
                gold=len(project.gold()),
                problems=filled.problems,
            )


def _take(project: Project, pool: Pool, beginning: Beginning) -> int:
    """Seeds that are new; both tables are looked through before either is taken."""
    seeds, gold = beginning.seeds, beginning.gold
    truth = {} if gold is None else read_gold(gold, project, pool)
    taken = 0 if seeds is None else ingest(seeds, project, pool, annotator=SEEDS).taken
    project.set_gold(truth)
    return taken


def _require_same(folder: Path, beginning: Beginning) -> None:
    with open_project(folder) as project:
        if project.classes != beginning.classes:
            raise ConfigError(
                f"{folder} holds a project of the classes {', '.join(project.classes)}; give "
                "these, or another folder."
            )
    if not is_source_of(folder, beginning.source):
        raise ConfigError(
            f"{folder} holds a project of other items ({read_source(folder)}), or what they were "
            "made of has changed since; begin another project in another folder."
        )
