"""One run at a time in a folder."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from geoseg.errors import HeldError, MachineError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["holder", "holding", "sharing", "wait_for_all"]

_HELD = frozenset({errno.EAGAIN, errno.EACCES})
_GLANCE_S = 1.0  # of those who only look who holds it
_LOOK_EVERY_S = 0.2
_SAY_AFTER_S = 2.0
_LOG = logging.getLogger(__name__)


@contextmanager
def holding(path: Path, *, of: Path | None = None, patience_s: float = _GLANCE_S) -> Iterator[bool]:
    """Hold a lock file; the kernel lets go of it when this process dies.

    Gives whether the one who held it before was killed: it had no time to wipe its name out.

    Args:
        path: of the file.
        of: folder that it is held for; its own when None.
        patience_s: how long to wait for another run to let go.

    Raises:
        HeldError: another run holds it or has just removed it.
        MachineError: it cannot be opened here, or the disk has no locks.
    """
    folder = of or path.parent
    with _opened(path) as file:
        if not _is_taken_within(patience_s, file, path, f"{folder} is let go of"):
            file.seek(0)
            raise HeldError(
                f"{folder} is held by {file.read() or 'another run'}; wait for it, or give another "
                "folder."
            )
        if not _is_there(file, path):
            raise HeldError(f"{folder} was just written by another run; run again.")
        file.seek(0)
        killed = bool(file.read())
        _write(file, path, f"pid {os.getpid()} on host {socket.gethostname()}")
        yield killed
        _write(file, path, "")


def holder(path: Path) -> str:
    """Who holds a lock file, "pid N on host H"; '' where nobody does."""
    try:
        with path.open("r", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return file.read() or "another run"
            return ""
    except OSError:
        return ""


@contextmanager
def sharing(path: Path) -> Iterator[None]:
    """Hold a lock file beside others who share it; the kernel lets go of it with the process.

    Raises:
        MachineError: it cannot be opened here, or the disk has no locks.
    """
    with _opened(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH)
        except OSError as error:
            raise _not_locked(path, error) from error
        yield


def wait_for_all(path: Path, *, most_s: float) -> None:
    """Wait until nobody shares a lock file.

    Raises:
        HeldError: somebody does for longer than that.
        MachineError: it cannot be opened here.
    """
    with _opened(path) as file:
        until = f"workers of a killed run in {path.parent} end"
        if not _is_taken_within(most_s, file, path, until):
            raise HeldError(
                f"Workers of a run that was killed are still at work in {path.parent}; wait until "
                "they end, or end them (jobs of Slurm by scancel, workers of a scheduler with it), "
                "and run again."
            )


def _is_taken_within(patience_s: float, file: TextIO, path: Path, until: str) -> bool:
    """Take a lock file for oneself alone, as soon as nobody else has it; say what is waited for."""
    begun, is_said = time.monotonic(), False
    while not _is_taken(file, path):
        waited_s = time.monotonic() - begun
        if waited_s > patience_s:
            return False
        if waited_s > _SAY_AFTER_S and not is_said:
            _LOG.warning("Waiting until %s, %.0f s at most.", until, patience_s - waited_s)
            is_said = True
        time.sleep(_LOOK_EVERY_S)
    return True


def _is_taken(file: TextIO, path: Path) -> bool:
    """Take a lock file for oneself alone, if nobody else has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _HELD:
            raise _not_locked(path, error) from error
        return False
    return True


def _is_there(file: TextIO, path: Path) -> bool:
    """Whether a file is still the one of its name: who held it may have removed it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _opened(path: Path) -> TextIO:
    try:
        return path.open("a+", encoding="utf-8")
    except FileNotFoundError as error:
        raise MachineError(
            f"{path.parent} is not there for {socket.gethostname()}; give a folder on a disk that "
            "all workers share."
        ) from error
    except OSError as error:
        raise MachineError(f"{path.parent} cannot be written: {error.strerror}.") from error


def _not_locked(path: Path, error: OSError) -> MachineError:
    return MachineError(
        f"{path} cannot be locked: {error.strerror}; give a folder on another disk."
    )


def _write(file: TextIO, path: Path, text: str) -> None:
    try:
        file.seek(0)
        file.truncate()
        file.write(text)
        file.flush()
    except OSError as error:
        raise OutputError(f"{path} could not be written: {error.strerror}.") from error
