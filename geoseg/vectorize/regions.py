"""The 4-connected regions of a class raster, and the corners of their borders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from geoseg.vectorize.runs import connected

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from geoseg.vectorize.runs import Strip

__all__ = ["NE", "NW", "SE", "SW", "Borders", "Regions", "find_regions"]

NW, NE, SW, SE = range(4)  # rows of `Borders.around`


@dataclass(frozen=True, slots=True, kw_only=True)
class Borders:
    """Corners of pixels at which a border turns, or at which borders meet, in reading order.

    Between two of them a border is straight.
    """

    row: NDArray[np.int32]  # (V,) 0 is the upper edge of the raster
    column: NDArray[np.int32]  # (V,) 0 is the left edge
    around: NDArray[np.int32]  # (4, V) numbers of the regions to the NW, NE, SW and SE

    def renumbered(self, number: NDArray[np.int32]) -> Borders:
        """With other numbers of regions, without the corners at which nothing turns any more."""
        around = number[self.around]
        turns = ~_straight(around)
        return Borders(row=self.row[turns], column=self.column[turns], around=around[:, turns])


@dataclass(frozen=True, slots=True, kw_only=True)
class Regions:
    """All regions of a raster: of every class, of the ground and of pixels without data.

    They are numbered in the order of their first pixels.
    """

    classes: NDArray[np.uint8]  # (R,)
    size_px: NDArray[np.int64]  # (R,) but for those without data, which are not counted
    of_label: NDArray[np.int32]  # (L,) the region that a label of a strip is part of
    borders: Borders


def find_regions(strips: Iterable[Strip]) -> Regions:
    """The regions of a raster from its strips, each of which is looked at once.

    Memory grows with the corners of borders and not with pixels.
    """
    parts = [_part_of(strip) for strip in strips]
    classes, sizes, above, below, row, column, around = (
        np.concatenate(arrays) for arrays in zip(*parts, strict=True)
    )
    count, of_label = connected(above, below, len(classes))
    class_of = np.empty(count, dtype=np.uint8)
    class_of[of_label] = classes
    return Regions(
        classes=class_of,
        size_px=np.bincount(of_label, sizes, count).astype(np.int64),
        of_label=of_label,
        borders=Borders(row=row, column=column, around=of_label[around.T]),
    )


class _Part(NamedTuple):
    """What is kept of a strip."""

    classes: NDArray[np.uint8]  # (L,) of each label
    size_px: NDArray[np.int64]  # (L,) in this strip
    above: NDArray[np.int32]  # (S,) labels that the strip above and
    below: NDArray[np.int32]  # (S,) this one have given to one run
    row: NDArray[np.int32]  # (V,) of each turn
    column: NDArray[np.int32]  # (V,)
    around: NDArray[np.int32]  # (V, 4) labels


def _part_of(strip: Strip) -> _Part:
    own = strip.labels - strip.first_label
    classes = np.empty(strip.label_count, dtype=np.uint8)
    classes[own] = strip.classes
    seam = strip.seam
    size_px = np.bincount(own[seam:], strip.lengths_px[seam:], strip.label_count)
    turns = _turns(strip)
    above, column = np.divmod(strip.corners.position[turns] - 1, strip.stride)
    return _Part(
        classes=classes,
        size_px=size_px.astype(np.int64),
        above=strip.seam_labels,
        below=strip.labels[: len(strip.seam_labels)],
        row=(above + strip.top - 1).astype(np.int32),
        column=column.astype(np.int32),
        around=np.stack([strip.labels[run[turns]] for run in _quadrants(strip)], axis=1),
    )


def _turns(strip: Strip) -> NDArray[np.intp]:
    """The corners of a strip at which its border does not go straight on."""
    nw, ne, sw, se = (strip.classes[run] for run in _quadrants(strip))
    # A run begins at each of these corners, so that the only straight border there is an upright
    # one.
    return np.flatnonzero((nw != sw) | (ne != se))


def _quadrants(strip: Strip) -> tuple[NDArray[np.int64], ...]:
    corners = strip.corners
    return corners.north_west, corners.north_east, corners.south_west, corners.south_east


def _straight(around: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Whether a border goes straight on at a corner, or there is none."""
    nw, ne, sw, se = around
    straight: NDArray[np.bool_] = ((nw == ne) & (sw == se)) | ((nw == sw) & (ne == se))
    return straight
