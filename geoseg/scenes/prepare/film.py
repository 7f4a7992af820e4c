"""Scans of film on disk: pictures without their border, put on the ground by points or RPCs."""

from __future__ import annotations

import tempfile
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox
from pyproj import CRS
from rasterio.control import GroundControlPoint
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from geoseg.errors import GridError, SceneError
from geoseg.grids import DEGREES, HOW_TO_PLACE, raster_grid
from geoseg.scenes.cog import BLOCK_PX, open_cog
from geoseg.scenes.ground_control import GroundControl, control_of, metric_crs
from geoseg.scenes.prepare.contrast import LocalTones
from geoseg.scenes.prepare.control import register
from geoseg.scenes.prepare.frame import (
    BorderTally,
    Frame,
    Reseau,
    ReseauTally,
    border_tone,
    under_crosses,
)
from geoseg.scenes.prepare.image import windows_of, write_mask
from geoseg.scenes.prepare.quality import Quality
from geoseg.scenes.prepare.settings import Prepared
from geoseg.scenes.raster import open_raster, reading
from geoseg.scenes.reader import open_scene
from geoseg.scenes.scene import Asset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from rasterio.io import DatasetReader, DatasetWriter
    from rasterio.rpc import RPC

    from geoseg.scenes.prepare.control import Registration
    from geoseg.scenes.prepare.settings import PrepareSettings
    from geoseg.scenes.scene import Scene

__all__ = ["prepare_film"]

_STRIP_PX = 2**21  # read at once, whatever the width of a scan
_BLOCK_PX = 2048  # side of what is searched for reseau marks at once
_RING = 0.03  # of the shorter side, in which a border is looked for
_VOID = 0


