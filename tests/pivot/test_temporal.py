"""The scalar route of each pixel, against filterpy and in its limits."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from filterpy.kalman import KalmanFilter
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.errors import SceneError
from geoseg.pivot import temporal
from geoseg.pivot.temporal import fill_days, smooth
from geoseg.pivot.wander import Wander

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

    chain = smooth(*series)

    for n in range(3):
        own = (one[:, n].double().numpy() for one in (values, variances))
        mean, variance = by_filterpy(np.array(days), *own, float(wander.sd[n]))
        np.testing.assert_allclose(chain.mean[:, n], mean, rtol=1e-4, atol=1e-4 * SD)
        np.testing.assert_allclose(chain.variance[:, n], variance, rtol=1e-4)


def test_pixels_of_an_image_keep_their_places():
    days, values, variances, wander = series_of([0.0, 3.0, 8.0], pixels=6)
    flat = smooth(days, values, variances, wander).on([2.0, 5.0])

    image = smooth(
        days,
        values.view(3, 2, 3),
        variances.view(3, 2, 3),
        Wander(sd=wander.sd.view(2, 3), days=wander.days),
    ).on([2.0, 5.0])

    np.testing.assert_array_equal(image.mean.view(2, 6), flat.mean)
    np.testing.assert_array_equal(image.variance.view(2, 6), flat.variance)


@pytest.mark.parametrize("day", [-5000.0, 5000.0])
def test_far_from_any_measurement_there_is_the_stationary_process(day):
    *series, wander = series_of([0.0, 5.0, 20.0], missing=0.0)

    mean, variance = smooth(*series, wander).at(day)

    np.testing.assert_allclose(mean, 0.0, atol=1e-12)
    np.testing.assert_allclose(variance, wander.sd**2, rtol=1e-6)


def test_in_a_gap_of_months_the_sd_grows_to_nearly_stationary():
    *series, wander = series_of([0.0, 300.0], missing=0.0)

    sd = smooth(*series, wander).on([0.0, 30.0, 150.0, 270.0, 300.0]).variance.sqrt() / wander.sd

    assert (sd[0] < sd[1]).all()
    assert (sd[1] < sd[2]).all()
    assert ((sd[2] > 0.997) & (sd[2] < 1)).all()
    assert (sd[2] > sd[3]).all()
    assert (sd[3] > sd[4]).all()


@pytest.mark.parametrize(("value", "variance"), [(0.3, np.inf), (np.nan, np.inf), (np.nan, 1e-4)])
def test_where_nothing_was_measured_there_is_the_prior(value, variance):
    days, values, variances, wander = series_of([0.0, 5.0, 20.0])
    values.fill_(value)
    variances.fill_(variance)

    mean, deviation = smooth(days, values, variances, wander).on([-1.0, 0.0, 3.0, 20.0, 21.0])

    assert (mean == 0).all()
    np.testing.assert_allclose(deviation, (wander.sd**2).expand(5, -1), rtol=1e-6)


def test_what_is_given_stays_as_it_is():
    days, values, variances, wander = series_of([0.0, 5.0, 20.0])
    before = values.clone(), variances.clone()

    smooth(days, values, variances, wander)

    np.testing.assert_array_equal(values, before[0])
    np.testing.assert_array_equal(variances, before[1])


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("at_once", [4, 11, 8192])
def test_pieces_are_the_chain_on_those_days_whatever_the_threads(monkeypatch, count, at_once):
    series = series_of([0.0, 5.0, 20.0, 90.0])
    wanted = [-4.0, 0.0, 1.5, 20.0, 55.0, 120.0]
    mean, variance = smooth(*series).on(wanted)
    monkeypatch.setattr(temporal, "CELLS", at_once)
    torch.set_num_threads(count)

    pieces = [
        (piece.pixels, piece.mean.clone(), piece.sd.clone()) for piece in fill_days(*series, wanted)
    ]

    assert [part.start for part, _, _ in pieces] == list(range(0, 11, at_once))
    np.testing.assert_allclose(torch.cat([one for _, one, _ in pieces], 1), mean, rtol=1e-6)
    np.testing.assert_allclose(
        torch.cat([one for _, _, one in pieces], 1), variance.sqrt(), rtol=1e-6
    )


@pytest.mark.usefixtures("threads")
def test_a_piece_stays_until_the_next_is_asked_for(monkeypatch):
    series = series_of([0.0, 5.0])
    mean = smooth(*series).on([1.0, 2.0]).mean
    monkeypatch.setattr(temporal, "CELLS", 2)
    torch.set_num_threads(1)

    for piece in fill_days(*series, [1.0, 2.0]):
        time.sleep(0.02)  # in which another piece would be done

        np.testing.assert_allclose(piece.mean, mean[:, piece.pixels], rtol=1e-6)


def threads_of_a_new_thread():
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


@pytest.mark.usefixtures("threads")
def test_torch_has_its_threads_back_in_the_end():
    torch.set_num_threads(2)

    list(fill_days(*series_of([0.0, 5.0]), [1.0]))

    assert torch.get_num_threads() == 2
    assert threads_of_a_new_thread() == 2


@pytest.mark.usefixtures("threads")
def test_who_stops_early_gets_the_threads_back(monkeypatch):
    monkeypatch.setattr(temporal, "CELLS", 2)
    torch.set_num_threads(2)
    pieces = fill_days(*series_of([0.0, 5.0]), [1.0])

    assert next(pieces).pixels == slice(0, 2)
    pieces.close()

    assert torch.get_num_threads() == 2
    assert threads_of_a_new_thread() == 2


def test_pieces_lie_in_a_buffer_for_each_thread(monkeypatch):
    monkeypatch.setattr(temporal, "CELLS", 2)

    places = {piece.mean.data_ptr() for piece in fill_days(*series_of([0.0, 5.0]), [1.0])}

    assert len(places) == torch.get_num_threads()


def test_no_day_is_asked_for():
    assert [piece.sd.shape for piece in fill_days(*series_of([0.0, 5.0]), [])] == [(0, 11)]


def test_no_pixels_are_no_pieces():
    series = series_of([0.0, 5.0], pixels=0)

    assert list(fill_days(*series, [1.0])) == []
    assert smooth(*series).on([1.0]).mean.shape == (1, 0)


@pytest.mark.parametrize("solve", [smooth, lambda *series: fill_days(*series, [1.0])])
@pytest.mark.parametrize(
    ("days", "message"),
    [
        ([3.0, 2.0], "Day 2 of the series comes after day 3; give each day once, in their order"),
        ([3.0, 3.0], "Day 3 of the series comes after day 3; give each day once, in their order"),
        ([], "A series of no day has nothing to smooth; give one day or more"),
    ],
)
def test_days_that_are_no_series_are_refused(solve, days, message):
    with pytest.raises(SceneError, match=f"^{message}"):
        solve(*series_of(days))


def test_shapes_that_differ_are_shown():
    days, values, variances, wander = series_of([0.0, 5.0], pixels=4)

    with pytest.raises(SceneError, match=r"of \(2, 4\), and they are \(2, 4\) and \(2, 3\); bring"):
        smooth(days, values, variances[:, :3], wander)


@pytest.mark.parametrize("variance", [0.0, -1e-4])
def test_a_measurement_without_error_is_refused(variance):
    days, values, variances, wander = series_of([0.0, 5.0], missing=0.0)
    variances[1, 3] = variance

    with pytest.raises(SceneError, match="variance of 0 or less; give one above 0, or infinity"):
        smooth(days, values, variances, wander)


def test_days_asked_for_out_of_order_are_refused():
    with pytest.raises(SceneError, match="Day 1 comes after day 2; give days in order"):
        list(fill_days(*series_of([0.0, 5.0]), [2.0, 1.0]))
