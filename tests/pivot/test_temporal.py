"""The scalar route of each pixel, against filterpy and in its limits."""

import numpy as np
import pytest
import torch
from filterpy.kalman import KalmanFilter
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.errors import SceneError
from geoseg.pivot.physical.temporal import smooth_series
from geoseg.pivot.physical.wander import Wander

SD, SCALE_DAYS = 0.06, 45.0


def series_of(days, pixels=11, *, seed=0, missing=0.5):
    """Days, values and variances (T, N) and their process."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0, SD, (len(days), pixels)).astype(np.float32)
    variances = (10 ** rng.uniform(-5, -3, values.shape)).astype(np.float32)
    gone = rng.random(values.shape) < missing
    values[gone], variances[gone] = np.nan, np.inf
    wander = Wander(sd=torch.linspace(0.5 * SD, 2 * SD, pixels), days=SCALE_DAYS)
    return days, torch.from_numpy(values), torch.from_numpy(variances), wander


def on(chain, days):
    """Means and variances (D, ...) on days."""
    return (torch.stack(one) for one in zip(*(chain.at(day) for day in days), strict=True))


def by_filterpy(days, values, variances, sd):
    """Smoothed means and variances (T,) of one pixel."""
    kept = np.exp(-np.diff(days, prepend=days[0]) / SCALE_DAYS)
    steps, noises = kept[:, None, None], (1 - kept[:, None, None] ** 2) * sd**2
    kalman = KalmanFilter(dim_x=1, dim_z=1)
    kalman.H = np.eye(1)
    kalman.x, kalman.P = np.zeros((1, 1)), np.full((1, 1), sd**2)
    means, covariances = [], []
    for step, noise, value, variance in zip(steps, noises, values, variances, strict=True):
        kalman.predict(F=step, Q=noise)
        kalman.update(None if np.isinf(variance) else value, R=variance)
        means.append(kalman.x.copy())
        covariances.append(kalman.P.copy())
    means, covariances, _, _ = kalman.rts_smoother(
        np.array(means), np.array(covariances), Fs=list(steps), Qs=list(noises)
    )
    return means[:, 0, 0], covariances[:, 0, 0]


@settings(max_examples=25, deadline=None)
@given(
    quarters=st.lists(st.integers(0, 1600), min_size=1, max_size=30, unique=True),
    seed=st.integers(0, 2**31),
)
def test_each_pixel_is_as_filterpy_smooths_it(quarters, seed):
    days = sorted(quarter / 4 for quarter in quarters)
    series = series_of(days, pixels=3, seed=seed)
    _, values, variances, wander = series

    chain = smooth_series(*series)

    for n in range(3):
        own = (one[:, n].double().numpy() for one in (values, variances))
        mean, variance = by_filterpy(np.array(days), *own, float(wander.sd[n]))
        np.testing.assert_allclose(chain.mean[:, n], mean, rtol=1e-4, atol=1e-4 * SD)
        np.testing.assert_allclose(chain.variance[:, n], variance, rtol=1e-4)


def test_pixels_of_an_image_keep_their_places():
    days, values, variances, wander = series_of([0.0, 3.0, 8.0], pixels=6)
    flat = smooth_series(days, values, variances, wander).at(2.0)

    image = smooth_series(
        days,
        values.view(3, 2, 3),
        variances.view(3, 2, 3),
        Wander(sd=wander.sd.view(2, 3), days=wander.days),
    ).at(2.0)

    np.testing.assert_array_equal(image.mean.view(6), flat.mean)
    np.testing.assert_array_equal(image.variance.view(6), flat.variance)


@pytest.mark.parametrize("day", [-5000.0, 5000.0])
def test_far_from_any_measurement_there_is_the_stationary_process(day):
    *series, wander = series_of([0.0, 5.0, 20.0], missing=0.0)

    mean, variance = smooth_series(*series, wander).at(day)

    np.testing.assert_allclose(mean, 0.0, atol=1e-12)
    np.testing.assert_allclose(variance, wander.sd**2, rtol=1e-6)


def test_in_a_gap_of_months_the_sd_grows_to_nearly_stationary():
    *series, wander = series_of([0.0, 300.0], missing=0.0)

    _, variance = on(smooth_series(*series, wander), [0.0, 30.0, 150.0, 270.0, 300.0])
    sd = variance.sqrt() / wander.sd

    assert (sd[0] < sd[1]).all()
    assert (sd[1] < sd[2]).all()
    assert ((sd[2] > 0.997) & (sd[2] < 1)).all()
    assert (sd[2] > sd[3]).all()
    assert (sd[3] > sd[4]).all()


@pytest.mark.parametrize(("value", "error"), [(0.3, np.inf), (np.nan, np.inf), (np.nan, 1e-4)])
def test_where_nothing_was_measured_there_is_the_prior(value, error):
    days, values, variances, wander = series_of([0.0, 5.0, 20.0])
    values.fill_(value)
    variances.fill_(error)

    mean, variance = on(
        smooth_series(days, values, variances, wander), [-1.0, 0.0, 3.0, 20.0, 21.0]
    )

    assert (mean == 0).all()
    np.testing.assert_allclose(variance, (wander.sd**2).expand(5, -1), rtol=1e-6)


def test_what_is_given_stays_as_it_is():
    days, values, variances, wander = series_of([0.0, 5.0, 20.0])
    before = values.clone(), variances.clone()

    smooth_series(days, values, variances, wander)

    np.testing.assert_array_equal(values, before[0])
    np.testing.assert_array_equal(variances, before[1])


@pytest.mark.parametrize(
    ("days", "message"),
    [
        ([3.0, 2.0], "Day 2 of the series comes after day 3; give each day once, in their order"),
        ([3.0, 3.0], "Day 3 of the series comes after day 3; give each day once, in their order"),
        ([], "A series of no day has nothing to smooth; give one day or more"),
    ],
)
def test_days_that_are_no_series_are_refused(days, message):
    with pytest.raises(SceneError, match=f"^{message}"):
        smooth_series(*series_of(days))


def test_shapes_that_differ_are_shown():
    days, values, variances, wander = series_of([0.0, 5.0], pixels=4)

    with pytest.raises(SceneError, match=r"of \(2, 4\), and they are \(2, 4\) and \(2, 3\); bring"):
        smooth_series(days, values, variances[:, :3], wander)


@pytest.mark.parametrize("variance", [0.0, -1e-4])
def test_a_measurement_without_error_is_refused(variance):
    days, values, variances, wander = series_of([0.0, 5.0], missing=0.0)
    variances[1, 3] = variance

    with pytest.raises(SceneError, match="variance of 0 or less; give one above 0, or infinity"):
        smooth_series(days, values, variances, wander)
