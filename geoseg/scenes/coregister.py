"""Where one image lies relative to another, from what stands still in both.

**Convention:** a shift is where the other image, or survey, lies relative to the reference: what
is at (x, y) in the reference is at (x + x_m, y + y_m) in the other, x to the east, y to the north,
in metres of the projection. To correct the other, subtract. A cairn at (1000, 2000) in the
reference and at (1012, 1995) in the other: x_m = 12, y_m = -5. In pixels, (dy, dx) count rows
downward and columns to the right: with pixels of 1 m that cairn has dy = 5, dx = 12.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter

from geoseg.errors import GridError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = [
    "PATCH_PX",
    "Pair",
    "PixelShift",
    "Shift",
    "measure_shift",
    "median_of",
    "shift_of_pairs",
    "spread",
]

PATCH_PX = 256  # side within which the whole shift is looked for
_REACH_PX = 64  # largest shift, to each side, of a patch
_TILE_PX = 64  # side on which the shift is then measured
_TILE_REACH_PX = 16  # largest shift of a tile from that of the patch
_SMOOTH_PX = 0.7  # of gradients: film has grain, and a wider one drags the shift to whole pixels
_FILL_PX = 1.0  # how far gaps are filled from what lies around them
_LEAST_SHARE = 1e-3
_NEAR_PX = 3  # of a peak: what belongs to it, and which tiles agree with it
# Height of a peak over the next one elsewhere. Of 27 pairs of unrelated images none reached 1.5 and
# of 9 of one place, by film and Sentinel-2, all exceeded 6.
_CLEAR = 1.6
_CLEAR_TILE = 1.3  # a tile that is wrong does no harm to a median
_STABLE_SHARE = 0.4  # of a tile
_FINE_STEP_PX = 0.1
_FEWEST = 5  # below it a median and its error say little
_TO_SD = 1.4826  # of the median absolute deviation, for a normal distribution
_MEDIAN_LOSS = 1.2533  # error of a median over that of a mean, likewise
# What all tiles have in common, from the sampling and another sun: 0.02 to 0.04 px RMS over 102
# known shifts of simulated film, Landsat and Sentinel-2.
_COMMON_PX = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """Where an image or survey lies relative to a reference, in metres; see the module."""

    x_m: float  # to the east
    y_m: float  # to the north
    unc_m: float  # standard deviation of each of the two
    samples: int  # tiles, or outlines, that it is the median of

    @property
    def length_m(self) -> float:
        """How far."""
        return float(np.hypot(self.x_m, self.y_m))


class PixelShift(NamedTuple):
    """Where an image lies relative to a reference, in pixels; see the module."""

    dy: float  # rows, downward
    dx: float  # columns, to the right
    unc: float  # standard deviation of each of the two
    tiles: int


class Pair(NamedTuple):
    """Two images (H, W) of one grid, and what of each is to be compared."""

    reference: NDArray[np.float32]
    stable: NDArray[np.bool_]  # where the reference is measured, and the ground stands still
    other: NDArray[np.float32]
    valid: NDArray[np.bool_]  # where the other is measured


def measure_shift(
    reference: NDArray[np.float32],
    other: NDArray[np.float32],
    *,
    stable: NDArray[np.bool_],
    valid: NDArray[np.bool_],
) -> PixelShift | None:
    """The shift between two images of one grid; None where it could not be measured.

    Only directions of gradients are compared (orientation correlation; Fitch and others 2002,
    BMVC, doi:10.5244/C.16.11), so brightness and contrast, and with them the sensor, may differ.
    A shift is found up to 64 px to each side, or a quarter of a smaller image; it is the median
    over tiles of 64 px, and smaller images have none.

    Args:
        reference: (H, W).
        other: (H, W).
        stable: (H, W), True where the reference is measured and nothing moves, grows or melts.
        valid: (H, W), True where the other is measured.

    Raises:
        GridError: the four have different shapes.
    """
    shapes = [a.shape for a in (reference, other, stable, valid)]
    if len(set(shapes)) > 1:
        raise GridError(
            f"The images have shapes {shapes[0]} and {shapes[1]}, their masks {shapes[2]} and "
            f"{shapes[3]}; bring them onto one grid first."
        )
    height, width = stable.shape
    boxes = [
        (slice(y, y + PATCH_PX), slice(x, x + PATCH_PX))
        for y in spread(height, PATCH_PX, -(-height // PATCH_PX))
        for x in spread(width, PATCH_PX, -(-width // PATCH_PX))
    ]
    return shift_of_pairs([Pair(reference[b], stable[b], other[b], valid[b]) for b in boxes])


def shift_of_pairs(pairs: Sequence[Pair]) -> PixelShift | None:
    """The shift that pairs of images, all of one shape, have in common; None if there is none."""
    fields = [(_orientation(p.reference, p.stable), _orientation(p.other, p.valid)) for p in pairs]
    # Spectra add up: a shift that no pair shows clearly, all of them together may.
    whole = _clear_peak(
        np.sum([_cross_spectrum(_tapered(one), other) for one, other in fields], axis=0),
        reach_px=_REACH_PX,
        clear=_CLEAR,
    )
    if whole is None:
        return None
    measured = np.array([s for one, other in fields for s in _tile_shifts(one, other, whole)])
    agreeing = measured[(np.abs(measured.reshape(-1, 2) - whole) < _NEAR_PX).all(axis=1)]
    # A part that is shifted otherwise, or a frame that is not: there is no one shift then.
    if len(agreeing) < max(_FEWEST, len(measured) / 2):
        return None
    median, unc = median_of(agreeing)
    unc = float(np.hypot(unc, _COMMON_PX))
    return PixelShift(float(median[0]), float(median[1]), unc, len(agreeing))


def median_of(shifts: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Median (2,) of shifts (N, 2), and its standard error on the less certain axis."""
    median = np.median(shifts, axis=0)
    deviation = _TO_SD * np.median(np.abs(shifts - median), axis=0)
    return median, float(_MEDIAN_LOSS * deviation.max() / np.sqrt(len(shifts)))


