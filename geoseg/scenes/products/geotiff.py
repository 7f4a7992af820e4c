"""Plain GeoTIFFs: the date is in the name, the sensor is told, the bands are in the file."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from geoseg.dates import Interval
from geoseg.errors import SceneError, SensorError
from geoseg.scenes.products.product import require_placed
from geoseg.scenes.raster import open_raster
from geoseg.scenes.scene import Asset, Scene
from geoseg.scenes.stored import data_bands
from geoseg.sensors import find_sensor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from geoseg.sensors import Band, Sensor

__all__ = ["BandFiles", "dates_in", "group_bands", "order_of_bands", "read_geotiff"]

_PARTS = re.compile(r"([-_. ])")
_YEAR = r"(?P<year>(?:19|20)\d\d)"
_DATES = tuple(
    re.compile(rf"(?<!\d){_YEAR}{rest}(?!\d)", re.ASCII)
    for rest in (
        r"(?P<mark>[-_.])(?P<month>\d\d)(?P=mark)(?P<day>\d\d)",
        r"(?P<month>\d\d)(?P<day>\d\d)",
        r"(?P<of_year>\d{3})",
    )
)


def dates_in(name: str) -> list[Interval]:
    """The days that a name gives, in their order: 2019-08-14, 20190814 or 2019226."""
    days = set()
    for pattern in _DATES:
        for found in pattern.finditer(name):
            day = _day(found.groupdict())
            if day is not None:
                days.add(day)
    return [Interval(day, day + timedelta(days=1)) for day in sorted(days)]


class BandFiles(NamedTuple):
    """The files of one scene."""

    name: str
    files: dict[str | None, Path]  # by common name; None where the file has all bands


def group_bands(paths: Sequence[Path], sensor: Sensor | None) -> list[BandFiles]:
    """Files that differ in the name of their band alone are one scene.

    Args:
        paths: GeoTIFFs.
        sensor: what took them, where that was told.
    """
    groups: dict[tuple[Path, str], dict[str | None, Path]] = {}
    for path in paths:
        rest, band = (path.stem, None) if sensor is None else _without_band(path.stem, sensor)
        groups.setdefault((path.parent, rest), {}).setdefault(band, path)
    return [BandFiles(rest, files) for (_, rest), files in groups.items()]


def read_geotiff(group: BandFiles, sensor_id: str | None) -> tuple[Scene, ...]:
    """The scene of a GeoTIFF, or of one for each band.

    Args:
        group: of `group_bands`.
        sensor_id: what took it, where that was told.

    Raises:
        UnplacedError: it has no georeference.
        SceneError: it cannot be opened, or its day, sensor or bands are not known.
    """
    path = next(iter(group.files.values()))
    day = _day_of(group.name, path)
    if sensor_id is None:
        raise SceneError(
            f"{path} does not say what took it; give --sensor, an id of `geoseg sensors list`."
        )
    sensor = find_sensor(sensor_id)
    bands: dict[str, Asset] = {}
    for name, file in group.files.items():
        bands |= _bands_in(file, sensor, name)
    order = [band.common_name for band in sensor.bands if band.common_name in bands]
    own = bands if None in group.files else {name: bands[name] for name in order}
    scene = Scene(id=group.name, sensor_id=sensor.id, start=day.start, end=day.end, bands=own)
    return (scene,)


def _bands_in(path: Path, sensor: Sensor, name: str | None) -> dict[str, Asset]:
    with open_raster(path) as raster:
        require_placed(raster, "give it one with `gdalwarp` or in QGIS, and scan again")
        data = data_bands(raster)
        names = order_of_bands(sensor, [raster.descriptions[i - 1] for i in data])
    if name is not None and len(data) == 1:
        return {name: Asset(path=path, index=data[0])}
    if names is None:
        raise SceneError(
            f"{path} has {len(data)} bands, and nothing says which of {sensor.id} they are; name "
            "them in the file (band descriptions: red, nir08), or describe it by a STAC item."
        )
    return {own: Asset(path=path, index=i) for own, i in zip(names, data, strict=True)}


def _day_of(name: str, path: Path) -> Interval:
    days = dates_in(name)
    if len(days) == 1:
        return days[0]
    found = f"the days {', '.join(map(str, days))}" if days else "no day"
    raise SceneError(
        f"{path} has {found} in its name; name it by one day, as in ortho_2019-08-14.tif, or "
        "describe it by a STAC item."
    )


def _without_band(name: str, sensor: Sensor) -> tuple[str, str | None]:
    """A name without the one part of it that is a band of the sensor, and that band."""
    parts = _PARTS.split(name)
    bands = {own: band.common_name for band in sensor.bands for own in _names_of(band)}
    places = [i for i, part in enumerate(parts) if part.lower() in bands]
    if len(places) != 1:
        return name, None
    place = places[0]
    # With the mark before it, or after it where it comes first.
    rest = parts[: max(place - 1, 0)] + parts[place + 1 if place else place + 2 :]
    return "".join(rest), bands[parts[place].lower()]


def _names_of(band: Band) -> set[str]:
    """How a band is written in names of files: B2, B02, blue."""
    padded = re.sub(r"(?<=[A-Za-z])(?=\d[A-Z]?$)", "0", band.name)
    return {band.name.lower(), padded.lower(), band.common_name.lower()}


def order_of_bands(sensor: Sensor, descriptions: Sequence[str | None]) -> list[str] | None:
    """The common names of the bands of a file, in its order; None where nothing tells them.

    Args:
        sensor: what took it.
        descriptions: what the file says of each band. Without one, as many bands as the sensor has
            are in its order; the only band of a sensor with one has any name.
    """
    try:
        named = [sensor.band(words or "").common_name for words in descriptions]
    except SensorError:
        whole = len(descriptions) == len(sensor.bands)
        whole &= len(descriptions) == 1 or not any(descriptions)
        return [band.common_name for band in sensor.bands] if whole else None
    return named if len(set(named)) == len(named) else None


def _day(found: dict[str, str | None]) -> datetime | None:
    year = int(found["year"] or 0)
    try:
        if found.get("of_year") is not None:
            day = datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=int(found["of_year"] or 0) - 1)
            return day if day.year == year else None
        return datetime(year, int(found["month"] or 0), int(found["day"] or 0), tzinfo=UTC)
    except ValueError:
        return None
