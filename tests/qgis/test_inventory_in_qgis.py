"""What QGIS itself makes of an inventory: layers, styles, time, the project and its printed map."""

import json
from pathlib import Path

import numpy as np
import pytest
from inventory.small_inventory import no_inventory, small_inventory

from geoseg.inventory.columns import COLUMNS
from geoseg.inventory.storage.files import write_inventory
from geoseg.report.qgis import inventory_styles
from geoseg.report.qgis_project import inventory_project

pytestmark = pytest.mark.qgis

INSPECT = Path(__file__).parent / "inspect_inventory.py"
NO_NUMBER = "+proj=laea +lat_0=28 +lon_0=86.9 +x_0=500000 +y_0=3000000 +ellps=WGS84 +units=m"
TIMED = {"surveys", "outlines", "lakes", "changes", "events"}
# Before, first, between, second, between, third.
YEARS = (1963, 1964, 1999, 2000, 2019, 2020)


def write(path, inventory):
    project = inventory_project(inventory, file_name=path.name)
    write_inventory(path, inventory, styles=inventory_styles(inventory), project=project)
    return path


def inspect(qgis, path, years=YEARS):
    done = qgis(INSPECT, path, path.parent, *years)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def seen(qgis, tmp_path_factory):
    return inspect(
        qgis, write(tmp_path_factory.mktemp("qgis") / "it's a & b.gpkg", small_inventory())
    )


def test_every_layer_opens_with_its_rows_in_its_style(seen):
    rows = {name: len(table) for name, table in small_inventory().tables()}

    for name, layer in seen["layers"].items():
        assert layer["valid"]
        assert layer["rows"] == rows[name]
        assert layer["licences"] == ["CC-BY-4.0"]
        assert layer["title"]
    kinds = {name: layer["geometry"] for name, layer in seen["layers"].items()}
    polygons = dict.fromkeys(set(COLUMNS) - {"events", "states"}, "MultiPolygon")
    assert kinds == {**polygons, "events": "Point", "states": "NoGeometry"}
    assert {n: layer["renderer"] for n, layer in seen["layers"].items()} == {
        "surveys": "singleSymbol",
        "tracks": "RuleRenderer",
        **dict.fromkeys(("outlines", "lakes", "changes", "events"), "categorizedSymbol"),
        "states": "",
    }


def test_every_row_is_in_one_entry_of_the_legend(seen):
    for name in ("tracks", "outlines", "lakes", "changes", "events"):
        layer = seen["layers"][name]
        assert sum(rows for *_, rows in layer["entries"]) == layer["rows"], name
    assert seen["layers"]["tracks"]["entries"] == [
        ["shrinking", "#d0342c", 1],
        ["growing", "#1d6fd1", 2],
        ["no significant change", "#8a8f98", 1],
        ["seen once", "#d8c9a0", 4],
    ]
    entries = {label: colour for label, colour, _ in seen["layers"]["outlines"]["entries"]}
    assert entries["glacier"] == "#4aa8d8"


def test_a_layer_that_is_opened_alone_takes_its_time_from_the_acquisition(seen):
    for name in TIMED:
        layer = seen["layers"][name]
        assert (layer["start_field"], layer["end_field"]) == ("start_date", "end_date")
        assert {layer["types"][field] for field in ("start_date", "end_date")} == {"Date"}


def test_the_project_opens_with_all_layers_in_groups(seen):
    project = seen["project"]

    assert seen["opened"]
    assert project["error"] == ""
    assert project["title"] == "Glaciers and lakes of a small valley, 1964 to 2020"
    assert project["groups"] == ["Events and changes", "Outlines", "Context"]
    assert set(seen["in_project"]) == set(COLUMNS)
    for name, layer in seen["in_project"].items():
        alone = seen["layers"][name]
        assert layer["valid"], name
        for key in ("rows", "renderer", "entries", "label", "crs", "geometry"):
            assert layer[key] == alone[key], (name, key)
    assert project["relations"] == ["outlines_of_track", "states_of_track"]
    assert "tracks_of_inventory" not in project["visible"]