def spread(length: int, size: int, count: int) -> list[int]:
    """Where `count` pieces of `size` begin, evenly from end to end of `length`; at least one."""
    last = max(length - size, 0)
    return [int(n) for n in np.unique(np.linspace(0, last, max(count, 1)).round())]


def _orientation(image: NDArray[np.float32], used: NDArray[np.bool_]) -> NDArray[np.complex128]:
    """Direction of the gradient (H, W) as a complex number of length 1; 0 where not used."""
    if not used.any():
        return np.zeros(image.shape, dtype=np.complex128)
    # Gaps are filled with what lies around them: their edges, which stay where they are in both
    # images, must have no gradient of their own.
    share = gaussian_filter(used.astype(np.float64), _FILL_PX)
    around = gaussian_filter(np.where(used, image, 0.0), _FILL_PX)
    filled = np.where(used, image, around / np.maximum(share, _LEAST_SHARE))
    down = gaussian_filter(filled, _SMOOTH_PX, order=(1, 0))
    right = gaussian_filter(filled, _SMOOTH_PX, order=(0, 1))
    gradient = right + 1j * down
    length = np.abs(gradient)
    sloped = used & (length > 1e-9 * np.abs(filled).max())
    return np.where(sloped, gradient / np.where(sloped, length, 1), 0)


def _tile_shifts(
    one: NDArray[np.complex128], other: NDArray[np.complex128], whole: tuple[int, int]
) -> Iterator[tuple[float, float]]:
    """Shifts (dy, dx) of the tiles of a patch that have a clear peak near its whole shift.

    Only the reference is cut to a tile, tapered and masked. The other is a window of twice its
    size: were both cut alike, the cut itself would pull the shift towards whole pixels.
    """
    margin = _TILE_PX // 2
    dy, dx = whole
    down, across = abs(dy) + margin, abs(dx) + margin
    around = np.pad(other, ((down, down), (across, across)))
    for y, x in _tile_corners(one.shape):
        tile = one[y : y + _TILE_PX, x : x + _TILE_PX]
        top, left = y + dy + down, x + dx + across
        seen = around[top : top + _TILE_PX, left : left + _TILE_PX]
        if min(np.count_nonzero(tile), np.count_nonzero(seen)) < _STABLE_SHARE * tile.size:
            continue
        window = around[
            top - margin : top + _TILE_PX + margin, left - margin : left + _TILE_PX + margin
        ]
        cross = _cross_spectrum(np.pad(_tapered(tile), margin), window)
        peak = _clear_peak(cross, reach_px=_TILE_REACH_PX, clear=_CLEAR_TILE)
        if peak is not None:
            fine = _fine_peak(cross, peak)
            yield dy + fine[0], dx + fine[1]


