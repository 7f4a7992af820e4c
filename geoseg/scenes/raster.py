"""Raster files, opened with care."""

from __future__ import annotations

import os
import warnings
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rasterio
from rasterio.enums import Interleaving, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError
from rasterio.io import DatasetReader
from rasterio.warp import reproject

from geoseg.errors import SceneError
from geoseg.grids import crs_of, raster_grid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from geoseg.scenes.scene import Asset

__all__ = ["forget_links", "is_placed", "open_raster", "read_onto", "reading"]

# VRT is left out: one named .tif can read any file of the machine and any host. So are netCDF and
# HDF5, whose arrays may lie in any file.
_DRIVERS = ["GTiff", "JP2OpenJPEG", "PNG", "JPEG", "HFA", "ENVI"]
# What reads files and hosts that a file names, whatever the name of that file.
_ELSEWHERE = "VRT GTI MRF HTTP WMS WMTS WCS STACIT STACTA EEDA EEDAI PLMOSAIC netCDF HDF5 HDF5Image"
_LARGEST_BLOCK_BYTES = 64 * 2**20
# Overviews and masks beside a raster, which GDAL opens by any driver whatever that of the raster.
_BESIDE = (".ovr", ".msk", ".aux")
_AUX = b"EHFA_HEADER_TAG"  # by which GDAL takes an .aux for one of ERDAS, in small letters too
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # its first bytes, classic and big
_LISTED = 1000  # files of a folder that GDAL lists; of a larger one it asks for a name


def open_raster(path: Path, *, overview: int | None = None) -> DatasetReader:
    """An open raster file, by one of the listed drivers; what lies beside it is looked at first.

    Args:
        path: of the file.
        overview: number of the overview that is opened in its place, 0 for the finest.

    Raises:
        SceneError: no such file, no raster, one whose pixels, overviews or mask lie elsewhere, or
            blocks too large to read with bounded memory.
    """
    if not path.is_file():
        raise SceneError(f"{path} does not exist; check the path of the band.")
    for side in _beside(path):
        _require_harmless(side, path)
    raster = _opened(path, _DRIVERS)
    try:
        _require_whole(raster, path)
    except SceneError:
        raster.close()
        raise
    if overview is not None:
        # Not at once: to open an overview is to follow where a raster says that it lies.
        raster.close()
        raster = _opened(path, _DRIVERS, overview_level=overview)
    rows, columns = raster.block_shapes[0]
    # One block holds all bands where these lie pixel by pixel.
    together = raster.count if raster.interleaving is Interleaving.pixel else 1
    if rows * columns * together * np.dtype(raster.dtypes[0]).itemsize > _LARGEST_BLOCK_BYTES:
        raster.close()
        raise SceneError(
            f"{path} has blocks of {rows} x {columns} px, over 64 MiB each; tile it with "
            "`gdal_translate -of COG`."
        )
    return raster


def forget_links() -> None:
    """Take from GDAL, for this process, the drivers that read what a raster names elsewhere.

    So no file beside a raster leads it to another or to a host, not even one that `open_raster`
    does not think of. It holds where no raster was opened before; warping is still possible.
    """
    skipped = f"{os.environ.get('GDAL_SKIP', '')} {_ELSEWHERE}".strip()
    with rasterio.Env(GDAL_SKIP=skipped):  # heeded when the drivers are registered, and never again
        pass


def _opened(path: Path, drivers: list[str], **options: int) -> DatasetReader:
    try:
        # rasterio.open takes one driver only; its reader takes a list.
        with rasterio.Env(), warnings.catch_warnings():
            # Whoever needs the ground refuses an image that lies nowhere, by `raster_grid`.
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            return DatasetReader(str(path), driver=drivers, **options)
    except RasterioIOError as error:
        raise SceneError(
            f"{path} cannot be opened as a raster ({error}); give a GeoTIFF or JPEG 2000."
        ) from error