def test_the_time_controller_goes_by_years_from_the_first_survey_to_the_last(seen):
    project = seen["project"]

    assert project["begin"] == "1964-01-01T00:00:00Z"
    assert project["end"] == "2021-01-01T00:00:00Z"
    assert (project["step"], project["cumulative"], project["controller"]) == ([1, "y"], False, 1)
    for name, layer in seen["in_project"].items():
        assert layer["temporal"] == (name in TIMED)
        assert not layer["accumulate"]


def test_a_year_shows_the_survey_before_it_and_no_other(seen):
    pixels = seen["pixels"]

    assert set(pixels["1963"].values()) == {0}
    for year, as_in in {"1999": "1964", "2019": "2000"}.items():
        assert pixels[year] == pixels[as_in]
    for year in ("1964", "2000", "2020"):
        assert pixels[year]["Outlines"] > 10_000
        assert pixels[year]["Outlines"] < pixels["all"]["Outlines"]
    of_lakes = [pixels[year]["Lakes by type"] for year in ("1964", "2000", "2020")]
    assert of_lakes[0] == 0 < of_lakes[1] < of_lakes[2]
    of_changes = [pixels[year]["Ground gained and lost"] for year in ("1964", "2000", "2020")]
    assert of_changes[0] == 0 < of_changes[1] < of_changes[2]
    assert pixels["1964"]["Events"] == 0 < pixels["2000"]["Events"]


def test_the_printed_map_has_a_map_a_legend_a_scale_bar_and_words(seen):
    layout = seen["layout"]

    assert seen["project"]["layouts"] == ["Map"]
    assert (layout["result"], layout["pages"], layout["size"]) == (0, 1, [1169, 826])
    assert set(layout["items"]) >= {
        "QgsLayoutItemLabel",
        "QgsLayoutItemLegend",
        "QgsLayoutItemMap",
        "QgsLayoutItemScaleBar",
    }
    # Twice 2 km on a map of 21.6 km, and the last number.
    (bar_mm,) = layout["bars_mm"]
    assert 40 < bar_mm < 55
    assert 40_000 < layout["coloured"] < 200_000


@pytest.mark.parametrize(
    ("crs", "number"), [("EPSG:3413", "EPSG:3413"), ("EPSG:3031", "EPSG:3031"), (NO_NUMBER, "")]
)
def test_any_reference_system_in_metres_is_that_of_the_project(qgis, tmp_path, crs, number):
    inventory = small_inventory(crs, origin=(-200_000, -2_000_000))

    seen = inspect(qgis, write(tmp_path / "a.gpkg", inventory), years=(1963, 2000))

    project = seen["project"]
    assert (project["crs"], project["crs_valid"], project["crs_metres"]) == (number, True, True)
    assert all(layer["valid"] for layer in seen["in_project"].values())
    left, bottom, right, top = project["extent"]
    around = [left + 800, bottom + 800, right - 800, top - 800]
    np.testing.assert_allclose(around, inventory.surveys.total_bounds)
    assert seen["pixels"]["2000"]["Outlines"] > 10_000
    assert seen["pixels"]["1963"]["together"] == 0


def test_an_inventory_that_found_nothing_opens_and_shows_nothing(qgis, tmp_path):
    seen = inspect(qgis, write(tmp_path / "a.gpkg", no_inventory()), years=(2000,))

    assert seen["opened"]
    assert all(layer["valid"] for layer in seen["in_project"].values())
    assert seen["pixels"]["2000"]["together"] == 0
    assert seen["layout"]["result"] == 0


@pytest.mark.parametrize("inventory", [small_inventory, no_inventory])
@pytest.mark.parametrize("crs", ["EPSG:32645", NO_NUMBER])
def test_the_file_is_a_valid_geopackage(qgis, tmp_path, inventory, crs):
    path = write(tmp_path / "a.gpkg", inventory(crs))

    done = qgis("-m", "osgeo_utils.samples.validate_gpkg", "-k", path)

    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
