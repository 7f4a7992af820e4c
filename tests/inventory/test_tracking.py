"""Outlines linked into tracks: small known cases, laws, simulated surveys and real ones."""

import os
from collections import Counter
from itertools import pairwise
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from inventory.simulated_tracks import score, simulate_tracks
from shapely import box

from geoseg.inventory.tracking import (
    ABSENT,
    FREE,
    PRESENT,
    UNKNOWN,
    Links,
    Sighting,
    best_matches,
    find_links,
    link_sightings,
)

P, A, U = PRESENT, ABSENT, UNKNOWN
DATA = Path(os.environ.get("GEOSEG_DATA_MIRROR", "/nowhere"))
GNP = DATA / "gnp_glaciers" / "data"
HKH = DATA / "hkh_lakes" / "HKHLAKEDB"

GLACIER = box(0, 0, 100, 40)
WEST, EAST = box(0, 0, 35, 40), box(45, 0, 100, 40)  # its parts; the eastern one is the larger
FAR = box(500, 0, 560, 40)


def seen_by(*polygons, seen=None, tracks=None, reach_m=0.0):
    """What a survey found; all of the ground was seen, and no track is known beforehand."""
    settled = [FREE] * len(polygons) if tracks is None else tracks
    return Sighting(
        np.array(polygons, dtype=object), seen, np.array(settled, dtype=np.intp), reach_m
    )


def linked(*sightings, tracks=0):
    """Tracks of the outlines of each survey, what happened, and all else that is known."""
    found = link_sightings(sightings, tracks=tracks)
    events = [(e.name, e.track, e.others, e.before, e.after) for e in found.events]
    return [tracks.tolist() for tracks in found.of_outline], events, found


# Small cases.


def test_of_parts_the_one_with_most_of_the_ground_carries_on():
    tracks, events, found = linked(seen_by(GLACIER), seen_by(WEST, EAST))

    assert tracks == [[0], [1, 0]]
    assert events == [("split", 0, (1,), 0, 1)]
    assert found.events[0].polygon.equals(WEST)
    assert found.parents.tolist() == [-1, 0]
    assert found.states.tolist() == [[P, P], [A, P]]


def test_most_of_the_ground_counts_and_not_the_size_of_a_part():
    # The western part has grown beyond the eastern one, on ground of its own.
    grown = box(-30, 0, 35, 40)

    tracks, events, _ = linked(seen_by(GLACIER), seen_by(grown, EAST))

    assert grown.area > EAST.area
    assert tracks == [[0], [1, 0]]
    assert events == [("split", 0, (1,), 0, 1)]


def test_what_lies_mostly_beside_a_glacier_did_not_break_off_it():
    beside = box(-60, 0, 35, 40)

    tracks, events, found = linked(seen_by(GLACIER), seen_by(beside, EAST))

    assert tracks == [[0], [1, 0]]
    assert events == [("appear", 1, (), 0, 1)]
    assert found.parents.tolist() == [-1, -1]


def test_a_glacier_may_fall_into_several_parts_at_once():
    parts = box(0, 0, 20, 40), box(30, 0, 70, 40), box(80, 0, 100, 40)

    tracks, events, found = linked(seen_by(FAR, GLACIER), seen_by(*parts, FAR))

    assert tracks == [[0, 1], [2, 1, 3, 0]]
    assert events == [("split", 1, (2, 3), 0, 1)]
    assert found.events[0].polygon.area == parts[0].area + parts[2].area
    assert found.parents.tolist() == [-1, -1, 1, 1]


def test_of_glaciers_that_grow_together_the_larger_carries_on():
    tracks, events, found = linked(seen_by(WEST, EAST), seen_by(GLACIER))

    assert tracks == [[0, 1], [1]]
    assert events == [("merge", 1, (0,), 0, 1)]
    assert found.events[0].polygon.equals(WEST)
    assert found.merged_into.tolist() == [1, -1]
    assert found.states.tolist() == [[P, A], [P, P]]


def test_a_glacier_less_than_half_on_the_ground_of_another_vanished():
    aside = box(-60, 0, 35, 40)

    tracks, events, found = linked(seen_by(aside, EAST), seen_by(GLACIER))

    assert tracks == [[0, 1], [1]]
    assert events == [("vanish", 0, (), 0, 1)]
    assert found.merged_into.tolist() == [-1, -1]


