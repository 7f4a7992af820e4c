"""The layer that a proposal is answered on, as it is stored."""

from xml.etree import ElementTree as ET

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
from active.labelling import small_pool
from pyproj import Geod

from geoseg.active.record import Proposed
from geoseg.report.active_layer import write_places_layer

CLASSES = ("absent", "present", "scar")


def write(folder, chip_m=None):
    pool = small_pool(folder)
    proposed = [
        Proposed(1, n, name, why, 0.5, 0.25)
        for n, (name, why) in enumerate([("i003", "likely"), ("i059", "audit")], 1)
    ]
    path = folder / "proposal.gpkg"
    write_places_layer(path, proposed, pool, CLASSES, key="ab12", chip_m=chip_m)
    return path, pool


def test_a_row_an_item_with_nothing_said_and_nothing_that_leads(tmp_path):
    path, pool = write(tmp_path)

    rows = gpd.read_file(path, layer="places")

    assert list(rows.columns) == [
        *("item", "rank", "said", "annotator", "note", "link", "geometry"),
    ]
    assert rows["item"].tolist() == ["i003", "i059"]
    assert rows[["said", "annotator", "note"]].isna().all(axis=None)
    assert (rows.geometry.iloc[0].x, rows.geometry.iloc[0].y) == (pool.lon[3], pool.lat[3])
    assert rows.geometry.iloc[1] is None
    assert rows["link"].isna().tolist() == [False, True]
    assert pyogrio.list_layers(path)[:, 0].tolist() == ["places", "layer_styles"]


def test_what_can_be_said_is_a_list_and_a_legend(tmp_path):
    path, _ = write(tmp_path)
    style = pyogrio.read_dataframe(path, layer="layer_styles")["styleQML"].iloc[0]
    root = ET.fromstring(style.split("\n", 1)[1])

    widget = root.find("fieldConfiguration/field[@name='said']/editWidget")
    offered = [one.get("name") for one in widget.findall(".//Option[@type='QString']")]
    marks = [one.get("value") for one in root.findall("renderer-v2/categories/category")]

    assert widget.get("type") == "ValueMap"
    assert offered == ["(not answered)", *CLASSES, "unknown"]
    assert marks == [*CLASSES, "unknown", ""]
    fixed = {one.get("name") for one in root.findall("editable/field[@editable='0']")}
    assert fixed == {"item", "rank", "link"}


@pytest.mark.parametrize("side", [320.0, 1000.0])
def test_where_chips_have_a_known_side_a_layer_frames_them(tmp_path, side):
    path, pool = write(tmp_path, chip_m=side)

    frames = gpd.read_file(path, layer="chips")

    assert frames["item"].tolist() == ["i003"]
    (frame,) = frames.geometry
    area, _ = Geod(ellps="WGS84").geometry_area_perimeter(frame)
    np.testing.assert_allclose(abs(area), side**2, rtol=1e-3)
    west, _, east, _ = frame.bounds
    _, _, width = Geod(ellps="WGS84").inv(west, pool.lat[3], east, pool.lat[3])
    np.testing.assert_allclose(width, side, rtol=2e-3)
    np.testing.assert_allclose(frame.centroid.x, pool.lon[3], atol=1e-5)
