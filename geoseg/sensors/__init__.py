"""Instruments: what each band measures, in rows of sensors.toml, each with its source."""

from geoseg.sensors.band import Band
from geoseg.sensors.sensor import Sensor, SensorKind
from geoseg.sensors.table import find_sensor, load_sensors

__all__ = ["Band", "Sensor", "SensorKind", "find_sensor", "load_sensors"]
