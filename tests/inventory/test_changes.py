import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from inventory.drawn_outlines import inventory_of, rectangle, rectangles

from geoseg.inventory.changes import ground_changes

WIDE = rectangle(-5000, -5000, 30_000, 20_000)  # ground that holds all that is drawn here
DATES = ("1966", "1987", "2003", "2020")

spots = st.tuples(*[st.integers(0, 40)] * 2, *[st.integers(3, 25)] * 2)
scenes = st.lists(spots, max_size=5)


def seen_all(surveys):
    return dict.fromkeys(surveys, WIDE)


def net_km2(changes):
    """Gains less losses by the interval that they are of."""
    signed = np.where(changes["change"] == "gain", changes["area_km2"], -changes["area_km2"])
    return changes.assign(net=signed).groupby(["survey_from", "survey_to"])["net"].sum()


@settings(max_examples=25, deadline=None)
@given(st.lists(scenes, min_size=2, max_size=4))
@pytest.mark.slow
def test_gains_less_losses_are_the_change_of_area_whatever_broke_off_merged_or_came_back(found):
    tables = [rectangles(*[[100 * v for v in box] for box in boxes]) for boxes in found]
    surveys = dict(zip(DATES, tables, strict=False))

    inventory = inventory_of(surveys, seen=seen_all(surveys))

    area = inventory.outlines.groupby("survey")["area_km2"].sum().reindex(list(surveys)).fillna(0)
    net = net_km2(inventory.changes)
    for before, after in zip(surveys, list(surveys)[1:], strict=False):
        assert net.get((before, after), 0) == pytest.approx(area[after] - area[before], abs=1e-5)
    assert set(net.index) <= set(zip(surveys, list(surveys)[1:], strict=False))


@settings(max_examples=25, deadline=None)
@given(st.lists(scenes, min_size=2, max_size=3), st.lists(spots, min_size=3, max_size=3))
@pytest.mark.slow
def test_no_change_lies_on_ground_that_one_of_its_surveys_did_not_see(found, clouds):
    tables = [rectangles(*[[100 * v for v in box] for box in boxes]) for boxes in found]
    surveys = dict(zip(DATES, tables, strict=False))
    clear = {
        date: WIDE.difference(rectangle(*[100 * v for v in cloud]))
        for date, cloud in zip(surveys, clouds, strict=False)
    }

    changes = inventory_of(surveys, seen=clear).changes

    for row in changes.itertuples():
        both = clear[row.survey_from].intersection(clear[row.survey_to])
        assert row.geometry.difference(both).area < 1e-3


class TestBetweenTwoSurveys:
    def changes(self, before, after, **extra):
        surveys = {"2000": rectangles(*before), "2010": rectangles(*after)}
        found = inventory_of(surveys, seen=seen_all(surveys), **extra).changes
        rows = zip(found["change"], found["area_km2"], found["track_id"], strict=True)
        return sorted((change, round(km2, 3), track[-1]) for change, km2, track in rows)

    def test_a_glacier_gains_at_one_end_and_loses_at_the_other(self):
        found = self.changes([(0, 0, 1000, 500)], [(200, 0, 1100, 500)])

        assert [row[:2] for row in found] == [("gain", 0.15), ("loss", 0.1)]

    def test_what_appears_is_gained_and_what_vanishes_is_lost(self):
        found = self.changes([(0, 0, 1000, 500)], [(5000, 0, 400, 500)])

        assert [row[:2] for row in found] == [("gain", 0.2), ("loss", 0.5)]

    def test_what_broke_off_is_not_lost(self):
        found = self.changes([(0, 0, 1000, 500)], [(0, 0, 600, 500), (700, 0, 300, 500)])

        assert [row[:2] for row in found] == [("loss", 0.05)]

    def test_what_was_taken_up_is_not_gained(self):
        found = self.changes([(0, 0, 600, 500), (700, 0, 300, 500)], [(0, 0, 1000, 500)])

        assert [row[:2] for row in found] == [("gain", 0.05)]

    def test_what_did_not_change_is_none(self):
        assert self.changes([(0, 0, 600, 500)], [(0, 0, 600, 500)]) == []

    @pytest.mark.parametrize(("gsd_m", "pieces"), [(None, 1), (10, 1), (11, 0)])
    def test_less_than_a_pixel_is_a_border_that_was_drawn_anew(self, gsd_m, pieces):
        found = self.changes([(0, 0, 600, 500)], [(0, 0, 600, 500.18)], gsd_m=gsd_m)

        # 600 m x 0.18 m are 108 m2; a pixel of 10 m has 100, and one of 11 m 121.
        assert len(found) == pieces


