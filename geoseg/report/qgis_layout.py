"""The printed map of a QGIS project: a page with a map, its legend, a scale bar and words."""

from __future__ import annotations

import math
import uuid
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["PrintedMap", "add_layout"]

_PAGE_MM = (297, 210)  # A4
_MARGIN_MM = 10
_MAP_MM = (214, 172)
_TOP_MM = 20
_LABEL, _MAP, _LEGEND, _SCALE_BAR, _PAGE = "65641", "65639", "65642", "65646", "65638"
_BLACK = {"red": "0", "green": "0", "blue": "0", "alpha": "255"}
_WHITE = {"red": "255", "green": "255", "blue": "255", "alpha": "255"}


class PrintedMap(NamedTuple):
    """What a page shows."""

    title: str
    footer: str
    extent: tuple[float, float, float, float]  # left, bottom, right, top, in metres
    begin: str  # ISO 8601
    end: str
    layers: Sequence[tuple[str, str]]  # (id, name) in the legend


def add_layout(parent: ET.Element, shown: PrintedMap) -> None:
    """Add a layout `Map` of one page, A4 landscape, to a project."""
    layout = ET.SubElement(
        ET.SubElement(parent, "Layouts"), "Layout", name="Map", units="mm", printResolution="300"
    )
    pages = ET.SubElement(layout, "PageCollection")
    page = _item(pages, _PAGE, (0, 0, *_PAGE_MM), {"background": "true"})
    symbol = ET.SubElement(page, "symbol", type="fill", name="", alpha="1")
    _simple_fill(symbol)
    left, top = _MARGIN_MM, _TOP_MM
    below = top + _MAP_MM[1] + 2
    beside = left + _MAP_MM[0] + 3
    width = _PAGE_MM[0] - 2 * _MARGIN_MM
    _add_words(layout, shown.title, (left, 7, width, 10), size_pt=17, bold=True)
    _add_words(layout, shown.footer, (left, below, width, 10), size_pt=8, bold=False)
    extent = _fitted(shown.extent)
    map_id = _add_map(layout, shown, extent, (left, top, *_MAP_MM))
    _add_legend(layout, shown.layers, map_id, (beside, top, 55, 150))
    _add_scale_bar(layout, extent, map_id, (left + 3, top + _MAP_MM[1] - 14, 60, 12))


