import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from geoseg.errors import ConfigError, DataError, LabelError
from geoseg.metrics.histogram import LogitHistogram
from geoseg.metrics.prevalence import (
    Audit,
    HeldOut,
    adjusted_count,
    audit_count,
    estimate_prevalence,
    probabilistic_count,
    saerens,
    saerens_prior,
)

logits = st.lists(st.floats(-60, 60, width=32), max_size=40)


def rng(seed=0):
    return np.random.default_rng(seed)


def simulate(draw, positives, negatives, *, apart=3.0):
    """True log likelihood ratios, and what is there."""
    present = np.repeat([True, False], [positives, negatives])
    return apart * draw.normal(np.where(present, apart / 2, -apart / 2)), present


def held_out(draw, positives, negatives, **how):
    ratio, present = simulate(draw, positives, negatives, **how)
    return HeldOut(log_ratio=ratio, present=present)


def histogram(values):
    out = LogitHistogram()
    out.add(values)
    return out


def pool_of(draw, chips, prevalence, **how):
    """A pool whose chips are each drawn with something or without."""
    positives = draw.binomial(chips, prevalence)
    return histogram(simulate(draw, positives, chips - positives, **how)[0])


@given(logits, logits)
def test_histograms_of_parts_merge_into_that_of_the_whole(first, second):
    merged = histogram(first).merge(histogram(second))

    whole = histogram(first + second)
    np.testing.assert_array_equal(merged.counts, whole.counts)
    np.testing.assert_allclose(merged.sums, whole.sums, atol=1e-9)
    assert merged.total == len(first) + len(second)
    both = histogram(first)
    both.add(np.array(second, dtype=np.float32).reshape(-1, 1))
    np.testing.assert_array_equal(both.counts, whole.counts)


@given(st.floats(-39.9, 39.9))
def test_chips_of_nearly_one_logit_share_a_bin_at_their_mean(value):
    mean, count = histogram([value, value + 1e-3, value + 2e-3]).occupied()

    assert len(mean) <= 2
    assert mean @ count == pytest.approx(3 * value + 3e-3, abs=1e-9)
    assert count.sum() == 3


def test_unknown_logits_are_counted_apart_and_far_ones_at_the_ends():
    held = histogram([np.nan, 1e6, -np.inf, np.inf, 0.001])
    held.add([np.nan])

    centre, count = held.merge(histogram([np.nan])).occupied()

    assert held.missing == 2
    assert held.merge(held).missing == 4
    assert centre == pytest.approx([-40, 0.001, 40])
    assert count.tolist() == [1, 1, 2]


def test_a_histogram_survives_the_disk(tmp_path):
    held = histogram(rng(1).normal(size=5000) * 9)
    held.add([np.nan])

    held.save(tmp_path / "logits.npz")
    back = LogitHistogram.load(tmp_path / "logits.npz")

    np.testing.assert_array_equal(back.counts, held.counts)
    np.testing.assert_array_equal(back.sums, held.sums)
    assert (back.total, back.missing) == (5000, 1)
    assert (tmp_path / "logits.npz").stat().st_size < 128_000


def test_a_damaged_histogram_is_named(tmp_path):
    paths = [tmp_path / name for name in ("absent.npz", "text.npz", "other.npz", "cut.npz")]
    paths[1].write_text("no")
    np.savez(paths[2], counts=np.zeros(3, dtype=np.int64), missing=0)
    histogram([1.0]).save(paths[3])
    paths[3].write_bytes(paths[3].read_bytes()[:60])

    for path in paths:
        with pytest.raises(DataError, match=rf"{path.name} is no histogram of logits"):
            LogitHistogram.load(path)


