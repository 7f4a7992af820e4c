"""A year of the pivot over a piece of ground, with what is known to cover it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from affine import Affine
from odc.geo.geobox import GeoBox
from scipy.ndimage import label as connected

from geoseg.errors import LabelError
from geoseg.labels import IGNORE
from geoseg.models import read_tensors, write_tensors

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from geoseg.pivot.posterior import Estimate

__all__ = ["LabelledGround", "parcels_of", "read_ground", "write_ground"]


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
