import datetime as dt
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from xml.etree import ElementTree as ET

import geopandas as gpd
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from inventory.small_inventory import no_inventory, small_inventory

from geoseg.errors import ConfigError
from geoseg.inventory import write_geopackage
from geoseg.inventory.columns import COLUMNS, GEOMETRY_TYPES
from geoseg.labels import GLACIER, GLACIER_SURFACE, ClassScheme
from geoseg.report import outline_style
from geoseg.report.qgis import inventory_styles
from geoseg.report.qgis_layout import PrintedMap, add_layout
from geoseg.report.qgis_project import inventory_project

OPEN_IN_QGIS = Path(__file__).parent / "open_in_qgis.py"
RENDER_IN_QGIS = Path(__file__).parents[2] / "docs" / "render_in_qgis.py"

names = st.from_regex(r"[a-z][a-z0-9_]{0,62}", fullmatch=True).filter(lambda n: n != "ground")
colours = st.from_regex(r"#[0-9a-f]{6}", fullmatch=True)


def categories_of(style):
    return ET.fromstring(style).findall("renderer-v2/categories/category")


def options_of(style, index):
    found = ET.fromstring(style).findall(f"renderer-v2/symbols/symbol[@name='{index}']//Option")
    return {option.get("name"): option.get("value") for option in found}


@pytest.mark.slow
@given(colours=st.dictionaries(names, colours, min_size=1, max_size=8))
def test_each_class_but_the_ground_has_one_category_in_its_colour(colours):
    style = outline_style(ClassScheme.of(colours))

    categories = categories_of(style)
    assert [c.get("value") for c in categories] == list(colours)
    for category, colour in zip(categories, colours.values(), strict=True):
        red, green, blue = bytes.fromhex(colour[1:])
        assert options_of(style, category.get("symbol"))["color"] == f"{red},{green},{blue},64"


def test_the_outline_is_solid_and_darker_than_the_fill():
    options = options_of(outline_style(ClassScheme.of({"lake": "#64c80a"})), 0)

    assert options["color"] == "100,200,10,64"
    assert options["outline_color"] == "70,140,7,255"
    assert (options["outline_width"], options["outline_width_unit"]) == ("0.4", "MM")
    assert (options["style"], options["outline_style"]) == ("solid", "solid")


def test_labels_are_words_for_people():
    labels = [c.get("label") for c in categories_of(outline_style(GLACIER_SURFACE))]

    assert labels[1:3] == ["debris ice", "supraglacial lake"]


def test_a_name_with_markup_adds_no_element():
    hostile = '"/><symbol name="x"/><!--'
    scheme = ClassScheme.of({"lake": "#64c80a"})
    # A scheme refuses such a name; the style does not rely on it.
    object.__setattr__(scheme.classes[1], "name", hostile)

    root = ET.fromstring(outline_style(scheme))

    assert len(list(root.iter("symbol"))) == 1
    assert root.find("renderer-v2/categories/category").get("value") == hostile


# Inventories


@cache
def one_inventory():
    return small_inventory()


def with_classes(classes):
    inventory = one_inventory()
    rows = inventory.outlines.iloc[: len(classes)].assign(class_name=list(classes))
    return replace(inventory, outlines=rows)


def colours_of(classes):
    style = inventory_styles(with_classes(classes))["outlines"]
    return {
        c.get("value"): options_of(style, c.get("symbol"))["color"] for c in categories_of(style)
    }


any_words = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=8)


@pytest.mark.slow
@given(classes=st.sets(any_words, min_size=1, max_size=12))
def test_each_class_of_an_inventory_has_a_colour_of_its_own(classes):
    colours = colours_of(classes)

    assert set(colours) == classes
    assert len(set(colours.values())) == len(classes)


def test_classes_of_ours_have_the_colours_of_maps_and_others_the_same_everywhere():
    colours = colours_of(["glacier", "debris_ice", "rock_glacier"])

    assert colours["glacier"] == "74,168,216,64"
    assert colours["debris_ice"] == "140,109,70,64"
    assert colours_of(["rock_glacier"])["rock_glacier"] == colours["rock_glacier"]


