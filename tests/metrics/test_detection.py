import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import bdtr, betainc, expit, ndtr
from sklearn.metrics import average_precision_score, precision_recall_curve

from geoseg.errors import ConfigError, LabelError
from geoseg.metrics.detection import (
    average_precision,
    precision_at_prevalence,
    precision_recall,
    recall_at_k,
    score_detection,
)
from geoseg.metrics.resampling import weight_of_hits, weights_of_hits
from geoseg.metrics.thresholds import expected_recall_threshold, recall_threshold


def rng(seed=0):
    return np.random.default_rng(seed)


def simulate(draw, positives, negatives, *, apart=2.0):
    present = np.repeat([True, False], [positives, negatives])
    return draw.normal(np.where(present, apart, 0.0)), present


@pytest.mark.parametrize(("recall", "least"), [(0.8, 14), (0.9, 29), (0.95, 59), (0.99, 299)])
def test_a_recall_is_guaranteed_from_so_many_positives_on(recall, least):
    enough = recall_threshold(np.linspace(0.3, 0.9, least), recall=recall)
    few = recall_threshold(np.linspace(0.3, 0.9, least - 1), recall=recall)

    assert (enough.guaranteed, enough.threshold, enough.dropped) == (True, 0.3, 0)
    assert enough.recall_of_lowest >= recall
    # No threshold can be vouched for: none is set, and what the lowest score would keep is told.
    assert (few.guaranteed, few.threshold, few.dropped) == (False, 0.0, 0)
    assert few.lowest == 0.3
    assert few.recall_of_lowest == pytest.approx(0.05 ** (1 / (least - 1)))
    assert few.recall_of_lowest < recall


def test_a_hundred_positives_may_lose_four_of_them_for_nine_tenths():
    found = recall_threshold(rng().permutation(np.arange(1, 101) / 101), recall=0.9)

    assert found.threshold == 5 / 101
    assert (found.n, found.effective_n, found.dropped) == (100, 100, 4)
    assert bdtr(4, 100, 0.1) == pytest.approx(0.0237, abs=5e-5)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 500), st.floats(0.5, 0.99), st.floats(0.5, 0.99))
def test_the_rank_is_the_greatest_that_the_binomial_allows(n, recall, confidence):
    found = recall_threshold(np.arange(1, n + 1) / (n + 1), recall=recall, confidence=confidence)

    rank = round(found.threshold * (n + 1))
    if rank:
        assert bdtr(rank - 1, n, 1 - recall) <= 1 - confidence + 1e-12
    assert rank == n or bdtr(rank, n, 1 - recall) > 1 - confidence - 1e-12


@pytest.mark.parametrize(("n", "recall", "confidence"), [(60, 0.9, 0.95), (200, 0.95, 0.8)])
def test_the_recall_is_kept_as_often_as_it_is_said_to_be(n, recall, confidence):
    draw = rng(1)
    kept = [
        1 - recall_threshold(draw.uniform(size=n), recall=recall, confidence=confidence).threshold
        for _ in range(2000)
    ]

    often = np.mean(np.array(kept) >= recall)
    # The rank is a whole number, which keeps more; three standard errors of 2000 trials are 2 %.
    assert confidence - 0.02 < often < confidence + 0.1


@given(st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.9]), min_size=1, max_size=150))
def test_ties_keep_more_and_never_less(scores):
    tied = recall_threshold(scores, recall=0.8)
    apart = recall_threshold(np.arange(1, len(scores) + 1) / 1000, recall=0.8)

    assert tied.dropped <= apart.dropped
    assert tied.dropped == sum(s < tied.threshold for s in scores)


@pytest.mark.slow
@pytest.mark.parametrize(("groups", "size", "within"), [(15, 12, 0.3), (40, 8, 0.5)])
def test_the_recall_is_kept_for_positives_in_groups_that_are_alike(groups, size, within):
    draw = rng(2)
    group = np.repeat(np.arange(groups), size)

    def recalls(given):
        z = draw.normal(size=groups)[group] * math.sqrt(within)
        z += draw.normal(size=len(group)) * math.sqrt(1 - within)
        cut = recall_threshold(expit(z), recall=0.8, groups=given).threshold
        return 1 - ndtr(np.log(cut / (1 - cut))) if cut else 1.0

    aware = np.mean([recalls(group) >= 0.8 for _ in range(300)])
    blind = np.mean([recalls(None) >= 0.8 for _ in range(300)])

    assert aware > 0.95 - 0.025
    assert blind < 0.9


