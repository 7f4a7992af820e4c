"""QGIS styles (QML) of outline layers."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from geoseg.labels import ClassScheme

__all__ = ["outline_style"]

_FILL_ALPHA = 64  # of 255: the image stays visible below
_LINE_MM = 0.4
_DARKER = 0.7


def outline_style(scheme: ClassScheme) -> str:
    """A QML of one colour a class: a translucent fill and a darker, solid outline.

    The layer is categorised by its field `class_name`. Read by QGIS 3.22 and newer.
    """
    root = ET.Element("qgis", version="3.22.0", styleCategories="Symbology")
    renderer = ET.SubElement(root, "renderer-v2", type="categorizedSymbol", attr="class_name")
    categories = ET.SubElement(renderer, "categories")
    symbols = ET.SubElement(renderer, "symbols")
    for index, c in enumerate(scheme.foreground):
        label = c.name.replace("_", " ")
        ET.SubElement(
            categories, "category", value=c.name, label=label, symbol=str(index), render="true"
        )
        _add_symbol(symbols, str(index), c.colour)
    return "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + ET.tostring(
        root, encoding="unicode"
    )


def _add_symbol(symbols: ET.Element, name: str, colour: str) -> None:
    fill = tuple(bytes.fromhex(colour.removeprefix("#")))
    line = tuple(round(v * _DARKER) for v in fill)
    symbol = ET.SubElement(symbols, "symbol", name=name, type="fill", alpha="1")
    layer = ET.SubElement(symbol, "layer", attrib={"class": "SimpleFill", "enabled": "1"})
    options = ET.SubElement(layer, "Option", type="Map")
    for key, value in {
        "color": ",".join(map(str, (*fill, _FILL_ALPHA))),
        "outline_color": ",".join(map(str, (*line, 255))),
        "outline_style": "solid",
        "outline_width": str(_LINE_MM),
        "outline_width_unit": "MM",
        "style": "solid",
    }.items():
        ET.SubElement(options, "Option", name=key, type="QString", value=value)
