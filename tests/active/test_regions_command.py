"""`geoseg active regions`, and what QGIS makes of its GeoPackage."""

import json
from datetime import UTC, datetime

import geopandas as gpd
import pytest
from active.maps import CRS, LEFT, TOP, three_kinds, write_shares
from command_line import geoseg_here
from odc.geo.geobox import GeoBox
from rasterio import Affine

from geoseg.data import LabelledScene
from geoseg.labels import IGNORE, ClassScheme
from geoseg.scenes import Asset, Scene

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
def test_qgis_offers_answers_for_windows_and_classes_for_outlines(qgis, folder):
    out = folder / "windows.gpkg"
    geoseg_here("active", "regions", folder, "--window-m", 240, "--out", out)

    done = qgis("-c", INSPECT, out)

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


def answered(path, windows, outlines):
    """A file of windows as QGIS saves it: some are said to be labelled, and what lies there."""
    table = gpd.read_file(path, layer="windows")
    table["said"] = [("labelled" if n in windows else None) for n in range(len(table))]
    table.to_file(path, layer="windows")
    drawn = gpd.GeoDataFrame({"class_name": ["ice"] * len(outlines)}, geometry=outlines, crs=CRS)
    drawn.to_file(path, layer="outlines")


def test_windows_of_rounds_before_are_not_chosen_again(folder):
    first, then = folder / "first.gpkg", folder / "then.gpkg"
    ask = ("active", "regions", folder, "--window-m", 240, "--json")
    geoseg_here(*ask, "--count", 14, "--out", first)

    done = geoseg_here(*ask, "--count", 60, "--done", first, "--out", then)
    over = geoseg_here(*ask, "--done", first, "--out", first)
    other = geoseg_here(*ask, "--done", folder / "probability.tif", "--out", then)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["eligible"] == 60 - 14
    both = [gpd.read_file(path, layer="windows").union_all() for path in (first, then)]
    assert both[0].intersection(both[1]).area == 0
    assert "is of a round before; name another file for --out" in over.stderr
    assert "holds no windows" in other.stderr
    assert (over.returncode, other.returncode) == (2, 1)


def test_what_was_drawn_is_not_replaced(folder, monkeypatch):
    ask = ("active", "regions", folder, "--window-m", 480, "--count", 4)
    monkeypatch.chdir(folder)
    geoseg_here(*ask, "--out", "windows.gpkg")
    again = geoseg_here(*ask, "--out", "windows.gpkg")
    path = folder / "windows.gpkg"
    answered(path, {1}, [gpd.read_file(path, layer="windows").geometry[1]])
    before = path.read_bytes()

    refused = geoseg_here(*ask, "--out", "windows.gpkg")
    by_done = geoseg_here(*ask, "--done", "windows.gpkg", "--out", path)

    assert again.returncode == 0
    assert (refused.returncode, by_done.returncode) == (1, 1)
    for one in (refused, by_done):
        assert "holds 1 outlines that were drawn and 1 windows that were answered" in one.stderr
    assert path.read_bytes() == before


def test_only_what_was_outlined_in_labelled_windows_teaches(folder):
    path = folder / "windows.gpkg"
    geoseg_here("active", "regions", folder, "--window-m", 480, "--count", 4, "--out", path)
    windows = gpd.read_file(path, layer="windows").geometry
    answered(path, {0, 2}, [windows[0].buffer(-120), windows[1]])
    scene = Scene(
        id="map",
        sensor_id="landsat-7",
        start=datetime(2000, 10, 30, tzinfo=UTC),
        end=datetime(2000, 10, 31, tzinfo=UTC),
        bands={"red": Asset(path=folder / "probability.tif")},
    )
    source = LabelledScene(
        scene=scene,
        outlines=path,
        layer="outlines",
        inside="windows",
        class_of="class_name",
        scheme=ClassScheme.of({"ice": "#ffffff"}),
    )
    grid = GeoBox((64, 96), Affine(30, 0, LEFT, 0, -20, TOP), CRS)

    label = source.labels_on(grid, margin_m=0).burn(grid)

    known = (label != IGNORE).sum() * 600
    assert known == windows[[0, 2]].area.sum()
    assert (label == 1).sum() * 600 == pytest.approx(windows[0].buffer(-120).area)
    assert (label == 0).sum() * 600 == pytest.approx(known - windows[0].buffer(-120).area)
