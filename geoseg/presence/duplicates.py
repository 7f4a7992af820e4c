"""Names that come twice among very many, found with little memory."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["repeated"]

_BUCKETS = 256  # by the first byte of a hash
_HELD = 4096  # hashes of a bucket that wait to be written


def repeated(
    read: Callable[[], Iterable[tuple[int, Sequence[str]]]],
) -> Iterator[tuple[str, list[int]]]:
    """Names that come more than once, and where.

    Their 64-bit hashes are sorted bucket by bucket, in temporary files of 8 bytes a name. Memory
    grows with those that come twice alone: names are read again for them, since two names may have
    one hash.

    Args:
        read: gives all names, some at a time with where they are; called twice.
    """
    with tempfile.TemporaryDirectory(prefix="geoseg-names-") as name:
        suspects = _twice(Path(name), read())
    if not len(suspects):
        return
    places: dict[str, list[int]] = {}
    for where, names in read():
        hashes = _hashes(names)
        near = np.searchsorted(suspects, hashes).clip(max=len(suspects) - 1)
        for n in np.flatnonzero(suspects[near] == hashes).tolist():
            places.setdefault(names[n], []).append(where)
    yield from ((name, found) for name, found in places.items() if len(found) > 1)


def _twice(folder: Path, read: Iterable[tuple[int, Sequence[str]]]) -> NDArray[np.uint64]:
    """Hashes that come more than once, rising."""
    held: list[list[NDArray[np.uint64]]] = [[] for _ in range(_BUCKETS)]
    sizes = np.zeros(_BUCKETS, dtype=int)
    for _, names in read:
        hashes = np.sort(_hashes(names))
        bounds = np.searchsorted(hashes >> np.uint64(56), np.arange(_BUCKETS + 1))
        for bucket in np.flatnonzero(np.diff(bounds)).tolist():
            held[bucket].append(hashes[bounds[bucket] : bounds[bucket + 1]])
            sizes[bucket] += len(held[bucket][-1])
            if sizes[bucket] >= _HELD:
                _flush(folder, bucket, held[bucket])
                sizes[bucket] = 0
    found = []
    for bucket in range(_BUCKETS):
        _flush(folder, bucket, held[bucket])
        path = folder / str(bucket)
        if path.exists():
            values, counts = np.unique(np.fromfile(path, dtype=np.uint64), return_counts=True)
            found.append(values[counts > 1])
    return np.concatenate(found) if found else np.empty(0, dtype=np.uint64)


def _flush(folder: Path, bucket: int, held: list[NDArray[np.uint64]]) -> None:
    if held:
        with (folder / str(bucket)).open("ab") as file:
            np.concatenate(held).tofile(file)
        held.clear()


def _hashes(names: Sequence[str]) -> NDArray[np.uint64]:
    import pandas as pd

    return pd.util.hash_array(np.array(names, dtype=object), categorize=False)
