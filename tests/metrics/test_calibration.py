import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as loss_of_sklearn

from geoseg.errors import ConfigError, LabelError, ModelError
from geoseg.metrics.calibration import Calibration, Curve, fit_calibration, shift_prior
from geoseg.metrics.logistic import fit_line
from geoseg.metrics.reliability import score_calibration, wilson

share = st.floats(1e-5, 1 - 1e-5)


def rng(seed=0):
    return np.random.default_rng(seed)


def simulate(draw, positives, negatives, *, slope=1.0, bias=0.0, apart=2.0):
    """Logits whose true log likelihood ratio is slope * logit + bias."""
    present = np.repeat([True, False], [positives, negatives])
    ratio = apart * draw.normal(np.where(present, apart / 2, -apart / 2))
    return (ratio - bias) / slope, present


def curve(**changed):
    fields = {"how": "platt", "slope": 1.0, "intercept": 0.0, "prior": 0.5}
    return Curve(**{**fields, "positives": 1, "negatives": 1, **changed})


def identity(prior=0.5):
    """A calibration that trusts the logits of a model trained at a prior."""
    pooled = curve(intercept=float(logit(prior)), prior=prior)
    return Calibration(pooled=pooled, sensors={}, losses={})


def warp(logits):
    """What no line sets right."""
    return np.sign(logits) * np.abs(logits) ** 0.3


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 10_000), st.integers(2, 30), st.sampled_from([-3.0, 0.0, 0.3, 9.0]), st.data()
)
def test_a_higher_logit_is_never_less_probable(seed, chips, apart, data):
    logits, present = simulate(rng(seed), chips, chips, apart=apart)
    sure = fit_calibration(logits, present)
    asked = np.sort(data.draw(st.lists(st.floats(-20, 20), min_size=2, max_size=8)))

    told = sure.log_ratio(asked)

    assert (np.diff(told)[np.diff(asked) > 1e-9] > 0).all()
    assert (np.diff(sure.probability(asked, prevalence=1e-4)) >= 0).all()
    assert np.isfinite(told).all()


def test_isotonic_is_strictly_rising_within_and_beyond_its_knots():
    logits, present = simulate(rng(2), 600, 900, apart=2.5)
    sure = fit_calibration(warp(logits), present)
    asked = np.linspace(-9, 9, 4001)

    assert sure.how == "isotonic"
    assert (np.diff(sure.log_ratio(asked)) > 0).all()
    assert np.isfinite(sure.log_ratio(asked)).all()


@given(st.floats(1e-6, 1 - 1e-6), share, share)
def test_the_prior_there_and_back_changes_nothing(probability, before, after):
    there = shift_prior(probability, before, after)

    back = shift_prior(there, after, before)

    # 1 - p keeps few digits where p is nearly 1.
    assert back == pytest.approx(probability, rel=1e-4, abs=1e-9)


def test_what_is_sure_at_one_to_one_is_rare_at_one_in_ten_thousand():
    sure = identity()

    told = sure.probability(logit([0.99, 0.9999]), prevalence=1e-4)

    assert told == pytest.approx([0.0098, 0.5000], abs=5e-5)
    assert shift_prior([0.99, 0.9999], 0.5, 1e-4) == pytest.approx(told, rel=1e-12)
    assert sure.probability(logit([0.99])) == pytest.approx([0.99])


@pytest.mark.parametrize("prevalence", [0.0, 1.0, -0.1, float("nan")])
def test_a_prevalence_is_a_share(prevalence):
    with pytest.raises(ConfigError, match=r"above 0 and below 1, as 1e-4\."):
        identity().probability([0.0], prevalence=prevalence)


@pytest.mark.parametrize(("slope", "bias"), [(0.4, 1.5), (2.0, -1.0), (1.0, 0.0)])
def test_slope_and_bias_of_a_model_are_found(slope, bias):
    logits, present = simulate(rng(3), 4000, 12_000, slope=slope, bias=bias)

    sure = fit_calibration(logits, present)

    asked = np.array([-2.0, 0.0, 3.0])
    assert sure.log_ratio(asked) == pytest.approx(slope * asked + bias, abs=0.25)
    assert sure.prior == 0.25
    assert (sure.pooled.positives, sure.pooled.negatives) == (4000, 12_000)


@pytest.mark.parametrize("prevalence", [0.3, 0.02])
def test_probabilities_come_true_at_another_prevalence(prevalence):
    sure = fit_calibration(*simulate(rng(4), 1500, 1500, slope=0.5, bias=1))
    pool = simulate(rng(5), round(prevalence * 200_000), round((1 - prevalence) * 200_000),
                    slope=0.5, bias=1)  # fmt: skip

    right = score_calibration(sure.probability(pool[0], prevalence=prevalence), pool[1])
    wrong = score_calibration(sure.probability(pool[0]), pool[1])

    assert right.ece < 0.01
    assert wrong.ece > 5 * right.ece


