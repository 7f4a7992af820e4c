"""Images of digital sensors on disk: their reflectance, and a mask of what may be used."""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from geoseg.errors import SceneError
from geoseg.grids import crs_of, gsd_m
from geoseg.scenes.cog import BLOCK_PX, open_cog
from geoseg.scenes.prepare.calibration import to_reflectance
from geoseg.scenes.prepare.clouds import (
    CLOUD_BANDS,
    behind_clouds,
    cloud_mask_named,
    cloud_reach_px,
    dark_ground,
    grown,
    looks_cloudy,
    looks_snowy,
)
from geoseg.scenes.prepare.landsat import landsat_quality, saturation_beside
from geoseg.scenes.prepare.product import (
    calibrations_of,
    read_radiometry,
    stated_calibrations,
    sun_of,
)
from geoseg.scenes.prepare.quality import Quality, mask_of
from geoseg.scenes.prepare.sentinel2 import sentinel2_quality
from geoseg.scenes.prepare.settings import Prepared
from geoseg.scenes.raster import open_raster, reading
from geoseg.scenes.reader import open_scene
from geoseg.scenes.scene import Asset
from geoseg.scenes.units import Unit, unit_of
from geoseg.sensors import SensorKind, find_sensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox
    from rasterio.io import DatasetReader

    from geoseg.scenes.prepare.calibration import Calibration, Radiometry
    from geoseg.scenes.prepare.settings import PrepareSettings
    from geoseg.scenes.reader import SceneReader
    from geoseg.scenes.scene import Scene, SunPosition

    Blocks = Iterable[tuple[Window, Quality]]
    Reflectances = Mapping[str, NDArray[np.float32]]

__all__ = ["prepare_image", "windows_of", "write_mask"]

_SCALE = 1e-4  # of stored reflectance: 16 bits hold -3.2 to 3.2
_VOID = -32768
_SIDE_PX = 2 * BLOCK_PX  # of what is worked on at once
_HALO_PX = 32  # that a cloud mask may look beyond
_RIM_M = 60.0  # by which a cloud reaches beyond what is bright of it
_NEAR_INFRARED = ("nir08", "nir")


def prepare_image(scene: Scene, folder: Path, settings: PrepareSettings) -> Prepared:
    """Write reflectance and a mask of a scene; bands without calibration stay where they are.

    Args:
        scene: of any sensor but film.
        folder: gets a file a band, and mask.tif.
        settings: what is looked for.

    Raises:
        SceneError: a file or the metadata cannot be read.
        GridError: the bands do not lie on the same ground.
        OutputError: a file cannot be written.
    """
    radiometry = read_radiometry(scene)
    calibrations = calibrations_of(scene, radiometry)
    source = _with_fill(scene, calibrations)
    bands = dict(source.bands)
    for name, calibration in calibrations.items():
        bands[name] = _write_reflectance(source, name, calibration, folder / f"{name}.tif")
    sun = sun_of(scene, radiometry)
    measured = replace(scene, bands=bands, mask=None, metadata=None, quality=None, sun=sun)
    said = _of_calibration(scene, radiometry, calibrations)
    with _Looked.at(source, measured, calibrations) as looked:
        how, why = _cloud_source(looked, settings.clouds)
        said += why
        with tempfile.TemporaryDirectory(prefix=".clouds.", suffix=".part", dir=folder) as aside:
            blocks = how(looked, Path(aside) / "cloud.tif")
            mask, shares = write_mask(folder / "mask.tif", looked.grid, blocks, settings.strike)
    clouds = scene.cloud_percent
    if math.isfinite(shares.get("cloud", math.nan)):
        clouds = 100 * shares["cloud"]
    done = replace(measured, mask=mask, cloud_percent=clouds)
    return Prepared(scene=done, shares=shares, said=tuple(said))


