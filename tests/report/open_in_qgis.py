"""Run by the Python of QGIS: opens the layers of a GeoPackage and says, as JSON, what QGIS sees.

open_in_qgis.py FILE.gpkg LAYER ...
"""

import json
import sys

from qgis.core import (
    QgsApplication,
    QgsMapRendererCustomPainterJob,
    QgsMapSettings,
    QgsVectorLayer,
    QgsWkbTypes,
)
from qgis.PyQt.QtCore import QSize, Qt
from qgis.PyQt.QtGui import QImage, QPainter

SIDE_PX = 200


def main():
    application = QgsApplication([], False)
    application.initQgis()
    path, *names = sys.argv[1:]
    layers = [QgsVectorLayer(f"{path}|layername={name}", name, "ogr") for name in names]
    sys.stdout.write(json.dumps({layer.name(): describe(layer) for layer in layers}))
    del layers
    application.exitQgis()


def describe(layer):
    renderer, times = layer.renderer(), layer.temporalProperties()
    return {
        "valid": layer.isValid(),
        "geometry": QgsWkbTypes.displayString(layer.wkbType()),
        "crs": layer.crs().authid(),
        "rows": layer.featureCount(),
        "types": {field.name(): field.typeName() for field in layer.fields()},
        "renderer": renderer.type(),
        "field": getattr(renderer, "classAttribute", str)(),
        "categories": [
            {
                "value": category.value(),
                "label": category.label(),
                "fill": category.symbol().color().getRgb(),
                "line": category.symbol().symbolLayer(0).strokeColor().getRgb(),
                "width_mm": category.symbol().symbolLayer(0).strokeWidth(),
            }
            for category in getattr(renderer, "categories", list)()
        ],
        "start_field": times.startField(),
        "end_field": times.endField(),
        "colours": colours_of(layer),
    }


def colours_of(layer):
    """How many pixels have which colour when the layer is drawn on white, hard-edged."""
    settings = QgsMapSettings()
    settings.setOutputSize(QSize(SIDE_PX, SIDE_PX))
    settings.setLayers([layer])
    settings.setDestinationCrs(layer.crs())
    settings.setExtent(layer.extent())
    settings.setFlag(QgsMapSettings.Antialiasing, False)
    image = QImage(SIDE_PX, SIDE_PX, QImage.Format_RGB32)
    image.fill(Qt.white)
    painter = QPainter(image)
    job = QgsMapRendererCustomPainterJob(settings, painter)
    job.start()
    job.waitForFinished()
    painter.end()
    counts = {}
    for row in range(SIDE_PX):
        for column in range(SIDE_PX):
            name = image.pixelColor(column, row).name()
            counts[name] = counts.get(name, 0) + 1
    return counts


main()