def test_a_large_lake_takes_up_the_pond_that_it_grows_over():
    lake, pond = box(0, 0, 400, 300), box(410, 100, 440, 130)
    grown = box(0, 0, 450, 300)

    tracks, events, _ = linked(seen_by(pond, lake), seen_by(pond, grown.difference(pond.buffer(1))),
                               seen_by(grown))  # fmt: skip

    assert tracks == [[0, 1], [0, 1], [1]]
    assert events == [("merge", 1, (0,), 1, 2)]


def test_a_part_that_is_taken_up_and_parts_again_takes_its_own_track_up():
    tracks, events, found = linked(
        seen_by(WEST, EAST), seen_by(GLACIER), seen_by(EAST, WEST), seen_by(GLACIER)
    )

    assert tracks == [[0, 1], [1], [1, 0], [1]]
    assert events == [
        ("merge", 1, (0,), 0, 1),
        ("split", 1, (0,), 1, 2),
        ("merge", 1, (0,), 2, 3),
    ]
    assert found.merged_into.tolist() == [1, -1]
    assert found.states.tolist() == [[P, A, P, A], [P, P, P, P]]


def test_what_was_taken_up_is_absent_and_returns_from_there_though_not_all_ground_was_seen():
    # The ground was bare at first; the west of it is unseen when the two are one.
    seen = box(20, 0, 100, 40)
    mostly_beside = box(-40, 0, 35, 40)

    _, events, found = linked(
        seen_by(EAST),
        seen_by(WEST, EAST),
        seen_by(GLACIER, seen=seen),
        seen_by(mostly_beside, EAST),
    )

    assert found.states.tolist() == [[P, P, P, P], [A, P, A, P]]
    assert events == [
        ("appear", 1, (), 0, 1),
        ("merge", 0, (1,), 1, 2),
        ("reappear", 1, (), 2, 3),
    ]


def test_what_parted_again_is_taken_up_by_nothing():
    _, _, found = linked(seen_by(WEST, EAST), seen_by(GLACIER), seen_by(WEST, EAST))

    assert found.merged_into.tolist() == [-1, -1]


def test_a_child_that_parts_from_another_glacier_later_keeps_its_first_parent():
    rest, child, other = box(0, 0, 60, 40), box(68, 0, 100, 40), box(110, 0, 210, 40)

    _, events, found = linked(
        seen_by(GLACIER, other),
        seen_by(rest, child, other),
        seen_by(rest, box(68, 0, 210, 40)),
        seen_by(rest, child, other),
    )

    assert events == [
        ("split", 0, (2,), 0, 1),
        ("merge", 1, (2,), 1, 2),
        ("split", 1, (2,), 2, 3),
    ]
    assert found.parents.tolist() == [-1, -1, 0]


def test_a_child_survives_its_parent():
    tracks, events, found = linked(
        seen_by(GLACIER, FAR), seen_by(EAST, WEST, FAR), seen_by(FAR, WEST), seen_by(WEST, FAR)
    )

    assert tracks == [[0, 1], [0, 2, 1], [1, 2], [2, 1]]
    assert events == [("split", 0, (2,), 0, 1), ("vanish", 0, (), 1, 2)]
    assert found.parents.tolist() == [-1, -1, 0]
    assert found.states[2].tolist() == [A, P, P, P]


def test_what_is_not_found_where_the_ground_was_seen_vanished():
    tracks, events, found = linked(seen_by(GLACIER, FAR), seen_by(FAR))

    assert tracks == [[0, 1], [1]]
    assert events == [("vanish", 0, (), 0, 1)]
    assert found.events[0].polygon.equals(GLACIER)
    assert found.states.tolist() == [[P, A], [P, P]]


def test_what_is_found_where_bare_ground_was_seen_appeared():
    tracks, events, found = linked(seen_by(FAR), seen_by(GLACIER, FAR))

    assert tracks == [[0], [1, 0]]
    assert events == [("appear", 1, (), 0, 1)]
    assert found.events[0].polygon.equals(GLACIER)
    assert found.states.tolist() == [[P, P], [A, P]]


def test_what_is_found_where_no_survey_saw_the_ground_before_did_not_appear():
    tracks, events, found = linked(seen_by(FAR, seen=FAR), seen_by(GLACIER, FAR))

    assert tracks == [[0], [1, 0]]
    assert events == []
    assert found.states.tolist() == [[P, P], [U, P]]


def test_an_appearance_is_dated_from_the_last_survey_that_saw_bare_ground():
    _, events, _ = linked(seen_by(FAR), seen_by(FAR), seen_by(FAR, seen=FAR), seen_by(FAR, GLACIER))

    assert events == [("appear", 1, (), 1, 3)]


