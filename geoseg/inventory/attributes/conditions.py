"""How much of each outline lay under snow, and in shadow, when its image was taken."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import shapely
from pyproj import CRS, Transformer
from rasterio import Affine
from rasterio.features import rasterize
from rasterio.windows import Window

from geoseg.grids import crs_of, gsd_m, raster_grid
from geoseg.inventory.surveys.survey import ICE_CLASSES
from geoseg.scenes import open_raster, open_scene, scene_sample
from geoseg.scenes.terrain import ground_size_m, open_terrain
from geoseg.sensors import SensorKind, find_sensor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import geopandas as gpd
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from geoseg.scenes import Scene, SceneReader
    from geoseg.scenes.scene import SunPosition

__all__ = ["conditions_of", "in_shadow", "snow_on_ice"]

_NIR = ("nir", "nir08")  # the first that a scene has
_PLAIN_ICE = ICE_CLASSES - {"debris_ice"}
_BINS = 256
_SAMPLE = 2**16  # pixels that the range of a histogram is found from
# Halves of normal numbers lie 2.7 apart, and of any numbers in a range 3.5; measured on ice that is
# all snow or all bare up to 2.6, and on ice that is both from 4.4.
_SEPARATED = 4.0
_FEWEST = 0.05  # of the pixels; fewer are no kind of ice but rocks, melt water or a cloud
_DIFFUSE = 0.2  # light from all sides as a share of sunlight on level ground; 0.1 to 0.4 do as well
_HIGHEST_RISE_M = 4000.0  # of a ridge above what it shades
_FARTHEST_M = 50_000.0  # that a shadow reaches
_STRIP_PX = 2**20
_SMALL_PX = 4.0  # an outline of fewer may hold no centre of a pixel
_NOTHING_M = -1e9  # lower than any ground


def conditions_of(
    outlines: gpd.GeoDataFrame, scene: Scene, *, dem: Path | None = None
) -> pd.DataFrame:
    """The shares of each outline under snow and in shadow, 0 to 1, with the index of the outlines.

    snow_share: as by `snow_on_ice`, with one threshold for all ice of the scene that is not under
    debris, where there is such ice. With an elevation model and the position of the sun, slopes are
    first made as bright as they were on level ground, and what lies in shadow does not count; steep
    ice is seldom told from snow otherwise. NaN for what is not ice, and where the scene has no near
    infrared or does not tell snow from ice. shadow_share: as by `in_shadow`. NaN without a model or
    the position of the sun, and for radar, which brings its own light.

    A pixel counts where its centre lies in the outline; an outline of few pixels has at least the
    one under it. Pixels without data count for neither, nor do voids of the model for shadow.

    Args:
        outlines: with `class_name`, in any CRS; they do not overlap.
        scene: that they were drawn from; read by windows, so that memory does not grow with its
            size.
        dem: elevation in metres, on any grid; that of the scene when None.

    Raises:
        SceneError: a file cannot be read, or the model lies elsewhere.
        GridError: a file has no CRS or georeference.
    """
    light = _light_of(scene, dem)
    nir = next((band for band in _NIR if band in scene.bands), None)
    shares = pd.DataFrame(np.nan, index=outlines.index, columns=["snow_share", "shadow_share"])
    if outlines.empty or (nir is None and light is None):
        return shares
    band = nir or next(iter(scene.bands))
    # Shadows are no sharper than the model, and film is far finer.
    coarser = 1 if nir is not None or light is None else _coarser(scene, band, light.model)
    with open_scene(scene, [band], coarser=coarser) as reader:
        placed = _placed(outlines, reader.grid)
        strips = _unlit(placed.window) if light is None else _lit(placed.window, reader.grid, light)
        counts = _count(placed, reader, strips, infrared=nir is not None)
    with np.errstate(invalid="ignore"):
        shares["shadow_share"] = counts.dark / counts.known
    shares["snow_share"] = _snow_shares(counts.histograms, outlines["class_name"].to_numpy())
    return shares


def snow_on_ice(nir: NDArray[np.floating], ice: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """Where snow (H, W) lies on ice: what is brighter in the near infrared than a threshold.

    The threshold is that of Otsu among the pixels of ice, after Rastner and others (2019,
    https://doi.org/10.3390/rs11121410). None where they are not of two kinds: where the means of
    what is darker and brighter lie less than 4 apart in units of their spread (D of Ashman and
    others 1994), or one has less than a twentieth of the pixels.

    Args:
        nir: (H, W) reflectance, or counts that rise with it, NaN where not measured. What is
            saturated is bright.
        ice: (H, W).
    """
    known = ice & np.isfinite(nir)
    if not known.any():
        return None
    bins = _bins(nir[known], float(nir[known].min()), float(nir[known].max()))
    threshold = _threshold(np.bincount(bins, minlength=_BINS))
    if threshold is None:
        return None
    snow = np.zeros(nir.shape, dtype=bool)
    snow[known] = bins > threshold
    return snow


def in_shadow(
    elevation_m: NDArray[np.floating], sun: SunPosition, *, ground_m: tuple[float, float]
) -> NDArray[np.bool_]:
    """Where the ground (H, W) gets no light from the sun; False in voids.

    It is dark where other ground stands above the line from it to the sun, be it a ridge far away
    or the slope itself. Ground is compared along lines of the sun's azimuth, after Corripio (2003,
    International Journal of Geographical Information Science 17, 1-23). What lies beyond the edge
    casts no shadow.

    Args:
        elevation_m: (H, W), NaN in voids; its top is north.
        sun: where it stands; below the horizon, all is dark.
        ground_m: width and height of a pixel.
    """
    if sun.elevation <= 0:
        return np.asarray(np.isfinite(elevation_m))
    rays = _rays(sun.azimuth, sun.elevation, ground_m)
    ground = rays.turned(elevation_m)
    dark: NDArray[np.bool_] = rays.turned_back(_Horizon(rays, ground.shape).advance(ground))
    return dark


class _Rays(NamedTuple):
    """How light crosses a grid: it meets one row, or else column, after the other."""

    to_east: float  # columns in a metre
    to_south: float  # rows in a metre
    fall: float  # metres in a metre

    @property
    def by_columns(self) -> bool:
        return abs(self.to_east) > abs(self.to_south)

    @property
    def along(self) -> float:
        """Rows, or columns, that it meets in a metre; negative where the last is met first."""
        return self.to_east if self.by_columns else self.to_south

    @property
    def drift_px(self) -> float:
        """How far it moves aside from one to the next."""
        return (self.to_south if self.by_columns else self.to_east) / abs(self.along)

    @property
    def drop_m(self) -> float:
        """How far it falls from one to the next."""
        return self.fall / abs(self.along)

    def turned(self, array: NDArray[Any]) -> NDArray[Any]:
        """With what is met first as its first row."""
        rows = array.T if self.by_columns else array
        return rows[::-1] if self.along < 0 else rows

    def turned_back(self, rows: NDArray[Any]) -> NDArray[Any]:
        array = rows[::-1] if self.along < 0 else rows
        return array.T if self.by_columns else array

    def strips(self, window: Window) -> Iterator[Window]:
        """A window in strips, in the order that they are met."""
        strips = list(_strips(window, by_columns=self.by_columns))
        yield from reversed(strips) if self.along < 0 else strips

    def with_ridges(self, window: Window) -> Window:
        """A window and the ground towards the sun that may cast shadows into it."""
        reach_m = min(_HIGHEST_RISE_M / self.fall, _FARTHEST_M)
        # The light comes from where it does not go.
        right, down = (math.ceil(abs(v) * reach_m) for v in (self.to_east, self.to_south))
        return Window(
            window.col_off - (right if self.to_east > 0 else 0),
            window.row_off - (down if self.to_south > 0 else 0),
            window.width + right,
            window.height + down,
        )


def _rays(azimuth: float, elevation: float, ground_m: tuple[float, float]) -> _Rays:
    """The rays of a sun above the horizon; azimuth clockwise from the top of the grid, degrees."""
    return _Rays(
        to_east=-math.sin(math.radians(azimuth)) / ground_m[0],
        to_south=math.cos(math.radians(azimuth)) / ground_m[1],
        fall=math.tan(math.radians(elevation)),
    )


class _Horizon:
    """The highest rays over the ground that they have crossed so far."""

    def __init__(self, rays: _Rays, shape: tuple[int, ...]) -> None:
        """Of ground (H, W) whose rows are met in turn, some at a time."""
        height, width = shape
        ends = sorted((0.0, -rays.drift_px * (height - 1)))
        self._drift_px, self._drop_m = rays.drift_px, rays.drop_m
        self._row = 0
        self._first = math.floor(ends[0])
        # A line is named by the column that it crosses row 0 in; its ray is as high as it is there.
        self._heights_m = np.full(math.floor(ends[1]) - self._first + width + 1, _NOTHING_M)

    def advance(self, ground_m: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Whether the ground (h, W) of the next rows lies below a ray; False in voids."""
        dark = np.empty(ground_m.shape, dtype=bool)
        for number, row in enumerate(ground_m.astype(np.float64)):
            line = -self._drift_px * self._row  # of the first pixel of the row
            right = line - math.floor(line)  # share of the line on its right
            start = math.floor(line) - self._first
            rays = self._heights_m[start : start + len(row) + 1]
            height = row + self._row * self._drop_m
            dark[number] = height < rays[:-1] * (1 - right) + rays[1:] * right
            between = height[:-1] * right + height[1:] * (1 - right)
            np.fmax(rays, np.concatenate([height[:1], between, height[-1:]]), out=rays)
            self._row += 1
        return dark


