"""What a page shows: images, maps and outlines, each with where and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from geoseg.scenes import Asset

__all__ = ["Image", "Item", "OutlineLayer", "PaintedMap", "Shown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image in some compositions."""

    choices: Mapping[str, tuple[Asset, ...]]  # by composition: its bands
    mask: Asset | None = None  # 0 where the image must not be used


@dataclass(frozen=True, slots=True, kw_only=True)
class PaintedMap:
    """Bands of a map, each by itself, in colours (256, 4) of what is stored in it as a byte."""

    path: Path
    choices: Mapping[str, int]  # by name: the band, counted from 1
    colours: NDArray[np.uint8]
    classes: bool  # whether class ids are stored, and no shares


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlineLayer:
    """Polygons of a GeoPackage."""

    path: Path
    layer: str
    survey: str | None = None  # of an inventory; all of the layer when None


Shown: TypeAlias = Image | PaintedMap | OutlineLayer


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing to be shown."""

    group: str  # what it is switched on and off with
    title: str
    note: str = ""  # what else there is to say
    when: tuple[dt.date, dt.date] | None  # first and last day
    bounds: tuple[float, float, float, float]  # west, south, east, north in degrees
    zoom: int = 0  # from which a raster has nothing more to show
    stamp: str  # changes with the file
    shown: Shown
