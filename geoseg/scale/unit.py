"""A unit of work: what is to be made, one try at it, and how it ended."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from geoseg.errors import ConfigError, GeosegError, HeldError
from geoseg.files import is_of_machine, sha256_of
from geoseg.scale.lock import sharing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = [
    "ATTEMPTS",
    "Attempt",
    "Ended",
    "Failure",
    "Summary",
    "Unit",
    "attempt",
    "inputs_hash",
    "this_worker",
]


ATTEMPTS = 3  # at a unit, before it is set aside


@dataclass(frozen=True, slots=True)
class Unit:
    """One piece of work that writes one file.

    `inputs` tells one input from another: a unit is done again when it changes (see `inputs_hash`).

    Raises:
        ConfigError: the name is empty.
    """

    name: str  # unique in its manifest
    argument: Any  # what the work is called with; picklable
    output: Path  # the file that the work writes, in the folder of the manifest
    inputs: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigError(f"The unit that writes {self.output} has no name; give it one.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What came of one try at a unit; `error` is empty when its output is written."""

    name: str
    worker: str  # host:process
    started: float  # seconds since 1970
    seconds: float = 0.0
    result: str = "null"  # JSON
    sha256: str = ""  # of the output
    error: str = ""  # one sentence
    final: bool = False  # trying again would end the same way
    passing: bool = False  # another run or the machine is at fault, not the unit
    troubled: bool = False  # the machine is


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a unit ended in this run."""

    unit: Unit
    state: Literal["done", "skipped", "failed"]
    result: Any = None  # what the work returned, now or in an earlier run
    error: str = ""
    seconds: float = 0.0
    worker: str = ""

    @property
    def name(self) -> str:
        """Of the unit."""
        return self.unit.name


@dataclass(frozen=True, slots=True)
class Failure:
    """A unit that was set aside."""

    name: str
    error: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run did: units done now, units that were done before, and units set aside."""

    done: int
    skipped: int
    failed: tuple[Failure, ...]


def inputs_hash(value: Any) -> str:  # noqa: ANN401  any JSON value
    """SHA-256 of a JSON value, in hexadecimal; the order of keys does not matter."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def this_worker() -> str:
    """The name of this process: host:process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def attempt(work: Callable[[Any], Any], unit: Unit, fence: Path) -> Attempt:
    """Do a unit here and now; what goes wrong is told by the result.

    Args:
        work: what is done.
        unit: to what.
        fence: a lock file that is shared meanwhile, so that a later run knows of it.
    """
    started, clock = time.time(), time.monotonic()
    result, sha256, error = "null", "", ""
    final, passing, troubled = False, False, False
    try:
        with sharing(fence):
            result = json.dumps(work(unit.argument))
        sha256 = sha256_of(unit.output)
    except Exception as wrong:  # noqa: BLE001  one unit must not end the others
        ours = isinstance(wrong, GeosegError)
        error = str(wrong) if ours else f"{type(wrong).__name__}: {wrong}"
        troubled = is_of_machine(wrong)
        passing = troubled or isinstance(wrong, HeldError)
        final = ours and not passing
    return Attempt(
        name=unit.name,
        worker=this_worker(),
        started=started,
        seconds=time.monotonic() - clock,
        result=result,
        sha256=sha256,
        error=error,
        final=final,
        passing=passing,
        troubled=troubled,
    )