class _Light(NamedTuple):
    """What shadows are told from."""

    sun: SunPosition
    model: Path


class _Strip(NamedTuple):
    """Light in a window (h, w); where the elevation is not known, ground is taken to be level."""

    window: Window
    known: NDArray[np.bool_]
    dark: NDArray[np.bool_]
    light: NDArray[np.float32]  # that falls on the ground, as a share of that on level ground


class _Counts(NamedTuple):
    """Pixels of outlines (N,)."""

    known: NDArray[np.int64]  # (N,) with data, and elevation
    dark: NDArray[np.int64]  # (N,) of these, in shadow
    histograms: NDArray[np.int64]  # (N, _BINS) of the near infrared of what is not in shadow


class _Placed(NamedTuple):
    """Outlines (N,) in columns and rows of a grid."""

    shapes: NDArray[np.object_]
    tree: shapely.STRtree
    window: Window  # of the grid, that they lie in; of no pixels where they lie beyond it

    def numbers(self, window: Window) -> NDArray[np.int32]:
        """The number (h, w) of the outline that holds the centre of each pixel, -1 where none."""
        left, top = window.col_off, window.row_off
        box = shapely.box(left, top, left + window.width, top + window.height)
        here = self.tree.query(box, predicate="intersects")
        small = here[shapely.area(self.shapes[here]) < _SMALL_PX]
        inside = shapely.point_on_surface(self.shapes[small])
        drawn = [*zip(self.shapes[here], here, strict=True), *zip(inside, small, strict=True)]
        numbers = np.full((window.height, window.width), -1, dtype=np.int32)
        if drawn:
            rasterize(drawn, out=numbers, transform=Affine.translation(left, top))
        return numbers


