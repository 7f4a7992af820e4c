"""Labelled places, kept apart on the ground."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geoseg.data.slumps import simulated_places
from geoseg.errors import DataError, LabelError
from geoseg.presence.packs import Given, ImageKind, Shards, StoredImage, StoredPlace, make_pack
from geoseg.presence.packs.tars import TarWriter
from geoseg.presence.samples import FOLDS, places_of_pack, split_groups

KIND = ImageKind(sensor_id="sentinel-2", bands=("red",), gsd_m=10.0)


@st.composite
def labelled_groups(draw):
    """Groups of places, of which some hold it; NaN where nobody has looked."""
    count = draw(st.integers(1, 120))
    group = draw(st.lists(st.integers(0, 30), min_size=count, max_size=count))
    label = st.sampled_from([0.0, 1.0, np.nan])
    present = draw(st.lists(label, min_size=count, max_size=count))
    names = np.array([f"g{number}" for number in group])
    return names, np.array(present, dtype=np.float32)


@given(labelled_groups(), st.integers(0, 5))
def test_no_group_is_in_two_folds_and_each_fold_has_groups_of_both_kinds(drawn, seed):
    group, present = drawn

    fold = split_groups(group, present, seed=seed)

    holds = {name: bool((present[group == name] > 0.5).any()) for name in set(group)}
    of_group = {name: set(fold[group == name].tolist()) for name in set(group)}
    assert all(len(folds) == 1 for folds in of_group.values())
    for kind in (True, False):
        used = {fold for name, folds in of_group.items() if holds[name] == kind for fold in folds}
        groups = sum(held == kind for held in holds.values())
        assert len(used) == min(groups, len(FOLDS))


@given(labelled_groups(), st.randoms())
def test_the_order_of_places_does_not_change_their_fold(drawn, random):
    group, present = drawn
    order = list(range(len(group)))
    random.shuffle(order)

    fold = split_groups(group, present, seed=1)

    assert split_groups(group[order], present[order], seed=1).tolist() == fold[order].tolist()


def test_half_teach_a_quarter_calibrates_and_a_quarter_tests_of_either_kind():
    present = (np.arange(4000) < 400).astype(np.float32)
    names = np.arange(4000).astype(str)

    fold = split_groups(names, present, seed=0)

    for kind in (0, 1):
        shares = np.bincount(fold[present == kind]) / (present == kind).sum()
        np.testing.assert_allclose(shares, [0.5, 0.25, 0.25], atol=0.01)
    assert (split_groups(names, present, seed=2) != fold).any()


def shard(path, places):
    writer = TarWriter(path)
    for place in places:
        writer.add(place)
    writer.close()
    return path


def stored(name, *, lon=10.0, lat=60.0, present=True, pixels=None):
    image = StoredImage(
        pixels=np.full((1, 8, 8), 9, np.uint8) if pixels is None else pixels,
        suffix="npy",
        kind=KIND,
        time=simulated_places(1, seed=0)[0].images[0].time,
    )
    return StoredPlace(id=name, lon=lon, lat=lat, present=present, images=(image,))


def pack_of(folder, *places):
    path = shard(folder / "s.tar", places)
    return make_pack(Shards(paths=[path], foreign=None), folder / "pack").pack


@pytest.mark.slow
def test_the_places_of_a_pack_come_with_their_labels_and_parts_keep_them_together(tmp_path):
    pool = simulated_places(60, seed=1, prevalence=0.4)
    pack = make_pack(Given(pool=pool, name="a"), tmp_path, per_shard=25).pack

    labelled, problems = places_of_pack(pack, seed=0)

    assert not problems
    assert labelled.present.tolist() == pool.present.tolist()
    assert torch.equal(labelled.places[7].images[0].image, pool[7].images[0].image)
    parts = [labelled.part(fold) for fold in FOLDS]
    ids = [place.id for part in parts for place in part.places]
    assert sorted(ids) == sorted(place.id for place in pool)
    for part in parts:
        assert [place.present for place in part.places] == (part.present > 0.5).tolist()
        assert 0 < part.present.mean() < 1
    assert not set(parts[0].group) & set(parts[2].group)
    assert [place.id for place in parts[0].places[2:4]] == ids[2:4]


def test_neighbours_are_of_one_group_and_places_far_away_of_others(tmp_path):
    # Some 100 m apart in either direction, in the Arctic, and then 50 km away.
    near = [stored(f"n{k}", lon=-135.55 + 0.002 * k, lat=67.401 + 0.001 * k) for k in range(4)]
    north = stored("north", lon=-135.546, lat=67.495)
    far = stored("far", lon=-134.2, lat=67.401, present=False)
    nowhere = [stored(f"x{k}", lon=np.nan, lat=np.nan) for k in range(2)]

    labelled, _ = places_of_pack(pack_of(tmp_path, *near, north, far, *nowhere), seed=0)

    assert len(set(labelled.group[:5])) == 1
    assert len(set(labelled.group)) == 4
    assert len(set(labelled.fold[:5])) == 1


def test_places_that_nobody_looked_at_are_unknown_and_can_be_left_out(tmp_path):
    places = [stored("a"), stored("b", present=None), stored("c", present=False)]

    labelled, _ = places_of_pack(pack_of(tmp_path, *places), seed=0)

    np.testing.assert_array_equal(labelled.present, [1, np.nan, 0])
    assert [place.id for place in labelled.known().places] == ["a", "c"]
    assert labelled.known().present.tolist() == [1, 0]


def test_a_pack_without_a_label_is_refused(tmp_path):
    with pytest.raises(LabelError, match=r"No place of .* is labelled; pack it again"):
        places_of_pack(pack_of(tmp_path, stored("a", present=None)), seed=0)


def test_a_damaged_place_is_told_of_and_left_out(tmp_path):
    cut = b"\x93NUMPY\x01\x00v\x00{'descr': '|u1'"
    whole = [stored("a"), stored("bad", pixels=cut), stored("c", present=False)]

    labelled, problems = places_of_pack(pack_of(tmp_path, *whole), seed=0)

    assert [place.id for place in labelled.places] == ["a", "c"]
    assert len(labelled.present) == len(labelled.group) == len(labelled.fold) == 2
    (problem,) = problems
    assert problem.key == "bad"
    assert "Image 0 of place bad is left out" in problem.reason


def test_a_shard_that_has_changed_is_not_learned_from(tmp_path):
    pack = pack_of(tmp_path, stored("a"), stored("b", present=False))
    shard(tmp_path / "s.tar", [stored("a", present=False), stored("b")])

    with pytest.raises(DataError, match="has changed since it was packed"):
        places_of_pack(pack, seed=0)


def test_another_pack_or_seed_has_another_name(tmp_path):
    pack = pack_of(tmp_path, stored("a"), stored("b", present=False))

    names = {
        places_of_pack(one, seed=seed)[0].name
        for one in (pack, replace(pack, digest="other"))
        for seed in (0, 1)
    }

    assert len(names) == 4
