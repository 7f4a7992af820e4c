import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely
from conftest import CRS, HEIGHT, PIXEL_M, WIDTH, true_outlines
from odc.geo.geobox import GeoBox
from rasterio import Affine
from rasterio.windows import Window

from geoseg.errors import GridError, LabelError
from geoseg.grids import part_of
from geoseg.labels import (
    GLACIER,
    GLACIER_SURFACE,
    IGNORE,
    ClassScheme,
    MapClass,
    geodesic_areas_km2,
    place_labels,
    read_outlines,
)

GRID = GeoBox((HEIGHT, WIDTH), Affine(PIXEL_M, 0, 500_000, 0, -PIXEL_M, 3_100_000), CRS)


def test_outlines_are_burnt_with_their_holes():
    label = place_labels(true_outlines(), GRID, GLACIER).burn(GRID)

    assert label.sum() == 50 * 50 - 100 + 50 * 40 - 100
    assert label[45, 35] == 0
    assert label[25, 15] == 1


def test_the_uncertain_margin_is_ignored_to_both_sides():
    label = place_labels(true_outlines(), GRID, GLACIER, margin_m=2 * PIXEL_M).burn(GRID)

    assert (label[20 + 2 : 30, 45] == 1).all()
    assert (label[18:22, 45] == IGNORE).all()
    assert (label[:18, 45] == 0).all()


def test_a_window_is_burnt_as_its_part_of_the_whole():
    labels = place_labels(true_outlines(), GRID, GLACIER, margin_m=45)
    window = Window(20, 10, 100, 61)

    part = labels.burn(part_of(GRID, window))

    np.testing.assert_array_equal(part, labels.burn(GRID)[10:71, 20:120])


def test_a_lake_lies_on_the_ice_whatever_the_order_of_the_file():
    ice, lake = shapely.box(0, 0, 300, 300), shapely.box(100, 100, 200, 200)
    grid = GeoBox((10, 10), Affine(30, 0, 0, 0, -30, 300), CRS)
    for order in ([0, 1], [1, 0]):
        names = np.array(["clean_ice", "supraglacial_lake"])[order]
        shapes = np.array([ice, lake])[order]
        outlines = gpd.GeoDataFrame({"class_name": names}, geometry=shapes, crs=CRS)
        label = place_labels(outlines, grid, GLACIER_SURFACE).burn(grid)
        assert label[5, 5] == 3
        assert label[1, 1] == 1


def test_outlines_of_another_place_are_refused_with_both_boxes():
    elsewhere = true_outlines().translate(xoff=100_000).to_frame("geometry")
    elsewhere["class_name"] = "glacier"

    with pytest.raises(LabelError) as caught:
        place_labels(elsewhere, GRID, GLACIER)

    assert str(caught.value).startswith("The labels do not overlap the scene.")
    assert "box (500000, 3097120, 504800, 3100000)" in str(caught.value)


def test_outlines_of_another_reference_system_land_on_the_scene():
    polar = true_outlines().to_crs("EPSG:3413")

    label = place_labels(polar, GRID, GLACIER).burn(GRID)

    assert label.sum() == pytest.approx(50 * 50 + 50 * 40 - 200, rel=0.01)


def test_a_margin_in_metres_needs_a_grid_in_metres():
    degrees = GeoBox.from_bbox((86, 27, 88, 29), "EPSG:4326", shape=(10, 10))
    with pytest.raises(GridError, match="warp the scene to a projected reference system in metres"):
        place_labels(true_outlines(), degrees, GLACIER, margin_m=30)


def test_reading_takes_one_class_for_all_or_a_column(tmp_path):
    path = tmp_path / "a.gpkg"
    true_outlines().assign(kind=["clean_ice", "debris_ice"]).to_file(path, layer="one")

    assert set(read_outlines(path, GLACIER, layer=None, class_of="glacier").class_name) == {
        "glacier"
    }
    by_column = read_outlines(path, GLACIER_SURFACE, layer="one", class_of="kind")
    assert list(by_column.class_name) == ["clean_ice", "debris_ice"]
    with pytest.raises(LabelError, match=r"the class 'clean_ice' in 'kind'\. .*Known: glacier"):
        read_outlines(path, GLACIER, layer="one", class_of="kind")
    with pytest.raises(LabelError, match="has no layer 'two'"):
        read_outlines(path, GLACIER, layer="two", class_of="glacier")


