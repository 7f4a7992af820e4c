"""Shards as Parquet: a row an image, the rows of a place one after the other."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from geoseg.dates import as_utc
from geoseg.errors import LabelError, SceneError
from geoseg.presence.packs.kind import ImageKind
from geoseg.presence.packs.labels import as_present, position
from geoseg.presence.packs.pack import Problem
from geoseg.presence.packs.pixels import MOST_BYTES
from geoseg.presence.packs.stored import StoredImage, StoredPlace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["TableWriter", "places_of_table", "read_table"]

_ROWS = 256  # of a group: what is read at once
_SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "lon": pa.float64(),
        "lat": pa.float64(),
        "time": pa.timestamp("us", tz="UTC"),
        "sensor": pa.string(),
        "bands": pa.list_(pa.string()),
        "gsd_m": pa.float64(),
        "height": pa.int32(),
        "width": pa.int32(),
        "dtype": pa.string(),
        "image": pa.binary(),
        "present": pa.bool_(),
        "nodata": pa.float64(),
        "scale": pa.float64(),
        "mask": pa.binary(),  # a PNG of class ids, 255 where unknown
    }
)
_NEEDED = frozenset(_SCHEMA.names) - {"lon", "lat", "present", "nodata", "scale", "mask"}
# SyntaxError: of numpy, on what is no type.
_BROKEN = (ValueError, KeyError, TypeError, AttributeError, OverflowError, SyntaxError)


class TableWriter:
    """Writes places one after the other."""

    def __init__(self, path: Path) -> None:
        self._table = pq.ParquetWriter(path, _SCHEMA, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def add(self, place: StoredPlace) -> None:
        """Add a place after those before."""
        for image in place.images:
            self._rows.append(_row(place, image))
        if len(self._rows) >= _ROWS:
            self._flush()

    def close(self) -> None:
        """Finish the file."""
        self._flush()
        self._table.close()

    def _flush(self) -> None:
        if self._rows:
            self._table.write_batch(pa.RecordBatch.from_pylist(self._rows, schema=_SCHEMA))
            self._rows = []


def read_table(path: Path, start: int = 0) -> Iterator[StoredPlace | Problem]:
    """Places of a Parquet file in its order, one group of rows in memory at a time.

    Args:
        path: the Parquet file.
        start: row where a place begins (`places_of_table`), to go on from.

    Raises:
        SceneError: columns are missing.
        pyarrow.ArrowException: it is cut short or damaged.
        OSError: it cannot be read.
    """
    for key, rows in groupby(_rows(path, start), key=lambda row: row["id"]):
        try:
            yield _place(key, list(rows))
        except (SceneError, LabelError) as error:
            yield Problem(str(key), str(error))
        except _BROKEN as error:
            yield Problem(str(key), f"its rows are no place ({type(error).__name__}: {error}).")


def places_of_table(path: Path) -> Iterator[tuple[str, int]]:
    """Ids of the places of a Parquet file in its order, each with the row where it begins.

    Raises:
        SceneError: it has no ids.
        pyarrow.ArrowException: it is cut short or damaged.
        OSError: it cannot be read.
    """
    with pq.ParquetFile(path) as table:
        _require_columns(table)
        ids = table.read(columns=["id"])["id"].to_pylist()
    at = 0
    for key, rows in groupby(ids):
        yield str(key), at
        at += sum(1 for _ in rows)


def _row(place: StoredPlace, image: StoredImage) -> dict[str, Any]:
    kind, pixels = image.kind, image.decoded()
    if len(pixels) == len(kind.bands) + 1:  # alpha, which has no column
        void = np.broadcast_to(pixels[-1] == 0, pixels[:-1].shape)
        pixels = np.where(void, np.nan, pixels[:-1]) if void.any() else pixels[:-1]
        pixels = pixels.astype(np.float32) if void.any() else pixels
    return {
        "id": place.id,
        "lon": place.lon,
        "lat": place.lat,
        "time": image.time,
        "sensor": kind.sensor_id,
        "bands": list(kind.bands),
        "gsd_m": kind.gsd_m,
        "height": pixels.shape[1],
        "width": pixels.shape[2],
        "dtype": pixels.dtype.str,
        "image": np.ascontiguousarray(pixels).tobytes(),
        "present": place.present,
        "nodata": kind.nodata,
        "scale": kind.scale,
        "mask": image.mask,
    }


def _rows(path: Path, start: int) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(path) as table:
        _require_columns(table)
        wanted = [name for name in table.schema_arrow.names if name in _SCHEMA.names]
        groups, before = _groups_from(table, start)
        for batch in table.iter_batches(_ROWS, row_groups=groups, columns=wanted):
            yield from batch.slice(before).to_pylist()
            before = max(before - len(batch), 0)


def _groups_from(table: pq.ParquetFile, start: int) -> tuple[list[int], int]:
    """The groups of rows from that on which holds a row, and how many rows of it come before."""
    count = table.metadata.num_row_groups
    for group in range(count):
        rows = table.metadata.row_group(group).num_rows
        if start < rows:
            return list(range(group, count)), start
        start -= rows
    return [], 0


def _require_columns(table: pq.ParquetFile) -> None:
    missing = sorted(_NEEDED - set(table.schema_arrow.names))
    if missing:
        raise SceneError(f"it has no column {' and no '.join(missing)}.")


def _place(key: str, rows: list[dict[str, Any]]) -> StoredPlace:
    images = [_image(row) for row in rows]
    images.sort(key=lambda image: image.time)
    first = rows[0]
    lon, lat = position(first.get("lon"), first.get("lat"))
    return StoredPlace(
        id=str(key),
        lon=lon,
        lat=lat,
        present=as_present(first.get("present")),
        images=tuple(images),
    )


def _image(row: dict[str, Any]) -> StoredImage:
    dtype = np.dtype(row["dtype"])
    if dtype.kind not in "uifb" or len(row["image"]) > MOST_BYTES:
        raise SceneError(f"an image is {dtype} of {len(row['image'])} bytes; that is no chip.")
    mask = row.get("mask")
    if not (mask is None or isinstance(mask, bytes)):
        raise SceneError("its mask is no PNG in bytes.")
    shape = (len(row["bands"]), row["height"], row["width"])
    return StoredImage(
        pixels=np.frombuffer(row["image"], dtype=dtype).reshape(shape),
        suffix="npy",
        kind=ImageKind.of(row),
        time=as_utc(row["time"]),
        mask=mask,
    )
