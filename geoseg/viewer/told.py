"""What a page is told of a folder before it asks for anything."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from geoseg.dates import Interval
from geoseg.page.pictures import CALLED
from geoseg.viewer.folder import LIKELY, RASTERS, SCENES, UNCERTAIN
from geoseg.viewer.items import Image, OutlineLayer, PaintedMap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geoseg.viewer.folder import Contents
    from geoseg.viewer.items import Item

__all__ = ["contents_told"]

_MOST_PROBLEMS = 100
_DAY = timedelta(days=1)


def contents_told(contents: Contents, name: str) -> dict[str, Any]:
    """What there is to switch on, in the order that it is drawn, the lowest first; when and where.

    Args:
        contents: of the folder.
        name: of the folder.
    """
    items = contents.items
    groups = list(dict.fromkeys(item.group for item in items))
    groups.sort(key=_height)
    shown = _at_first(groups)
    return {
        "name": name,
        "groups": [
            {
                "name": group,
                "on": group in shown,
                **_kind([one for one in items if one.group == group], contents),
            }
            for group in groups
        ],
        "items": [
            {
                "group": groups.index(item.group),
                "title": item.title,
                "note": item.note,
                "when": None if item.when is None else [day.isoformat() for day in item.when],
                "bounds": item.bounds,
                "zoom": item.zoom,
                "stamp": item.stamp,
                "choices": [] if isinstance(item.shown, OutlineLayer) else [*item.shown.choices],
            }
            for item in items
        ],
        "times": _times(items),
        "problems": contents.problems[:_MOST_PROBLEMS],
        "problems_left_out": max(0, len(contents.problems) - _MOST_PROBLEMS),
    }


def _kind(own: Sequence[Item], contents: Contents) -> dict[str, Any]:
    """How a group is drawn, what can be chosen in it, and what its legend says."""
    first = own[0].shown
    if isinstance(first, OutlineLayer):
        return {"kind": "outlines", "choices": [], "opacity": 1, "classes": []}
    if isinstance(first, PaintedMap) and first.classes:
        classes = [{"name": n, "colour": c} for n, c in contents.classes.items()]
        return {"kind": "classes", "choices": [], "opacity": 0.6, "classes": classes}
    keys = list(dict.fromkeys(key for one in own for key in _choices(one)))
    if isinstance(first, Image):
        order = list(CALLED)
        choices = [{"key": k, "words": CALLED[k]} for k in sorted(keys, key=order.index)]
        return {"kind": "images", "choices": choices, "opacity": 1, "classes": []}
    choices = [{"key": key, "words": key.replace("_", " ")} for key in keys]
    ramp = UNCERTAIN if keys == ["uncertainty"] else LIKELY
    return {"kind": "shares", "choices": choices, "opacity": 0.8, "classes": [], "ramp": ramp}


def _choices(item: Item) -> Sequence[str]:
    return [] if isinstance(item.shown, OutlineLayer) else [*item.shown.choices]


def _height(group: str) -> int:
    """Where a group lies among others: images below, outlines on top."""
    order = (RASTERS, SCENES, "Uncertainty", "Probability", "Classes", "Outlines", "Inventory")
    return next(number for number, name in enumerate(order) if group.startswith(name))


def _at_first(groups: Sequence[str]) -> set[str]:
    """What is on at first: an image, and what was found on it, once."""
    images = [group for group in groups if group in {SCENES, RASTERS}]
    outlines = [group for group in groups if group.startswith(("Outlines", "Inventory"))]
    maps = [group for group in groups if group.startswith("Classes")]
    on = set(images[-1:]) | set(outlines[-1:])
    return on if outlines else on | set(maps[-1:])


def _times(items: Sequence[Item]) -> list[dict[str, str]]:
    """The stops of the time slider: the days that something is of, in their order."""
    spans = sorted({item.when for item in items if item.when is not None})
    return [
        {
            "first": first.isoformat(),
            "last": last.isoformat(),
            "words": Interval.of_days(first, last + _DAY).words,
        }
        for first, last in spans
    ]
