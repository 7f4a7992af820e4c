"""What benchmarks/reliability.py counts of one hazard, and how each try is judged."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from geoseg.files import sha256_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from subprocess import CompletedProcess

__all__ = [
    "MOST_BYTES",
    "FaultError",
    "Ground",
    "Hazard",
    "Row",
    "all_below",
    "files_below",
    "require",
    "require_answered",
    "require_ended",
]

LONGEST_S = 120.0  # what takes longer hangs
MOST_BYTES = 2 * 10**9  # of memory


class FaultError(Exception):
    """What geoseg did and must not do."""


class LateError(BaseException):
    """It takes too long. No Exception, which a run would count for a failed attempt and go on."""


class Ground(NamedTuple):
    """What a hazard is tried on."""

    folder: Path  # its own, empty
    model: Path  # a checkpoint for scenes of two bands


@dataclass
class Row:
    """What was tried of one hazard, and what came of it."""

    hazard: str
    tried: int = 0
    faults: list[str] = field(default_factory=list)  # one sentence for each try that failed
    kills: int = 0  # that hit a process at work; each is a try
    kills_lost: int = 0  # after which something was lost
    names: int = 0  # tries with a name, and no file of that name
    not_run: str = ""  # why
    seconds: float = 0.0

    @property
    def failed(self) -> int:
        """Tries that failed."""
        return len(self.faults)

    @contextmanager
    def trying(self, what: str, *, kill: bool = False) -> Iterator[None]:
        """One try: it passes where the block comes to its end, in time."""
        self.tried += 1
        self.kills += kill
        try:
            with _in_time():
                yield
        except (Exception, LateError) as error:  # noqa: BLE001  whatever comes is what is looked for
            words = " ".join(str(error).split())
            name = "" if isinstance(error, FaultError | LateError) else f"{type(error).__name__}: "
            self.faults.append(f"{what}: {name}{words}"[:500])
            self.kills_lost += kill

    def fail(self, why: str) -> None:
        """What went wrong between tries, as one more that failed."""
        self.tried += 1
        self.faults.append(why[:500])

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "hazard": self.hazard,
            "tried": self.tried,
            "passed": self.tried - self.failed,
            "failed": self.failed,
            "kills": self.kills,
            "kills_lost": self.kills_lost,
            "names": self.names,
            "not_run": self.not_run or None,
            "seconds": round(self.seconds, 1),
            "faults": self.faults,
        }


class Hazard(NamedTuple):
    """A line of the table."""

    name: str
    meet: Callable[[Row, Ground], None]


@contextmanager
def _in_time() -> Iterator[None]:
    def tell(*_: object) -> None:
        raise LateError(f"it takes more than {LONGEST_S:.0f} s")

    before = signal.signal(signal.SIGALRM, tell)
    signal.setitimer(signal.ITIMER_REAL, LONGEST_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def require(holds: object, otherwise: str) -> None:
    """Fail a try, with this sentence."""
    if not holds:
        raise FaultError(otherwise)


def require_answered(told: str) -> None:
    """What a command says has to be of its own, and not of an error that nobody thought of."""
    unthought = "Traceback" in told or "--debug" in told
    require(not unthought, f"an error that was not thought of: {told[-300:]}")


def require_ended(done: CompletedProcess[str], code: int, *words: str) -> None:
    """A command has to end with a code, and to say certain words."""
    told = " ".join(done.stderr.split())
    require(done.returncode == code, f"exit code {done.returncode} and not {code}: {told[:200]}")
    require_answered(told)
    for word in words:
        require(word in told, f"{word!r} is not in what it says: {told[:300]}")


def files_below(folder: Path) -> dict[str, str]:
    """SHA-256 of all files under a final name, but the record of the run."""
    return {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith("manifest.") and not _is_hidden(path, folder)
    }


def all_below(folder: Path) -> dict[str, str]:
    """SHA-256 of all files, hidden ones and records too; of folders and links nothing."""
    return {
        path.relative_to(folder).as_posix(): sha256_of(path) if path.is_file() else ""
        for path in sorted(folder.rglob("*"))
    }


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)
