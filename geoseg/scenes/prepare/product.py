"""What a product says of a scene: how its numbers are read, and what its pixels show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geoseg.scenes.prepare.dimap import dimap_radiometry
from geoseg.scenes.prepare.landsat import landsat_radiometry
from geoseg.scenes.prepare.sentinel2 import sentinel2_radiometry
from geoseg.scenes.products.product import read_bounded
from geoseg.scenes.raster import open_raster
from geoseg.sensors import find_sensor

if TYPE_CHECKING:
    from pathlib import Path

    from geoseg.scenes.prepare.calibration import Calibration, Radiometry
    from geoseg.scenes.scene import Scene, SunPosition

__all__ = ["calibrations_of", "read_radiometry", "stated_calibrations"]


def read_radiometry(scene: Scene) -> Radiometry | None:
    """What the metadata of a scene say of its numbers; None where it has none.

    Raises:
        SceneError: they cannot be read or used.
    """
    path = scene.metadata
    if path is None:
        return None
    name = path.name.upper()
    if name.endswith(("_MTL.TXT", "_MTL.JSON")):
        return landsat_radiometry(_text_of(path), str(path))
    if name.startswith("MTD_MSI"):
        return sentinel2_radiometry(_text_of(path), str(path))
    if name.endswith(".DIM") or name.startswith("DIM_"):
        return dimap_radiometry(_text_of(path), str(path))
    return None


def stated_calibrations(scene: Scene, radiometry: Radiometry | None) -> dict[str, Calibration]:
    """What metadata say of the bands of a scene, by the common names of those that they know."""
    if radiometry is None:
        return {}
    sensor = find_sensor(scene.sensor_id)
    found = {}
    for name, asset in scene.bands.items():
        keys = [asset.path.name, sensor.band(name).name, str(asset.index)]
        if sensor.band(name).common_name == "pan":
            keys.append("P")  # of SPOT 6-7 and Pleiades
        stated = next((radiometry.bands[key] for key in keys if key in radiometry.bands), None)
        if stated is not None:
            found[name] = stated
    return found


def calibrations_of(scene: Scene, radiometry: Radiometry | None) -> dict[str, Calibration]:
    """The calibration of each band that has one, by its common name.

    A file that scales its numbers itself is left as it is, or they would be scaled twice.

    Raises:
        SceneError: a file cannot be opened.
    """
    found = {}
    for name, stated in stated_calibrations(scene, radiometry).items():
        asset = scene.bands[name]
        with open_raster(asset.path) as raster:
            if (raster.scales[asset.index - 1], raster.offsets[asset.index - 1]) == (1, 0):
                found[name] = stated
    return found


def sun_of(scene: Scene, radiometry: Radiometry | None) -> SunPosition | None:
    """Where the sun stood, if the scene or its metadata know."""
    if scene.sun is not None or radiometry is None:
        return scene.sun
    return radiometry.sun


def _text_of(path: Path) -> str:
    return read_bounded(path).decode("utf-8", errors="replace")
