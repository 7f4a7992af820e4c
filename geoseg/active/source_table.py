"""Items of a table that somebody else's encoder wrote: Parquet or CSV."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from geoseg.active.pool import PoolBatch
from geoseg.errors import DataError
from geoseg.parquet import DAMAGED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["TableColumns", "batches_of_table", "columns_of_table"]

_ROWS = 16_384
_EMBEDDING = "embedding"


class TableColumns(NamedTuple):
    """Where a table holds embeddings."""

    names: tuple[str, ...]  # `embedding`, or e0 to eN
    width: int  # numbers of an embedding
    placed: bool  # there are lon and lat


def columns_of_table(path: Path) -> TableColumns:
    """Where a table holds embeddings.

    Args:
        path: .parquet or .csv with a column `item`, where known `lon` and `lat` (degrees), and
            either a column `embedding` of lists of numbers (Parquet) or columns e0, e1 and so on.

    Raises:
        DataError: it cannot be read, or lacks these columns.
    """
    first = next(_tables(path), None)
    if first is None:
        raise DataError(f"{path} has no row; give a table of items.")
    names = set(first.column_names)
    given = {name for name in names if _is_number(name)} - {"lon", "lat"}
    numbered = tuple(f"e{n}" for n in range(len(given)))
    placed = {"lon", "lat"} <= names
    if "item" in names and _EMBEDDING in names and not given:
        rows = first[_EMBEDDING]
        kind = rows.type
        lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
        if lists or pa.types.is_fixed_size_list(kind):
            width = max(pc.max(pc.list_value_length(rows)).as_py() or 0, 0)
            if width:
                return TableColumns((_EMBEDDING,), width, placed)
    if "item" in names and given and given == set(numbered) and _EMBEDDING not in names:
        return TableColumns(numbered, len(numbered), placed)
    raise DataError(
        f"{path} has the columns {', '.join(first.column_names[:8])}; give item, lon, lat, and "
        "either embedding (lists of numbers, in Parquet) or e0, e1, e2 and so on."
    )


def batches_of_table(
    path: Path,
    columns: TableColumns,
    on_rows: Callable[[int, int], None] = lambda _done, _total: None,
    on_missing: Callable[[str], None] = lambda _item: None,
) -> Iterator[PoolBatch]:
    """The items of a table, in its order; one with nothing in place of its embedding is left out.

    Args:
        path: of the table.
        columns: as `columns_of_table` gives them.
        on_rows: is told of rows that were read, and of how many there are; CSV does not say,
            so that it is as many as were read.
        on_missing: is told of items that are left out.

    Raises:
        DataError: a row cannot be used.
    """
    total = _count(path)
    done = 0
    for table in _tables(path):
        done += len(table)
        there = pc.is_valid(table[columns.names[0]])
        for name in columns.names[1:]:
            there = pc.or_(there, pc.is_valid(table[name]))
        for item in table.filter(pc.invert(there))["item"].to_pylist():
            on_missing(str(item))
        yield _batch(path, table.filter(there), columns)
        on_rows(done, max(done, total))


def _batch(path: Path, table: pa.Table, columns: TableColumns) -> PoolBatch:
    try:
        items = table["item"].cast(pa.string()).fill_null("").to_pylist()
        lon, lat = (
            _floats(table[name]) if columns.placed else np.full(len(table), np.nan)
            for name in ("lon", "lat")
        )
        embeddings = _embeddings(table, columns)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise DataError(
            f"{path} has a row without {columns.width} numbers, or an id, lon or lat that is none "
            f"({' '.join(str(error).split())}); mend the table."
        ) from error
    outside = (np.abs(lon) > 180) | (np.abs(lat) > 90)
    if outside.any():
        row = int(outside.argmax())
        raise DataError(
            f"{path} says that {items[row]!r} lies at lon {lon[row]:g}, lat {lat[row]:g}; give "
            "degrees, -180 to 180 and -90 to 90."
        )
    return PoolBatch(items, lon, lat, embeddings)


def _embeddings(table: pa.Table, columns: TableColumns) -> NDArray[np.float32]:
    if columns.names != (_EMBEDDING,):
        return np.stack([_numbers(table[name]) for name in columns.names], axis=1)
    rows = table[_EMBEDDING]
    if not pc.all(pc.equal(pc.list_value_length(rows), columns.width)).as_py():
        raise ValueError("lists differ in length")
    return _numbers(pc.list_flatten(rows)).reshape(-1, columns.width)


def _floats(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Degrees, NaN where there is none."""
    found: NDArray[np.float64] = column.cast(pa.float64()).to_numpy()
    return found


def _numbers(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """Numbers of embeddings, NaN where there is none; they are kept in half precision anyway."""
    found: NDArray[np.float32] = column.cast(pa.float32(), safe=False).to_numpy()
    return found


def _is_number(name: str) -> bool:
    """Whether a column is one of numbers, by its name."""
    return name in {"lon", "lat"} or (name[:1] == "e" and name[1:].isdecimal())


def _count(path: Path) -> int:
    return int(pq.read_metadata(path).num_rows) if path.suffix == ".parquet" else 0


def _tables(path: Path) -> Iterator[pa.Table]:
    """Some rows at a time.

    Raises:
        DataError: it cannot be read.
    """
    if path.suffix not in {".parquet", ".csv"}:
        raise DataError(f"{path} is no table of embeddings; give a .parquet or .csv file.")
    with _readable(path):
        if path.suffix == ".parquet":
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(_ROWS):
                    yield pa.Table.from_batches([batch])
            return
        with pa.csv.open_csv(path) as reader:
            names = reader.schema.names
        # Ids are text, however much they look like numbers: 007 is not 7.
        types = {n: pa.float64() if _is_number(n) else pa.string() for n in names}
        convert = pa.csv.ConvertOptions(column_types=types)
        with pa.csv.open_csv(path, convert_options=convert) as reader:
            for batch in reader:
                yield pa.Table.from_batches([batch])


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except DAMAGED as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{path} cannot be read ({' '.join(str(error).split())}); give a whole table."
        ) from error
