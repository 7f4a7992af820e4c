"""Scenes as STAC items on disk."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pystac
import shapely
from odc.geo.geom import Geometry
from pyproj import CRS, Transformer
from pystac.extensions.eo import CLOUD_COVER_PROP
from pystac.extensions.eo import SCHEMA_URI as EO_URI
from pystac.extensions.view import SCHEMA_URI, SUN_AZIMUTH_PROP, SUN_ELEVATION_PROP
from shapely.geometry import mapping

from geoseg.errors import GeosegError, SceneError, SensorError
from geoseg.files import write_text
from geoseg.grids import crs_of
from geoseg.scenes.ground_control import control_of, rough_grid
from geoseg.scenes.raster import is_placed, open_raster
from geoseg.scenes.reader import open_scene
from geoseg.scenes.scene import Asset, Scene, SunPosition
from geoseg.sensors import SensorKind, find_sensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

__all__ = [
    "BAND_INDEX",
    "CHECKSUM",
    "METADATA",
    "QUALITY",
    "SENSOR",
    "about_pole",
    "footprint",
    "item_of",
    "read_scene",
    "scene_of",
    "write_scene",
]

SENSOR = "geoseg:sensor"
BAND_INDEX = "geoseg:band_index"  # of the first band of the asset, counted from 1
CHECKSUM = "file:checksum"  # of the file extension: a multihash
METADATA = "metadata"  # key of the asset that the provider describes the scene in
QUALITY = "quality"  # key of the asset with codes of its pixels
_PICTURE = frozenset({"thumbnail", "overview"})  # roles of what is looked at, not measured
_SHA256 = "1220"  # a multihash of 32 bytes of SHA-256 begins so
# What pystac raises on a file that is JSON, or nearly, but no item; deep nesting is a recursion.
_BROKEN = (ValueError, KeyError, TypeError, AttributeError, OSError, OverflowError, RecursionError)
# Radar and terrain bands, and some of ASTER, have no common name in the eo extension.
_STAC_NAMES = frozenset(
    {"pan", "coastal", "blue", "green", "green05", "yellow", "red", "nir", "nir08", "nir09"}
    | {"rededge", "rededge071", "rededge075", "rededge078", "cirrus", "swir16", "swir22"}
    | {"lwir", "lwir11", "lwir12"}
)
_DEGREES = CRS.from_epsg(4326)
_FAR_FROM_ALL_ROUND = 90  # degrees of longitude
_FOOTPRINT_STEP = 32  # points a side: a straight side in UTM is bent in degrees


def footprint(scene: Scene) -> Geometry:
    """The ground a scene covers, in EPSG:4326, divided at the antimeridian.

    One that holds a pole reaches to it along all meridians. Film that control points alone put on
    the ground covers roughly what is told.

    Raises:
        SceneError: a raster cannot be opened, or control points do not serve.
        GridError: it lies nowhere on the ground.
    """
    rough = _rough_grid(scene)
    if rough is not None:
        return _outline(rough)
    with open_scene(scene) as reader:
        return _outline(reader.grid)


def _rough_grid(scene: Scene) -> GeoBox | None:
    """Where film lies that control points alone put on the ground; None for all else."""
    if find_sensor(scene.sensor_id).kind is not SensorKind.FILM:
        return None
    path = next(iter(scene.bands.values())).path
    with open_raster(path) as raster:
        if is_placed(raster):
            return None
        control = control_of(raster, path)
        try:
            return None if control is None else rough_grid(control, raster.shape)
        except SceneError as error:
            raise SceneError(f"{path}: {error}") from error


def _outline(grid: GeoBox) -> Geometry:
    """The border of a grid in EPSG:4326."""
    extent = grid.extent
    step = max(extent.boundingbox.span_x, extent.boundingbox.span_y) / _FOOTPRINT_STEP
    for latitude in (90.0, -90.0):
        if _holds_pole(grid, latitude):
            border = np.array(extent.exterior.segmented(step).coords)
            return about_pole(border, crs_of(grid), latitude)
    to_degrees = Transformer.from_crs(crs_of(grid), _DEGREES, always_xy=True)
    west, _, east, _ = to_degrees.transform_bounds(*extent.boundingbox.bbox)
    # To divide at the antimeridian takes longer than all else, and nearly no scene comes near it.
    far = 0 < east - west < _FAR_FROM_ALL_ROUND
    return extent.to_crs("EPSG:4326", resolution=step, wrapdateline=not far)


def write_scene(scene: Scene, path: Path) -> None:
    """Write a scene as a STAC item; the files of its bands are named relative to it."""
    item = item_of(scene, path.parent, footprint(scene))
    write_text(path, json.dumps(item, indent=2) + "\n")


def read_scene(path: Path) -> Scene:
    """Read a scene from a STAC item.

    Raises:
        SceneError: not a STAC item, no sensor or band named in it, or a band that is not local.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SceneError(f"{path} does not exist; give a STAC item or a GeoTIFF.") from None
    except (ValueError, OSError, RecursionError) as error:
        raise _no_item(path, error) from error
    return scene_of(content, path)