def _light_of(scene: Scene, dem: Path | None) -> _Light | None:
    """The light that a scene was taken in, where it is known and matters."""
    model = scene.dem if dem is None else dem
    radar = find_sensor(scene.sensor_id).kind is SensorKind.SAR
    return None if scene.sun is None or model is None or radar else _Light(scene.sun, model)


def _coarser(scene: Scene, band: str, model: Path) -> int:
    """How many pixels of a band, to each side, go into one of an elevation model."""
    with open_raster(model) as raster, open_scene(scene, [band]) as reader:
        return max(1, math.floor(gsd_m(raster_grid(raster)) / gsd_m(reader.grid)))


def _placed(outlines: gpd.GeoDataFrame, grid: GeoBox) -> _Placed:
    affine = grid.affine
    corner, size = np.array([affine.c, affine.f]), np.array([affine.a, affine.e])
    shapes = shapely.transform(
        outlines.geometry.to_crs(crs_of(grid)).to_numpy(), lambda xy: (xy - corner) / size
    )
    west, north, east, south = np.nan_to_num(shapely.total_bounds(shapes))
    left, top = max(0, math.floor(west)), max(0, math.floor(north))
    right, bottom = min(math.ceil(east), grid.shape.x), min(math.ceil(south), grid.shape.y)
    window = Window(left, top, max(0, right - left), max(0, bottom - top))
    return _Placed(shapes, shapely.STRtree(shapes), window)


