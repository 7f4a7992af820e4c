"""The table of a catalogue: its columns, and scenes written to it as they come."""

from __future__ import annotations

import json
import tempfile
from contextlib import contextmanager
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pystac.extensions.eo import CLOUD_COVER_PROP
from pystac.extensions.view import SUN_AZIMUTH_PROP, SUN_ELEVATION_PROP

from geoseg.errors import SceneError
from geoseg.files import writing
from geoseg.scenes.stac import BAND_INDEX, CHECKSUM, SENSOR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from odc.geo.geom import Geometry

__all__ = [
    "ASSET_ORDER",
    "NUMBERS",
    "ROWS_AT_ONCE",
    "TIMES",
    "CatalogWriter",
    "require_known_version",
    "row_writer",
    "writing_rows",
]

# A struct has no order of its own that would hold for all rows; the order of bands is kept apart.
ASSET_ORDER = "geoseg:assets"
TIMES = ("datetime", "start_datetime", "end_datetime")
NUMBERS = (SUN_AZIMUTH_PROP, SUN_ELEVATION_PROP, CLOUD_COVER_PROP)
ROWS_AT_ONCE = 2048
_GROUP = 16_384  # rows: many small groups take longer to read than few large ones
_VERSION_KEY = "geoseg:catalog"
_VERSION = 1

_TIME = pa.timestamp("us", tz="UTC")
_BAND = pa.struct({"name": pa.string(), "eo:common_name": pa.string()})
_ASSET = pa.struct(
    {
        "href": pa.string(),
        "roles": pa.list_(pa.string()),
        "bands": pa.list_(_BAND),
        BAND_INDEX: pa.int32(),
        "nodata": pa.float64(),
        CHECKSUM: pa.string(),
    }
)
_LINK = pa.struct({"rel": pa.string(), "href": pa.string(), "type": pa.string()})
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_METADATA = {
    "geo": json.dumps(
        {
            "version": "1.1.0",
            "primary_column": "geometry",
            "columns": {
                "geometry": {
                    "encoding": "WKB",
                    "geometry_types": [],
                    "covering": {"bbox": {corner: ["bbox", corner] for corner in _CORNERS}},
                }
            },
        }
    ),
    "stac-geoparquet": json.dumps({"version": "1.0.0"}),
    _VERSION_KEY: json.dumps({"version": _VERSION}),
}


class CatalogWriter:
    """Items, taken one by one; in memory are no more than are written at once.

    They wait on disk, as a table has a column for every asset of any of its rows.
    """

    def __init__(self, waiting: IO[str]) -> None:
        self._waiting = waiting
        self._assets: dict[str, None] = {"mask": None, "dem": None}

    def add(self, item: Mapping[str, Any], outline: Geometry) -> None:
        """Take a STAC item, in JSON.

        Args:
            item: its assets named relative to the folder of the table.
            outline: its footprint, in EPSG:4326.
        """
        self._assets.update(dict.fromkeys(item["assets"]))
        row = {
            **item,
            **item["properties"],
            "geometry": outline.geom.wkb_hex,
            "bbox": dict(zip(_CORNERS, item["bbox"], strict=True)),
            ASSET_ORDER: list(item["assets"]),
        }
        self._waiting.write(json.dumps(row) + "\n")

    def finish(self, path: Path) -> None:
        """Write the table."""
        schema = _schema(self._assets)
        with row_writer(path, schema) as write:
            for rows in self._batches():
                write(pa.Table.from_pylist(rows, schema=schema))

    def _batches(self) -> Iterator[list[dict[str, Any]]]:
        self._waiting.seek(0)
        rows = []
        for line in self._waiting:
            rows.append(_typed(json.loads(line)))
            if len(rows) == ROWS_AT_ONCE:
                yield rows
                rows = []
        if rows:
            yield rows


@contextmanager
def writing_rows(path: Path) -> Iterator[CatalogWriter]:
    """A table of items, which is there whole when the block succeeds, and not at all otherwise.

    Raises:
        OutputError: it cannot be written.
    """
    with (
        writing(path) as aside,
        tempfile.TemporaryFile("w+", encoding="utf-8", dir=aside.parent) as waiting,
    ):
        writer = CatalogWriter(waiting)
        yield writer
        writer.finish(aside)


@contextmanager
def row_writer(path: Path, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """A function that writes rows to a table, in groups that a search reads fast."""
    waiting: list[pa.Table] = []

    def flush() -> None:
        if waiting:
            table.write_table(pa.concat_tables(waiting).combine_chunks(), row_group_size=_GROUP)
            waiting.clear()

    def write(rows: pa.Table) -> None:
        waiting.append(rows)
        if sum(some.num_rows for some in waiting) >= _GROUP:
            flush()

    with pq.ParquetWriter(path, schema, compression="zstd") as table:
        yield write
        flush()


def require_known_version(metadata: Mapping[bytes, bytes] | None, path: Path) -> None:
    """Refuse a catalogue that a later geoseg wrote; older ones and those of others have no version.

    Raises:
        SceneError: of another version.
    """
    stated = (metadata or {}).get(_VERSION_KEY.encode())
    if stated is None:
        return
    try:
        version = json.loads(stated)["version"]
    except (ValueError, KeyError, TypeError):
        version = stated.decode("utf-8", errors="replace")
    if not isinstance(version, int) or not 1 <= version <= _VERSION:
        raise SceneError(
            f"{path} is a catalogue of version {version}, and this geoseg reads version "
            f"{_VERSION}; update geoseg, or scan the scenes again."
        )


def _schema(assets: Iterable[str]) -> pa.Schema:
    """The columns of a table of items: an asset is a field of `assets` in all rows."""
    return pa.schema(
        {
            "type": pa.string(),
            "stac_version": pa.string(),
            "stac_extensions": pa.list_(pa.string()),
            "id": pa.string(),
            "geometry": pa.binary(),
            "bbox": pa.struct(dict.fromkeys(_CORNERS, pa.float64())),
            "links": pa.list_(_LINK),
            "assets": pa.struct(dict.fromkeys(assets, _ASSET)),
            **dict.fromkeys(TIMES, _TIME),
            SENSOR: pa.string(),
            "platform": pa.string(),
            "instruments": pa.list_(pa.string()),
            **dict.fromkeys(NUMBERS, pa.float64()),
            ASSET_ORDER: pa.list_(pa.string()),
        },
        metadata=_METADATA,
    )


def _typed(row: dict[str, Any]) -> dict[str, Any]:
    """A row that waited, with values of the types of the table."""
    times = {name: row[name] for name in TIMES if row.get(name) is not None}
    row.update({name: datetime.fromisoformat(text) for name, text in times.items()})
    row["geometry"] = bytes.fromhex(row["geometry"])
    return row
