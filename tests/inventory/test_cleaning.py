import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from inventory.drawn_outlines import CRS, rectangle, rectangles

from geoseg.inventory.surveys.cleaning import clean_outlines

sides = st.integers(1, 12)
boxes = st.tuples(st.integers(0, 12), st.integers(0, 12), sides, sides)


def of_kind(kind, shapes):
    return gpd.GeoDataFrame({"kind": kind}, geometry=shapes, crs=CRS, index=range(len(shapes)))


def clean(*boxes, kind="glacier"):
    return clean_outlines(rectangles(*boxes, kind=[kind] * len(boxes)))


@given(st.lists(boxes, min_size=1, max_size=7))
def test_cleaned_outlines_lie_apart_and_no_ground_is_lost_or_added(found):
    table = rectangles(*found, kind=["glacier"] * len(found))

    cleaned = clean_outlines(table)

    shapes = cleaned.outlines.geometry.to_numpy()
    assert shapely.is_valid(shapes).all()
    assert shapely.area(shapes).min() > 0
    # As much in all as in the whole: no ground is there twice.
    assert shapely.area(shapes).sum() == pytest.approx(table.union_all().area)
    assert shapely.union_all(shapes).symmetric_difference(table.union_all()).area < 1e-6


@pytest.mark.slow
@given(st.lists(boxes, min_size=1, max_size=6))
def test_what_is_clean_stays_as_it_is(found):
    once = clean_outlines(rectangles(*found, kind=["lake"] * len(found)))

    again = clean_outlines(once.outlines)

    assert not any((again.repaired, again.duplicates, again.overlaps, again.empty))
    assert again.outlines.geom_equals(once.outlines).all()


def test_an_outline_that_crosses_itself_is_repaired_and_said_to_be():
    x, y = 500_000, 3_100_000
    bow_tie = shapely.Polygon([(x, y), (x + 200, y + 100), (x + 200, y), (x, y + 100)])

    cleaned = clean_outlines(of_kind("lake", [rectangle(900, 0, 10, 20), bow_tie]))

    assert list(cleaned.repaired) == [1]
    assert cleaned.repaired[1].startswith("Self-intersection")
    np.testing.assert_allclose(cleaned.outlines.area, [200, 10_000])


@pytest.mark.parametrize("copies", [2, 3, 4])
def test_copies_count_once_and_name_the_row_that_stands_for_them(copies):
    cleaned = clean((50, 50, 1, 2), *[(0, 0, 30, 20)] * copies)

    assert cleaned.duplicates == dict.fromkeys(range(2, copies + 1), 1)
    np.testing.assert_allclose(cleaned.outlines.area, [2, 600])


def test_a_copy_of_a_copy_leaves_no_sliver():
    # Each is the one before moved by 1.5 %; the third shares but 97 % with the first.
    cleaned = clean((0, 0, 1000, 1000), (15, 0, 1000, 1000), (30, 0, 1000, 1000))

    assert cleaned.duplicates == {1: 0, 2: 0}
    np.testing.assert_allclose(cleaned.outlines.area, [1_000_000])


def test_ground_that_two_claim_stays_with_the_smaller():
    cleaned = clean((0, 0, 300, 100), (200, 0, 200, 100))

    assert cleaned.overlaps == [(0, 1)]
    np.testing.assert_allclose(cleaned.outlines.area, [20_000, 20_000])


def test_of_an_ice_complex_that_its_glaciers_cover_nothing_is_left():
    whole, west, east = (0, 0, 1000, 1000), (0, 0, 600, 1000), (600, 0, 400, 1000)

    cleaned = clean(whole, west, east)

    assert sorted(cleaned.overlaps) == [(0, 1), (0, 2)]
    np.testing.assert_allclose(cleaned.outlines.area, [600_000, 400_000])
    assert cleaned.empty == []


def test_neighbours_that_overlap_by_rounding_stay_as_they_were_drawn():
    cleaned = clean((0, 0, 100, 70), (99.99, 0, 100, 70))

    assert cleaned.overlaps == []
    np.testing.assert_allclose(cleaned.outlines.area, [7000, 7000])


def test_a_lake_on_a_glacier_is_not_cut_out_of_it():
    both = rectangles((0, 0, 500, 700), (100, 100, 50, 60), kind=["glacier", "lake"])

    cleaned = clean_outlines(both)

    np.testing.assert_allclose(cleaned.outlines.area, [350_000, 3000])
    assert cleaned.overlaps == []


def test_rows_without_an_area_are_left_out_and_said_to_be():
    shapes = [None, rectangle(0, 0, 3, 2), shapely.Point(500_000, 3_100_000), shapely.Polygon()]
    collapsed = shapely.Polygon([(500_000, 3_100_000), (500_009, 3_100_000), (500_000, 3_100_000)])

    cleaned = clean_outlines(of_kind("lake", [*shapes, collapsed]))

    assert cleaned.empty == [0, 2, 3, 4]
    np.testing.assert_allclose(cleaned.outlines.area, [6])


def test_no_outlines_are_clean():
    cleaned = clean_outlines(of_kind("lake", []))

    assert len(cleaned.outlines) == 0
    assert cleaned.outlines.crs == CRS
