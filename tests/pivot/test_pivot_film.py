"""Film is read as reflectance by a curve that is fitted to the ground, and says when it is not."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import torch
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from scipy.special import expit

from geoseg.data.seasons import simulated_year
from geoseg.data.seasons.film import Emulsion, simulated_film
from geoseg.errors import SceneError
from geoseg.pivot.measurement.acquisition import Acquisition, Reading
from geoseg.pivot.measurement.footprint import Footprint
from geoseg.pivot.physical import PhysicalSettings, build_posterior, learn_usual
from geoseg.pivot.physical.film import ToneCurve, film_look, tone_of

VISIBLE = PhysicalSettings(variables=("visible",), classes=4)
SHAPE = (30, 34)
CHANGED = (slice(11, 19), slice(7, 14))  # on ground of 0.14
KNOWS_SD = 0.02  # by which ground differs from what is expected of it


def emulsion(reflectance, *, negative):
    tone = expit(5.2 * (np.log10(np.maximum(reflectance, 1e-3)) + 0.9))
    return 10 + 235 * (1 - tone if negative else tone)


def pixels(rng, *, negative=False, grain=4.0, count=6000, burnt_above=np.inf):
    """Grey values, what is expected of them, and how far that may be off."""
    expected = rng.uniform(0.05, 0.35, count)
    sure = rng.uniform(0.2, 1.8, count) * KNOWS_SD
    ground = np.minimum(expected + sure * rng.standard_normal(count), burnt_above)
    grey = emulsion(ground, negative=negative) + grain * rng.standard_normal(count)
    return grey, expected, sure**2


@settings(max_examples=10)
@given(negative=st.booleans(), seed=st.integers(0, 99))
def test_the_tone_of_a_frame_is_found(negative, seed):
    grey, expected, variance = pixels(np.random.default_rng(seed), negative=negative)
    fine = np.linspace(0.07, 0.33, 50)

    curve = ToneCurve.estimated(grey, expected, variance)

    true = emulsion(fine, negative=negative)
    assert curve.tied
    assert curve.negative is negative
    assert np.abs(curve.grey_of(fine) - true).max() < 0.06 * np.ptp(true)
    assert curve.grey_sd == pytest.approx(4.0, rel=0.6)


@settings(max_examples=10)
@given(negative=st.booleans(), seed=st.integers(0, 99))
def test_it_is_monotone_and_has_an_inverse(negative, seed):
    curve = ToneCurve.estimated(*pixels(np.random.default_rng(seed), negative=negative))
    fine = np.linspace(0.06, 0.34, 200)

    tones = curve.grey_of(fine)
    back, _ = curve.reflectance_of(tones)

    assert (np.diff(tones if not negative else -tones) > 0).all()
    assert back == pytest.approx(fine, abs=1e-3)


def test_contrast_is_not_shrunk_by_what_the_expectation_lacks():
    rng = np.random.default_rng(3)
    expected = rng.uniform(0.10, 0.20, 20_000)
    ground = expected + 0.03 * rng.standard_normal(20_000)
    grey = 600 * ground + 3 * rng.standard_normal(20_000)

    curve = ToneCurve.estimated(grey, expected, np.full(20_000, 0.03**2))

    slope = np.ptp(curve.grey_of(np.array([0.11, 0.19]))) / 0.08
    assert slope == pytest.approx(600, rel=0.05)


def test_pixels_that_hardly_vary_weigh_most():
    rng = np.random.default_rng(4)
    expected = rng.uniform(0.1, 0.3, 4000)
    steady = np.arange(4000) < 1600
    # All other ground was brighter on that day.
    grey = 500 * (expected + np.where(steady, 0, 0.05)) + rng.standard_normal(4000)

    curve = ToneCurve.estimated(grey, expected, np.where(steady, 0.005, 0.08) ** 2)

    assert curve.grey_of(np.array([0.2]))[0] == pytest.approx(100, abs=4)


@pytest.mark.parametrize("negative", [False, True])
def test_where_film_is_burnt_out_it_says_little_or_nothing(negative):
    rng = np.random.default_rng(1)
    grey, expected, variance = pixels(rng, negative=negative, burnt_above=0.2)
    curve = ToneCurve.estimated(grey, expected, variance)
    burnt = emulsion(np.array([0.2]), negative=negative)
    sharp = emulsion(np.array([0.12]), negative=negative)

    _, flat = curve.reflectance_of(burnt)
    _, steep = curve.reflectance_of(sharp)

    assert np.isnan(flat[0]) or flat[0] > 9 * steep[0]


def test_grey_values_that_no_ground_had_are_not_valid():
    curve = ToneCurve.estimated(*pixels(np.random.default_rng(1)))

    values, variance = curve.reflectance_of(np.array([-200.0, 500.0, np.nan]))

    assert np.isnan(values).all()
    assert np.isnan(variance).all()


@pytest.mark.parametrize("case", ["another ground", "few pixels", "all alike"])
def test_a_frame_that_hardly_fits_is_read_by_its_ranks_and_says_so(case):
    rng = np.random.default_rng(2)
    grey, expected, variance = pixels(rng)
    if case == "another ground":
        grey = rng.permutation(grey)
    elif case == "few pixels":
        grey, expected, variance = grey[:60], expected[:60], variance[:60]
    else:
        expected = np.full_like(expected, 0.2)

    curve = ToneCurve.estimated(grey, expected, variance)
    values, doubt = curve.reflectance_of(np.quantile(grey, [0.1, 0.5, 0.9]))

    assert not curve.tied
    assert (np.diff(values) * (1 if curve.correlation >= 0 else -1) > 0).all()
    assert values[1] == pytest.approx(expected.mean(), abs=0.03)
    if case != "few pixels":
        assert (np.sqrt(doubt) > 2 * expected.std()).all()


def test_a_frame_of_one_grey_value_is_refused():
    with pytest.raises(SceneError, match="one grey value, or no pixel of the pivot; leave it out"):
        ToneCurve.estimated(np.full(200, 8.0), np.linspace(0, 1, 200), np.ones(200))


def grid(step_m, shape, *, beyond=0.0):
    return GeoBox(shape, Affine(step_m, 0, 5e5 - beyond, 0, -step_m, 7e6 + beyond), "EPSG:32633")


GRID = grid(10, SHAPE)
WIDE = grid(10, (SHAPE[0] + 24, SHAPE[1] + 24), beyond=120)
FRAME = grid(8, (57, 62), beyond=80)


def fields(day):
    """Fields of three kinds of ground through the year, on the wide grid (H, W)."""
    rows, columns = np.meshgrid(*(np.arange(n) for n in WIDE.shape), indexing="ij")
    season = 1 + 0.3 * np.cos(2 * np.pi * (day - 200) / 365.25)
    return np.choose((rows // 11 + columns // 9) % 3, [0.06, 0.14, 0.24 * season])


def sentinel(day):
    shown = grid(10, (45, 48), beyond=70)
    seen = Footprint(WIDE, shown, 0.25).forward(torch.from_numpy(fields(day)))
    noise = np.random.default_rng(day).normal(0, 0.004, (3, 45, 48))
    reading = Reading(
        pixels=shown,
        bands=("blue", "green", "red"),
        values=(seen + torch.from_numpy(noise)).float(),
    )
    time = datetime(2023, 1, 1, tzinfo=UTC) + timedelta(days=day)
    return Acquisition(id=f"s2-{day}", sensor_id="sentinel-2", time=time, readings=(reading,))


def frame(*, year=1980, day=200, changed=0.0, negative=False, grey=None):
    ground = fields(day)
    rows, columns = (slice(one.start + 12, one.stop + 12) for one in CHANGED)
    ground[rows, columns] += changed
    seen = Footprint(WIDE, FRAME, 0.25).forward(torch.from_numpy(ground)).numpy()
    tones = emulsion(seen, negative=negative)
    tones += 3 * np.random.default_rng(day).standard_normal(tones.shape)
    values = torch.from_numpy(tones if grey is None else grey)[None].float()
    return Acquisition(
        id="kh9",
        sensor_id="hexagon-kh9-mapping",
        time=datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=day),
        readings=(Reading(pixels=FRAME, bands=("pan",), values=values),),
    )


MODERN = [sentinel(day) for day in range(10, 360, 30)]


FILM = frame(changed=0.08, negative=True)


@pytest.fixture(scope="module")
def without():
    return build_posterior(MODERN, GRID, VISIBLE)


@pytest.fixture(scope="module")
def known():
    return build_posterior([*MODERN, FILM], GRID, VISIBLE)


def error_where_changed(estimate):
    truth = fields(200)[12:-12, 12:-12]
    truth[CHANGED] += 0.08
    return float((estimate.mean[0, 0] - torch.from_numpy(truth)).abs()[CHANGED].mean())


def test_film_alone_moves_what_is_usual_to_what_was_there_on_its_day(without, known):
    before, after = without.at([FILM.day]), known.at([FILM.day])

    assert before.climatology.all()
    assert not after.climatology[0, 0, 4:-4, 4:-4].any()
    assert error_where_changed(after) < 0.6 * error_where_changed(before)
    assert float((after.sd / before.sd)[0, 0, 4:-4, 4:-4].max()) < 0.95


def test_film_joins_what_others_measured_about_its_day(without):
    film = frame(year=2023, changed=0.08)

    before, after = (
        one.at([film.day]) for one in (without, build_posterior([*MODERN, film], GRID, VISIBLE))
    )

    assert error_where_changed(after) < 0.8 * error_where_changed(before)
    assert float((after.sd / before.sd)[0, 0, 4:-4, 4:-4].max()) < 1


def test_film_that_arrives_later_is_taken_in_without_a_new_run(without, known):
    updated = without.updated(FILM)
    before, after, rerun = (one.at([FILM.day]) for one in (without, updated, known))
    inner = (0, 0, slice(8, -8), slice(8, -8))

    assert FILM.id in updated.acquisitions
    assert error_where_changed(after) < 0.7 * error_where_changed(before)
    left, before_it = (
        float((one.mean - rerun.mean)[inner].square().mean()) for one in (after, before)
    )
    # The curve is fitted anew without the rim, so that the two differ by a little.
    assert left < 0.35 * before_it


def test_decades_later_nothing_is_left_of_what_film_saw(without, known):
    day = MODERN[6].day

    torch.testing.assert_close(known.at([day]).mean, without.at([day]).mean, rtol=0, atol=1e-4)
    assert known.acquisitions[0] == "kh9"


def test_a_block_that_film_alone_shows_takes_what_is_usual_elsewhere():
    usual = learn_usual([(MODERN, GRID)], VISIBLE)

    known = build_posterior([FILM], GRID, VISIBLE, usual).at([FILM.day])

    # Of cells that nothing else has shown the kind is not known: the curve has nothing to hold on.
    assert torch.isfinite(known.mean).all()
    assert float(known.validity.max()) < 0.5


def test_film_alone_is_refused():
    with pytest.raises(SceneError, match="give acquisitions of the same ground in blue, green"):
        build_posterior([frame()], GRID, VISIBLE)


def test_what_is_no_film_is_refused():
    even = torch.full(SHAPE, 0.1)

    with pytest.raises(SceneError, match="'s2-10' is of sentinel-2, which is no film"):
        film_look(MODERN[0], even, even, GRID)


@pytest.mark.parametrize("grey", [np.nan, 255.0])
def test_a_frame_that_shows_nothing_or_is_all_fog_says_nothing(grey):
    nothing = frame(grey=np.full(tuple(FRAME.shape), grey))
    even = torch.full(SHAPE, 0.1)

    assert film_look(nothing, even, even, GRID) is None
    assert tone_of(nothing, even, even, GRID) is None


@pytest.mark.parametrize("white", [0.0, 255.0])
def test_scratches_are_no_ground(white):
    film = frame()
    values = film.readings[0].values[0].numpy().copy()
    values[20, 10:40] = white
    expected = torch.from_numpy(fields(200)[12:-12, 12:-12]).float()
    scratched = frame(grey=values)

    look = film_look(scratched, expected, torch.full(SHAPE, 1e-4), GRID)

    assert not look.valid[20, 12:38].any()
    assert look.valid[[14, 16, 24, 26], 12:38].float().mean() > 0.9


def test_pixels_beside_the_pivot_do_not_count():
    film = frame()
    expected = torch.from_numpy(fields(200)[12:-12, 12:-12]).float()

    look = film_look(film, expected, torch.full(SHAPE, 1e-4), GRID)

    assert not look.valid[:10].any()
    assert look.valid[15:-15, 15:-15].float().mean() > 0.9
    assert 0.005 <= look.shared_sd < 0.02


def test_a_simulated_frame_is_that_of_its_seed_and_its_day():
    given_tone = Emulsion(negative=True)
    one, again = (simulated_film(1, day=200, side=16, emulsion=given_tone) for _ in range(2))
    other = simulated_film(1, day=201, side=16)

    values = one.acquisition.readings[0].values
    assert torch.equal(values, again.acquisition.readings[0].values)
    assert not torch.equal(values, other.acquisition.readings[0].values)
    assert 0 < one.scratched.float().mean() < 0.2
    dark_where_bright = np.corrcoef(values[0][~one.scratched], one.clear.values[0][~one.scratched])
    assert dark_where_bright[0, 1] < -0.8


@pytest.mark.slow
def test_on_a_simulated_year_film_looks_like_the_pivot_that_has_not_seen_it():
    year = simulated_year(3)
    posterior = build_posterior(
        year.acquisitions, year.grid, PhysicalSettings(variables=("visible",))
    )
    film = simulated_film(3, day=203)
    moment = posterior.moment("visible", film.acquisition.day)
    doubt = moment.detail_variance + moment.region_variance

    look = film_look(film.acquisition, moment.mean, doubt, year.grid)
    seen, _ = posterior.predicted(look, "visible")

    assert np.corrcoef(look.measured[look.valid], seen[look.valid])[0, 1] > 0.93
    truth = film.clear.values[0]
    assert np.corrcoef(look.measured[look.valid], truth[look.valid])[0, 1] > 0.93