def test_what_came_back_is_gained_since_it_was_gone():
    stays, gone = (0, 0, 1000, 500), (3000, 0, 400, 500)
    surveys = {
        "1990": rectangles(stays, gone),
        "2000": rectangles(stays),
        "2010": rectangles(stays, (3000, 0, 300, 500)),
    }

    changes = inventory_of(surveys, seen=seen_all(surveys)).changes

    rows = changes[["change", "survey_from", "survey_to"]].to_numpy().tolist()
    assert rows == [["loss", "1990", "2000"], ["gain", "2000", "2010"]]
    np.testing.assert_allclose(changes["area_km2"], [0.2, 0.15], rtol=2e-3)


def test_what_merged_and_split_again_is_counted_with_the_whole():
    large = (0, 0, 1000, 500)
    surveys = {
        "1990": rectangles(large, (1100, 0, 400, 500)),
        "2000": rectangles((0, 0, 1500, 500)),
        "2010": rectangles(large, (1100, 0, 300, 500)),
    }

    inventory = inventory_of(surveys, seen=seen_all(surveys))

    assert inventory.events["event"].tolist() == ["merge", "split"]
    rows = inventory.changes[["change", "survey_from", "survey_to"]].to_numpy().tolist()
    assert rows == [["gain", "1990", "2000"], ["loss", "2000", "2010"]]
    np.testing.assert_allclose(inventory.changes["area_km2"], [0.05, 0.1], rtol=2e-3)


def test_a_survey_that_a_cloud_hid_is_passed_over():
    surveys = {
        "1990": rectangles((0, 0, 1000, 500), (3000, 0, 400, 500)),
        "2000": rectangles((3000, 0, 400, 500)),
        "2010": rectangles((0, 0, 700, 500), (3000, 0, 400, 500)),
    }
    seen = seen_all(surveys) | {"2000": WIDE.difference(rectangle(-100, -100, 1300, 700))}

    inventory = inventory_of(surveys, seen=seen)

    changes = inventory.changes[["change", "survey_from", "survey_to"]].to_numpy().tolist()
    assert changes == [["loss", "1990", "2010"]]
    assert len(inventory.events) == 0


class TestGroundChanges:
    def found(self, before, after, **seen):
        shapes = (np.array([shape], dtype=object) for shape in (before, after))
        ground = {"seen_before": None, "seen_after": None, **seen}
        return ground_changes(*shapes, **ground, least_m2=1.0)

    def test_are_of_the_row_that_they_changed_in(self):
        before = np.array([rectangle(0, 0, 9, 9), rectangle(50, 0, 9, 9)], dtype=object)
        after = np.array([rectangle(0, 0, 9, 9), rectangle(50, 0, 9, 5)], dtype=object)

        found = ground_changes(before, after, seen_before=None, seen_after=None, least_m2=1.0)

        assert found.row.tolist() == [1]
        assert found.gained.tolist() == [False]
        np.testing.assert_allclose(shapely.area(found.polygons), [36])

    @pytest.mark.parametrize("name", ["seen_before", "seen_after"])
    def test_end_where_either_survey_did_not_see(self, name):
        old, new = rectangle(0, 0, 100, 50), rectangle(40, 0, 100, 50)

        found = self.found(old, new, **{name: rectangle(20, 0, 110, 50)})

        assert found.gained.tolist() == [True, False]
        np.testing.assert_allclose(shapely.area(found.polygons), [30 * 50, 20 * 50])

    def test_on_ground_that_no_survey_saw_are_none(self):
        found = self.found(None, rectangle(0, 0, 9, 9), seen_before=shapely.Polygon())

        assert len(found.polygons) == 0
