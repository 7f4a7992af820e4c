"""Days of a pivot as a cube: Zarr with the names of CF, or a GeoTIFF of one day."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
import xarray as xr

from geoseg.errors import ConfigError
from geoseg.files import write_json
from geoseg.pivot.measurement.variables import find_variable
from geoseg.pivot.storage.arrays import (
    Layout,
    coordinates,
    lay_out,
    tiles_of,
    times_of,
    write_region,
)
from geoseg.pivot.storage.blocks import Block, blocks_of, forget_blocks, plan_of, run_blocks
from geoseg.pivot.storage.knots import open_store, terrain_layouts
from geoseg.scale import Manifest, inputs_hash
from geoseg.scenes.cog import open_cog

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from geoseg.pivot.physical.posterior import Estimate
    from geoseg.pivot.storage.knots import StoredPivot
    from geoseg.scale import Engine, Summary

__all__ = ["CubePlan", "as_dataset", "daily", "write_cube", "write_geotiff"]

_DAYS = 32  # in a chunk
_NAMES = {"reflectance": "surface_bidirectional_reflectance", "backscatter": None}
_PARTS = {
    "": "mean",
    "_sd": "standard deviation",
    "_validity": "validity: share of the variance without any measurement that is gone",
    "_age": "age of the nearest measurement",
    "_source": "nearest acquisition, by its place in `sources`; -1: none",
}
_FIELDS = {
    "": "mean",
    "_sd": "sd",
    "_validity": "validity",
    "_age": "age_days",
    "_source": "provenance",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CubePlan:
    """What is to be evaluated."""

    store: Path  # pivot.zarr
    days: tuple[float, ...]  # since 1970, increasing
    variables: tuple[str, ...]  # none: all of the pivot
    out: Path  # folder that gets cube.zarr

    def __post_init__(self) -> None:
        require_increasing(self.days)
        if self.out.resolve() in {self.store.resolve(), self.store.resolve().parent}:
            raise ConfigError(f"{self.out} holds the pivot; give the cube a folder of its own.")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One block, on some days."""

    store: Path
    cube: Path
    days: tuple[float, ...]  # all of them
    variables: tuple[str, ...]
    block: Block


def require_increasing(days: Sequence[float]) -> None:
    """Refuse days that are out of order.

    Raises:
        ConfigError: none, two that are equal, or one before the one before it.
    """
    if not days:
        raise ConfigError("A cube needs a date; give one or more.")
    for before, after in pairwise(days):
        if not before < after:
            raise ConfigError(
                f"Date {_written(after)} comes after {_written(before)}; give dates in order, each "
                "once."
            )


def daily(first: float, last: float, every: float = 1.0) -> tuple[float, ...]:
    """Days from one to another, both of them where the step allows."""
    if every <= 0 or last < first:
        raise ConfigError(
            "A cube needs a step above 0, and a last date that is not before the first."
        )
    return tuple(float(day) for day in np.arange(first, last + every * 1e-6, every))


def as_dataset(estimate: Estimate, grid: GeoBox, sources: Sequence[str] = ()) -> xr.Dataset:
    """An estimate with the names of CF: each variable, its sd, validity, age and source.

    Args:
        estimate: of days D, variables V and cells (H, W).
        grid: of the cells.
        sources: names of acquisitions, that provenance counts.
    """
    arrays = {
        name: xr.Variable(("time", "y", "x"), values, _attributes(name))
        for name, values in _fields(estimate).items()
    }
    return xr.Dataset(
        arrays,
        coordinates(grid, estimate.days),
        {"Conventions": "CF-1.11", "sources": list(sources)},
    )


def write_cube(
    plan: CubePlan,
    engine: Engine | None = None,
    on_block: Callable[[int, int], None] = lambda _done, _all: None,
) -> Summary:
    """Evaluate a pivot on days, block by block; what was stopped goes on.

    Args:
        plan: which days, and where to.
        engine: who does it; this process when None.
        on_block: is told of every block.

    Raises:
        SceneError: a variable that the pivot does not hold.
        OutputError: no pivot lies there, or the folder cannot be written.
    """
    store = open_store(plan.store)
    names = store.held(plan.variables)
    cube = plan.out / "cube.zarr"
    inputs = inputs_hash([str(plan.store.absolute()), plan_of(plan.store), plan.days, names])
    with Manifest(plan.out) as manifest:
        with manifest.held():
            laid = plan.out / "cube.json"
            if not (cube.is_dir() and _is_of(laid, inputs)):
                forget_blocks(plan.out, laid)
                _lay_out(cube, store, plan.days, names)
                write_json(laid, inputs)
        jobs = [
            _Job(store=plan.store, cube=cube, days=plan.days, variables=names, block=block)
            for block in blocks_of(plan.out, store.grid, store.block)
        ]
        return run_blocks(
            _evaluate_block, jobs, inputs, manifest=manifest, engine=engine, on_block=on_block
        )


