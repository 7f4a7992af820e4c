"""What a project keeps: rounds, what was proposed, what was said, what was drawn."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import shapely
from shapely.errors import ShapelyError

from geoseg.errors import LabelError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "SEEDS",
    "UNKNOWN",
    "Answer",
    "Drawn",
    "Outline",
    "Proposed",
    "Round",
    "Said",
    "Via",
    "polygon_of",
]

UNKNOWN = "unknown"  # what a person says who has looked and cannot tell
SEEDS = "seeds"  # who gave labels that were there before and name nobody; is asked for nothing
Via = Literal["page", "qgis", "table"]


class Proposed(NamedTuple):
    """An item that somebody is asked to look at."""

    round: int
    rank: int  # from 1, in the order to look at
    item: str
    why: str  # what it was chosen for: audit, likely, doubtful, representative...
    inclusion: float  # chance to be proposed, by design; 1 where it was chosen and not drawn
    probability: float | None  # that the heads gave it, hidden until it is answered


class Drawn(NamedTuple):
    """An item of a proposal that is to be recorded."""

    item: str
    why: str
    inclusion: float
    probability: float | None = None


class Said(NamedTuple):
    """What somebody says of an item, to be recorded."""

    item: str
    annotator: str
    said: str  # a class of the project, or UNKNOWN
    note: str = ""


class Answer(NamedTuple):
    """What somebody said of an item."""

    number: int  # rises with time
    item: str
    annotator: str
    said: str  # a class of the project, or UNKNOWN
    time: str  # ISO 8601, UTC
    via: str
    note: str = ""


class Outline(NamedTuple):
    """What somebody drew around something in an image of an item."""

    number: int  # rises with time
    item: str
    annotator: str
    class_: str  # of the project
    geometry: Mapping[str, Any]  # GeoJSON Polygon or MultiPolygon, in pixels: x right, y down
    image: int  # number of the image of the item, from 0
    time: str  # ISO 8601, UTC


class Round(NamedTuple):
    """A proposal, and what was learned after it."""

    number: int  # from 1
    made: str  # ISO 8601, UTC
    strategy: str
    settings: Mapping[str, Any]
    model: str
    metrics: Mapping[str, Any]


def polygon_of(geometry: Mapping[str, Any]) -> dict[str, Any]:
    """The same GeoJSON polygon with nothing but its coordinates (x, y).

    Args:
        geometry: GeoJSON Polygon or MultiPolygon, of any numbers.

    Raises:
        LabelError: no polygon, numbers that are not finite, no area, or lines that cross.
    """
    kind = geometry.get("type")
    if kind not in ("Polygon", "MultiPolygon"):
        raise LabelError(f"The outline is a {kind}; draw a Polygon or MultiPolygon of GeoJSON.")
    try:
        json.dumps(geometry["coordinates"], allow_nan=False)
        shape = shapely.force_2d(shapely.geometry.shape(dict(geometry)))
    except RecursionError as error:
        raise LabelError("The outline is no GeoJSON polygon (nested too deep).") from error
    except (ShapelyError, ArithmeticError, LookupError, ValueError, TypeError) as error:
        raise LabelError(f"The outline is no GeoJSON polygon ({error}).") from error
    if not shape.is_valid or not shape.area > 0:
        reason = shapely.is_valid_reason(shape) if not shape.is_valid else "no area"
        raise LabelError(f"The outline is no simple polygon ({reason}); draw it again.")
    drawn: dict[str, Any] = shapely.geometry.mapping(shape)
    return drawn
