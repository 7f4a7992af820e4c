"""A pivot on disk: sparse knots in Zarr, from which any day is evaluated.

The root holds the grid and the class of each cell; a group for each variable holds its knots in
time, and one under `climatology` its curves. xarray opens all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import odc.geo.xr  # noqa: F401  grids of datasets
import torch
import xarray as xr

from geoseg.errors import OutputError, SceneError
from geoseg.pivot.measurement.variables import find_variable
from geoseg.pivot.physical import Usual
from geoseg.pivot.physical.chain import Chain
from geoseg.pivot.physical.climatology import Climatology, Curves
from geoseg.pivot.physical.posterior import Known, Posterior
from geoseg.pivot.physical.spread import Spread, process_of
from geoseg.pivot.physical.wander import REGION_M
from geoseg.pivot.storage.arrays import (
    UNREADABLE,
    Layout,
    coordinates,
    grid_of,
    lay_out,
    require_plain,
    write_region,
)
from geoseg.scenes import TERRAIN_BANDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox
    from torch import Tensor

    from geoseg.pivot.physical.wander import Process, Wander

__all__ = ["Source", "StoredPivot", "create_store", "open_store", "terrain_layouts", "write_block"]

_EDITION = 2
_KNOTS = 16  # in a chunk
_PARTS = ("detail", "region")
_CHAIN = ("mean", "sd", "gain")  # to a thousandth each, which is far below any sd


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An acquisition that the pivot rests on."""

    id: str
    sensor_id: str
    time: datetime  # UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPivot:
    """A pivot on disk."""

    folder: Path
    grid: GeoBox
    sources: tuple[Source, ...]
    usual: Usual
    block: int  # cells to a side that are stored together

    @property
    def variables(self) -> tuple[str, ...]:
        """Names, in their order."""
        return tuple(self.usual.spreads)

    def held(self, wanted: Sequence[str]) -> tuple[str, ...]:
        """Variables that are wanted; all when there is none.

        Raises:
            SensorError: no variable has that name.
            SceneError: the pivot does not hold it.
        """
        for name in wanted:
            find_variable(name)
            if name not in self.variables:
                raise SceneError(
                    f"The pivot does not hold {name!r}; it holds {', '.join(self.variables)}."
                )
        return tuple(wanted) or self.variables

    def terrain(self, part: tuple[slice, slice]) -> dict[str, NDArray[np.float32]]:
        """Terrain (H, W) of rows and columns by name; none where the pivot was built without."""
        root = _open(self.folder)
        return {name: root[name][part].values for name in TERRAIN_BANDS if name in root}

    def knot_sources(self, variable: str) -> tuple[int, ...]:
        """Acquisitions (K,) of the knots of a variable, by their place in `sources`."""
        return tuple(int(k) for k in _open(self.folder, variable)["source"].values)

    def knot_times(self, variable: str) -> NDArray[np.datetime64]:
        """Times (K,) of the acquisitions that may measure a variable."""
        return np.asarray(_open(self.folder, variable)["time"].values)

    def posterior(
        self, part: tuple[slice, slice], variables: Sequence[str] | None = None
    ) -> Posterior:
        """Rows and columns of it, ready for any day.

        Args:
            part: of the grid.
            variables: some of them; all when None.

        Raises:
            OutputError: a block of it was not stored yet.
        """
        classes = torch.from_numpy(_open(self.folder).land_class[part].values.astype(np.int64))
        names = self.variables if variables is None else tuple(variables)
        known = {
            name: _known(self.folder, name, part, process_of(self.usual.spreads[name], classes))
            for name in names
        }
        return Posterior(
            grid=self.grid[part],
            acquisitions=tuple(one.id for one in self.sources),
            climatology=self.usual.climatology,
            classes=classes,
            known=known,
        )


def create_store(
    folder: Path,
    grid: GeoBox,
    sources: Sequence[Source],
    usual: Usual,
    knots: Mapping[str, Sequence[int]],
    block: int,
    *,
    terrain: bool = False,
) -> None:
    """Lay a store out, without any cell of it.

    Args:
        folder: `*.zarr`; replaced where it is there.
        grid: cells.
        sources: acquisitions in order of time.
        usual: of all blocks.
        knots: indices of the sources that may measure each variable.
        block: cells to a side.
        terrain: whether it holds terrain, which no date changes.

    Raises:
        OutputError: the folder cannot be written.
    """
    about = {
        "Conventions": "CF-1.11",
        "title": "Common variables of several sensors, as knots of a Kalman smoother",
        "geoseg_pivot": _EDITION,
        "block": block,
        "variables": list(usual.spreads),
        "classified_by": list(usual.climatology.variables),
        "sources": [
            {"id": one.id, "sensor": one.sensor_id, "time": one.time.isoformat()} for one in sources
        ],
    }
    side = (block, block)
    land_class = Layout(("y", "x"), "int16", side, {"long_name": "class of cells with a like year"})
    layers = {"land_class": land_class}
    if terrain:
        layers |= terrain_layouts(block)
    lay_out(folder, "", coordinates(grid), layers, about)
    for name, places in knots.items():
        _lay_out_knots(folder, name, grid, [sources[k] for k in places], places, block)
    _write_usual(folder, usual)


