"""Run by the Python of QGIS: opens a proposal, answers on it as a person does, says what it saw.

answer_in_qgis.py FILE.gpkg ANNOTATOR ITEM=WORD ...
"""

import json
import sys

from qgis.core import QgsApplication, QgsVectorLayer


def main():
    application = QgsApplication([], False)
    application.initQgis()
    path, annotator, *words = sys.argv[1:]
    layer = QgsVectorLayer(f"{path}|layername=places", "places", "ogr")
    setup = layer.editorWidgetSetup(layer.fields().indexOf("said"))
    form = layer.editFormConfig()
    seen = {
        "valid": layer.isValid(),
        "rows": layer.featureCount(),
        "renderer": layer.renderer().type(),
        "legend": [one.label() for one in layer.renderer().categories()],
        "widget": setup.type(),
        "offered": [next(iter(one.items())) for one in setup.config()["map"]],
        "link": layer.editorWidgetSetup(layer.fields().indexOf("link")).type(),
        "fixed": [
            field.name() for number, field in enumerate(layer.fields()) if form.readOnly(number)
        ],
        "editing": layer.startEditing(),
    }
    said, who = (layer.fields().indexOf(name) for name in ("said", "annotator"))
    answers = dict(word.split("=") for word in words)
    for feature in list(layer.getFeatures()):
        if feature["item"] in answers:
            layer.changeAttributeValue(feature.id(), said, answers[feature["item"]])
            layer.changeAttributeValue(feature.id(), who, annotator)
    seen["saved"] = layer.commitChanges()
    seen["errors"] = layer.commitErrors()
    sys.stdout.write(json.dumps(seen))
    del layer
    application.exitQgis()


main()
