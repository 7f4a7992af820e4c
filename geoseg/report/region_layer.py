"""Windows of a map to label, as a GeoPackage to draw outlines into with QGIS."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import geopandas as gpd
import numpy as np
from pyogrio.errors import DataLayerError, DataSourceError

from geoseg.errors import LabelError, OutputError
from geoseg.inventory.storage.geopackage import LayerTraits, write_geopackage
from geoseg.labels import LABELLED
from geoseg.report.qgis import qgis_document
from geoseg.report.qgis_form import FORM_CATEGORIES, value_maps
from geoseg.vectors import opening

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["read_windows", "require_untouched", "write_region_layers"]

_WINDOWS, _OUTLINES = "windows", "outlines"
_SAID = {"all outlines are drawn": LABELLED, "cannot be told": "unknown"}
_COLOURS = {"doubtful": "217,119,6", "rare": "190,18,60", "audit": "29,111,209"}


def write_region_layers(path: Path, windows: gpd.GeoDataFrame, classes: Sequence[str]) -> None:
    """Write the layer `windows`, and an empty layer `outlines` to draw what lies in them.

    In QGIS, `said` of a window is chosen from a list: labelled or unknown, NULL as long as nobody
    has looked; and `class_name` of an outline from the classes.

    Args:
        path: the .gpkg; replaced when it exists.
        windows: as `choose_regions` gives them.
        classes: of outlines; without any, their names are typed in.

    Raises:
        ConfigError: the path does not end in .gpkg.
        OutputError: it cannot be written, or is open in another program.
    """
    asked = windows.assign(said=np.full(len(windows), None, dtype=object))
    drawn = gpd.GeoDataFrame(
        {"class_name": np.empty(0, dtype=object)}, geometry=[], crs=windows.crs
    )
    names = {name.replace("_", " "): name for name in classes}
    styles = {
        _WINDOWS: _style({"said": _SAID}, _frames()),
        _OUTLINES: _style({"class_name": names} if names else {}),
    }
    traits = {
        _WINDOWS: LayerTraits(title="Windows to label"),
        _OUTLINES: LayerTraits(title="Outlines in these windows"),
    }
    write_geopackage(
        path, {_WINDOWS: asked, _OUTLINES: drawn}, styles=styles, metadata={}, traits=traits
    )


def read_windows(path: Path) -> gpd.GeoSeries:
    """The windows of a file that `write_region_layers` wrote, answered or not.

    Raises:
        LabelError: it is none.
    """
    try:
        with opening(path) as file:
            return gpd.read_file(file, layer=_WINDOWS, columns=["said"]).geometry
    except (DataSourceError, DataLayerError, ValueError) as error:
        raise LabelError(
            f"{path} holds no windows ({error}); give a file of `geoseg active regions`."
        ) from error


def require_untouched(path: Path) -> None:
    """Refuse to replace windows that somebody has answered, or drawn outlines in.

    Raises:
        OutputError: somebody has.
    """
    if not path.is_file():
        return
    try:
        with opening(path) as file:
            windows = gpd.read_file(file, layer=_WINDOWS, columns=["said"], ignore_geometry=True)
            drawn = len(gpd.read_file(file, layer=_OUTLINES, ignore_geometry=True))
        said = windows["said"]
    except (DataSourceError, DataLayerError, ValueError, KeyError):
        return
    if drawn or said.notna().any():
        raise OutputError(
            f"{path} holds {drawn} outlines that were drawn and {said.notna().sum()} windows that "
            "were answered; name another file for --out, and this one with --done."
        )


def _style(choices: dict[str, dict[str, str]], *parts: ET.Element) -> str:
    categories = f"Symbology|{FORM_CATEGORIES}" if parts else FORM_CATEGORIES
    root = ET.Element("qgis", version="3.22.0", styleCategories=categories)
    root.extend([value_maps(choices), *parts])
    return qgis_document(root)


def _frames() -> ET.Element:
    """A frame of one colour for each reason, with nothing over the image."""
    renderer = ET.Element("renderer-v2", type="categorizedSymbol", attr="why")
    categories = ET.SubElement(renderer, "categories")
    symbols = ET.SubElement(renderer, "symbols")
    for number, (why, colour) in enumerate(_COLOURS.items()):
        ET.SubElement(
            categories, "category", value=why, label=why, symbol=str(number), render="true"
        )
        symbol = ET.SubElement(symbols, "symbol", name=str(number), type="fill", alpha="1")
        layer = ET.SubElement(symbol, "layer", attrib={"class": "SimpleFill", "enabled": "1"})
        listed = ET.SubElement(layer, "Option", type="Map")
        drawn = {"style": "no", "outline_color": f"{colour},255", "outline_width": "0.6"}
        for key, value in drawn.items():
            ET.SubElement(listed, "Option", name=key, type="QString", value=value)
    return renderer
