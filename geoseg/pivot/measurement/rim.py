"""Blocks are solved with a rim around them, from which their neighbours tell."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from geoseg.errors import GridError, SceneError
from geoseg.grids import crs_of, same_crs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from odc.geo.geobox import GeoBox

    from geoseg.pivot.measurement.acquisition import Acquisition

__all__ = ["inside", "middle_of", "padded", "require_overlap"]

_SAMPLE = 44  # cells to a side


def padded(grid: GeoBox, rim_m: float) -> GeoBox:
    """The grid with some metres around it."""
    cells = int(np.ceil(rim_m / abs(grid.affine.a)))
    return grid.pad(cells, cells)


def inside(ground: GeoBox, grid: GeoBox) -> tuple[slice, slice]:
    """Rows and columns of a padded grid that the grid has."""
    down = (int(ground.shape.y) - int(grid.shape.y)) // 2
    across = (int(ground.shape.x) - int(grid.shape.x)) // 2
    return (
        slice(down, down + int(grid.shape.y)),
        slice(across, across + int(grid.shape.x)),
    )


def middle_of(ground: GeoBox) -> GeoBox:
    """A sample of it, in which the spread of the ground is learned."""
    height, width = (int(n) for n in ground.shape)
    down, across = max(0, (height - _SAMPLE) // 2), max(0, (width - _SAMPLE) // 2)
    return ground[down : down + _SAMPLE, across : across + _SAMPLE]


def require_overlap(acquisitions: Sequence[Acquisition], grid: GeoBox) -> None:
    """Refuse acquisitions that do not reach a grid.

    Raises:
        SceneError: there is none.
        GridError: cells that are not square or not north up, or an acquisition of another reference
            system or beside the grid.
    """
    if not acquisitions:
        raise SceneError("The pivot needs an acquisition; give one or more.")
    across, down = grid.affine.a, -grid.affine.e
    if not (across > 0 and math.isclose(across, down, rel_tol=1e-6)):
        raise GridError(
            f"Cells of the pivot go {across:g} m east and {down:g} m south; give a grid of square "
            "cells, north up."
        )
    area = grid.extent
    for one in acquisitions:
        for reading in one.readings:
            same = same_crs(crs_of(reading.pixels), crs_of(grid))
            if same and reading.pixels.extent.intersects(area):
                break
            if not same:
                raise GridError(
                    f"Acquisition {one.id!r} is in {crs_of(reading.pixels).name} and the pivot in "
                    f"{crs_of(grid).name}; warp it to that, at its own pixel size."
                )
        else:
            raise GridError(
                f"Acquisition {one.id!r} does not overlap the pivot; leave it out or give another "
                "grid."
            )
