"""Where the picture lies on a scan of film: inside the border, and not under the reseau marks."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "BorderTally",
    "BorderTone",
    "Frame",
    "Reseau",
    "ReseauTally",
    "border_tone",
    "cross_middles",
    "under_crosses",
]

_PARTS = 16  # of a side, each of which says where the border ends
_DEEPEST = 0.2  # of a side, beyond which no border reaches
_GAP = 0.03  # of a side: titles, data blocks and the white line of a duplicate lie in the border
_BORDER_SHARE = 0.5  # of a line of pixels
_FEWEST = 6  # parts of a side that must agree on its border
_AGREE = 0.003  # of the side across: by which a part may lie off the straight edge
_STEEPEST = 0.05  # film lies nearly straight on a scanner
_INSET = 0.002  # of the shorter side: the edge of the picture is soft
_DARK_GROUND = 3.0  # per cent of the picture, and of the border, that is left aside as grain
_TOWARDS_BORDER = 0.35  # of the way from the end of the scale to the middle tone of the picture
_RING_SHARE = 0.3  # of that ring, which has the tone of a border


class BorderTone(NamedTuple):
    """What film without a picture looks like in a scan: all counts from `low` to `high`."""

    low: float
    high: float

    def holds(self, stored: NDArray[np.number]) -> NDArray[np.bool_]:
        """Which pixels have this tone."""
        return (stored >= self.low) & (stored <= self.high)


def border_tone(
    ring: NDArray[np.number], middle: NDArray[np.number], *, brightest: float
) -> BorderTone | None:
    """The tone of the border, dark in a positive and bright in a negative; None without a border.

    Args:
        ring: pixels along the edge of the scan, of any shape.
        middle: pixels of its middle half.
        brightest: count that the scan can hold.
    """
    dark = BorderTone(0.0, _darkest_picture(ring, middle))
    least = _darkest_picture(brightest - ring, brightest - middle)
    bright = BorderTone(brightest - least, brightest)
    shares = {found: float(found.holds(ring).mean()) for found in (dark, bright)}
    likely = max(shares, key=lambda found: shares[found])
    return likely if shares[likely] >= _RING_SHARE else None


def _darkest_picture(ring: NDArray[np.number], middle: NDArray[np.number]) -> float:
    """A count between the border and the darkest ground; a guess where the ground is as dark."""
    ground = float(np.percentile(middle, _DARK_GROUND))
    border = ring[ring < ground]
    if border.size < _RING_SHARE * ring.size:
        return _TOWARDS_BORDER * float(np.median(middle))
    return (float(np.percentile(border, 100 - _DARK_GROUND)) + ground) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Four straight sides, each an offset and a slope: row or column = offset + slope * place.

    **Convention:** pixel (0, 0) has its centre at (0, 0); top (100, 0.01) in an image 5000 px wide
    runs from row 100 in the first column to row 150 in the last.
    """

    top: tuple[float, float]
    bottom: tuple[float, float]
    left: tuple[float, float]
    right: tuple[float, float]

    @classmethod
    def whole(cls, shape: tuple[int, int]) -> Frame:
        """All of an image (H, W) without a border."""
        height, width = shape
        return cls(
            top=(-0.5, 0.0), bottom=(height - 0.5, 0.0), left=(-0.5, 0.0), right=(width - 0.5, 0.0)
        )

    def open_sides(self, shape: tuple[int, int]) -> list[str]:
        """Sides on which it is that of the whole image (H, W)."""
        whole = Frame.whole(shape)
        return [
            side
            for side in ("top", "bottom", "left", "right")
            if getattr(self, side) == getattr(whole, side)
        ]

    @property
    def shorter_px(self) -> float:
        """Its shorter side, at the first row and column."""
        return min(self.bottom[0] - self.top[0], self.right[0] - self.left[0])

    def holds(self, first_row: int, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Which pixels of some whole rows (h, W), from `first_row` on, lie inside."""
        rows = np.arange(first_row, first_row + shape[0])[:, None]
        columns = np.arange(shape[1])[None]

        def side(line: tuple[float, float], place: NDArray[np.int_]) -> NDArray[np.floating]:
            return line[0] + line[1] * place

        inside = (rows > side(self.top, columns)) & (rows < side(self.bottom, columns))
        inside &= (columns > side(self.left, rows)) & (columns < side(self.right, rows))
        return np.asarray(inside)


class BorderTally:
    """Counts pixels with the tone of the border, strip by strip, to tell where it ends.

    Memory grows with the sides of the scan, not with its area.
    """

    def __init__(self, shape: tuple[int, int], tone: BorderTone) -> None:
        height, width = self._shape = shape
        self._tone = tone
        self._row_parts = np.arange(height) * _PARTS // height
        self._column_starts = -(-np.arange(_PARTS) * width // _PARTS)
        self._of_rows = np.zeros((height, _PARTS))  # share of each line within a part
        self._of_columns = np.zeros((width, _PARTS))

    def add(self, first_row: int, stored: NDArray[np.number]) -> None:
        """Take some whole rows (h, W)."""
        border = self._tone.holds(stored)
        rows = np.arange(first_row, first_row + len(border))
        widths = np.diff([*self._column_starts, self._shape[1]])
        self._of_rows[rows] = (
            np.add.reduceat(border, self._column_starts, axis=1, dtype=int) / widths
        )
        for part in np.unique(self._row_parts[rows]):
            lines = self._row_parts[rows] == part
            length = int((self._row_parts == part).sum())
            self._of_columns[:, part] += border[lines].sum(axis=0) / length

    def frame(self) -> Frame:
        """The picture. A side without a border is that of the scan."""
        height, width = self._shape
        inset = 1 + _INSET * min(height, width)
        whole = Frame.whole(self._shape)
        top = _line(self._of_rows, width, inset)
        left = _line(self._of_columns, height, inset)
        bottom = _line(self._of_rows[::-1], width, inset)
        right = _line(self._of_columns[::-1], height, inset)
        return Frame(
            top=top or whole.top,
            left=left or whole.left,
            bottom=whole.bottom if bottom is None else (height - 1 - bottom[0], -bottom[1]),
            right=whole.right if right is None else (width - 1 - right[0], -right[1]),
        )


def _line(shares: NDArray[np.float64], along: int, inset: float) -> tuple[float, float] | None:
    """The inner edge of the border of a side, from the shares of its lines, outermost first.

    The straight line that most parts agree on: tabs with fiducials, and dark water that touches the
    border, lie off it.
    """
    # The corners belong to the borders of the other sides.
    parts = np.arange(2, _PARTS - 2)
    depths = np.array([_depth(shares[:, part]) for part in parts])
    found = depths > 0
    places, depths = (parts[found] + 0.5) * along / _PARTS, depths[found]
    nearness = max(1.5, _AGREE * len(shares))
    best = np.zeros(len(depths), dtype=bool)
    for one, other in combinations(range(len(depths)), 2):
        slope = (depths[other] - depths[one]) / (places[other] - places[one])
        on = np.abs(depths - depths[one] - slope * (places - places[one])) <= nearness
        if abs(slope) <= _STEEPEST and on.sum() > best.sum():
            best = on
    if best.sum() < _FEWEST:
        return None
    slope, offset = np.polyfit(places[best], depths[best], 1)
    return float(offset + inset - 1), float(slope)


def _depth(shares: NDArray[np.float64]) -> int:
    """How many lines, from the outermost on, belong to the border."""
    deepest, gap = int(_DEEPEST * len(shares)), max(2, int(_GAP * len(shares)))
    depth = 0
    for line in np.flatnonzero(shares[:deepest] >= _BORDER_SHARE):
        if line - depth > gap:
            break
        depth = int(line) + 1
    return depth


@dataclass(frozen=True, slots=True, kw_only=True)
class Reseau:
    """Crosses of a glass plate in a mapping camera, dark in the positive; lengths in a scan."""

    step_px: float  # from cross to cross
    arm_px: int  # from the middle of a cross to its end
    line_px: int

    @classmethod
    def of_sensor(cls, sensor_id: str, frame: Frame) -> Reseau | None:
        """Those of a camera in a scan of this frame; None where it has none, or they are lost."""
        if sensor_id != _MAPPING_CAMERA:
            return None
        px_per_mm = frame.shorter_px / _FRAME_MM
        arm = round(_ARM_MM * px_per_mm)
        if arm < _SHORTEST_ARM_PX:
            return None
        return cls(
            step_px=_STEP_MM * px_per_mm, arm_px=arm, line_px=max(1, round(_LINE_MM * px_per_mm))
        )

    @property
    def halo_px(self) -> int:
        """Pixels beyond a block that are needed to see its crosses whole."""
        return self.arm_px + 3 * self.line_px + 2


# Crosses of 361 px at 7 um with lines of 3 px, as spymicmac looks for them (McNabb, its
# matching.find_reseau_grid); a centimetre apart on frames of 23 x 46 cm (Surazakov and Aizen).
_MAPPING_CAMERA = "hexagon-kh9-mapping"
_FRAME_MM, _STEP_MM, _ARM_MM, _LINE_MM = 230.0, 10.0, 1.26, 0.021
_SHORTEST_ARM_PX = 4
_CONTRAST = 0.03  # of the scale, by which each arm is darker than what lies to both of its sides
_OFF_GRID = 0.03  # of the step: film shrinks and bends
_NEIGHBOURS = 2  # other crosses whole steps away, of the 24 nearest


class ReseauTally:
    """Collects crosses block by block, and keeps those that lie on a grid with others.

    Memory grows with the number of crosses.
    """

    def __init__(self, reseau: Reseau, *, brightest: float) -> None:
        self._reseau, self._brightest = reseau, brightest
        self._found: list[NDArray[np.float64]] = []

    def add(
        self,
        corner: tuple[int, int],
        stored: NDArray[np.number],
        own: tuple[slice, slice],
    ) -> None:
        """Take a block with a halo.

        Args:
            corner: row and column of its first pixel, with the halo.
            stored: counts of the scan (h, w).
            own: rows and columns of the block without its halo.
        """
        middles = cross_middles(stored, self._reseau, brightest=self._brightest)
        # Joined before the halo is cut off, or a cross on the seam would be counted twice.
        marks, count = ndimage.label(middles, np.ones((3, 3)))
        if count == 0:
            return
        centres = np.array(ndimage.center_of_mass(middles, marks, range(1, count + 1)))
        inside = np.ones(count, dtype=bool)
        for places, kept in zip(np.rint(centres).T, own, strict=True):
            inside &= (places >= kept.start) & (places < kept.stop)
        self._found.append(centres[inside] + np.array(corner))

    def crosses(self) -> NDArray[np.float64]:
        """Rows and columns (N, 2) of the crosses."""
        if not self._found:
            return np.empty((0, 2))
        centres = np.concatenate(self._found)
        if len(centres) == 0:
            return centres
        tree = cKDTree(centres)
        step = self._reseau.step_px
        votes = np.zeros(len(centres), dtype=int)
        for down, across in product(range(-2, 3), repeat=2):
            if down or across:
                near, _ = tree.query(
                    centres + np.array([down * step, across * step]),
                    distance_upper_bound=max(1.5, _OFF_GRID * step * max(abs(down), abs(across))),
                )
                votes += np.isfinite(near)
        return np.asarray(centres[votes >= _NEIGHBOURS])


def under_crosses(
    first_row: int, shape: tuple[int, int], crosses: NDArray[np.float64], reseau: Reseau
) -> NDArray[np.bool_]:
    """Pixels of whole rows (h, W), from `first_row` on, under crosses and what they blur into."""
    marks = np.zeros(shape, dtype=bool)
    thick, long = 2 * reseau.line_px, reseau.arm_px + reseau.line_px
    for row, column in np.rint(crosses).astype(int):
        for half_height, half_width in ((thick, long), (long, thick)):
            top, bottom = row - half_height - first_row, row + half_height + 1 - first_row
            left, right = column - half_width, column + half_width + 1
            marks[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = True
    return marks


def cross_middles(
    stored: NDArray[np.number], reseau: Reseau, *, brightest: float
) -> NDArray[np.bool_]:
    """Where the middle of a cross may be (H, W).

    There four arms meet that are each darker than the ground to both sides, by 3 % of the scale and
    by half as much as these sides differ from each other. Narrow valleys look like that too, but
    not a centimetre apart; see `ReseauTally`.
    """
    tone = ndimage.uniform_filter1d(stored.astype(np.float32), reseau.line_px, axis=0)
    across = _arms(tone, reseau, brightest)
    tone = ndimage.uniform_filter1d(stored.astype(np.float32), reseau.line_px, axis=1)
    return np.asarray(across & _arms(np.ascontiguousarray(tone.T), reseau, brightest).T)


def _arms(tone: NDArray[np.float32], reseau: Reseau, brightest: float) -> NDArray[np.bool_]:
    """Where two arms along a row meet (H, W)."""
    beside = 2 * reseau.line_px + 1
    sides = [_shifted(tone, shift, axis=0) for shift in (-beside, beside)]
    found = np.ones(tone.shape, dtype=bool)
    half = reseau.arm_px // 2
    for middle in (-half - 1, half + 1):  # of an arm
        arm, one, other = (
            _shifted(ndimage.uniform_filter1d(values, reseau.arm_px - 1, axis=1), middle, axis=1)
            for values in (tone, *sides)
        )
        darker = np.minimum(one, other) - arm
        found &= darker > _CONTRAST * brightest
        found &= darker > 0.5 * np.abs(one - other)
    return found


def _shifted(values: NDArray[np.float32], shift: int, *, axis: int) -> NDArray[np.float32]:
    """Each pixel becomes the one `shift` further along an axis, the last one beyond the edge."""
    places = np.clip(np.arange(values.shape[axis]) + shift, 0, values.shape[axis] - 1)
    return np.take(values, places, axis=axis)
