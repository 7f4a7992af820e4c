import re
import tempfile
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from inventory.drawn_outlines import CRS, ids_of, rectangles, track, write

from geoseg.inventory.tracking.identity import glims_style_ids

CELL_M = 2000
YEARS = (1966, 1987, 2003, 2020)

# One thing a cell, of any size, present or not; and whether it has grown together with the next.
things = st.tuples(st.booleans(), st.integers(300, 1500), st.integers(300, 1500), st.booleans())
valleys = st.lists(things, min_size=4, max_size=4)


def outlines_of(valley):
    boxes, bridged = [], False
    for cell, (present, width, height, bridge) in enumerate(valley):
        if bridged:
            # The one before reaches over to here.
            bridged = False
        elif bridge and cell < len(valley) - 1:
            boxes.append((cell * CELL_M, 0, CELL_M + width, height))
            bridged = True
        elif present:
            boxes.append((cell * CELL_M, 0, width, height))
    return rectangles(*boxes)


@settings(max_examples=8, deadline=None)
@given(st.lists(valleys, min_size=3, max_size=4), st.randoms(use_true_random=False))
@pytest.mark.slow
def test_adding_a_survey_before_between_or_after_changes_no_id(surveys, random):
    order = list(zip(YEARS, surveys, strict=False))
    random.shuffle(order)
    with tempfile.TemporaryDirectory() as name:
        out, files, given_before = Path(name) / "all.gpkg", {}, {}
        for year, valley in order:
            files[year] = write(outlines_of(valley), Path(name) / f"{year}.gpkg")

            inventory = track(out, *files.values(), dates=",".join(map(str, files)))

            ids = ids_of(inventory)
            assert {key: ids[key] for key in given_before} == given_before
            assert inventory.outlines["outline_id"].is_unique
            given_before = ids


@settings(max_examples=5, deadline=None)
@given(st.lists(valleys, min_size=3, max_size=3))
@pytest.mark.slow
def test_adding_a_survey_to_an_inventory_file_gives_what_all_files_at_once_do(surveys):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = [write(outlines_of(v), folder / f"{i}.gpkg") for i, v in enumerate(surveys)]
        first = track(folder / "first.gpkg", files[0], files[2], dates="1966,2003")

        added = track(folder / "added.gpkg", folder / "first.gpkg", files[1], dates="1987")

        kept = ids_of(added)
        assert {key: kept[key] for key in ids_of(first)} == ids_of(first)
        again = track(folder / "first.gpkg", *files, dates="1966,1987,2003")
        assert ids_of(again) == kept
        # What is known of each survey is the same, whichever way it came in.
        for table in ("states", "events", "changes"):
            one, other = getattr(added, table), getattr(again, table)
            assert one.drop(columns="geometry", errors="ignore").equals(
                other.drop(columns="geometry", errors="ignore")
            )


@pytest.mark.slow
@pytest.mark.parametrize("by_m", [-40, 15, 60])
def test_outlines_that_were_redrawn_keep_their_ids(tmp_path, by_m):
    table = rectangles((0, 0, 900, 700), (1500, 0, 300, 400), (3000, 0, 500, 800))
    path, out = write(table, tmp_path / "a.gpkg"), tmp_path / "all.gpkg"
    before = track(out, path, dates="1999").outlines

    write(table.set_geometry(table.buffer(by_m, join_style="mitre")).iloc[::-1], path)
    after = track(out, path, dates="1999").outlines

    pairs = gpd.sjoin(before, after, predicate="intersects")
    assert len(pairs) == 3
    assert (pairs["track_id_left"] == pairs["track_id_right"]).all()


