"""Chips that lie in a folder, a file each."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from geoseg.errors import ConfigError, SceneError, SensorError
from geoseg.presence.packs.kind import ImageKind, round_gsd
from geoseg.presence.packs.labels import ChipLabel, position
from geoseg.presence.packs.pack import Problem, is_utf8
from geoseg.presence.packs.read import SHARD_SUFFIXES
from geoseg.presence.packs.stored import StoredImage, StoredPlace
from geoseg.sensors import find_sensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox
    from rasterio.io import DatasetReader

__all__ = ["ChipFile", "Described", "FileSeen", "list_chips", "list_shards", "read_chips"]

_PNG = (".png",)
_NPY = (".npy",)
_TIFF = (".tif", ".tiff")
_MASK = ".mask.png"


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What files of chips do not say of themselves."""

    sensor_id: str
    bands: tuple[str, ...] | None = None  # all of the sensor when None
    gsd_m: float | None = None  # that of a georeference, else of the finest band, when None
    nodata: float | None = None  # that of the file when None
    scale: float = 1.0
    time: datetime | None = None

    def __post_init__(self) -> None:
        for name, number in {"gsd_m": self.gsd_m, "scale": self.scale}.items():
            if number is not None and not (math.isfinite(number) and number > 0):
                raise ConfigError(f"Chips have {name} = {number}; give a positive number.")

    def kind(
        self, sensor_id: str | None, gsd_m: float | None, nodata: float | None, *, scale: float
    ) -> ImageKind:
        """The kind of an image, of which a sensor, a pixel or nodata may be known from elsewhere.

        Raises:
            SensorError: the sensor has no such band.
        """
        sensor = find_sensor(sensor_id or self.sensor_id)
        names = self.bands or tuple(band.common_name for band in sensor.bands)
        size = self.gsd_m or gsd_m or min(sensor.band(name).gsd_m for name in names)
        return ImageKind(
            sensor_id=sensor.id,
            bands=names,
            gsd_m=round_gsd(size),
            nodata=nodata if self.nodata is None else self.nodata,
            scale=scale,
        )


class FileSeen(NamedTuple):
    """A file of a folder, and what tells that it has changed."""

    path: str  # in the folder
    size: int  # bytes
    written: int  # ns


class ChipFile(NamedTuple):
    """One chip of a folder."""

    id: str
    image: FileSeen
    mask: FileSeen | None  # of its label
    label: ChipLabel


def list_chips(
    folder: Path, labels: Mapping[str, ChipLabel]
) -> tuple[list[ChipFile], list[Problem]]:
    """All PNG, TIFF and .npy files in and below a folder, by id: the name without its ending.

    A chip below a folder named present or absent is that, unless labels say otherwise. A file
    NAME.mask.png holds the classes of the pixels of NAME. Takes some 500 bytes of memory a file.

    Returns:
        The chips, and what is left out: names that are no UTF-8, what cannot be opened, ids that
        came before, masks and labels of chips that are not there.

    Raises:
        ConfigError: no folder, or none with an image.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder; name one that holds chips.")
    problems: list[Problem] = []
    found, masks = _walk(folder, problems)
    if not found and not problems:
        raise ConfigError(f"{folder} holds no PNG, TIFF or .npy file; name a folder of chips.")
    chips: list[ChipFile] = []
    for name, file in sorted((_stem(file.path), file) for file in found):
        if chips and chips[-1].id == name:
            kept = chips[-1].image.path
            problems.append(Problem(name, f"{file.path} has the name of {kept}, which is kept."))
            continue
        label = _with_folder(labels.get(name, ChipLabel()), file.path)
        chips.append(ChipFile(name, file, masks.get(_without_ending(file.path)), label))
    images = {_without_ending(file.path) for file in found}
    there = {chip.id for chip in chips}
    problems += [
        Problem(PurePosixPath(of).name, f"{mask.path} is the mask of no chip: none is beside it.")
        for of, mask in masks.items()
        if of not in images
    ]
    problems += [
        Problem(name, "a label of a chip that is not there.")
        for name in labels
        if name not in there
    ]
    return chips, problems


def list_shards(folder: Path) -> tuple[list[Path], list[Problem]]:
    """Tar and Parquet files in a folder, by name, and those that cannot serve.

    Raises:
        ConfigError: no folder.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder; name one that holds chips or shards.")
    shards, problems = [], []
    for path in sorted(folder.iterdir()):
        if path.suffix not in SHARD_SUFFIXES:
            continue
        if not is_utf8(path.name):
            problems.append(_misnamed(path.name))
        elif not path.is_file():
            problems.append(Problem(path.name, "it is no file, or leads to none."))
        else:
            shards.append(path)
    return shards, problems


def read_chips(
    folder: Path, chips: list[ChipFile], described: Described
) -> Iterator[StoredPlace | Problem]:
    """Chips with the bytes of their files: PNG and .npy as they are, pixels of a TIFF."""
    for chip in chips:
        try:
            yield _read(folder, chip, described)
        except (SceneError, SensorError, ConfigError) as error:
            yield Problem(chip.id, f"{chip.image.path}: {error}")
        except OSError as error:
            path = error.filename or chip.image.path
            yield Problem(chip.id, f"{path} cannot be read ({error.strerror}).")


