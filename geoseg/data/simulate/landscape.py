"""A mountain range with glaciers on both of its sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from odc.geo.geobox import GeoBox
from rasterio import Affine
from scipy.ndimage import gaussian_filter, zoom
from scipy.spatial import cKDTree

from geoseg.data.simulate.noise import fractal
from geoseg.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FINE_M", "Glacier", "Landscape", "Slump", "make_landscape"]

FINE_M = 5.0  # pixel of the truth; every sensor's pixel is a whole number of it
_TILE_M = 60.0  # the size of a landscape is a multiple of it
_CORNER = (455_000.0, 3_985_000.0)  # in the Karakoram
_CRS = "EPSG:32643"
_VALLEY_STEP_M = 20.0  # pixel on which distances to valleys are computed
_CREST_M, _FOOT_M = 6000.0, 4300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Glacier:
    """What is fixed of one glacier. Positions along it run from 0 at the head to 1 at the foot."""

    half_width_m: float
    end_1965: float
    retreat_per_year: float
    debris_from: float  # position from which its tongue was covered in 1965; above 1: never
    lake: bool  # whether a lake fills what its tongue leaves


@dataclass(frozen=True, slots=True, kw_only=True)
class Slump:
    """One thaw slump: a bite into a gentle slope."""

    row: int
    column: int
    born: int  # year
    growth_m: float  # of its radius a year


@dataclass(frozen=True, kw_only=True)
class Landscape:
    """The ground before any year is drawn; arrays (H, W) on the fine grid."""

    grid: GeoBox
    seed: int
    elevation_m: NDArray[np.float32]
    slope: NDArray[np.float32]  # tangent
    valley: NDArray[np.int16]  # number of the nearest valley
    along: NDArray[np.float32]  # position along it, 0 to 1
    across_m: NDArray[np.float32]  # distance from its middle
    texture: NDArray[np.float32]  # standard normal, rough
    patches: NDArray[np.float32]  # standard normal, smooth
    ponds: NDArray[np.float32]  # standard normal, of the size of ponds
    glaciers: tuple[Glacier, ...]
    slumps: tuple[Slump, ...]


def make_landscape(*, seed: int, size_m: float = 9600.0) -> Landscape:
    """The landscape of a seed: the same arrays for the same seed and size.

    Args:
        seed: another seed, another landscape.
        size_m: side of the square, rounded to 60 m; at least 2400 m.

    Raises:
        ConfigError: too small to hold a glacier on either side.
    """
    side = round(size_m / _TILE_M) * round(_TILE_M / FINE_M)
    if side * FINE_M < 2400:
        raise ConfigError(f"A landscape of {size_m:g} m holds no glacier; give at least 2400 m.")
    rng = np.random.default_rng(seed)
    glaciers = tuple(_glacier(number, size_m, rng) for number in range(8))
    valley, along, across_m = _valleys(side, len(glaciers), rng)
    relief = np.abs(fractal(side, rng, roughness=3.7, longest=0.25))
    crest = 1 - np.abs(np.linspace(-1, 1, side, dtype=np.float32))[:, None]
    width_m = np.array([g.half_width_m for g in glaciers], dtype=np.float32)[valley]
    trough = np.exp(-((across_m / (1.7 * width_m)) ** 2))
    height = _FOOT_M + (_CREST_M - _FOOT_M) * crest**1.3 + 380 * (1 - trough) + 110 * relief
    # A valley floor, ice or gravel, is smooth.
    floor = trough**2
    height = (1 - floor) * gaussian_filter(height, 2) + floor * gaussian_filter(height, 16)
    elevation_m = height.astype(np.float32)
    slope = np.hypot(*np.gradient(elevation_m, FINE_M)).astype(np.float32)
    return Landscape(
        grid=GeoBox((side, side), Affine(FINE_M, 0, _CORNER[0], 0, -FINE_M, _CORNER[1]), _CRS),
        seed=seed,
        elevation_m=elevation_m,
        slope=slope,
        valley=valley,
        along=along,
        across_m=across_m,
        texture=fractal(side, rng, roughness=1.6),
        patches=fractal(side, rng, roughness=3.0, longest=0.1),
        ponds=fractal(side, rng, roughness=2.4, longest=0.025),
        glaciers=glaciers,
        slumps=_slumps(side, rng),
    )


def _glacier(number: int, size_m: float, rng: np.random.Generator) -> Glacier:
    """Even numbers flow north, odd ones south; two of four on each side carry debris or a lake."""
    place = number // 2
    return Glacier(
        half_width_m=float(size_m * rng.uniform(0.028, 0.042)),
        end_1965=float(rng.uniform(0.74, 0.92)),
        retreat_per_year=float(rng.uniform(0.0012, 0.0032)),
        debris_from=float(rng.uniform(0.5, 0.62)) if (place + number) % 2 else 2.0,
        lake=(place + number) % 2 == 0 or number in {1, 6},
    )


def _valleys(
    side: int, count: int, rng: np.random.Generator
) -> tuple[NDArray[np.int16], NDArray[np.float32], NDArray[np.float32]]:
    """Nearest valley, position along it, and distance in metres, of every fine pixel."""
    shrink = round(_VALLEY_STEP_M / FINE_M)
    coarse = side // shrink
    per_side = count // 2
    along = np.linspace(0, 1, 200)
    lines = []
    for number in range(count):
        place = (number // 2 + rng.uniform(0.3, 0.7)) / per_side
        bends = rng.uniform(0.03, 0.06) * np.sin(rng.uniform(4, 7) * along + rng.uniform(0, 6))
        column = place + bends * along
        reach = 0.03 + 0.47 * along
        row = 0.5 - reach if number % 2 == 0 else 0.5 + reach
        lines.append(np.column_stack([row, column]) * coarse)
    row, column = np.mgrid[:coarse, :coarse] + 0.5
    distance, nearest = cKDTree(np.concatenate(lines)).query(
        np.column_stack([row.ravel(), column.ravel()])
    )
    number = (nearest // len(along)).reshape(coarse, coarse)
    position = along[nearest % len(along)].reshape(coarse, coarse)
    return (
        np.kron(number, np.ones((shrink, shrink))).astype(np.int16),
        zoom(position, shrink, order=1).astype(np.float32),
        (zoom(distance.reshape(coarse, coarse), shrink, order=1) * _VALLEY_STEP_M).astype(
            np.float32
        ),
    )


def _slumps(side: int, rng: np.random.Generator) -> tuple[Slump, ...]:
    """Ten slumps near the foot of the range, in turn in the west and in the east."""
    slumps = []
    for number in range(10):
        low, high = (0.05, 0.58) if number % 2 else (0.66, 0.95)
        edge = rng.uniform(0.03, 0.1)
        row = edge if number % 4 < 2 else 1 - edge
        slumps.append(
            Slump(
                row=int(row * side),
                column=int(rng.uniform(low, high) * side),
                born=int(rng.integers(1982, 2012)),
                growth_m=float(rng.uniform(1.8, 4.5)),
            )
        )
    return tuple(slumps)
