"""The QGIS project of an inventory, written without QGIS."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import geopandas as gpd
import numpy as np
from pyproj import CRS

from geoseg.errors import ConfigError
from geoseg.report.qgis import inventory_styles, qgis_document
from geoseg.report.qgis_layout import PrintedMap, add_layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geoseg.inventory import Inventory

__all__ = ["inventory_project"]

# From the top; a layer above hides what lies below. Tracks hide the outlines: they are off.
_GROUPS = {
    "Events and changes": ("events", "changes"),
    "Outlines": ("lakes", "outlines"),
    "Context": ("surveys", "tracks", "states"),
}
_NAMES = {
    "events": "Events",
    "changes": "Ground gained and lost",
    "lakes": "Lakes by type",
    "outlines": "Outlines",
    "surveys": "Ground seen",
    "tracks": "Change of each track",
    "states": "States",
}
_OFF = frozenset({"tracks", "states"})
_TIMED = frozenset({"events", "changes", "lakes", "outlines", "surveys"})
_OF_A_TRACK = ("outlines", "states")
_BY_EXPRESSIONS = "4"  # temporal mode of QGIS: a row lasts from the one until the other
_ANIMATED = "1"  # mode of its time controller
_WGS_84 = "EPSG:7030"  # the ellipsoid that QGIS measures on
_ROOM = 0.04  # about all outlines, of their width


def inventory_project(inventory: Inventory, *, file_name: str) -> str:
    """The XML of a QGIS project (.qgs) for an inventory, to be kept in its GeoPackage.

    Layers are in groups and in the styles of `inventory_styles`. They take their time from the
    fields `shown_from` and `shown_until` that `write_inventory` adds, and the time controller goes
    by years from the first survey to the last. Outlines and states are related to their tracks. The
    layout `Map` prints the last survey. Read by QGIS 3.22 and newer.

    Args:
        inventory: the one that is written.
        file_name: of the GeoPackage, without a folder; the project is lost when it is renamed.

    Raises:
        ConfigError: QGIS cannot name a layer of such a file.
    """
    if "|" in file_name or "/" in file_name:
        raise ConfigError(
            f"{file_name!r} cannot name the file of a QGIS project; leave out | and /."
        )
    crs, extent = CRS(inventory.outlines.crs), _extent(inventory)
    begin, end = _years(inventory)
    root = ET.Element("qgis", version="3.22.0", projectname=inventory.title)
    ET.SubElement(root, "homePath", path="")
    ET.SubElement(root, "title").text = inventory.title
    root.append(_crs("projectCrs", crs))
    root.append(_tree(file_name))
    root.append(_relations())
    root.append(_canvas(crs, extent))
    root.append(_layers(inventory, crs, file_name))
    root.append(_properties(begin, end))
    root.append(_metadata(inventory))
    add_layout(root, _printed(inventory, extent, end))
    root.append(_view(crs, extent))
    root.append(_times(begin, end))
    return qgis_document(root)


def _extent(inventory: Inventory) -> tuple[float, float, float, float]:
    """Left, bottom, right and top of all that there is, with room about it, in metres."""
    bounds = np.array(
        [t.total_bounds for _, t in inventory.tables() if isinstance(t, gpd.GeoDataFrame)]
    )
    if not np.isfinite(bounds).any():
        return 0, 0, 1000, 1000
    low, high = np.nanmin(bounds[:, :2], axis=0), np.nanmax(bounds[:, 2:], axis=0)
    room = _ROOM * float((high - low).max())
    left, bottom = (low - room).tolist()
    right, top = (high + room).tolist()
    return left, bottom, right, top


def _years(inventory: Inventory) -> tuple[int, int]:
    """The year of the first survey and the first year after the last."""
    years = [day.year for day in inventory.surveys["start_date"]] or [datetime.now(UTC).year]
    return min(years), max(years) + 1


def _first_of(year: int) -> str:
    return f"{year:04d}-01-01T00:00:00Z"


def _id(layer: str) -> str:
    return f"{layer}_of_inventory"


def _source(layer: str, file_name: str) -> str:
    return f"./{file_name}|layername={layer}"


def _crs(tag: str, crs: CRS) -> ET.Element:
    element = ET.Element(tag)
    own = ET.SubElement(element, "spatialrefsys")
    epsg = crs.to_epsg()
    ET.SubElement(own, "wkt").text = crs.to_wkt("WKT2_2019")
    # Above 0: QGIS looks at the authority then, and at the WKT where there is none.
    ET.SubElement(own, "srsid").text = "1"
    ET.SubElement(own, "srid").text = str(epsg or 0)
    ET.SubElement(own, "authid").text = f"EPSG:{epsg}" if epsg else ""
    ET.SubElement(own, "description").text = crs.name
    ET.SubElement(own, "geographicflag").text = "false"
    return element


def _tree(file_name: str) -> ET.Element:
    root = ET.Element("layer-tree-group")
    for title, layers in _GROUPS.items():
        group = ET.SubElement(
            root, "layer-tree-group", name=title, checked="Qt::Checked", expanded="1"
        )
        for layer in layers:
            ET.SubElement(
                group,
                "layer-tree-layer",
                id=_id(layer),
                name=_NAMES[layer],
                source=_source(layer, file_name),
                providerKey="ogr",
                checked="Qt::Unchecked" if layer in _OFF else "Qt::Checked",
                expanded="0" if layer in _OFF else "1",
            )
    return root


def _relations() -> ET.Element:
    """What the form of a track lists below its own fields."""
    relations = ET.Element("relations")
    for layer in _OF_A_TRACK:
        relation = ET.SubElement(
            relations,
            "relation",
            id=f"{layer}_of_track",
            name=_NAMES[layer],
            referencedLayer=_id("tracks"),
            referencingLayer=_id(layer),
            strength="Association",
        )
        ET.SubElement(relation, "fieldRef", referencedField="track_id", referencingField="track_id")
    return relations


def _canvas(crs: CRS, extent: Sequence[float]) -> ET.Element:
    canvas = ET.Element("mapcanvas", name="theMapCanvas", annotationsVisible="1")
    ET.SubElement(canvas, "units").text = "meters"
    sides = ET.SubElement(canvas, "extent")
    for name, value in zip(("xmin", "ymin", "xmax", "ymax"), extent, strict=True):
        ET.SubElement(sides, name).text = repr(value)
    ET.SubElement(canvas, "rotation").text = "0"
    canvas.append(_crs("destinationsrs", crs))
    return canvas


def _view(crs: CRS, extent: Sequence[float]) -> ET.Element:
    """Where the project opens."""
    view = ET.Element("ProjectViewSettings", UseProjectScales="0")
    sides = dict(zip(("xmin", "ymin", "xmax", "ymax"), map(repr, extent), strict=True))
    place = ET.SubElement(view, "DefaultViewExtent", sides)
    place.extend(_crs("crs", crs))
    return view


def _layers(inventory: Inventory, crs: CRS, file_name: str) -> ET.Element:
    styles = inventory_styles(inventory)
    layers = ET.Element("projectlayers")
    for layer, table in inventory.tables():
        spatial = isinstance(table, gpd.GeoDataFrame)
        point = "Point" if layer == "events" else "Polygon"
        element = ET.SubElement(
            layers, "maplayer", type="vector", geometry=point if spatial else "No geometry"
        )
        ET.SubElement(element, "id").text = _id(layer)
        ET.SubElement(element, "datasource").text = _source(layer, file_name)
        ET.SubElement(element, "layername").text = _NAMES[layer]
        ET.SubElement(element, "provider", encoding="UTF-8").text = "ogr"
        if spatial:
            element.append(_crs("srs", crs))
            style = ET.fromstring(styles[layer])
            element.set("labelsEnabled", style.get("labelsEnabled", "0"))
            element.extend(style)
        if layer in _TIMED:
            element.append(_temporal())
    return layers


def _temporal() -> ET.Element:
    """From `shown_from` until before `shown_until`, without what was shown before.

    As expressions, not as fields: QGIS leaves the comparison of fields to SQLite, which compares
    them as text and takes the 1st of January for the year before.
    """
    return ET.Element(
        "temporal",
        enabled="1",
        mode=_BY_EXPRESSIONS,
        startExpression='to_datetime("shown_from")',
        endExpression='coalesce(to_datetime("shown_until"), make_datetime(9999, 1, 1, 0, 0, 0))',
        startField="",
        endField="",
        durationField="",
        durationUnit="min",
        fixedDuration="0",
        limitMode="0",
        accumulate="0",
    )


def _properties(begin: int, end: int) -> ET.Element:
    """Entries of the project: relative paths, and the time controller open at the first year."""
    properties = ET.Element("properties")
    paths = ET.SubElement(properties, "Paths")
    ET.SubElement(paths, "Absolute", type="bool").text = "false"
    placed = ET.SubElement(properties, "SpatialRefSys")  # without it the project has no system
    ET.SubElement(placed, "ProjectionsEnabled", type="int").text = "1"
    measure = ET.SubElement(properties, "Measure")
    ET.SubElement(measure, "Ellipsoid", type="QString").text = _WGS_84
    controller = ET.SubElement(properties, "TemporalControllerWidget")
    ET.SubElement(controller, "NavigationMode", type="int").text = _ANIMATED
    ET.SubElement(controller, "StartDateTime", type="QString").text = _first_of(begin)
    ET.SubElement(controller, "EndDateTime", type="QString").text = _first_of(end)
    return properties


def _times(begin: int, end: int) -> ET.Element:
    settings = ET.Element(
        "ProjectTimeSettings",
        timeStep="1",
        timeStepUnit="y",
        frameRate="1",
        cumulativeTemporalRange="0",
    )
    span = ET.SubElement(settings, "TemporalRange")
    ET.SubElement(span, "start").text = _first_of(begin)
    ET.SubElement(span, "end").text = _first_of(end)
    return settings


def _metadata(inventory: Inventory) -> ET.Element:
    metadata = ET.Element("projectMetadata")
    made = "\n".join(f"{key}: {value}" for key, value in inventory.provenance.items())
    ET.SubElement(metadata, "type").text = "dataset"
    ET.SubElement(metadata, "title").text = inventory.title
    ET.SubElement(metadata, "abstract").text = made
    return metadata


def _printed(
    inventory: Inventory, extent: tuple[float, float, float, float], end: int
) -> PrintedMap:
    legend = [layer for layers in _GROUPS.values() for layer in layers if layer not in _OFF]
    words = [f"Survey of {end - 1}", CRS(inventory.outlines.crs).name]
    if inventory.licence:
        words.append(inventory.licence)
    return PrintedMap(
        title=inventory.title,
        footer=".  ".join(words) + ".",
        extent=extent,
        begin=_first_of(end - 1),
        end=_first_of(end),
        layers=[(_id(layer), _NAMES[layer]) for layer in legend],
    )
