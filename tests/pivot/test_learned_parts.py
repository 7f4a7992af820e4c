"""What the learned back-end is made of: what is hidden, regression in time, and evidence."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import torch
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from geoseg.errors import SceneError
from geoseg.pivot.acquisition import Acquisition, Reading
from geoseg.pivot.footprint import Footprint
from geoseg.pivot.learned.describe import figures_of
from geoseg.pivot.learned.evidence import evidence_of
from geoseg.pivot.learned.hiding import hide
from geoseg.pivot.learned.network import PivotNetwork, Question
from geoseg.pivot.learned.regression import regression
from geoseg.pivot.looks import Look, looks_of

HEIGHT, WIDTH = 30, 36
GROUND = GeoBox((HEIGHT, WIDTH), Affine(10, 0, 500_000, 0, -10, 7_200_000), "EPSG:32633")


def bare(sensor, day):
    """An acquisition of which nothing but sensor and day matters."""
    pixels = GeoBox((1, 2), Affine(10, 0, 500_000, 0, -10, 7_200_000), "EPSG:32633")
    reading = Reading(pixels=pixels, bands=("green",), values=torch.full((1, 1, 2), 0.1))
    time = datetime(2023, 1, 1, tzinfo=UTC) + timedelta(days=day)
    return Acquisition(id=f"{sensor}-{day}", sensor_id=sensor, time=time, readings=(reading,))


@settings(max_examples=40)
@given(
    days=st.lists(st.integers(0, 364), min_size=2, max_size=40, unique=True),
    coarse=st.integers(0, 40),
    seed=st.integers(0, 10**6),
)
def test_hiding_parts_acquisitions_in_two_and_leaves_some_of_both(days, coarse, seed):
    some = [bare("landsat-8" if k < coarse else "sentinel-2", day) for k, day in enumerate(days)]

    seen, hidden = hide(some, np.random.default_rng(seed))

    assert seen
    assert hidden
    assert sorted(one.id for one in (*seen, *hidden)) == sorted(one.id for one in some)


def test_gaps_and_whole_sensors_are_hidden_at_times():
    sensors = ("landsat-8", "sentinel-2")
    some = [bare(sensors[day % 2], day) for day in range(0, 365, 3)]

    drawn = [hide(some, np.random.default_rng(seed)) for seed in range(60)]

    def longest(seen):
        return np.diff(sorted(one.day for one in seen)).max()

    one_sensor = [len({one.sensor_id for one in seen}) == 1 for seen, _ in drawn]
    gap = [longest(seen) >= 20 for seen, _ in drawn]
    assert 2 <= sum(one_sensor) <= 25
    assert 5 <= sum(gap) <= 40


def test_of_one_acquisition_nothing_can_be_hidden():
    with pytest.raises(SceneError, match="has 1 acquisitions, of which none can be hidden"):
        hide([bare("sentinel-2", 3)], np.random.default_rng(0))


def test_a_line_in_time_is_read_between_its_days_and_a_level_anywhere():
    days = torch.arange(0, 100, 10, dtype=torch.float64)
    values = torch.stack([torch.tensor([[2.0 + float(day) / 10, 5.0]]) for day in days])
    weight = torch.ones_like(values)

    found = regression(days, values, weight, torch.tensor([45.0, 300.0], dtype=torch.float64))

    assert found[0, 0, 0] == pytest.approx(6.5, abs=1e-3)
    torch.testing.assert_close(found[:, 0, 1], torch.tensor([5.0, 5.0]), rtol=1e-4, atol=0)


def test_a_day_apart_from_the_others_does_not_see_itself():
    days = torch.arange(0, 50, 10, dtype=torch.float64)
    values = torch.zeros(5, 1, 1)
    values[2] = 1.0

    found = regression(days, values, torch.ones_like(values), days, apart=True)

    assert found[2].abs().max() < 1e-6
    assert found[1].min() > 0.05


def look(day, cells, *, gsd=10.0, noise=0.0, valid=None):
    """Of cells (H, W) of the ground, on pixels that lie within it."""
    count = (int(HEIGHT * 10 // gsd), int(WIDTH * 10 // gsd))
    pixels = GeoBox(count, Affine(gsd, 0, 500_000, 0, -gsd, 7_200_000), "EPSG:32633")
    footprint = Footprint(GROUND, pixels, 0.25)
    seen = footprint.covered if valid is None else footprint.covered & valid
    measured = torch.where(seen, footprint.forward(cells) + noise, 0.0)
    variance = torch.where(seen, 1e-4, torch.inf)
    return Look(
        acquisition=f"{day}",
        day=float(day),
        footprint=footprint,
        measured=measured,
        variance=variance,
        shared_sd=0.01,
    )


def fields():
    """Ground of sharp fields."""
    rows, columns = np.indices((HEIGHT, WIDTH))
    return torch.from_numpy(0.1 + 0.2 * ((rows // 5 + columns // 4) % 2)).float()


def test_a_coarse_acquisition_takes_what_is_within_its_pixels_from_fine_ones():
    ground = fields()
    # All ground has grown by 0.1 on the day that only the coarse sensor saw.
    fine = [look(day, ground) for day in (0, 6, 12, 24, 30, 36)]
    coarse = look(18, ground + 0.1, gsd=30.0)

    found = evidence_of([*fine[:3], coarse, *fine[3:]])

    inside = (slice(10, 20), slice(12, 24))
    truth = (ground + 0.1)[inside]
    blurred = (coarse.on_ground()[inside] - truth).square().mean().sqrt()
    sharpened = (found.values[3][inside] - truth).square().mean().sqrt()
    assert sharpened < 0.4 * blurred
    assert float((found.values[3][inside] - truth).mean()) == pytest.approx(0, abs=0.02)


def test_a_cloud_that_a_mask_has_missed_differs_from_all_others_and_weighs_little():
    rng = np.random.default_rng(0)
    ground = fields()
    days = range(0, 80, 8)
    looks = [
        look(day, ground + torch.from_numpy(rng.normal(0, 0.01, ground.shape)).float())
        for day in days
    ]
    cloudy = ground.clone()
    cloudy[8:14, 10:20] += 0.3
    looks[4] = look(32, cloudy)

    found = evidence_of(looks)

    assert found.innovation[4, 10:12, 12:18].min() > 8
    assert found.weight[4, 10:12, 12:18].max() < 0.15
    assert found.weight[4, 20:26, 5:30].mean() > 0.6


def test_cells_that_an_acquisition_does_not_show_are_not_seen():
    ground = fields()
    hole = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    hole[10:20, 5:15] = False
    looks = [look(day, ground) for day in (0, 8, 16)]
    looks[1] = look(8, ground, valid=hole)

    found = evidence_of(looks)

    assert not found.seen[1, 12:18, 7:13].any()
    assert found.seen[1, 22:26, 20:30].all()
    assert found.innovation[1, 12:18, 7:13].abs().max() == 0
    assert found.weight[1, 12:18, 7:13].max() == 0


def test_figures_of_a_look_are_physical_and_name_no_sensor():
    pixels = GeoBox((40, 44), Affine(10, 0, 499_960, 0, -10, 7_200_040), "EPSG:32633")
    values = torch.full((1, 40, 44), 0.1)
    reading = Reading(pixels=pixels, bands=("green",), values=values)
    time = datetime(2023, 1, 1, tzinfo=UTC)
    some = Acquisition(id="s2", sensor_id="sentinel-2", time=time, readings=(reading,))

    size, noise, shared, centre, width, left, incidence = figures_of(
        some, looks_of(some, "green", GROUND), "green"
    )

    assert size == 0  # pixels as large as cells
    assert noise == pytest.approx(np.log(np.hypot(0.005, 0.0015) * 1.0053 / 0.05), abs=0.01)
    assert shared > 0
    assert abs(centre) < 0.1
    assert abs(width) < 0.5
    assert (left, incidence) == (0, 0)


def question(*, modelled):
    torch.manual_seed(0)
    return Question(
        tokens=torch.randn(5, 3, 6),
        absent=torch.tensor([[False, False, True]] * 5),
        offers=torch.zeros(5, 3, 2),
        innovations=torch.zeros(5, 3, 1),
        context=torch.randn(5, 4),
        regression=torch.linspace(-1, 1, 5),
        physical=torch.stack([torch.linspace(0, 4, 5), torch.zeros(5)], -1),
        modelled=torch.full((5,), modelled),
    )


def test_an_untrained_network_answers_with_regression_and_posterior_half_and_half():
    network = PivotNetwork((6, 4, 2, 1), width=8, layers=1).eval()
    pure, both = question(modelled=False), question(modelled=True)

    torch.testing.assert_close(network(pure).mean, pure.regression)
    torch.testing.assert_close(network(both).mean, (both.regression + both.physical[:, 0]) / 2)


@pytest.mark.parametrize("modelled", [False, True])
def test_a_network_takes_no_token_that_is_absent(modelled):
    asked = question(modelled=modelled)
    network = PivotNetwork((6, 4, 2, 1), width=8, layers=1).eval()
    torch.nn.init.normal_(network.weigh.weight)
    torch.nn.init.normal_(network.move.weight)
    offered = asked._replace(offers=torch.ones(5, 3, 2) * ~asked.absent[..., None])
    changed = offered.tokens.clone()
    changed[:, 2] = 99.0

    without = network(offered._replace(tokens=changed))

    torch.testing.assert_close(network(offered).mean, without.mean)
    assert (network(offered).mean - network(asked).mean).abs().max() > 0.1
