"""A window put together from square blocks, so that what is made block by block has no seam."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["fill_from_blocks"]


def fill_from_blocks(
    out: NDArray[Any],
    corner: tuple[int, int],
    *,
    side: int,
    block: Callable[[int, int], NDArray[Any]],
) -> None:
    """Fill an array (H, W) from the blocks that it lies on.

    Args:
        out: filled.
        corner: row and column of its first pixel.
        side: rows and columns of a block.
        block: the one of a row and a column of blocks; of less than `side` at an edge beyond which
            `out` does not reach.
    """
    top, left = corner
    bottom, right = top + out.shape[0], left + out.shape[1]
    for row in range(top // side, -(-bottom // side)):
        for column in range(left // side, -(-right // side)):
            y, x = row * side, column * side
            first_row, last_row = max(top, y), min(bottom, y + side)
            first, last = max(left, x), min(right, x + side)
            part = block(row, column)[first_row - y : last_row - y, first - x : last - x]
            out[first_row - top : last_row - top, first - left : last - left] = part
