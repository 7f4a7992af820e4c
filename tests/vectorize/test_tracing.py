import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from noise_maps import class_maps, polygonized, traced

from geoseg.config import OutlineSettings
from geoseg.labels import IGNORE
from geoseg.vectorize.runs import label_strips


@settings(deadline=None)
@given(classes=class_maps(), rows=st.integers(1, 17))
def test_polygons_are_those_of_gdal_for_any_height_of_strips(classes, rows):
    expected = polygonized(classes)

    tracing = traced(classes, rows=rows)

    assert len(tracing.polygons) == len(expected)
    assert shapely.is_valid(tracing.polygons).all()
    tree = shapely.STRtree([polygon for polygon, _ in expected])
    ours, theirs = tree.query(tracing.polygons, predicate="contains")
    same = shapely.equals(tracing.polygons[ours], tree.geometries[theirs])
    assert sorted(ours[same]) == list(range(len(expected)))
    np.testing.assert_array_equal(
        tracing.classes[ours[same]], [expected[i][1] for i in theirs[same]]
    )


@settings(deadline=None)
@given(classes=class_maps(), rows=st.integers(1, 17))
def test_the_height_of_strips_changes_nothing(classes, rows):
    whole = traced(classes)

    cut = traced(classes, rows=rows)

    np.testing.assert_array_equal(shapely.to_wkb(cut.polygons), shapely.to_wkb(whole.polygons))
    np.testing.assert_array_equal(cut.classes, whole.classes)


@settings(deadline=None)
@given(classes=class_maps(void=False))
def test_neighbours_have_the_same_corners_along_their_border(classes):
    polygons = traced(classes + 1).polygons

    assert shapely.coverage_is_valid(polygons)
    assert shapely.area(polygons).sum() == classes.size
    assert shapely.coverage_union_all(polygons).equals(shapely.box(0, 0, *classes.shape[::-1]))


def test_polygons_have_corners_only_where_a_border_turns_or_borders_meet():
    classes = np.zeros((6, 9), np.uint8)
    classes[1:5, 1:4] = 1
    classes[1:5, 4:8] = 2
    classes[3:5, 4:8] = 1  # beside class 1: one region with it

    polygons = traced(classes).polygons

    assert shapely.get_num_coordinates(polygons).tolist() == [7, 5]
    assert polygons[0].equals(shapely.box(1, 1, 8, 5) - shapely.box(4, 1, 8, 3))


def test_a_region_that_meets_itself_at_a_corner_has_a_hole_there():
    classes = np.ones((4, 5), np.uint8)
    classes[0, 0] = 0
    classes[1, 1] = 0

    (polygon,) = traced(classes).polygons

    assert polygon.is_valid
    (hole,) = polygon.interiors
    assert shapely.Polygon(hole).equals(shapely.box(1, 1, 2, 2))


def test_polygons_reach_the_edge_of_the_raster_and_no_further():
    classes = np.full((3, 5), 2, np.uint8)

    (polygon,) = traced(classes).polygons

    assert polygon.equals(shapely.box(0, 0, 5, 3))


@given(classes=class_maps(), rows=st.integers(1, 17))
@settings(deadline=None)
def test_labels_say_in_which_polygon_a_pixel_lies(classes, rows):
    tracing = traced(classes, rows=rows)
    parts = (classes[top : top + rows] for top in range(0, len(classes), rows))

    owner = np.zeros(classes.shape, int)
    for strip in label_strips(parts, classes.shape[1]):
        pixels = np.repeat(tracing.of_label[strip.labels], strip.lengths_px)[1 + strip.stride :]
        table = pixels.reshape(-1, strip.stride)[:, :-1]
        owner[strip.top : strip.top + len(table)] = table[: len(classes) - strip.top]

    assert ((owner > 0) == ((classes != 0) & (classes != IGNORE))).all()
    counted = np.bincount(owner.ravel(), minlength=len(tracing.polygons) + 1)[1:]
    np.testing.assert_array_equal(counted, shapely.area(tracing.polygons))
    for number, polygon in enumerate(tracing.polygons, start=1):
        row, column = np.argwhere(owner == number)[0]
        assert polygon.contains(shapely.Point(column + 0.5, row + 0.5))


