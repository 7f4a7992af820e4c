"""Fields that QGIS offers a list of values for, when a person edits a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FORM_CATEGORIES", "value_maps"]

FORM_CATEGORIES = "Fields|Forms"  # the parts of a style that QGIS takes a form from


def value_maps(choices: Mapping[str, Mapping[str, str]]) -> ET.Element:
    """The part of a QML by which fields are filled from a list, and from nothing else.

    Args:
        choices: by field, what is stored by the words that are shown, in their order.
    """
    root = ET.Element("fieldConfiguration")
    for field, values in choices.items():
        widget = ET.SubElement(ET.SubElement(root, "field", name=field), "editWidget")
        widget.set("type", "ValueMap")
        config = ET.SubElement(ET.SubElement(widget, "config"), "Option", type="Map")
        listed = ET.SubElement(config, "Option", name="map", type="List")
        for shown, stored in values.items():
            one = ET.SubElement(listed, "Option", type="Map")
            ET.SubElement(one, "Option", name=shown, type="QString", value=stored)
    return root
