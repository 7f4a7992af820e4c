"""The nearest items of a pool to some embeddings, among up to 10^7: by faiss.

`nearest` is exact: it reads the whole pool once for all queries together, and holds a piece of it.
Where many are asked for one after the other, as by a person who clicks, `index_pool` reads the pool
once and holds it; each question then looks into a part of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from geoseg.errors import ConfigError

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

    from geoseg.active.pool import Pool

__all__ = ["Neighbours", "PoolIndex", "index_pool", "nearest"]

_A_LIST = 40  # items that its centre is found from; faiss warns below 39
_ROUNDS = 10  # of k-means over these
_MOST_LISTS = 4096


class Neighbours(NamedTuple):
    """The nearest items of each query, the nearest first."""

    positions: NDArray[np.intp]  # (Q, count) in the pool; -1 where no more were found
    distances: NDArray[np.float32]  # (Q, count) Euclidean; infinite where no more were found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PoolIndex:
    """A pool in memory as it is stored, in lists of items near each other."""

    lists: int
    width: int  # numbers of an embedding
    _index: Any

    def nearest(self, queries: NDArray[np.floating], count: int, *, looked_into: int) -> Neighbours:
        """Of each query (Q, D), among the items of the lists that are nearest to it.

        Args:
            queries: (Q, D).
            count: of neighbours, 1 or more.
            looked_into: of how many lists, 1 or more; with all of them the answer is exact.

        Raises:
            ConfigError: queries of another width.
        """
        wanted = _queries(queries, self.width)
        into = _faiss().SearchParametersIVF(nprobe=min(looked_into, self.lists))
        squares, rows = self._index.search(wanted, count, params=into)
        return _sorted(squares, rows, count)


def nearest(pool: Pool, queries: NDArray[np.floating], count: int) -> Neighbours:
    """The nearest items of each query in the whole pool.

    A query that is an item of the pool finds itself. Of equal distances the lowest position comes
    first; which of them are found where there are more than `count`, is not said. Distances come
    from squares in single precision: that of an item to itself may be a thousandth of its length.

    Args:
        pool: of any size; a piece of it is held at a time.
        queries: (Q, D).
        count: of neighbours, 1 or more.

    Raises:
        ConfigError: queries of another width, or faiss is not installed.
    """
    faiss, wanted = _faiss(), _queries(queries, pool.width)
    squares = np.empty((len(wanted), 0), dtype=np.float32)
    rows = np.empty((len(wanted), 0), dtype=np.intp)
    for part, embeddings in pool.pieces():
        near, own = faiss.knn(wanted, embeddings, min(count, len(embeddings)))
        rows = np.concatenate([rows, own + part.start], axis=1)
        squares = np.concatenate([squares, near], axis=1)
        order = np.lexsort((rows, squares))[:, :count]
        rows = np.take_along_axis(rows, order, axis=1)
        squares = np.take_along_axis(squares, order, axis=1)
    return _sorted(squares, rows, count)


def index_pool(pool: Pool, rng: np.random.Generator) -> PoolIndex:
    """A pool of one item or more, for questions that are answered at once.

    An inverted file (Jegou, Douze and Schmid 2011, Product quantization for nearest neighbor
    search) of four lists for each item of the root of their number, 4,096 at most, with all numbers
    in half precision, as the pool stores them: 5 GB for 10^7 items of 256 numbers, and as much for
    a moment when lists grow.

    Raises:
        ConfigError: faiss is not installed.
    """
    faiss = _faiss()
    lists = max(1, min(4 * round(len(pool) ** 0.5), _MOST_LISTS, len(pool) // _A_LIST))
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatL2(pool.width), pool.width, lists, faiss.ScalarQuantizer.QT_fp16
    )
    index.cp.niter, index.cp.seed = _ROUNDS, int(rng.integers(2**31))
    index.cp.min_points_per_centroid = 1  # A pool of few items is one list, and no cause to warn.
    sample = np.sort(rng.choice(len(pool), min(_A_LIST * lists, len(pool)), replace=False))
    index.train(pool.embeddings(sample))
    for _, embeddings in pool.pieces():
        index.add(embeddings)
    return PoolIndex(lists=lists, width=pool.width, _index=index)


def _sorted(squares: NDArray[np.float32], rows: NDArray[np.integer], count: int) -> Neighbours:
    """By distance, then by position; filled up to `count`."""
    lacking = rows < 0
    apart = np.where(lacking, np.inf, np.sqrt(np.maximum(squares, 0))).astype(np.float32)
    order = np.lexsort((rows, apart))
    fill = ((0, 0), (0, count - rows.shape[1]))
    return Neighbours(
        np.pad(np.take_along_axis(rows, order, axis=1), fill, constant_values=-1).astype(np.intp),
        np.pad(np.take_along_axis(apart, order, axis=1), fill, constant_values=np.inf),
    )


def _queries(queries: NDArray[np.floating], width: int) -> NDArray[np.float32]:
    if queries.shape[1] != width:
        raise ConfigError(
            f"The items asked about have {queries.shape[1]} numbers and those of the pool "
            f"{width}; embed both with one encoder."
        )
    return np.ascontiguousarray(queries, dtype=np.float32)


def _faiss() -> ModuleType:
    try:
        import faiss
    except ImportError as error:
        raise ConfigError(
            "Nearest neighbours need faiss; run pip install 'faiss-cpu>=1.9'."
        ) from error
    return faiss
