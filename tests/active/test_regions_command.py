"""`geoseg active regions`, and what QGIS makes of its GeoPackage."""

import json
import subprocess
from pathlib import Path

import geopandas as gpd
import pytest
from active.maps import CRS, three_kinds, write_shares
from command_line import geoseg_here

SYSTEM_PYTHON = "/usr/bin/python3"
# Opens both layers as a person does, and says which values each field takes.
INSPECT = """
import json, sys
from qgis.core import QgsApplication, QgsVectorLayer
application = QgsApplication([], False)
application.initQgis()
told = {}
for name in ("windows", "outlines"):
    layer = QgsVectorLayer(f"{sys.argv[1]}|layername={name}", name, "ogr")
    fields = {}
    for index, field in enumerate(layer.fields()):
        widget = layer.editorWidgetSetup(index)
        if widget.type() == "ValueMap":
            fields[field.name()] = {k: v for one in widget.config()["map"] for k, v in one.items()}
    categories = getattr(layer.renderer(), "categories", list)()
    told[name] = [layer.isValid(), layer.featureCount(), fields, [c.value() for c in categories]]
sys.stdout.write(json.dumps(told))
del layer
application.exitQgis()
"""


@pytest.fixture
def folder(tmp_path):
    """Maps as `geoseg predict` leaves them."""
    write_shares(tmp_path / "probability.tif", three_kinds(), ("ground", "ice", "debris_ice"))
    return tmp_path


def test_windows_are_written_with_their_reasons_and_a_layer_to_draw_into(folder):
    out = folder / "windows.gpkg"

    done = geoseg_here(
        *("active", "regions", folder, "--window-m", 240, "--count", 14, "--out", out, "--json")
    )

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    windows, outlines = (gpd.read_file(out, layer=name) for name in ("windows", "outlines"))
    assert told["map"] == str(folder / "probability.tif")
    assert (told["eligible"], told["left_out"]) == (60, 12)
    assert told["doubtful"] + told["rare"] + told["audit"] == len(windows) == 14
    assert told["audit"] == 2
    assert windows["rank"].tolist() == list(range(1, 15))
    assert windows["said"].isna().all()
    assert windows.crs == outlines.crs == CRS
    assert outlines.columns.tolist() == ["class_name", "geometry"]
    assert len(outlines) == 0


@pytest.mark.qgis
def test_qgis_offers_answers_for_windows_and_classes_for_outlines(folder):
    out = folder / "windows.gpkg"
    geoseg_here("active", "regions", folder, "--window-m", 240, "--out", out)
    if not Path(SYSTEM_PYTHON).exists():
        pytest.skip(f"{SYSTEM_PYTHON} is not there.")

    done = subprocess.run(
        [SYSTEM_PYTHON, "-I", "-c", INSPECT, out],
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "QT_QPA_PLATFORM": "offscreen"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if "No module named 'qgis'" in done.stderr:
        pytest.skip(f"{SYSTEM_PYTHON} has no qgis; apt-get install python3-qgis qgis-providers.")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "windows": [
            True,
            20,
            {"said": {"all outlines are drawn": "labelled", "cannot be told": "unknown"}},
            ["doubtful", "rare", "audit"],
        ],
        "outlines": [
            True,
            0,
            {"class_name": {"ice": "ice", "debris ice": "debris_ice"}},
            [],
        ],
    }


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--window-m", 240, "--out", "windows.shp"], "let it end in '.gpkg'"),
        (["--window-m", 240, "--score", "entropi"], "Did you mean 'entropy'?"),
        (["--window-m", 10], "give 240 m or more"),
        (["--window-m", 240, "--rare", "snow"], "The map has no class 'snow'."),
    ],
)
def test_wrong_use_is_told_in_a_sentence_and_writes_nothing(folder, arguments, told):
    done = geoseg_here("active", "regions", folder, *arguments, cwd=folder)

    assert done.returncode == 2
    assert told in " ".join(done.stderr.split())
    assert [path.name for path in folder.iterdir()] == ["probability.tif"]


def test_a_folder_without_maps_is_refused(tmp_path):
    done = geoseg_here("active", "regions", tmp_path, "--window-m", 240)

    assert done.returncode == 1
    assert "holds neither probability.tif nor uncertainty.tif" in " ".join(done.stderr.split())
