"""Items of rows that `geoseg presence embed` wrote: one a place."""

from __future__ import annotations

import hashlib
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from geoseg.active.pool import PoolBatch
from geoseg.presence.rows.store import (
    digest_of_rows,
    index_rows,
    read_block,
    read_header,
    rows_folder,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["batches_of_rows", "digest_of_all_rows", "width_of_rows"]


def width_of_rows(folder: Path) -> int:
    """Numbers of an embedding.

    Raises:
        DataError: the folder holds no rows.
    """
    return len(read_header(folder).quantiser.scale)


def digest_of_all_rows(folder: Path) -> str:
    """The identity of rows: what made them, and which scenes are there.

    Raises:
        DataError: the folder holds no rows.
    """
    read_header(folder)
    files = [
        f"{path.name} {path.stat().st_size}"
        for path in sorted(rows_folder(folder).glob("*.parquet"))
    ]
    return hashlib.sha256("\n".join([digest_of_rows(folder), *files]).encode()).hexdigest()


def batches_of_rows(
    folder: Path, on_block: Callable[[int, int], None] = lambda _done, _total: None
) -> Iterator[PoolBatch]:
    """Places, named as `geoseg presence score` names them.

    The embedding of a place is the mean of those of its images, each weighed by what of it is
    valid.

    Args:
        folder: of the rows.
        on_block: is told of each block of places.

    Raises:
        DataError: the folder holds no rows, or a file is damaged.
    """
    header = read_header(folder)
    blocks = [
        list(own) for _, own in groupby(index_rows(folder, header.grid), key=lambda g: g.block)
    ]
    for number, groups in enumerate(blocks):
        rows = read_block(groups)
        first = np.concatenate([[0], np.flatnonzero(np.diff(rows.cell)) + 1])
        weight = rows.valid.astype(np.float32).clip(min=1)
        images = header.quantiser.restore(rows.stored) * weight[:, None]
        sums, weights = np.add.reduceat(images, first), np.add.reduceat(weight, first)
        embeddings = (sums / weights[:, None]).astype(np.float32)
        lon, lat = header.grid.centres(rows.cell[first])
        yield PoolBatch([str(cell) for cell in rows.cell[first].tolist()], lon, lat, embeddings)
        on_block(number + 1, len(blocks))