def item_of(scene: Scene, folder: Path, outline: Geometry) -> dict[str, Any]:
    """A scene as a STAC item, in JSON; the files of its bands are named relative to a folder.

    Args:
        scene: of a known sensor.
        folder: where the item will lie.
        outline: the footprint, in EPSG:4326.
    """
    sensor = find_sensor(scene.sensor_id)
    item = pystac.Item(
        id=scene.id,
        geometry=mapping(outline.geom),
        bbox=list(outline.boundingbox.bbox),
        datetime=None,
        start_datetime=scene.start,
        end_datetime=scene.end,
        properties={
            SENSOR: sensor.id,
            "platform": sensor.platform.lower(),
            "instruments": [sensor.instrument.lower()],
            **_angles(scene.sun),
            **_clouds(scene),
        },
        stac_extensions=_extensions(scene) or None,
    )
    for key, asset in _assets(scene, folder).items():
        item.add_asset(key, asset)
    return item.to_dict(include_self_link=False)


def scene_of(content: dict[str, Any], path: Path) -> Scene:
    """The scene that a STAC item, in JSON, describes; no raster is opened.

    Args:
        content: the item, which is used up.
        path: the file that it was read from, for relative paths and messages.

    Raises:
        SceneError: not a STAC item, no sensor or band named in it, a band that is not local, or a
            sun that is nowhere.
    """
    try:
        # What is written today needs no translation, which costs as much as all else.
        plain = set(content.get("stac_extensions") or ()) <= {SCHEMA_URI, EO_URI}
        today = plain and content.get("stac_version") == pystac.get_stac_version()
        item = pystac.Item.from_dict(content, migrate=not today, preserve_dict=False)
        start, end = _interval(item)
        places = _places(item, path)
        sun = _sun(item, path)
        clouds = item.properties.get(CLOUD_COVER_PROP)
        clouds = None if clouds is None else float(clouds)
        if not isinstance(item.properties.get(SENSOR), str):
            raise SceneError(f"{path} names no sensor; add the property {SENSOR!r}.")
        _require_known_bands(item, path)
    except GeosegError:
        raise
    except (*_BROKEN, pystac.STACError, pystac.STACTypeError) as error:
        raise _no_item(path, error) from error
    return Scene(
        id=item.id,
        sensor_id=item.properties[SENSOR],
        start=start,
        end=end,
        bands=places.bands,
        mask=places.mask,
        dem=places.dem,
        sun=sun,
        cloud_percent=clouds,
        metadata=places.metadata,
        quality=places.quality,
    )


def _no_item(path: Path, error: Exception) -> SceneError:
    return SceneError(
        f"{path} is not a STAC item that can be read ({type(error).__name__}: {error}); "
        "compare it with one of `geoseg data simulate`."
    )


def _holds_pole(grid: GeoBox, latitude: float) -> bool:
    x, y = Transformer.from_crs(_DEGREES, crs_of(grid), always_xy=True).transform(0, latitude)
    column, row = ~grid.affine * (x, y)
    return bool(0 < column < grid.shape.x and 0 < row < grid.shape.y)


def about_pole(border: NDArray[np.float64], crs: CRS, latitude: float) -> Geometry:
    """The ground about a pole in degrees: seen from there its border turns once to all sides."""
    to_degrees = Transformer.from_crs(crs, _DEGREES, always_xy=True)
    east, north = to_degrees.transform(border[:-1, 0], border[:-1, 1])
    order = np.argsort(east)
    ends = np.interp([-180.0, 180.0], east[order], north[order], period=360)
    ring = [(-180.0, latitude), (-180.0, ends[0])]
    ring += zip(east[order].tolist(), north[order].tolist(), strict=True)
    ring += [(180.0, ends[1]), (180.0, latitude)]
    return Geometry(shapely.Polygon(ring), "EPSG:4326")


@dataclass(slots=True)
class _Places:
    """Where each band of an item lies, and what goes with them."""

    bands: dict[str, Asset]
    mask: Asset | None = None
    dem: Path | None = None
    metadata: Path | None = None
    quality: Asset | None = None


def _places(item: pystac.Item, path: Path) -> _Places:
    places = _Places({})
    for key, asset in item.assets.items():
        roles = asset.roles or []
        fields = asset.extra_fields
        # What other catalogues call so may be a page somewhere; the scene is whole without it.
        if _PICTURE.intersection(roles) or ("metadata" in roles and not _is_own(key, asset)):
            continue
        where = _local(path, asset.href)
        if "mask" in roles:
            places.mask = Asset(path=where, sha256=_sha256(fields))
        if "dem" in roles:
            places.dem = where
        if key == METADATA:
            places.metadata = where
        if key == QUALITY:
            places.quality = Asset(path=where)
        nodata = None if fields.get("nodata") is None else float(fields["nodata"])
        for index, band in enumerate(fields.get("bands", []), start=fields.get(BAND_INDEX, 1)):
            name = _name_of(band)
            places.bands[name] = Asset(
                path=where, index=index, nodata=nodata, sha256=_sha256(fields)
            )
    return places


