"""Chains of beliefs, against the exact posterior by dense covariances in double precision."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.pivot.physical.assimilate import Belief
from geoseg.pivot.physical.chain import Chain
from geoseg.pivot.physical.temporal import smooth_series
from geoseg.pivot.physical.wander import Wander

CELLS = (2, 3)


def exact(days, values, variances, wander, wanted):
    """Mean (D, H, W) and covariance (D, D, H, W) given what was measured (T, H, W)."""
    mean = np.empty((len(wanted), *CELLS))
    covariance = np.empty((len(wanted), len(wanted), *CELLS))
    every = np.array([*days, *wanted])
    correlation = np.exp(-np.abs(every[:, None] - every) / wander.days)
    for cell in np.ndindex(CELLS):
        seen = np.isfinite(variances[:, *cell].numpy())
        known = np.concatenate([seen, np.zeros(len(wanted), bool)])
        asked = np.arange(len(every)) >= len(days)
        prior = correlation * float(wander.sd[cell]) ** 2
        noise = np.diag(variances[:, *cell].numpy()[seen])
        gain = np.linalg.solve(prior[known][:, known] + noise, prior[known][:, asked]).T
        mean[:, *cell] = gain @ values[:, *cell].numpy()[seen]
        covariance[:, :, *cell] = prior[asked][:, asked] - gain @ prior[known][:, asked]
    return mean, covariance


def series_of(days, *, seed=0, dtype=torch.float64):
    """Days, values and variances (T, H, W) and their process; half is not measured."""
    rng = np.random.default_rng(seed)
    sd = torch.from_numpy(rng.uniform(0.02, 0.08, CELLS)).to(dtype)
    variances = 10 ** rng.uniform(-5, -3, (len(days), *CELLS))
    variances[rng.random(variances.shape) < 0.5] = np.inf
    values = np.where(np.isinf(variances), np.nan, rng.normal(0, 0.05, variances.shape))
    values, variances = (torch.from_numpy(one).to(dtype) for one in (values, variances))
    return days, values, variances, Wander(sd=sd, days=float(rng.uniform(5, 200)))


def on(chain, days):
    """Beliefs (D, H, W) on days."""
    return Belief(*map(torch.stack, zip(*map(chain.at, days), strict=True)))


def measured(belief, value, variance):
    """The belief after a measurement."""
    weight = belief.variance / (belief.variance + variance)
    return Belief(belief.mean + weight * (value - belief.mean), (1 - weight) * belief.variance)


def assert_is(found, mean, variance, *, rtol):
    np.testing.assert_allclose(found.mean, mean, rtol=rtol, atol=rtol * 0.05)
    np.testing.assert_allclose(found.variance, variance, rtol=rtol)


def diagonal(covariance):
    return np.einsum("ddhw->dhw", covariance)


days_of_series = st.lists(st.integers(0, 1600), min_size=1, max_size=7, unique=True).map(
    lambda quarters: [quarter / 4 for quarter in sorted(quarters)]
)
asked_days = st.lists(st.integers(-300, 1900), min_size=1, max_size=9).map(
    lambda quarters: [quarter / 4 for quarter in sorted(quarters)]
)
seeds = st.integers(0, 2**31)
few = settings(max_examples=40, deadline=None)


@few
@given(days=days_of_series, wanted=asked_days, seed=seeds)
def test_any_day_is_answered_exactly(days, wanted, seed):
    series = series_of(days, seed=seed)
    wanted = sorted([*wanted, days[0], days[-1]])  # knots are days too
    mean, covariance = exact(*series, wanted)

    chain = smooth_series(*series)

    assert_is(on(chain, wanted), mean, diagonal(covariance), rtol=1e-8)


@few
@given(days=days_of_series, seed=seeds)
def test_neighbours_are_tied_as_they_are_exactly(days, seed):
    series = series_of(days, seed=seed)
    _, covariance = exact(*series, days)

    chain = smooth_series(*series)

    for k, (_, after) in enumerate(pairwise(range(len(days)))):
        tied = chain.gain[k] * chain.variance[after]
        np.testing.assert_allclose(tied, covariance[k, after], rtol=1e-8, atol=1e-14)
    assert (chain.gain[-1] == 0).all()


@few
@given(days=days_of_series, day=asked_days, wanted=asked_days, seed=seeds)
def test_a_new_knot_changes_no_answer(days, day, wanted, seed):
    chain = smooth_series(*series_of(days, seed=seed))

    longer, knot = chain.with_knot(day[0])

    assert longer.days[knot] == day[0]
    assert list(longer.days) == sorted({*days, day[0]})
    before = on(chain, wanted)
    assert_is(on(longer, wanted), before.mean, before.variance, rtol=1e-8)


@few
@given(days=days_of_series, new=asked_days, wanted=asked_days, seed=seeds)
def test_measurements_taken_in_later_are_as_if_known_from_the_start(days, new, wanted, seed):
    days, values, variances, wander = series_of(days, seed=seed)
    chain = smooth_series(days, values, variances, wander)
    rng = np.random.default_rng(seed)

    # Latest first, so that each lies before a knot that was corrected already.
    for day in reversed(new):
        value = torch.from_numpy(rng.normal(0, 0.05, CELLS))
        noise = torch.from_numpy(rng.uniform(1e-5, 1e-3, CELLS))
        chain, knot = chain.with_knot(day)
        chain = chain.corrected(knot, measured(chain.at(day), value, noise))
        days = [*days, day]
        values, variances = (
            torch.cat([known, one[None]]) for known, one in ((values, value), (variances, noise))
        )

    mean, covariance = exact(days, values, variances, wander, wanted)
    # Shares below 1e-5 are not carried on.
    assert_is(on(chain, wanted), mean, diagonal(covariance), rtol=1e-3)


def test_a_correction_leaves_the_chain_it_came_from():
    chain = smooth_series(*series_of([0.0, 10.0, 30.0]))
    before = [one.clone() for one in (chain.mean, chain.variance, chain.gain)]

    chain.corrected(1, measured(chain.at(10.0), 0.2, 1e-6))

    for one, was in zip((chain.mean, chain.variance, chain.gain), before, strict=True):
        assert torch.equal(one, was)


def test_beliefs_of_single_days_make_the_same_chain_and_stay_as_they_are():
    wander = Wander(sd=torch.full(CELLS, 0.05), days=30.0)
    filtered = [Belief(torch.full(CELLS, 0.1 * k), torch.full(CELLS, 1e-4 * k)) for k in (1, 2, 3)]
    days = [0.0, 7.0, 9.0]

    chain = Chain.smoothed(wander, days, filtered)

    whole = Belief(*map(torch.stack, zip(*filtered, strict=True)))
    np.testing.assert_array_equal(chain.mean, Chain.tied(wander, days, whole).mean)
    assert [float(one.mean[0, 0]) for one in filtered] == pytest.approx([0.1, 0.2, 0.3])
    assert float(chain.mean[0, 0, 0]) > 0.1


def test_single_precision_is_enough_beside_a_precise_measurement():
    days = [0.0, 0.001]
    _, values, variances, wander = series_of(days)
    values, variances = torch.full_like(values, 0.1), torch.full_like(variances, 1e-9)
    variances[0] = torch.inf
    _, covariance = exact(days, values, variances, wander, days)

    found = smooth_series(
        days, values.float(), variances.float(), Wander(sd=wander.sd.float(), days=wander.days)
    )

    np.testing.assert_allclose(found.variance, diagonal(covariance), rtol=1e-4)


def test_a_part_of_the_cells_answers_as_they_do_in_the_whole():
    chain = smooth_series(*series_of([0.0, 4.0, 30.0]))
    part = (slice(1, 2), slice(0, 2))

    found = on(chain.cropped(part), [1.0, 50.0])

    whole = on(chain, [1.0, 50.0])
    assert_is(found, whole.mean[:, *part], whole.variance[:, *part], rtol=1e-12)
