"""The table of instruments that ships with geoseg, and that of the user."""

from __future__ import annotations

import os
import tomllib
from dataclasses import MISSING, fields
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.errors import SensorError, nearest
from geoseg.sensors.band import Band
from geoseg.sensors.sensor import Sensor, SensorKind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["find_sensor", "load_sensors", "parse_sensors", "read_sensors"]

_OWN = "GEOSEG_SENSORS"


@cache
def load_sensors() -> Mapping[str, Sensor]:
    """Every known sensor by its id, in the order of sensors.toml, then those of GEOSEG_SENSORS.

    GEOSEG_SENSORS is an environment variable that names a file of the same form.

    Raises:
        SensorError: that file cannot be read, a row of it is wrong, or its id is taken.
    """
    text = files("geoseg.sensors").joinpath("sensors.toml").read_text(encoding="utf-8")
    known = parse_sensors(text)
    named = os.environ.get(_OWN)
    own = read_sensors(Path(named)) if named else {}
    taken = next((sensor_id for sensor_id in own if sensor_id in known), None)
    if taken is not None:
        raise SensorError(f"{named}: Sensor {taken!r} is in geoseg's own table; rename yours.")
    return {**known, **own}


def read_sensors(path: Path) -> dict[str, Sensor]:
    """The sensors of a file in TOML by their id.

    Raises:
        SensorError: it cannot be read, or a row is wrong; the message names file and row.
    """
    try:
        return parse_sensors(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SensorError(f"{path} cannot be read: {error.strerror}; set {_OWN}.") from error
    except (SensorError, ValueError) as error:
        raise SensorError(f"{path}: {str(error).removesuffix('.')}.") from error
    except (TypeError, AttributeError, KeyError) as error:
        # A word where a figure belongs, or a row that is none.
        raise SensorError(
            f"{path} is no table of sensors: a value is of another type than that of `geoseg "
            f"sensors show` ({error}); mend it."
        ) from error


def find_sensor(sensor_id: str) -> Sensor:
    """The sensor with this id.

    Raises:
        SensorError: no such sensor; the message names the nearest one.
    """
    sensors = load_sensors()
    if sensor_id not in sensors:
        raise SensorError(f"no sensor named {sensor_id!r}. {nearest(sensor_id, sensors)}")
    return sensors[sensor_id]


def parse_sensors(text: str) -> dict[str, Sensor]:
    """The sensors of a table in TOML by their id; one [[sensor]] is a row.

    Raises:
        SensorError: a key unknown or missing, a kind unknown, an id given twice, or a figure that
            is impossible; the message names the row.
    """
    sensors: dict[str, Sensor] = {}
    for number, row in enumerate(tomllib.loads(text).get("sensor", []), start=1):
        sensor = _sensor(row, f"Sensor {row['id']!r}" if "id" in row else f"Sensor number {number}")
        if sensor.id in sensors:
            raise SensorError(f"Sensor {sensor.id!r} is in the table twice; rename one.")
        sensors[sensor.id] = sensor
    return sensors


def _sensor(row: dict[str, Any], where: str) -> Sensor:
    # In the table a row of `bands` is a `band`, as a row of sensors is a [[sensor]].
    _check_keys(row, {"band" if k == "bands" else k: v for k, v in _keys(Sensor).items()}, where)
    kinds = [kind.value for kind in SensorKind]
    if row["kind"] not in kinds:
        raise SensorError(f"{where} has kind = {row['kind']!r}. {nearest(str(row['kind']), kinds)}")
    bands = tuple(_band(band, where) for band in row["band"])
    figures = {key: value for key, value in row.items() if key not in {"band", "kind"}}
    return Sensor(kind=SensorKind(row["kind"]), bands=bands, **figures)


def _band(row: dict[str, Any], where: str) -> Band:
    _check_keys(row, _keys(Band), f"{where}, band {row.get('name', '')!r},")
    try:
        return Band(**row)
    except SensorError as error:
        raise SensorError(f"{where}: {error}") from error


def _keys(noun: type[Band] | type[Sensor]) -> dict[str, bool]:
    """The keys of a row, and whether each is needed."""
    return {field.name: field.default is MISSING for field in fields(noun)}


def _check_keys(row: dict[str, Any], keys: dict[str, bool], where: str) -> None:
    for key in row:
        if key not in keys:
            raise SensorError(f"{where} has the unknown key {key!r}. {nearest(key, keys)}")
    for key, needed in keys.items():
        if needed and key not in row:
            raise SensorError(f"{where} has no {key!r}; give it.")