def _walk(folder: Path, problems: list[Problem]) -> tuple[list[FileSeen], dict[str, FileSeen]]:
    """Chips below a folder, and masks by the path of their chip without its ending."""
    found: list[FileSeen] = []
    masks: dict[str, FileSeen] = {}
    waiting = [""]
    while waiting:
        below = waiting.pop()
        for entry in _entries(folder, below, problems):
            path = f"{below}/{entry.name}" if below else entry.name
            if not is_utf8(entry.name):
                problems.append(_misnamed(entry.name))
            elif entry.is_dir(follow_symlinks=False):
                waiting.append(path)
            elif entry.name.lower().endswith(_PNG + _NPY + _TIFF):
                file = _seen(entry, path, problems)
                if file is not None and path.lower().endswith(_MASK):
                    masks[path[: -len(_MASK)]] = file
                elif file is not None:
                    found.append(file)
    return found, masks


def _entries(folder: Path, below: str, problems: list[Problem]) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder / below) as entries:
            yield from entries
    except OSError as error:
        name = below or str(folder)
        problems.append(Problem(name, f"{name} cannot be looked into ({error.strerror})."))


def _seen(entry: os.DirEntry[str], path: str, problems: list[Problem]) -> FileSeen | None:
    try:
        stat = entry.stat()
    except OSError as error:  # a link that leads nowhere
        problems.append(Problem(_stem(path), f"{path} cannot be read ({error.strerror})."))
        return None
    return FileSeen(path, stat.st_size, stat.st_mtime_ns)


def _misnamed(name: str) -> Problem:
    written = repr(os.fsencode(name))
    return Problem(written, f"{written} is no UTF-8; rename it.")


def _without_ending(path: str) -> str:
    return path.rpartition(".")[0]


def _stem(path: str) -> str:
    return _without_ending(PurePosixPath(path).name)


def _with_folder(label: ChipLabel, path: str) -> ChipLabel:
    if label.present is not None:
        return label
    parts = PurePosixPath(path).parts[:-1]
    if "present" in parts:
        return label._replace(present=True)
    return label._replace(present=False) if "absent" in parts else label


def _read(folder: Path, chip: ChipFile, described: Described) -> StoredPlace:
    time = chip.label.time or described.time
    if time is None:
        raise ConfigError("nothing says when it was taken; give --date, or `time` in --labels.")
    path, name = folder / chip.image.path, chip.image.path.lower()
    if name.endswith(_TIFF):
        pixels, kind, lon, lat = _read_tiff(path, chip, described)
    else:
        pixels = path.read_bytes()
        kind = described.kind(chip.label.sensor_id, None, None, scale=described.scale)
        lon = lat = math.nan
    image = StoredImage(
        pixels=pixels,
        suffix="png" if name.endswith(_PNG) else "npy",
        kind=kind,
        time=time,
        mask=None if chip.mask is None else (folder / chip.mask.path).read_bytes(),
    )
    return StoredPlace(
        id=chip.id,
        lon=chip.label.lon if math.isfinite(chip.label.lon) else lon,
        lat=chip.label.lat if math.isfinite(chip.label.lat) else lat,
        present=chip.label.present,
        images=(image,),
    )


def _read_tiff(
    path: Path, chip: ChipFile, described: Described
) -> tuple[bytes | NDArray[np.generic], ImageKind, float, float]:
    """Pixels (C, H, W) as stored, their kind, and longitude and latitude of the centre."""
    import warnings

    from rasterio.errors import NotGeoreferencedWarning

    from geoseg.grids import gsd_m
    from geoseg.scenes import open_raster, reading

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with open_raster(path) as raster, reading(path):
            grid, lon, lat = _place_of(raster)
            gsd = None if grid is None else gsd_m(grid)
            kind = described.kind(chip.label.sensor_id, gsd, raster.nodata, scale=described.scale)
            return _pixels(raster, len(kind.bands)), kind, lon, lat


def _pixels(raster: DatasetReader, wanted: int) -> NDArray[np.generic]:
    """As stored; with NaN where a mask or an alpha band strikes out, of another type then."""
    from rasterio.enums import MaskFlags

    from geoseg.scenes import data_bands

    if raster.width * raster.height * raster.count > 2**25:
        raise SceneError(f"it has {raster.width} x {raster.height} px; that is no chip.")
    indexes = data_bands(raster)
    if len(indexes) != wanted:
        indexes = tuple(raster.indexes)
    pixels: NDArray[np.generic] = raster.read(list(indexes))
    scales = [(raster.scales[i - 1], raster.offsets[i - 1]) for i in indexes]
    void = np.zeros(pixels.shape[1:], dtype=bool)
    if len(indexes) < raster.count or MaskFlags.per_dataset in raster.mask_flag_enums[0]:
        void = raster.dataset_mask() == 0
    if all(scaling == (1, 0) for scaling in scales) and not void.any():
        return pixels
    scaled = pixels.astype(np.float32)
    if raster.nodata is not None:
        scaled[:, (pixels == raster.nodata).any(axis=0)] = np.nan
    scaled[:, void] = np.nan
    for band, (scale, offset) in zip(scaled, scales, strict=True):
        band *= np.float32(scale)
        band += np.float32(offset)
    return scaled


def _place_of(raster: DatasetReader) -> tuple[GeoBox | None, float, float]:
    """The grid of a raster and its centre in degrees; nothing where it lies nowhere."""
    from pyproj import Transformer

    from geoseg.errors import GridError
    from geoseg.grids import DEGREES, crs_of, raster_grid

    try:
        grid = raster_grid(raster)
    except GridError:
        return None, math.nan, math.nan
    x, y = grid.affine * (grid.shape.x / 2, grid.shape.y / 2)
    lon, lat = Transformer.from_crs(crs_of(grid), DEGREES, always_xy=True).transform(x, y)
    return grid, *position(lon, lat)
