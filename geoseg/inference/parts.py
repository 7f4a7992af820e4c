"""What is finished of a map, strip by strip, where a run that was killed left it."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window

from geoseg.errors import ModelError, OutputError
from geoseg.files import why_not_written, write_text, writing
from geoseg.grids import crs_of, part_of
from geoseg.labels import IGNORE
from geoseg.scale.lock import holding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

__all__ = ["Parts", "open_parts", "remove_parts"]

_JOB = "job"
_LOCK = "lock"
_PATIENCE_S = 60.0  # for a worker that leaves, whose scene was given to this one
_BLOCK_PX = 256
_CHUNK_PX = 2**21  # read at once of what is finished


class Parts:
    """Finished strips of layers (B, h, W) in a folder of their own.

    A strip is a file that appears whole, after the overlap that the next one goes on from. So what
    is there is finished, whenever a run was killed.
    """

    def __init__(self, folder: Path, grid: GeoBox) -> None:
        self.folder = folder
        self._grid = grid
        self._bottoms = [0]
        while (height := self._height(self._path(len(self)))) is not None:
            self._bottoms.append(self._bottoms[-1] + height)

    def __len__(self) -> int:
        return len(self._bottoms) - 1

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of all strips together, when all are finished."""
        height, width = self._grid.shape
        return height, width

    @property
    def rows(self) -> int:
        """Rows of pixels that are finished."""
        return self._bottoms[-1]

    def overlap(self) -> NDArray[np.generic] | None:
        """What the next strip goes on from; None where nothing is carried along."""
        path = self._overlap(len(self))
        return np.load(path, allow_pickle=False) if path.is_file() else None

    def add(self, layers: NDArray[np.uint8], overlap: NDArray[np.generic] | None) -> None:
        """Keep the next strip (B, h, W).

        Raises:
            OutputError: the disk is full.
        """
        number = len(self)
        if overlap is not None:
            # numpy says what went wrong with a file in words of its own.
            stored = BytesIO()
            np.save(stored, overlap, allow_pickle=False)
            with writing(self._overlap(number + 1)) as aside:
                aside.write_bytes(stored.getbuffer())
        with writing(self._path(number)) as aside:
            self._write(aside, layers)
        self._bottoms.append(self.rows + layers.shape[1])
        self._overlap(number).unlink(missing_ok=True)

    def chunks(self, number: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """First row and layers (B, h, W) of a strip, some rows at a time."""
        with rasterio.open(self._path(number), driver="GTiff") as raster:
            step = min(_BLOCK_PX, max(1, _CHUNK_PX // raster.width))
            for first in range(0, raster.height, step):
                rows = min(step, raster.height - first)
                window = Window(0, first, raster.width, rows)
                yield self._bottoms[number] + first, raster.read(window=window)

    def as_raster(self, bands: Sequence[int]) -> Path:
        """Some bands of all strips as one virtual raster, for GDAL to copy from."""
        height, width = self._grid.shape
        root = ET.Element("VRTDataset", rasterXSize=str(width), rasterYSize=str(height))
        ET.SubElement(root, "SRS").text = crs_of(self._grid).to_wkt()
        transform = ", ".join(repr(float(v)) for v in self._grid.affine.to_gdal())
        ET.SubElement(root, "GeoTransform").text = transform
        for number, band in enumerate(bands, start=1):
            self._describe(root, number, band)
        path = self.folder / f"bands_{bands[0]}_{bands[-1]}.vrt"
        path.write_text(ET.tostring(root, encoding="unicode"), encoding="utf-8")
        return path

    @staticmethod
    def _height(path: Path) -> int | None:
        """Rows of a strip; None where there is none that opens."""
        try:
            with rasterio.open(path, driver="GTiff") as raster:
                return int(raster.height)
        except RasterioError:
            return None

    def _describe(self, root: ET.Element, number: int, band: int) -> None:
        layer = ET.SubElement(root, "VRTRasterBand", dataType="Byte", band=str(number))
        ET.SubElement(layer, "NoDataValue").text = str(IGNORE)
        width = str(self._grid.shape.x)
        for part, top in enumerate(self._bottoms[:-1]):
            height = str(self._bottoms[part + 1] - top)
            source = ET.SubElement(layer, "SimpleSource")
            name = ET.SubElement(source, "SourceFilename", relativeToVRT="1")
            name.text = self._path(part).name
            ET.SubElement(source, "SourceBand").text = str(band)
            size = {"xOff": "0", "xSize": width, "ySize": height}
            ET.SubElement(source, "SrcRect", {**size, "yOff": "0"})
            ET.SubElement(source, "DstRect", {**size, "yOff": str(top)})

    def _write(self, path: Path, layers: NDArray[np.uint8]) -> None:
        bands, height, width = layers.shape
        here = part_of(self._grid, Window(0, self.rows, width, height))
        try:
            with rasterio.open(
                path,
                "w",
                driver="GTiff",
                dtype="uint8",
                count=bands,
                width=width,
                height=height,
                crs=crs_of(here).to_wkt(),
                transform=here.affine,
                nodata=IGNORE,
                interleave="band",
                tiled=True,
                blockxsize=_BLOCK_PX,
                blockysize=_BLOCK_PX,
                sparse_ok=True,
                compress="zstd",
                zstd_level=1,
                bigtiff="if_safer",
            ) as raster:
                raster.write(layers)
            # What fails when a file is closed on a full disk is logged, not raised.
            with rasterio.open(path, driver="GTiff") as raster:
                for band, wanted in enumerate(layers, start=1):
                    if not np.array_equal(raster.read(band), wanted):
                        raise OutputError(
                            f"{path} was cut short while it was written; see that the disk has "
                            "space left, and run again."
                        )
        except RasterioError as error:
            reason = why_not_written(error, self.folder)
            raise OutputError(f"{path} could not be written: {reason}.") from error

    def _path(self, number: int) -> Path:
        return self.folder / f"strip_{number:06d}.tif"

    def _overlap(self, number: int) -> Path:
        return self.folder / f"overlap_{number:06d}.npy"


@contextmanager
def open_parts(folder: Path, job: str) -> Iterator[Path]:
    """The working folder of a job, with what an earlier run of the same job left in it.

    It is emptied when it was left by another job. It is removed when the block ends, and kept with
    what is finished when that is stopped or the disk is full.

    Args:
        folder: of this job alone.
        job: digest of all that decides the result.

    Raises:
        OutputError: another run is at work in it, or it cannot be written.
    """
    with _locked(folder):
        if not _is_of(folder, job):
            _empty(folder)
            write_text(folder / _JOB, job)
        try:
            yield folder
        except BaseException as error:
            # With a network whose numbers are wrong the same will happen again.
            if isinstance(error, ModelError) or not any(folder.glob("strip_*.tif")):
                _remove(folder)
            raise
        _remove(folder)


def remove_parts(folder: Path) -> None:
    """Remove what a run that was killed at its very end left of a working folder.

    Raises:
        OutputError: another run is at work in it.
    """
    if folder.is_dir():
        with _locked(folder):
            _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a working folder; killed on the way, it is of no job and is emptied by the next."""
    (folder / _JOB).unlink(missing_ok=True)
    shutil.rmtree(folder)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder; a run that is killed lets go of it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder.parent} cannot be written: {error.strerror}.") from error
    with holding(folder / _LOCK, of=folder.parent, patience_s=_PATIENCE_S):
        yield


def _is_of(folder: Path, job: str) -> bool:
    path = folder / _JOB
    return path.is_file() and path.read_text(encoding="utf-8") == job


def _empty(folder: Path) -> None:
    (folder / _JOB).unlink(missing_ok=True)
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != _LOCK:
            path.unlink()