def _of_calibration(
    scene: Scene, radiometry: Radiometry | None, calibrations: Mapping[str, Calibration]
) -> list[str]:
    """Which numbers stay as they are, and why."""
    if scene.metadata is None:
        return []
    name = scene.metadata.name
    if radiometry is None:
        return [f"{name} is of no kind that is known here: numbers stay as they are."]
    stated = stated_calibrations(scene, radiometry)
    if unknown := [band for band in scene.bands if band not in stated]:
        return [f"{name} says nothing of {', '.join(unknown)}, whose numbers stay as they are."]
    if not calibrations:
        return ["its files say themselves how their numbers are read, and stay as they are."]
    return []


def windows_of(grid: GeoBox) -> Iterator[Window]:
    """Blocks of a grid from left to right and top to bottom; the last ones are smaller."""
    height, width = grid.shape
    for top in range(0, height, _SIDE_PX):
        for left in range(0, width, _SIDE_PX):
            yield Window(left, top, min(_SIDE_PX, width - left), min(_SIDE_PX, height - top))


def write_mask(
    path: Path, grid: GeoBox, blocks: Blocks, strike: Iterable[str]
) -> tuple[Asset, dict[str, float]]:
    """Write a mask, and count the share of each kind of pixel among those that were measured."""
    counts: Counter[str] = Counter()
    with open_cog(path, grid, nodata=None, overviews="mode") as raster:
        for window, quality in blocks:
            raster.write(mask_of(quality, tuple(strike)), 1, window=window)
            counts.update(quality.counts())
    measured = counts.pop("measured", 0)
    shares = {kind: n / measured if measured else float("nan") for kind, n in counts.items()}
    return Asset(path=path), shares


def _with_fill(scene: Scene, calibrations: Mapping[str, Calibration]) -> Scene:
    """The scene with what its metadata call fill, where a file does not say it."""
    bands = {
        name: replace(asset, nodata=calibrations[name].fill)
        if name in calibrations and asset.nodata is None
        else asset
        for name, asset in scene.bands.items()
    }
    return replace(scene, bands=bands)


def _write_reflectance(scene: Scene, name: str, calibration: Calibration, path: Path) -> Asset:
    with (
        open_scene(replace(scene, mask=None), [name]) as reader,
        open_cog(path, reader.grid, nodata=_VOID, overviews="average", dtype="int16") as raster,
    ):
        raster.scales = (_SCALE,)
        for window in windows_of(reader.grid):
            pixels = reader.read(window)
            reflectance = to_reflectance(pixels.image[0], calibration)
            known = pixels.valid & np.isfinite(reflectance)
            counts = np.clip(np.rint(reflectance / _SCALE), _VOID + 1, -_VOID - 1)
            raster.write(np.where(known, counts, _VOID).astype(np.int16), 1, window=window)
    return Asset(path=path)


@dataclass(frozen=True, slots=True)
class _Looked:
    """An open scene, as it was delivered and as it was prepared."""

    scene: Scene  # prepared
    stored: SceneReader
    reflectance: SceneReader
    quality: DatasetReader | None  # codes of the product on the grid
    full: Mapping[str, float]  # what a saturated pixel of a band reads

    @classmethod
    @contextmanager
    def at(
        cls, source: Scene, measured: Scene, calibrations: Mapping[str, Calibration]
    ) -> Iterator[_Looked]:
        """The scene, open."""
        with ExitStack() as stack:
            stored = stack.enter_context(open_scene(source))
            quality = None
            if source.quality is not None:
                quality = stack.enter_context(_on_grid(source.quality, stored.grid))
            yield cls(
                scene=replace(measured, quality=source.quality),
                stored=stored,
                reflectance=stack.enter_context(open_scene(measured)),
                quality=quality,
                full=_saturation(source, calibrations),
            )

    @property
    def grid(self) -> GeoBox:
        return self.stored.grid

    def look(self, window: Window) -> Quality:
        """What was measured in a window, and what is saturated."""
        pixels = self.stored.read(window)
        saturated = np.zeros(pixels.valid.shape, dtype=bool)
        for name, most in self.full.items():
            saturated |= pixels.image[self.stored.bands.index(name)] >= most
        return Quality(void=~pixels.valid, saturated=saturated if self.full else None)

    def bands(self, window: Window) -> Reflectances:
        """Reflectance by common name, NaN where not valid."""
        pixels = self.reflectance.read(window)
        image = np.where(pixels.valid, pixels.image, np.float32(np.nan))
        return dict(zip(self.reflectance.bands, image, strict=True))

    def looks_like_reflectance(self) -> bool:
        """Whether all bands that clouds are told by are there, in reflectance."""
        names = set(self.reflectance.bands)
        if not names.issuperset(CLOUD_BANDS) or names.isdisjoint(_NEAR_INFRARED):
            return False
        image, valid = self.reflectance.overview(256)
        index = self.reflectance.bands.index("red")
        return unit_of(image[index][valid]) in {Unit.REFLECTANCE, None}


