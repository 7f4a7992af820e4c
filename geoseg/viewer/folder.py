"""What of a folder can be shown on a map."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
import pyogrio
import shapely
from pyproj import Transformer
from pyproj.exceptions import ProjError

from geoseg.dates import Interval
from geoseg.errors import ConfigError, GeosegError, GridError, SceneError
from geoseg.grids import DEGREES, gsd_m, raster_grid
from geoseg.inventory import is_inventory
from geoseg.map_origin import read_origin
from geoseg.page.pictures import channels_of, compositions_of
from geoseg.scenes import (
    Asset,
    ProblemKind,
    bands_of,
    data_bands,
    open_raster,
    scan_folders,
)
from geoseg.scenes.products.geotiff import dates_in
from geoseg.vectors import opening
from geoseg.viewer.items import Image, Item, OutlineLayer, PaintedMap
from geoseg.viewer.outlines import UNREADABLE, as_days
from geoseg.viewer.painting import colours_of_classes, colours_of_shares
from geoseg.viewer.tiles import deepest_zoom, degrees_of

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator

    from odc.geo.geobox import GeoBox

    from geoseg.map_origin import MapOrigin
    from geoseg.scenes import BrokenEntry, CatalogEntry, Scene

__all__ = ["LIKELY", "RASTERS", "SCENES", "UNCERTAIN", "Contents", "look_into"]

SCENES, RASTERS = "Scenes", "Other rasters"
# viridis, and the reds of ColorBrewer: told apart by everyone, and by their lightness alone.
LIKELY = ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725")
UNCERTAIN = ("#fee5d9", "#fcae91", "#fb6a4a", "#de2d26", "#a50f15")

_CLASSES, _CHANCES, _SPREAD = "classes.tif", "probability.tif", "uncertainty.tif"
_STEPS = 250  # that a share of 1 is stored as
_GEOTIFF = (".tif", ".tiff")
_SEEN = "seen"  # a layer with the ground that a map covers, which is no outline
_DATES = ("start_date", "end_date")
# What is raised on columns and reference systems that no file of ours has.
_BROKEN = (ValueError, KeyError, TypeError, AttributeError, OverflowError, ProjError)


class Contents(NamedTuple):
    """What was found in a folder, and what could not be shown, each with the reason."""

    items: tuple[Item, ...]
    problems: tuple[tuple[str, str], ...]  # file, reason
    classes: dict[str, str]  # colour of each class of the maps


@dataclass(slots=True)
class _Found:
    root: Path
    items: list[Item] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    classes: dict[str, str] = field(default_factory=dict)
    taken: set[Path] = field(default_factory=set)  # rasters that need no second look

    def inside(self, path: Path) -> bool:
        """Whether a file lies in the folder, wherever links lead."""
        return path.resolve().is_relative_to(self.root)

    def name(self, path: Path) -> str:
        """A path as it is told."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else path.name

    def attempt(self, path: Path, find: Callable[[], Iterator[Item]]) -> None:
        """Take what can be shown of a file, or the reason why not."""
        try:
            self.items += find()
        except (GeosegError, OSError, *_BROKEN, *UNREADABLE) as error:
            self.refuse(self.name(path), str(error))

    def refuse(self, name: str, reason: str) -> None:
        """Remember why something is not shown, in a sentence with paths from this folder on."""
        self.problems.append((name, reason.replace(f"{self.root}{os.sep}", "")))


