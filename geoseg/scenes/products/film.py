"""Scans of declassified film by USGS EROS: Corona KH-4A and KH-4B, Hexagon KH-9.

The entity id is in the name of a file: DS1112-1023DA012 of a panoramic camera of Corona,
DZB1216-500280L002001 of the mapping camera of Hexagon, D3C1213-200346A003 of its panoramic ones
(USGS EROS Archive, Declassified Data 1, 2 and 3). It gives the mission and no day.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from geoseg.dates import Interval
from geoseg.errors import SceneError
from geoseg.grids import HOW_TO_PLACE
from geoseg.scenes.ground_control import control_of
from geoseg.scenes.products.geotiff import dates_in
from geoseg.scenes.products.product import Product, require_placed
from geoseg.scenes.raster import is_placed, open_raster
from geoseg.scenes.scene import Asset, Scene

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["entity_of", "is_film", "mission_interval", "read", "recognise"]

_ENTITY = re.compile(
    r"(?<![A-Z0-9])(?:"
    r"(?P<corona>DS(?P<flight>1[01]\d\d)-\d{4}D[AFV]\d{3})"
    r"|(?P<mapping>DZ[BC](?P<second>12\d\d)-?\d{6}L\d{6})"
    r"|(?P<panoramic>D3C(?P<third>12\d\d)-?\d{6}(?P<camera>[AFL])\d{3})"
    r"|(?P<other>(?:DS\d{4,6}|DZB00\d)[-\dA-Z]*)"
    r")",
    re.ASCII | re.IGNORECASE,
)
_SUFFIXES = frozenset({".tif", ".tiff", ".jp2", ".jpg"})

# Launch and last day in orbit of each mission, after McDowell, GCAT, and the NORAD catalogue
# (SATCAT): film came down before, so that no frame lies outside. Looked up there: both days of all
# KH-4B and of 1201, 1203, 1204, 1207, 1211 and 1213; of the other Hexagons the launch alone, of
# 1206, 1210 and 1212 neither. Days that USGS gives to frames of 1101, 1104, 1112, 1205, 1206, 1210,
# 1212, 1216 and 1217 lie within.
_MISSIONS = {
    1101: ("1967-09-15", "1967-10-04"),
    1102: ("1967-12-09", "1967-12-25"),
    1103: ("1968-05-01", "1968-05-15"),
    1104: ("1968-08-07", "1968-08-27"),
    1105: ("1968-11-03", "1968-11-23"),
    1106: ("1969-02-05", "1969-02-24"),
    1107: ("1969-07-24", "1969-08-23"),
    1108: ("1969-12-04", "1970-01-10"),
    1109: ("1970-03-04", "1970-03-26"),
    1110: ("1970-05-20", "1970-06-17"),
    1111: ("1970-07-23", "1970-08-19"),
    1112: ("1970-11-18", "1970-12-11"),
    # 1113 did not reach its orbit.
    1114: ("1971-03-24", "1971-04-12"),
    1115: ("1971-09-10", "1971-10-05"),
    1116: ("1972-04-19", "1972-05-12"),
    1117: ("1972-05-25", "1972-06-04"),
    1201: ("1971-06-15", "1971-08-06"),
    1202: ("1972-01-20", "1972-02-29"),
    1203: ("1972-07-07", "1972-09-13"),
    1204: ("1972-10-10", "1973-01-08"),
    1205: ("1973-03-09", "1973-05-19"),
    1206: ("1973-07-13", "1973-10-12"),
    1207: ("1973-11-10", "1974-03-13"),
    1208: ("1974-04-10", "1974-07-28"),
    1209: ("1974-10-29", "1975-03-19"),
    1210: ("1975-06-08", "1975-11-05"),
    1211: ("1975-12-04", "1976-04-01"),
    1212: ("1976-07-08", "1976-12-13"),
    1213: ("1977-06-27", "1977-12-23"),
    1214: ("1978-03-16", "1978-09-11"),
    1215: ("1979-03-16", "1979-09-22"),
    1216: ("1980-06-18", "1981-03-06"),
    1217: ("1982-05-11", "1982-12-05"),
    1218: ("1983-06-20", "1984-03-21"),
    1219: ("1984-06-25", "1984-10-18"),
}
# Of KH-4A, missions 1001 to 1052, only the years of all are known here: from the first launch,
# which was not looked up, to the last day of 1052, after the NORAD catalogue.
_KH4A = ("1963-08-24", "1969-10-12")


class Entity(NamedTuple):
    """A frame of film, or a part of it."""

    id: str
    mission: int
    sensor_id: str


def is_film(path: Path) -> bool:
    """Whether a file is named as a scan of declassified film."""
    return path.suffix.lower() in _SUFFIXES and _ENTITY.search(path.stem) is not None


def recognise(path: Path) -> Product | None:
    """The scan that a file is."""
    # Parts and copies of a frame keep their own names; the same one twice is told by its scene.
    return Product(path, "film", str(path), "") if is_film(path) else None


def entity_of(name: str) -> Entity | None:
    """The frame that a file is named by; None for cameras that geoseg does not know."""
    found = _ENTITY.search(name)
    if found is None or found["other"]:
        return None
    mission = int(found["flight"] or found["second"] or found["third"])
    if found["corona"]:
        camera = "corona-kh4a" if mission < 1100 else "corona-kh4b"
    else:
        mapping = found["mapping"] or found["camera"].upper() == "L"
        camera = "hexagon-kh9-mapping" if mapping else "hexagon-kh9-panoramic"
    return Entity(found[0].upper(), mission, camera)


def mission_interval(mission: int) -> Interval | None:
    """The days on which a mission may have taken a frame; None for one that took none.

    All days in orbit, that of the launch and the last one among them: film was exposed in a part
    of them only.
    """
    days = _KH4A if 1001 <= mission <= 1052 else _MISSIONS.get(mission)
    if days is None:
        return None
    first, last = (datetime.fromisoformat(day).replace(tzinfo=UTC) for day in days)
    return Interval(first, last + timedelta(days=1))


def read(path: Path) -> tuple[Scene, ...]:
    """The scene of a scan that lies on the ground, or whose control points say where.

    Raises:
        UnplacedError: it has neither.
        SceneError: it cannot be opened, its camera is unknown, or its points do not serve.
        GridError: it holds points without a reference system.
    """
    entity = entity_of(path.stem)
    interval = None if entity is None else _taken(path.stem, entity)
    if entity is None or interval is None:
        raise SceneError(
            f"{path} is named as film of a camera or mission that geoseg does not know; describe "
            "it by a STAC item of a sensor of `geoseg sensors list`."
        )
    with open_raster(path) as raster:
        if not is_placed(raster) and control_of(raster, path) is None:
            require_placed(raster, HOW_TO_PLACE)
    return (
        Scene(
            id=path.stem,
            sensor_id=entity.sensor_id,
            start=interval.start,
            end=interval.end,
            bands={"pan": Asset(path=path)},
        ),
    )


def _taken(name: str, entity: Entity) -> Interval | None:
    """The day in a name where it is one of the mission, else all days of it."""
    mission = mission_interval(entity.mission)
    if mission is None:
        return None
    days = dates_in(name.upper().replace(entity.id, ""))
    if len(days) == 1 and mission.start <= days[0].start < mission.end:
        return days[0]
    return mission
