"""Landsat Collection 2, Level 1 and 2: a folder of bands beside its MTL.

Names and groups after USGS, Landsat Collection 2 Level-1 and Level-2 Data Format Control Books
(LSDS-1822, LSDS-1328, LSDS-1415, LSDS-1619): values of 0 are fill.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from geoseg.errors import SceneError, SensorError
from geoseg.scenes.products.product import (
    INSTANT,
    Product,
    inside,
    moment,
    number,
    read_bounded,
    read_json,
    sun_position,
)
from geoseg.scenes.scene import Asset, Scene
from geoseg.sensors import find_sensor

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from geoseg.sensors import Sensor

__all__ = ["belongs_to", "parse_mtl", "read", "recognise"]

_PRODUCT = (
    r"(?P<instrument>L[COTEM])(?P<number>0[1-9])_(?P<level>L[12])(?P<kind>\w{2})"
    r"_(?P<place>\d{6})_(?P<day>\d{8})_(?P<made>\d{8})_(?P<collection>\d\d)_(?P<tier>RT|T1|T2)"
)
_NAMED = re.compile(_PRODUCT, re.ASCII)
_MTL = re.compile(_PRODUCT + r"_MTL\.(?P<form>json|txt)", re.ASCII)
_BAND = re.compile(r"FILE_NAME_BAND_(?:ST_)?B?(\d+)(?:_VCID_(\d))?", re.ASCII)
_QUALITY = "FILE_NAME_QUALITY_L1_PIXEL"
_FILL = 0.0
_GROUPS = ("PRODUCT_CONTENTS", "IMAGE_ATTRIBUTES")
_TIERS = ("RT", "T2", "T1")  # of one processing day the last is the best


class _Mtl(NamedTuple):
    """What is taken from an MTL: two groups of it, for others repeat their keys."""

    contents: Mapping[str, str]
    image: Mapping[str, str]


def recognise(path: Path) -> Product | None:
    """The product that an MTL describes."""
    found = _MTL.fullmatch(path.name)
    # Of the two forms of one MTL the JSON is read.
    if found is None or (found["form"] == "txt" and path.with_suffix(".json").is_file()):
        return None
    key = "_".join(found[name] for name in ("instrument", "number", "level", "place", "day"))
    version = f"{found['made']}_{_TIERS.index(found['tier'])}"
    return Product(path, "landsat", key, version)


def belongs_to(name: str) -> str | None:
    """The product id that a file of a Landsat folder begins with."""
    found = _NAMED.match(name)
    return None if found is None else found[0]


def read(path: Path) -> tuple[Scene, ...]:
    """The scene of an MTL; where there is a panchromatic band, it is a scene of its own.

    Its pixels lie half a pixel off those of the others, so they share no grid.

    Raises:
        SceneError: the MTL cannot be read, or no band that it names is there.
    """
    name = _MTL.fullmatch(path.name)
    assert name is not None
    mtl = _read_mtl(path)
    sensor = _sensor(name["instrument"], int(name["number"]), path)
    bands = _bands(mtl.contents, sensor, path)
    if not bands:
        raise SceneError(f"{path} names no band that lies beside it; fetch the product again.")
    product = path.name.removesuffix(f"_MTL.{name['form']}")
    pan = {band: asset for band, asset in bands.items() if band == "pan"}
    others = {band: asset for band, asset in bands.items() if band != "pan"}
    scenes = [(product, others), (f"{product}_PAN", pan)]
    return tuple(_scene(name, sensor.id, some, mtl, path) for name, some in scenes if some)


def _scene(
    product: str, sensor_id: str, bands: Mapping[str, Asset], mtl: _Mtl, path: Path
) -> Scene:
    quality = _file(mtl.contents.get(_QUALITY), path)
    start = moment(f"{_of(mtl, 'DATE_ACQUIRED', path)}T{_of(mtl, 'SCENE_CENTER_TIME', path)}", path)
    clouds = number(mtl.image.get("CLOUD_COVER"))
    return Scene(
        id=product,
        sensor_id=sensor_id,
        start=start,
        end=start + INSTANT,
        bands=bands,
        sun=sun_position(
            number(mtl.image.get("SUN_AZIMUTH")), number(mtl.image.get("SUN_ELEVATION"))
        ),
        # USGS writes -1 where it was not assessed.
        cloud_percent=clouds if clouds is not None and clouds >= 0 else None,
        metadata=path,
        quality=None if quality is None else Asset(path=quality),
    )


def _read_mtl(path: Path) -> _Mtl:
    if path.suffix == ".json":
        groups = read_json(path).get("LANDSAT_METADATA_FILE", {})
    else:
        groups = parse_mtl(read_bounded(path).decode("utf-8", errors="replace"))
    found = [groups.get(name) if isinstance(groups, dict) else None for name in _GROUPS]
    for name, group in zip(_GROUPS, found, strict=True):
        if not isinstance(group, dict):
            raise SceneError(f"{path} has no group {name}; it is no MTL of Collection 2.")
    contents, image = ({k: str(v) for k, v in (group or {}).items()} for group in found)
    return _Mtl(contents, image)


def parse_mtl(text: str) -> dict[str, dict[str, str]]:
    """The groups of an MTL as text (ODL), each with its own values."""
    groups: dict[str, dict[str, str]] = {}
    open_groups: list[str] = []
    for line in text.splitlines():
        key, equals, value = (part.strip() for part in line.partition("="))
        if not equals:
            continue
        if key == "GROUP":
            open_groups.append(value)
        elif key == "END_GROUP":
            open_groups = open_groups[:-1]
        elif open_groups:
            groups.setdefault(open_groups[-1], {})[key] = value.strip('"')
    return groups


def _of(mtl: _Mtl, key: str, path: Path) -> str:
    if key not in mtl.image:
        raise SceneError(f"{path} has no {key}; fetch it again.")
    return mtl.image[key]


def _sensor(instrument: str, platform: int, path: Path) -> Sensor:
    suffix = "-mss" if instrument == "LM" and platform > 3 else ""
    try:
        return find_sensor(f"landsat-{platform}{suffix}")
    except SensorError as error:
        raise SceneError(f"{path} is of an unknown Landsat: {error}") from error


def _bands(contents: Mapping[str, str], sensor: Sensor, path: Path) -> dict[str, Asset]:
    """Where the bands lie that the sensor has, in the order of the sensor."""
    places: dict[str, Path] = {}
    for key, name in contents.items():
        found = _BAND.fullmatch(key)
        # The thermal band of Landsat 7 comes twice; that of low gain does not saturate.
        if found is None or found[2] == "2":
            continue
        file = _file(name, path)
        if file is not None:
            places[f"B{found[1]}"] = file
    return {
        band.common_name: Asset(path=places[band.name], nodata=_FILL)
        for band in sensor.bands
        if band.name in places
    }


def _file(name: str | None, path: Path) -> Path | None:
    """A file that the MTL names, if it is there."""
    if name is None:
        return None
    file = inside(path.parent, name, path)
    return file if file.is_file() else None