def look_into(folder: Path, on_step: Callable[[int, int], None]) -> Contents:
    """Find scenes, maps and outlines below a folder; files that links lead out to are left out.

    Scenes are those that `geoseg catalog scan` finds. Maps are those that `geoseg predict`,
    `geoseg mosaic` or a recipe wrote; outlines are the polygons of any GeoPackage. What else is a
    GeoTIFF is shown in the colours of its first bands.

    Args:
        folder: searched to its depths; hidden folders are passed over.
        on_step: told how many of how many files have been looked at.

    Raises:
        ConfigError: no such folder, or nothing in it that can be shown.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder; give one with scenes, maps or outlines.")
    found = _Found(folder.resolve())
    paths = _files(found.root)
    maps = {path.parent for path in paths if path.name == _CLASSES}
    others = [path for path in paths if path.suffix in _GEOTIFF and path.parent not in maps]
    vectors = [path for path in paths if path.suffix == ".gpkg"]
    total = 0
    for step in scan_folders([found.root]):
        total = step.total + len(maps) + len(vectors) + len(others)
        for entry in step.entries:
            _take_scene(entry, found)
        for broken in step.broken:
            _take_problem(broken, found)
        on_step(step.done, total)
    done = total - len(maps) - len(vectors) - len(others)
    work = [
        *((path / _CLASSES, _maps) for path in sorted(maps)),
        *((path, _outlines) for path in vectors),
        *((path, _raster) for path in others if path.resolve() not in found.taken),
    ]
    for number, (path, find) in enumerate(work, start=done + 1):
        if found.inside(path):
            found.attempt(path, lambda path=path, find=find: find(path, found))  # type: ignore[misc]
        on_step(number, total)
    if not found.items:
        raise ConfigError(_nothing(folder, found))
    return Contents(tuple(found.items), tuple(found.problems), found.classes)


def _nothing(folder: Path, found: _Found) -> str:
    why = f" ({found.problems[0][0]}: {found.problems[0][1]})" if found.problems else ""
    return (
        f"{folder} holds nothing that can be shown{why}; give a folder of scenes, maps or outlines."
    )


def _files(root: Path) -> list[Path]:
    """All files below a folder, in their order; no link to a folder is followed."""
    found = []
    for folder, inner, names in os.walk(root):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        found += [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
    return found


def _take_problem(broken: BrokenEntry, found: _Found) -> None:
    """Remember why a file is no scene; a GeoTIFF may yet be shown as it is."""
    if broken.kind != ProblemKind.PASSED_OVER and not broken.id.endswith(_GEOTIFF):
        found.refuse(broken.id, broken.reason)


def _take_scene(entry: CatalogEntry, found: _Found) -> None:
    scene = entry.scene
    paths = [one.path for one in (*scene.bands.values(), scene.mask) if one is not None]
    found.taken |= {path.resolve() for path in paths}
    if scene.dem is not None:
        found.taken.add(scene.dem.resolve())
    if not all(found.inside(path) for path in paths):
        found.refuse(
            scene.id, "Its files lie outside of this folder; open the one that holds both."
        )
        return
    found.attempt(paths[0], lambda: _scene(scene))


def _scene(scene: Scene) -> Iterator[Item]:
    bands = bands_of(scene, tuple(scene.bands))
    assets = list(scene.bands.values())
    choices = {
        name: tuple(assets[n] for n in channels_of(bands, name)) for name in compositions_of(bands)
    }
    # Bands may differ in their pixels; those that are shown first count.
    path = next(iter(choices.values()))[0].path
    yield _raster_item(
        path,
        _grid(path),
        group=SCENES,
        title=scene.id,
        sensor=scene.sensor_id,
        when=_days(Interval(scene.start, scene.end)),
        shown=Image(choices=choices, mask=scene.mask),
    )


def _raster(path: Path, found: _Found) -> Iterator[Item]:
    """Any raster, in its first three bands or in grey."""
    with open_raster(path) as raster:
        grid = raster_grid(raster)
        bands = data_bands(raster)
    if not bands:
        raise SceneError(f"{path} holds nothing but an alpha band; give one with data.")
    choices: dict[str, tuple[Asset, ...]] = {"grey": (Asset(path=path, index=bands[0]),)}
    if len(bands) >= 3:
        choices = {"rgb": tuple(Asset(path=path, index=n) for n in bands[:3]), **choices}
    days = dates_in(path.stem)
    yield _raster_item(
        path,
        grid,
        group=RASTERS,
        title=found.name(path),
        when=_days(days[0]) if len(days) == 1 else None,
        shown=Image(choices=choices),
    )


def _maps(path: Path, found: _Found) -> Iterator[Item]:
    """The maps of one folder: classes, and the probabilities and uncertainty beside them."""
    origin = read_origin(path)
    kind = _kind(path, origin)
    names = {c.name: c.id + 1 for c in origin.scheme.foreground}
    found.classes |= {c.name: c.colour for c in origin.scheme.foreground}
    colours = [c.colour for c in origin.scheme.classes]
    likely = colours_of_shares(LIKELY, _STEPS)
    grid = _grid(path)  # of all maps of a scene
    classes = PaintedMap(
        path=path, choices={"classes": 1}, colours=colours_of_classes(colours), classes=True
    )
    yield _map_item(f"Classes{kind}", classes, origin, grid)
    chances = path.with_name(_CHANCES)
    if chances.is_file() and found.inside(chances):
        shown = PaintedMap(path=chances, choices=names, colours=likely, classes=False)
        yield _map_item(f"Probability{kind}", shown, origin, grid)
    spread = path.with_name(_SPREAD)
    if spread.is_file() and found.inside(spread):
        shown = PaintedMap(
            path=spread,
            choices={"uncertainty": 1},
            colours=colours_of_shares(UNCERTAIN, _STEPS),
            classes=False,
        )
        yield _map_item(f"Uncertainty{kind}", shown, origin, grid)


def _kind(path: Path, origin: MapOrigin) -> str:
    """What sets a map apart from the map of one scene."""
    if "filtered" in origin.tags:
        return ", made consistent"
    return ", mosaic" if path.with_name("source.tif").is_file() else ""


def _map_item(group: str, shown: PaintedMap, origin: MapOrigin, grid: GeoBox) -> Item:
    return _raster_item(
        shown.path,
        grid,
        group=group,
        title=origin.id,
        sensor=origin.sensor_id,
        when=_days(Interval(origin.start, origin.end)),
        shown=shown,
    )


def _raster_item(
    path: Path,
    grid: GeoBox,
    *,
    group: str,
    title: str,
    sensor: str = "",
    when: tuple[dt.date, dt.date] | None,
    shown: Image | PaintedMap,
) -> Item:
    pixel = f"{gsd_m(grid):.3g} m"
    return Item(
        group=group,
        title=title,
        note=f"{sensor}, {pixel}" if sensor else pixel,
        when=when,
        bounds=degrees_of(grid),
        zoom=deepest_zoom(grid),
        stamp=_stamp(path),
        shown=shown,
    )


def _outlines(path: Path, found: _Found) -> Iterator[Item]:
    """The layers of polygons of a GeoPackage; of an inventory its outlines, a survey each."""
    with opening(path):
        yield from _inventory(path, found) if is_inventory(path) else _layers(path, found)


def _layers(path: Path, found: _Found) -> Iterator[Item]:
    layers = [
        str(name)
        for name, kind in pyogrio.list_layers(path)
        if kind is not None and "Polygon" in kind and name != _SEEN
    ]
    own = path.parent if len(layers) == 1 and path.parent != found.root else path
    for layer in layers:
        yield Item(
            group=f"Outlines: {found.name(own)}",
            title=path.stem if len(layers) == 1 else layer,
            when=_days_of(path, layer),
            bounds=_bounds_of(path, layer),
            stamp=_stamp(path),
            shown=OutlineLayer(path=path, layer=layer),
        )


def _inventory(path: Path, found: _Found) -> Iterator[Item]:
    columns = ["survey", *_DATES]
    surveys = pyogrio.read_dataframe(path, layer="surveys", columns=columns, read_geometry=False)
    bounds = _bounds_of(path, "outlines")
    firsts, ends = (as_days(surveys[name]) for name in _DATES)
    for survey, first, end in zip(surveys["survey"], firsts, ends, strict=True):
        yield Item(
            group=f"Inventory: {found.name(path)}",
            title=str(survey),
            when=_span(first, end),
            bounds=bounds,
            stamp=_stamp(path),
            shown=OutlineLayer(path=path, layer="outlines", survey=str(survey)),
        )


def _days_of(path: Path, layer: str) -> tuple[dt.date, dt.date] | None:
    """The first and the last day of the outlines of a layer, where it says so."""
    fields = pyogrio.read_info(path, layer=layer)["fields"]
    if not set(_DATES) <= set(fields):
        return None
    days = pyogrio.read_dataframe(path, layer=layer, columns=list(_DATES), read_geometry=False)
    return _span(as_days(days["start_date"]).min(), as_days(days["end_date"]).max())


def _span(first: dt.date, end: dt.date) -> tuple[dt.date, dt.date] | None:
    """The first and the last day of a half-open interval, where both ends are known."""
    return None if pd.isna(first) or pd.isna(end) else _days(Interval.of_days(first, end))


def _bounds_of(path: Path, layer: str) -> tuple[float, float, float, float]:
    """Where the outlines of a layer lie."""
    told = pyogrio.read_info(path, layer=layer, force_total_bounds=True)
    if told["crs"] is None:
        raise GridError(
            f"{path} has no coordinate reference system; set it with `ogr2ogr -a_srs EPSG:...`."
        )
    box = told["total_bounds"]
    if box is None or not shapely.box(*box).is_valid:
        return (-180.0, -85.0, 180.0, 85.0)  # an empty layer lies anywhere
    placed = Transformer.from_crs(told["crs"], DEGREES, always_xy=True)
    west, south, east, north = placed.transform_bounds(*box)
    return (west, south, east if east >= west else east + 360, north)


def _grid(path: Path) -> GeoBox:
    with open_raster(path) as raster:
        return raster_grid(raster)


def _days(when: Interval) -> tuple[dt.date, dt.date]:
    """The first and the last day of an interval."""
    return when.first_day, when.end_day - timedelta(days=1)


def _stamp(path: Path) -> str:
    """What changes when a file does."""
    told = path.stat()
    return hashlib.sha256(f"{path} {told.st_mtime_ns} {told.st_size}".encode()).hexdigest()[:12]