def _count(
    placed: _Placed, reader: SceneReader, strips: Iterable[_Strip], *, infrared: bool
) -> _Counts:
    """What the pixels of each outline are; the reader is of one band."""
    number = len(placed.shapes)
    counts = _Counts(
        known=np.zeros(number, dtype=np.int64),
        dark=np.zeros(number, dtype=np.int64),
        histograms=np.zeros((number, _BINS), dtype=np.int64),
    )
    sample = scene_sample(reader, _SAMPLE) if infrared else np.zeros(1, dtype=np.float32)
    low, high = float(sample.min()), float(sample.max())
    for window, known, dark, light in strips:
        owner = placed.numbers(window)
        if (owner < 0).all():
            continue
        image, valid = reader.read(window)
        here = valid & (owner >= 0)
        for total, which in ((counts.known, known), (counts.dark, dark)):
            total += np.bincount(owner[here & which], minlength=number)
        if infrared:
            lit = here & ~dark
            levelled = image[0][lit] / light[lit]
            np.add.at(counts.histograms, (owner[lit], _bins(levelled, low, high)), 1)
    return counts


def _unlit(window: Window) -> Iterator[_Strip]:
    """A window in strips, of whose light nothing is known."""
    for strip in _strips(window, by_columns=False):
        nowhere = np.zeros((strip.height, strip.width), dtype=bool)
        yield _Strip(strip, nowhere, nowhere, np.ones(nowhere.shape, dtype=np.float32))


def _lit(window: Window, grid: GeoBox, light: _Light) -> Iterator[_Strip]:
    """A window of a grid in strips, in the order that light meets them."""
    terrain = open_terrain(light.model, grid)
    azimuth = _from_top(light.sun.azimuth, grid)
    # A sun below the horizon is followed as if it stood above it, and all is dark.
    rays = _rays(azimuth, max(light.sun.elevation, 0.1), _pixel_m(grid))
    wider = rays.with_ridges(window)
    horizon = _Horizon(rays, rays.turned(np.empty((wider.height, wider.width), dtype=bool)).shape)
    for strip in rays.strips(wider):
        bands = terrain.read(strip)
        known = np.isfinite(bands[0])
        dark = rays.turned_back(horizon.advance(rays.turned(bands[0])))
        part, place = _common(window, strip)
        if part.width and part.height:
            yield _Strip(
                part,
                known[place],
                (dark if light.sun.elevation > 0 else known)[place],
                _light_on(bands[:, *place], azimuth, rays.fall),
            )


def _light_on(terrain: NDArray[np.float32], azimuth: float, fall: float) -> NDArray[np.float32]:
    """Light (h, w) as a share of that on level ground; 1 where the slope is not known.

    Args:
        terrain: (5, h, w) elevation, slope, and sine and cosine of the aspect.
        azimuth: of the sun, in degrees from the top of the grid.
        fall: tangent of its elevation.
    """
    slope, to_east, to_north = np.radians(terrain[1]), terrain[2], terrain[3]
    east, north = math.sin(math.radians(azimuth)), math.cos(math.radians(azimuth))
    facing = np.cos(slope) + np.sin(slope) * (east * to_east + north * to_north) / fall
    light = (np.maximum(facing, 0) + _DIFFUSE) / (1 + _DIFFUSE)
    return np.where(np.isfinite(light), light, 1).astype(np.float32)


