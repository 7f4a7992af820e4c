"""A year of the pivot over a piece of ground, with what is known to cover it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from scipy.ndimage import label as connected

from geoseg.errors import GridError, LabelError, SceneError
from geoseg.grids import describe_grid, same_grid
from geoseg.labels import IGNORE
from geoseg.models import read_tensors, write_tensors
from geoseg.pivot.measurement.variables import load_variables
from geoseg.pivot.storage.arrays import UNREADABLE, grid_of, require_plain

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from geoseg.pivot.physical.posterior import Estimate

__all__ = [
    "LabelledGround",
    "ground_of_cube",
    "open_cube",
    "parcels_of",
    "read_ground",
    "write_ground",
]

_EPOCH = np.datetime64("1970-01-01", "ns")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledGround:
    """Variables V of the pivot on days D over cells (H, W), and their classes.

    Raises:
        LabelError: classes that are not of the cells.
    """

    grid: GeoBox
    days: tuple[float, ...]  # since 1970
    variables: tuple[str, ...]
    mean: Tensor  # (D, V, H, W), reflectance or dB
    sd: Tensor  # (D, V, H, W)
    validity: Tensor  # (D, V, H, W), 0 where nothing measured it, to 1
    land_cover: NDArray[np.uint8]  # (H, W) index of a class, 255 where it is not known

    def __post_init__(self) -> None:
        if self.land_cover.shape != tuple(self.mean.shape[2:]):
            raise LabelError(
                f"Classes of {self.land_cover.shape} on a pivot of {tuple(self.mean.shape[2:])} "
                "cells; bring them onto its grid."
            )

    @property
    def known(self) -> NDArray[np.bool_]:
        """Cells (H, W) that the pivot tells of on all days."""
        finite = [torch.isfinite(one).all(dim=0).all(dim=0) for one in (self.mean, self.sd)]
        return np.asarray((finite[0] & finite[1]).numpy())

    @classmethod
    def of(cls, told: Estimate, grid: GeoBox, land_cover: NDArray[np.uint8]) -> LabelledGround:
        """From what the pivot tells of some days."""
        return cls(
            grid=grid,
            days=told.days,
            variables=told.variables,
            mean=told.mean,
            sd=told.sd,
            validity=told.validity,
            land_cover=land_cover,
        )


def open_cube(path: Path) -> xr.Dataset:
    """A cube of `geoseg pivot query`; nothing is read yet.

    Raises:
        SceneError: it is none.
    """
    try:
        require_plain(path)
        cube: xr.Dataset = xr.open_zarr(path, consolidated=False)
    except UNREADABLE as error:
        raise SceneError(
            f"{path} is no cube that can be read ({type(error).__name__}); give the cube.zarr of "
            "`geoseg pivot query`."
        ) from error
    return cube


def ground_of_cube(cube: xr.Dataset, land_cover: NDArray[np.uint8], grid: GeoBox) -> LabelledGround:
    """From a cube as `geoseg.pivot.storage` writes it, all of which is read.

    Args:
        cube: with `NAME`, `NAME_sd` and `NAME_validity` of each variable.
        land_cover: (H, W) index of a class, 255 where it is not known.
        grid: of the land cover.

    Raises:
        SceneError: no variable has a standard deviation and a validity.
        GridError: the land cover lies on other cells.
    """
    names = tuple(
        str(name)
        for name in load_variables()  # a store lists its arrays in any order
        if name in cube.data_vars
        and f"{name}_sd" in cube.data_vars
        and f"{name}_validity" in cube.data_vars
    )
    if not names:
        raise SceneError(
            "The cube has no variable with its standard deviation and validity; give the cube.zarr "
            "of `geoseg pivot query`."
        )
    own = grid_of(cube)
    if not same_grid(own, grid):
        raise GridError(
            "The cube and its land cover are not on the same cells.\n"
            f"  cube:       {describe_grid(own)}\n"
            f"  land cover: {describe_grid(grid)}\n"
            "Warp the land cover onto the cube with `gdalwarp -r mode`."
        )
    mean, sd, validity = (
        torch.from_numpy(
            np.stack([cube[name + ends].to_numpy() for name in names], axis=1).astype(np.float32)
        )
        for ends in ("", "_sd", "_validity")
    )
    days = (cube["time"].to_numpy() - _EPOCH) / np.timedelta64(1, "D")
    return LabelledGround(
        grid=own,
        days=tuple(float(day) for day in days),
        variables=names,
        mean=mean,
        sd=sd,
        validity=validity,
        land_cover=land_cover,
    )


def parcels_of(land_cover: NDArray[np.uint8]) -> NDArray[np.intp]:
    """The number of the parcel of each cell (H, W): cells of one class that touch by their sides.

    Neighbours look alike and err alike: what teaches and what tests must not share a parcel. A
    cell of an unknown class is in parcel -1.
    """
    parcels = np.full(land_cover.shape, -1, dtype=np.intp)
    count = 0
    for one in np.setdiff1d(land_cover, [IGNORE]):
        found, more = connected(land_cover == one)
        parcels[found > 0] = found[found > 0] - 1 + count
        count += more
    return parcels


def write_ground(path: Path, ground: LabelledGround) -> None:
    """Write it as one safetensors file."""
    tensors = {
        "mean": ground.mean,
        "sd": ground.sd,
        "validity": ground.validity,
        "land_cover": torch.from_numpy(ground.land_cover),
    }
    header = {
        "days": ground.days,
        "variables": ground.variables,
        "crs": str(ground.grid.crs),
        "affine": tuple(ground.grid.affine)[:6],
    }
    write_tensors(path, tensors, header)


def read_ground(path: Path) -> LabelledGround:
    """Read back what `write_ground` wrote.

    Raises:
        ModelError: no such file, or none of geoseg's.
    """
    tensors, header = read_tensors(path)
    land_cover = tensors["land_cover"].numpy()
    return LabelledGround(
        grid=GeoBox(land_cover.shape, Affine(*header["affine"]), header["crs"]),
        days=tuple(header["days"]),
        variables=tuple(header["variables"]),
        mean=tensors["mean"],
        sd=tensors["sd"],
        validity=tensors["validity"],
        land_cover=land_cover,
    )