def test_the_line_is_that_of_scikit_learn():
    logits, present = simulate(rng(6), 80, 200)

    slope, bias = fit_line(logits, present.astype(float), (~present).astype(float), pull=1e-9)

    theirs = LogisticRegression(C=np.inf, tol=1e-10).fit(logits[:, None], present)
    assert (slope, bias) == pytest.approx((theirs.coef_[0, 0], theirs.intercept_[0]), rel=1e-4)


def test_counts_at_a_logit_weigh_as_many_chips():
    logits, present = np.array([-1.0, -1, 0, 0, 2, 2, 2]), np.array([0, 0, 0, 1, 1, 1, 0.0])

    one_by_one = fit_line(logits, present, 1 - present)
    together = fit_line(np.array([-1.0, 0, 2]), np.array([0.0, 1, 2]), np.array([2.0, 1, 1]))

    assert together == pytest.approx(one_by_one, rel=1e-9)


def test_a_model_that_parts_few_chips_perfectly_is_not_believed_without_end():
    sure = fit_calibration([3.0, 4, 5, -3, -4, -5], [True] * 3 + [False] * 3)

    assert 0.7 < sure.probability([4.0])[0] < 0.9  # 4 / 5 by Platt
    assert 0.1 < sure.probability([-4.0])[0] < 0.3


def test_a_model_no_better_than_chance_or_worse_says_little_but_the_prior():
    logits, present = simulate(rng(7), 100, 300, apart=2)

    sure = fit_calibration(-logits, present)

    assert sure.probability([-3.0, 3.0]) == pytest.approx([0.25, 0.25], abs=0.02)
    assert np.diff(sure.probability([-3.0, 3.0])) > 0


def test_the_form_is_chosen_by_what_serves_held_out_chips():
    straight = simulate(rng(8), 400, 400, slope=0.5, bias=1)
    few = simulate(rng(8), 150, 150)

    assert fit_calibration(*straight).how == "platt"
    bent = fit_calibration(warp(straight[0]), straight[1])
    assert bent.how == "isotonic"
    assert bent.losses["isotonic"] < bent.losses["platt"] < bent.losses["temperature"]
    untried = fit_calibration(warp(few[0]), few[1])
    assert set(untried.losses) == {"platt", "temperature"}


def test_a_temperature_alone_serves_few_chips_of_a_model_without_a_bias():
    even = [fit_calibration(*simulate(rng(s), 30, 30, slope=3)) for s in range(20)]
    biased = [fit_calibration(*simulate(rng(s), 30, 30, slope=3, bias=4)) for s in range(20)]

    alone = [sure for sure in even if sure.how == "temperature"]
    assert 0 < len(alone) < 10
    assert all(sure.probability([0.0])[0] == 0.5 for sure in alone)
    assert {sure.how for sure in biased} == {"platt"}


def test_chips_of_one_place_are_no_more_evidence_than_the_place():
    logits, present = simulate(rng(9), 12, 12, apart=2)
    logits, present = np.repeat(logits, 40), np.repeat(present, 40)

    blind = fit_calibration(logits, present)
    aware = fit_calibration(logits, present, groups=np.repeat(np.arange(24), 40))

    assert "isotonic" in blind.losses
    assert "isotonic" not in aware.losses
    assert aware.losses["platt"] > 1.05 * blind.losses["platt"]  # which was told the answers


def test_a_sensor_that_differs_gets_its_own_curve_and_others_the_pooled_one():
    draw = rng(10)
    plain = simulate(draw, 800, 800)
    odd = simulate(draw, 200, 600, slope=0.4, bias=2)
    rare = simulate(draw, 20, 20, slope=0.4, bias=2)
    logits, present = (np.concatenate(parts) for parts in zip(plain, odd, rare, strict=True))
    sensors = ["s2"] * 1600 + ["pan"] * 800 + ["film"] * 40

    sure = fit_calibration(logits, present, sensors)

    assert "pan" in sure.sensors
    assert "film" not in sure.sensors
    asked = np.array([1.0, 1.0, 1.0, 1.0])
    told = sure.log_ratio(asked, ["pan", "film", None, "never-seen"])
    assert told[0] == pytest.approx(2.4, abs=0.4)
    assert (told[1:] == sure.pooled.log_ratio(1.0)).all()
    # The share of positives of a sensor is chance of the held-out chips, not of the ground.
    even = expit(told[0] + logit(sure.prior))
    assert sure.probability([1.0], ["pan"]) == pytest.approx(even)
    np.testing.assert_array_equal(
        sure.log_ratio(asked, np.array(["pan", "film", "s2", "x"]))[:2], told[:2]
    )