def _tile_corners(shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """First row and column of tiles that overlap by half; none in a smaller patch."""
    if min(shape) < _TILE_PX:
        return []
    rows, columns = (spread(n, _TILE_PX, 2 * n // _TILE_PX - 1) for n in shape)
    return [(y, x) for y in rows for x in columns]


def _tapered(field: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """A field (H, W) without its mean direction, that of one slope, fading to 0 at its edges."""
    weight = np.outer(*(np.hanning(n + 2)[1:-1] for n in field.shape)) * (field != 0)
    total = weight.sum()
    mean = (field * weight).sum() / total if total > 0 else 0
    return np.asarray((field - mean) * weight)


def _cross_spectrum(
    one: NDArray[np.complex128], other: NDArray[np.complex128]
) -> NDArray[np.complex128]:
    """Spectrum (H, W) of the correlation of two fields."""
    return np.asarray(np.conj(np.fft.fft2(one)) * np.fft.fft2(other))


def _clear_peak(
    cross: NDArray[np.complex128], *, reach_px: int, clear: float
) -> tuple[int, int] | None:
    """The shift (dy, dx) of highest correlation within reach, if no other comes near it."""
    surface = np.fft.fftshift(np.fft.ifft2(cross).real)
    reach = [min(reach_px, n // 4) for n in surface.shape]
    rows, columns = (
        slice(n // 2 - r, n // 2 + r + 1) for n, r in zip(surface.shape, reach, strict=True)
    )
    within = surface[rows, columns]
    row, column = (int(n) for n in np.unravel_index(within.argmax(), within.shape))
    peak = float(within[row, column])
    within[
        max(row - _NEAR_PX, 0) : row + _NEAR_PX + 1,
        max(column - _NEAR_PX, 0) : column + _NEAR_PX + 1,
    ] = 0
    if not peak > clear * max(float(within.max()), 0.0):
        return None
    return row - reach[0], column - reach[1]


def _fine_peak(cross: NDArray[np.complex128], peak: tuple[int, int]) -> tuple[float, float]:
    """The peak (dy, dx) to a small part of a pixel.

    The correlation is computed from its spectrum at steps of a tenth of a pixel around the whole
    one (Guizar-Sicairos and others 2008, Optics Letters, doi:10.1364/OL.33.000156), and a parabola
    laid through the highest of these.
    """
    reach = round(1.2 / _FINE_STEP_PX)
    steps = np.arange(-reach, reach + 1) * _FINE_STEP_PX
    rows, columns = (
        np.exp(2j * np.pi * np.outer(whole + steps, np.fft.fftfreq(n)))
        for whole, n in zip(peak, cross.shape, strict=True)
    )
    surface = (rows @ cross @ columns.T).real
    row, column = np.unravel_index(surface.argmax(), surface.shape)
    return (
        peak[0] + _FINE_STEP_PX * (_summit(surface[:, column], int(row)) - reach),
        peak[1] + _FINE_STEP_PX * (_summit(surface[row], int(column)) - reach),
    )


def _summit(line: NDArray[np.float64], highest: int) -> float:
    """Where the parabola through the highest value and those beside it is highest."""
    if not 0 < highest < len(line) - 1:
        return float(highest)
    before, at, after = line[highest - 1 : highest + 2]
    bend = before - 2 * at + after
    return highest + (0.5 * float((before - after) / bend) if bend < 0 else 0.0)
