"""Presence from several dates."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logit
from scipy.stats import binom

from geoseg.errors import ConfigError, LabelError
from geoseg.presence.evidence import DatedEvidence
from geoseg.presence.fusion import fit_rho, fused_logits

images = st.lists(
    st.tuples(st.floats(1960, 2025), st.floats(-20, 20), st.floats(0, 1)), min_size=1, max_size=6
)


def place(*dates):
    """Of (year, evidence, validity)."""
    years, evidence, validity = zip(*dates, strict=True)
    return years, evidence, validity


def fused(*places, **options):
    return fused_logits(DatedEvidence.of_places(places), **{"prior": 0.01, **options})


def test_one_clear_date_gives_its_own_probability_at_the_prior_of_use():
    # A model of as many with as without says 0.99; where one place in ten thousand has it:
    evidence = DatedEvidence.of_logits(
        np.array([logit(0.99)]),
        np.array([2020.0]),
        np.array([1.0]),
        np.array([0, 1]),
        trained_at=0.5,
    )

    found = fused_logits(evidence, prior=1e-4)

    assert 1 / (1 + np.exp(-found[0])) == pytest.approx(0.0098, abs=5e-5)


def test_what_training_took_for_granted_is_no_evidence():
    evidence = DatedEvidence.of_logits(
        np.full(9, logit(0.2)), np.arange(9.0), np.ones(9), np.array([0, 9]), trained_at=0.2
    )

    assert fused_logits(evidence, prior=0.01)[0] == pytest.approx(logit(0.01))


@given(images=images, hidden=st.floats(-50, 50) | st.just(float("nan")))
def test_a_hidden_date_changes_nothing(images, hidden):
    without = fused(place(*images))
    with_it = fused(place((1990.0, hidden, 0.0), *images))

    np.testing.assert_array_equal(with_it, without)


@given(images=images, data=st.data())
def test_the_order_of_dates_changes_nothing(images, data):
    shuffled = data.draw(st.permutations(images))

    np.testing.assert_allclose(
        fused(place(*shuffled)), fused(place(*images)), rtol=1e-12, atol=1e-12
    )


def test_places_do_not_see_the_dates_of_others():
    one, other = place((2000, 3.0, 1.0)), place((2001, -2.0, 0.5), (2002, 1.0, 1.0))
    nothing = ([], [], [])

    together = fused(one, nothing, other)

    np.testing.assert_allclose(together, [logit(0.01) + 3, logit(0.01), logit(0.01)])


def test_half_a_date_counts_half():
    assert fused(place((2000, 4.0, 0.5)), rho=0.5)[0] == pytest.approx(logit(0.01) + 1)


def best_tpr(scores, present, absent, *, most):
    """The highest share of present found with at most this share of absent."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.diff(scores[order], append=-np.inf) < 0)  # ties go together
    tpr, fpr = np.cumsum(present[order])[ends], np.cumsum(absent[order])[ends]
    return tpr[fpr <= most].max()


def test_evidence_beats_the_best_count_of_sightings_under_clouds():
    # 8 dates, half of them hidden; a clear one finds 0.8 at a false alarm rate of 0.05. Every
    # number of clear dates and of sightings among them is a place, weighed by how often it occurs.
    pairs = [(n, s) for n, s in product(range(9), range(9)) if s <= n]
    clear, seen = np.array(pairs).T
    each = np.where(np.arange(8) < seen[:, None], np.log(0.8 / 0.05), np.log(0.2 / 0.95))
    validity = (np.arange(8) < clear[:, None]).astype(float)
    evidence = DatedEvidence(
        years=np.tile(np.arange(8.0), len(pairs)),
        evidence=each.ravel(),
        validity=validity.ravel(),
        offsets=np.arange(0, 8 * len(pairs) + 1, 8),
    )
    present = binom.pmf(clear, 8, 0.5) * binom.pmf(seen, clear, 0.8)
    absent = binom.pmf(clear, 8, 0.5) * binom.pmf(seen, clear, 0.05)

    by_evidence = best_tpr(fused_logits(evidence, prior=1e-4), present, absent, most=1e-3)
    by_votes = best_tpr(seen.astype(float), present, absent, most=1e-3)

    assert by_votes == pytest.approx(0.685, abs=0.001)
    assert by_evidence == pytest.approx(0.745, abs=0.001)


def correlated(rng, share, places=4000, dates=6, separation=6.0):
    """Places whose dates have a share of the variance of their evidence in common."""
    present = rng.random(places) < 0.3
    offset = rng.normal(0, np.sqrt(separation * share), places)
    noise = rng.normal(0, np.sqrt(separation * (1 - share)), (places, dates))
    values = np.where(present, separation / 2, -separation / 2)[:, None] + offset[:, None] + noise
    evidence = DatedEvidence(
        years=np.tile(np.arange(float(dates)), places),
        evidence=values.ravel(),
        validity=np.ones(places * dates),
        offsets=np.arange(0, places * dates + 1, dates),
    )
    return evidence, present


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8])
def test_rho_is_that_of_dates_that_err_together(share):
    # The sum of 6 dates has the mean of 6 and the variance of 6 (1 + 5 share): what is to count.
    evidence, present = correlated(np.random.default_rng(1), share)

    assert fit_rho(evidence, present) == pytest.approx(1 / (1 + 5 * share), abs=0.08)


def test_rho_needs_places_of_both_kinds():
    evidence = DatedEvidence.of_places([place((2000, 1.0, 1.0))])

    with pytest.raises(LabelError, match="1 of 1 labelled places are present; dates are weighed"):
        fit_rho(evidence, np.array([True]))


def test_a_prior_of_nought_is_refused():
    with pytest.raises(ConfigError, match="share of present places is 0; give a number above 0"):
        fused(place((2000, 1.0, 1.0)), prior=0.0)


def test_a_rho_above_one_is_refused():
    with pytest.raises(ConfigError, match=r"rho is 1.5; dates count from 0"):
        fused(place((2000, 1.0, 1.0)), rho=1.5)


def test_a_validity_that_is_no_share_is_refused():
    with pytest.raises(ValueError, match="validity of an image is a share"):
        DatedEvidence.of_places([place((2000, 1.0, 80.0))])