@pytest.mark.parametrize(("groups", "size", "low"), [(60, 10, 0.06), (100, 10, 0.06)])
def test_the_recall_is_kept_where_a_few_groups_score_low_throughout(groups, size, low):
    draw = rng(12)
    group = np.repeat(np.arange(groups), size)

    def recall():
        is_low = (draw.random(groups) < low)[group]
        scores = np.where(
            is_low, draw.uniform(0, 0.4, len(group)), draw.uniform(0.5, 1, len(group))
        )
        cut = recall_threshold(scores, groups=group).threshold
        return 1 - low * min(cut / 0.4, 1) - (1 - low) * max(0, (cut - 0.5) / 0.5)

    kept = np.mean([recall() >= 0.95 for _ in range(250)])

    assert kept > 0.95 - 0.028  # two standard errors of 250 trials
    assert kept < 1  # or nothing is dropped, and nothing shown


def test_groups_of_one_change_nothing():
    scores = rng(13).uniform(size=300)

    assert recall_threshold(scores, groups=np.arange(300)) == recall_threshold(scores)


def test_of_too_few_groups_nothing_is_guaranteed_whatever_their_size():
    scores, group = rng(14).uniform(size=800), np.repeat(np.arange(40), 20)

    found = recall_threshold(scores, groups=group)

    assert (found.guaranteed, found.effective_n) == (False, pytest.approx(40))
    assert type(found.effective_n) is float
    assert found.recall_of_lowest == pytest.approx(0.05 ** (1 / 40))


def test_hits_that_fill_groups_stand_for_groups_and_scattered_ones_nearly_for_themselves():
    sizes = np.full(100, 5)

    full = weights_of_hits(np.repeat(np.arange(20), 5), sizes)
    scattered = weights_of_hits(np.arange(100), sizes)

    assert len(full) == 101
    assert full[::5] == pytest.approx(5)  # as many as fill groups
    assert scattered == pytest.approx((np.arange(101) + 25) / (np.arange(101) + 5))
    assert weights_of_hits(np.arange(30), np.ones(40, dtype=int)) == pytest.approx(1)
    one = weight_of_hits(np.arange(500) < 5, np.repeat(np.arange(100), 5))
    assert one == weight_of_hits(np.arange(500) >= 5, np.repeat(np.arange(100), 5)) == 5
    assert weight_of_hits(np.arange(500) < 5, None) == 1
    assert weight_of_hits(np.zeros(0, dtype=bool), np.zeros(0, dtype=int)) == 1


def test_an_event_that_was_not_met_has_the_size_of_the_larger_groups():
    assert weights_of_hits(np.array([], dtype=int), np.array([1, 1, 1, 9])) == pytest.approx(
        732 / 84
    )


def test_false_positives_of_one_image_tell_less_than_scattered_ones():
    scores = np.r_[np.full(50, 2.0), np.full(1000, 1.0)]
    present = np.arange(1050) < 50
    together, scattered = (scores.copy() for _ in range(2))
    together[50:60] = scattered[50::100] = 3.0
    groups = np.r_[np.arange(50), 50 + np.repeat(np.arange(100), 10)]

    wide, narrow = (
        score_detection(s, present, rng(), prevalence=1e-4, groups=groups).false_positives_1e5
        for s in (together, scattered)
    )

    assert wide.value == narrow.value == pytest.approx(1000)
    assert wide.high - wide.low > 1.4 * (narrow.high - narrow.low)


@pytest.mark.slow
@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000), st.integers(20, 60), st.sampled_from([0.0, 1.0, 8.0]))
def test_intervals_of_false_positives_and_precision_hold_their_values(seed, negatives, apart):
    scores, present = simulate(rng(seed), 20, negatives, apart=apart)

    found = score_detection(scores, present, rng(seed), prevalence=1e-4)

    for interval in (found.false_positives_1e5, found.precision):
        assert interval.low <= interval.value <= interval.high
    if apart == 8:  # none wrong among so few is still no rate of 0
        assert (found.false_positives_1e5.value, found.precision.value) == (0, 1)
        assert found.false_positives_1e5.high > 1000


def test_the_expected_recall_is_kept_on_the_mean():
    draw = rng(4)
    kept = [
        1 - expected_recall_threshold(draw.uniform(size=99), recall=0.95).threshold
        for _ in range(2000)
    ]

    assert np.mean(kept) == pytest.approx(0.95, abs=0.002)
    short = expected_recall_threshold(draw.uniform(size=18), recall=0.95)
    assert (short.threshold, short.guaranteed) == (0.0, False)


