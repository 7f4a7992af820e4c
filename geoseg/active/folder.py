"""The folder of a project: what lies where, opened together, worked on by one at a time."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from geoseg.active.pool import open_pool
from geoseg.active.project import open_project
from geoseg.errors import DataError
from geoseg.scale.lock import holding

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from geoseg.active.pool import Pool
    from geoseg.active.project import Project

__all__ = ["HEADS", "LABELS", "held", "opened", "pool_folder", "round_folder"]

HEADS, LABELS = "heads.safetensors", "labels.csv"
_LOCK = "project.lock"


def pool_folder(folder: Path) -> Path:
    """Where the pool of a project lies."""
    return folder / "pool"


def round_folder(folder: Path, number: int) -> Path:
    """Where the files of a round lie."""
    return folder / "rounds" / f"{number:03d}"


@contextmanager
def opened(folder: Path) -> Iterator[tuple[Project, Pool]]:
    """The project of a folder and its pool, which is that which it was made for.

    Raises:
        DataError: one is not there or damaged, or the pool is another one.
    """
    with open_project(folder) as project:
        pool = open_pool(pool_folder(folder))
        if pool.digest != project.pool:
            raise DataError(
                f"{pool_folder(folder)} is not the pool that the project was made for (it has "
                f"{len(pool)} items now); bring that back, or begin a project in another folder."
            )
        yield project, pool


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep out others who propose or train; answers may be given all the time.

    Raises:
        OutputError: another process does so.
    """
    with holding(folder / _LOCK):
        yield