def test_what_comes_back_takes_its_track_up_again():
    tracks, events, found = linked(
        seen_by(GLACIER, FAR), seen_by(FAR), seen_by(FAR), seen_by(FAR, GLACIER)
    )

    assert tracks == [[0, 1], [1], [1], [1, 0]]
    assert events == [("vanish", 0, (), 0, 1), ("reappear", 0, (), 2, 3)]
    assert found.states.tolist() == [[P, A, A, P], [P, P, P, P]]


def test_what_returns_on_less_than_half_of_the_ground_is_something_new():
    first, second = box(0, 0, 100, 100), box(55, 0, 155, 100)

    tracks, events, _ = linked(seen_by(first), seen_by(), seen_by(second))

    assert tracks == [[0], [], [1]]
    assert events == [("vanish", 0, (), 0, 1), ("appear", 1, (), 1, 2)]


def test_what_returns_small_and_displaced_goes_on_where_nothing_else_meets_it():
    # They share 30 %, and the middle of either is in the other.
    first, second = box(0, 0, 100, 100), box(45, 45, 145, 145)

    alone, _, _ = linked(seen_by(first), seen_by(), seen_by(second))
    beside = box(-60, 0, 20, 40)
    contested, _, _ = linked(seen_by(first), seen_by(), seen_by(second, beside))

    assert alone == [[0], [], [0]]
    assert contested == [[0], [], [1, 2]]


def test_a_glacier_under_cloud_is_unknown_and_keeps_its_track():
    cloud_free = box(-10, -10, 70, 50)

    tracks, events, found = linked(
        seen_by(GLACIER), seen_by(seen=cloud_free), seen_by(box(5, 0, 90, 38))
    )

    assert tracks == [[0], [], [0]]
    assert events == []
    assert found.states.tolist() == [[P, U, P]]


@pytest.mark.parametrize(("seen_m", "state"), [(91, A), (89, U)])
def test_nine_tenths_of_the_ground_must_be_seen_to_be_bare(seen_m, state):
    _, events, found = linked(seen_by(GLACIER), seen_by(seen=box(0, 0, seen_m, 40)))

    assert found.states.tolist() == [[P, state]]
    assert len(events) == (state == A)


def test_a_glacier_vanished_before_the_first_survey_that_saw_its_ground_bare():
    tracks, events, found = linked(
        seen_by(GLACIER), seen_by(seen=FAR), seen_by(seen=box(0, 0, 50, 40)), seen_by(), seen_by()
    )

    assert tracks == [[0], [], [], [], []]
    assert events == [("vanish", 0, (), 0, 3)]
    assert found.states.tolist() == [[P, U, U, A, A]]


def test_what_shares_no_ground_goes_on_within_reach_only():
    small, moved = box(0, 0, 20, 30), box(45, 0, 64, 30)  # 25 m apart

    near, near_events, _ = linked(seen_by(small), seen_by(moved, reach_m=30))
    far, far_events, _ = linked(seen_by(small), seen_by(moved, reach_m=24))

    assert (near, near_events) == ([[0], [0]], [])
    assert far == [[0], [1]]
    assert sorted(far_events) == [("appear", 1, (), 0, 1), ("vanish", 0, (), 0, 1)]


def test_nothing_jumps_into_an_outline_of_twice_its_size():
    tracks, _, _ = linked(seen_by(box(0, 0, 20, 30)), seen_by(box(25, 0, 67, 30), reach_m=30))

    assert tracks == [[0], [1]]


def test_nothing_jumps_that_shares_ground_with_an_outline():
    # The pond went into the lake; the pond beside, which is new, is not where it went.
    lake, pond, new = box(0, 0, 90, 60), box(95, 0, 110, 20), box(125, 0, 140, 20)

    tracks, events, _ = linked(
        seen_by(lake, pond), seen_by(box(0, 0, 112, 60), new, reach_m=30)
    )  # fmt: skip

    assert tracks == [[0, 1], [0, 2]]
    assert sorted(events) == [("appear", 2, (), 0, 1), ("merge", 0, (1,), 0, 1)]


def test_a_part_of_a_glacier_is_not_a_pond_that_jumped():
    pond = box(-40, 0, -5, 40)

    tracks, events, _ = linked(seen_by(GLACIER, pond), seen_by(EAST, WEST, reach_m=30))

    assert tracks == [[0, 1], [0, 2]]
    assert sorted(events) == [("split", 0, (2,), 0, 1), ("vanish", 1, (), 0, 1)]


