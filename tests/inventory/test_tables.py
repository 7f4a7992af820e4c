import datetime as dt

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from inventory.drawn_outlines import inventory_of, rectangle, rectangles

from geoseg.inventory.ground import seen_parts, seen_shares

WIDE = rectangle(-5000, -5000, 30_000, 20_000)
ICE, OTHER = (0, 0, 1000, 800), (3000, 0, 400, 500)


def states_of(inventory, column="status"):
    """By track, in the order of surveys."""
    return inventory.states.groupby("track_id", sort=False)[column].apply(list).tolist()


class TestGlacierUnderCloud:
    """The west of a glacier lies under a cloud in the second of four surveys."""

    CLOUD = rectangle(-200, -200, 800, 1200)  # 600 m of the 1000 m of ice

    def inventory(self):
        found = {
            "1990": rectangles(ICE, OTHER),
            "2000": rectangles((600, 0, 400, 800), OTHER),
            "2010": rectangles((0, 0, 900, 800), OTHER),
            "2020": rectangles((0, 0, 800, 800), OTHER),
        }
        clear = dict.fromkeys(found, WIDE) | {"2000": WIDE.difference(self.CLOUD)}
        return inventory_of(found, seen=clear, gsd_m=10.0)

    def test_is_present_and_its_area_is_left_empty(self):
        inventory = self.inventory()

        assert states_of(inventory)[0] == ["present"] * 4
        areas = states_of(inventory, "area_km2")[0]
        np.testing.assert_allclose(areas, [0.8, np.nan, 0.72, 0.64], rtol=2e-3)
        assert np.isnan(states_of(inventory, "area_unc_km2")[0]).tolist() == [0, 1, 0, 0]

    def test_says_in_its_outline_how_much_was_not_seen(self):
        shares = self.inventory().outlines["invalid_share"].to_numpy()[:4]

        # Of the ground that it had in the survey after, of which 600 m of 900 m were hidden.
        np.testing.assert_allclose(shares, [0, 2 / 3, 0, 0], atol=1e-9)

    def test_counts_for_no_rate_and_no_change(self):
        track = self.inventory().tracks.iloc[0]

        assert track["area_first_km2"] == pytest.approx(0.8, rel=2e-3)
        assert track["change_km2"] == pytest.approx(-0.16, rel=2e-3)
        # 0.08 km2 a decade, from 1990 to 2010 half as fast.
        assert -0.008 < track["rate_km2_a"] < -0.004

    def test_loses_nothing_under_the_cloud(self):
        changes = self.inventory().changes
        hidden = changes[(changes["survey_from"] == "2000") | (changes["survey_to"] == "2000")]

        assert not hidden.intersects(self.CLOUD.buffer(-1)).any()


def test_a_single_glacier_of_which_no_one_says_what_was_seen_loses_what_it_lost():
    found = {"1990": rectangles(ICE), "2000": rectangles((0, 0, 500, 800)), "2010": rectangles()}

    inventory = inventory_of(found)

    assert inventory.tracks["change_km2"].tolist() == pytest.approx([-0.4], rel=2e-3)
    assert inventory.changes["change"].tolist() == ["loss"]
    assert states_of(inventory) == [["present", "present", "unknown"]]
    # What nobody knows is empty.
    assert inventory.surveys.geometry.isna().all()


class TestStates:
    def test_nothing_vanishes_that_could_not_be_seen(self):
        found = {"1990": rectangles(ICE, OTHER), "2000": rectangles(OTHER), "2010": rectangles()}
        clear = {"1990": WIDE, "2000": rectangle(2000, -100, 3000, 900)}

        inventory = inventory_of(found, seen=clear)

        # Nobody says what the survey without outlines saw.
        assert states_of(inventory) == [
            ["present", "unknown", "unknown"],
            ["present", "present", "unknown"],
        ]
        assert len(inventory.events) == len(inventory.changes) == 0

    def test_what_was_seen_and_not_found_is_absent(self):
        found = {"1990": rectangles(ICE, OTHER), "2000": rectangles(OTHER)}

        inventory = inventory_of(found, seen=dict.fromkeys(found, WIDE))

        assert states_of(inventory) == [["present", "absent"], ["present", "present"]]
        track = inventory.tracks.iloc[0]
        assert (track["n_present"], track["n_absent"], track["n_unknown"]) == (1, 1, 0)
        assert str(track["end_date"]) == "1991-01-01"

    def test_ground_outside_of_the_scene_is_unknown(self):
        found = {"1990": rectangles(ICE, OTHER), "2000": rectangles(OTHER)}
        # Of the first glacier, one ninth lies outside: less than nine tenths were seen.
        seen = {"1990": WIDE, "2000": rectangle(112, -5000, 30_000, 20_000)}

        assert states_of(inventory_of(found, seen=seen))[0] == ["present", "unknown"]

    def test_there_is_one_of_each_track_at_each_survey(self):
        found = {"1990": rectangles(ICE, OTHER), "2000": rectangles(OTHER), "2010": rectangles(ICE)}

        states = inventory_of(found).states

        assert len(states) == 2 * 3
        assert not states.duplicated(["track_id", "survey"]).any()


