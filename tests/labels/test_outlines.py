from datetime import UTC, date, datetime, timedelta

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
from conftest import CRS, HEIGHT, PIXEL_M, WIDTH, true_outlines
from hypothesis import given
from hypothesis import strategies as st
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
    Dating,
    MapClass,
    geodesic_areas_km2,
    place_labels,
    read_frames,
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


def frames_of(*boxes, said=None):
    columns = {} if said is None else {"said": said}
    return gpd.GeoDataFrame(columns, geometry=[shapely.box(*box) for box in boxes], crs=CRS)


def test_beyond_frames_nothing_is_known_in_any_window():
    left, top = 500_000, 3_100_000
    frames = frames_of((left + 300, top - 1500, left + 1500, top - 300)).to_crs("EPSG:4326")

    labels = place_labels(true_outlines(), GRID, GLACIER, frames=frames.geometry)

    free, framed = place_labels(true_outlines(), GRID, GLACIER).burn(GRID), labels.burn(GRID)
    assert (framed[12:48, 12:48] == free[12:48, 12:48]).all()
    framed[8:52, 8:52] = IGNORE
    assert (framed == IGNORE).all()
    window = Window(30, 20, 50, 40)
    np.testing.assert_array_equal(labels.on(GRID).read(window), labels.burn(GRID)[20:60, 30:80])


def test_frames_in_which_nothing_lies_say_that_all_is_ground():
    left, top = 500_000, 3_100_000
    frames = frames_of((left, top - 300, left + 300, top))

    label = place_labels(true_outlines().iloc[:0], GRID, GLACIER, frames=frames.geometry).burn(GRID)

    assert (label[:10, :10] == 0).all()
    assert (label == IGNORE).sum() == HEIGHT * WIDTH - 100


def test_frames_count_once_they_are_labelled(tmp_path):
    path = tmp_path / "windows.gpkg"
    boxes = [(0, 0, 1, 1), (2, 0, 3, 1), (4, 0, 5, 1)]
    frames_of(*boxes, said=["labelled", "unknown", None]).to_file(path, layer="windows")
    frames_of(*boxes, said=[None] * 3).to_file(path, layer="waiting")
    frames_of(*boxes).to_file(path, layer="plain")

    assert read_frames(path, "windows").area.tolist() == [1]
    assert len(read_frames(path, "plain")) == 3
    with pytest.raises(LabelError, match="frames nothing that was outlined"):
        read_frames(path, "waiting")


def test_frames_of_another_place_are_refused_with_both_boxes():
    with pytest.raises(
        LabelError, match=r"No frame lies on the scene(.|\n)*leave labels.inside out"
    ):
        place_labels(true_outlines(), GRID, GLACIER, frames=frames_of((0, 0, 1, 1)).geometry)


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


# Windows of burnt labels


@st.composite
def stars(draw):
    """Some polygons with corners anywhere, many of them on edges and centres of pixels."""
    side = st.integers(0, 120).map(lambda n: n * 15.0) | st.floats(0, 1800, width=32)
    rings = draw(st.lists(st.lists(st.tuples(side, side), min_size=3, max_size=7), max_size=6))
    shapes = [shapely.make_valid(shapely.Polygon(r), method="structure") for r in rings]
    return [s for s in shapes if s.geom_type in {"Polygon", "MultiPolygon"} and s.area > 0]


@pytest.mark.slow
@given(
    shapes=stars(),
    classes=st.lists(st.sampled_from(["clean_ice", "debris_ice"]), min_size=6, max_size=6),
    margin=st.sampled_from([0, 20]),
    window=st.tuples(st.integers(-9, 70), st.integers(-9, 70), st.integers(1, 60), st.just(33)),
    left=st.sampled_from([0.0, 500_015.0]),
)
def test_a_window_is_read_as_its_part_of_the_whole(shapes, classes, margin, window, left):
    grid = GeoBox((50, 60), Affine(30, 0, left, 0, -30, 3_100_000.0), CRS)
    whole = shapely.box(left, 3_098_500, left + 30, 3_098_530)
    placed = [shapely.affinity.translate(s, left, 3_098_500) for s in shapes] + [whole]
    names = [*classes[: len(shapes)], "clean_ice"]
    outlines = gpd.GeoDataFrame({"class_name": names}, geometry=placed, crs=CRS)
    labels = place_labels(outlines, grid, GLACIER_SURFACE, margin_m=margin)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("geoseg.labels.outlines._BLOCK_PX", 16)
        read = labels.on(grid).read(Window(*window))

    column, row, width, height = window
    expected = np.zeros((height, width), np.uint8)
    burnt = labels.burn(grid)
    for r, c in np.ndindex(height, width):
        if 0 <= r + row < 50 and 0 <= c + column < 60:
            expected[r, c] = burnt[r + row, c + column]
    np.testing.assert_array_equal(read, expected)


