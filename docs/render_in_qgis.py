"""Draw GeoPackages as QGIS shows them, with the styles they hold, as a PNG.

Run by the Python that QGIS belongs to (Debian: apt-get install python3-qgis qgis-providers):

    /usr/bin/python3 docs/render_in_qgis.py map.png inventory.gpkg --raster scene.tif --bands 4,3,2
    /usr/bin/python3 docs/render_in_qgis.py map.png 1962.gpkg:outlines 2005.gpkg:outlines

Layers named first lie on top. The map shows the raster, or the layers where there is none.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("GDAL_PAM_ENABLED", "NO")  # statistics leave no .aux.xml beside the raster

from qgis.core import (
    QgsApplication,
    QgsCategorizedSymbolRenderer,
    QgsContrastEnhancement,
    QgsCoordinateTransform,
    QgsMapRendererCustomPainterJob,
    QgsMapSettings,
    QgsMultiBandColorRenderer,
    QgsProject,
    QgsRasterLayer,
    QgsRasterMinMaxOrigin,
    QgsRectangle,
    QgsSymbol,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QPoint, QRect, QSize, Qt
from qgis.PyQt.QtGui import QColor, QFont, QFontMetrics, QImage, QPainter

_DPI = 120
_MARGIN = 1.05  # around layers without a raster
_PAD_PX = 12  # around and inside the legend
_SWATCH_PX = (36, 20)
_CORNERS = ("bottom-left", "bottom-right", "top-left", "top-right", "none")


def main() -> None:
    """Draw what the command line names."""
    options = _parse()
    application = QgsApplication([], False)
    application.initQgis()
    layers = [layer for source in options.layers for layer in open_layers(source)]
    raster = open_raster(options.raster, options.bands) if options.raster else None
    image = draw(layers, raster, options.size)
    if options.legend != "none":
        draw_legend(image, occurring_classes(layers), corner=options.legend)
    if not image.save(str(options.out), "PNG"):
        sys.exit(f"{options.out} cannot be written.")
    # Everything of QGIS goes before QGIS itself; the other order crashes at exit.
    del layers, raster
    application.exitQgis()


def open_layers(source: str) -> list[QgsVectorLayer]:
    """The layer that FILE:LAYER names, or all layers of FILE that hold outlines."""
    path, _, name = (source, "", "") if Path(source).exists() else source.rpartition(":")
    if not Path(path).is_file():
        sys.exit(f"{path or source} is no file.")
    whole = QgsVectorLayer(path, "", "ogr")
    if not whole.isValid():
        sys.exit(f"{path} is no file of outlines that QGIS can read.")
    provider = whole.dataProvider()
    known = [entry.split(provider.sublayerSeparator())[1] for entry in provider.subLayers()]
    if name and name not in known:
        sys.exit(f"{path} has no layer {name!r}. Known: {', '.join(known)}.")
    layers = [QgsVectorLayer(f"{path}|layername={n}", n, "ogr") for n in known if n == (name or n)]
    return [layer for layer in layers if layer.isSpatial()]


def open_raster(path: Path, bands: list[int]) -> QgsRasterLayer:
    """The raster in the colours of three bands, counted from 1; in grey where it has one."""
    raster = QgsRasterLayer(str(path), "")
    if not raster.isValid():
        sys.exit(f"{path} is no raster that QGIS can read.")
    if raster.bandCount() >= max(3, *bands):
        raster.setRenderer(QgsMultiBandColorRenderer(raster.dataProvider(), *bands))
    elif bands != [1, 2, 3]:
        sys.exit(f"{path} has {raster.bandCount()} bands; --bands asks for {bands}.")
    raster.setContrastEnhancement(
        QgsContrastEnhancement.StretchToMinimumMaximum, QgsRasterMinMaxOrigin.CumulativeCut
    )
    return raster


def draw(layers: list[QgsVectorLayer], raster: QgsRasterLayer | None, size: QSize) -> QImage:
    """The map, on white."""
    settings = QgsMapSettings()
    settings.setOutputSize(size)
    settings.setOutputDpi(_DPI)
    settings.setLayers([*layers, raster] if raster else layers)
    settings.setDestinationCrs((raster or layers[0]).crs())
    settings.setFlag(QgsMapSettings.Antialiasing)
    settings.setExtent(raster.extent() if raster else extent_of(layers))
    image = QImage(size, QImage.Format_RGB32)
    image.fill(Qt.white)  # an empty extent draws nothing, not even the background
    painter = QPainter(image)
    job = QgsMapRendererCustomPainterJob(settings, painter)
    job.start()
    job.waitForFinished()
    painter.end()
    return image


def extent_of(layers: list[QgsVectorLayer]) -> QgsRectangle:
    """What holds all these layers and a margin, in the reference system of the first."""
    whole = QgsRectangle()
    for layer in layers:
        if layer.featureCount() > 0:
            place = QgsCoordinateTransform(layer.crs(), layers[0].crs(), QgsProject.instance())
            whole.combineExtentWith(place.transformBoundingBox(layer.extent()))
    whole.scale(_MARGIN)
    return whole


def occurring_classes(layers: list[QgsVectorLayer]) -> dict[str, QgsSymbol]:
    """Symbols by label, of the classes that at least one outline has."""
    classes: dict[str, QgsSymbol] = {}
    for layer in layers:
        renderer = layer.renderer()
        if isinstance(renderer, QgsCategorizedSymbolRenderer):
            field = layer.fields().lookupField(renderer.classAttribute())
            values = layer.uniqueValues(field)
            for category in renderer.categories():
                if category.value() in values:
                    classes.setdefault(category.label(), category.symbol().clone())
    return classes


def draw_legend(image: QImage, classes: dict[str, QgsSymbol], *, corner: str) -> None:
    """Put the classes into a corner of the image, such as 'bottom-left'."""
    if not classes:
        return
    font = QFont("DejaVu Sans")
    font.setPixelSize(16)
    text_width = max(QFontMetrics(font).horizontalAdvance(label) for label in classes)
    width, height = _SWATCH_PX
    line = height + _PAD_PX
    box = QRect(0, 0, width + text_width + 3 * _PAD_PX, len(classes) * line + _PAD_PX)
    frame = image.rect().adjusted(_PAD_PX, _PAD_PX, -_PAD_PX, -_PAD_PX)
    box.moveTopLeft(frame.topLeft())
    if corner.startswith("bottom"):
        box.moveBottom(frame.bottom())
    if corner.endswith("right"):
        box.moveRight(frame.right())
    painter = QPainter(image)
    painter.setFont(font)
    painter.fillRect(box, QColor(255, 255, 255, 225))
    for row, (label, symbol) in enumerate(classes.items()):
        start = box.topLeft() + QPoint(_PAD_PX, _PAD_PX + row * line)
        painter.drawImage(start, symbol.asImage(QSize(width, height)))
        place = QRect(start + QPoint(width + _PAD_PX, 0), QSize(text_width + 1, height))
        painter.drawText(place, Qt.AlignVCenter, label)
    painter.end()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, metavar="OUT.png")
    parser.add_argument("layers", nargs="+", metavar="GPKG[:layer]")
    parser.add_argument("--raster", type=Path, help="image below the outlines")
    parser.add_argument("--bands", type=_bands, default=[1, 2, 3], help="red,green,blue of it")
    parser.add_argument("--size", type=_size, default=QSize(1200, 900), help="1200x900, in pixels")
    parser.add_argument("--legend", choices=_CORNERS, default="bottom-left")
    return parser.parse_args()


def _bands(text: str) -> list[int]:
    red, green, blue = (int(band) for band in text.split(","))
    return [red, green, blue]


def _size(text: str) -> QSize:
    width, height = (int(side) for side in text.split("x"))
    return QSize(width, height)


if __name__ == "__main__":
    main()
