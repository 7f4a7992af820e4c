"""SPOT and Pleiades as DIMAP: rasters beside an XML file that says what their bands are.

Elements after Airbus, Pleiades and SPOT 6/7 Imagery User Guides (DIMAP 2, DIM_*.XML), and Spot
Image, DIMAP dictionary (DIMAP 1, METADATA.DIM).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from geoseg.errors import SceneError, SensorError, nearest
from geoseg.scenes.products.product import (
    INSTANT,
    Product,
    inside,
    moment,
    number,
    read_xml,
    require_placed,
    sun_position,
    text_of,
)
from geoseg.scenes.raster import open_raster
from geoseg.scenes.scene import Asset, Scene
from geoseg.sensors import find_sensor, load_sensors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path
    from xml.etree.ElementTree import Element

    from geoseg.sensors import Sensor

__all__ = ["band_order", "files_of", "read", "recognise"]

_DIM = re.compile(r"DIM_.*\.XML|METADATA\.DIM", re.ASCII | re.IGNORECASE)
_PLATFORMS = {"PHR": "pleiades", "SPOT": "spot"}
_XS = re.compile(r"(?:XS|XI|HX)(\d)", re.ASCII)  # how SPOT 1-5 name multispectral bands
_PAN = frozenset({"P", "PAN", "M", "PA"})
_MOST_BANDS = 1000
_SHOWN = ("RED_CHANNEL", "GREEN_CHANNEL", "BLUE_CHANNEL", "ALPHA_CHANNEL")


def recognise(path: Path) -> Product | None:
    """The product that a DIMAP file describes."""
    if _DIM.fullmatch(path.name) is None:
        return None
    # A file of DIMAP 2 is named by its strip and order; one of DIMAP 1 has the name of all others.
    named = path.name.upper().startswith("DIM_")
    return Product(path, "dimap", path.name if named else str(path), "")


def read(path: Path) -> tuple[Scene, ...]:
    """A scene for each tile of the raster: tiles are files, each with a georeference of its own.

    Raises:
        UnplacedError: a raster has no georeference.
        SceneError: the file cannot be read, its sensor or bands are unknown, or no raster is there.
    """
    root = read_xml(path)
    sensor = _sensor(root, path)
    order = band_order(root, sensor, path)
    nodata = _nodata(root)
    tiles = [(tile, file) for tile, file in files_of(root, path) if file.is_file()]
    if not tiles:
        raise SceneError(f"{path} names no raster that lies beside it; fetch the product again.")
    for _, file in tiles:
        with open_raster(file) as raster:
            require_placed(raster, "orthorectify it with `gdalwarp -rpc` and scan again")
    name = text_of(root, "DATASET_NAME", path)
    bands = [
        {band: Asset(path=file, index=index, nodata=nodata) for band, index in order.items()}
        for _, file in tiles
    ]
    ids = [name if len(tiles) == 1 else f"{name}_{tile}" for tile, _ in tiles]
    time = min(_times(root, path))
    azimuth, elevation = (_number(root, tag) for tag in ("SUN_AZIMUTH", "SUN_ELEVATION"))
    clouds = _number(root, "CLOUD_COVERAGE")
    return tuple(
        Scene(
            id=scene_id,
            sensor_id=sensor.id,
            start=time,
            end=time + INSTANT,
            bands=of_tile,
            sun=sun_position(azimuth, elevation),
            cloud_percent=clouds if clouds is not None and 0 <= clouds <= 100 else None,
            metadata=path,
        )
        for scene_id, of_tile in zip(ids, bands, strict=True)
    )


def files_of(root: Element, path: Path) -> list[tuple[str, Path]]:
    """The rasters that a DIMAP file names, each with its tile: R1C2.

    Raises:
        SceneError: one is not within the folder of the product.
    """
    files = []
    for element in root.iter("Data_File"):
        place = element.find("DATA_FILE_PATH")
        if place is None:
            continue
        tile = f"R{element.get('tile_R', '1')}C{element.get('tile_C', '1')}"
        files.append((tile, inside(path.parent, place.get("href", ""), path)))
    return files


def band_order(root: Element, sensor: Sensor, path: Path) -> dict[str, int]:
    """Where each band lies in the rasters, counted from 1, by its common name.

    Raises:
        SceneError: the file does not say it, or names a band that the sensor has not.
    """
    for stated in (_indexed(root), _described(root), _shown(root)):
        order = {_band(name, sensor, path): index for name, index in stated}
        if order:
            return dict(sorted(order.items(), key=lambda item: item[1]))
    raise SceneError(f"{path} does not say which bands its raster has; fetch it again.")


def _indexed(root: Element) -> Iterator[tuple[str, int]]:
    """The list of DIMAP 2."""
    for element in root.iter("Raster_Index"):
        name, index = element.findtext("BAND_ID"), _index(element)
        if name and index is not None:
            yield name.strip(), index


def _described(root: Element) -> Iterator[tuple[str, int]]:
    """The list of DIMAP 1."""
    for element in root.iter("Spectral_Band_Info"):
        name, index = element.findtext("BAND_DESCRIPTION"), _index(element)
        if name and index is not None:
            yield name.strip(), index


def _index(element: Element) -> int | None:
    """Where a band lies in a raster, from 1; None where that is not told."""
    index = number(element.findtext("BAND_INDEX"))
    return int(index) if index is not None and 1 <= index <= _MOST_BANDS else None


def _shown(root: Element) -> Iterator[tuple[str, int]]:
    """The channels for display of DIMAP 2, in whose order its rasters are stored."""
    order = root.find(".//Band_Display_Order")
    names = [] if order is None else [order.findtext(channel) for channel in _SHOWN]
    # One band is shown in all channels.
    known = dict.fromkeys(name.strip() for name in names if name and name.strip())
    yield from ((name, index) for index, name in enumerate(known, start=1))


def _band(name: str, sensor: Sensor, path: Path) -> str:
    """The common name of a band by one of its names."""
    if name.upper() in _PAN:
        return _common("pan", sensor, path)
    multispectral = _XS.fullmatch(name.upper())
    if multispectral is None:
        return _common(name, sensor, path)
    numbered = {band.name for band in sensor.bands}
    return _common(
        next(
            (own for own in (f"XS{multispectral[1]}", f"B{multispectral[1]}") if own in numbered),
            name,
        ),
        sensor,
        path,
    )


def _common(name: str, sensor: Sensor, path: Path) -> str:
    try:
        return sensor.band(name).common_name
    except SensorError as error:
        raise SceneError(f"{path} names a band that its sensor has not: {error}") from error


def _sensor(root: Element, path: Path) -> Sensor:
    mission = text_of(root, "MISSION", path).upper().replace("PLEIADES", "PHR")
    index = text_of(root, "MISSION_INDEX", path).lower()
    sensor_id = f"{_PLATFORMS.get(mission, mission.lower())}-{index}"
    if sensor_id not in load_sensors():
        raise SceneError(
            f"{path} is of {mission} {index}, which geoseg does not know. "
            f"{nearest(sensor_id, load_sensors())}"
        )
    return find_sensor(sensor_id)


def _times(root: Element, path: Path) -> list[datetime]:
    """When the strips of a product were taken; a pansharpened one has two."""
    sources = [e for e in root.iter() if e.find("IMAGING_DATE") is not None]
    if not sources:
        raise SceneError(f"{path} has no IMAGING_DATE; fetch it again.")
    return [
        moment(f"{text_of(e, 'IMAGING_DATE', path)}T{text_of(e, 'IMAGING_TIME', path)}", path)
        for e in sources
    ]


def _number(root: Element, tag: str) -> float | None:
    return number(root.findtext(f".//{tag}"))


def _nodata(root: Element) -> float | None:
    """The value of what was not seen."""
    for element in root.iter("Special_Value"):
        words = {(child.text or "").strip().upper() for child in element}
        index = element.findtext("SPECIAL_VALUE_COUNT") or element.findtext("SPECIAL_VALUE_INDEX")
        if "NODATA" in words:
            return number(index)
    return None