def test_each_layer_with_geometry_has_a_style():
    for inventory in (small_inventory(), no_inventory()):
        styles = inventory_styles(inventory)

        assert set(styles) == set(GEOMETRY_TYPES)
        for style in styles.values():
            assert ET.fromstring(style).find("renderer-v2") is not None


def test_marks_of_events_differ_in_shape_and_colour():
    style = inventory_styles(small_inventory())["events"]

    marks = [options_of(style, c.get("symbol")) for c in categories_of(style)]
    assert [c.get("value") for c in categories_of(style)] == [
        "appear",
        "reappear",
        "split",
        "merge",
        "vanish",
    ]
    assert len({mark["name"] for mark in marks}) == len({mark["color"] for mark in marks}) == 5


def test_a_project_finds_its_layers_beside_it_and_quotes_what_is_markup():
    inventory = replace(small_inventory(), title='A "title" <of> & d\'Ice')

    root = ET.fromstring(inventory_project(inventory, file_name="d'Ice & <b>.gpkg"))

    assert root.findtext("title") == inventory.title
    sources = {layer.findtext("datasource") for layer in root.iter("maplayer")}
    assert sources == {f"./d'Ice & <b>.gpkg|layername={name}" for name in COLUMNS}
    in_tree = {layer.get("id") for layer in root.find("layer-tree-group").iter("layer-tree-layer")}
    assert in_tree == {layer.findtext("id") for layer in root.iter("maplayer")}


@pytest.mark.slow
@given(text=st.text(min_size=1, max_size=20))
def test_any_title_and_class_makes_a_project_that_can_be_parsed(text):
    inventory = replace(with_classes([text]), title=text)

    root = ET.fromstring(inventory_project(inventory, file_name="a.gpkg"))

    kept = "".join(c for c in text if c.isprintable())
    assert "".join(c for c in root.findtext("title") if c.isprintable()) == kept


@pytest.mark.parametrize("name", ["a|b.gpkg", "folder/a.gpkg"])
def test_a_file_that_a_project_cannot_name_is_refused(name):
    with pytest.raises(ConfigError, match=r"cannot name the file of a QGIS project; leave out"):
        inventory_project(small_inventory(), file_name=name)


@given(width_m=st.floats(1, 1e7))
def test_a_scale_bar_is_of_a_round_length_that_fits_the_map(width_m):
    root = ET.Element("qgis")
    extent = (1e5, 0.0, 1e5 + width_m, width_m / 3)
    shown = PrintedMap("a", "b", extent, "2000-01-01T00:00:00Z", "2001-01-01T00:00:00Z", [])

    add_layout(root, shown)

    bar = next(item for item in root.iter("LayoutItem") if item.get("type") == "65646")
    step = float(bar.get("numUnitsPerSegment"))
    assert f"{step:e}"[0] in "125"
    assert 8 < float(bar.get("segmentMillimeters")) < 22
    sides = next(root.iter("Extent")).attrib
    width, height = (float(sides[f"{s}max"]) - float(sides[f"{s}min"]) for s in "xy")
    assert width / height == pytest.approx(214 / 172, rel=1e-6)


# In QGIS itself


@pytest.fixture
def inventory(tmp_path):
    """Clean ice with a hole, a debris-covered tongue south of it, and an empty layer."""
    ice = shapely.box(0, 500, 900, 1000).difference(shapely.box(300, 700, 500, 800))
    table = gpd.GeoDataFrame(
        {
            "class_name": ["clean_ice", "debris_ice"],
            "start_date": [dt.date(2000, 10, 30)] * 2,
            "end_date": [dt.date(2000, 10, 31)] * 2,
        },
        geometry=[ice, shapely.box(300, 0, 600, 480)],
        crs="EPSG:32645",
    )
    path = tmp_path / "inventory.gpkg"
    layers = {"outlines": table, "empty": table.iloc[:0]}
    styles = dict.fromkeys(layers, outline_style(GLACIER_SURFACE))
    write_geopackage(path, layers, styles=styles, metadata={"geoseg": "0.1"})
    return path