def test_of_two_in_reach_the_nearer_one_jumped():
    near, farther, moved = box(0, 0, 20, 30), box(50, 0, 70, 30), box(25, 0, 44, 30)

    tracks, events, _ = linked(seen_by(near, farther), seen_by(moved, reach_m=30))

    assert tracks == [[0, 1], [0]]
    assert events == [("vanish", 1, (), 0, 1)]


def test_neighbours_that_touch_are_not_linked():
    tracks, events, _ = linked(seen_by(box(0, 0, 50, 40)), seen_by(box(50, 0, 90, 40)))

    assert tracks == [[0], [1]]
    assert sorted(events) == [("appear", 1, (), 0, 1), ("vanish", 0, (), 0, 1)]


@pytest.mark.parametrize("beside", [(), (box(150, 30, 160, 40),)])
@pytest.mark.parametrize(("shared_m", "same"), [(9, False), (11, True)])
def test_less_than_a_tenth_of_the_smaller_outline_is_no_link(shared_m, same, beside):
    large, small = box(0, 0, 200, 100), box(200 - shared_m, 0, 300 - shared_m, 20)

    tracks, _, _ = linked(seen_by(large, *beside), seen_by(small, *beside))

    assert (tracks[0][0] == tracks[1][0]) == same


def test_equal_outlines_keep_their_tracks_in_any_order():
    lakes = [box(x, y, x + 60, y + 30) for x in (0, 60, 150) for y in (0, 40)]

    tracks, events, found = linked(seen_by(*lakes), seen_by(*lakes[::-1]), seen_by(*lakes))

    assert tracks == [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [0, 1, 2, 3, 4, 5]]
    assert events == []
    assert (found.states == P).all()


def test_surveys_without_an_outline_say_that_the_ground_is_bare():
    tracks, events, found = linked(
        seen_by(), seen_by(GLACIER), seen_by(), seen_by(GLACIER), seen_by()
    )

    assert tracks == [[], [0], [], [0], []]
    assert events == [
        ("appear", 0, (), 0, 1),
        ("vanish", 0, (), 1, 2),
        ("reappear", 0, (), 2, 3),
        ("vanish", 0, (), 3, 4),
    ]
    assert found.states.tolist() == [[A, P, A, P, A]]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_surveys_that_are_all_empty_have_no_tracks(count):
    tracks, events, found = linked(*[seen_by() for _ in range(count)])

    assert tracks == [[]] * count
    assert events == []
    assert found.states.shape == (0, count)


def test_progress_is_told_survey_by_survey():
    told = []

    link_sightings(
        [seen_by(GLACIER), seen_by(), seen_by(FAR)], on_survey=lambda *done: told.append(done)
    )

    assert told == [(1, 3), (2, 3), (3, 3)]


# Tracks that are known.


def test_an_older_survey_that_shows_two_known_glaciers_joined_makes_one_the_child():
    tracks, events, found = linked(seen_by(GLACIER), seen_by(WEST, EAST, tracks=[3, 7]), tracks=9)

    assert tracks == [[7], [3, 7]]
    assert events == [("split", 7, (3,), 0, 1)]
    assert found.parents[[3, 7]].tolist() == [7, -1]


def test_a_survey_between_goes_with_the_tracks_before_and_after():
    tracks, events, _ = linked(
        seen_by(GLACIER, tracks=[4]),
        seen_by(EAST, WEST, FAR),
        seen_by(WEST, FAR, tracks=[2, 0]),
        tracks=5,
    )

    assert tracks == [[4], [4, 2, 0], [2, 0]]
    assert ("split", 4, (2,), 0, 1) in events


def test_a_known_track_that_had_ended_and_comes_back_later_is_met_in_between():
    # What is between lies where the glacier will be, beside where it was.
    tracks, events, _ = linked(
        seen_by(box(0, 0, 40, 40), tracks=[0]),
        seen_by(),
        seen_by(box(50, 0, 90, 40)),
        seen_by(box(45, 0, 95, 40), tracks=[0]),
        tracks=1,
    )

    assert tracks == [[0], [], [0], [0]]
    assert events == [("vanish", 0, (), 0, 1), ("reappear", 0, (), 1, 2)]