def write_geotiff(store: StoredPivot, day: float, variables: Sequence[str], path: Path) -> None:
    """One day as a cloud-optimised GeoTIFF: a band for each variable, its sd and its validity.

    Raises:
        SceneError: a variable that the pivot does not hold.
        OutputError: the file cannot be written.
    """
    names = store.held(variables)
    bands = [f"{name}{part}" for name in names for part in ("", "_sd", "_validity")]
    with open_cog(
        path,
        store.grid,
        nodata=float("nan"),
        overviews="average",
        bands=len(bands),
        dtype="float32",
    ) as raster:
        moment = times_of([day])[0].astype("datetime64[s]").item()
        raster.update_tags(TIFFTAG_DATETIME=f"{moment:%Y:%m:%d %H:%M:%S}")  # as of TIFF 6
        for index, name in enumerate(bands, start=1):
            raster.set_band_description(index, name)
        for rows, columns in tiles_of(store.grid, store.block):
            estimate = store.posterior((rows, columns), names).at([day])
            fields = _fields(estimate)
            image = np.concatenate([fields[name] for name in bands])
            window = rasterio.windows.Window.from_slices(rows, columns)
            raster.write(image, window=window)


def _evaluate_block(job: _Job) -> dict[str, Any]:
    rows, columns, made = job.block
    store = open_store(job.store)
    terrain = store.terrain((rows, columns))
    if terrain:
        layers = {name: (("y", "x"), values) for name, values in terrain.items()}
        write_region(job.cube, "", layers, {"y": rows, "x": columns})
    for variable in job.variables:  # knots of all of them at once would fill the memory
        posterior = store.posterior((rows, columns), (variable,))
        for first in range(0, len(job.days), _DAYS):
            days = slice(first, min(first + _DAYS, len(job.days)))
            fields = _fields(posterior.at(job.days[days]))
            filled = {name: (("time", "y", "x"), values) for name, values in fields.items()}
            write_region(job.cube, "", filled, {"time": days, "y": rows, "x": columns})
    write_json(made, {"days": len(job.days)})
    return {"days": len(job.days)}


def _lay_out(cube: Path, store: StoredPivot, days: Sequence[float], names: Sequence[str]) -> None:
    chunks = (min(_DAYS, len(days)), store.block, store.block)
    layouts = {
        f"{name}{part}": Layout(
            ("time", "y", "x"),
            "int32" if part == "_source" else "float32",
            chunks,
            _attributes(f"{name}{part}"),
        )
        for name in names
        for part in _PARTS
    }
    if store.terrain((slice(0, 1), slice(0, 1))):
        layouts |= terrain_layouts(store.block)
    about = {
        "Conventions": "CF-1.11",
        "title": "Common variables of several sensors",
        "sources": [one.id for one in store.sources],
    }
    lay_out(cube, "", coordinates(store.grid, days), layouts, about)


def _fields(estimate: Estimate) -> dict[str, NDArray[Any]]:
    """Arrays (D, H, W) by name."""
    return {
        f"{name}{part}": getattr(estimate, field)[:, v].numpy()
        for v, name in enumerate(estimate.variables)
        for part, field in _FIELDS.items()
    }


def _attributes(name: str) -> dict[str, Any]:
    variable, _, part = name.partition("_")
    known = find_variable(variable)
    part = f"_{part}" if part else ""
    standard = _NAMES[known.kind]
    unit = {"_validity": "1", "_age": "days", "_source": "1"}.get(part, known.unit)
    found: dict[str, Any] = {"long_name": f"{variable}: {_PARTS[part]}", "units": unit}
    if standard is not None and part in {"", "_sd"}:
        found["standard_name"] = standard if part == "" else f"{standard} standard_error"
    if part == "":
        found["ancillary_variables"] = " ".join(f"{variable}{p}" for p in _PARTS if p)
        if known.band.centre_um is not None:
            found["radiation_wavelength_um"] = known.band.centre_um
    return found


def _is_of(laid: Path, inputs: str) -> bool:
    """Whether the cube that is laid out is of these inputs."""
    return laid.is_file() and laid.read_text(encoding="utf-8").strip() == f'"{inputs}"'


def _written(day: float) -> str:
    return str(times_of([day])[0].astype("datetime64[m]"))