def test_a_block_is_burnt_once(monkeypatch):
    import geoseg.labels.outlines as outlines

    burnt = place_labels(true_outlines(), GRID, GLACIER).on(GRID)
    calls = []
    monkeypatch.setattr(
        outlines, "rasterize", lambda *a, **k: calls.append(a) or true_burn(*a, **k)
    )
    first = burnt.read(Window(5, 5, 60, 50))
    again = burnt.read(Window(0, 0, WIDTH, HEIGHT))

    assert len(calls) == 1
    np.testing.assert_array_equal(first, again[5:55, 5:65])


def true_burn(*args, **options):
    from rasterio.features import rasterize

    return rasterize(*args, **options)


# Outlines of other days than the scene


def dating(day="2010-08-01", *, within=2.0, moved=0.0, days=1):
    start = datetime.fromisoformat(day).replace(tzinfo=UTC)
    return Dating(
        start=start,
        end=start + timedelta(days=days),
        within_years=within,
        moved_m_per_year=moved,
    )


def square(column, row, columns=10, rows=10):
    left, top = 500_000 + column * PIXEL_M, 3_100_000 - row * PIXEL_M
    return shapely.box(left, top - rows * PIXEL_M, left + columns * PIXEL_M, top)


def surveyed(*rows):
    """Outlines from (day, square, class)."""
    days = np.array([day for day, *_ in rows], dtype="datetime64[D]")
    names = [row[2] if len(row) > 2 else "clean_ice" for row in rows]
    return gpd.GeoDataFrame(
        {"class_name": names, "survey_day": days}, geometry=[row[1] for row in rows], crs=CRS
    )


def burn(outlines, **options):
    margin = options.pop("margin_m", 0)
    placed = place_labels(
        outlines, GRID, GLACIER_SURFACE, margin_m=margin, dating=dating(**options)
    )
    return placed.burn(GRID)


def test_the_survey_nearest_in_time_serves():
    outlines = surveyed(
        ("2009-08-01", square(10, 10, 20, 20)),
        ("2010-07-01", square(10, 10, 12, 12)),
        ("2011-08-01", square(10, 10, 16, 16)),
    )

    label = burn(outlines)

    assert label.sum() == 12 * 12  # shrunk since 2009: what it left is ground


def test_of_two_surveys_equally_near_both_serve():
    outlines = surveyed(("2009-08-01", square(10, 10)), ("2009-08-01", square(40, 10)))

    assert burn(outlines).sum() == 200


def test_each_glacier_is_served_by_its_own_nearest_day():
    outlines = surveyed(
        ("2010-08-01", square(10, 10)),
        ("2009-01-01", square(40, 10)),
        ("2008-10-01", square(41, 11, 9, 9)),
    )

    label = burn(outlines)

    assert label[10:20, 10:20].all()
    assert label[10:20, 40:50].all()
    assert label.sum() == 200


def test_where_only_another_time_is_known_nothing_is_learned():
    outlines = surveyed(
        ("2010-08-01", square(10, 10)), ("1990-08-01", square(40, 10)), ("1990-08-01", square(8, 8))
    )

    label = burn(outlines)

    assert (label[10:18, 40:50] == IGNORE).all()
    assert (label[10:20, 10:20] == 1).all()
    assert set(np.unique(label)) == {0, 1, IGNORE}


def test_what_is_not_known_does_not_hide_what_is():
    outlines = surveyed(("2010-08-01", square(10, 10)), ("1990-08-01", square(17, 10)))

    label = burn(outlines)

    assert (label[10:20, 10:20] == 1).all()
    assert (label[10:20, 20:27] == IGNORE).all()


def test_an_older_outline_of_the_same_ice_leaves_no_trace():
    outlines = surveyed(
        ("2010-08-01", square(15, 15, 6, 6)), ("1850-08-01", square(10, 10, 30, 30))
    )

    assert burn(outlines).sum() == 36


def test_a_new_pond_does_not_replace_the_glacier_that_it_lies_on():
    outlines = surveyed(
        ("2010-08-01", square(15, 15, 4, 4), "supraglacial_lake"),
        ("2009-08-01", square(10, 10, 30, 30)),
    )

    label = burn(outlines)

    assert (label[15:19, 15:19] == 3).all()
    assert (label == 1).sum() == 900 - 16