def _saturation(scene: Scene, calibrations: Mapping[str, Calibration]) -> dict[str, float]:
    """What a band reads from which on it is saturated, as its file scales it."""
    sensor = find_sensor(scene.sensor_id)
    if sensor.kind in {SensorKind.SAR, SensorKind.TERRAIN}:
        return {}
    found = {}
    for name, asset in scene.bands.items():
        with open_raster(asset.path) as raster:
            kind = np.dtype(raster.dtypes[asset.index - 1])
            scale, offset = raster.scales[asset.index - 1], raster.offsets[asset.index - 1]
        most = calibrations[name].saturated if name in calibrations else None
        if most is None and kind.kind == "u" and name not in calibrations:
            most = float(np.iinfo(kind).max)
        if most is not None:
            found[name] = most * scale + offset
    return found


@contextmanager
def _on_grid(asset: Asset, grid: GeoBox) -> Iterator[WarpedVRT]:
    """Codes of pixels, on the pixels of a grid."""
    with (
        open_raster(asset.path) as raster,
        WarpedVRT(
            raster,
            crs=crs_of(grid).to_wkt(),
            transform=grid.affine,
            height=grid.shape.y,
            width=grid.shape.x,
            resampling=Resampling.nearest,
        ) as codes,
    ):
        yield codes


_Source = tuple["Callable[[_Looked, Path], Blocks]", list[str]]


def _cloud_source(looked: _Looked, clouds: str) -> _Source:
    """Where clouds are found, and what should be said of it."""
    if clouds == "none":
        return _nowhere, []
    if clouds in {"auto", "product"} and looked.quality is not None:
        return _by_product, []
    if clouds == "product":
        raise SceneError(
            f"Scene {looked.scene.id} names no codes of its pixels (QA_PIXEL or SCL); scan its "
            "product again, or choose --clouds thresholds."
        )
    if clouds == "auto" and not looked.looks_like_reflectance():
        return _nowhere, [
            f"clouds were not looked for: that takes reflectance of {', '.join(CLOUD_BANDS)} and "
            "near infrared."
        ]
    finder = looks_cloudy if clouds in {"auto", "thresholds"} else cloud_mask_named(clouds)

    def blocks(looked: _Looked, aside: Path) -> Blocks:
        return _by_finder(looked, aside, finder)

    said = [] if looked.scene.sun is not None else ["it gives no sun, so shadows were not sought."]
    return blocks, said


def _nowhere(looked: _Looked, _: Path) -> Blocks:
    for window in windows_of(looked.grid):
        yield window, looked.look(window)


