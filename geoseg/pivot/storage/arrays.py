"""Zarr stores that xarray opens: arrays laid out once, filled region by region."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import xarray as xr
import zarr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from geoseg.errors import ConfigError, OutputError
from geoseg.files import why_not_written
from geoseg.grids import crs_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = [
    "UNREADABLE",
    "Layout",
    "coordinates",
    "grid_of",
    "lay_out",
    "require_plain",
    "tiles_of",
    "times_of",
    "write_region",
]

_FORMAT: Final = 2  # of Zarr, which GDAL and so QGIS read too
_TIME_ENCODING = {"units": "seconds since 1970-01-01", "calendar": "standard", "dtype": "int64"}
# How arrays may be stored. Zarr 2 names codecs freely, and that called pickle runs what it reads.
_CODECS = frozenset(
    {"blosc", "bz2", "delta", "gzip", "lz4", "shuffle", "vlen-utf8", "zlib", "zstd"}
)
# What xarray ends in on a store that is damaged, or says of its arrays what cannot be.
UNREADABLE = (ArithmeticError, KeyError, OSError, RuntimeError, TypeError, ValueError)
SPATIAL_REF = "spatial_ref"  # the grid mapping of CF
_EPOCH = np.datetime64("1970-01-01T00:00:00", "ns")
_FIRST, _END = (
    int(np.datetime64(day, "s").astype(np.int64)) for day in ("1678-01-01", "2262-01-01")
)


class Layout(NamedTuple):
    """One array: its dimensions are those of the coordinates of the same names."""

    dims: tuple[str, ...]
    dtype: str
    chunks: tuple[int, ...]
    attributes: Mapping[str, Any]


def coordinates(grid: GeoBox, days: Sequence[float] | None = None) -> dict[str, Any]:
    """Coordinates after CF: x and y of cell centres, the grid mapping, and times (UTC)."""
    found: dict[str, Any] = {str(k): v for k, v in xr_coords(grid, SPATIAL_REF).items()}
    if days is not None:
        described = {"standard_name": "time", "axis": "T"}
        found["time"] = xr.Variable(("time",), times_of(days), described)
    return found


def times_of(days: Sequence[float]) -> NDArray[np.datetime64]:
    """Days since 1970 as times, to the second.

    Raises:
        ConfigError: one is before 1678 or after 2261, which nanoseconds in 64 bits do not reach.
    """
    seconds = np.round(np.asarray(days, dtype=np.float64) * 86400).astype(np.int64)
    if seconds.size and not (seconds.min() >= _FIRST and seconds.max() < _END):
        raise ConfigError(
            "A date lies before 1678 or after 2261; the pivot tells of those between."
        )
    return np.asarray(_EPOCH + seconds.astype("timedelta64[s]"))


def require_plain(folder: Path) -> None:
    """Refuse a group with an array that is stored by a codec that is not listed.

    Raises:
        ValueError: one is, or its description is none.
    """
    for path in folder.glob("*/.zarray"):
        try:
            held = json.loads(path.read_bytes())
            codecs = [held["compressor"], *(held["filters"] or ())]
            named = {str(codec["id"]) for codec in codecs if codec is not None}
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"{path} does not say how an array is stored") from error
        if not named <= _CODECS:
            raise ValueError(f"{path} names the codec {min(named - _CODECS)!r}, which is not read")


def lay_out(
    folder: Path,
    group: str,
    coords: Mapping[str, Any],
    arrays: Mapping[str, Layout],
    attributes: Mapping[str, Any],
) -> None:
    """Write coordinates and the outline of arrays, of which those of floats are NaN until written.

    What lies at the group is replaced.

    Raises:
        OutputError: the folder cannot be written.
    """
    try:
        shutil.rmtree(folder / group if group else folder, ignore_errors=True)
        empty = xr.Dataset(coords=dict(coords), attrs=dict(attributes))
        encoding = {"time": _TIME_ENCODING} if "time" in empty.coords else {}
        empty.to_zarr(
            folder,
            group=group or None,
            mode="a",
            consolidated=False,
            encoding=encoding,
            zarr_format=_FORMAT,
        )
        root = zarr.open_group(folder, path=group, mode="a", zarr_format=_FORMAT)
        for name, layout in arrays.items():
            floats = layout.dtype.startswith("float")
            root.create_array(
                name,
                shape=tuple(empty.sizes[dim] for dim in layout.dims),
                chunks=layout.chunks,
                dtype=layout.dtype,
                fill_value=np.nan if floats else None,
                attributes={
                    **layout.attributes,
                    "grid_mapping": SPATIAL_REF,
                    "_ARRAY_DIMENSIONS": list(layout.dims),
                },
            )
    except OSError as error:
        raise OutputError(
            f"{folder} could not be written: {why_not_written(error, folder.parent)}."
        ) from error


def write_region(
    folder: Path,
    group: str,
    arrays: Mapping[str, tuple[tuple[str, ...], NDArray[Any]]],
    place: Mapping[str, slice],
) -> None:
    """Fill a region of arrays, in whole chunks: two writers never share one.

    Args:
        folder: of the store.
        group: in it.
        arrays: dimensions and values by name.
        place: rows, columns or times of the region; all of the dimensions that are not named.

    Raises:
        OutputError: the folder cannot be written.
    """
    part = xr.Dataset({name: xr.Variable(*one) for name, one in arrays.items()})
    whole = {str(dim): place.get(str(dim), slice(0, size)) for dim, size in part.sizes.items()}
    try:
        part.to_zarr(folder, group=group or None, region=whole, consolidated=False)
    except OSError as error:
        raise OutputError(
            f"{folder} could not be written: {why_not_written(error, folder.parent)}."
        ) from error


def grid_of(dataset: xr.Dataset) -> GeoBox:
    """The grid of a dataset with the coordinates of `coordinates`."""
    grid = dataset.odc.geobox
    assert isinstance(grid, GeoBox)
    crs_of(grid)
    return grid


def tiles_of(grid: GeoBox, side: int) -> list[tuple[slice, slice]]:
    """Rows and columns of the blocks of a grid."""
    height, width = (int(n) for n in grid.shape)
    return [
        (slice(top, min(height, top + side)), slice(left, min(width, left + side)))
        for top in range(0, height, side)
        for left in range(0, width, side)
    ]