def speckled():
    classes = np.ones((12, 20), np.uint8)
    classes[:, 10:] = 0
    return classes


def limits(hole_px, area_px=0):
    return OutlineSettings(min_area_m2=area_px, min_hole_m2=hole_px, simplify_px=0)


@pytest.mark.parametrize(("hole_px", "holes"), [(6, 1), (7, 0)])
def test_a_hole_under_the_limit_is_filled(hole_px, holes):
    classes = speckled()
    classes[3:5, 3:6] = 0

    (polygon,) = traced(classes, limits(hole_px)).polygons

    assert len(polygon.interiors) == holes


def test_a_speck_goes_to_the_largest_region_beside_it():
    classes = speckled()
    classes[:2, 10:] = 2  # 20 px, beside the 120 px of class 1
    classes[1:3, 9:11] = 3  # over all three

    tracing = traced(classes, limits(5))

    assert tracing.classes.tolist() == [1, 2]
    assert [p.area for p in tracing.polygons] == [118 + 4, 19]


def test_specks_in_specks_go_with_them():
    classes = speckled()
    classes[3:6, 3:6] = 2
    classes[4, 4] = 0

    (polygon,) = traced(classes, limits(10)).polygons

    assert polygon.equals(shapely.box(0, 0, 10, 12))


def test_small_regions_that_come_to_touch_are_weighed_together():
    classes = np.zeros((3, 9), np.uint8)
    classes[1, 1:4] = 1
    classes[1, 4] = 2
    classes[1, 5:8] = 1
    classes[0] = classes[2] = IGNORE
    classes[1, 0] = classes[1, 8] = IGNORE

    (polygon,) = traced(classes, limits(7)).polygons

    assert polygon.equals(shapely.box(1, 1, 8, 2))


@pytest.mark.parametrize(("hole_px", "sizes"), [(5, [5, 21]), (6, [26])])
def test_a_region_that_has_grown_to_the_limit_stays(hole_px, sizes):
    classes = np.array([[1, 1, 1, 2, 2, 4] + [3] * 20], np.uint8)  # 2 goes to 1, 4 to 3

    polygons = traced(classes, limits(hole_px)).polygons

    assert [p.area for p in polygons] == sizes


def test_a_hole_without_data_is_not_filled():
    classes = speckled()
    classes[3:5, 3:6] = IGNORE
    classes[8, 5] = IGNORE
    classes[8, 6] = 0

    (polygon,) = traced(classes, limits(50)).polygons

    assert polygon.area == 120 - 7


@settings(deadline=None)
@given(classes=class_maps(), hole_px=st.integers(2, 30), rows=st.integers(1, 17))
def test_after_the_sieve_no_small_region_has_a_larger_one_beside_it(classes, hole_px, rows):
    shifted = np.where(classes == IGNORE, IGNORE, classes + 1).astype(np.uint8)

    tracing = traced(shifted, limits(hole_px), rows=rows)

    assert shapely.area(tracing.polygons).sum() == (classes != IGNORE).sum()
    assert shapely.coverage_is_valid(tracing.polygons)
    area = shapely.area(tracing.polygons)
    one, other = shapely.STRtree(tracing.polygons).query(tracing.polygons, predicate="touches")
    shared = shapely.length(shapely.intersection(tracing.polygons[one], tracing.polygons[other]))
    beside = (shared > 0) & (one != other)
    assert not (area[one[beside]] < hole_px).any()
    assert (tracing.classes[one[beside]] != tracing.classes[other[beside]]).all()


@pytest.mark.parametrize(("area_px", "corners"), [(4, [7, 5]), (5, [5])])
def test_outlines_under_the_limit_are_left_out_and_leave_no_corner_behind(area_px, corners):
    classes = np.zeros((8, 12), np.uint8)
    classes[2:6, 2:6] = 1
    classes[3:5, 6:8] = 2

    polygons = traced(classes, limits(0, area_px=area_px)).polygons

    assert polygons[0].equals(shapely.box(2, 2, 6, 6))
    assert shapely.get_num_coordinates(polygons).tolist() == corners
