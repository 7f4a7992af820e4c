"""A pool: items that could be labelled, each with an embedding; on disk, for very many of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from geoseg.errors import DataError
from geoseg.files import sweep, write_json, writing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Pool", "PoolBatch", "holds_pool", "open_pool", "write_pool"]

_POOL, _ITEMS, _EMBEDDINGS = "pool.json", "items.parquet", "embeddings.npy"
_FORMAT = 1
_PIECE = 65_536  # rows turned into float32 at once
_SCHEMA = pa.schema([("item", pa.string()), ("lon", pa.float64()), ("lat", pa.float64())])


class PoolBatch(NamedTuple):
    """Some items."""

    items: Sequence[str]  # n ids, each once in a pool
    lon: NDArray[np.float64]  # (n,) degrees, NaN where it is not known
    lat: NDArray[np.float64]  # (n,)
    embeddings: NDArray[np.float32]  # (n, D), finite


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pool:
    """Items by position, 0 to N - 1; embeddings stay on disk."""

    items: pa.ChunkedArray  # (N,) of strings
    lon: NDArray[np.float64]  # (N,) degrees, NaN where it is not known
    lat: NDArray[np.float64]  # (N,)
    stored: NDArray[np.float16]  # (N, D)
    digest: str  # SHA-256 of ids, places and embeddings
    source: str  # what it was made of, as it is told

    def __len__(self) -> int:
        return len(self.stored)

    @property
    def width(self) -> int:
        """Numbers of an embedding."""
        return int(self.stored.shape[1])

    def embeddings(self, rows: slice | NDArray[np.intp]) -> NDArray[np.float32]:
        """Of some items (n, D)."""
        return np.asarray(self.stored[rows], dtype=np.float32)

    def pieces(self) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """All embeddings, some at a time, with where they belong."""
        for first in range(0, len(self), _PIECE):
            part = slice(first, min(first + _PIECE, len(self)))
            yield part, self.embeddings(part)

    def names(self, rows: NDArray[np.intp]) -> list[str]:
        """Ids of some items."""
        found: list[str] = self.items.take(pa.array(rows)).to_pylist()
        return found

    def positions(self, names: Sequence[str]) -> NDArray[np.intp]:
        """Where items lie (n,), -1 where the pool has none of that id."""
        wanted = pa.array(filter(_is_id, names), pa.string())
        # The few are looked for among the many: an index of all takes twenty times as long.
        rows = np.flatnonzero(pc.is_in(self.items, value_set=wanted).to_numpy(zero_copy_only=False))
        found = dict(zip(self.names(rows), rows.tolist(), strict=True))
        return np.array([found.get(name, -1) for name in names], dtype=np.intp)


def holds_pool(folder: Path) -> bool:
    """Whether a pool lies in a folder, whole."""
    return (folder / _POOL).is_file()


def write_pool(
    folder: Path,
    batches: Iterable[PoolBatch],
    *,
    width: int,
    source: str,
    count: int | None = None,
) -> Pool:
    """Write a pool, whole or not at all; memory does not grow with it.

    Embeddings are kept in half precision.

    Args:
        folder: gets pool.json, items.parquet and embeddings.npy; nobody else writes there.
        batches: of items.
        width: numbers of an embedding.
        source: what it is made of, as `geoseg active status` tells.
        count: how many items there are, where it is known beforehand.

    Raises:
        DataError: an id is empty or occurs twice, another number of items or of their numbers, or
            an embedding that is not finite in half precision.
        OutputError: the folder cannot be written.
    """
    (folder / _POOL).unlink(missing_ok=True)
    for name in (_EMBEDDINGS, _ITEMS):
        sweep(folder / name)
    with writing(folder / _EMBEDDINGS) as embeddings, writing(folder / _ITEMS) as items:
        with (
            embeddings.open("wb") as numbers,
            pq.ParquetWriter(items, _SCHEMA, compression="zstd") as table,
        ):
            begin = _write_head(numbers, (0, width))
            done, digest = _fill(numbers, table, batches, width, source)
            numbers.seek(0)
            if _write_head(numbers, (done, width)) != begin:
                raise DataError(f"A pool of {done} items is too large for one file; split it.")
        if done != (done if count is None else count):
            raise DataError(
                f"The {source} gives {done} items, and {count} were announced; make it again."
            )
        _require_unique(items)
    facts = {"format": _FORMAT, "digest": digest, "source": source}
    write_json(folder / _POOL, facts)
    return open_pool(folder)


def open_pool(folder: Path) -> Pool:
    """A pool that lies in a folder; its embeddings are mapped, not read.

    Raises:
        DataError: there is none, it is damaged, or another version wrote it.
    """
    if not holds_pool(folder):
        raise DataError(f"{folder} holds no pool; make it with `geoseg active init`.")
    try:
        facts = json.loads((folder / _POOL).read_text(encoding="utf-8"))
        table = pq.read_table(folder / _ITEMS, columns=_SCHEMA.names)
        stored = np.lib.format.open_memmap(folder / _EMBEDDINGS, mode="r")
        form, digest, source = facts["format"], str(facts["digest"]), str(facts["source"])
    except (OSError, ValueError, KeyError, TypeError, EOFError, pa.ArrowException) as error:
        raise DataError(f"{folder} holds a damaged pool ({error}); make it again.") from error
    whole = stored.ndim == 2 and stored.dtype == np.float16 and len(stored) == len(table)
    if form != _FORMAT or not whole or table.schema.types != _SCHEMA.types:
        raise DataError(f"{folder} holds a pool of another version or shape; make it again.")
    return Pool(
        items=table["item"],
        lon=table["lon"].to_numpy(),
        lat=table["lat"].to_numpy(),
        stored=stored,
        digest=digest,
        source=source,
    )


def _is_id(name: str) -> bool:
    """Whether an id can be written as text."""
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def _write_head(file: BinaryIO, shape: tuple[int, int]) -> int:
    """Write the head of a .npy file, which has room for longer numbers; where it ends."""
    head = {"descr": "<f2", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, head)
    return file.tell()


def _fill(
    file: BinaryIO, table: pq.ParquetWriter, batches: Iterable[PoolBatch], width: int, source: str
) -> tuple[int, str]:
    """Write batches; how many items they are, and their digest.

    The same items have the same digest, whatever batches they come in.
    """
    ids, places, numbers = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
    done = 0
    for batch in batches:
        _require_fit(batch, width, source)
        with np.errstate(over="ignore"):
            stored = np.ascontiguousarray(batch.embeddings, dtype="<f2")
        if not np.isfinite(stored).all():
            raise DataError(
                f"An embedding of the {source} is not finite, or beyond half precision (65504); "
                "leave it out or scale them all."
            )
        file.write(stored.data)
        at = np.stack([batch.lon, batch.lat], axis=1).astype(np.float64)
        table.write_table(
            pa.table([pa.array(batch.items, pa.string()), at[:, 0], at[:, 1]], schema=_SCHEMA)
        )
        ids.update(b"".join(b"%d:%b" % (len(n := name.encode()), n) for name in batch.items))
        places.update(at.tobytes())
        numbers.update(stored.data)
        done += len(batch.items)
    parts = [ids, places, numbers]
    return done, hashlib.sha256(b"".join(part.digest() for part in parts)).hexdigest()


def _require_fit(batch: PoolBatch, width: int, source: str) -> None:
    """Refuse a batch whose parts do not belong together, or whose ids are none."""
    count = len(batch.items)
    shapes = (batch.lon.shape, batch.lat.shape, batch.embeddings.shape)
    if shapes != ((count,), (count,), (count, width)):
        raise DataError(
            f"{count} items of the {source} come with longitudes, latitudes and embeddings of "
            f"shapes {shapes[0]}, {shapes[1]}, {shapes[2]}; give each item one, of {width} numbers."
        )
    if wrong := [name for name in batch.items if not _is_id(name)]:
        raise DataError(
            f"{wrong[0]!r} is no id of an item in the {source}; give each item one that is text."
        )


def _require_unique(items: Path) -> None:
    ids = pq.read_table(items, columns=["item"])["item"]
    if len(pc.unique(ids)) < len(ids):
        counts = pc.value_counts(ids)
        twice = next(one["values"] for one in counts.to_pylist() if one["counts"] > 1)
        raise DataError(
            f"The id {twice!r} occurs twice in the pool; give each item one of its own."
        )
