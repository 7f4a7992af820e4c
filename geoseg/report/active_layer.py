"""A proposal as places to answer on in QGIS: a list to choose from, a colour an answer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from pyproj import Geod

from geoseg.active.ingest import PLACES, PROJECT_KEY
from geoseg.active.record import UNKNOWN
from geoseg.inventory.storage.geopackage import LayerTraits, write_geopackage
from geoseg.report.qgis import qgis_document
from geoseg.report.qgis_form import FORM_CATEGORIES, value_maps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from geoseg.active.pool import Pool
    from geoseg.active.record import Proposed

__all__ = ["map_link", "write_places_layer"]

_CHIPS = "chips"
_NULL = "{2839923C-8B7D-419E-B84B-CA2FE9B80EC7}"  # what QGIS writes for no value in a value map
_FIXED = ("item", "rank", "link")
_NOT_ANSWERED, _CANNOT_TELL = "#ffffff", "#f2c230"
_COLOURS = ("#8a8f98", "#c8312b", "#1d6fd1", "#15803d", "#7c3aed", "#db2777", "#0f766e", "#a16207")
_ZOOM = 14  # of a map: a valley
_ELLIPSOID = Geod(ellps="WGS84")


def write_places_layer(
    path: Path,
    proposed: Sequence[Proposed],
    pool: Pool,
    classes: Sequence[str],
    *,
    key: str,
    chip_m: float | None = None,
) -> None:
    """Write items of a round as points to answer on, without what would lead who answers.

    That is what the model thinks of them, and why they were proposed. The layer `places` has a row
    an item: item and rank; said, with a list of the classes and `unknown` to choose from, empty
    until it is answered; annotator and note, free; and a link that shows the place on a map. Where
    the side of a chip is known, a layer `chips` frames what was looked at. An item without a
    position has a row and no point.

    Args:
        path: the .gpkg; replaced when it exists.
        proposed: of a round.
        pool: that knows where items lie.
        classes: of the project.
        key: of the project, by which `geoseg active ingest` knows its own.
        chip_m: side of the square that is looked at, in metres.

    Raises:
        OutputError: it cannot be written, or is open in another program.
    """
    rows = pool.positions([one.item for one in proposed])
    lon, lat = pool.lon[rows], pool.lat[rows]
    known = np.isfinite(lon) & np.isfinite(lat)
    points = np.full(len(rows), None, dtype=object)
    points[known] = shapely.points(lon[known], lat[known])
    empty = pd.array([None] * len(rows), dtype=object)
    table = {
        "item": [one.item for one in proposed],
        "rank": np.array([one.rank for one in proposed], dtype=np.int64),
        "said": empty,
        "annotator": empty,
        "note": empty,
        "link": [map_link(*at) for at in zip(lon.tolist(), lat.tolist(), strict=True)],
    }
    layers = {PLACES: gpd.GeoDataFrame(table, geometry=points, crs="EPSG:4326")}
    styles = {PLACES: _style(classes)}
    traits = {
        PLACES: LayerTraits(
            points=True, gaps=True, title="Places to look at", metadata={PROJECT_KEY: key}
        )
    }
    if chip_m is not None:
        frames = [_square(*at, chip_m) for at in zip(lon[known], lat[known], strict=True)]
        named = pd.DataFrame({name: table[name] for name in ("item", "rank")})[known]
        layers[_CHIPS] = gpd.GeoDataFrame(
            named.reset_index(drop=True), geometry=frames, crs="EPSG:4326"
        )
        styles[_CHIPS] = _frame_style()
        traits[_CHIPS] = LayerTraits(title="What was looked at")
    write_geopackage(path, layers, styles=styles, metadata={}, traits=traits)


def map_link(lon: float, lat: float) -> str | None:
    """The address of a map in a browser that marks a place; None where it is not known."""
    if not (math.isfinite(lon) and math.isfinite(lat)):
        return None
    at = f"{lat:.5f}", f"{lon:.5f}"
    return f"https://www.openstreetmap.org/?mlat={at[0]}&mlon={at[1]}#map={_ZOOM}/{at[0]}/{at[1]}"


def _square(lon: float, lat: float, side_m: float) -> shapely.Polygon:
    """A square of so many metres around a place, its sides to the north and east.

    Across the antimeridian its longitudes go beyond 180, so that it stays in one piece.
    """
    corners = [
        _ELLIPSOID.fwd(lon, lat, azimuth, side_m / math.sqrt(2))[:2]
        for azimuth in (45, 135, 225, 315)
    ]
    turned = [(lon + math.remainder(x - lon, 360), y) for x, y in corners]
    return shapely.Polygon(turned)


def _style(classes: Sequence[str]) -> str:
    """A QML: a mark by what was said, and a form that takes nothing but what can be said."""
    said = {
        **{name: _COLOURS[n % len(_COLOURS)] for n, name in enumerate(classes)},
        UNKNOWN: _CANNOT_TELL,
    }
    root = _root(f"Symbology|{FORM_CATEGORIES}")
    root.append(_renderer(said))
    fields = value_maps({"said": {"(not answered)": _NULL, **{name: name for name in said}}})
    link = ET.SubElement(ET.SubElement(fields, "field", name="link"), "editWidget")
    link.set("type", "ExternalResource")
    options = ET.SubElement(ET.SubElement(link, "config"), "Option", type="Map")
    for option in ("UseLink", "FullUrl"):
        ET.SubElement(options, "Option", name=option, type="bool", value="true")
    root.append(fields)
    editable = ET.SubElement(root, "editable")
    for name in _FIXED:
        ET.SubElement(editable, "field", name=name, editable="0")
    return qgis_document(root)


def _root(categories: str) -> ET.Element:
    return ET.Element("qgis", version="3.22.0", styleCategories=categories)


def _renderer(said: Mapping[str, str]) -> ET.Element:
    renderer = ET.Element("renderer-v2", type="categorizedSymbol", attr="said")
    categories = ET.SubElement(renderer, "categories")
    symbols = ET.SubElement(renderer, "symbols")
    # A category of no value is that of all others, of those without one too.
    labels = {**{name: name.replace("_", " ") for name in said}, "": "not answered"}
    for number, (value, label) in enumerate(labels.items()):
        ET.SubElement(
            categories,
            "category",
            value=value,
            label=label,
            symbol=str(number),
            render="true",
        )
        symbol = ET.SubElement(symbols, "symbol", name=str(number), type="marker", alpha="1")
        _layer(
            symbol,
            "SimpleMarker",
            name="circle",
            color=_rgb(said.get(value, _NOT_ANSWERED)),
            outline_color="25,30,40,255",
            outline_width="0.3",
            size="3.4",
        )
    return renderer


def _frame_style() -> str:
    root = _root("Symbology")
    renderer = ET.SubElement(root, "renderer-v2", type="singleSymbol")
    symbols = ET.SubElement(renderer, "symbols")
    symbol = ET.SubElement(symbols, "symbol", name="0", type="fill", alpha="1")
    _layer(symbol, "SimpleFill", style="no", outline_color="25,30,40,255", outline_width="0.3")
    return qgis_document(root)


def _layer(symbol: ET.Element, kind: str, **options: str) -> None:
    layer = ET.SubElement(symbol, "layer", attrib={"class": kind, "enabled": "1"})
    listed = ET.SubElement(layer, "Option", type="Map")
    for key, value in options.items():
        ET.SubElement(listed, "Option", name=key, type="QString", value=value)


def _rgb(colour: str) -> str:
    return ",".join(map(str, (*bytes.fromhex(colour.removeprefix("#")), 255)))
