"""Parts of a scene: where to train, where to validate, what to hold out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rasterio.windows import Window

from geoseg.errors import ConfigError

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

    from geoseg.config import SplitSettings

__all__ = ["Split", "split_scene", "tiles_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Three windows of a scene that share no pixel."""

    train: Window
    validation: Window | None
    test: Window | None


def split_scene(grid: GeoBox, settings: SplitSettings) -> Split:
    """Cut a scene straight through.

    The validation part is the end of the training part that lies farthest from the held-out part.

    Raises:
        ConfigError: no pixel is left to train on.
    """
    across = settings.train_from in {"west", "east"}
    length = grid.shape.x if across else grid.shape.y
    trained = round(length * settings.train_share)
    kept = round(trained * settings.validation_share)
    if trained - kept < 1:
        raise ConfigError(
            f"split.train_share = {settings.train_share} and split.validation_share = "
            f"{settings.validation_share} leave no pixel to train on; raise the first."
        )

    def part(start: int, stop: int) -> Window | None:
        """From `start` to `stop`, counted from the side that trains."""
        if start == stop:
            return None
        if settings.train_from in {"east", "south"}:
            start, stop = length - stop, length - start
        if across:
            return Window(start, 0, stop - start, grid.shape.y)
        return Window(0, start, grid.shape.x, stop - start)

    train = part(kept, trained)
    assert train is not None
    return Split(train=train, validation=part(0, kept), test=part(trained, length))


def tiles_of(window: Window, size_px: int) -> list[Window]:
    """Windows of one size that cover a window; the last of a row overlaps the one before it."""
    rows = _starts(window.row_off, window.height, size_px)
    columns = _starts(window.col_off, window.width, size_px)
    return [Window(column, row, size_px, size_px) for row in rows for column in columns]


def _starts(first: int, length: int, size: int) -> list[int]:
    last = max(first, first + length - size)
    return sorted({*range(first, last, size), last})
