"""Real acquisitions hidden from the pivot, and told from the others.

- Athabasca: Landsat 8 of 2020-08-16 and Sentinel-2 of 2020-09-09 tell Sentinel-2 of 2020-09-11, as
  a ratio of RMSE to that of the nearest date copied (Landsat where that has holes).
- Togo: each of twelve monthly Sentinel-2 composites in turn from the others and from Sentinel-1, as
  a ratio to linear interpolation of Sentinel-2.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import rasterio
import torch
from affine import Affine
from odc.geo.geobox import GeoBox

from geoseg.data import fetch
from geoseg.grids import raster_grid
from geoseg.pivot.measurement.acquisition import Acquisition, Reading
from geoseg.pivot.measurement.looks import looks_of
from geoseg.pivot.physical import PhysicalSettings, build_posterior
from geoseg.pivot.storage import read_acquisition
from geoseg.scenes import Asset, Scene

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from geoseg.pivot.measurement.looks import Look
    from geoseg.pivot.physical.posterior import Posterior

__all__ = ["Compared", "athabasca", "togo"]

VARIABLES = ("blue", "green", "red", "nir", "swir1", "swir2")
NINETY = 1.645  # standard deviations
SENTINEL_2 = {
    "blue": "B02",
    "green": "B03",
    "red": "B04",
    "nir08": "B8A",
    "swir16": "B11",
    "swir22": "B12",
}
LANDSAT = SENTINEL_2 | {"nir08": "B05", "swir16": "B06", "swir22": "B07"}
TOGO = {
    "blue": "B2",
    "green": "B3",
    "red": "B4",
    "rededge071": "B5",
    "nir08": "B8A",
    "swir16": "B11",
    "swir22": "B12",
}
MONTHS, BANDS_A_MONTH = 12, 17


class Compared(NamedTuple):
    """A pivot beside a baseline, over all variables and pixels."""

    rmse: float
    baseline: float
    coverage: float  # of 90 % intervals with the noise of the sensor

    @property
    def ratio(self) -> float:
        """Of the two RMSE."""
        return self.rmse / self.baseline


def athabasca() -> Compared:
    """The third acquisition of a glacier from two."""
    folder = fetch("athabasca")
    scenes = (
        _scene(folder, "landsat", "landsat-8", 16, "athabasca_2020229_{}_L30.tif", LANDSAT, 8),
        _scene(folder, "near", "sentinel-2", 9, "athabasca_2020253_{}_S30.tif", SENTINEL_2, 9),
        _scene(folder, "hidden", "sentinel-2", 11, "athabasca_{}_20200911.tif", SENTINEL_2, 9),
    )
    with rasterio.open(scenes[1].bands["red"].path) as raster:
        grid = raster_grid(raster)
    read = [one for scene in scenes if (one := read_acquisition(scene, grid)) is not None]
    landsat, near, hidden = read
    posterior = build_posterior([landsat, near], grid, PhysicalSettings(variables=VARIABLES))
    pairs = []
    for variable in VARIABLES:
        look, _ = _values(hidden, variable, grid)
        onto = hidden.readings[0].pixels
        copies = [
            _moved(_values(one, variable, grid)[1], one.readings[0].pixels, onto)
            for one in (near, landsat)
        ]
        copied = torch.where(torch.isfinite(copies[0]), *copies)
        pairs.append(_beside(posterior, look, variable, copied))
    return _over_all(pairs)


def togo() -> Compared:
    """Months of a field from the others."""
    path = fetch("togo") / "98-togo_2019-02-06_2020-02-01.tif"
    with rasterio.open(path) as raster:
        stack, names = raster.read(), raster.descriptions[:BANDS_A_MONTH]
    # Stored in degrees of 10 m; that close to the equator they are squares of 10 m.
    pixels = GeoBox((17, 17), Affine(10, 0, 327_000, 0, -10, 853_000), "EPSG:32631")
    optical, radar = [], []
    for month in range(MONTHS):
        bands = stack[month * BANDS_A_MONTH : (month + 1) * BANDS_A_MONTH].astype(np.float32)
        time = datetime(2019 + (month + 1) // 12, (month + 1) % 12 + 1, 20, tzinfo=UTC)
        light = np.stack([bands[names.index(stored)] / 1e4 for stored in TOGO.values()])
        optical.append(_acquired(f"optical-{month}", "sentinel-2", time, pixels, TOGO, light))
        powers = ("vv", "vh")
        radar.append(_acquired(f"radar-{month}", "sentinel-1", time, pixels, powers, bands[:2]))
    settings = PhysicalSettings(variables=(*VARIABLES, "rededge"), classes=2)
    pairs = []
    for month, hidden in enumerate(optical):
        others = [one for one in optical if one is not hidden]
        posterior = build_posterior([*others, *radar], pixels, settings)
        before, after = optical[:month][-1:], optical[month + 1 :][:1]
        for variable in settings.variables:
            look, _ = _values(hidden, variable, pixels)
            ends = [_values(one, variable, pixels) for one in (*before, *after)]
            pairs.append(_beside(posterior, look, variable, _between(ends, look.day)))
    return _over_all(pairs)


def _scene(
    folder: Path,
    name: str,
    sensor_id: str,
    day: int,
    pattern: str,
    bands: dict[str, str],
    month: int,
) -> Scene:
    start = datetime(2020, month, day, 18, 40, tzinfo=UTC)
    assets = {band: Asset(path=folder / pattern.format(stored)) for band, stored in bands.items()}
    return Scene(
        id=name,
        sensor_id=sensor_id,
        start=start,
        end=start + timedelta(seconds=30),
        bands=assets,
    )


def _acquired(
    name: str,
    sensor_id: str,
    time: datetime,
    pixels: GeoBox,
    bands: Sequence[str] | dict[str, str],
    values: np.ndarray,
) -> Acquisition:
    reading = Reading(pixels=pixels, bands=tuple(bands), values=torch.from_numpy(values))
    return Acquisition(id=name, sensor_id=sensor_id, time=time, readings=(reading,))


class _Beside(NamedTuple):
    """Errors of pixels, and whether their intervals hold."""

    own: Tensor
    baseline: Tensor
    held: Tensor


def _beside(posterior: Posterior, look: Look, variable: str, baseline: Tensor) -> _Beside:
    mean, variance = posterior.predicted(look, variable)
    both = look.valid & torch.isfinite(baseline)
    sd = (variance + look.variance + look.shared_sd**2)[both].sqrt()
    off = (mean - look.measured)[both]
    return _Beside(off, (baseline - look.measured)[both], off.abs() < NINETY * sd)


def _over_all(pairs: Sequence[_Beside]) -> Compared:
    own, baseline, held = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    return Compared(
        float(own.square().mean().sqrt()),
        float(baseline.square().mean().sqrt()),
        float(held.float().mean()),
    )


def _values(acquisition: Acquisition, variable: str, grid: GeoBox) -> tuple[Look, Tensor]:
    """What it says of a variable, and the same as values that are NaN where not valid."""
    look = looks_of(acquisition, variable, grid)
    assert look is not None
    return look, look.measured.masked_fill(~look.valid, torch.nan)


def _moved(values: Tensor, own: GeoBox, onto: GeoBox) -> Tensor:
    """Values on a grid that is the same but for whole rows and columns."""
    left, top = (round(n) for n in ~onto.affine * (own.affine.c, own.affine.f))
    height, width = (int(n) for n in onto.shape)
    below, right = height - top - values.shape[0], width - left - values.shape[1]
    return torch.nn.functional.pad(values, (left, right, top, below), value=torch.nan)


def _between(looks: Sequence[tuple[Look, Tensor]], day: float) -> Tensor:
    """Linear in time between two looks; the one that there is at both ends."""
    if len(looks) == 1:
        return looks[0][1]
    (before, early), (after, late) = looks
    share = (day - before.day) / (after.day - before.day)
    return early * (1 - share) + late * share