@pytest.mark.slow
@pytest.mark.parametrize("prevalence", [0.3, 0.01, 0.0005])
def test_bins_count_and_find_priors_as_all_of_the_scores_do(prevalence):
    ratio, _ = simulate(rng(2), round(prevalence * 40_000), round((1 - prevalence) * 40_000))
    pool = histogram(ratio)

    # Expectation maximisation as Saerens has it, of all scores.
    prior = 0.5
    for _ in range(2000):
        prior = expit(ratio + logit(prior)).mean()

    assert saerens_prior(pool) == pytest.approx(prior, rel=1e-3)
    centre, count = pool.occupied()
    exact = expit(ratio + logit(prevalence)).sum()
    assert count @ expit(centre + logit(prevalence)) == pytest.approx(exact, rel=1e-3)


def test_a_pool_of_one_kind_has_a_prior_at_the_end():
    assert saerens_prior(histogram([-3.0, -2.0, -4.0])) == 0
    assert saerens_prior(histogram([3.0, 2.0, 4.0])) == 1
    assert saerens_prior(histogram([-1.0, 1.0])) == pytest.approx(0.5, abs=1e-6)


def test_the_adjusted_count_is_that_of_the_rates():
    # 40 of 50 found, 100 of 1000 wrong, 1700 of 10,000 flagged: (0.17 - 0.1) / (0.8 - 0.1).
    known = HeldOut(
        log_ratio=np.repeat([2.0, -2.0, 2.0, -2.0], [40, 10, 100, 900]),
        present=np.repeat([True, False], [50, 1000]),
    )
    pool = histogram(np.repeat([2.0, -2.0], [1700, 8300]))

    found = adjusted_count(pool, known, rng())

    assert found.value == pytest.approx(0.1)
    assert 0.07 < found.low < 0.085
    assert 0.12 < found.high < 0.14
    assert found.of(10_000).value == pytest.approx(1000)
    assert (found.confidence, found.method) == (0.9, "adjusted")


def test_only_what_allows_for_another_prevalence_finds_it():
    draw = rng(3)
    known = held_out(draw, 300, 300)
    pool = pool_of(draw, 100_000, 0.01)

    blind = probabilistic_count(pool, known, draw)
    rates = adjusted_count(pool, known, draw)
    scores = saerens(pool, known, draw)

    assert blind.low > 0.05  # near to what it was fitted on, and sure of it
    assert rates.low <= 0.01 <= rates.high
    assert scores.low <= 0.01 <= scores.high
    assert scores.high - scores.low < (rates.high - rates.low) / 2


@pytest.mark.slow
def test_the_mean_probability_is_right_where_nothing_changes():
    draw = rng(4)
    found = [
        probabilistic_count(pool_of(draw, 20_000, 0.1), held_out(draw, 100, 900), draw)
        for _ in range(3)
    ]

    assert np.mean([f.value for f in found]) == pytest.approx(0.1, rel=0.04)
    assert all(f.low < 0.1 < f.high for f in found)


def test_a_calibration_that_is_off_is_set_right_by_the_held_out_chips():
    ratio, present = simulate(rng(5), 2000, 8000)
    known = HeldOut(log_ratio=0.5 * ratio + 1, present=present)
    centre, count = pool_of(rng(6), 100_000, 0.02).occupied()
    pool = histogram(np.repeat(0.5 * centre + 1, count))

    assert saerens(pool, known, rng()).value == pytest.approx(0.02, rel=0.15)
    assert saerens_prior(pool) > 0.04  # which knows nothing of them


@pytest.mark.slow
@pytest.mark.parametrize(
    ("positives", "negatives", "prevalence"), [(60, 600, 0.05), (80, 800, 0.3)]
)
@pytest.mark.parametrize("count", [adjusted_count, saerens])
def test_intervals_hold_the_truth_as_often_as_they_say(
    monkeypatch, count, positives, negatives, prevalence
):
    monkeypatch.setattr("geoseg.metrics.quantify._DRAWS", 100)
    draw = rng(7)
    found = [
        count(
            pool_of(draw, 5000, prevalence, apart=2.5),
            held_out(draw, positives, negatives, apart=2.5),
            draw,
        )
        for _ in range(100)
    ]

    held = np.mean([f.low <= prevalence <= f.high for f in found])
    # 0.85 to 0.95, and two standard errors of 100 trials.
    assert 0.85 - 0.06 < held < 0.95 + 0.045
    assert np.mean([f.value for f in found]) == pytest.approx(prevalence, rel=0.1)


