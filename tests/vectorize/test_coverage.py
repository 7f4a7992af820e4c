import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from noise_maps import class_maps, full_maps, traced

from geoseg.vectorize.coverage import simplify_coverage, smooth_coverage


def faults_px2(polygons, shape):
    """Area in no polygon, and area in more than one."""
    union = shapely.union_all(polygons).area
    return shape[0] * shape[1] - union, shapely.area(polygons).sum() - union


@settings(deadline=None)
@given(
    classes=full_maps(),
    tolerance_px=st.sampled_from([0, 0.75, 1.5, 4]),
    rounds=st.integers(0, 3),
)
def test_a_full_map_has_no_gap_and_no_overlap_after_simplification_and_smoothing(
    classes, tolerance_px, rounds
):
    frame = np.zeros(np.add(classes.shape, 40), np.uint8) + 1
    frame[20:-20, 20:-20] = classes
    raw = traced(frame).polygons

    simple = simplify_coverage(raw, tolerance=tolerance_px)
    smooth = smooth_coverage(simple, rounds=rounds)

    # The frame is too wide for its corners to go, but cutting rounds them.
    corners = shapely.convex_hull(shapely.union_all(smooth)).area - frame.size
    assert shapely.is_valid(smooth).all()
    assert shapely.coverage_is_valid(smooth)
    np.testing.assert_allclose(faults_px2(smooth, frame.shape), [-corners, 0], atol=1e-6)


@settings(deadline=None)
@given(
    classes=class_maps(most=30),
    tolerance_px=st.sampled_from([0, 0.75, 1.5, 4]),
    rounds=st.integers(1, 3),
)
def test_noise_stays_valid_however_it_is_smoothed(classes, tolerance_px, rounds):
    simple = simplify_coverage(traced(classes).polygons, tolerance=tolerance_px)

    smooth = smooth_coverage(simple, rounds=rounds)

    assert len(smooth) == len(simple)
    assert shapely.is_valid(smooth).all()
    assert shapely.coverage_is_valid(smooth)


def test_a_round_cuts_each_corner_at_a_quarter_of_its_sides():
    square = np.array([shapely.box(0, 0, 8, 4)])

    (smooth,) = smooth_coverage(square, rounds=1)

    assert smooth.equals(
        shapely.Polygon([(2, 0), (6, 0), (8, 1), (8, 3), (6, 4), (2, 4), (0, 3), (0, 1)])
    )


def test_corners_stay_where_three_borders_meet():
    classes = np.zeros((12, 16), np.uint8)
    classes[2:10, 2:8] = 1
    classes[2:10, 8:14] = 2

    one, other = smooth_coverage(traced(classes).polygons, rounds=1)

    ends = shapely.MultiPoint([(8, 2), (8, 10)])
    assert one.intersection(other).equals(shapely.LineString([(8, 2), (8, 10)]))
    assert shapely.covers(one.boundary, ends)
    assert shapely.covers(other.boundary, ends)
    # Of 6 x 8 px, the two corners that only one of them has lose a triangle of 1.5 x 2 px.
    assert [one.area, other.area] == [48 - 3, 48 - 3]


def test_a_corner_is_not_cut_over_an_outline_that_lies_in_it():
    classes = np.zeros((30, 30), np.uint8)
    classes[:, :5] = 1
    classes[25:] = 1
    classes[22:24, 6:8] = 2

    ice, lake = smooth_coverage(traced(classes).polygons, rounds=3)

    assert not ice.intersects(lake)
    assert shapely.covers(ice.boundary, shapely.Point(5, 25))
    assert not shapely.covers(ice.boundary, shapely.Point(0, 0))
    assert lake.area < 4


def test_smoothing_does_not_let_a_border_cross_itself():
    # A tongue reaches into the corner of the border around it.
    spiral = shapely.Polygon(
        [(0, 0), (40, 0), (40, 40), (0, 40), (0, 38), (36, 38), (3, 3), (36, 36), (38, 2), (0, 2)]
    )

    (smooth,) = smooth_coverage(np.array([spiral]), rounds=3)

    assert smooth.is_valid


@pytest.mark.parametrize("change", [simplify_coverage, smooth_coverage])
def test_no_polygons_stay_none(change):
    nothing = np.empty(0, dtype=object)
    options = {"tolerance": 1} if change is simplify_coverage else {"rounds": 2}

    assert len(change(nothing, **options)) == 0
