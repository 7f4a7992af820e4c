"""What can go wrong, as a tree. A message is one sentence: what, where, and what to do.

    GeosegError                      the root; the command line turns it into one sentence
    |-- ConfigError    (ValueError)  a recipe or an option that cannot be used        exit code 2
    |-- SensorError    (ValueError)  an unknown or impossible sensor or band          exit code 2
    |-- SceneError     (ValueError)  an image that cannot be read or placed           exit code 1
    |   `-- GridError                grids or reference systems that do not agree     exit code 2
    |-- LabelError     (ValueError)  outlines that cannot serve as labels             exit code 1
    |-- DataError      (OSError)     a data set that cannot be had or is not intact   exit code 1
    |-- ModelError     (ValueError)  a network or checkpoint that cannot be used      exit code 1
    `-- OutputError    (OSError)     a result that cannot be written                  exit code 1
        |-- HeldError                another run writes there, now                    exit code 1
        `-- MachineError             this machine cannot, another one may             exit code 1

Each inherits the builtin a caller would expect, so `except ValueError` keeps its meaning.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ConfigError",
    "DataError",
    "GeosegError",
    "GridError",
    "HeldError",
    "LabelError",
    "MachineError",
    "ModelError",
    "OutputError",
    "SceneError",
    "SensorError",
    "nearest",
]


class GeosegError(Exception):
    """Root of every error that geoseg raises on purpose."""

    exit_code: ClassVar[int] = 1


class ConfigError(GeosegError, ValueError):
    """A recipe, key or option that cannot be used."""

    exit_code = 2


class SensorError(GeosegError, ValueError):
    """A sensor or band that is unknown or physically impossible."""

    exit_code = 2


class SceneError(GeosegError, ValueError):
    """An image that cannot be read or placed on the ground."""


class GridError(SceneError):
    """Grids or coordinate reference systems that are missing or do not agree."""

    exit_code = 2


class LabelError(GeosegError, ValueError):
    """Outlines that cannot serve as labels."""


class DataError(GeosegError, OSError):
    """A data set that cannot be fetched, or whose bytes are not the expected ones."""


class ModelError(GeosegError, ValueError):
    """A network or checkpoint that cannot be built or used."""


class OutputError(GeosegError, OSError):
    """A result that cannot be written."""


class HeldError(OutputError):
    """A folder or file that another run writes now."""


class MachineError(OutputError):
    """What this machine cannot write, and another one may."""


def nearest(wrong: str, known: Iterable[str]) -> str:
    """The end of an error about an unknown name: the nearest known one, and all of them."""
    names = sorted(set(known))
    close = get_close_matches(wrong, names, n=1, cutoff=0.5)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return f"{hint}Known: {', '.join(names)}."
