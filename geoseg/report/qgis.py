"""QGIS styles (QML) of outline layers and of the layers of an inventory."""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree as ET

from geoseg.labels import GLACIER, GLACIER_SURFACE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from geoseg.inventory import Inventory
    from geoseg.labels import ClassScheme

    _Draw = Callable[[ET.Element, str], object]  # adds a symbol of a name to an element

__all__ = ["class_colours", "inventory_styles", "outline_style", "qgis_document"]

_FILL_ALPHA = 64  # of 255: the image stays visible below
_LAKE_ALPHA = 150
_LINE_MM = 0.4
_DARKER = 0.7
_ILLEGAL = re.compile("[^\\t\\n\\r -\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")
_NO_COLOUR = "0,0,0,0"

_CLASSES = {
    "lake": "#1f4fd8",
    **{c.name: c.colour for scheme in (GLACIER, GLACIER_SURFACE) for c in scheme.foreground},
}
# For classes that are not ours: apart from each other and from the blues of ice and water.
_PALETTE = (
    "#d97706",
    "#7c3aed",
    "#15803d",
    "#db2777",
    "#a16207",
    "#0f766e",
    "#be123c",
    "#4d7c0f",
    "#9333ea",
    "#b45309",
    "#64748b",
    "#a21caf",
)
_LAKES = {
    "supraglacial": "#29b6d8",
    "ice_contact": "#1f4fd8",
    "proglacial": "#123a8c",
    "other": "#6f8fd6",
}
_EVENTS = {  # colour, shape, size in mm
    "appear": ("#1b9e5a", "star", "4.2"),
    "reappear": ("#7fbf3f", "diamond", "3.6"),
    "split": ("#f08c00", "triangle", "3.6"),
    "merge": ("#7c3aed", "pentagon", "3.6"),
    "vanish": ("#c8312b", "cross2", "3.2"),
}
_CHANGES = {  # colour, angle of the hatch in degrees
    "gain": ("#1d6fd1", "45"),
    "loss": ("#d0342c", "135"),
}
_TRACKS = (  # colour, what it means, which tracks
    ("#d0342c", "shrinking", '"significant" AND "change_km2" < 0'),
    ("#1d6fd1", "growing", '"significant" AND "change_km2" > 0'),
    ("#8a8f98", "no significant change", 'NOT "significant"'),
    ("#d8c9a0", "seen once", "ELSE"),
)
_NAME_SCALE = 250_000  # names of glaciers from this scale on
_ID_SCALE = 50_000


class _Entry(NamedTuple):
    """One line of a legend: which rows, what it says, and how it is drawn."""

    which: str  # a value, or a filter
    label: str
    draw: _Draw


def outline_style(scheme: ClassScheme) -> str:
    """A QML of one colour a class: a translucent fill and a darker, solid outline.

    The layer is categorised by its field `class_name`. Read by QGIS 3.22 and newer.
    """
    return _qml(_by_class({c.name: c.colour for c in scheme.foreground}))


def inventory_styles(inventory: Inventory) -> dict[str, str]:
    """A QML a layer of an inventory; its tables without geometry have none.

    Outlines are coloured by class, tracks by what became of them, lakes by type; events have a mark
    each, ground gained and lost is hatched, and surveys are framed. Glaciers are named on maps of
    a large scale. Read by QGIS 3.22 and newer.
    """
    classes = sorted({str(name) for name in inventory.outlines["class_name"].dropna()})
    named = _labels(
        f'coalesce("glac_name", CASE WHEN @map_scale <= {_ID_SCALE} THEN "track_id" END)'
    )
    lakes = [_Entry(v, _words(v), _fill(c, alpha=_LAKE_ALPHA)) for v, c in _LAKES.items()]
    changes = [_Entry(v, _words(v), _hatch(*how)) for v, how in _CHANGES.items()]
    events = [_Entry(v, _words(v), _marker(*how)) for v, how in _EVENTS.items()]
    return {
        "surveys": _qml(_single(_frame("#5b6470"))),
        "tracks": _qml(_by_change(), named),
        "outlines": _qml(_by_class(class_colours(classes)), named),
        "lakes": _qml(_categorised("lake_type", lakes)),
        "changes": _qml(_categorised("change", changes)),
        "events": _qml(_categorised("event", events)),
    }


def qgis_document(root: ET.Element) -> str:
    """A QML or a project as text, without control characters: XML has no way to hold them."""
    text = _ILLEGAL.sub("", ET.tostring(root, encoding="unicode"))
    return f"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n{text}"


def class_colours(classes: Iterable[str]) -> dict[str, str]:
    """A colour a class; one that is not ours has the same in any inventory, if that is free."""
    chosen: dict[str, str] = {}
    for name in classes:
        start = zlib.crc32(name.encode()) % len(_PALETTE)
        order = (*_PALETTE[start:], *_PALETTE[:start])
        free = (colour for colour in order if colour not in chosen.values())
        chosen[name] = _CLASSES.get(name) or next(free, order[0])
    return chosen


def _words(name: str) -> str:
    return name.replace("_", " ")


# Renderers


def _qml(*parts: ET.Element) -> str:
    categories = "Symbology|Labeling" if len(parts) > 1 else "Symbology"
    attributes = {"version": "3.22.0", "styleCategories": categories}
    if len(parts) > 1:
        attributes["labelsEnabled"] = "1"
    root = ET.Element("qgis", attributes)
    root.extend(parts)
    return qgis_document(root)


def _by_class(colours: Mapping[str, str]) -> ET.Element:
    return _categorised("class_name", [_Entry(n, _words(n), _fill(c)) for n, c in colours.items()])


