"""Chips around points, cut from scenes."""

from __future__ import annotations

import math
from collections import OrderedDict
from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import shapely
from pyproj import Transformer
from rasterio.windows import Window

from geoseg.errors import ConfigError, LabelError, SceneError
from geoseg.grids import DEGREES, crs_of, gsd_m
from geoseg.presence.packs.kind import ImageKind, round_gsd
from geoseg.presence.packs.labels import as_present, position
from geoseg.presence.packs.pack import Problem
from geoseg.presence.packs.stored import StoredImage, StoredPlace
from geoseg.presence.packs.texts import read_texts
from geoseg.scenes import open_scene

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from geoseg.scenes import CatalogEntry, Scene, SceneReader

__all__ = ["Point", "cut_chips", "read_points", "scenes_of"]

_OPEN = 32  # scenes at a time
_IDS = ("chip_id", "id")  # columns that hold an id where none is named


class Point(NamedTuple):
    """The centre of a place, in degrees."""

    id: str
    lon: float
    lat: float
    present: bool | None


def read_points(path: Path, id_column: str | None = None) -> tuple[list[Point], list[Problem]]:
    """Points of a file, and what is wrong: ids that came before, rows without a place or a label.

    Args:
        path: of any vector format, GeoParquet, or CSV with columns lon and lat in degrees. Of lines
            and polygons the centre is taken. A column `present` is read where there is one.
        id_column: its values name the places; chip_id or id where there is one, else the number of
            the row from 0, when None.

    Raises:
        ConfigError: no points that can be read, or no such column.
    """
    table, lon, lat = _read_table(path)
    column = id_column or next((name for name in _IDS if name in table), None)
    if column is not None and column not in table:
        raise ConfigError(f"{path} has no column {column!r}; name one of {', '.join(table)}.")
    ids = [str(v) for v in (range(len(lon)) if column is None else table[column])]
    known = table.get("present", [None] * len(lon))
    points: list[Point] = []
    problems: list[Problem] = []
    seen: set[str] = set()
    for name, x, y, present in zip(ids, lon.tolist(), lat.tolist(), known, strict=True):
        if name in seen:
            problems.append(Problem(name, "a point before it has that id, and is kept."))
            continue
        try:
            where = _known_position(x, y)
        except SceneError as error:
            problems.append(Problem(name, str(error)))
            continue
        seen.add(name)
        points.append(Point(name, *where, _present(name, present, problems)))
    if not points and not problems:
        raise ConfigError(f"{path} holds no point; name a file with some.")
    return points, problems


def _known_position(lon: float, lat: float) -> tuple[float, float]:
    if math.isnan(lon) or math.isnan(lat):
        raise SceneError("nothing says where it lies; give lon and lat.")
    return position(lon, lat)


def _present(name: str, value: object, problems: list[Problem]) -> bool | None:
    """The label of a point; unknown where it is none, which is told."""
    try:
        return as_present(value)
    except LabelError as error:
        problems.append(Problem(name, f"{error} It is cut without a label."))
        return None


def scenes_of(points: Sequence[Point], entries: Sequence[CatalogEntry]) -> list[tuple[Scene, ...]]:
    """For each point the scenes whose footprint covers it, oldest first."""
    tree = shapely.STRtree([entry.footprint.geom for entry in entries])
    where = shapely.points([(point.lon, point.lat) for point in points])
    found: list[list[Scene]] = [[] for _ in points]
    for point, entry in tree.query(where, predicate="intersects").T.tolist():
        found[point].append(entries[entry].scene)
    return [tuple(sorted(scenes, key=lambda s: (s.start, s.id))) for scenes in found]


def cut_chips(
    points: Sequence[Point],
    scenes: Sequence[tuple[Scene, ...]],
    bands: tuple[str, ...] | None,
    size_px: int,
) -> Iterator[StoredPlace | Problem]:
    """Places with a chip of each scene that shows them, one place in memory at a time.

    A chip has the pixels of its scene, the point in the middle. It is stored as whole numbers where
    it holds nothing else and is valid throughout, else as float32 with NaN where not valid.

    Args:
        points: of places.
        scenes: for each point those that may show it.
        bands: names; all that a scene measured when None.
        size_px: side of a chip in pixels of its scene.
    """
    with ExitStack() as stack:
        opened = _Opened(bands, stack)
        for point, showing in zip(points, scenes, strict=True):
            try:
                images = [opened.cut(scene, point, size_px) for scene in showing]
            except SceneError as error:
                yield Problem(point.id, str(error))
                continue
            seen = tuple(image for image in images if image is not None)
            if not seen:
                yield Problem(point.id, "no scene shows it.")
                continue
            yield StoredPlace(
                id=point.id, lon=point.lon, lat=point.lat, present=point.present, images=seen
            )