def test_between_tracks_before_and_after_the_ground_that_is_shared_decides():
    # Each meets the outline alone in its own survey, so that only both together compete.
    before, outline, after = box(0, 0, 100, 100), box(40, 40, 120, 120), box(45, 45, 122, 122)

    tracks, _, _ = linked(
        seen_by(before, tracks=[0]), seen_by(outline), seen_by(after, tracks=[1]), tracks=2
    )

    assert tracks[1] == [1]


def test_a_glacier_only_partly_under_a_known_one_was_not_taken_up_by_it():
    # Its middle is under the other, yet less than half of it.
    before, after = box(0, 0, 100, 100), box(45, 45, 145, 145)

    _, events, _ = linked(seen_by(before, tracks=[1]), seen_by(after, tracks=[0]), tracks=2)

    assert sorted(events) == [("appear", 0, (), 0, 1), ("vanish", 1, (), 0, 1)]


def test_what_is_new_beside_a_known_glacier_did_not_break_off_for_holding_its_middle():
    before, new = box(0, 0, 100, 100), box(45, 45, 145, 145)

    tracks, events, _ = linked(
        seen_by(before, tracks=[0]), seen_by(new, FAR, tracks=[FREE, 0]), tracks=1
    )

    assert tracks == [[0], [1, 0]]
    assert events == [("appear", 1, (), 0, 1)]


def test_known_tracks_stay_where_ground_would_say_otherwise():
    tracks, _, _ = linked(
        seen_by(WEST, EAST, tracks=[0, 1]), seen_by(WEST, EAST, tracks=[1, 0]), tracks=2
    )

    assert tracks == [[0, 1], [1, 0]]


# Laws.


def drawn(rng, surveys=4):
    """Sightings of boxes on a lattice of 100 m that come, go, join their neighbours and part.

    Borders are random, so that no two shares are equal; gaps are narrow enough for boxes that
    joined and for those that moved by a third of a cell to share ground with several.
    """
    rows, columns = 4, 6
    there = rng.random((rows, columns)) < 0.6
    sightings = []
    for _ in range(surveys):
        there ^= rng.random((rows, columns)) < 0.15
        shift_m = rng.uniform(-30, 30, 2)
        polygons = [
            box(*np.round(np.add(bounds, np.tile(shift_m, 2)), 3))
            for row in range(rows)
            for bounds in runs(there[row], 100 * row, rng)
        ]
        order = rng.permutation(len(polygons))
        seen = None if rng.random() < 0.5 else box(-200, -200, *rng.uniform((200, 100), (700, 500)))
        sightings.append(seen_by(*(polygons[n] for n in order), seen=seen,
                                 reach_m=rng.choice([0.0, 30.0])))  # fmt: skip
    return sightings


def runs(there, south_m, rng):
    """Bounds of boxes in a row of cells, some of which are joined with the cell beside."""
    column = 0
    while column < len(there):
        end = column + 1
        while end < len(there) and there[column:end + 1].all() and rng.random() < 0.4:  # fmt: skip
            end += 1
        if there[column]:
            west, south, east, north = rng.uniform(1, 20, 4)
            yield 100 * column + west, south_m + south, 100 * end - east, south_m + 100 - north
        column = end


surveys_of_boxes = st.integers(0, 2**32 - 1).map(lambda seed: drawn(np.random.default_rng(seed)))


def as_sets(found, rows):
    """All that is known, tracks told by their outlines: `rows` are true numbers of outlines."""
    members = {}
    for survey, (tracks, numbers) in enumerate(zip(found.of_outline, rows, strict=True)):
        for track, number in zip(tracks.tolist(), numbers.tolist(), strict=True):
            members.setdefault(track, set()).add((survey, number))
    named = {track: frozenset(outlines) for track, outlines in members.items()} | {-1: None}
    events = [
        (e.name, named[e.track], frozenset(named[o] for o in e.others), e.before, e.after)
        for e in found.events
    ]
    rest = {
        named[track]: (tuple(found.states[track]), named[int(found.parents[track])],
                       named[int(found.merged_into[track])])
        for track in members
    }  # fmt: skip
    return Counter(events), rest


@pytest.mark.slow
@given(sightings=surveys_of_boxes, seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_the_order_of_outlines_in_a_survey_changes_numbers_only(sightings, seed):
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(s.polygons)) for s in sightings]
    mixed = [s._replace(polygons=s.polygons[o]) for s, o in zip(sightings, orders, strict=True)]

    one = as_sets(link_sightings(sightings), [np.arange(len(o)) for o in orders])
    other = as_sets(link_sightings(mixed), orders)

    assert one == other