class TestOutlines:
    def test_say_what_they_are_and_when_and_where(self):
        table = rectangles(ICE, (3000, 0, 300, 200), kind=["glacier", "lake"])
        table["class_name"] = ["glacier", "proglacial_lake"]

        outlines = inventory_of({"1971-07/1973-09": table}).outlines

        ice = outlines.iloc[0]
        assert ice["outline_id"] == f"{ice['track_id']}@1971-07-01/1973-09-30"
        assert (str(ice["start_date"]), str(ice["end_date"])) == ("1971-07-01", "1973-10-01")
        assert str(ice["src_date"]) == "1972-08-15"  # 411 days and a half after the first
        assert ice["area_km2"] == pytest.approx(0.8, rel=2e-3)
        assert (ice["cenlon"], ice["cenlat"]) == pytest.approx((87.0051, 28.0286), abs=1e-3)
        assert ice["parts"] == 1
        assert outlines["kind"].tolist() == ["glacier", "lake"]
        assert outlines["scene"].tolist() == ["1971-07/1973-09.gpkg"] * 2

    def test_leave_nunataks_out_of_their_area_and_count_their_parts(self):
        table = rectangles(ICE)
        hole, far = rectangle(300, 300, 200, 100), rectangle(0, 900, 100, 100)
        table.geometry = [table.geometry[0].difference(hole).union(far)]

        ice = inventory_of({"1990": table}).outlines.iloc[0]

        assert ice["area_km2"] == pytest.approx(0.8 - 0.02 + 0.01, rel=2e-3)
        assert ice["parts"] == 2

    def test_of_days_before_1900_are_dated_as_any(self):
        found = {"1850-06": rectangles(ICE), "1899": rectangles((0, 0, 900, 800))}

        inventory = inventory_of(found)

        track = inventory.tracks.iloc[0]
        assert track["start_date"] == dt.date(1850, 6, 1)
        assert inventory.outlines["src_date"].tolist() == [
            dt.date(1850, 6, 16),
            dt.date(1899, 7, 2),
        ]
        years = (dt.date(1899, 7, 2) - dt.date(1850, 6, 16)).days / 365.2425
        assert track["rate_km2_a"] == pytest.approx(track["change_km2"] / years, rel=1e-4)

    def test_keep_their_own_date_where_the_survey_spans_several(self):
        table = rectangles(ICE, OTHER)
        table["start_date"] = [dt.date(2000, 10, 30), None]
        table["end_date"] = [dt.date(2000, 10, 31), None]

        outlines = inventory_of({"2000": table}).outlines

        assert outlines["src_date"].astype(str).tolist() == ["2000-10-30", "2000-07-02"]


def test_surveys_that_found_nothing_make_tables_without_rows():
    inventory = inventory_of({"1990": rectangles(), "2000": rectangles()})

    assert [len(table) for _, table in inventory.tables()] == [2, 0, 0, 0, 0, 0, 0]
    assert inventory.surveys["outlines"].tolist() == [0, 0]


def test_events_lie_where_they_happened_and_say_how_large():
    found = {
        "1990": rectangles(ICE, OTHER),
        "2000": rectangles((0, 0, 600, 800), (700, 0, 300, 800), (9000, 0, 100, 300)),
    }

    events = inventory_of(found, seen=dict.fromkeys(found, WIDE)).events

    assert events["event"].tolist() == ["appear", "split", "vanish"]
    np.testing.assert_allclose(events["area_km2"], [0.03, 0.24, 0.2], rtol=2e-3)
    spots = [rectangle(9000, 0, 100, 300), rectangle(700, 0, 300, 800), rectangle(*OTHER)]
    assert shapely.within(events.geometry.to_numpy(), spots).all()
    assert set(events["start_date"]) == {dt.date(1990, 1, 1)}
    assert set(events["end_date"]) == {dt.date(2001, 1, 1)}


spots = st.tuples(*[st.integers(-50, 150)] * 2, *[st.integers(1, 60)] * 2)


@given(st.lists(spots, min_size=1, max_size=8), st.lists(spots, max_size=40))
def test_what_was_seen_of_outlines_is_what_they_share_with_the_ground(outlines, clouds):
    shapes = rectangles(*outlines).geometry.to_numpy()
    # Round clouds, of so many corners that the ground is cut into pieces.
    hidden = [rectangle(*cloud).centroid.buffer(cloud[2], quad_segs=32) for cloud in clouds]
    seen = rectangle(0, 0, 120, 130).difference(shapely.union_all(hidden))

    parts, shares = seen_parts(shapes, seen), seen_shares(shapes, seen)

    truth = shapely.intersection(shapes, seen)
    np.testing.assert_allclose(shares, shapely.area(truth) / shapely.area(shapes), atol=1e-9)
    assert shapely.area(shapely.symmetric_difference(parts, truth)).max() < 1e-6


def test_all_of_what_is_anywhere_was_seen_where_nothing_was_hidden():
    shapes = rectangles(ICE, OTHER).geometry.to_numpy()

    assert seen_shares(shapes, None).tolist() == [1, 1]
    assert seen_parts(shapes, None).tolist() == shapes.tolist()
    assert seen_shares(shapes, shapely.Polygon()).tolist() == [0, 0]