@pytest.mark.qgis
def test_qgis_opens_a_layer_in_its_own_style(qgis, inventory):
    done = qgis(OPEN_IN_QGIS, inventory, "outlines", "empty")

    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    for layer, rows in {"outlines": 2, "empty": 0}.items():
        assert seen[layer]["valid"]
        assert seen[layer]["rows"] == rows
        assert (seen[layer]["geometry"], seen[layer]["crs"]) == ("MultiPolygon", "EPSG:32645")
        assert (seen[layer]["renderer"], seen[layer]["field"]) == (
            "categorizedSymbol",
            "class_name",
        )
        assert (seen[layer]["start_field"], seen[layer]["end_field"]) == ("start_date", "end_date")
    first = seen["outlines"]["categories"][0]
    assert first["fill"] == [0x7F, 0xD0, 0xEE, 64]
    assert first["line"] == [89, 146, 167, 255]
    assert (first["label"], first["width_mm"]) == ("clean ice", 0.4)


@pytest.mark.qgis
def test_qgis_draws_each_class_in_its_colour_and_leaves_holes_open(qgis, inventory):
    seen = json.loads(qgis(OPEN_IN_QGIS, inventory, "outlines", "empty").stdout)

    ice, debris, white = (
        seen["outlines"]["colours"].get(on_white(colour), 0)
        for colour in ("#7fd0ee", "#8c6d46", "#ffffff")
    )
    # 430,000 m2 of ice and 144,000 m2 of debris in 1,000 m by 1,000 m, less the outlines.
    assert ice == pytest.approx(0.43 * 200**2, rel=0.1)
    assert debris == pytest.approx(0.144 * 200**2, rel=0.1)
    assert white > 0.3 * 200**2
    assert seen["empty"]["colours"] == {"#ffffff": 200**2}


@pytest.mark.qgis
def test_the_picture_of_the_docs_shows_scene_outlines_and_legend(qgis, inventory, tmp_path):
    from conftest import write_raster
    from matplotlib.image import imread
    from numpy import arange, broadcast_to, uint16

    ramp = broadcast_to(arange(160, dtype=uint16) * 20, (3, 96, 160))
    scene = write_raster(tmp_path / "scene.tif", ramp, origin=(-500, 1200), pixel=15)

    done = qgis(RENDER_IN_QGIS, tmp_path / "map.png", f"{inventory}:outlines", "--raster", scene,
                "--size", "400x240")  # fmt: skip

    assert done.returncode == 0, done.stderr
    picture = imread(tmp_path / "map.png")[..., :3]
    assert picture.shape == (240, 400, 3)
    grey = (picture.max(axis=-1) - picture.min(axis=-1)) < 0.02
    assert picture[5, 5].max() < 0.1
    assert picture[5, -5].min() > 0.9
    assert not grey[100, 120]  # ice
    assert grey[75, 150]  # its hole
    assert (picture[-20:-16, 14:30] > 0.6).all()  # the legend
    assert sorted(p.name for p in tmp_path.iterdir()) == ["inventory.gpkg", "map.png", "scene.tif"]


@pytest.mark.qgis
def test_the_picture_of_the_docs_names_the_layers_there_are(qgis, inventory, tmp_path):
    done = qgis(RENDER_IN_QGIS, tmp_path / "map.png", f"{inventory}:glaciers")

    assert done.returncode == 1
    assert "has no layer 'glaciers'. Known: outlines, empty." in done.stderr
    assert "Traceback" not in done.stderr


def on_white(colour):
    """The colour of a fill of a quarter of this colour over white."""
    shares = [round(255 + (v - 255) * 64 / 255) for v in bytes.fromhex(colour[1:])]
    return "#" + bytes(shares).hex()


def test_a_scheme_of_one_class_has_one_category():
    assert [c.get("value") for c in categories_of(outline_style(GLACIER))] == ["glacier"]
