"""A simulated year on disk: files of each band, STAC items, and what covers the ground."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np

from geoseg import __version__
from geoseg.data.band_files import write_band
from geoseg.data.seasons.ground import LAND_COVERS
from geoseg.data.seasons.year import SENSOR_IDS, simulated_year
from geoseg.files import write_text
from geoseg.scenes import Asset, Scene, write_scene
from geoseg.sensors import SensorKind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from geoseg.pivot.measurement.acquisition import Acquisition

__all__ = ["write_acquisition", "write_year"]

_EDITION = 1
_SCALE, _VOID = 1e-4, -9999  # of reflectance, as HLS stores it


def write_year(
    out: Path,
    *,
    seed: int = 0,
    side: int = 64,
    on_scene: Callable[[int, int], None] = lambda _done, _all: None,
) -> None:
    """Write the year of a seed: scenes/, land_cover.tif, and year.json last.

    A year that is there already is left alone, and scenes of another one are removed.

    Args:
        out: folder.
        seed: another seed, another year.
        side: of the ground, in pixels of 10 m.
        on_scene: is told of every scene.

    Raises:
        OutputError: the folder cannot be written.
    """
    facts = {"seed": seed, "side": side, "geoseg": __version__, "year": _EDITION}
    ready = out / "year.json"
    if ready.is_file() and json.loads(ready.read_text(encoding="utf-8")) == facts:
        return
    year = simulated_year(seed, side=side)
    _forget_others(out / "scenes", {one.id for one in year.acquisitions})
    for number, one in enumerate(year.acquisitions, start=1):
        write_acquisition(out / "scenes", one)
        on_scene(number, len(year.acquisitions))
    names = dict(enumerate(LAND_COVERS))
    write_band(out / "land_cover.tif", year.land_cover, year.grid, tags={"classes": str(names)})
    write_text(ready, json.dumps(facts) + "\n")


def _forget_others(folder: Path, ids: set[str]) -> None:
    """Remove scenes of a year that was written there before: other days were overcast in it."""
    for sensor_id in SENSOR_IDS:
        for item in folder.glob(f"{sensor_id}-[0-9][0-9][0-9].json"):
            if item.stem not in ids:
                item.unlink()
                shutil.rmtree(folder / item.stem, ignore_errors=True)


def write_acquisition(folder: Path, acquisition: Acquisition) -> None:
    """Write one overpass: a file of each band, and a STAC item.

    Raises:
        OutputError: the folder cannot be written.
    """
    as_it_is = acquisition.sensor.kind in {SensorKind.SAR, SensorKind.FILM}
    assets = {}
    for reading in acquisition.readings:
        for name, values in zip(reading.bands, reading.values.numpy(), strict=True):
            path = folder / acquisition.id / f"{name}.tif"
            if as_it_is:
                write_band(path, values, reading.pixels, void=float("nan"))
            else:
                counts = np.where(np.isfinite(values), np.rint(values / _SCALE), _VOID)
                write_band(path, counts.astype(np.int16), reading.pixels, void=_VOID, scale=_SCALE)
            assets[name] = Asset(path=path)
    scene = Scene(
        id=acquisition.id,
        sensor_id=acquisition.sensor_id,
        start=acquisition.time,
        end=acquisition.time + timedelta(seconds=1),
        bands=assets,
    )
    write_scene(scene, folder / f"{acquisition.id}.json")