def _name_of(band: Mapping[str, Any]) -> str:
    name = band.get("eo:common_name") or band["name"]
    if not isinstance(name, str):
        raise TypeError(f"a band is named {name!r}")
    return name


def _is_own(key: str, asset: pystac.Asset) -> bool:
    """Whether an asset is the description of a product beside its bands."""
    return key == METADATA and "://" not in asset.href


def _require_known_bands(item: pystac.Item, path: Path) -> None:
    """Refuse a band that the sensor has not, or that the item puts elsewhere in the spectrum."""
    sensor = find_sensor(item.properties[SENSOR])
    for asset in item.assets.values():
        for stated in asset.extra_fields.get("bands", []):
            name = _name_of(stated)
            try:
                band = sensor.band(name)
            except SensorError as error:
                raise SceneError(f"{path} holds a band that its sensor has not: {error}") from error
            centre = stated.get("eo:center_wavelength")
            if centre is None or band.centre_um is None or band.fwhm_um is None:
                continue
            if not abs(float(centre) - band.centre_um) <= band.fwhm_um:
                raise SceneError(
                    f"{path} gives band {name!r} eo:center_wavelength = {centre}, and {sensor.id} "
                    f"has it at {band.centre_um:g} micrometres; correct the band or its wavelength."
                )


def _interval(item: pystac.Item) -> tuple[datetime, datetime]:
    properties = item.common_metadata
    if properties.start_datetime and properties.end_datetime:
        return properties.start_datetime, properties.end_datetime
    if item.datetime is None:
        raise SceneError(f"STAC item {item.id!r} has no acquisition time; add 'datetime'.")
    # Half-open: the shortest interval that holds the instant.
    return item.datetime, item.datetime + timedelta(microseconds=1)


def _angles(sun: SunPosition | None) -> dict[str, float]:
    """The properties of the view extension."""
    if sun is None:
        return {}
    return {SUN_AZIMUTH_PROP: sun.azimuth, SUN_ELEVATION_PROP: sun.elevation}


def _clouds(scene: Scene) -> dict[str, float]:
    """The property of the eo extension."""
    return {} if scene.cloud_percent is None else {CLOUD_COVER_PROP: scene.cloud_percent}


def _extensions(scene: Scene) -> list[str]:
    used = {SCHEMA_URI: scene.sun, EO_URI: scene.cloud_percent}
    return [uri for uri, value in used.items() if value is not None]


def _sun(item: pystac.Item, path: Path) -> SunPosition | None:
    """Where the sun stood, if both of its angles are given."""
    azimuth, elevation = (item.properties.get(p) for p in (SUN_AZIMUTH_PROP, SUN_ELEVATION_PROP))
    if azimuth is None or elevation is None:
        return None
    # The metadata of Landsat counts azimuths west of north below zero.
    azimuth = azimuth + 360 if -180 <= azimuth < 0 else azimuth
    try:
        return SunPosition(azimuth=float(azimuth), elevation=float(elevation))
    except SceneError as error:
        raise SceneError(f"{path}: {error}") from error


def _assets(scene: Scene, folder: Path) -> dict[str, pystac.Asset]:
    sensor = find_sensor(scene.sensor_id)
    assets = {}
    for name, asset in scene.bands.items():
        band = {"name": sensor.band(name).name, "eo:common_name": name}
        fields: dict[str, Any] = {
            "bands": [band if name in _STAC_NAMES else {"name": name}],
            BAND_INDEX: asset.index,
        }
        if asset.nodata is not None:
            fields["nodata"] = asset.nodata
        fields |= _checksum(asset)
        assets[name] = pystac.Asset(
            href=_relative(asset.path, folder), roles=["data"], extra_fields=fields
        )
    if scene.mask is not None:
        assets["mask"] = pystac.Asset(
            href=_relative(scene.mask.path, folder),
            roles=["mask"],
            extra_fields=_checksum(scene.mask),
        )
    if scene.dem is not None:
        assets["dem"] = pystac.Asset(href=_relative(scene.dem, folder), roles=["dem"])
    if scene.metadata is not None:
        href = _relative(scene.metadata, folder)
        assets[METADATA] = pystac.Asset(href=href, roles=["metadata"])
    if scene.quality is not None:
        assets[QUALITY] = pystac.Asset(
            href=_relative(scene.quality.path, folder), roles=["quality"]
        )
    return assets


def _checksum(asset: Asset) -> dict[str, str]:
    return {} if asset.sha256 is None else {CHECKSUM: _SHA256 + asset.sha256}


def _sha256(fields: dict[str, Any]) -> str | None:
    """The SHA-256 of a file; a sum of another kind is left unread."""
    stated = str(fields.get(CHECKSUM, ""))
    return stated.removeprefix(_SHA256) if stated.startswith(_SHA256) else None


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def _local(item: Path, href: str) -> Path:
    path = item.parent / href
    # GDAL would read /vsicurl/, /vsizip/ and the like itself, from other machines too.
    if "://" in href or str(path).startswith("/vsi"):
        raise SceneError(f"{item} points to {href}; download the file and name it by a local path.")
    return path