def terrain_layouts(block: int) -> dict[str, Layout]:
    """Layers of the terrain by name."""
    units = {"elevation": "m", "slope": "degree"}
    return {
        name: Layout(
            ("y", "x"),
            "float32",
            (block, block),
            {"units": units.get(name, "1"), "long_name": name},
        )
        for name in TERRAIN_BANDS
    }


def write_block(
    store: StoredPivot,
    posterior: Posterior,
    rows: slice,
    columns: slice,
    terrain: NDArray[np.float32] | None = None,
) -> None:
    """Fill a block; what was not measured of a variable there is its prior.

    Args:
        store: that was laid out.
        posterior: of the block.
        rows: of the grid.
        columns: of the grid.
        terrain: (5, H, W) in the order of `TERRAIN_BANDS`, if the store holds it.

    Raises:
        OutputError: the folder cannot be written.
    """
    place = {"y": rows, "x": columns}
    land_class = posterior.classes.numpy().astype(np.int16)
    layers = {"land_class": (("y", "x"), land_class)}
    if terrain is not None:
        layers |= {n: (("y", "x"), band) for n, band in zip(TERRAIN_BANDS, terrain, strict=True)}
    write_region(store.folder, "", layers, place)
    for name, spread in store.usual.spreads.items():
        days = _days(_open(store.folder, name))
        known = posterior.known.get(name)
        if known is None:
            process = process_of(spread, posterior.classes)
            chains = [_prior(one, days) for one in (process.detail, process.region)]
            shown = torch.full((len(days), *posterior.classes.shape), torch.nan)
        else:
            chains = [_on_knots(one, days) for one in (known.detail, known.region)]
            shown = _spread_over(known.shown, known.detail.days, days)
        arrays = {
            f"{part}_{field}": values
            for part, chain in zip(_PARTS, chains, strict=True)
            for field, values in zip(
                _CHAIN, (chain.mean, chain.variance.sqrt(), chain.gain), strict=True
            )
        }
        arrays["shown"] = shown
        filled = {
            key: (("time", "y", "x"), values.half().numpy()) for key, values in arrays.items()
        }
        write_region(store.folder, name, filled, place)


def open_store(folder: Path) -> StoredPivot:
    """A pivot that was built.

    Raises:
        OutputError: none lies there, or one of another edition.
    """
    root = _open(folder)
    if root.attrs.get("geoseg_pivot") != _EDITION:
        raise OutputError(
            f"{folder} is no pivot of this edition; make it with `geoseg pivot build`."
        )
    sources = tuple(
        Source(id=one["id"], sensor_id=one["sensor"], time=datetime.fromisoformat(one["time"]))
        for one in root.attrs["sources"]
    )
    return StoredPivot(
        folder=folder,
        grid=grid_of(root),
        sources=sources,
        usual=_read_usual(folder, root.attrs),
        block=int(root.attrs["block"]),
    )


def _open(folder: Path, group: str | None = None, *, decode_times: bool = True) -> xr.Dataset:
    try:
        require_plain(folder / group if group else folder)
        found: xr.Dataset = xr.open_zarr(
            folder,
            group=group,
            consolidated=False,
            chunks=None,
            decode_coords="all",
            decode_times=decode_times,
        )
    except UNREADABLE as error:
        raise OutputError(
            f"{folder} is no pivot, or not whole; make it with `geoseg pivot build`."
        ) from error
    return found


def _lay_out_knots(
    folder: Path,
    name: str,
    grid: GeoBox,
    sources: Sequence[Source],
    places: Sequence[int],
    block: int,
) -> None:
    by_day = {_day(one.time): place for one, place in zip(sources, places, strict=True)}
    days = sorted(by_day)
    coords = coordinates(grid, days)
    coords["source"] = xr.Variable(("time",), np.array([by_day[day] for day in days]))
    chunks = (_KNOTS, block, block)
    fields = [f"{part}_{field}" for part in _PARTS for field in _CHAIN] + ["shown"]
    layouts = {
        field: Layout(("time", "y", "x"), "float16", chunks, {"long_name": field.replace("_", " ")})
        for field in fields
    }
    lay_out(folder, name, coords, layouts, {})