def test_a_spike_is_cut_off_and_leaves_an_area(tmp_path):
    corner, tip = (500_900, 3_099_000), (503_000, 3_099_000)
    rest = [(500_900, 3_099_600), (500_300, 3_099_600)]
    spiked = shapely.Polygon([(500_300, 3_099_000), corner, tip, corner, *rest])
    path = tmp_path / "spike.gpkg"
    gpd.GeoDataFrame(geometry=[spiked], crs=CRS).to_file(path)

    table = read_outlines(path, GLACIER, layer=None, class_of="glacier")

    assert list(table.geom_type) == ["Polygon"]
    assert table.area[0] == 600 * 600
    assert (place_labels(table, GRID, GLACIER, margin_m=15).burn(GRID) == 1).any()


def test_an_empty_layer_and_one_without_a_reference_system_are_refused(tmp_path):
    empty = tmp_path / "empty.gpkg"
    true_outlines().iloc[:0].to_file(empty, geometry_type="Polygon")
    pyogrio.write_dataframe(true_outlines(), tmp_path / "unplaced.shp")
    (tmp_path / "unplaced.prj").unlink()

    with pytest.raises(LabelError, match="holds no polygon; give a layer of outlines"):
        read_outlines(empty, GLACIER, layer=None, class_of="glacier")
    with pytest.raises(GridError, match="has no coordinate reference system"):
        read_outlines(tmp_path / "unplaced.shp", GLACIER, layer=None, class_of="glacier")
    with pytest.raises(LabelError, match="does not exist"):
        read_outlines(tmp_path / "none.gpkg", GLACIER, layer=None, class_of="glacier")


def cell_km2(south, north):
    """A cell of one degree of longitude on WGS 84: radii of curvature, summed over latitude."""
    a, e2 = 6378.137, 0.00669437999014
    edges = np.radians(np.linspace(south, north, 10_001))
    middle = (edges[:-1] + edges[1:]) / 2
    w2 = 1 - e2 * np.sin(middle) ** 2
    parallel = a / np.sqrt(w2) * np.cos(middle) * np.radians(1)
    meridian = a * (1 - e2) / w2**1.5 * np.diff(edges)
    return float((parallel * meridian).sum())


@pytest.mark.parametrize("crs", ["EPSG:32645", "EPSG:3413", "EPSG:4326"])
def test_areas_do_not_depend_on_the_projection(crs):
    cell = gpd.GeoDataFrame(
        geometry=[shapely.segmentize(shapely.box(86, 60, 87, 61), 0.01)], crs="EPSG:4326"
    )

    area = geodesic_areas_km2(cell.to_crs(crs), bend_m=1000 if crs != "EPSG:4326" else 0.01)

    assert area[0] == pytest.approx(cell_km2(60, 61), rel=1e-5)


def test_holes_are_no_area():
    whole = shapely.box(500_000, 3_000_000, 510_000, 3_010_000)
    hole = shapely.box(502_000, 3_002_000, 504_000, 3_004_000)
    frame = gpd.GeoDataFrame(geometry=[whole, whole.difference(hole)], crs=CRS)

    full, holed = geodesic_areas_km2(frame, bend_m=1000)

    assert full - holed == pytest.approx(4, rel=2e-3)


@pytest.mark.parametrize("name", ["Ice", "", "9ice", "a-b", 'x"; DROP', "a" * 64])
def test_a_class_name_is_a_plain_word(name):
    with pytest.raises(LabelError, match="is no class name"):
        MapClass(id=1, name=name, colour="#000000")


def test_a_scheme_is_numbered_from_the_ground_up():
    scheme = ClassScheme.of({"ice": "#ffffff", "lake": "#0000ff"})

    assert scheme.names == ("ground", "ice", "lake")
    assert scheme.find("lake").id == 2
    with pytest.raises(LabelError, match=r"no class named 'lke'\. Did you mean 'lake'"):
        scheme.find("lke")
    with pytest.raises(LabelError, match="each may occur once"):
        ClassScheme.of({"ground": "#ffffff"})