class _Opened:
    """Scenes that are open, the last used of them."""

    def __init__(self, bands: tuple[str, ...] | None, stack: ExitStack) -> None:
        self._bands = bands
        self._readers: OrderedDict[str, tuple[SceneReader, Transformer, ExitStack]] = OrderedDict()
        stack.callback(self._close)

    def cut(self, scene: Scene, point: Point, size_px: int) -> StoredImage | None:
        """The chip of a scene around a point; None where the scene shows nothing of it."""
        reader, there = self._open(scene)
        x, y = there.transform(point.lon, point.lat)
        column, row = ~reader.grid.affine * (x, y)
        if not (0 <= row < reader.grid.shape.y and 0 <= column < reader.grid.shape.x):
            return None
        # The pixel that holds the point is in the middle, or right of and below it.
        left, top = math.floor(column) - size_px // 2, math.floor(row) - size_px // 2
        window = Window(left, top, size_px, size_px)
        image, valid = reader.read(window)
        if not valid.any():
            return None
        kind = ImageKind(
            sensor_id=scene.sensor_id,
            bands=reader.bands,
            gsd_m=round_gsd(gsd_m(reader.grid)),
        )
        return StoredImage(
            pixels=_as_stored(image, valid), suffix="npy", kind=kind, time=scene.start
        )

    def _open(self, scene: Scene) -> tuple[SceneReader, Transformer]:
        key = repr(scene)  # which names its files: scenes of two folders may share an id
        if key not in self._readers:
            if len(self._readers) >= _OPEN:
                self._readers.popitem(last=False)[1][2].close()
            stack = ExitStack()
            reader = stack.enter_context(open_scene(scene, self._bands))
            there = Transformer.from_crs(DEGREES, crs_of(reader.grid), always_xy=True)
            self._readers[key] = (reader, there, stack)
        self._readers.move_to_end(key)
        reader, there, _ = self._readers[key]
        return reader, there

    def _close(self) -> None:
        for _, _, stack in self._readers.values():
            stack.close()


def _as_stored(image: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.generic]:
    """Whole numbers where nothing is lost by it."""
    if not valid.all():
        return np.where(valid, image, np.float32(np.nan))
    low, high = image.min(), image.max()
    for dtype in (np.uint8, np.uint16, np.int16):
        bounds = np.iinfo(dtype)
        if bounds.min <= low and high <= bounds.max and (image == np.rint(image)).all():
            return image.astype(dtype)
    return image


def _read_table(
    path: Path,
) -> tuple[dict[str, list[object]], NDArray[np.float64], NDArray[np.float64]]:
    """Columns, longitude and latitude of a file of points."""
    import geopandas as gpd
    import pandas as pd
    from pyogrio.errors import DataSourceError

    from geoseg.vectors import opening

    if not path.is_file():
        raise ConfigError(f"{path} is no file; name one with points.")
    try:
        if path.suffix.lower() in {".csv", ".txt"}:
            plain = read_texts(path)
            lon, lat = (pd.to_numeric(plain[name], errors="coerce") for name in ("lon", "lat"))
            texts: dict[str, list[object]] = {str(name): plain[name].tolist() for name in plain}
            return texts, lon.to_numpy(float), lat.to_numpy(float)
        in_parquet = path.suffix.lower() == ".parquet"
        with nullcontext(path) if in_parquet else opening(path) as file:
            table = gpd.read_parquet(file) if in_parquet else gpd.read_file(file)
    except (DataSourceError, ValueError, KeyError, OSError) as error:
        raise ConfigError(
            f"{path} cannot be read as points ({error}); give a vector file, or CSV with columns "
            "lon and lat."
        ) from error
    if table.crs is None:
        raise ConfigError(f"{path} has no coordinate reference system; set it, or give CSV.")
    centres = shapely.centroid(table.geometry.to_crs(DEGREES).to_numpy())
    centres = np.where(shapely.is_empty(centres), None, centres)  # which has no place
    plain = table.drop(columns=table.geometry.name)
    columns = {str(name): plain[name].tolist() for name in plain}
    return columns, shapely.get_x(centres), shapely.get_y(centres)