@pytest.mark.slow
@given(sightings=surveys_of_boxes)
@settings(max_examples=100, deadline=None)
def test_each_outline_has_a_track_and_each_track_one_outline_a_survey(sightings):
    found = link_sightings(sightings)

    for sighting, tracks in zip(sightings, found.of_outline, strict=True):
        assert len(tracks) == len(sighting.polygons)
        assert len(set(tracks.tolist())) == len(tracks)
    every = np.unique(np.concatenate(found.of_outline))
    assert every.tolist() == list(range(len(found.states)))


@pytest.mark.slow
@given(sightings=surveys_of_boxes)
@settings(max_examples=100, deadline=None)
def test_states_say_where_a_track_has_an_outline_and_where_its_ground_was_bare(sightings):
    found = link_sightings(sightings)

    for track, states in enumerate(found.states.tolist()):
        outlines = [
            next(iter(s.polygons[t == track]), None)
            for s, t in zip(sightings, found.of_outline, strict=True)
        ]
        first = next(outline for outline in outlines if outline is not None)
        for survey, (state, outline) in enumerate(zip(states, outlines, strict=True)):
            assert (state == PRESENT) == (outline is not None)
            before = [o for o in outlines[:survey] if o is not None]
            ground, seen = (before or [first])[-1], sightings[survey].seen
            bare = seen is None or ground.intersection(seen).area >= 0.9 * ground.area
            taken_up = any(
                e.name == "merge" and e.after == survey and track in e.others for e in found.events
            )
            if state != PRESENT:
                assert state == (ABSENT if bare or taken_up else UNKNOWN)


@pytest.mark.slow
@given(sightings=surveys_of_boxes)
@settings(max_examples=100, deadline=None)
def test_events_lie_between_surveys_that_bear_them_out(sightings):
    found = link_sightings(sightings)

    for name, track, others, before, after in (event[:5] for event in found.events):
        states = found.states[track]
        assert 0 <= before < after < len(sightings)
        if name == "vanish":
            assert states[before] == PRESENT
            assert (states[before + 1 : after] == UNKNOWN).all()
            assert states[after] == ABSENT
        elif name in {"appear", "reappear"}:
            assert states[before] == ABSENT
            assert (states[before + 1 : after] == UNKNOWN).all()
            assert states[after] == PRESENT
            assert (states[:before] == PRESENT).any() == (name == "reappear")
        else:
            assert states[after] == PRESENT
            present = found.states[list(others), after] == PRESENT
            assert present.all() if name == "split" else not present.any()
            assert (found.states[[track, *others], before] == PRESENT).any()


@pytest.mark.slow
@given(sightings=surveys_of_boxes, data=st.data())
@settings(max_examples=100, deadline=None)
def test_known_tracks_are_never_changed(sightings, data):
    count, pinned = 40, []
    for sighting in sightings:
        n = len(sighting.polygons)
        numbers = np.array(data.draw(st.permutations(range(count)))[:n], dtype=np.intp)
        free = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)), dtype=bool)
        numbers[free] = FREE
        pinned.append(sighting._replace(tracks=numbers))

    found = link_sightings(pinned, tracks=count)

    for sighting, tracks in zip(pinned, found.of_outline, strict=True):
        known = sighting.tracks != FREE
        assert tracks[known].tolist() == sighting.tracks[known].tolist()
        assert (tracks >= 0).all()
        assert len(set(tracks.tolist())) == len(tracks)