def _strips(window: Window, *, by_columns: bool) -> Iterator[Window]:
    """Whole rows of a window, or whole columns, some at a time."""
    length, width = window.height, window.width
    if by_columns:
        length, width = width, length
    step = max(1, _STRIP_PX // max(1, width))
    for first in range(0, length if width else 0, step):
        count = min(step, length - first)
        if by_columns:
            yield Window(window.col_off + first, window.row_off, count, window.height)
        else:
            yield Window(window.col_off, window.row_off + first, window.width, count)


def _common(one: Window, other: Window) -> tuple[Window, tuple[slice, slice]]:
    """What two windows have in common, and where it lies in the other."""
    left, top = max(one.col_off, other.col_off), max(one.row_off, other.row_off)
    right = min(one.col_off + one.width, other.col_off + other.width)
    bottom = min(one.row_off + one.height, other.row_off + other.height)
    rows = slice(top - other.row_off, bottom - other.row_off)
    columns = slice(left - other.col_off, right - other.col_off)
    return Window(left, top, max(0, right - left), max(0, bottom - top)), (rows, columns)


def _from_top(azimuth: float, grid: GeoBox) -> float:
    """A direction at the middle of a grid, clockwise from the top of the grid, in degrees.

    In a polar projection the top of the grid is any direction.
    """
    crs = crs_of(grid)
    x, y = grid.affine * (grid.shape.x / 2, grid.shape.y / 2)
    degrees = CRS.from_epsg(4326)
    east, north = Transformer.from_crs(crs, degrees, always_xy=True).transform(x, y)
    # A hundred metres to the north, or near the pole from the south.
    ahead = min(north + 1e-3, 90.0)
    back = Transformer.from_crs(degrees, crs, always_xy=True)
    (x0, y0), (x1, y1) = back.transform(east, ahead - 1e-3), back.transform(east, ahead)
    return azimuth + math.degrees(math.atan2(x1 - x0, y1 - y0))


def _pixel_m(grid: GeoBox) -> tuple[float, float]:
    """Width and height on the ground of the pixel at the middle of a grid."""
    width, height = ground_size_m(grid, Window(grid.shape.x // 2, grid.shape.y // 2, 1, 1))
    return float(width[0, 0]), float(height[0, 0])


def _bins(values: NDArray[np.floating], low: float, high: float) -> NDArray[np.intp]:
    """The bin, 0 to 255, of each value; what is beyond the range is in the first or last."""
    scaled = (values - low) * (_BINS / max(high - low, 1e-9))
    bins: NDArray[np.intp] = np.clip(scaled, 0, _BINS - 1).astype(np.intp)
    return bins


def _threshold(histogram: NDArray[np.int64]) -> int | None:
    """The last bin of the darker of two kinds of pixels, after Otsu; None where they are of one.

    Args:
        histogram: (B,), of one pixel or more.
    """
    share = np.cumsum(histogram) / histogram.sum()
    moment = np.cumsum(histogram * np.arange(len(histogram))) / histogram.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (moment[-1] * share - moment) ** 2 / (share * (1 - share))
    best = int(np.argmax(np.nan_to_num(between, nan=0.0, posinf=0.0)))
    if not _FEWEST <= share[best] <= 1 - _FEWEST:
        return None
    (dark, dark_spread), (bright, bright_spread) = (
        _mean_and_variance(histogram, part) for part in (slice(best + 1), slice(best + 1, None))
    )
    spread = (dark_spread + bright_spread) / 2
    return best if (bright - dark) ** 2 > _SEPARATED**2 * spread else None


def _mean_and_variance(histogram: NDArray[np.int64], part: slice) -> tuple[float, float]:
    """Mean and variance of the bins of a part of a histogram."""
    bins, count = np.arange(len(histogram))[part], histogram[part]
    mean = (count * bins).sum() / count.sum()
    return float(mean), float((count * (bins - mean) ** 2).sum() / count.sum())


def _snow_shares(
    histograms: NDArray[np.int64], classes: NDArray[np.object_]
) -> NDArray[np.float64]:
    """Of each outline (N,), the share beyond the threshold of all."""
    shares = np.full(len(classes), np.nan)
    plain = histograms[np.isin(classes, list(_PLAIN_ICE))].sum(axis=0)
    ice = np.isin(classes, list(ICE_CLASSES))
    of_all = plain if plain.any() else histograms[ice].sum(axis=0)
    threshold = _threshold(of_all) if of_all.any() else None
    if threshold is None:
        return shares
    with np.errstate(invalid="ignore"):
        shares[ice] = histograms[ice, threshold + 1 :].sum(axis=1) / histograms[ice].sum(axis=1)
    return shares