def test_the_expected_recall_is_kept_for_chips_of_a_new_group_whatever_its_size():
    draw = rng(14)

    def trial(aware):
        """Recall of one more group than the 60 that set the threshold; small ones score low."""
        sizes = draw.choice([1, 4, 40], 61)
        group = np.repeat(np.arange(61), sizes)
        logits = draw.normal(np.log(sizes) + draw.normal(0, 1, 61), 0.5)[group]
        scores = expit(logits + draw.normal(0, 1, len(group)))
        known = group < 60
        cut = expected_recall_threshold(
            scores[known], recall=0.95, groups=group[known] if aware else None
        )
        return (scores[~known] >= cut.threshold).mean()

    kept, blind = (np.mean([trial(aware) for _ in range(1500)]) for aware in (True, False))

    assert kept == pytest.approx(0.955, abs=0.012)
    assert blind < 0.9


def test_groups_of_one_expect_what_no_groups_do():
    scores = rng(15).uniform(size=250)

    of_one = expected_recall_threshold(scores, groups=np.arange(250))

    assert of_one == expected_recall_threshold(scores)
    assert of_one.dropped == 11  # 12 of 251 are 0.048


@pytest.mark.parametrize(
    ("rule", "least", "counted"),
    [(recall_threshold, 434, 624), (expected_recall_threshold, 184, 388)],
)
def test_so_many_positives_bring_the_recall_within_three_points(rule, least, counted):
    """The table of geoseg.metrics.thresholds, by simulation."""
    draw = rng(5)

    def within(n, count):
        rank = round(rule(np.arange(1, n + 1) / (n + 1)).threshold * (n + 1))
        lost = draw.beta(rank, n + 1 - rank, size=20_000)
        if count:
            lost = draw.binomial(count, lost) / count
        return np.mean((lost >= 0.02 - 1e-9) & (lost <= 0.08 + 1e-9))

    # Ranks are whole numbers, so that one more positive can change much. Three standard errors.
    assert within(least, 0) > 0.945 > within(least - 1, 0) - 0.01
    assert within(counted, counted) > 0.945 > within(counted - 1, counted - 1) - 0.01
    assert within(100, 0) < 0.9
    guaranteed = betainc(13, 388, 0.08) - betainc(13, 388, 0.02)
    assert guaranteed == pytest.approx(0.94, abs=0.005)  # n = 400 of the table


@pytest.mark.parametrize("scores", [[], [1.2], [math.nan], [-0.1, 0.5]])
def test_a_threshold_needs_probabilities_of_positives(scores):
    with pytest.raises(LabelError, match="give one or more, with probabilities between 0 and 1"):
        recall_threshold(scores)
    with pytest.raises(ConfigError, match="A recall of 1 is none"):
        recall_threshold([0.5], recall=1)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 60), st.booleans())
def test_average_precision_is_that_of_scikit_learn(seed, positives, negatives, ties):
    scores, present = simulate(rng(seed), positives, negatives)
    scores = np.round(scores) if ties else scores

    ours = average_precision(scores, present)
    weight = np.where(present, 0.01 / present.mean(), 0.99 / (1 - present.mean()))
    rare = average_precision(scores, present, prevalence=0.01)

    assert ours == pytest.approx(average_precision_score(present, scores))
    assert rare == pytest.approx(average_precision_score(present, scores, sample_weight=weight))


def test_the_curve_is_that_of_scikit_learn_in_few_points():
    scores, present = simulate(rng(6), 3000, 20_000)

    curve = precision_recall(scores, present, rng())

    assert len(curve.recall) <= 500
    assert (np.diff(curve.recall) > 0).all()
    assert (np.diff(curve.threshold) < 0).all()
    precision, recall, threshold = precision_recall_curve(present, scores)
    at = np.searchsorted(threshold, curve.threshold)
    np.testing.assert_allclose(curve.precision, precision[at])
    np.testing.assert_allclose(curve.recall, recall[at])
    assert (curve.positives, curve.negatives) == (3000, 20_000)
    inner = curve.recall > 0.05
    assert (curve.low[inner] <= curve.precision[inner]).all()
    assert (curve.precision[inner] <= curve.high[inner]).all()


