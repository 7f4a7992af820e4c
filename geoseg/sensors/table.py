"""The table of instruments that ships with geoseg."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from geoseg.errors import SensorError, nearest
from geoseg.sensors.band import Band
from geoseg.sensors.sensor import Sensor, SensorKind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["find_sensor", "load_sensors"]


@cache
def load_sensors() -> Mapping[str, Sensor]:
    """Every known sensor by its id, in the order of sensors.toml."""
    text = files("geoseg.sensors").joinpath("sensors.toml").read_text(encoding="utf-8")
    return {row["id"]: _sensor(row) for row in tomllib.loads(text)["sensor"]}


def find_sensor(sensor_id: str) -> Sensor:
    """The sensor with this id.

    Raises:
        SensorError: no such sensor; the message names the nearest one.
    """
    sensors = load_sensors()
    if sensor_id not in sensors:
        raise SensorError(f"no sensor named {sensor_id!r}. {nearest(sensor_id, sensors)}")
    return sensors[sensor_id]


def _sensor(row: dict[str, Any]) -> Sensor:
    bands = tuple(Band(**band) for band in row["band"])
    return Sensor(
        id=row["id"],
        platform=row["platform"],
        instrument=row["instrument"],
        kind=SensorKind(row["kind"]),
        bands=bands,
        first_year=row["first_year"],
        last_year=row.get("last_year"),
        bits=row["bits"],
        mtf_nyquist=row.get("mtf_nyquist"),
        source=row["source"],
    )