def _beside(path: Path) -> list[Path]:
    """The overviews and the mask beside a raster, as GDAL finds them."""
    stem = path.name.rpartition(".")[0]
    possible = [*(f"{path.name}{suffix}" for suffix in _BESIDE), f"{stem}.aux"]
    wanted = {name.lower() for name in possible} - {path.name.lower()}
    listed = _listed(path.parent)
    if listed is None:
        ends = [(name, Path(name).suffix) for name in possible]
        listed = [f"{name.removesuffix(s)}{end}" for name, s in ends for end in (s, s.upper())]
    found = [path.with_name(name) for name in listed if name.lower() in wanted]
    return [side for side in found if side.exists()]


def _listed(folder: Path) -> list[str] | None:
    """The files of a folder; None where GDAL does not list them either."""
    try:
        with os.scandir(folder) as entries:
            listed = [entry.name for entry in islice(entries, _LISTED + 1)]
    except OSError:
        return None
    return listed if len(listed) <= _LISTED else None


def _require_harmless(side: Path, path: Path) -> None:
    """Refuse what lies beside a raster as a part of it and is taken from elsewhere."""
    if side.resolve().parent not in {path.parent.resolve(), path.resolve().parent}:
        raise SceneError(f"{side} is a link out of its folder; put a copy in its place.")
    driver = _driver_of_part(side)
    if driver is None:
        return
    for further in _beside(side):
        _require_harmless(further, side)
    with _opened(side, [driver]) as opened:
        _require_whole(opened, side)


def _driver_of_part(side: Path) -> str | None:
    """By which a part of a raster is read; None of another program's .aux, which GDAL passes by."""
    if not side.is_file():
        raise SceneError(f"{side} is no file, as parts of a raster are; remove it.")
    try:
        with side.open("rb") as file:
            begin = file.read(len(_AUX) + 1)
    except OSError as error:
        raise SceneError(f"{side} cannot be read ({error}); mend or remove it.") from error
    if side.suffix.lower() != ".aux":
        if not begin.startswith(_TIFF):
            raise SceneError(f"{side} is no GeoTIFF, which overviews and masks are; remove it.")
        return "GTiff"
    if begin[: len(_AUX)].upper() != _AUX:
        return None
    if begin != _AUX + b"\0":
        raise SceneError(f"{side} is no ERDAS file, though it begins as one; remove it.")
    return "HFA"


def _require_whole(raster: DatasetReader, path: Path) -> None:
    """Refuse a raster that has GDAL look for its overviews or its pixels elsewhere."""
    # GDAL asks for OVERVIEW_FILE in capitals or not; it keeps nothing else there.
    named = next(iter(raster.tags(ns="OVERVIEWS").values()), None)
    if named is None and raster.driver == "HFA":
        here = path.parent.resolve()
        named = next((f for f in raster.files if Path(f).resolve().parent != here), None)
    if named is not None:
        raise SceneError(
            f"{path} names {named!r} as a part of it, which may be any file; make a GeoTIFF of it "
            "with `gdal_translate -of COG`."
        )


def is_placed(raster: DatasetReader) -> bool:
    """Whether an open raster lies on the ground by itself: control points in it do not count."""
    return raster.crs is not None and not raster.transform.is_identity


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Turn a failed read in this block into a SceneError that names the file."""
    try:
        yield
    except (RasterioError, OSError) as error:
        if isinstance(error, SceneError):
            raise
        cause = str(error.__cause__ or error).splitlines()[0]
        raise SceneError(
            f"{path} cannot be read ({cause}); it is truncated or damaged, fetch it again."
        ) from error


def read_onto(asset: Asset, grid: GeoBox) -> NDArray[np.float32]:
    """One band (H, W) resampled onto a grid; NaN where there is none.

    Averaged when the grid is coarser, bilinear otherwise.

    Raises:
        SceneError: the file cannot be read.
        GridError: it has no CRS or georeference.
    """
    out = np.full(grid.shape, np.nan, dtype=np.float32)
    with open_raster(asset.path) as raster, reading(asset.path):
        source = raster_grid(raster)
        coarser = abs(grid.resolution.x) > abs(source.resolution.x)
        reproject(
            rasterio.band(raster, asset.index),
            out,
            src_nodata=raster.nodata if asset.nodata is None else asset.nodata,
            dst_transform=grid.affine,
            dst_crs=crs_of(grid).to_wkt(),
            dst_nodata=np.nan,
            resampling=Resampling.average if coarser else Resampling.bilinear,
        )
    return out
