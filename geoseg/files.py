"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.errors import DataError, GeosegError, MachineError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "checksums_beside",
    "has_room",
    "is_of_machine",
    "plain_name",
    "read_checksums",
    "require_intact",
    "require_no_folder",
    "sha256_of",
    "sweep",
    "sweep_below",
    "why_not_written",
    "without_nan",
    "write_checksums",
    "write_json",
    "write_text",
    "writing",
]

_ASIDE = ".part"  # ends the name of a folder with a file that is being written
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_FULL_WORDS = ("no space left", "disk is full", "quota exceeded")  # of GDAL and SQLite
_OF_MACHINE = _FULL | {
    errno.EFBIG,  # by a limit of the process
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ENOTCONN,
    errno.EROFS,
    errno.ESTALE,
    errno.ETIMEDOUT,
}
_OF_MACHINE_WORDS = (*_FULL_WORDS, *(os.strerror(number).lower() for number in _OF_MACHINE))
_UNDONE_WORDS = "failed to commit"  # of GDAL: SQLite took back what it wrote, and so freed the disk
_UNSAFE = re.compile(r"[^\w.-]+")  # in the name of a file or folder
_SCANT_BYTES = 2**18  # less than a block of a raster takes


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A temporary path with the same suffix beside `path`, renamed onto it when the block succeeds.

    Whatever ends the block early leaves `path` as it was and removes the temporary file. That file
    sits in a hidden folder of its own, so that side-car files of a driver go with it.

    Raises:
        OutputError: `path` is a folder, its folder cannot be written, or the disk is full.
    """
    require_no_folder(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=_ASIDE, dir=path.parent))
    except OSError as error:
        raise OutputError(f"{path.parent} cannot be written: {error.strerror}.") from error
    try:
        aside = folder / path.name
        yield aside
        _sync(aside)
        aside.replace(path)
        _sync(path.parent)
    except OSError as error:
        if isinstance(error, GeosegError) or error.filename not in {None, str(folder / path.name)}:
            raise
        reason = why_not_written(error, path.parent)
        raise OutputError(f"{path} could not be written: {reason}.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def plain_name(text: str, *, longest: int = 150) -> str:
    """A name for a file or folder, of text of whatever origin: it never leads out of its folder.

    Args:
        text: such as the id of a scene.
        longest: bytes that are kept.
    """
    plain = _UNSAFE.sub("_", text).lstrip(".").encode()[:longest]
    return plain.decode(errors="ignore") or "_"


def require_no_folder(path: Path) -> None:
    """Refuse to write a file where a folder lies.

    Raises:
        OutputError: one lies there.
    """
    if path.is_dir():
        raise OutputError(f"{path} is a folder; name a file to write.")


def why_not_written(error: Exception, folder: Path) -> str:
    """Why a write into a folder failed, to end a sentence with; the way out where the disk is full.

    Drivers of rasters tell it by a cause, and of a full disk in words of their own or not at all.
    """
    cause = error.__cause__ or error
    words = getattr(error, "strerror", None) or str(cause)
    number = getattr(error, "errno", None) or getattr(cause, "errno", None)
    told = number in _FULL or any(full in words.lower() for full in _FULL_WORDS)
    if told or not has_room(folder):
        return "the disk is full; free space there and run again"
    reason = " ".join(words.split()).rstrip(". ") or type(error).__name__
    if _UNDONE_WORDS in words.lower():
        return f"{reason}; see that the disk has space left, and run again"
    return reason


def is_of_machine(error: BaseException | None) -> bool:
    """Whether an error tells of the disk, the network or a limit of this machine, now.

    Another machine, or this one later, may do the same without it. Drivers of rasters and SQLite
    tell of such things by words only.
    """
    while error is not None:
        if isinstance(error, MachineError):
            return True
        words = str(error).lower()
        if getattr(error, "errno", None) in _OF_MACHINE:
            return True
        if any(told in words for told in _OF_MACHINE_WORDS):
            return True
        error = error.__cause__ or error.__context__
    return False


def has_room(folder: Path) -> bool:
    """Whether the disk of a folder has room for another block of a raster, where it can be told."""
    usage = shutil.disk_usage(folder)
    return usage.total == 0 or usage.free >= _SCANT_BYTES


def sweep(path: Path) -> None:
    """Remove what killed writers of `path` left beside it; call it where no other one can write."""
    for folder in path.parent.glob(f".{glob.escape(path.name)}.*{_ASIDE}"):
        shutil.rmtree(folder, ignore_errors=True)


def sweep_below(folder: Path, *, but: str) -> None:
    """Remove what killed writers left in a folder and in those below it.

    Args:
        folder: where no one else writes.
        but: name of a file; folders below that hold one are another run's, and are left alone.
    """
    for below, folders, files in os.walk(folder):
        if but in files and Path(below) != folder:
            folders.clear()
        for name in [name for name in folders if name.startswith(".") and name.endswith(_ASIDE)]:
            folders.remove(name)
            shutil.rmtree(Path(below) / name, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text to `path`, whole or not at all."""
    with writing(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401  any JSON value
    """Write JSON to `path`, whole or not at all; NaN, which JSON lacks, becomes null."""
    write_text(path, json.dumps(without_nan(value), indent=2, allow_nan=False) + "\n")


def without_nan(value: Any) -> Any:  # noqa: ANN401  any JSON value
    """The same value with null for every number that is not finite."""
    if isinstance(value, Mapping):
        return {key: without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksums_beside(path: Path) -> Path:
    """Where the checksums of a file and its neighbours lie."""
    return path.with_name("SHA256SUMS")


def write_checksums(paths: Sequence[Path]) -> None:
    """Write the SHA-256 of files of one folder into its SHA256SUMS, as sha256sum -c reads it."""
    lines = [f"{sha256_of(path)}  {path.name}\n" for path in sorted(paths)]
    write_text(checksums_beside(paths[0]), "".join(lines))


def read_checksums(path: Path) -> dict[str, str]:
    """The SHA-256 of a file and its neighbours by their names, as SHA256SUMS of the folder says.

    Raises:
        DataError: that cannot be read.
    """
    sums = checksums_beside(path)
    if not sums.is_file():
        return {}
    try:
        lines = sums.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{sums} cannot be read ({error}); make it again, or delete it.") from error
    pairs = (line.split("  ", 1) for line in lines)
    return {pair[1]: pair[0] for pair in pairs if len(pair) == 2}


def require_intact(paths: Sequence[Path]) -> None:
    """Refuse files that are not what SHA256SUMS of their folder says; what it does not name passes.

    Raises:
        DataError: a file has changed since it was written.
    """
    for path in paths:
        if read_checksums(path).get(path.name, "") not in {"", sha256_of(path)}:
            raise DataError(
                f"{path} is not what it was when it was written (see {checksums_beside(path).name} "
                "beside it); make it again, or delete its line there if you changed it on purpose."
            )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
