"""Scored places as the table of results that all ways of predicting write."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from geoseg.presence.results import SCHEMA

if TYPE_CHECKING:
    from geoseg.presence.rows.grid import PlaceGrid
    from geoseg.presence.rows.places import PlaceLogits
    from geoseg.presence.rows.store import BlockRows
    from geoseg.presence.scoring import Verdict

__all__ = ["place_table"]

_POINT = np.dtype([("order", "u1"), ("kind", "<u4"), ("x", "<f8"), ("y", "<f8")])  # WKB


def place_table(
    rows: BlockRows, found: PlaceLogits, grid: PlaceGrid, *, verdict: Verdict, model: str
) -> pa.Table:
    """Results of the places of a block, by cell; the id of a place is the number of its cell.

    Column by column, as a loop over 10^8 places would take longer than all else.

    Args:
        rows: of the block.
        found: what is said of them.
        grid: of the places.
        verdict: what logits mean.
        model: identity of what gave them.
    """
    first, last = found.first[:-1], found.first[1:] - 1
    cells = rows.cell[first]
    lon, lat = grid.centres(cells)
    probability, decision = verdict(found.places.astype(float), _only_sensor(rows, found))
    names = pa.DictionaryArray.from_arrays(rows.sensor, list(rows.sensors)).cast(pa.string())
    columns = [
        pa.array(cells).cast(pa.string()),
        lon,
        lat,
        _points(lon, lat),
        rows.time[first],
        rows.time[last],
        np.diff(found.first).astype(np.int32),
        (found.mean(rows.valid) / 100).astype(np.float32),
        found.places,
        probability.astype(np.float32),
        decision,
        pa.repeat(model, len(cells)),
        *(
            pa.ListArray.from_arrays(found.first.astype(np.int32), values)
            for values in (
                _decimal_years(rows.time),
                names,
                found.images,
                (rows.valid / 100).astype(np.float32),
            )
        ),
        pa.nulls(len(cells)),  # whether it is known to hold it
    ]
    arrays = [pa.array(c).cast(f.type) for c, f in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _only_sensor(rows: BlockRows, found: PlaceLogits) -> list[str | None]:
    """The sensor that saw each place (P,), None where several did."""
    least = np.minimum.reduceat(rows.sensor, found.first[:-1])
    most = np.maximum.reduceat(rows.sensor, found.first[:-1])
    ids = np.array([*rows.sensors, None], dtype=object)
    only: list[str | None] = ids[np.where(least == most, least, len(rows.sensors))].tolist()
    return only


def _points(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> pa.Array:
    points = np.empty(len(lon), dtype=_POINT)
    points["order"], points["kind"], points["x"], points["y"] = 1, 1, lon, lat
    ends = np.arange(len(lon) + 1, dtype=np.int32) * _POINT.itemsize
    return pa.Array.from_buffers(
        pa.binary(), len(lon), [None, pa.py_buffer(ends), pa.py_buffer(points)]
    )


def _decimal_years(time: NDArray[np.datetime64]) -> NDArray[np.float64]:
    """Moments (N,) as years with a fraction, as `geoseg.dates.decimal_year` has them."""
    year = time.astype("datetime64[Y]")
    begin, end = year.astype(time.dtype), (year + 1).astype(time.dtype)
    years: NDArray[np.float64] = 1970 + year.astype(np.int64) + (time - begin) / (end - begin)
    return years
