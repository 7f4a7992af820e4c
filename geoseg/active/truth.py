"""What each item of a pool is: a table, to simulate a labelling by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from geoseg.active.loop import LabelledPool
from geoseg.active.neighbourhood import neighbourhoods
from geoseg.active.pool import Pool
from geoseg.errors import LabelError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["read_truth"]

_ALSO = {"item": "chip_id", "class": "said"}  # as other tables of labels name these columns
_TEST_SHARE = 5  # one in so many neighbourhoods tests, where the table does not say which items do


def read_truth(path: Path, pool: Pool) -> LabelledPool:
    """The items of a pool with what they are; those that test are taken out of it.

    Args:
        path: a CSV with a row for each item: item (or chip_id); class (or said); and, if known,
            kind, a hidden kind of a positive, and part, which is `test` for items that test.
            Without a part, a fifth of the neighbourhoods of 5 km test, or of the items where none
            has a position. Items without a class are left out. Of two classes the rarer one is the
            positive.
        pool: of the items.

    Raises:
        LabelError: no such table, no items of the pool, or no positives to find or to test by.
    """
    table = _read(path)
    rows = pool.positions(table["item"].tolist())
    if (rows < 0).all():
        raise LabelError(f"No item of {path} is in the pool; give the truth of this one.")
    table = table[rows >= 0].assign(row=rows[rows >= 0]).sort_values("row")
    counts = table["class"].value_counts()
    # Of two the second is the positive; of more their order does not matter.
    names = tuple(sorted(counts.index, key=lambda name: (-counts[name], name)))
    places = table["row"].to_numpy(dtype=np.intp)
    classes = table["class"].map({name: n for n, name in enumerate(names)}).to_numpy(np.intp)
    tests = _tests(table, pool, places)
    kinds = pd.factorize(table["kind"].replace("", np.nan))[0]
    if len(names) < 2 or not tests.any() or tests.all():
        raise LabelError(f"{path} has no two classes, or nothing to test by; label more items.")
    return LabelledPool(
        pool=_part(pool, places[~tests]),
        classes=classes[~tests],
        kinds=kinds[~tests],
        tested=pool.embeddings(places[tests]),
        tested_classes=classes[tests],
        names=names,
    )


def _read(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise LabelError(f"{path} cannot be read as CSV: {error}.") from error
    named = {other: name for name, other in _ALSO.items() if name not in table}
    table = table.rename(columns=named)
    for name in ("item", "class"):
        if name not in table:
            raise LabelError(f"{path} has no column {name!r}; give a row item,class for each item.")
    for name in ("kind", "part"):
        table[name] = table.get(name, "")
    table = table[table["class"] != ""]
    if table["item"].duplicated().any():
        twice = table.loc[table["item"].duplicated(), "item"].iloc[0]
        raise LabelError(f"{path} names the item {twice!r} twice; give it one row.")
    return table


def _tests(table: pd.DataFrame, pool: Pool, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
    told = table["part"].to_numpy() == "test"
    if told.any():
        return np.asarray(told)
    groups = neighbourhoods(pool, rows).astype(np.uint64)
    # A multiplication by an odd number scatters neighbouring cells (Knuth's hash).
    scattered = (groups * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
    return np.asarray(scattered % np.uint64(_TEST_SHARE) == 0)


def _part(pool: Pool, rows: NDArray[np.intp]) -> Pool:
    """Some items, in memory."""
    return Pool(
        items=pa.chunked_array([pa.array(pool.names(rows), pa.string())]),
        lon=pool.lon[rows],
        lat=pool.lat[rows],
        stored=pool.stored[rows],
        digest=pool.digest,
        source=pool.source,
    )
