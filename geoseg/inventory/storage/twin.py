"""The tables of an inventory as a folder of GeoParquet, for programs."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import geopandas as gpd
import pandas as pd
import pyarrow as pa

from geoseg.errors import OutputError
from geoseg.files import why_not_written
from geoseg.inventory.columns import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["forget_twin", "require_twin_or_nothing", "twin_of", "write_twin"]

_ABOUT = "inventory.json"  # title, licence and provenance; a folder that holds it is a twin


def twin_of(path: Path) -> Path:
    """Where the GeoParquet of an inventory lies: beside its GeoPackage."""
    return path.with_name(f"{path.stem}_parquet")


def require_twin_or_nothing(path: Path) -> None:
    """Refuse to put the twin of a GeoPackage where something else lies.

    Raises:
        OutputError: something else lies there.
    """
    twin = twin_of(path)
    if twin.exists() and not (twin / _ABOUT).is_file():
        raise OutputError(
            f"{twin} is where the GeoParquet of {path.name} goes, and holds something else; move "
            "it, or name the inventory otherwise."
        )


@contextmanager
def write_twin(
    path: Path, tables: Mapping[str, pd.DataFrame], about: Mapping[str, str]
) -> Iterator[None]:
    """Write the twin of a GeoPackage aside, and put it in its place after the block.

    An error in the block leaves the twin of before.

    Raises:
        OutputError: it cannot be written.
    """
    with _aside(path) as aside:
        new = aside / "new"
        try:
            new.mkdir()
            for name, table in tables.items():
                _write_table(new / f"{name}.parquet", name, table)
            (new / _ABOUT).write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n")
            for file in (*new.iterdir(), new):
                _sync(file)
        except (OSError, pa.ArrowException) as error:
            raise OutputError(
                f"{twin_of(path)} could not be written: {why_not_written(error, path.parent)}."
            ) from error
        yield
        _put_aside(twin_of(path), aside)
        new.rename(twin_of(path))
        _sync(path.parent)


@contextmanager
def forget_twin(path: Path) -> Iterator[None]:
    """Remove the twin of a GeoPackage after the block, which replaced what it was the twin of."""
    yield
    if twin_of(path).exists():
        with _aside(path) as aside:
            _put_aside(twin_of(path), aside)


@contextmanager
def _aside(path: Path) -> Iterator[Path]:
    """A hidden folder beside a path, removed with all that is in it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        name = f".{twin_of(path).name}."
        folder = Path(tempfile.mkdtemp(prefix=name, suffix=".part", dir=path.parent))
    except OSError as error:
        raise OutputError(f"{path.parent} cannot be written: {error.strerror}.") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _put_aside(twin: Path, aside: Path) -> None:
    """Take an earlier twin away in one step, so that a reader never sees half of it."""
    if twin.exists():
        twin.rename(aside / "old")


def _write_table(path: Path, layer: str, table: pd.DataFrame) -> None:
    days = [name for name, kind in COLUMNS[layer].items() if kind == "date"]
    # Of a column without a single day Arrow would not know that it is one of days.
    typed = table.astype(dict.fromkeys(days, pd.ArrowDtype(pa.date32())))
    if isinstance(typed, gpd.GeoDataFrame):
        typed.to_parquet(
            path, compression="zstd", index=False, schema_version="1.1.0", write_covering_bbox=True
        )
    else:
        typed.to_parquet(path, compression="zstd", index=False)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
