"""The simulated landscape on disk: scenes, elevation, and the true outlines of each date."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import pyogrio
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.features import shapes

from geoseg import __version__
from geoseg.data.band_files import write_band
from geoseg.data.simulate.landscape import FINE_M, Landscape, make_landscape
from geoseg.data.simulate.render import Sun, area_average, film, radar, reflectance
from geoseg.data.simulate.surface import Surface, surface
from geoseg.files import write_text, writing
from geoseg.grids import crs_of
from geoseg.labels import GLACIER_SURFACE, geodesic_areas_km2
from geoseg.scenes import Asset, Scene, write_scene
from geoseg.scenes.scene import SunPosition
from geoseg.sensors import SensorKind, find_sensor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from geoseg.sensors import Sensor

__all__ = ["simulate"]

_EDITION = 3  # of what is simulated
_FIRST_YEAR = 1965
_S2_BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")
_TM_BANDS = ("blue", "green", "red", "nir08", "swir16", "swir22")
_TM_GAIN = {"swir16": 560.0, "swir22": 620.0}  # counts per reflectance
_TM_VISIBLE_GAIN = 290.0  # sunlit snow saturates, as on the real TM
_PREFIX = {1: "glacier", 2: "lake", 3: "slump", 4: "tarn"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Acquisition:
    sensor: str
    day: datetime
    sun: Sun
    bands: tuple[str, ...]


_PLAN = (
    _Acquisition(
        sensor="hexagon-kh9-mapping",
        day=datetime(1975, 8, 12, tzinfo=UTC),
        sun=Sun(azimuth=128, elevation=47),
        bands=("pan",),
    ),
    _Acquisition(
        sensor="landsat-5",
        day=datetime(1990, 8, 20, tzinfo=UTC),
        sun=Sun(azimuth=126, elevation=50),
        bands=_TM_BANDS,
    ),
    _Acquisition(
        sensor="landsat-5",
        day=datetime(2009, 8, 24, tzinfo=UTC),
        sun=Sun(azimuth=138, elevation=53),
        bands=_TM_BANDS,
    ),
    _Acquisition(
        sensor="sentinel-2",
        day=datetime(2016, 8, 17, tzinfo=UTC),
        sun=Sun(azimuth=148, elevation=59),
        bands=_S2_BANDS,
    ),
    _Acquisition(
        sensor="sentinel-2",
        day=datetime(2025, 8, 15, tzinfo=UTC),
        sun=Sun(azimuth=147, elevation=60),
        bands=_S2_BANDS,
    ),
    _Acquisition(
        sensor="sentinel-1",
        day=datetime(2025, 8, 20, tzinfo=UTC),
        sun=Sun(azimuth=0, elevation=90),
        bands=("vv", "vh"),
    ),
)


def simulate(
    out: Path,
    *,
    seed: int = 0,
    size_m: float = 9600.0,
    on_step: Callable[[str], None] | None = None,
) -> None:
    """Write the landscape of a seed: dem.tif, scenes/, outlines, and landscape.json last.

    outlines.gpkg holds the truth of each date, reference.gpkg the glaciers of 1965 as an inventory
    of that time would, with ids and names, and divides where ice of two glaciers meets.

    The same seed and size give the same pixels. A landscape that is there already is left alone.

    Args:
        out: folder.
        seed: another seed, another landscape.
        size_m: side of the square in metres.
        on_step: is told what is being made.

    Raises:
        ConfigError: a size that holds no glacier.
        OutputError: the folder cannot be written.
    """
    say = on_step or (lambda _: None)
    facts = {"seed": seed, "size_m": size_m, "geoseg": __version__, "landscape": _EDITION}
    ready = out / "landscape.json"
    if ready.is_file() and json.loads(ready.read_text(encoding="utf-8")) == facts:
        return
    say(f"Simulating a landscape of {size_m / 1000:g} km, seed {seed}")
    landscape = make_landscape(seed=seed, size_m=size_m)
    _write_band(out / "dem.tif", area_average(landscape.elevation_m, 10), landscape, 10)
    for number, plan in enumerate(_PLAN):
        say(f"Rendering {plan.sensor} of {plan.day:%Y}")
        _write_scene(out, landscape, plan, np.random.default_rng([seed, number]))
    _write_outlines(out / "outlines.gpkg", landscape)
    _write_reference(out / "reference.gpkg", landscape)
    write_text(ready, json.dumps(facts) + "\n")


def _write_scene(
    out: Path, landscape: Landscape, plan: _Acquisition, rng: np.random.Generator
) -> None:
    sensor = find_sensor(plan.sensor)
    ground = surface(landscape, plan.day.year)
    scene_id = f"{sensor.id}_{plan.day:%Y%m%d}"
    assets = {}
    for name in plan.bands:
        path = out / "scenes" / scene_id / f"{name}.tif"
        stored, gsd_m, scale = _measure(landscape, ground, sensor, name, plan.sun, rng)
        _write_band(path, stored, landscape, gsd_m, scale=scale)
        assets[name] = Asset(path=path)
    scene = Scene(
        id=scene_id,
        sensor_id=sensor.id,
        start=plan.day,
        end=plan.day + timedelta(days=1),
        bands=assets,
        sun=_sun_of(sensor, plan.sun),
    )
    write_scene(scene, out / "scenes" / f"{scene_id}.json")


def _sun_of(sensor: Sensor, sun: Sun) -> SunPosition | None:
    """Where the sun stood; radar does without one."""
    if sensor.kind is SensorKind.SAR:
        return None
    return SunPosition(azimuth=sun.azimuth, elevation=sun.elevation)


def _measure(
    landscape: Landscape,
    ground: Surface,
    sensor: Sensor,
    name: str,
    sun: Sun,
    rng: np.random.Generator,
) -> tuple[NDArray[np.generic], float, float]:
    """Stored values (h, w), their gsd in metres, and the scale of the file."""
    band = sensor.band(name)
    if sensor.kind is SensorKind.FILM:
        return film(landscape, ground, sensor, sun, rng), FINE_M, 1.0
    if sensor.kind is SensorKind.SAR:
        return radar(landscape, ground, band, rng), band.gsd_m, 1.0
    seen = reflectance(landscape, ground, sensor, band, sun)
    seen = seen + 0.004 * rng.standard_normal(seen.shape).astype(np.float32)
    if sensor.id == "landsat-5":
        counts = seen * _TM_GAIN.get(name, _TM_VISIBLE_GAIN) + 4
        return np.clip(np.rint(counts), 1, 255).astype(np.uint8), band.gsd_m, 1.0
    return np.clip(np.rint(seen * 1e4), 1, 65_535).astype(np.uint16), band.gsd_m, 1e-4


def _write_band(
    path: Path,
    values: NDArray[np.generic],
    landscape: Landscape,
    gsd_m: float,
    *,
    scale: float = 1.0,
) -> None:
    """One band of the landscape; 0 is left for no data where it cannot be measured."""
    whole = landscape.grid
    grid = GeoBox(values.shape, whole.affine * Affine.scale(gsd_m / FINE_M), whole.crs)
    write_band(path, values, grid, void=0 if values.dtype.kind == "u" else None, scale=scale)


def _write_outlines(path: Path, landscape: Landscape) -> None:
    dates = {plan.day.year: plan.day for plan in _PLAN}
    dates[_FIRST_YEAR] = datetime(_FIRST_YEAR, 8, 15, tzinfo=UTC)
    with writing(path) as aside:
        for year, day in sorted(dates.items()):
            outlines = _outlines(landscape, surface(landscape, year))
            outlines["start_date"] = day.date()
            outlines["end_date"] = (day + timedelta(days=1)).date()
            pyogrio.write_dataframe(
                outlines,
                aside,
                layer=f"outlines_{year}",
                driver="GPKG",
                geometry_type="Polygon",
                append=aside.exists(),
                dataset_options={"VERSION": "1.3"},
            )


def _write_reference(path: Path, landscape: Landscape) -> None:
    outlines = _outlines(landscape, surface(landscape, _FIRST_YEAR))
    ice = outlines[outlines["class_name"].isin(["clean_ice", "debris_ice", "supraglacial_lake"])]
    glaciers = ice[ice["track_id"].str.startswith(_PREFIX[1])].dissolve("track_id")
    numbers = [int(name.rsplit("-", 1)[1]) + 1 for name in glaciers.index]
    reference = gpd.GeoDataFrame(
        {
            "rgi_id": [f"SIM{_FIRST_YEAR}-G-{number:05d}" for number in numbers],
            "glac_name": [f"Valley {number}" for number in numbers],
            "src_date": f"{_FIRST_YEAR}-08-15",
        },
        geometry=glaciers.geometry.to_numpy(),
        crs=outlines.crs,
    )
    with writing(path) as aside:
        pyogrio.write_dataframe(
            reference,
            aside,
            layer="glaciers",
            driver="GPKG",
            geometry_type="MultiPolygon",
            promote_to_multi=True,
            dataset_options={"VERSION": "1.3"},
        )


def _outlines(landscape: Landscape, ground: Surface) -> gpd.GeoDataFrame:
    """Every object and class of a year, with the borders they share simplified together."""
    # One number for a class of an object, so that ice and debris of one glacier stay apart.
    codes = np.where(ground.classes > 0, ground.objects * 8 + ground.classes, 0).astype(np.int32)
    found = shapes(codes, mask=codes > 0, connectivity=4, transform=landscape.grid.affine)
    pairs = [(shapely.geometry.shape(shape), int(code)) for shape, code in found]
    geometry = shapely.coverage_simplify(np.array([g for g, _ in pairs], dtype=object), FINE_M)
    outlines = gpd.GeoDataFrame(
        {
            "track_id": [_track_id(code // 8) for _, code in pairs],
            "class_name": [GLACIER_SURFACE.names[code % 8] for _, code in pairs],
        },
        geometry=list(geometry),
        crs=crs_of(landscape.grid),
    )
    return outlines.assign(area_km2=geodesic_areas_km2(outlines, bend_m=1000))


def _track_id(number: int) -> str:
    if number >= 1000:
        return f"pond-{number - 1000:03d}"
    return f"{_PREFIX[number // 100]}-{number % 100:03d}"