def test_sensors_that_are_alike_share_the_pooled_curve():
    logits, present = simulate(rng(11), 1000, 1000)

    sure = fit_calibration(logits, present, ["a", "b"] * 1000)

    assert sure.sensors == {}


def test_a_calibration_survives_json():
    draw = rng(12)
    logits, present = simulate(draw, 700, 700)
    odd = simulate(draw, 300, 300, slope=0.2)
    sensors = ["a"] * 1400 + ["b"] * 600
    sure = fit_calibration(
        np.concatenate([warp(logits), odd[0]]), np.concatenate([present, odd[1]]), sensors
    )

    back = Calibration.from_dict(json.loads(json.dumps(sure.to_dict(), allow_nan=False)))

    assert back == sure
    assert "b" in back.sensors
    np.testing.assert_array_equal(back.log_ratio([0.3, 2]), sure.log_ratio([0.3, 2]))


@pytest.mark.parametrize(
    "record", [{}, {"pooled": {}, "sensors": {}, "losses": {}}, {"sensors": 3}]
)
def test_what_is_no_calibration_is_refused(record):
    with pytest.raises(ModelError, match=r"cannot be read \(.*\); calibrate it again\."):
        Calibration.from_dict(record)


def test_one_kind_of_chips_or_unknown_logits_cannot_calibrate():
    with pytest.raises(LabelError, match=r"^3 held-out chips with and 0 without .* both kinds\.$"):
        fit_calibration([1, 2, 3], [True] * 3)
    with pytest.raises(LabelError, match="1 held-out logits are not finite"):
        fit_calibration([1, np.nan], [True, False])


def test_an_unknown_logit_has_an_unknown_probability():
    told = identity().probability([np.nan, 0.0, np.inf])

    np.testing.assert_array_equal(told, [np.nan, 0.5, 1.0])


def test_probabilities_that_come_true_have_no_calibration_error_but_chance():
    draw = rng(13)
    probability = draw.uniform(size=300)

    scores = [score_calibration(probability, draw.uniform(size=300) < probability)
              for _ in range(200)]  # fmt: skip

    plain, debiased = (np.mean([getattr(s, k) for s in scores]) for k in ("ece", "ece_debiased"))
    assert 0.05 < plain < 0.1
    assert debiased < 0.6 * plain


def test_the_debiased_error_is_nearer_to_a_true_one():
    draw = rng(14)
    probability = draw.uniform(0.1, 0.7, size=400)

    scores = [score_calibration(probability, draw.uniform(size=400) < probability + 0.06)
              for _ in range(200)]  # fmt: skip

    plain, debiased = (np.mean([getattr(s, k) for s in scores]) for k in ("ece", "ece_debiased"))
    assert abs(debiased - 0.06) < abs(plain - 0.06) / 2


def test_scores_of_many_chips_are_those_of_scikit_learn():
    draw = rng(15)
    probability = draw.uniform(size=5000)
    present = draw.uniform(size=5000) < probability**2

    scores = score_calibration(probability, present)

    assert scores.brier == pytest.approx(brier_score_loss(present, probability))
    assert scores.log_loss == pytest.approx(loss_of_sklearn(present, probability))
    assert scores.ece == pytest.approx(1 / 6, abs=0.02)  # the mean of p - p^2
    assert [b.count for b in scores.bins] == [333, 333, 334] * 5
    assert sum(b.observed_low <= b.predicted**2 <= b.observed_high for b in scores.bins) >= 13


def test_chips_of_one_probability_share_a_bin_in_whatever_order_they_come():
    probability = np.array([0.2] * 50 + [0.8] * 50)
    present = np.array([False] * 40 + [True] * 10 + [False] * 10 + [True] * 40)

    scores = score_calibration(probability, present)

    assert [(b.count, b.observed) for b in scores.bins] == [(50, 0.2), (50, 0.8)]
    assert scores.ece == pytest.approx(0, abs=1e-12)
    turned = score_calibration(probability[::-1], present[::-1])
    assert [b.observed for b in turned.bins] == [0.2, 0.8]


def test_a_probability_of_zero_for_what_is_there_has_a_finite_loss():
    assert 30 < score_calibration([0.0], [True]).log_loss < 40
    with pytest.raises(LabelError, match="probabilities between 0 and 1"):
        score_calibration([1.2], [True])


def test_intervals_of_shares_are_wilsons():
    # Newcombe (1998), table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    low, high = wilson([81, 15, 0, 1, 0], [263, 148, 20, 29, 0])

    assert low == pytest.approx([0.2553, 0.0624, 0, 0.0061, 0], abs=5e-5)
    assert high == pytest.approx([0.3662, 0.1605, 0.1611, 0.1718, 1], abs=5e-5)
