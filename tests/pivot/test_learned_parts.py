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
from geoseg.pivot.learned.describe import FIGURES, figures_of
from geoseg.pivot.learned.evidence import evidence_of
from geoseg.pivot.learned.hiding import hide
from geoseg.pivot.learned.network import PivotNetwork, Question
from geoseg.pivot.learned.question import asked
from geoseg.pivot.learned.regression import regression
from geoseg.pivot.learned.stack import Stack, stacks_of
from geoseg.pivot.measurement.acquisition import Acquisition, Reading
from geoseg.pivot.measurement.footprint import Footprint
from geoseg.pivot.measurement.looks import Look, looks_of

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
    some = [bare(sensors[day % 2], day) for day in range(365)]

    drawn = [hide(some, np.random.default_rng(seed)) for seed in range(60)]

    def longest(seen):
        return np.diff(sorted(one.day for one in seen)).max()

    one_sensor = [len({one.sensor_id for one in seen}) == 1 for seen, _ in drawn]
    gap = [longest(seen) >= 20 for seen, _ in drawn]
    assert 2 <= sum(one_sensor) <= 25
    assert 5 <= sum(gap) <= 30


def test_of_one_acquisition_nothing_can_be_hidden():
    with pytest.raises(SceneError, match="has 1 acquisitions, of which none can be hidden"):
        hide([bare("sentinel-2", 3)], np.random.default_rng(0))


def test_a_line_in_time_is_read_between_its_days_and_a_level_anywhere():
    days = torch.arange(0, 100, 10, dtype=torch.float64)
    values = torch.stack([torch.tensor([[2.0 + float(day) / 10, 5.0]]) for day in days])
    weight = torch.ones_like(values)

    asked_for = torch.tensor([45.0, 86.0, 300.0], dtype=torch.float64)
    found = regression(days, values, weight, asked_for)

    assert found[0, 0, 0] == pytest.approx(6.5, abs=1e-3)
    assert found[1, 0, 0] == pytest.approx(10.6, abs=0.2)  # most of the days are before it
    torch.testing.assert_close(found[:, 0, 1], torch.full((3,), 5.0), rtol=1e-4, atol=0)


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
    beyond = found.innovation[4, 10:12, 14:16] * found.scale
    assert float(beyond.mean()) == pytest.approx(0.3, abs=0.03)
    assert found.weight[4, 10:12, 12:18].max() < 0.15
    assert found.weight[4, 20:26, 5:30].mean() > 0.6


def test_innovations_are_against_the_others_and_not_against_themselves():
    looks = [look(8 * k, torch.full((HEIGHT, WIDTH), 0.3 + 0.02 * (-1) ** k)) for k in range(10)]

    found = evidence_of(looks)

    # Days alternate about a mean that the others of a day lie beyond.
    usual = found.innovation[found.seen].abs().median() * found.scale
    assert 0.02 < float(usual) < 0.04


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


def test_a_stack_says_what_is_beyond_the_usual_in_the_shortest_wavelength():
    rng = np.random.default_rng(0)
    pixels = GeoBox((50, 56), Affine(10, 0, 499_900, 0, -10, 7_200_100), "EPSG:32633")
    some = []
    for day in range(0, 60, 6):
        values = 0.2 + rng.normal(0, 0.01, (3, 50, 56))
        if day == 30:
            values[1, 20:30, 20:30] += 0.2  # haze, in blue alone
        values = torch.from_numpy(values.astype(np.float32))
        reading = Reading(pixels=pixels, bands=("red", "blue", "green"), values=values)
        time = datetime(2023, 1, 1, tzinfo=UTC) + timedelta(days=day)
        some.append(
            Acquisition(id=f"{day}", sensor_id="sentinel-2", time=time, readings=(reading,))
        )

    sky = stacks_of(some, GROUND)["red"].sky

    mean, blue = sky[5, :, 13:17, 13:17].mean((1, 2))
    assert blue > 5
    assert 0.2 * blue < mean < 0.6 * blue
    assert sky[4].abs().max() < 3


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


def test_a_look_at_bands_of_two_readings_has_figures_too():
    readings = []
    for bands, level in ((("green",), 0.1), (("red",), 0.2)):
        pixels = GeoBox((40, 44), Affine(10, 0, 499_960, 0, -10, 7_200_040), "EPSG:32633")
        values = torch.full((1, 40, 44), level)
        readings.append(Reading(pixels=pixels, bands=bands, values=values))
    time = datetime(2023, 1, 1, tzinfo=UTC)
    some = Acquisition(id="s2", sensor_id="sentinel-2", time=time, readings=tuple(readings))

    found = figures_of(some, looks_of(some, "visible", GROUND), "visible")

    assert len(found) == FIGURES
    assert found[5] == pytest.approx(0.0147 / 0.05, rel=0.01)  # left open by both together


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
    some = question(modelled=modelled)
    network = PivotNetwork((6, 4, 2, 1), width=8, layers=1).eval()
    torch.nn.init.normal_(network.weigh.weight)
    torch.nn.init.normal_(network.move.weight)
    offered = some._replace(offers=torch.ones(5, 3, 2) * ~some.absent[..., None])
    changed = offered.tokens.clone()
    changed[:, 2] = 99.0

    without = network(offered._replace(tokens=changed))

    torch.testing.assert_close(network(offered).mean, without.mean)
    assert (network(offered).mean - network(some).mean).abs().max() > 0.1


def test_a_question_holds_the_nearest_acquisitions_before_and_after_that_show_a_cell():
    days = (0, 4, 9, 15, 22, 30)
    hole = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    hole[10:20, 5:15] = False
    looks = [
        look(day, torch.full((HEIGHT, WIDTH), 0.01 * k), valid=hole if day == 9 else None)
        for k, day in enumerate(days)
    ]
    stack = Stack(
        variable="green",
        evidence=evidence_of(looks),
        sources=torch.arange(6, dtype=torch.int32),
        figures=torch.zeros(6, FIGURES),
        sky=torch.zeros(6, 2, HEIGHT, WIDTH),
        track=None,
    )

    found = asked(stack, 10.0, 2)

    cells = torch.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
    clear, covered = cells[24, 25], cells[15, 8]
    assert not found.absent[clear].any()
    # Features of a token begin with its days from the query, in months; an offer with the level.
    assert (30 * found.tokens[clear, :, 0]).tolist() == pytest.approx([-1, -6, 5, 12])
    assert (30 * found.tokens[covered, :, 0]).tolist() == pytest.approx([-6, -10, 5, 12])
    level = 0.05 * (found.offers[..., :2].sum(-1) + found.regression[:, None]) + 0.2
    shown = {clear: [0.02, 0.01, 0.03, 0.04], covered: [0.01, 0.0, 0.03, 0.04]}
    for cell, values in shown.items():
        torch.testing.assert_close(level[cell], torch.tensor(values), atol=2e-3, rtol=0)
    assert found.absent[cells[0, 0]].all()  # at the rim, where no pixel is wholly on the ground