@pytest.mark.slow
@given(sightings=surveys_of_boxes, added=st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_a_survey_that_is_added_joins_the_tracks_that_there_are(sightings, added):
    others = [number for number in range(len(sightings)) if number != added]
    before = link_sightings([sightings[number] for number in others])
    for number, tracks in zip(others, before.of_outline, strict=True):
        sightings[number] = sightings[number]._replace(tracks=tracks)

    after = link_sightings(sightings, tracks=len(before.states))

    for number, tracks in zip(others, before.of_outline, strict=True):
        assert after.of_outline[number].tolist() == tracks.tolist()
    joined = after.of_outline[added]
    assert len(set(joined.tolist())) == len(joined)
    assert (after.states[: len(before.states), others] == PRESENT).any(axis=1).all()


@pytest.mark.slow
@given(sightings=surveys_of_boxes, number=st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_a_copy_of_a_survey_that_is_added_beside_it_joins_all_of_its_tracks(sightings, number):
    known = link_sightings(sightings)
    sightings = [s._replace(tracks=t) for s, t in zip(sightings, known.of_outline, strict=True)]
    copy = sightings[number]._replace(tracks=np.full(len(known.of_outline[number]), FREE))

    found = link_sightings(
        [*sightings[:number], copy, *sightings[number:]], tracks=len(known.states)
    )

    assert len(found.states) == len(known.states)


def circles(rng, count):
    """Circles that may lie anywhere on each other, and touch a few others."""
    centres = rng.uniform(0, 400, (count, 2))
    return shapely.buffer(shapely.points(centres), rng.uniform(10, 60, count))


@pytest.mark.parametrize("shapes", ["boxes", "circles"])
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_links_are_those_of_every_pair_cut_one_by_one(shapes, seed):
    rng = np.random.default_rng(seed)
    if shapes == "boxes":
        one, other = (sighting.polygons for sighting in drawn(rng, surveys=2))
    else:
        one, other = circles(rng, 12), circles(rng, 17)
    shared = np.array([[a.intersection(b).area for b in other] for a in one])
    shared = shared.reshape(len(one), len(other))
    smaller = np.minimum.outer(shapely.area(one), shapely.area(other))
    true = (shared >= 0.1 * smaller) & (shared > 0)
    contested = (true.sum(1, keepdims=True) > 1) | (true.sum(0, keepdims=True) > 1)

    links = find_links(one, other)

    pairs = sorted(zip(links.one.tolist(), links.other.tolist(), strict=True))
    assert pairs == [tuple(pair) for pair in np.argwhere(true).tolist()]
    cut = contested[links.one, links.other]
    np.testing.assert_allclose(links.shared_m2[cut], shared[links.one, links.other][cut])


@given(
    pairs=st.sets(st.tuples(st.integers(0, 6), st.integers(0, 9)), max_size=40),
    data=st.data(),
)
@settings(max_examples=200, deadline=None)
def test_matches_take_the_largest_share_first(pairs, data):
    # Few values, so that some are equal: of equals the first one is taken.
    share = st.lists(st.integers(1, 5), min_size=len(pairs), max_size=len(pairs))
    shared = np.array(data.draw(share), dtype=np.float64)
    one, other = np.array(sorted(pairs), dtype=np.intp).reshape(-1, 2).T
    taken, greedy = (set(), set()), np.zeros(len(pairs), dtype=bool)
    for link in sorted(range(len(pairs)), key=lambda n: (-shared[n], n)):
        if one[link] not in taken[0] and other[link] not in taken[1]:
            taken[0].add(one[link])
            taken[1].add(other[link])
            greedy[link] = True

    assert best_matches(Links(one, other, shared)).tolist() == greedy.tolist()


# Simulated surveys.


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_tracks_of_a_simulated_landscape_are_those_of_its_things(seed):
    for simulated in simulate_tracks(seed):
        found = link_sightings([survey.sighting() for survey in simulated.surveys])

        scores = score(simulated, found)

        assert scores.outlines > 100
        assert scores.pure >= 0.98 * scores.outlines
        assert scores.complete >= 0.98 * scores.outlines
        assert {event.name for event in simulated.events} == {
            "appear",
            "vanish",
            "reappear",
            "split",
            "merge",
        }
        assert (scores.found, scores.false) == (scores.events, 0)


# Real ones.


@pytest.mark.skipif(not GNP.exists(), reason="needs the named glaciers in GEOSEG_DATA_MIRROR")
def test_each_named_glacier_is_one_track_through_fifty_years():
    surveys = [gpd.read_file(GNP / f"polys{year}.json") for year in ("66", "98", "05", "15")]
    surveys = [s.assign(geometry=s.geometry.make_valid()).to_crs("EPSG:26912") for s in surveys]

    tracks, events, found = linked(*(seen_by(*survey.geometry) for survey in surveys))

    names = [name for survey in surveys for name in survey["GLACNAME"]]
    pairs = set(zip(names, [track for survey in tracks for track in survey], strict=True))
    assert len(set(names)) == len(pairs) == len(found.states) == 39
    assert (found.states == PRESENT).all()
    assert events == []


@pytest.fixture(scope="module")
def lakes():
    """Lakes of 2000, 2010 and 2020, without copies, and what became of them."""
    if not HKH.exists():
        pytest.skip("needs the Himalayan lakes in GEOSEG_DATA_MIRROR")
    surveys = [
        gpd.read_file(HKH / f"HKH_{year}.shp").drop_duplicates("geometry")
        for year in (2000, 2010, 2020)
    ]
    tracks, events, found = linked(*(seen_by(*survey.geometry) for survey in surveys))
    for survey, of_outline in zip(surveys, tracks, strict=True):
        survey["track"] = of_outline
    return surveys, events, found


def with_id(survey, glims_id):
    return survey[survey["GLIMS_ID"] == glims_id]


def test_linked_lakes_share_the_id_that_was_given_by_hand(lakes):
    surveys, _, _ = lakes

    pairs = [one.merge(other, on="track") for one, other in pairwise(surveys)]

    assert [len(pair) for pair in pairs] == [1423, 1513]
    assert all((pair["GLIMS_ID_x"] == pair["GLIMS_ID_y"]).all() for pair in pairs)


def test_each_lake_went_on_ended_or_began(lakes):
    surveys, events, _ = lakes
    told = Counter((name, after) for name, _, _, _, after in events)

    assert [len(survey) for survey in surveys] == [1485, 1538, 1597]
    assert told == {
        ("appear", 1): 110, ("vanish", 1): 49, ("split", 1): 5, ("merge", 1): 12,
        ("appear", 2): 74, ("vanish", 2): 20, ("split", 2): 1, ("merge", 2): 5,
        ("reappear", 2): 9,
    }  # fmt: skip
    for after, linked_pairs in ((1, 1423), (2, 1513)):
        moved = [event for event in events if event[4] == after]
        began = sum(len(e[2]) for e in moved if e[0] == "split")
        began += sum(e[0] in {"appear", "reappear"} for e in moved)
        ended = sum(len(e[2]) for e in moved if e[0] == "merge")
        ended += sum(e[0] == "vanish" for e in moved)
        assert len(surveys[after]) == linked_pairs + began
        assert len(surveys[after - 1]) == linked_pairs + ended


def test_a_lake_far_from_all_older_ones_is_new(lakes):
    (before, after, later), events, _ = lakes
    lake = with_id(after, "GL088241E27821N")

    assert before.distance(lake.geometry.item()).min() > 500
    assert with_id(before, "GL088241E27821N").empty
    assert ("appear", lake["track"].item(), (), 0, 1) in events
    assert with_id(later, "GL088241E27821N")["track"].tolist() == lake["track"].tolist()


def test_a_lake_far_from_all_younger_ones_vanished(lakes):
    (oldest, before, after), events, _ = lakes
    lake = with_id(before, "GL077605E35421N")

    assert lake.area.item() > 900_000
    assert after.distance(lake.geometry.item()).min() > 40_000
    assert with_id(oldest, "GL077605E35421N")["track"].tolist() == lake["track"].tolist()
    assert ("vanish", lake["track"].item(), (), 1, 2) in events


def test_a_lake_whose_ground_holds_two_later_ones_was_split(lakes):
    (before, after, _), events, found = lakes
    whole = with_id(before, "GL076252E35092N")
    parts = with_id(after, "GL076252E35092N").sort_values("Area", ascending=False)

    shared = parts.intersection(whole.geometry.item()).area / parts.area
    assert len(whole) == 1
    assert (shared > 0.5).tolist() == [True, True]
    larger, smaller = parts["track"]
    assert larger == whole["track"].item()
    assert ("split", larger, (smaller,), 0, 1) in events
    assert found.parents[smaller] == larger


def test_two_lakes_on_the_ground_of_one_later_lake_have_merged(lakes):
    (before, after, _), events, found = lakes
    large, small = (with_id(before, i) for i in ("GL077546E32499N", "GL077544E32501N"))
    whole = with_id(after, "GL077546E32499N")

    assert large.area.item() > small.area.item()
    for lake in (large, small):
        assert lake.intersection(whole.geometry.item()).area.item() > 0.5 * lake.area.item()
    assert whole["track"].item() == large["track"].item()
    assert ("merge", large["track"].item(), (small["track"].item(),), 0, 1) in events
    assert found.merged_into[small["track"].item()] == large["track"].item()


def test_a_lake_that_grew_to_three_times_its_size_is_the_same_lake(lakes):
    surveys, events, _ = lakes
    ages = [with_id(survey, "GL091077E28352N") for survey in surveys]

    first, _, last = (age.geometry.item() for age in ages)
    assert last.area > 3 * first.area
    assert last.intersection(first).area > 0.99 * first.area
    (track,) = {age["track"].item() for age in ages}
    assert not any(track == event[1] or track in event[2] for event in events)
