"""What an acquisition shows of the pivot, and the adjoint of that."""

import numpy as np
import pytest
import torch
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from geoseg.errors import GridError, SensorError
from geoseg.pivot.measurement.operator import Channel, MeasurementOperator
from geoseg.pivot.measurement.spectral import Mixture

UTM = "EPSG:32643"


def grid(step_m, shape, *, corner=(500_000.0, 4_000_000.0), crs=UTM):
    x, y = corner
    return GeoBox(shape, Affine(step_m, 0, x, 0, -step_m, y), crs)


def channel(*weights, mtf=0.25, gain=1.0, offset=0.0, constant=0.0):
    mixture = Mixture(np.array(weights, dtype=float), constant, 0.0)
    return Channel(mixture=mixture, mtf=mtf, gain=gain, offset=offset)


@settings(max_examples=30)
@given(
    pixel_m=st.floats(10, 60),
    across=st.floats(-50, 200),
    down=st.floats(-50, 200),
    mtfs=st.lists(st.sampled_from([0.15, 0.25, 0.35]), min_size=1, max_size=4),
    seed=st.integers(0, 99),
)
def test_the_adjoint_is_the_transpose(pixel_m, across, down, mtfs, seed):
    rng = np.random.default_rng(seed)
    channels = [channel(*rng.normal(size=3), mtf=mtf, gain=rng.uniform(0.5, 3)) for mtf in mtfs]
    pixels = grid(pixel_m, (12, 17), corner=(500_100 + across, 3_999_900 - down))
    operator = MeasurementOperator(grid(10, (60, 80)), pixels, channels)
    x = torch.from_numpy(rng.normal(size=(3, 60, 80)))
    y = torch.from_numpy(rng.normal(size=operator.shape))

    one, other = (operator.linear(x) * y).sum(), (x * operator.adjoint(y)).sum()

    assert float(one) == pytest.approx(float(other), rel=1e-10, abs=1e-10)


def test_in_float32_it_is_so_within_1e_5():
    rng = np.random.default_rng(0)
    operator = MeasurementOperator(
        grid(10, (90, 90)), grid(30, (30, 30)), [channel(0.3, 0.7), channel(1, 0, mtf=0.1)]
    )
    x = torch.from_numpy(rng.normal(size=(2, 90, 90)).astype(np.float32))
    y = torch.from_numpy(rng.normal(size=(2, 30, 30)).astype(np.float32))

    one, other = (operator.linear(x) * y).sum(), (x * operator.adjoint(y)).sum()

    assert operator.linear(x).dtype == operator.adjoint(y).dtype == torch.float32
    assert abs(float(one - other)) / float(y.norm() * operator.linear(x).norm()) < 1e-5


def test_even_ground_is_seen_as_the_mixture_with_gain_and_offsets():
    operator = MeasurementOperator(
        grid(10, (60, 60)),
        grid(30, (20, 20)),
        [channel(0.25, 0.5, gain=2.0, offset=0.1, constant=0.05), channel(1, 0)],
    )
    ground = torch.tensor([0.4, 0.2], dtype=torch.float64)[:, None, None].expand(2, 60, 60)

    seen = operator(ground)

    first, second = operator.covered
    assert seen[0][first].numpy() == pytest.approx(2 * (0.1 + 0.1 + 0.05) + 0.1)
    assert seen[1][second].numpy() == pytest.approx(0.4)
    assert (seen[0][~first] == 0).all()


def test_a_sharper_band_covers_more_and_shows_more():
    blurred, sharp = channel(1.0, mtf=0.1), channel(1.0, mtf=0.4)
    operator = MeasurementOperator(grid(10, (120, 120)), grid(30, (40, 40)), [blurred, sharp])
    checks = torch.from_numpy(np.indices((120, 120)).sum(0) // 3 % 2).double()[None]

    low, high = operator(checks)

    assert operator.covered[1].sum() > operator.covered[0].sum()
    inside = operator.covered[0]
    assert high[inside].std() > 2 * low[inside].std()


def test_a_point_is_seen_where_it_lies():
    pixels = grid(30, (20, 20), corner=(500_040.0, 4_000_000.0 - 70))
    operator = MeasurementOperator(grid(10, (90, 90)), pixels, [channel(1.0)])
    ground = torch.zeros(1, 90, 90, dtype=torch.float64)
    ground[0, 40, 50] = 1.0  # its middle 505 m east, 405 m south of the corner

    seen = operator(ground)[0]

    rows, columns = torch.meshgrid(torch.arange(20), torch.arange(20), indexing="ij")
    assert float((seen * columns).sum() / seen.sum()) * 30 + 15 + 40 == pytest.approx(505, abs=1)
    assert float((seen * rows).sum() / seen.sum()) * 30 + 15 + 70 == pytest.approx(405, abs=1)


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (grid(30, (9, 9), crs="EPSG:32644"), "warp the acquisition to the reference system"),
        (grid(0.001, (9, 9), crs="EPSG:4326"), "need a scene in metres"),
        (grid(30, (9, 9), corner=(0.0, 0.0)), "give grids that overlap"),
        (GeoBox((9, 9), Affine.rotation(5) * Affine.scale(30, -30), UTM), "is rotated"),
    ],
)
def test_grids_that_do_not_fit_are_refused(pixels, words):
    with pytest.raises(GridError, match=words):
        MeasurementOperator(grid(10, (60, 60)), pixels, [channel(1.0)])


@pytest.mark.parametrize("given", [{"gain": 0.0}, {"gain": 1e9}, {"offset": float("nan")}])
def test_absurd_gains_are_refused(given):
    with pytest.raises(SensorError, match="are absurd; check the units"):
        channel(1.0, **given)
