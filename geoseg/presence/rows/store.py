"""Rows on disk: one for each image of a place, without the image."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from geoseg.errors import DataError, ModelError
from geoseg.files import sha256_of, write_json, writing
from geoseg.parquet import DAMAGED
from geoseg.presence.about import short
from geoseg.presence.rows.grid import PlaceGrid
from geoseg.presence.rows.quantise import Quantiser

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from geoseg.scenes import Scene

__all__ = [
    "BLOCK_CELLS",
    "BlockRows",
    "RowGroup",
    "RowsHeader",
    "SceneRows",
    "blocks_of",
    "digest_of_rows",
    "holds_rows",
    "index_rows",
    "read_block",
    "read_header",
    "require_rows_of",
    "rows_folder",
    "write_header",
    "write_rows",
]

BLOCK_CELLS = 64  # cells to a side of what is scored at once: 20 km at 320 m

_HEADER = "rows.json"
_FORMAT = 1
_SMALL = ("cell", "time", "sensor", "scene", "valid", "logit")
_SCORED = ("cell", "time", "sensor", "valid", "logit")


class SceneRows(NamedTuple):
    """Rows of one scene."""

    cell: NDArray[np.uint64]  # (N,)
    valid: NDArray[np.uint8]  # (N,) percent of the pixels
    logit: NDArray[np.float32]  # (N,) of the image, by the head of the model, before quantisation
    stored: NDArray[np.int8]  # (N, D) quantised embeddings


class BlockRows(NamedTuple):
    """Rows of one block of places, of all scenes: by cell, and those of a cell by time."""

    cell: NDArray[np.uint64]  # (N,)
    time: NDArray[np.datetime64]  # (N,) us, UTC: the start of the acquisition
    sensor: NDArray[np.int32]  # (N,) number in `sensors`
    valid: NDArray[np.uint8]  # (N,) percent of the pixels
    logit: NDArray[np.float32]  # (N,) as above
    stored: NDArray[np.int8]  # (N, D), or (N, 0) where they were not read
    sensors: tuple[str, ...]  # ids


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsHeader:
    """What holds for all rows of a set."""

    model_sha256: str  # of the file that they were made with
    embedder_sha256: str  # of the weights that make embeddings
    head_sha256: str  # of the weights that make logits of them
    target: str  # what is looked for
    spacing_m: float
    chip_m: float  # side of the square around a place that is looked at
    least_valid: float  # share of a chip: below it there is no row
    quantiser: Quantiser

    @property
    def grid(self) -> PlaceGrid:
        """Of the places."""
        return PlaceGrid(self.spacing_m)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        fields = {key: value for key, value in asdict(self).items() if key != "quantiser"}
        return {"format": _FORMAT, **fields, "quantiser": self.quantiser.to_dict()}


class RowGroup(NamedTuple):
    """Where the rows of one block of places lie in one file."""

    block: int  # a cell of the coarser grid
    path: Path
    number: int  # of the row group
    rows: int


def write_header(folder: Path, header: RowsHeader) -> None:
    """Write rows.json of a folder."""
    write_json(folder / _HEADER, header.to_dict())


def holds_rows(folder: Path) -> bool:
    """Whether rows.json is there."""
    return (folder / _HEADER).is_file()


def read_header(folder: Path) -> RowsHeader:
    """What holds for the rows of a folder.

    Raises:
        DataError: the folder holds no rows, or of another version.
    """
    path = folder / _HEADER
    if not holds_rows(folder):
        raise DataError(f"{folder} holds no rows; make them with `geoseg presence embed`.")
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        if fields.pop("format") != _FORMAT:
            raise DataError(f"{path} was written by another version of geoseg; embed again.")
        return RowsHeader(**{**fields, "quantiser": Quantiser.from_dict(fields["quantiser"])})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is damaged ({error}); embed again.") from error


def require_rows_of(folder: Path, header: RowsHeader, model: Path, embedder_sha256: str) -> None:
    """Refuse a model whose embeddings the rows are not.

    Raises:
        ModelError: the rows were made by other weights.
    """
    if embedder_sha256 != header.embedder_sha256:
        raise ModelError(
            f"{folder} holds rows of another model ({short(header.model_sha256)}) than {model}; "
            "give that one, or embed with this one."
        )


def digest_of_rows(folder: Path) -> str:
    """SHA-256 of rows.json: the identity of a set of rows, whichever scenes are added to it."""
    return sha256_of(folder / _HEADER)


def rows_folder(folder: Path) -> Path:
    """Where the files of rows lie."""
    return folder / "rows"


def blocks_of(grid: PlaceGrid, cells: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The blocks (N,) of places that are scored together."""
    return grid.coarser(BLOCK_CELLS).cells_at(*grid.centres(cells))


