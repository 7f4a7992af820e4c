"""Runs of equal class in the rows of a raster, and the regions that they make up."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from geoseg.labels import IGNORE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

__all__ = ["Corners", "Strip", "connected", "label_strips"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Corners:
    """Corners of pixels below which, or above which, a run begins: a border is no other place.

    What lies about a corner is given as the number of a run of the strip.
    """

    position: NDArray[np.int64]  # (P,) of the pixel to the south-east
    north_west: NDArray[np.int64]  # (P,)
    north_east: NDArray[np.int64]
    south_west: NDArray[np.int64]
    south_east: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """Runs of equal class of some whole rows and of the row above them, each with a label.

    **Convention:** pixels lie one after another, row by row, and one without data ends each row.
    Position 0 is the one that ends the second row above, 1 the first pixel of the row above. In a
    strip that begins at row 0 of 5 columns, the pixel (0, 2) lies at 1 + 6 + 2 = 9.
    """

    top: int  # first row
    stride: int  # columns and the one without data
    length: int  # of all positions
    seam: int  # runs that begin before the first row
    first_label: int  # labels from here on are new
    starts: NDArray[np.int64]  # (R,) positions
    classes: NDArray[np.uint8]  # (R,)
    labels: NDArray[np.int32]  # (R,) equal where runs are 4-connected within the strip
    seam_labels: NDArray[np.int32]  # (seam,) what the strip before calls the runs of the seam
    corners: Corners

    @property
    def lengths_px(self) -> NDArray[np.int64]:
        """Pixels of each run; too many for one of no data, which may go on in the next row."""
        return np.diff(self.starts, append=self.length)

    @property
    def label_count(self) -> int:
        """Labels that are new in this strip."""
        return int(self.labels.max()) - self.first_label + 1


def label_strips(rows: Iterable[NDArray[np.uint8]], width: int) -> Iterator[Strip]:
    """Strips of a raster from top to bottom, and a last one of the row without data below it.

    Labels are the same whenever the same strips are labelled.

    Args:
        rows: class ids (h, W) of whole rows, 255 where there is no data.
        width: columns.
    """
    beyond = np.full((1, width), IGNORE, dtype=np.uint8)
    above, top, labels, first_label = beyond[0], 0, np.empty(0, dtype=np.int32), 0
    for part in chain(rows, [beyond]):
        strip = _labelled(_laid_out(above, part), width + 1, top, labels, first_label)
        yield strip
        above, top = part[-1], top + len(part)
        labels, first_label = strip.labels, first_label + strip.label_count


def connected(
    one: NDArray[np.integer], other: NDArray[np.integer], count: int
) -> tuple[int, NDArray[np.int32]]:
    """How many groups pairs make of `count` things, and the group of each (count,).

    Groups are numbered in the order of their first members.
    """
    links = coo_array((np.ones(len(one), dtype=bool), (one, other)), shape=(count, count))
    groups, group = connected_components(links, directed=False)
    return int(groups), group


def _laid_out(above: NDArray[np.uint8], part: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """All positions of a strip."""
    height, width = part.shape
    pixels = np.full(1 + (height + 1) * (width + 1), IGNORE, dtype=np.uint8)
    table = pixels[1:].reshape(height + 1, width + 1)
    table[0, :-1] = above
    table[1:, :-1] = part
    return pixels


def _labelled(
    pixels: NDArray[np.uint8],
    stride: int,
    top: int,
    labels_before: NDArray[np.int32],
    first_label: int,
) -> Strip:
    changes = pixels[1:] != pixels[:-1]
    starts = np.concatenate([[0], np.flatnonzero(changes) + 1])
    seam = int(np.searchsorted(starts, stride, side="right"))
    classes = pixels[starts]
    corners = _corners(changes, stride, seam)
    north, south = corners.north_east, corners.south_east
    same = classes[north] == classes[south]
    _, group = connected(north[same], south[same], len(starts))
    return Strip(
        top=top,
        stride=stride,
        length=len(pixels),
        seam=seam,
        first_label=first_label,
        starts=starts,
        classes=classes,
        labels=group + np.int32(first_label),
        # The last row of the strip before has the same runs as the row above in this one.
        seam_labels=labels_before[-seam:],
        corners=corners,
    )


def _corners(changes: NDArray[np.bool_], stride: int, seam: int) -> Corners:
    """Corners of the rows of a strip; `changes` at i is between the positions i and i + 1."""
    below, above = changes[stride:], changes[:-stride]
    place = np.flatnonzero(below | above)
    begins_below, begins_above = below[place], above[place]
    south_east = np.cumsum(begins_below, dtype=np.int64) + (seam - 1)
    north_east = np.cumsum(begins_above, dtype=np.int64)
    return Corners(
        position=place + stride + 1,
        north_west=north_east - begins_above,
        north_east=north_east,
        south_west=south_east - begins_below,
        south_east=south_east,
    )