def _by_product(looked: _Looked, _: Path) -> Blocks:
    assert looked.quality is not None
    assert looked.scene.quality is not None
    landsat = looked.scene.sensor_id.startswith("landsat")
    with ExitStack() as stack:
        radsat = None
        path = looked.scene.quality.path
        beside = saturation_beside(path) if landsat else None
        if beside is not None and beside.is_file():
            radsat = stack.enter_context(_on_grid(Asset(path=beside), looked.grid))
        for window in windows_of(looked.grid):
            own = looked.look(window)
            with reading(path):
                codes = looked.quality.read(1, window=window)
                full = None if radsat is None else radsat.read(1, window=window)
            found = (
                landsat_quality(codes, full, sensor_id=looked.scene.sensor_id)
                if landsat
                else sentinel2_quality(codes)
            )
            yield (
                window,
                replace(
                    found,
                    void=own.void | found.void,
                    saturated=_either(own.saturated, found.saturated),
                ),
            )


def _either(
    one: NDArray[np.bool_] | None, other: NDArray[np.bool_] | None
) -> NDArray[np.bool_] | None:
    if one is None or other is None:
        return one if other is None else other
    return one | other


def _by_finder(
    looked: _Looked, aside: Path, finder: Callable[[Reflectances], NDArray[np.generic]]
) -> Blocks:
    """First all clouds, then their shadows, which fall into other blocks."""
    sun, pixel_m = looked.scene.sun, gsd_m(looked.grid)
    with rasterio.open(aside, "w", **_one_bit(looked.grid)) as raster:
        for window in windows_of(looked.grid):
            cloud = _clouds_in(looked, window, finder, max(1, round(_RIM_M / pixel_m)))
            raster.write(cloud.astype(np.uint8), 1, window=window)
    with rasterio.open(aside, driver="GTiff") as raster:
        for window in windows_of(looked.grid):
            own, bands = looked.look(window), looked.bands(window)
            cloud = raster.read(1, window=window) > 0
            shadow = None
            if sun is not None:
                behind = _behind(raster, window, sun, pixel_m)
                shadow = behind & dark_ground(bands) & ~cloud
            yield window, replace(own, cloud=cloud, shadow=shadow, snow=looks_snowy(bands) & ~cloud)


def _clouds_in(
    looked: _Looked,
    window: Window,
    finder: Callable[[Reflectances], NDArray[np.generic]],
    rim_px: int,
) -> NDArray[np.bool_]:
    bands = looked.bands(_wider(window, _HALO_PX))
    try:
        found = np.asarray(finder(bands))
    except KeyError as error:
        raise SceneError(
            f"The cloud mask asks for the band {error}, and scene {looked.scene.id} has "
            f"{', '.join(bands)}; choose another with --clouds."
        ) from error
    shape = (window.height + 2 * _HALO_PX, window.width + 2 * _HALO_PX)
    if found.shape != shape:
        raise SceneError(
            f"The cloud mask gave {found.shape} pixels for {shape}; a plug-in returns as many as "
            "it was given."
        )
    cloud = found > 0.5
    return grown(cloud, min(rim_px, _HALO_PX))[_HALO_PX:-_HALO_PX, _HALO_PX:-_HALO_PX]


def _behind(
    clouds: DatasetReader, window: Window, sun: SunPosition, pixel_m: float
) -> NDArray[np.bool_]:
    reach = cloud_reach_px(sun, gsd_m=pixel_m)
    wide = _wider(window, reach)
    with reading(clouds.name):
        around = clouds.read(1, window=wide, boundless=True, fill_value=0) > 0
    return behind_clouds(around, sun=sun, gsd_m=pixel_m)[reach:-reach, reach:-reach]


def _wider(window: Window, pixels: int) -> Window:
    return Window(
        window.col_off - pixels,
        window.row_off - pixels,
        window.width + 2 * pixels,
        window.height + 2 * pixels,
    )


def _one_bit(grid: GeoBox) -> dict[str, object]:
    return {
        "driver": "GTiff",
        "height": grid.shape.y,
        "width": grid.shape.x,
        "count": 1,
        "dtype": "uint8",
        "crs": crs_of(grid).to_wkt(),
        "transform": grid.affine,
        "tiled": True,
        "blockxsize": BLOCK_PX,
        "blockysize": BLOCK_PX,
        "compress": "deflate",
        "bigtiff": "if_safer",
    }