@pytest.mark.slow
def test_the_interval_of_average_precision_holds_the_truth_about_as_often_as_it_says():
    draw = rng(7)
    truth = average_precision(*simulate(draw, 40_000, 400_000))

    def clustered():
        """Sixty places of five chips, each place a little better or worse to see."""
        scores, present = simulate(draw, 100, 1000)
        place = np.arange(1100) % 220
        return scores, present, place

    held = []
    for _ in range(60):
        scores, present, place = clustered()
        interval = precision_recall(scores, present, draw, groups=place).average_precision
        held.append(interval.low <= truth <= interval.high)

    assert np.mean(held) > 0.87


def test_chips_that_are_copies_widen_the_interval():
    scores, present = simulate(rng(8), 40, 400)
    copies = (np.repeat(scores, 10), np.repeat(present, 10))

    once = precision_recall(scores, present, rng()).average_precision
    blind = precision_recall(*copies, rng()).average_precision
    aware = precision_recall(*copies, rng(), groups=np.repeat(np.arange(440), 10)).average_precision

    assert aware.high - aware.low == pytest.approx(once.high - once.low, rel=0.15)
    assert blind.high - blind.low < 0.5 * (once.high - once.low)


def test_a_draw_without_the_place_of_most_negatives_has_another_false_positive_rate():
    # One place with ten of each kind, all above a place of a thousand without.
    scores = np.repeat([2.0, 1.0], [20, 1000])
    present = np.arange(1020) < 10

    curve = precision_recall(scores, present, rng(), groups=np.repeat([0, 1], [20, 1000]))

    assert curve.precision.tolist() == [0.5]
    assert curve.low == pytest.approx([10 / 1020])  # the first place drawn twice: all are taken


def test_one_group_has_no_interval():
    scores, present = simulate(rng(9), 5, 20)

    curve = precision_recall(scores, present, rng(), groups=np.zeros(25))

    assert math.isnan(curve.average_precision.low)
    assert np.isnan(curve.low).all()
    assert np.isfinite(curve.precision).all()


def test_recall_among_the_reviewed_does_not_depend_on_the_order_of_ties():
    scores, present = [5, 3, 3, 3, 3, 1], [True, True, False, False, False, True]

    found = recall_at_k(scores, present, [0, 1, 3, 5, 6, 100])

    assert found == pytest.approx([0, 1 / 3, 1 / 3 + 2 / 4 / 3, 2 / 3, 1, 1])


def test_precision_at_deployment_is_that_of_the_hundred_million_chips():
    precision = precision_at_prevalence(0.9, [1e-2, 1e-3, 1e-4, 1e-5], 1e-4)

    assert precision == pytest.approx([0.009, 0.083, 0.47, 0.90], abs=0.005)
    assert math.isnan(precision_at_prevalence(0, 0, 1e-4))


@pytest.mark.slow
def test_a_detector_is_scored_at_the_prevalence_where_it_is_used():
    scores, present = simulate(rng(10), 400, 40_000, apart=3)

    found = score_detection(scores, present, rng(), prevalence=1e-4)

    true_rate = 1 - ndtr(3 - 1.2816)  # of negatives above the score that 0.9 of positives reach
    wrong = found.false_positives_1e5
    assert wrong.low < true_rate * 1e5 < wrong.high
    assert wrong.low < wrong.value < wrong.high
    at = precision_at_prevalence(0.9, wrong.value / 1e5, 1e-4)
    assert found.precision.value == pytest.approx(float(at))
    assert found.precision.low < found.precision.value < found.precision.high < 0.01
    assert found.average_precision.value == average_precision(scores, present, prevalence=1e-4)
    assert [k for k, _ in found.recall_at] == [100, 1000, 10_000]


def test_no_false_positive_among_few_negatives_is_no_rate_of_zero():
    scores, present = simulate(rng(11), 50, 1000, apart=20)

    found = score_detection(scores, present, rng(), prevalence=1e-4)
    in_places = score_detection(
        scores,
        present,
        rng(),
        prevalence=1e-4,
        groups=np.r_[np.arange(50), np.repeat(range(100), 10)],
    )

    assert found.false_positives_1e5.value == 0
    assert 100 < found.false_positives_1e5.high < 500  # of 1000 negatives, 3 in 1000 at most
    assert found.precision.low < 0.1
    assert in_places.false_positives_1e5.high > 0


@pytest.mark.parametrize(
    ("scores", "present"),
    [([1.0], [True]), ([1.0, 2], [False, False]), ([1, math.nan], [True, False])],
)
def test_what_cannot_be_scored_is_refused(scores, present):
    with pytest.raises(LabelError, match="give both kinds, each with a finite score"):
        average_precision(scores, present)