def test_the_ignored_margin_grows_with_the_years_between():
    outlines = surveyed(("2009-08-01", square(20, 20, 30, 30)))

    label = burn(outlines, moved=60, margin_m=PIXEL_M)

    # 30 m for the drawing, 60 m for the year: three pixels to each side.
    assert (label[17:23, 35] == IGNORE).all()
    assert label[16, 35] == 0
    assert label[23, 35] == 1


def test_a_day_within_a_long_acquisition_is_no_time_away():
    outlines = surveyed(("2010-08-20", square(20, 20, 30, 30)))

    label = burn(outlines, moved=1000, days=40, within=0)

    assert IGNORE not in label


def test_the_day_after_is_a_day_away():
    with pytest.raises(LabelError, match=r"the nearest is of 2010-08-02, 0\.0 years away"):
        burn(surveyed(("2010-08-02", square(20, 20))), within=0)


def test_what_moved_is_counted_on_the_ground_and_not_on_a_stretched_map():
    # At 60 degrees north a map in Mercator is twice as large as the ground.
    left, top = 9_570_000, 8_400_000
    grid = GeoBox((80, 90), Affine(60, 0, left, 0, -60, top), "EPSG:3857")
    shape = shapely.box(left + 20 * 60, top - 60 * 60, left + 70 * 60, top - 20 * 60)
    outlines = gpd.GeoDataFrame(
        {"class_name": ["glacier"], "survey_day": np.array(["2009-08-01"], "datetime64[D]")},
        geometry=[shape],
        crs="EPSG:3857",
    )

    label = place_labels(outlines, grid, GLACIER, dating=dating(moved=90)).burn(grid)

    assert (label[20 - 3 : 20 + 3, 45] == IGNORE).all()
    assert (label[[16, 23], 45] == [0, 1]).all()


def test_outlines_of_another_time_are_refused_with_the_nearest_and_the_key():
    outlines = surveyed(("1998-09-01", square(10, 10)), ("1966-09-01", square(10, 10)))

    with pytest.raises(LabelError) as caught:
        burn(outlines)

    assert str(caught.value) == (
        "No outline on the scene of 2010-08-01 is of a survey within 2 years; the nearest is of "
        "1998-09-01, 11.9 years away: give outlines of the scene's time, or raise "
        "labels.within_years."
    )


def test_outlines_without_a_day_are_unknown_among_others_and_refused_alone():
    outlines = surveyed(("2010-08-01", square(10, 10)), ("NaT", square(40, 10)))

    assert (burn(outlines)[10:20, 40:50] == IGNORE).all()
    with pytest.raises(LabelError, match="has a survey day; fill in labels"):
        burn(outlines.iloc[1:])


@pytest.mark.parametrize(
    ("values", "days"),
    [
        (["2000-10-30", None], ["2000-10-30", "NaT"]),
        (["2000-10-30T00:00:00", "2001-01-01"], ["2000-10-30", "2001-01-01"]),
        ([2000, 1966], ["2000-07-02", "1966-07-02"]),
        ([2000.0, np.nan], ["2000-07-02", "NaT"]),
        (["20001030", "20009999", "-9999999"], ["2000-10-30", "2000-07-02", "NaT"]),
        ([date(2000, 10, 30), date(1966, 1, 1)], ["2000-10-30", "1966-01-01"]),
        (
            pd.to_datetime(["2000-10-30T23:00Z", None], format="ISO8601"),
            ["2000-10-30", "NaT"],
        ),
    ],
)
def test_the_day_of_an_outline_is_read_as_inventories_write_it(tmp_path, values, days):
    path = tmp_path / "a.gpkg"
    count = len(values)
    gpd.GeoDataFrame({"src_date": values}, geometry=[square(i, 0) for i in range(count)], crs=CRS)\
        .to_file(path)  # fmt: skip

    table = read_outlines(path, GLACIER, layer=None, class_of="glacier", date_of="src_date")

    expected = np.array(days, dtype="datetime64[D]")
    np.testing.assert_array_equal(table["survey_day"].to_numpy().astype("datetime64[D]"), expected)


def test_a_column_without_dates_is_named(tmp_path):
    path = tmp_path / "a.gpkg"
    true_outlines().assign(name=["Khumbu", "Ngozumpa"]).to_file(path)

    with pytest.raises(LabelError, match=r"'name' of .*a\.gpkg holds no date .*'Khumbu'"):
        read_outlines(path, GLACIER, layer=None, class_of="glacier", date_of="name")
    with pytest.raises(LabelError, match=r"no column 'src_date' for labels\.date_of"):
        read_outlines(path, GLACIER, layer=None, class_of="glacier", date_of="src_date")