@pytest.mark.slow
def test_held_out_chips_in_groups_tell_less():
    ratio, present = simulate(rng(8), 60, 400)
    known = HeldOut(log_ratio=np.repeat(ratio, 8), present=np.repeat(present, 8))
    grouped = HeldOut(
        log_ratio=known.log_ratio, present=known.present, groups=np.repeat(np.arange(460), 8)
    )
    pool = pool_of(rng(9), 200_000, 0.02)

    for count in (saerens, adjusted_count):
        blind, aware = count(pool, known, rng()), count(pool, grouped, rng())
        assert aware.value == blind.value
        assert aware.high - aware.low > 1.7 * (blind.high - blind.low)


@pytest.mark.parametrize("count", [saerens, adjusted_count, probabilistic_count])
@pytest.mark.parametrize("places", [1, 2])
def test_one_group_of_a_kind_tells_no_interval(count, places):
    ratio, present = simulate(rng(8), 60, 400)
    # Those with something lie in one place, or in two.
    groups = np.where(present, np.arange(460) % places, np.arange(460))
    known = HeldOut(log_ratio=ratio, present=present, groups=groups)

    found = count(pool_of(rng(9), 20_000, 0.02), known, rng())

    assert np.isfinite(found.value)
    assert np.isfinite([found.low, found.high]).all() == (places == 2)
    assert np.isnan([found.low, found.high]).all() == (places == 1)


def audited(draw, ratio, present, inclusion):
    drawn = draw.uniform(size=len(ratio)) < inclusion
    return Audit(log_ratio=ratio[drawn], present=present[drawn], inclusion=inclusion[drawn])


@pytest.mark.parametrize("trust", [1.0, -0.2])  # a good model, and one worse than none
@pytest.mark.parametrize("design", ["uniform", "scores"])
@pytest.mark.slow
def test_an_audit_holds_the_truth_whatever_the_model_is(trust, design):
    draw = rng(10)
    ratio, present = simulate(draw, 400, 19_600, apart=2.5)
    ratio = trust * ratio + 2
    inclusion = np.full(20_000, 0.05)
    if design == "scores":
        inclusion = 0.02 + 0.9 * expit(ratio - 3) ** 0.5
    pool = histogram(ratio)

    found = [audit_count(pool, audited(draw, ratio, present, inclusion)) for _ in range(150)]

    held = np.mean([f.low <= 0.02 <= f.high for f in found])
    assert 0.85 < held <= 1  # by more than it says where chances to be drawn differ
    assert design == "scores" or held < 0.97
    assert np.mean([f.value for f in found]) == pytest.approx(0.02, rel=0.06)


def test_a_good_model_makes_an_audit_more_precise():
    draw = rng(11)
    ratio, present = simulate(draw, 1000, 49_000, apart=4)
    inclusion = np.full(50_000, 0.04)
    pools = histogram(ratio), histogram(0 * ratio)

    both = []
    for _ in range(60):
        audit = audited(draw, ratio, present, inclusion)
        blind = Audit(
            log_ratio=0 * audit.log_ratio, present=audit.present, inclusion=audit.inclusion
        )
        both.append((audit_count(pools[0], audit), audit_count(pools[1], blind)))

    width = [np.mean([pair[i].high - pair[i].low for pair in both]) for i in (0, 1)]
    error = [np.std([pair[i].value for pair in both]) for i in (0, 1)]
    assert width[0] < 0.6 * width[1]
    assert error[0] < 0.6 * error[1]


