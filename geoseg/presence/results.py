"""What a classifier says of very many places, as partitioned GeoParquet."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from geoseg.errors import DataError
from geoseg.files import writing
from geoseg.parquet import DAMAGED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

__all__ = [
    "RESULTS",
    "SCHEMA",
    "Result",
    "part_of_shard",
    "parts_of",
    "read_part",
    "read_results",
    "read_told",
    "results_table",
    "write_part",
]

RESULTS = "results.json"
_TOLD = b"geoseg"
_ROWS = 8192  # read at once
_TIME = pa.timestamp("us", tz="UTC")
_GEO = {
    "version": "1.1.0",
    "primary_column": "geometry",
    # No "crs": longitude and latitude, OGC:CRS84.
    "columns": {"geometry": {"encoding": "WKB", "geometry_types": ["Point"]}},
}
SCHEMA = pa.schema(
    {
        "chip_id": pa.string(),
        "lon": pa.float64(),
        "lat": pa.float64(),
        "geometry": pa.binary(),
        "start": _TIME,
        "end": _TIME,
        "n_images": pa.int32(),
        "valid": pa.float32(),
        "logit": pa.float32(),
        "probability": pa.float32(),
        "decision": pa.bool_(),
        "model": pa.string(),
        "years": pa.list_(pa.float64()),
        "sensors": pa.list_(pa.string()),
        "image_logits": pa.list_(pa.float32()),
        "image_valid": pa.list_(pa.float32()),
        "present": pa.bool_(),
    },
    metadata={"geo": json.dumps(_GEO)},
)


class Result(NamedTuple):
    """What is said of one place; logit, probability and decision are None where it was not seen."""

    id: str
    lon: float
    lat: float
    present: bool | None
    times: tuple[datetime, ...]  # of its images, oldest first, as all that follows
    years: tuple[float, ...]
    sensors: tuple[str, ...]
    image_logits: tuple[float | None, ...]
    image_valid: tuple[float, ...]  # share of pixels
    logit: float | None
    probability: float | None
    decision: bool | None


def part_of_shard(folder: Path, number: int) -> Path:
    """Where the results of a shard lie."""
    return folder / f"shard={number:06d}" / "part.parquet"


def parts_of(folder: Path) -> list[Path]:
    """The results of all shards that are done, in their order."""
    return sorted(folder.glob("shard=*/part.parquet"))


def write_part(path: Path, results: Sequence[Result], *, model: str, told: object) -> None:
    """Write the results of one shard, whole or not at all; the same results give the same bytes.

    Args:
        path: of the file.
        results: a row each.
        model: identity of what gave them.
        told: any JSON value to be kept in the file.
    """
    columns = _columns(results, model)
    arrays = [pa.array(columns[field.name], field.type) for field in SCHEMA]
    schema = SCHEMA.with_metadata({**SCHEMA.metadata, _TOLD: json.dumps(told).encode()})
    with writing(path) as aside:
        pq.write_table(pa.Table.from_arrays(arrays, schema=schema), aside, compression="zstd")


def read_told(path: Path) -> Any:  # noqa: ANN401  any JSON value
    """What was kept in a file of results beside them; None where it is none of ours."""
    try:
        kept = (pq.read_schema(path).metadata or {}).get(_TOLD)
        return None if kept is None else json.loads(kept)
    except (pa.ArrowException, OSError, ValueError):
        return None


def read_results(folder: Path, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of all shards in their order, some thousands at a time.

    Args:
        folder: that `geoseg presence predict` wrote.
        columns: names; all when None.

    Raises:
        DataError: no results, or a damaged file.
    """
    parts = parts_of(folder)
    if not parts:
        raise DataError(f"{folder} holds no results; make them with `geoseg presence predict`.")
    for path in parts:
        yield from read_part(path, columns)


def read_part(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of one shard, some thousands at a time.

    Raises:
        DataError: a damaged file.
    """
    try:
        with pq.ParquetFile(path) as part:
            yield from part.iter_batches(
                batch_size=_ROWS, columns=None if columns is None else list(columns)
            )
    except DAMAGED as error:
        raise DataError(
            f"{path} cannot be read ({str(error).splitlines()[0]}); delete it and predict again."
        ) from error


def results_table(folder: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """All rows in memory: name the columns that are needed.

    Raises:
        DataError: no results, or a damaged file.
    """
    wanted = SCHEMA.names if columns is None else list(columns)
    schema = pa.schema([SCHEMA.field(name) for name in wanted])
    batches = [pa.record_batch(batch.columns, schema) for batch in read_results(folder, wanted)]
    return pa.Table.from_batches(batches, schema)


def _columns(results: Sequence[Result], model: str) -> dict[str, Any]:
    lon = np.array([r.lon for r in results], dtype=float)
    lat = np.array([r.lat for r in results], dtype=float)
    return {
        "chip_id": [r.id for r in results],
        "lon": [_known(v) for v in lon.tolist()],
        "lat": [_known(v) for v in lat.tolist()],
        "geometry": _points(lon, lat),
        "start": [r.times[0] for r in results],
        "end": [r.times[-1] for r in results],
        "n_images": [len(r.times) for r in results],
        "valid": [math.fsum(r.image_valid) / len(r.image_valid) for r in results],
        "logit": [r.logit for r in results],
        "probability": [r.probability for r in results],
        "decision": [r.decision for r in results],
        "model": [model] * len(results),
        "years": [r.years for r in results],
        "sensors": [r.sensors for r in results],
        "image_logits": [r.image_logits for r in results],
        "image_valid": [r.image_valid for r in results],
        "present": [r.present for r in results],
    }


def _points(lon: np.ndarray[Any, Any], lat: np.ndarray[Any, Any]) -> list[bytes | None]:
    known = np.isfinite(lon) & np.isfinite(lat)
    stored = np.full(len(lon), None, dtype=object)
    stored[known] = shapely.to_wkb(shapely.points(lon[known], lat[known]))
    found: list[bytes | None] = stored.tolist()
    return found


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