def write_rows(path: Path, grid: PlaceGrid, scene: Scene, rows: SceneRows) -> None:
    """Write rows of one scene, whole or not at all: a row group a block, in it by cell."""
    blocks = blocks_of(grid, rows.cell)
    order = np.lexsort((rows.cell, blocks))
    ends = np.cumsum(np.unique(blocks, return_counts=True)[1])
    schema = _schema(rows.stored.shape[1])
    with (
        writing(path) as aside,
        pq.ParquetWriter(
            aside,
            schema,
            use_dictionary=["time", "sensor", "scene"],
            # A byte of an embedding is noise to a compressor.
            compression={**dict.fromkeys(_SMALL, "zstd"), "embedding": "none"},
            column_encoding={"cell": "DELTA_BINARY_PACKED"},
            # Only the least cell of a group is asked for; of an embedding they would be a waste.
            write_statistics=["cell"],
        ) as writer,
    ):
        for first, end in pairwise((0, *ends.tolist())):
            part = order[first:end]
            writer.write_table(_table(scene, SceneRows(*(c[part] for c in rows)), schema))  # type: ignore[arg-type]  # column by column


def index_rows(folder: Path, grid: PlaceGrid) -> list[RowGroup]:
    """Where the rows of each block lie, by block and file; the footers are read, not the rows.

    Raises:
        DataError: a file is damaged.
    """
    found: list[RowGroup] = []
    for path in sorted(rows_folder(folder).glob("*.parquet")):
        with _opened(path) as file:
            metadata = file.metadata
            groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
        least = np.array([g.column(0).statistics.min for g in groups], dtype=np.uint64)
        blocks = blocks_of(grid, least).tolist()
        found += [
            RowGroup(block, path, number, group.num_rows)
            for number, (block, group) in enumerate(zip(blocks, groups, strict=True))
        ]
    return sorted(found)


def read_block(groups: Sequence[RowGroup], *, embeddings: bool = True) -> BlockRows:
    """The rows of one block from all files; those of one place and moment in the order of files.

    Args:
        groups: of the block.
        embeddings: whether to read them.

    Raises:
        DataError: a file is damaged.
    """
    columns = [*_SCORED, "embedding"] if embeddings else list(_SCORED)
    tables = []
    for group in groups:
        with _opened(group.path) as file:
            tables.append(file.read_row_group(group.number, columns=columns, use_threads=False))
    table = pa.concat_tables(tables).unify_dictionaries()
    stored = np.empty((len(table), 0), dtype=np.int8)
    if embeddings:
        stored = np.concatenate([_stored(chunk) for chunk in table["embedding"].chunks])
    cell, time, valid, logit = (
        table[name].to_numpy() for name in ("cell", "time", "valid", "logit")
    )
    codes = np.concatenate([chunk.indices.to_numpy() for chunk in table["sensor"].chunks])
    order = np.lexsort((time, cell))
    return BlockRows(
        cell=cell[order],
        time=time[order],
        sensor=codes[order],
        valid=valid[order],
        logit=logit[order],
        stored=stored[order],
        sensors=tuple(table["sensor"].chunk(0).dictionary.to_pylist()),
    )


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except DAMAGED as error:
        raise DataError(f"{path} cannot be read ({error}); delete it and embed again.") from error


def _schema(width: int) -> pa.Schema:
    names = pa.dictionary(pa.int32(), pa.string())
    return pa.schema(
        [
            ("cell", pa.uint64()),
            ("time", pa.timestamp("us", tz="UTC")),
            ("sensor", names),
            ("scene", names),
            ("valid", pa.uint8()),
            ("logit", pa.float32()),
            ("embedding", pa.binary(width)),
        ]
    )


def _table(scene: Scene, rows: SceneRows, schema: pa.Schema) -> pa.Table:
    count, width = rows.stored.shape
    same = [scene.start.astimezone(UTC), scene.sensor_id, scene.id]
    embeddings = pa.py_buffer(np.ascontiguousarray(rows.stored))
    columns = [
        pa.array(rows.cell),
        *(
            pa.array([value] * count, field.type)
            for value, field in zip(same, list(schema)[1:4], strict=True)
        ),
        pa.array(rows.valid),
        pa.array(rows.logit),
        pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), count, [None, embeddings]),
    ]
    return pa.table(columns, schema=schema)


def _stored(chunk: pa.FixedSizeBinaryArray) -> NDArray[np.int8]:
    width = chunk.type.byte_width
    flat = np.frombuffer(chunk.buffers()[1], np.int8)
    return flat[chunk.offset * width :].reshape(-1, width)[: len(chunk)]