def test_without_a_model_an_audit_counts_as_a_survey_does():
    present = np.arange(1000) < 30
    audit = Audit(log_ratio=np.zeros(1000), present=present, inclusion=np.full(1000, 0.01))

    found = audit_count(histogram(np.zeros(100_000)), audit)

    assert found.value == pytest.approx(0.03, rel=1e-3)
    # Mid-p Poisson interval of 30: 21.9 to 40.1.
    assert found.low == pytest.approx(0.0219, rel=0.03)
    assert found.high == pytest.approx(0.0401, rel=0.03)


def test_an_audit_that_found_nothing_says_how_many_there_can_be():
    audit = Audit(
        log_ratio=np.full(500, -5.0), present=np.zeros(500, bool), inclusion=np.full(500, 5e-4)
    )

    found = audit_count(histogram(np.full(1_000_000, -5.0)), audit)

    assert found.value == pytest.approx(0, abs=1e-6)
    assert found.low == 0
    assert found.high == pytest.approx(np.log(10) / 500, rel=0.02)  # mid-p; 3 / 500 without


def test_chips_that_are_known_count_once_and_bound_from_below():
    known = Audit(
        log_ratio=np.r_[np.full(40, 3.0), np.full(300, -5.0)],
        present=np.r_[np.ones(40, bool), np.zeros(300, bool)],
        inclusion=np.r_[np.ones(40), np.full(300, 0.03)],
    )
    pool = histogram(np.r_[np.full(40, 3.0), np.full(9960, -5.0)])

    found = audit_count(pool, known)

    assert found.low == pytest.approx(40 / 10_000)
    assert found.value == pytest.approx(40 / 10_000, rel=0.02)
    assert found.high < (40 + 3 * 9960 / 300) / 10_000


def test_an_audit_is_believed_before_a_model():
    draw = rng(12)
    ratio, present = simulate(draw, 200, 9800)
    pool, audit = histogram(ratio), audited(draw, ratio, present, np.full(10_000, 0.1))

    assert estimate_prevalence(pool, audit, draw).method == "audit"
    assert estimate_prevalence(pool, held_out(draw, 50, 50), draw).method == "saerens"


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.floats(0.5, 0.98))
def test_more_confidence_takes_a_wider_interval(seed, confidence):
    draw = rng(seed)
    ratio, present = simulate(draw, 100, 1900, apart=2)
    audit = audited(draw, ratio, present, np.full(2000, 0.2))

    narrow = audit_count(histogram(ratio), audit, confidence=confidence)
    wide = audit_count(histogram(ratio), audit, confidence=confidence + 0.015)

    assert 0 <= wide.low <= narrow.low <= narrow.value <= narrow.high <= wide.high <= 1


def test_what_tells_no_prevalence_is_refused():
    known = held_out(rng(), 20, 20)
    with pytest.raises(LabelError, match="add logits to its histogram"):
        saerens(LogitHistogram(), known, rng())
    with pytest.raises(ConfigError, match="A confidence of 90 is none"):
        saerens(histogram([0.0]), known, rng(), confidence=90)
    with pytest.raises(LabelError, match="0 held-out chips with and 2 without"):
        HeldOut(log_ratio=np.zeros(2), present=np.zeros(2, bool))
    with pytest.raises(LabelError, match="An audit of 1 chips tells no prevalence"):
        Audit(log_ratio=np.zeros(1), present=np.ones(1, bool), inclusion=np.zeros(1))
    with pytest.raises(LabelError, match="better one, or count by an audit"):
        adjusted_count(
            histogram([0.0]), HeldOut(log_ratio=-known.log_ratio, present=known.present), rng()
        )
    certain = Audit(log_ratio=np.zeros(1), present=np.ones(1, bool), inclusion=np.ones(1))
    with pytest.raises(LabelError, match="stands for the 2 others of the pool"):
        audit_count(histogram([0.0, 0, 0]), certain)
