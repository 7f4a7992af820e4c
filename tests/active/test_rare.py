import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from geoseg.active.known import Known, known_classes
from geoseg.active.rare import (
    best_threshold,
    compact_groups,
    known_positives,
    lead,
    rare_classes,
    representatives,
    shares_of,
)
from geoseg.errors import LabelError


@given(arrays(float, st.integers(1, 12), elements=st.integers(0, 8)), st.data())
def test_no_cut_separates_labels_better_than_the_best_threshold(scores, data):
    present = data.draw(arrays(bool, len(scores)))

    threshold = best_threshold(scores, present)

    def right(at):
        return max(int(((scores >= at) == present).sum()), int(((scores > at) == present).sum()))

    assert right(threshold) == max(right(at) for at in [*scores, *(scores + 0.5), -1.0, 99.0])


def test_the_threshold_lies_midway_between_the_two_kinds():
    assert best_threshold(np.array([1.0, 5.0, 2.0, 9.0]), np.array([0, 1, 0, 1])) == 3.5


def test_labels_of_one_kind_put_the_threshold_at_their_end():
    scores = np.array([1.0, 5.0])

    assert best_threshold(scores, np.ones(2)) == 1
    assert best_threshold(scores, np.zeros(2)) == 5


def test_a_lead_is_above_zero_where_labels_say_present():
    leads = lead(np.array([0.1, 0.01, 0.3, 0.9]), np.array([1, 2]), np.array([0.0, 1.0]))

    assert (leads > 0).tolist() == [True, False, True, True]
    assert np.abs(leads).argmin() == 0


def test_of_two_classes_the_second_is_rare_and_of_more_those_below_half_an_equal_share():
    assert rare_classes(np.array([1, 3])) == [1]
    assert rare_classes(np.array([80, 10, 2, 8])) == [2, 3, 1]
    assert rare_classes(np.array([3, 2, 2])) == [1]


def test_known_positives_are_all_but_the_common_class():
    assert known_positives(known_classes(np.array([4, 9]), np.array([1, 0]), 2)).tolist() == [4]
    many = known_classes(np.array([4, 9, 2, 7]), np.array([2, 0, 2, 1]), 3)
    assert known_positives(many).tolist() == [9, 7]


def test_each_cluster_gives_the_item_in_its_middle_and_the_largest_first():
    small = np.array([[0.0, 0], [1, 0], [-1, 0]])
    large = np.array([[50.0, 0], [51, 0], [49, 0], [50, 1], [50, -1]])

    assert representatives(np.concatenate([small, large]), 2, 0).tolist() == [3, 0]


def test_fewer_candidates_than_wanted_all_represent():
    assert representatives(np.zeros((3, 2)), 5, 0).tolist() == [0, 1, 2]
    assert representatives(np.zeros((3, 2)), 0, 0).tolist() == []


@given(st.integers(0, 500))
def test_shares_add_up(count):
    shares = shares_of(count)

    assert sum(shares) == count
    assert min(shares) >= 0


def test_an_item_is_known_once_and_of_a_class_that_there_is():
    with pytest.raises(LabelError, match="An item is known twice"):
        known_classes(np.array([1, 1]), np.array([0, 1]), 2)
    with pytest.raises(LabelError, match="Classes 0 to 2 are known of 2; give 0 to 1"):
        known_classes(np.array([1, 3]), np.array([0, 2]), 2)
    assert isinstance(known_classes(np.array([], int), np.array([], int), 2), Known)


def test_small_dense_groups_without_a_label_are_met_once_each():
    rng = np.random.default_rng(0)
    wide = rng.standard_normal((500, 8))
    groups = [3 * centre + 0.1 * rng.standard_normal((8, 8)) for centre in np.eye(8)[:3]]
    embeddings = np.concatenate([wide, *groups])
    labelled = np.zeros(len(embeddings), dtype=bool)
    labelled[500] = True

    found = compact_groups(embeddings, labelled, 2)

    # The first group is known: the other two are met.
    assert sorted((found - 500) // 8) == [1, 2]
    assert compact_groups(embeddings[:3], labelled[:3], 2).tolist() == []


def test_labels_beside_a_sample_keep_their_group_from_being_met_and_make_nothing_dense():
    rng = np.random.default_rng(2)
    centres = 4 * rng.standard_normal((3, 10))
    groups = np.repeat(centres, 6, axis=0) + 0.1 * rng.standard_normal((18, 10))
    sample = np.concatenate([rng.standard_normal((500, 10)), groups])
    # One item of the first group, and hundreds in one place that is no group of the sample.
    known = np.concatenate([centres[:1], np.full((300, 10), 0.5)])

    found = compact_groups(sample, np.zeros(518, dtype=bool), 2, known=known)

    assert sorted((found - 500) // 6) == [1, 2]
