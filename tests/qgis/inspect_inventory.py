"""Run by the Python of QGIS: opens an inventory and says, as JSON, what QGIS sees of it.

inspect_inventory.py FILE.gpkg FOLDER YEAR ...

Draws the project as it opens in each year into FOLDER/YEAR.png, without time into all.png, and
prints its layout into layout.png.
"""

import json
import sys
from pathlib import Path

from qgis.core import (
    QgsApplication,
    QgsDateTimeRange,
    QgsLayoutExporter,
    QgsLayoutItemScaleBar,
    QgsMapRendererCustomPainterJob,
    QgsMapSettings,
    QgsProject,
    QgsRuleBasedRenderer,
    QgsUnitTypes,
    QgsVectorLayer,
    QgsWkbTypes,
)
from qgis.PyQt.QtCore import QDate, QDateTime, QSize, Qt, QTime
from qgis.PyQt.QtGui import QImage, QPainter

WIDTH_PX, HEIGHT_PX = 900, 600
LAYERS = ["surveys", "tracks", "outlines", "lakes", "changes", "events", "states"]


def main():
    application = QgsApplication([], False)
    application.initQgis()
    path, folder, *years = sys.argv[1:]
    seen = {"layers": {name: describe(open_layer(path, name)) for name in LAYERS}}
    project = QgsProject.instance()
    seen["opened"] = project.read(f"geopackage:{path}?projectName=inventory")
    seen["project"] = describe_project(project)
    seen["in_project"] = {
        layer.source().split("layername=")[-1]: describe(layer)
        for layer in project.mapLayers().values()
    }
    seen["pixels"] = {year: draw(project, Path(folder), year) for year in [*years, "all"]}
    seen["layout"] = print_layout(project, Path(folder) / "layout.png")
    sys.stdout.write(json.dumps(seen))
    project.clear()
    application.exitQgis()


def open_layer(path, name):
    """As when a user drags it from the browser: with the style in the file."""
    return QgsVectorLayer(f"{path}|layername={name}", name, "ogr")


def describe(layer):
    renderer, times = layer.renderer(), layer.temporalProperties()
    labels = layer.labeling().settings() if layer.labeling() else None
    return {
        "valid": layer.isValid(),
        "geometry": QgsWkbTypes.displayString(layer.wkbType()),
        "crs": layer.crs().authid(),
        "crs_valid": layer.crs().isValid(),
        "rows": layer.featureCount(),
        "types": {field.name(): field.typeName() for field in layer.fields()},
        "title": layer.metadata().title(),
        "licences": layer.metadata().licenses(),
        "renderer": renderer.type() if renderer else "",
        "entries": [list(entry) for entry in entries_of(renderer, layer)],
        "temporal": times.isActive(),
        "mode": int(times.mode()),
        "start_field": times.startField(),
        "end_field": times.endField(),
        "accumulate": times.accumulateFeatures(),
        "label": labels.fieldName if labels and layer.labelsEnabled() else "",
    }


def entries_of(renderer, layer):
    """What the legend says, and how many rows of the layer it says it of."""
    if renderer is None:
        return
    if isinstance(renderer, QgsRuleBasedRenderer):
        rules = renderer.rootRule().children()
        others = [rule.filterExpression() for rule in rules if not rule.isElse()]
        for rule in rules:
            which = rule.filterExpression()
            if rule.isElse():
                which = " AND ".join(f"coalesce({other}, false) = false" for other in others)
            yield rule.label(), rule.symbol().color().name(), count(layer, which)
        return
    for category in getattr(renderer, "categories", list)():
        which = f"\"{renderer.classAttribute()}\" = '{category.value()}'"
        yield category.label(), category.symbol().color().name(), count(layer, which)


def count(layer, expression):
    return sum(1 for _ in layer.getFeatures(expression))


def describe_project(project):
    settings, times = project.viewSettings(), project.timeSettings()
    return {
        "error": project.error(),
        "title": project.title(),
        "crs": project.crs().authid(),
        "crs_valid": project.crs().isValid(),
        "crs_metres": QgsUnitTypes.encodeUnit(project.crs().mapUnits()) == "meters",
        "begin": times.temporalRange().begin().toString(Qt.ISODate),
        "end": times.temporalRange().end().toString(Qt.ISODate),
        "step": [times.timeStep(), QgsUnitTypes.encodeUnit(times.timeStepUnit())],
        "cumulative": times.isTemporalRangeCumulative(),
        "controller": project.readNumEntry("TemporalControllerWidget", "/NavigationMode")[0],
        "groups": [group.name() for group in project.layerTreeRoot().children()],
        "visible": [n.layerId() for n in project.layerTreeRoot().findLayers() if n.isVisible()],
        "layouts": [layout.name() for layout in project.layoutManager().layouts()],
        "relations": sorted(
            r.id() for r in project.relationManager().relations().values() if r.isValid()
        ),
        "extent": box(settings.defaultViewExtent()),
    }


def box(extent):
    return [extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum()]


def draw(project, folder, year):
    """How many pixels are not white, by layer and all together; QGIS hides what has no colour."""
    visible = [n.layer() for n in project.layerTreeRoot().findLayers() if n.isVisible()]
    counts = {layer.name(): coloured(project, [layer], year) for layer in visible}
    counts["together"] = coloured(project, visible, year, folder / f"{year}.png")
    return counts


def coloured(project, layers, year, path=None):
    settings = QgsMapSettings()
    settings.setOutputSize(QSize(WIDTH_PX, HEIGHT_PX))
    settings.setLayers(layers)
    settings.setDestinationCrs(project.crs())
    settings.setTransformContext(project.transformContext())
    settings.setExtent(project.viewSettings().defaultViewExtent())
    if year != "all":
        settings.setIsTemporal(True)
        settings.setTemporalRange(frame(int(year)))
    image = QImage(WIDTH_PX, HEIGHT_PX, QImage.Format_RGB32)
    image.fill(Qt.white)
    painter = QPainter(image)
    job = QgsMapRendererCustomPainterJob(settings, painter)
    job.start()
    job.waitForFinished()
    painter.end()
    if path is not None:
        image.save(str(path))
    return not_white(image)


def frame(year):
    """A year of the time controller: half-open."""
    first, after = (QDateTime(QDate(y, 1, 1), QTime(0, 0), Qt.UTC) for y in (year, year + 1))
    return QgsDateTimeRange(first, after, True, False)


def not_white(image):
    data = image.convertToFormat(QImage.Format_RGB888)
    pixels = bytes(data.constBits().asstring(data.byteCount()))
    row = data.bytesPerLine()
    return sum(
        pixels[row * y + 3 * x : row * y + 3 * x + 3] != b"\xff\xff\xff"
        for y in range(data.height())
        for x in range(data.width())
    )


def print_layout(project, path):
    layout = project.layoutManager().layoutByName("Map")
    if layout is None:
        return {}
    settings = QgsLayoutExporter.ImageExportSettings()
    settings.dpi = 100
    result = QgsLayoutExporter(layout).exportToImage(str(path), settings)
    image = QImage(str(path))
    return {
        "result": int(result),
        "size": [image.width(), image.height()],
        "pages": layout.pageCollection().pageCount(),
        "items": sorted(type(item).__name__ for item in layout.items()),
        "bars_mm": [
            item.rect().width()
            for item in layout.items()
            if isinstance(item, QgsLayoutItemScaleBar)
        ],
        "coloured": not_white(image),
    }


main()
