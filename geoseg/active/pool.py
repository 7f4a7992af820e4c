"""A pool: items that could be labelled, each with an embedding; on disk, for very many of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from geoseg.errors import DataError
from geoseg.files import write_json, writing

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

    items: pa.StringArray | pa.ChunkedArray  # (N,)
    lon: NDArray[np.float64]  # (N,) degrees, NaN where it is not known
    lat: NDArray[np.float64]  # (N,)
    stored: NDArray[np.float16]  # (N, D)
    digest: str  # SHA-256 of ids and embeddings
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
        found = pc.index_in(pa.array(names, pa.string()), value_set=self.items)
        return np.asarray(pc.fill_null(found, -1).to_numpy(zero_copy_only=False), dtype=np.intp)


def holds_pool(folder: Path) -> bool:
    """Whether a pool lies in a folder, whole."""
    return (folder / _POOL).is_file()


def write_pool(
    folder: Path, batches: Iterable[PoolBatch], *, count: int, width: int, source: str
) -> Pool:
    """Write a pool, whole or not at all; memory does not grow with it.

    Embeddings are kept in half precision.

    Args:
        folder: gets pool.json, items.parquet and embeddings.npy.
        batches: `count` items in all.
        count: how many there are.
        width: numbers of an embedding.
        source: what it is made of, as `geoseg active status` tells.

    Raises:
        DataError: an id occurs twice, another number of items or of their numbers, or an embedding
            that is not finite in half precision.
        OutputError: the folder cannot be written.
    """
    (folder / _POOL).unlink(missing_ok=True)
    with writing(folder / _EMBEDDINGS) as embeddings, writing(folder / _ITEMS) as items:
        stored = np.lib.format.open_memmap(
            embeddings, mode="w+", dtype=np.float16, shape=(count, width)
        )
        with pq.ParquetWriter(items, _SCHEMA, compression="zstd") as table:
            done, digest = _fill(stored, table, batches, source)
        if done != count:
            raise DataError(
                f"The {source} gives {done} whole items of {width} numbers, and {count} were "
                "announced; make it again."
            )
        stored.flush()
        del stored
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
        table = pq.read_table(folder / _ITEMS, schema=_SCHEMA)
        stored = np.load(folder / _EMBEDDINGS, mmap_mode="r", allow_pickle=False)
        form, digest, source = facts["format"], str(facts["digest"]), str(facts["source"])
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise DataError(f"{folder} holds a damaged pool ({error}); make it again.") from error
    if form != _FORMAT or stored.ndim != 2 or len(stored) != len(table):
        raise DataError(f"{folder} holds a pool of another version or shape; make it again.")
    return Pool(
        items=table["item"],
        lon=table["lon"].to_numpy(),
        lat=table["lat"].to_numpy(),
        stored=stored,
        digest=digest,
        source=source,
    )


def _fill(
    stored: NDArray[np.float16],
    table: pq.ParquetWriter,
    batches: Iterable[PoolBatch],
    source: str,
) -> tuple[int, str]:
    """Write batches as far as they fit; how many items they are, and their digest."""
    digest, done = hashlib.sha256(), 0
    for batch in batches:
        end = done + len(batch.items)
        if end > len(stored) or batch.embeddings.shape[1:] != stored.shape[1:]:
            break
        with np.errstate(over="ignore"):
            stored[done:end] = batch.embeddings
        if not np.isfinite(stored[done:end]).all():
            raise DataError(
                f"An embedding of the {source} is not finite, or beyond half precision (65504); "
                "leave it out or scale them all."
            )
        columns = [pa.array(batch.items, pa.string()), batch.lon, batch.lat]
        table.write_table(pa.table(columns, schema=_SCHEMA))
        digest.update("\n".join(batch.items).encode() + b"\n" + stored[done:end].tobytes())
        done = end
    return done, digest.hexdigest()


def _require_unique(items: Path) -> None:
    ids = pq.read_table(items, columns=["item"])["item"]
    if len(pc.unique(ids)) < len(ids):
        counts = pc.value_counts(ids)
        twice = next(one["values"] for one in counts.to_pylist() if one["counts"] > 1)
        raise DataError(
            f"The id {twice!r} occurs twice in the pool; give each item one of its own."
        )
