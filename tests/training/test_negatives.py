"""Which negatives are worth a look at."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from geoseg.training.negatives import ALONE, hard_negatives

SCORES = np.array([0.9, 0.8, 0.8, 0.7, 0.6, 0.5])
NOTHING_ALIKE = ()


def test_the_highest_scores_come_first_and_what_nobody_saw_is_not_taken():
    absent = np.array([False, True, True, True, False, True])

    found = hard_negatives(SCORES, absent, NOTHING_ALIKE, count=3)

    assert found.tolist() == [1, 2, 3]


def test_one_is_taken_of_each_cluster_and_of_each_place():
    all_absent = np.ones(6, dtype=bool)
    cluster = np.array([0, 0, 1, 2, 2, 3])
    place = np.array([7, 8, 9, 7, 8, 9])

    found = hard_negatives(SCORES, all_absent, (cluster, place), count=6)

    # 1 is of the cluster of 0, 3 of its place, 5 of the place of 2; 4 is like none that was taken.
    assert found.tolist() == [0, 2, 4]


def test_samples_without_a_number_are_like_none():
    number = np.array([ALONE, ALONE, 3, 3, ALONE, 3])

    found = hard_negatives(SCORES, np.ones(6, dtype=bool), (number,), count=6)

    assert found.tolist() == [0, 1, 2, 4]


def test_no_negative_or_no_score_gives_none():
    unscored = np.full(6, np.nan)

    assert hard_negatives(SCORES, np.zeros(6, dtype=bool), NOTHING_ALIKE, count=2).size == 0
    assert hard_negatives(unscored, np.ones(6, dtype=bool), NOTHING_ALIKE, count=2).size == 0


@given(
    scores=arrays(np.float32, 30, elements=st.floats(0, 1, width=32)),
    absent=arrays(np.bool_, 30),
    cluster=arrays(np.int64, 30, elements=st.integers(-1, 4)),
    count=st.integers(0, 30),
)
def test_what_is_left_out_is_like_something_harder_or_came_too_late(scores, absent, cluster, count):
    found = hard_negatives(scores, absent, (cluster,), count=count)

    assert len(found) <= count
    assert absent[found].all()
    assert (np.diff(scores[found]) <= 0).all()
    taken = cluster[found]
    assert len(set(taken[taken != ALONE])) == (taken != ALONE).sum()
    for other in np.setdiff1d(np.flatnonzero(absent), found):
        harder = found[scores[found] >= scores[other]]
        assert len(harder) == count or cluster[other] in set(cluster[harder]) - {ALONE}
