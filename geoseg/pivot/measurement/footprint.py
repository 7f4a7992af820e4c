"""Where the pixels of an acquisition look on the pivot, and how much of each cell they take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from geoseg.errors import GridError
from geoseg.grids import crs_of, require_metres, same_crs
from geoseg.pivot.measurement.optics import Axis, gaussian_width, sampling

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox
    from torch import Tensor

__all__ = ["Footprint"]


class Footprint:
    """Point spread and pixels of bands with one transfer: a matrix along each axis.

    Dense ones: on the blocks that the pivot is made in they are small, and quick on any device.

    Raises:
        GridError: reference systems that differ or are not in metres, or rotated grids.
        SensorError: pixels finer than three quarters of a cell.
    """

    def __init__(self, ground: GeoBox, pixels: GeoBox, mtf: float) -> None:
        _require_alike(ground, pixels)
        axes = list(zip(_axes(ground), _axes(pixels), strict=True))
        self.step_m, self.pixel_m = abs(axes[0][0].step), abs(axes[0][1].step)
        self.width_m = gaussian_width(self.pixel_m, mtf, self.step_m)
        widths = [gaussian_width(abs(read.step), mtf, abs(cells.step)) for cells, read in axes]
        self._rows, self._columns = (
            torch.from_numpy(sampling(cells, read, width))
            for (cells, read), width in zip(axes, widths, strict=True)
        )
        self.covered = (self._rows.sum(1) > 0)[:, None] & (self._columns.sum(1) > 0)

    @property
    def matrices(self) -> tuple[Tensor, Tensor]:
        """What pixels take of cells, along rows (h, H) and along columns (w, W)."""
        return self._rows, self._columns

    def forward(self, fine: Tensor) -> Tensor:
        """Pixels (h, w) of cells (H, W)."""
        return self._rows.to(fine) @ fine @ self._columns.to(fine).T

    def adjoint(self, coarse: Tensor) -> Tensor:
        """Cells (H, W) of pixels (h, w)."""
        return self._rows.to(coarse).T @ coarse @ self._columns.to(coarse)

    def spread(self, variance: Tensor) -> Tensor:
        """Variance (h, w) of pixels whose cells are off by (H, W), each for itself."""
        return self._rows.to(variance) ** 2 @ variance @ (self._columns.to(variance) ** 2).T

    def variance(self, detail: Tensor, region: Tensor) -> Tensor:
        """Variance (h, w) of pixels, of detail and of what cells of a region share (H, W)."""
        return self.spread(detail) + self.forward(region)


def _axes(grid: GeoBox) -> tuple[Axis, Axis]:
    """Rows and columns of a grid."""
    a = grid.affine
    return Axis(a.f, a.e, int(grid.shape.y)), Axis(a.c, a.a, int(grid.shape.x))


def _require_alike(ground: GeoBox, pixels: GeoBox) -> None:
    for grid in (ground, pixels):
        require_metres(crs_of(grid), "Measurements of the pivot")
        if grid.affine.b or grid.affine.d:
            raise GridError("A grid is rotated; warp it north up first.")
    if not same_crs(crs_of(ground), crs_of(pixels)):
        raise GridError(
            f"The acquisition is in {crs_of(pixels).name} and the pivot in {crs_of(ground).name}; "
            "warp the acquisition to the reference system of the pivot, at its own pixel size."
        )
