"""The members of a tar file, one after the other, as fast as a network on a GPU takes them."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

__all__ = ["Member", "read_members"]

_BLOCK = 512
_READ_AT_ONCE = 2**20
_FILE = (b"0", b"\0")
_ZEROS = bytes(_BLOCK)


class Member(NamedTuple):
    """One member of a tar file."""

    name: str
    size: int  # bytes
    content: bytes | None  # None where it is too large, or no file
    at: int  # byte of the tar file where its header begins


def read_members(path: Path, most_bytes: int, start: int = 0) -> Iterator[Member]:
    """The files of a tar file in its order; folders are passed over.

    The headers of plain files are read here, in a tenth of the time of the standard library; from
    the first that is of another kind on (a long name, a link) it takes over.

    Args:
        path: the tar file.
        most_bytes: content of more is not read.
        start: byte where the header of a member begins, to go on from.

    Raises:
        tarfile.TarError: it is cut short or damaged.
        OSError: it cannot be read.
    """
    with path.open("rb", buffering=_READ_AT_ONCE) as file:
        file.seek(start)
        while True:
            at = file.tell()
            header = file.read(_BLOCK)
            if header == _ZEROS:
                return
            plain = _plain(header)
            if plain is None:
                break
            name, size = plain
            yield Member(name, size, _content(file, size, most_bytes), at)
        file.seek(at)
        yield from _by_library(file, most_bytes, at)


def _plain(header: bytes) -> tuple[str, int] | None:
    """Name and size of a plain file; None for whatever else it is."""
    if len(header) < _BLOCK or header[156:157] not in _FILE or header[257:262] != b"ustar":
        return None
    try:
        total = int(header[148:156].rstrip(b"\0 "), 8)
        size = _not_negative(int(header[124:136].rstrip(b"\0 "), 8))
        name = header[:100].partition(b"\0")[0].decode("utf-8")
        prefix = header[345:500].partition(b"\0")[0].decode("utf-8")
    except ValueError:
        return None
    # The sum of all bytes, those of the sum itself taken for spaces.
    if sum(header) - sum(header[148:156]) + 8 * 32 != total or not name:
        return None
    return (f"{prefix}/{name}" if prefix else name), size


def _not_negative(size: int) -> int:
    """A size; one below 0 would lead back to members before, again and again."""
    if size < 0:
        raise tarfile.ReadError(f"a member claims to have {size} bytes")
    return size


def _content(file: BinaryIO, size: int, most_bytes: int) -> bytes | None:
    beyond = -size % _BLOCK
    if size > most_bytes:
        file.seek(size + beyond, 1)
        return None
    content = file.read(size)
    if len(content) < size or len(file.read(beyond)) < beyond:
        raise tarfile.ReadError("unexpected end of data")
    return content


def _by_library(file: BinaryIO, most_bytes: int, start: int) -> Iterator[Member]:
    with tarfile.open(fileobj=file, mode="r|", bufsize=_READ_AT_ONCE) as tar:
        for info in tar:
            tar.members = []  # type: ignore[attr-defined]  # which otherwise grows with the file
            _not_negative(info.size)
            if info.isdir():
                continue
            content = None
            if info.isfile() and info.size <= most_bytes:
                opened = tar.extractfile(info)
                content = None if opened is None else opened.read()
            yield Member(info.name, info.size, content, start + info.offset)