@pytest.mark.slow
def test_a_survey_that_bridges_two_tracks_goes_on_with_the_larger_and_cuts_neither(tmp_path):
    apart = rectangles((0, 0, 900, 700), (1500, 0, 300, 400))
    bridge = rectangles((0, 0, 1800, 700))
    one, other = (write(t, tmp_path / f"{i}.gpkg") for i, t in enumerate((apart, bridge)))
    again, out = write(apart, tmp_path / "2.gpkg"), tmp_path / "all.gpkg"
    large, small = track(out, one, again, dates="1990,2010").tracks["track_id"]

    inventory = track(out, one, other, again, dates="1990,2000,2010")

    of_survey = inventory.outlines.groupby("survey")["track_id"].apply(list)
    assert of_survey.to_dict() == {"1990": [large, small], "2000": [large], "2010": [large, small]}
    events = inventory.events[["event", "track_id", "other_ids"]].to_numpy().tolist()
    assert events == [["merge", large, small], ["split", large, small]]
    assert inventory.tracks["merged_into"].isna().all()


@pytest.mark.slow
def test_surveys_that_are_moved_anew_keep_their_ids(tmp_path):
    sides = np.random.default_rng(1).uniform(60, 300, (30, 2))
    boxes = [(900 * (i % 6), 900 * (i // 6), *side) for i, side in enumerate(sides)]
    files = []
    for number, (x, y) in enumerate([(0, 0), (80, 60), (150, -90)]):
        moved = rectangles(*[(bx + x, by + y, *side) for bx, by, *side in boxes])
        files.append(write(moved, tmp_path / f"{number}.gpkg"))
    out, options = tmp_path / "all.gpkg", {"gsd_m": "30", "correct_shift": True}
    before = track(out, *files[:2], dates="2000,2010", **options).outlines

    # The newest is what the others are measured from: all of them move by more than most are wide.
    after = track(out, *files, dates="2000,2010,2020", **options).outlines

    for survey in ("2000", "2010"):
        assert set(before["outline_id"]) <= set(after["outline_id"]), survey
    assert len(set(after["track_id"])) == len(boxes)


@pytest.mark.slow
def test_the_order_of_files_changes_nothing(tmp_path):
    shrinking = [rectangles((0, 0, w, 700), (1500, 0, 300, w)) for w in (900, 800, 600)]
    files = [write(t, tmp_path / f"{i}.gpkg") for i, t in enumerate(shrinking)]

    sorted_ = track(tmp_path / "a.gpkg", *files, dates="1966,1990,2010")
    mixed = track(tmp_path / "b.gpkg", files[2], files[0], files[1], dates="2010,1966,1990")

    for (name, one), (_, other) in zip(sorted_.tables(), mixed.tables(), strict=True):
        assert one.drop(columns="geometry", errors="ignore").equals(
            other.drop(columns="geometry", errors="ignore")
        ), name


class TestInventoryThatIsReadAgain:
    @pytest.mark.slow
    def test_keeps_glaciers_apart_that_divides_told_apart(self, tmp_path):
        ice = write(rectangles((0, 0, 2000, 700), class_name=["clean_ice"]), tmp_path / "a.gpkg")
        divides = rectangles((0, 0, 1200, 700), (1200, 0, 800, 700), RGIId=["R1", "R2"])
        write(divides, tmp_path / "r.gpkg")
        first = track(tmp_path / "1.gpkg", ice, dates="2000", divides=tmp_path / "r.gpkg")

        again = track(tmp_path / "2.gpkg", tmp_path / "1.gpkg")

        assert sorted(again.tracks["track_id"]) == ["R1", "R2"]
        assert ids_of(again) == ids_of(first)

    @pytest.mark.slow
    def test_keeps_the_shares_of_debris_and_ponds(self, tmp_path):
        classes = ["clean_ice", "debris_ice", "clean_ice"]
        boxes = ((0, 0, 600, 700), (600, 0, 200, 700), (5000, 0, 300, 400))
        ice = write(rectangles(*boxes, class_name=classes), tmp_path / "a.gpkg")
        first = track(tmp_path / "1.gpkg", ice, dates="2000", gsd_m="30").outlines

        again = track(tmp_path / "2.gpkg", tmp_path / "1.gpkg").outlines

        np.testing.assert_allclose(first["debris_share"], [0.25, 0])
        np.testing.assert_allclose(again["debris_share"], first["debris_share"])
        np.testing.assert_allclose(again["area_unc_km2"], first["area_unc_km2"])

    @pytest.mark.slow
    def test_still_says_what_was_mended(self, tmp_path):
        table = rectangles((0, 0, 90, 70), (0, 0, 90, 70), (80, 0, 30, 70))
        first = track(tmp_path / "1.gpkg", write(table, tmp_path / "a.gpkg"), dates="2000")

        again = track(tmp_path / "2.gpkg", tmp_path / "1.gpkg")

        mended = ["repaired", "duplicates", "overlaps"]
        assert first.surveys[mended].to_numpy().tolist() == [[0, 1, 1]]
        assert again.surveys[mended].to_numpy().tolist() == [[0, 1, 1]]

    @pytest.mark.slow
    def test_of_a_survey_that_found_and_saw_nothing_makes_nothing_absent(self, tmp_path):
        none = write(rectangles(), tmp_path / "none.gpkg")
        some = write(rectangles((0, 0, 900, 700)), tmp_path / "some.gpkg")
        first = track(tmp_path / "1.gpkg", none, some, dates="1990,2000")

        again = track(tmp_path / "2.gpkg", tmp_path / "1.gpkg")

        for inventory in (first, again):
            assert inventory.states["status"].tolist() == ["unknown", "present"]
            assert len(inventory.events) == 0


class TestReference:
    def files(self, folder):
        glaciers = rectangles((0, 0, 900, 700), (1500, 0, 300, 400), (3000, 0, 500, 800))
        known = rectangles(
            (0, 0, 950, 700), (1500, 0, 300, 450), RGIId=["R1", "R2"], Name=["Khumbu", None]
        )
        return (
            write(glaciers, folder / "a.gpkg"),
            write(glaciers, folder / "b.gpkg"),
            write(known.to_crs("EPSG:4326"), folder / "rgi.gpkg"),
        )

    def test_ids_are_carried_over_and_what_it_does_not_know_gets_its_own(self, tmp_path):
        one, other, rgi = self.files(tmp_path)

        out = tmp_path / "1.gpkg"
        tracks = track(out, one, other, dates="1990,2000", reference=rgi).tracks

        assert tracks["track_id"].tolist()[:2] == ["R1", "R2"]
        assert re.fullmatch(r"G087\d{3}E28\d{3}N", tracks["track_id"][2])
        assert tracks["ref_id"].tolist()[:2] == ["R1", "R2"]
        assert tracks["ref_id"].isna()[2]
        assert tracks["glac_name"][0] == "Khumbu"

    @pytest.mark.slow
    def test_that_comes_later_stands_beside_the_ids_that_were_given(self, tmp_path):
        one, other, rgi = self.files(tmp_path)
        before = track(tmp_path / "1.gpkg", one, dates="1990")

        after = track(tmp_path / "1.gpkg", one, other, dates="1990,2000", reference=rgi)
        # Without it again, nothing is forgotten.
        last = track(tmp_path / "1.gpkg", one, other, dates="1990,2000")

        for inventory in (after, last):
            tracks = inventory.tracks
            assert tracks["track_id"].tolist() == before.tracks["track_id"].tolist()
            assert tracks["ref_id"].tolist()[:2] == ["R1", "R2"]
            assert tracks["ref_id"].isna()[2]
            assert tracks["glac_name"][0] == "Khumbu"
            assert tracks["n_present"].tolist() == [2, 2, 2]
            assert len(inventory.events) == 0

    def test_outlines_of_one_id_are_one_track(self, tmp_path):
        one, *_ = self.files(tmp_path)
        # GLIMS holds a glacier once for each time that it was drawn.
        glims = rectangles((0, 0, 950, 700), (0, 0, 990, 720), glac_id=["G1", "G1"])

        tracks = track(
            tmp_path / "1.gpkg", one, dates="1990", reference=write(glims, tmp_path / "g.gpkg")
        ).tracks

        assert tracks["ref_id"].tolist()[0] == "G1"
        assert tracks["ref_id"].isna().tolist() == [False, True, True]

    def test_stands_for_one_outline_where_the_ice_fell_apart(self, tmp_path):
        halves = rectangles((0, 0, 500, 700), (550, 0, 350, 700))
        *_, rgi = self.files(tmp_path)

        tracks = track(
            tmp_path / "1.gpkg", write(halves, tmp_path / "h.gpkg"), dates="1990", reference=rgi
        ).tracks

        assert tracks["ref_id"].notna().tolist() == [True, False]
        assert tracks["track_id"].is_unique


def test_the_name_that_a_later_survey_does_not_repeat_is_kept(tmp_path):
    boxes = ((0, 0, 900, 700), (1500, 0, 300, 400))
    named = write(rectangles(*boxes, Name=["Khumbu", "Nuptse"]), tmp_path / "a.gpkg")
    partly = write(rectangles(*boxes, Name=["Khumbu Gl.", None]), tmp_path / "b.gpkg")
    unnamed = write(rectangles(*boxes), tmp_path / "c.gpkg")

    inventory = track(tmp_path / "1.gpkg", named, partly, unnamed, dates="1990,2000,2010")

    assert inventory.tracks["glac_name"].tolist() == ["Khumbu Gl.", "Nuptse"]
    assert inventory.outlines["glac_name"].tolist() == ["Khumbu Gl."] * 3 + ["Nuptse"] * 3


class TestNewIds:
    def ids(self, *places, kind="glacier", taken=()):
        shapes = np.array([shapely.box(x, y, x + 1e-4, y + 1e-4) for x, y in places], dtype=object)
        return glims_style_ids(shapes, "EPSG:4326", kind, taken)

    def test_name_a_point_inside_as_glims_does(self):
        assert self.ids((86.8499, 27.9899)) == ["G086850E27990N"]
        assert self.ids((-72.5, -50.25)) == ["G287500E50250S"]
        assert self.ids((0.0001, 0.0001)) == ["G000000E00000N"]

    def test_go_once_around_the_earth(self):
        assert self.ids((-0.00045, 51.5)) == ["G000000E51500N"]
        assert self.ids((180.1, 66), (-179.9, 66)) == ["G180100E66000N", "G180100E66000N-2"]

    def test_say_of_what_kind_they_are(self):
        place = (86.8499, 27.9899)

        assert self.ids(place, kind="lake") == ["GL086850E27990N"]
        assert self.ids(place, kind="thaw_slump") == ["RTS086850E27990N"]
        assert self.ids(place, kind="moraine") == ["MORAINE086850E27990N"]

    def test_are_never_given_twice(self):
        place = (86.8499, 27.9899)
        taken = ["G086850E27990N", "G086850E27990N-3"]

        assert self.ids(place, place, taken=taken) == ["G086850E27990N-2", "G086850E27990N-4"]


def test_kinds_on_the_same_ground_have_tracks_of_their_own(tmp_path):
    both = rectangles((0, 0, 500, 700), (0, 0, 500, 700), class_name=["glacier", "thaw_slump"])
    path = write(both, tmp_path / "a.gpkg")

    tracks = track(tmp_path / "1.gpkg", path, dates="1990").tracks

    assert tracks["kind"].tolist() == ["glacier", "thaw_slump"]
    assert tracks["track_id"].str.extract("^([A-Z]+)")[0].tolist() == ["G", "RTS"]


@pytest.mark.slow
def test_shared_reference_systems_do_not_change_the_ids(tmp_path):
    table = rectangles((0, 0, 900, 700), (1500, 0, 300, 400))
    systems = ("EPSG:32645", "EPSG:4326", "EPSG:3413", "EPSG:32644")
    files = [write(table.to_crs(c), tmp_path / f"{i}.gpkg") for i, c in enumerate(systems)]

    inventory = track(tmp_path / "all.gpkg", *files, dates="1990,2000,2010,2020")

    assert len(inventory.tracks) == 2
    assert inventory.outlines.crs == CRS
    np.testing.assert_allclose(inventory.tracks["change_pct"], 0, atol=1e-3)
