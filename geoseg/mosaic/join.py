"""The maps of overlapping scenes become one, so that a glacier on two scenes is one outline."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import shapely
from pyproj import CRS
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from geoseg.errors import ConfigError, GridError, SceneError, nearest
from geoseg.grids import crs_of, describe_grid, part_of, raster_grid, same_grid
from geoseg.inference.maps import Prediction
from geoseg.labels import IGNORE
from geoseg.mosaic.files import SeenScene, open_mosaic
from geoseg.mosaic.grid import border_on
from geoseg.mosaic.merge import MERGE_RULES, Layer, blank
from geoseg.scenes import open_raster, reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox
    from rasterio.io import DatasetReader

    from geoseg.labels import ClassScheme
    from geoseg.mosaic.merge import Rule

__all__ = ["MapOfScene", "grids_of", "mosaic_maps"]

_BLOCK_PX = 1024
_HALF_TURN = 180.0  # degrees
_MOST_MAPS = 2**16 - 1  # the source map numbers them in 16 bits


@dataclass(frozen=True, slots=True, kw_only=True)
class MapOfScene:
    """The maps of one scene, and when it was acquired (half-open, UTC)."""

    scene_id: str
    start: datetime
    end: datetime
    prediction: Prediction


class OnBlock(Protocol):
    """Is told of every block."""

    def __call__(self, done: int, total: int, /) -> None:
        """Take the number of blocks done and of all blocks."""


def grids_of(maps: Sequence[MapOfScene]) -> list[GeoBox]:
    """The grids of maps, in their order.

    Raises:
        SceneError: a map cannot be read.
        GridError: one has no reference system or georeference.
    """
    grids = []
    for one in maps:
        with open_raster(one.prediction.classes) as raster:
            grids.append(raster_grid(raster))
    return grids


def mosaic_maps(
    maps: Sequence[MapOfScene],
    *,
    rule: Rule,
    grid: GeoBox,
    prediction: Prediction,
    scheme: ClassScheme,
    tags: Mapping[str, str],
    on_block: OnBlock,
) -> Prediction:
    """One map of many, in memory that grows neither with its size nor with their number.

    Pixels are taken from the nearest ones of the maps, at most half a pixel and an eighth away:
    class numbers cannot be averaged, nor can 255, and probabilities stay those of their class. Maps
    on the pixels of `grid` are copied. A scene counts as acquired in the middle of its interval.

    Args:
        maps: at least one, all of the same classes; they may overlap or not.
        rule: where several have data, `best` takes the one most sure of its own class, `newest` the
            latest, `vote` the class of the highest mean probability. Of equals, the newest.
        grid: of the mosaic; see `mosaic_grid`.
        prediction: where the class map goes, and the probability map unless None. The source map
            goes to `source_path`.
        scheme: the classes.
        tags: provenance for the metadata of the maps.
        on_block: is told of every block.

    Returns:
        What was written.

    Raises:
        ConfigError: no such rule.
        SceneError: no map, maps of other classes, one without the probabilities that the rule or
            the mosaic needs, or one that cannot be read.
        GridError: a map without reference system, or one that has no place on the grid.
        OutputError: the mosaic cannot be written.
    """
    if rule not in MERGE_RULES:
        raise ConfigError(f"no rule {rule!r} for a mosaic. {nearest(rule, MERGE_RULES)}")
    chances = rule != "newest" or prediction.probability is not None
    placed = _placed(maps, grid, scheme, chances=chances)
    scenes = [SeenScene(one.scene_id, one.start, one.end) for one in maps]
    tags = {**tags, "MOSAIC_RULE": rule}
    with open_mosaic(prediction, grid, scheme, scenes=scenes, tags=tags) as out:
        windows = list(_blocks(grid))
        for done, window in enumerate(windows, start=1):
            touching = [one for one in placed if one.touches(window)]
            if touching:
                shape = (window.height, window.width)
                merged = blank(len(scheme.classes) if chances else 0, shape)
                layers = _layers(touching, part_of(grid, window), scheme, chances=chances)
                MERGE_RULES[rule](layers, merged)
                out.write(merged, window)
            on_block(done, len(windows))
    return Prediction(classes=prediction.classes, probability=prediction.probability)


class _Placed(NamedTuple):
    """A map on the grid of the mosaic."""

    number: int  # counted from 1, in the order given
    maps: Prediction
    ground: shapely.Polygon  # that it covers, in pixels of the mosaic

    def touches(self, window: Window) -> bool:
        """Whether the map may have pixels in a window."""
        left, top = window.col_off, window.row_off
        box = shapely.box(left, top, left + window.width, top + window.height)
        return bool(self.ground.intersects(box))


def _placed(
    maps: Sequence[MapOfScene], grid: GeoBox, scheme: ClassScheme, *, chances: bool
) -> list[_Placed]:
    """All maps, checked, the newest first; with their probabilities where those are needed."""
    if not 0 < len(maps) <= _MOST_MAPS:
        raise SceneError(f"A mosaic of {len(maps)} maps; give 1 to {_MOST_MAPS}.")
    order = sorted(
        range(len(maps)), key=lambda i: maps[i].start + (maps[i].end - maps[i].start) / 2
    )
    to_pixel = ~grid.affine
    placed = []
    for i in reversed(order):
        own = _checked_grid(maps[i].prediction.classes, scheme)
        if chances:
            _check_probability(maps[i], own, scheme)
        x, y = border_on(own, crs_of(grid)).T
        # A pixel more, for what the approximation of the border leaves out.
        ground = shapely.Polygon(np.column_stack(to_pixel * (x, y))).buffer(1)
        placed.append(_Placed(i + 1, maps[i].prediction, ground))
    return placed


def _checked_grid(path: Path, scheme: ClassScheme) -> GeoBox:
    """The grid of a class map, once it is known to be of these classes."""
    with open_raster(path) as classes:
        names = classes.tags().get("CLASSES")
        if names != ",".join(scheme.names):
            raise SceneError(
                f"{path} holds the classes {names or '(no tag CLASSES)'}, and the mosaic "
                f"{','.join(scheme.names)}; map the scene again with the network of the others."
            )
        return raster_grid(classes)


def _check_probability(one: MapOfScene, grid: GeoBox, scheme: ClassScheme) -> None:
    """Refuse probabilities that are not those of the class map."""
    path = one.prediction.probability
    if path is None:
        raise SceneError(
            f"Scene {one.scene_id} was mapped without probabilities; map it again with them, or "
            "join the maps with `--rule newest`."
        )
    with open_raster(path) as probability:
        if probability.count != len(scheme.names):
            raise SceneError(
                f"{path} has {probability.count} bands for {len(scheme.names)} classes; map the "
                "scene again."
            )
        own = raster_grid(probability)
        if not same_grid(grid, own):
            raise GridError(
                f"{one.prediction.classes} and {path} are not on the same pixels "
                f"({describe_grid(grid)}; {describe_grid(own)}); map the scene again."
            )


def _layers(
    placed: Sequence[_Placed], part: GeoBox, scheme: ClassScheme, *, chances: bool
) -> Iterator[Layer]:
    """Maps on the pixels of a part of the mosaic, those without data there left out."""
    for one in placed:
        classes = _read_nearest(one.maps.classes, part)[0]
        known = classes != IGNORE
        if not known.any():
            continue
        highest = int(classes[known].max())
        if highest >= len(scheme.classes):
            raise SceneError(
                f"{one.maps.classes} holds a class {highest} and names {len(scheme.classes)}; map "
                "the scene again."
            )
        stored = np.empty((0, *classes.shape), dtype=np.uint8)
        if chances and one.maps.probability is not None:
            stored = _read_nearest(one.maps.probability, part)
        yield Layer(one.number, classes, stored)


def _read_nearest(path: Path, part: GeoBox) -> NDArray[np.uint8]:
    """A map (K, H, W) on other pixels, each taken from the nearest of the map.

    Files are opened block by block: a mosaic may be of more scenes than a process may have files.
    """
    with open_raster(path) as raster, reading(path), _on_grid(raster, part) as warped:
        pixels: NDArray[np.uint8] = warped.read()
        return pixels


def _on_grid(raster: DatasetReader, grid: GeoBox) -> WarpedVRT:
    return WarpedVRT(
        raster,
        src_crs=_unbroken_crs(raster_grid(raster)),
        crs=crs_of(grid).to_wkt(),
        transform=grid.affine,
        width=grid.shape.x,
        height=grid.shape.y,
        src_nodata=IGNORE,
        nodata=IGNORE,
        resampling=Resampling.nearest,
    )


def _unbroken_crs(grid: GeoBox) -> str | None:
    """The reference system of a map that counts longitudes beyond 180 degrees, which counts so too.

    Places come back from a projection at -180 to 180 degrees, and a map across the antimeridian may
    count on to 181, or from 0 to 360. None for all other maps: their own will do.
    """
    crs = crs_of(grid)
    left, right = grid.affine.c, grid.affine.c + grid.affine.a * grid.shape.x
    if not crs.is_geographic or -_HALF_TURN <= min(left, right) <= max(left, right) <= _HALF_TURN:
        return None
    with warnings.catch_warnings():
        # Only a PROJ string holds where longitudes are cut; it names ellipsoid and datum too.
        warnings.simplefilter("ignore", UserWarning)
        wrapped = f"{crs.to_proj4()} +lon_wrap={(left + right) / 2:.10g}"
        return CRS.from_user_input(wrapped).to_wkt()


def _blocks(grid: GeoBox) -> Iterator[Window]:
    height, width = grid.shape
    for top in range(0, height, _BLOCK_PX):
        for left in range(0, width, _BLOCK_PX):
            yield Window(left, top, min(_BLOCK_PX, width - left), min(_BLOCK_PX, height - top))