def _known(folder: Path, name: str, part: tuple[slice, slice], process: Process) -> Known:
    stored = _open(folder, name)
    rows, columns = part
    inside = stored.isel(y=rows, x=columns)
    days = _days(stored)
    _require_made(folder, inside["detail_sd"])
    detail, region = (
        Chain(
            wander=wander,
            days=days,
            mean=_tensor(inside[f"{one}_mean"]),
            variance=_tensor(inside[f"{one}_sd"]) ** 2,
            gain=_tensor(inside[f"{one}_gain"]),
        )
        for one, wander in zip(_PARTS, (process.detail, process.region), strict=True)
    )
    return Known(
        process=process,
        detail=detail,
        region=region,
        shown=_tensor(inside["shown"]),
        sources=tuple(int(k) for k in stored["source"].values),
    )


def _require_made(folder: Path, sd: xr.DataArray) -> None:
    """Refuse cells (K, H, W) of blocks that are not stored yet: their standard deviation is NaN."""
    if np.isnan(sd[0].values).any():
        raise OutputError(
            f"{folder} is not whole: blocks are missing; run the same `geoseg pivot build` again "
            "to go on."
        )


def _write_usual(folder: Path, usual: Usual) -> None:
    climatology = usual.climatology
    classes = xr.Dataset(
        {
            "centre": (("land_class", "feature"), climatology.centres),
            "usual": (("feature",), climatology.usual),
        }
    )
    classes.to_zarr(folder, group="climatology", mode="w", consolidated=False, zarr_format=2)
    for name, spread in usual.spreads.items():
        curves = climatology.curves[name]
        xr.Dataset(
            {
                "day": (("day",), curves.days, {"units": "days since 1970-01-01"}),
                "weight": (("land_class", "day"), curves.weights),
                "level": (("land_class",), curves.level),
                "inverse": (("land_class", "day", "other_day"), curves.inverse),
                "amplitude": (("land_class",), curves.amplitude),
                "wander_sd": (("land_class",), spread.sd),
            },
            attrs={"wander_days": spread.days, "region_m": REGION_M},
        ).to_zarr(folder, group=f"climatology/{name}", mode="w", consolidated=False, zarr_format=2)


def _read_usual(folder: Path, about: Mapping[str, Any]) -> Usual:
    classes = _open(folder, "climatology")
    curves, spreads = {}, {}
    for name in about["variables"]:
        stored = _open(folder, f"climatology/{name}", decode_times=False)
        curves[name] = Curves(
            stored["day"].values,
            stored["weight"].values,
            stored["level"].values,
            stored["inverse"].values,
            stored["amplitude"].values,
        )
        spreads[name] = Spread(stored["wander_sd"].values, float(stored.attrs["wander_days"]))
    climatology = Climatology(
        variables=tuple(about["classified_by"]),
        centres=classes["centre"].values,
        usual=classes["usual"].values,
        curves=curves,
    )
    return Usual(climatology=climatology, spreads=spreads)


def _prior(wander: Wander, days: Sequence[float]) -> Chain:
    """What is known where nothing was measured."""
    variance = (wander.sd**2).expand(len(days), *wander.sd.shape)
    kept = [wander.kept(after - before) for before, after in pairwise(days)]
    gain = torch.tensor([*kept, 0.0])[:, None, None].expand_as(variance)
    return Chain(
        wander=wander,
        days=tuple(days),
        mean=torch.zeros_like(variance),
        variance=variance,
        gain=gain,
    )


def _on_knots(chain: Chain, days: Sequence[float]) -> Chain:
    """With a knot on each of the days, among which all of its own are."""
    for day in days:
        if _place(chain.days, day) is None:
            chain, _ = chain.with_knot(day)
    return chain


def _spread_over(shown: Tensor, own: Sequence[float], days: Sequence[float]) -> Tensor:
    spread = torch.full((len(days), *shown.shape[1:]), torch.nan)
    for k, day in enumerate(days):
        place = _place(own, day)
        if place is not None:
            spread[k] = shown[place]
    return spread


def _place(own: Sequence[float], day: float) -> int | None:
    nearest = int(np.argmin(np.abs(np.asarray(own) - day)))
    return nearest if abs(own[nearest] - day) < _SAME_DAY else None


_SAME_DAY = 1.0 / 86400  # times are stored to the second


def _days(stored: xr.Dataset) -> tuple[float, ...]:
    seconds = stored["time"].values.astype("datetime64[s]").astype(np.int64)
    return tuple(float(one) / 86400 for one in seconds)


def _day(time: datetime) -> float:
    return round(time.timestamp()) / 86400


def _tensor(array: xr.DataArray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array.values, dtype=np.float32))
