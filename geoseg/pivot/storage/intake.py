"""Scenes on disk as acquisitions of the pivot: each band on its own pixels, NaN where not valid."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.warp import reproject
from rasterio.windows import Window

from geoseg.errors import SceneError
from geoseg.grids import crs_of, gsd_m, part_of, raster_grid, require_metres, same_crs
from geoseg.pivot.measurement.acquisition import Acquisition, Reading
from geoseg.scenes import Unit, band_names, open_raster, open_scene, scene_sample, unit_of
from geoseg.sensors import SensorKind, find_sensor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from numpy.typing import NDArray

    from geoseg.scenes import Scene

__all__ = ["common_grid", "moment_of", "read_acquisition", "reflectance_scales"]

_ASTRAY_PX = 0.25  # by which a scene usually lies beside another, of its own pixels
_BEYOND_PX = 8  # that are read beyond an area, for point spreads
_LEAST_CELLS = 0.8  # to a side, that pixels are large which the operator takes
_SCALED = 1e-4


def read_acquisition(scene: Scene, area: GeoBox, scale: float = 1.0) -> Acquisition | None:
    """What a scene shows of an area; None where it does not reach it.

    Bands that share pixels are read together, on their own grid. One of another reference system is
    warped to that of the area, at its own pixel size.

    Args:
        scene: of a known sensor.
        area: cells of the pivot.
        scale: that makes reflectances of its values, as of `reflectance_scales`.

    Raises:
        SceneError: a file cannot be read, or its values are no reflectance and no decibels.
        GridError: a grid without a reference system, or rotated.
    """
    sensor = find_sensor(scene.sensor_id)
    readings = []
    widest = 0.0
    for bands, own in _by_grid(scene):
        reading = _read(scene, bands, own, area, scale)
        if reading is not None:
            readings.append(reading)
            widest = max(widest, gsd_m(reading.pixels))
    if not readings:
        return None
    radar = sensor.kind is SensorKind.SAR
    return Acquisition(
        id=scene.id,
        sensor_id=scene.sensor_id,
        time=moment_of(scene),
        readings=tuple(readings),
        registration_m=0.0 if radar else _ASTRAY_PX * widest,
    )


def moment_of(scene: Scene) -> datetime:
    """The middle of its interval, to the second, as which a store keeps it."""
    middle = scene.start + (scene.end - scene.start) / 2
    return middle.replace(microsecond=0)


def reflectance_scales(scenes: Sequence[Scene]) -> dict[str, float]:
    """By which values of scenes are to be multiplied: 1e-4 for those of integers 0 to 10000.

    Raises:
        SceneError: values of an optical scene that are neither, or radar that is not in decibels.
    """
    found = {}
    for scene in scenes:
        kind = find_sensor(scene.sensor_id).kind
        found[scene.id] = 1.0
        if kind is SensorKind.FILM:
            continue
        radar = kind is SensorKind.SAR
        names = band_names(scene) if radar else band_names(scene)[:1]
        with open_scene(scene, names) as reader:
            sample = scene_sample(reader)
        looks_like = unit_of(sample[0])
        if radar:
            for name, band in zip(names, sample, strict=True):
                if unit_of(band) not in {Unit.DECIBEL, None}:
                    raise SceneError(
                        f"The backscatter of scene {scene.id} in {name} looks linear or is scaled; "
                        "store gamma0 in decibels."
                    )
        elif looks_like is Unit.SCALED:
            found[scene.id] = _SCALED
        elif looks_like not in {Unit.REFLECTANCE, None}:
            raise SceneError(
                f"Scene {scene.id} holds {looks_like}; the pivot needs surface reflectance, as 0 "
                "to 1 or as 0 to 10000."
            )
    return found


def common_grid(scenes: Sequence[Scene], step_m: float) -> GeoBox:
    """The ground that all scenes show, in whole cells, in the reference system of the finest one.

    Raises:
        SceneError: no scene, or scenes that have no ground in common.
        GridError: the finest is not in metres.
    """
    if not scenes:
        raise SceneError("The pivot needs a scene; give a catalogue with one or more.")
    grids = [_by_grid(scene)[0][1] for scene in scenes]
    finest = min(grids, key=gsd_m)
    require_metres(crs_of(finest), "Scenes of the pivot")
    shared = finest.extent
    for grid in grids:
        shared = shared.intersection(
            grid.extent.to_crs(crs_of(finest), resolution=gsd_m(grid) * 16)
        )
    left, bottom, right, top = shared.boundingbox if not shared.is_empty else (0, 0, 0, 0)
    west, south = np.ceil(left / step_m) * step_m, np.ceil(bottom / step_m) * step_m
    width, height = int((right - west) // step_m), int((top - south) // step_m)
    if min(width, height) < 1:
        raise SceneError(
            "The scenes have no ground in common; give a grid with --like, or scenes that overlap."
        )
    return GeoBox.from_bbox(
        (west, south, west + width * step_m, south + height * step_m),
        crs=finest.crs,
        resolution=step_m,
    )


def _by_grid(scene: Scene) -> list[tuple[tuple[str, ...], GeoBox]]:
    """Bands that share pixels and their grid, the finest first."""
    found: dict[tuple[object, ...], tuple[list[str], GeoBox]] = {}
    for name, asset in scene.bands.items():
        grid = _stored_grid(asset.path, _changed(asset.path))
        key = (tuple(grid.shape), tuple(grid.affine))
        found.setdefault(key, ([], grid))[0].append(name)
    pairs = [(tuple(names), grid) for names, grid in found.values()]
    return sorted(pairs, key=lambda pair: gsd_m(pair[1]))


def _changed(path: Path) -> int:
    return path.stat().st_mtime_ns if path.is_file() else 0


@lru_cache(maxsize=2**14)
def _stored_grid(path: Path, _changed: int) -> GeoBox:
    """Of a file, which is opened once and not for every block that it may lie in."""
    with open_raster(path) as raster:
        return raster_grid(raster)


def _read(
    scene: Scene, bands: tuple[str, ...], own: GeoBox, area: GeoBox, scale: float
) -> Reading | None:
    alike = same_crs(crs_of(own), crs_of(area))
    window = _window(own, area)
    if window is None:
        return None
    coarser = _coarser(gsd_m(own), abs(area.resolution.x))
    shape = (max(1, window.height // coarser), max(1, window.width // coarser))
    window = Window(window.col_off, window.row_off, shape[1] * coarser, shape[0] * coarser)
    with open_scene(scene, bands) as reader:
        image, valid = reader.read(window, shape)
    values = np.where(valid, image, np.float32(np.nan)) * np.float32(scale)
    pixels = part_of(own, window).zoom_out(coarser)
    if alike:
        pixels = GeoBox(pixels.shape, pixels.affine, area.crs)  # one name for one system
    else:
        pixels, values = _warped(pixels, values, area)
    return Reading(pixels=pixels, bands=bands, values=torch.from_numpy(values))


def _coarser(pixel_m: float, step_m: float) -> int:
    """How many pixels to a side become one, so that it is about as large as a cell.

    Finer ones would say no more of cells, on which the transfer of so fine a pixel has no meaning.
    """
    count = max(1, round(step_m / pixel_m))
    return count if count * pixel_m >= _LEAST_CELLS * step_m else count + 1


def _window(own: GeoBox, area: GeoBox) -> Window | None:
    """Pixels of a scene that show an area, and some beyond it."""
    extent = area.extent.to_crs(crs_of(own), resolution=abs(area.resolution.x) * 16)
    left, bottom, right, top = extent.boundingbox
    corners = [~own.affine * corner for corner in ((left, top), (right, bottom))]
    first = np.floor(np.min(corners, 0)).astype(int) - _BEYOND_PX
    last = np.ceil(np.max(corners, 0)).astype(int) + _BEYOND_PX
    first = np.maximum(first, 0)
    last = np.minimum(last, (own.shape.x, own.shape.y))
    width, height = (int(n) for n in last - first)
    if min(width, height) < 1:
        return None
    return Window(int(first[0]), int(first[1]), width, height)


def _warped(
    pixels: GeoBox, values: NDArray[np.float32], area: GeoBox
) -> tuple[GeoBox, NDArray[np.float32]]:
    """On pixels of the same size in the reference system of an area."""
    step = gsd_m(pixels)
    target = GeoBox.from_bbox(
        area.extent.buffer(_BEYOND_PX * step).boundingbox, crs=area.crs, resolution=step
    )
    warped = np.full((len(values), *target.shape), np.nan, dtype=np.float32)
    reproject(
        values,
        warped,
        src_transform=pixels.affine,
        src_crs=crs_of(pixels).to_wkt(),
        src_nodata=np.nan,
        dst_transform=target.affine,
        dst_crs=crs_of(area).to_wkt(),
        dst_nodata=np.nan,
        resampling=Resampling.bilinear,
    )
    return target, warped