def _fitted(extent: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """The extent widened to the shape of the map, about its middle."""
    left, bottom, right, top = extent
    width, height = max(right - left, 1), max(top - bottom, 1)
    shape = _MAP_MM[0] / _MAP_MM[1]
    width, height = max(width, height * shape), max(height, width / shape)
    x, y = (left + right) / 2, (bottom + top) / 2
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _item(
    parent: ET.Element,
    kind: str,
    box: tuple[float, float, float, float],
    attributes: Mapping[str, str],
) -> ET.Element:
    """An item of a layout in a box (left, top, width, height) in millimetres."""
    own = f"{{{uuid.uuid4()}}}"
    left, top, width, height = box
    return ET.SubElement(
        parent,
        "LayoutItem",
        {
            "type": kind,
            "uuid": own,
            "templateUuid": own,
            "position": f"{left},{top},mm",
            "positionOnPage": f"{left},{top},mm",
            "size": f"{width},{height},mm",
            "referencePoint": "0",
            "itemRotation": "0",
            "opacity": "1",
            "visibility": "1",
            "frame": "false",
            "background": "false",
            "outlineWidthM": "0.2,mm",
            **attributes,
        },
    )


def _add_words(
    layout: ET.Element,
    text: str,
    box: tuple[float, float, float, float],
    *,
    size_pt: int,
    bold: bool,
) -> None:
    places = {"labelText": text, "halign": "1", "valign": "32", "htmlState": "0"}
    item = _item(layout, _LABEL, box, places | {"marginX": "0", "marginY": "0", "zValue": "4"})
    ET.SubElement(item, "LabelFont", description=_font(size_pt, bold=bold))
    ET.SubElement(item, "FontColor", _BLACK)


def _font(size_pt: int, *, bold: bool) -> str:
    """A font as Qt writes it down."""
    return f"Sans Serif,{size_pt},-1,5,{75 if bold else 50},0,0,0,0,0"


def _add_map(
    layout: ET.Element,
    shown: PrintedMap,
    extent: tuple[float, float, float, float],
    box: tuple[float, float, float, float],
) -> str:
    """Add the map, at its own time whatever the time controller shows, and return its id."""
    item = _item(
        layout,
        _MAP,
        box,
        {
            "frame": "true",
            "background": "true",
            "zValue": "1",
            "mapRotation": "0",
            "keepLayerSet": "false",
            "followPreset": "false",
            "drawCanvasItems": "true",
            "isTemporal": "1",
            "temporalRangeBegin": shown.begin,
            "temporalRangeEnd": shown.end,
        },
    )
    ET.SubElement(item, "FrameColor", _BLACK)
    ET.SubElement(item, "BackgroundColor", _WHITE)
    sides = dict(zip(("xmin", "ymin", "xmax", "ymax"), map(repr, extent), strict=True))
    ET.SubElement(item, "Extent", sides)
    return item.attrib["uuid"]


def _add_legend(
    layout: ET.Element,
    layers: Sequence[tuple[str, str]],
    map_id: str,
    box: tuple[float, float, float, float],
) -> None:
    item = _item(
        layout,
        _LEGEND,
        box,
        {
            "zValue": "2",
            "map_uuid": map_id,
            "title": "",
            "columnCount": "1",
            "resizeToContents": "1",
            "symbolWidth": "6",
            "symbolHeight": "3.5",
            "symbolAlignment": "1",
            "boxSpace": "0",
            "columnSpace": "2",
            "lineSpacing": "1",
            "fontColor": "#000000",
        },
    )
    styles = ET.SubElement(item, "styles")
    for name, size_pt, bold, side in (
        ("title", 10, False, {}),
        ("group", 10, True, {"marginTop": "3"}),
        ("subgroup", 9, True, {"marginTop": "4"}),
        ("symbol", 9, False, {"marginTop": "1.8"}),
        ("symbolLabel", 9, False, {"marginTop": "2", "marginLeft": "2"}),
    ):
        style = ET.SubElement(
            styles, "style", {"name": name, "alignment": "1", "indent": "0", **side}
        )
        ET.SubElement(style, "styleFont", description=_font(size_pt, bold=bold))
    tree = ET.SubElement(item, "layer-tree-group")
    for layer_id, name in layers:
        ET.SubElement(tree, "layer-tree-layer", id=layer_id, name=name, checked="Qt::Checked")


def _add_scale_bar(
    layout: ET.Element,
    extent: tuple[float, float, float, float],
    map_id: str,
    box: tuple[float, float, float, float],
) -> None:
    unit, label = ("km", "km") if extent[2] - extent[0] > 4_000 else ("meters", "m")
    width = (extent[2] - extent[0]) / (1000 if label == "km" else 1)
    step = _round_number(width / 10)
    item = _item(
        layout,
        _SCALE_BAR,
        box,
        {
            "zValue": "3",
            "background": "true",
            "mapUuid": map_id,
            "style": "Single Box",
            "unitType": unit,
            "unitLabel": label,
            "numMapUnitsPerScaleBarUnit": "1",
            "numUnitsPerSegment": repr(step),
            "segmentMillimeters": repr(step / width * _MAP_MM[0]),
            "numSegments": "2",
            "numSegmentsLeft": "0",
            "segmentSizeMode": "0",
            "height": "2",
            "labelBarSpace": "1.5",
            "boxContentSpace": "1.5",
            "outlineWidth": "0.2",
            "alignment": "0",
        },
    )
    ET.SubElement(item, "BackgroundColor", _WHITE | {"alpha": "200"})
    ET.SubElement(item, "text-style", fontSize="8", fontSizeUnit="Point", textColor="0,0,0,255")
    ET.SubElement(item, "fillColor", _BLACK)
    ET.SubElement(item, "fillColor2", _WHITE)
    ET.SubElement(item, "strokeColor", _BLACK)


def _round_number(value: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is not above a value."""
    power = 10.0 ** math.floor(math.log10(value))
    return max(step * power for step in (1, 2, 5) if step * power <= value * (1 + 1e-9))


def _simple_fill(symbol: ET.Element) -> None:
    layer = ET.SubElement(symbol, "layer", attrib={"class": "SimpleFill", "enabled": "1"})
    options = ET.SubElement(layer, "Option", type="Map")
    for name, value in {
        "color": "255,255,255,255",
        "style": "solid",
        "outline_style": "no",
    }.items():
        ET.SubElement(options, "Option", name=name, type="QString", value=value)
