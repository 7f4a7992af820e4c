"""A frame of film as an archive delivers it: a picture with a border, a title and reseau marks."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Scan", "scan_of"]

_BASE, _TITLE = 12.0, 235.0  # counts of film without a picture, and of what is written on it
_GRAIN = 2.0
_FRAME_MM, _MARK_MM, _ARM_MM, _LINE_MM = 230.0, 10.0, 1.26, 0.06  # Hexagon's mapping camera
_TAB_MM = 12.0


class Scan(NamedTuple):
    """A simulated scan, and the truth of it."""

    stored: NDArray[np.uint8]  # (H, W)
    picture: NDArray[np.bool_]  # (H, W), where the picture lies
    marks: NDArray[np.bool_]  # (H, W), under the lines of reseau crosses


def scan_of(
    picture: NDArray[np.number],
    rng: np.random.Generator,
    *,
    border_px: int,
    skew: float = 0.0,
    vignetting: float = 0.0,
    reseau: bool = True,
    negative: bool = False,
) -> Scan:
    """The scan of a frame, larger than its picture by a border on all sides.

    Args:
        picture: counts from 0 to 255 (h, w); its shorter side is that of the film, 23 cm.
        rng: of the grain.
        border_px: width of the border.
        skew: by which the film lay turned on the scanner, radians clockwise.
        vignetting: share of light that the corners lose.
        reseau: whether crosses are exposed, a centimetre apart.
        negative: whether dark and bright are exchanged.
    """
    height, width = picture.shape
    px_per_mm = min(height, width) / _FRAME_MM
    light = np.asarray(picture, dtype=np.float64) * (1 - vignetting * _off_axis(height, width))
    marks = _crosses(height, width, px_per_mm) if reseau else np.zeros((height, width), dtype=bool)
    light[marks] *= 0.35
    film = _bare_film(height, width, border_px, round(_TAB_MM * px_per_mm))
    inner = np.s_[border_px : border_px + height, border_px : border_px + width]
    film[inner] = np.maximum(light, 1)
    where = np.zeros((2, *film.shape))
    where[0][inner], where[1][inner] = 1, marks
    turned, is_picture, is_mark = (_turned(layer, skew) for layer in (film, *where))
    stored = turned + _GRAIN * rng.standard_normal(film.shape)
    stored = 255 - stored if negative else stored
    return Scan(np.clip(np.rint(stored), 0, 255).astype(np.uint8), is_picture > 0.5, is_mark > 0.5)


def _bare_film(height: int, width: int, border: int, tab: int) -> NDArray[np.float64]:
    """Film without its picture: a title and a white line above, a tab with a fiducial below."""
    film = np.full((height + 2 * border, width + 2 * border), _BASE)
    film[: max(1, border // 8)] = 0.0
    film[border // 6 : border // 6 + max(1, border // 16)] = _TITLE
    letters = np.arange(film.shape[1])
    written = (letters // 3 % 2 == 0) & (letters > film.shape[1] // 3) & (letters % 90 < 60)
    film[border // 2 : border // 2 + max(2, border // 5), written] = _TITLE
    middle = film.shape[1] // 4
    film[-border : -border // 3, middle : middle + tab] = _TITLE
    return film


def _crosses(height: int, width: int, px_per_mm: float) -> NDArray[np.bool_]:
    arm, line = round(_ARM_MM * px_per_mm), max(1, round(_LINE_MM * px_per_mm))
    marks = np.zeros((height, width), dtype=bool)
    step = _MARK_MM * px_per_mm
    for row in np.rint(np.arange(step / 2, height - arm, step)).astype(int):
        for column in np.rint(np.arange(step / 2, width - arm, step)).astype(int):
            marks[row : row + line, column - arm : column + arm + 1] = True
            marks[row - arm : row + arm + 1, column : column + line] = True
    return marks


def _off_axis(height: int, width: int) -> NDArray[np.float64]:
    """Squared distance from the middle, 1 in the corners."""
    rows, columns = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
    return np.asarray((rows**2 + columns**2) / 2)


def _turned(layer: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    if angle == 0:
        return layer
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = (np.array(layer.shape) - 1) / 2
    return np.asarray(ndimage.affine_transform(layer, turn, offset=middle - turn @ middle, order=1))