def prepare_film(scene: Scene, folder: Path, settings: PrepareSettings) -> Prepared:
    """Write the picture of a scan and its mask, on a grid in metres.

    Args:
        scene: of a film camera; its image may lie nowhere.
        folder: gets a file of the band, and mask.tif.
        settings: whether tones are evened, and where control points are.

    Raises:
        GridError: the image has no georeference, no control points and no RPCs.
        SceneError: it cannot be read, or its points do not serve.
        OutputError: a file cannot be written.
    """
    ((name, asset),) = scene.bands.items()
    target = folder / f"{name}.tif"
    with _quiet(), open_raster(asset.path) as raster:
        place = _place_of(raster, asset, settings.points)
        scan = _Scan(raster, asset)
        with tempfile.TemporaryDirectory(prefix=".frame.", suffix=".part", dir=folder) as aside:
            picture = _develop(scan, scene.sensor_id, settings, whole=place is None)
            if place is None:
                _write_in_place(scan, picture, target)
            else:
                frame = Path(aside) / "frame.tif"
                _write_frame(scan, picture, place, frame)
                _warp(frame, place, target, scene.dem)
    band = replace(scene, bands={name: Asset(path=target)}, mask=None)
    with open_scene(band) as reader:
        blocks = ((w, Quality(void=~reader.read(w).valid)) for w in windows_of(reader.grid))
        mask, _ = write_mask(folder / "mask.tif", reader.grid, blocks, ())
    return Prepared(
        scene=replace(band, mask=mask),
        registration=None if place is None else place.registration,
        said=tuple(_words(picture, place, scene)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """How an image is brought onto the ground."""

    crs: CRS  # of the grid, in metres
    control: GroundControl | None = None
    registration: Registration | None = None
    rpcs: RPC | None = None


def _place_of(raster: DatasetReader, asset: Asset, points: Path | None) -> _Place | None:
    """What places an image; None where it lies on the ground already."""
    control = control_of(raster, asset.path, points)
    if control is not None:
        crs = metric_crs(control.crs, control.points)
        return _Place(crs=crs, control=control, registration=register(control, crs))
    if not raster.transform.is_identity:
        raster_grid(raster)  # refuses one without a reference system
        return None
    if raster.rpcs is not None:
        centre = GroundControlPoint(row=0, col=0, x=raster.rpcs.long_off, y=raster.rpcs.lat_off)
        return _Place(crs=metric_crs(DEGREES, [centre]), rpcs=raster.rpcs)
    raise GridError(f"{asset.path} has no georeference and cannot be mapped; {HOW_TO_PLACE}.")


class _Strip(NamedTuple):
    """Whole rows of a scan."""

    first: int  # row
    stored: NDArray[np.number]  # (h, W)
    known: NDArray[np.bool_]


class _Scan:
    """One band of an open scan, read strip by strip."""

    def __init__(self, raster: DatasetReader, asset: Asset) -> None:
        self.raster = raster
        self._index = asset.index
        self.dtype = np.dtype(raster.dtypes[asset.index - 1])
        if self.dtype.kind != "u":
            raise SceneError(
                f"{asset.path} holds {self.dtype}; a scan of film has whole counts from 0 up."
            )
        self._void = asset.nodata if asset.nodata is not None else raster.nodata
        self.brightest = float(np.iinfo(self.dtype).max)

    def strips(self) -> Iterator[_Strip]:
        """All rows, in strips of some million pixels."""
        height, width = self.raster.shape
        step = max(1, _STRIP_PX // width)
        for top in range(0, height, step):
            stored = self._read(Window(0, top, width, min(step, height - top)))
            yield _Strip(top, stored, self._known(stored))

    def blocks(
        self, halo: int
    ) -> Iterator[tuple[tuple[int, int], NDArray[np.number], tuple[slice, slice]]]:
        """Square blocks with a halo: their first pixel, counts, and which of them are their own."""
        for top, left in product(*(range(0, n, _BLOCK_PX) for n in self.raster.shape)):
            ends = [
                min(n, p + _BLOCK_PX) for n, p in zip(self.raster.shape, (top, left), strict=True)
            ]
            first = max(0, top - halo), max(0, left - halo)
            last = [min(n, e + halo) for n, e in zip(self.raster.shape, ends, strict=True)]
            window = Window(first[1], first[0], last[1] - first[1], last[0] - first[0])
            own = (
                slice(top - first[0], ends[0] - first[0]),
                slice(left - first[1], ends[1] - first[1]),
            )
            yield first, self._read(window), own

    def edges(self) -> tuple[NDArray[np.number], NDArray[np.number]]:
        """Pixels along the four edges, and a grid of pixels of the middle half."""
        height, width = self.raster.shape
        deep = max(1, int(_RING * min(height, width)))
        outer = [
            Window(0, 0, width, deep),
            Window(0, height - deep, width, deep),
            Window(0, 0, deep, height),
            Window(width - deep, 0, deep, height),
        ]
        ring = np.concatenate([self._sampled(window).ravel() for window in outer])
        middle = Window(width // 4, height // 4, max(1, width // 2), max(1, height // 2))
        return ring, self._sampled(middle)

    def _sampled(self, window: Window) -> NDArray[np.number]:
        """A window, thinned to a thousand pixels a side."""
        shape = (min(1000, int(window.height)), min(1000, int(window.width)))
        with reading(self.raster.name):
            return np.asarray(self.raster.read(self._index, window=window, out_shape=shape))

    def _read(self, window: Window) -> NDArray[np.number]:
        with reading(self.raster.name):
            return np.asarray(self.raster.read(self._index, window=window))

    def _known(self, stored: NDArray[np.number]) -> NDArray[np.bool_]:
        if self._void is None:
            return np.ones(stored.shape, dtype=bool)
        return np.asarray(stored != self._void)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picture:
    """What of a scan is picture, and its tones."""

    frame: Frame
    open_sides: tuple[str, ...]  # that show no border
    crosses: NDArray[np.float64]
    reseau: Reseau | None
    tones: LocalTones | None

    def valid(self, strip: _Strip) -> NDArray[np.bool_]:
        """Pixels of the picture (h, W) of a strip."""
        valid = strip.known & self.frame.holds(strip.first, strip.known.shape)
        if self.reseau is not None:
            valid &= ~under_crosses(strip.first, valid.shape, self.crosses, self.reseau)
        return np.asarray(valid)


def _develop(scan: _Scan, sensor: str, settings: PrepareSettings, *, whole: bool) -> _Picture:
    """Find the picture on a scan, its reseau marks and its tones; one warped before is all picture.

    Three passes over the file, each in strips.
    """
    frame, tone = Frame.whole(scan.raster.shape), None
    if not whole:
        tone = border_tone(*scan.edges(), brightest=scan.brightest)
    if tone is not None:
        tally = BorderTally(scan.raster.shape, tone)
        for strip in scan.strips():
            tally.add(strip.first, strip.stored)
        frame = tally.frame()
    # Without a border nothing tells the scale of the scan.
    reseau = None if tone is None else Reseau.of_sensor(sensor, frame)
    crosses = np.empty((0, 2))
    if reseau is not None:
        marks = ReseauTally(reseau, brightest=scan.brightest)
        for corner, stored, own in scan.blocks(reseau.halo_px):
            marks.add(corner, stored, own)
        crosses = marks.crosses()
    picture = _Picture(
        frame=frame,
        open_sides=tuple(frame.open_sides(scan.raster.shape)),
        crosses=crosses,
        reseau=reseau,
        tones=None,
    )
    if not settings.even_tones:
        return picture
    tones = LocalTones(scan.raster.shape)
    for strip in scan.strips():
        tones.add(strip.first, strip.stored, picture.valid(strip))
    return replace(picture, tones=tones)


def _finished(scan: _Scan, picture: _Picture) -> Iterator[tuple[Window, NDArray[np.number]]]:
    """Counts of the picture, 0 where there is none."""
    for strip in scan.strips():
        valid = picture.valid(strip)
        tones = strip.stored
        if picture.tones is not None:
            tones = np.nan_to_num(picture.tones.even(strip.first, strip.stored, valid))
        counts = np.clip(np.rint(tones), _VOID + 1, scan.brightest).astype(scan.dtype)
        height, width = counts.shape
        yield Window(0, strip.first, width, height), np.where(valid, counts, scan.dtype.type(_VOID))


def _write_in_place(scan: _Scan, picture: _Picture, target: Path) -> None:
    with open_cog(
        target,
        raster_grid(scan.raster),
        nodata=_VOID,
        overviews="average",
        dtype=scan.dtype.name,
    ) as out:
        _write(out, scan, picture)


def _write_frame(scan: _Scan, picture: _Picture, place: _Place, path: Path) -> None:
    height, width = scan.raster.shape
    form: dict[str, Any] = {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "count": 1,
        "dtype": scan.dtype.name,
        "nodata": _VOID,
        "tiled": True,
        "blockxsize": BLOCK_PX,
        "blockysize": BLOCK_PX,
        "bigtiff": "if_safer",
    }
    with rasterio.open(path, "w", **form) as out:
        if place.control is not None:
            out.gcps = (list(place.control.points), place.control.crs.to_wkt())
        else:
            out.rpcs = place.rpcs
        _write(out, scan, picture)


def _write(out: DatasetWriter, scan: _Scan, picture: _Picture) -> None:
    for window, counts in _finished(scan, picture):
        out.write(counts, 1, window=window)


def _warp(frame: Path, place: _Place, target: Path, dem: Path | None) -> None:
    how: dict[str, Any] = {}
    if place.control is not None:
        how["src_crs"] = place.control.crs.to_wkt()
        if place.registration is not None and place.registration.method == "thin-plate spline":
            how["SRC_METHOD"] = "GCP_TPS"
    else:
        how["src_crs"] = DEGREES.to_wkt()
        how |= _heights(place, dem)
    with (
        rasterio.open(frame, driver="GTiff") as raster,
        WarpedVRT(
            raster,
            crs=place.crs.to_wkt(),
            nodata=_VOID,
            resampling=Resampling.bilinear,
            **how,
        ) as warped,
    ):
        grid = GeoBox(warped.shape, warped.transform, place.crs.to_wkt())
        with open_cog(
            target, grid, nodata=_VOID, overviews="average", dtype=raster.dtypes[0]
        ) as out:
            for window in windows_of(grid):
                with reading(frame):
                    out.write(warped.read(1, window=window), 1, window=window)


def _heights(place: _Place, dem: Path | None) -> dict[str, str]:
    """The ground that RPCs are met with."""
    assert place.rpcs is not None
    if dem is None:
        return {"RPC_HEIGHT": str(place.rpcs.height_off)}
    with open_raster(dem):  # GDAL would open it by any driver
        return {"RPC_DEM": str(dem)}


def _words(picture: _Picture, place: _Place | None, scene: Scene) -> Iterator[str]:
    if place is None:
        return
    if picture.open_sides:
        yield (
            f"it shows no border at the {', '.join(picture.open_sides)}, as halves of a scan do; "
            "the picture is taken to reach to the edge there."
        )
    if picture.reseau is not None:
        yield f"{len(picture.crosses)} reseau marks were masked."
    if place.registration is not None:
        found = place.registration
        yield (
            f"it was warped by a {found.method} through {found.points} control points, which miss "
            f"by {found.rmse_m:.3g} m (RMSE), left out one by one by {found.left_out_rmse_m:.3g} m."
        )
    elif scene.dem is None:
        yield (
            "it was warped by RPCs at one height; name an elevation model as `dem` of the scene, "
            "or mountains lie beside their place."
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without rasterio's warning of an image that lies nowhere: that is what is dealt with here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield
