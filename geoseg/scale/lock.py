"""One run at a time in a folder."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from geoseg.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["holder", "holding"]

_HELD = frozenset({errno.EAGAIN, errno.EACCES})


@contextmanager
def holding(path: Path) -> Iterator[bool]:
    """Hold a lock file; the kernel lets go of it when this process dies.

    Gives whether the one who held it before was killed: it had no time to wipe its name out.

    Raises:
        OutputError: another run holds it, or the disk has no locks.
    """
    try:
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path.parent} cannot be written: {error.strerror}.") from error
    with file:
        _hold(file, path)
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


def _hold(file: TextIO, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _HELD:
            raise OutputError(
                f"{path} cannot be locked: {error.strerror}; give a folder on another disk."
            ) from error
        file.seek(0)
        raise OutputError(
            f"{path.parent} is held by {file.read() or 'another run'}; wait for it, or give "
            "another folder."
        ) from error


def _write(file: TextIO, path: Path, text: str) -> None:
    try:
        file.seek(0)
        file.truncate()
        file.write(text)
        file.flush()
    except OSError as error:
        raise OutputError(f"{path} could not be written: {error.strerror}.") from error