def _categorised(field: str, entries: Iterable[_Entry]) -> ET.Element:
    renderer = ET.Element("renderer-v2", type="categorizedSymbol", attr=field)
    categories = ET.SubElement(renderer, "categories")
    symbols = ET.SubElement(renderer, "symbols")
    for index, entry in enumerate(entries):
        ET.SubElement(
            categories,
            "category",
            value=entry.which,
            label=entry.label,
            symbol=str(index),
            render="true",
        )
        entry.draw(symbols, str(index))
    return renderer


def _single(draw: _Draw) -> ET.Element:
    renderer = ET.Element("renderer-v2", type="singleSymbol")
    draw(ET.SubElement(renderer, "symbols"), "0")
    return renderer


def _by_change() -> ET.Element:
    renderer = ET.Element("renderer-v2", type="RuleRenderer")
    rules = ET.SubElement(renderer, "rules", key="{all}")
    symbols = ET.SubElement(renderer, "symbols")
    for index, (colour, label, which) in enumerate(_TRACKS):
        name = str(index)
        ET.SubElement(rules, "rule", key=f"{{{name}}}", symbol=name, label=label, filter=which)
        _fill(colour)(symbols, name)
    return renderer


def _labels(expression: str) -> ET.Element:
    """Labels of an expression, black on a white rim, where there is room for them."""
    labeling = ET.Element("labeling", type="simple")
    settings = ET.SubElement(labeling, "settings")
    text = ET.SubElement(
        settings,
        "text-style",
        fieldName=expression,
        isExpression="1",
        fontSize="8.5",
        fontSizeUnit="Point",
        textColor="25,30,40,255",
        fontItalic="1",
    )
    ET.SubElement(
        text,
        "text-buffer",
        bufferDraw="1",
        bufferSize="0.8",
        bufferSizeUnits="MM",
        bufferColor="255,255,255,255",
        bufferOpacity="0.85",
    )
    ET.SubElement(settings, "text-format", autoWrapLength="20", multilineAlign="1")
    ET.SubElement(settings, "placement", placement="1", centroidInside="1", centroidWhole="1")
    ET.SubElement(
        settings,
        "rendering",
        scaleVisibility="1",
        scaleMin="0",
        scaleMax=str(_NAME_SCALE),
        drawLabels="1",
        obstacle="1",
    )
    return labeling


# Symbols


def _fill(colour: str, *, alpha: int = _FILL_ALPHA) -> _Draw:
    """A translucent fill in a darker line."""
    options = {
        "color": _rgba(colour, alpha),
        "outline_color": _rgba(colour, 255, _DARKER),
        "outline_style": "solid",
        "outline_width": str(_LINE_MM),
        "outline_width_unit": "MM",
        "style": "solid",
    }
    return lambda symbols, name: _add(_symbol(symbols, name, "fill"), "SimpleFill", options)


def _frame(colour: str) -> _Draw:
    options = {
        "color": _NO_COLOUR,
        "outline_color": _rgba(colour, 255),
        "outline_style": "dash",
        "outline_width": "0.35",
        "outline_width_unit": "MM",
        "style": "no",
    }
    return lambda symbols, name: _add(_symbol(symbols, name, "fill"), "SimpleFill", options)


def _hatch(colour: str, angle: str) -> _Draw:
    """Lines that leave what lies below to be seen, in millimetres, so that print is as screen."""
    pattern = {
        "angle": angle,
        "distance": "1",
        "distance_unit": "MM",
        "line_width": "0.25",
        "line_width_unit": "MM",
    }
    rim = {
        "color": _NO_COLOUR,
        "outline_color": _rgba(colour, 255),
        "outline_style": "solid",
        "outline_width": "0.2",
        "outline_width_unit": "MM",
        "style": "no",
    }
    line = {"line_color": _rgba(colour, 255), "line_width": "0.25", "line_width_unit": "MM"}

    def draw(symbols: ET.Element, name: str) -> None:
        symbol = _symbol(symbols, name, "fill")
        hatched = _add(symbol, "LinePatternFill", pattern)
        _add(_symbol(hatched, f"@{name}@0", "line"), "SimpleLine", line)
        _add(symbol, "SimpleFill", rim)

    return draw


def _marker(colour: str, shape: str, size_mm: str) -> _Draw:
    # A cross is all line: it would be white on white.
    line, width = (_rgba(colour, 255), "0.9") if shape == "cross2" else ("255,255,255,255", "0.3")
    options = {
        "name": shape,
        "color": _rgba(colour, 255),
        "outline_color": line,
        "outline_style": "solid",
        "outline_width": width,
        "outline_width_unit": "MM",
        "size": size_mm,
        "size_unit": "MM",
    }
    return lambda symbols, name: _add(_symbol(symbols, name, "marker"), "SimpleMarker", options)


def _symbol(parent: ET.Element, name: str, kind: str) -> ET.Element:
    return ET.SubElement(parent, "symbol", name=name, type=kind, alpha="1")


def _add(symbol: ET.Element, kind: str, options: Mapping[str, str]) -> ET.Element:
    layer = ET.SubElement(symbol, "layer", attrib={"class": kind, "enabled": "1"})
    listed = ET.SubElement(layer, "Option", type="Map")
    for key, value in options.items():
        ET.SubElement(listed, "Option", name=key, type="QString", value=value)
    return layer


def _rgba(colour: str, alpha: int, share: float = 1) -> str:
    parts = [round(v * share) for v in bytes.fromhex(colour.removeprefix("#"))]
    return ",".join(map(str, (*parts, alpha)))
