"""What is usual through the year, of cells that are alike."""

from datetime import UTC, datetime

import numpy as np
import pytest
import torch
from affine import Affine
from odc.geo.geobox import GeoBox

from geoseg.errors import SceneError
from geoseg.pivot.measurement.acquisition import Acquisition, Reading
from geoseg.pivot.measurement.looks import looks_of
from geoseg.pivot.physical.climatology import (
    YEAR_DAYS,
    Climatology,
    Series,
    series_of,
    side_by_side,
)

SHAPE = (10, 14)
START = 19358.0  # 1 January 2023
SUMMER, WINTER = START + 190, START + 10


def course(days, *, level=0.2, swing=0.15):
    """Highest on 9 July."""
    return level + swing * np.cos(2 * np.pi * (np.asarray(days) - SUMMER) / YEAR_DAYS)


def series_with(days, *, noise=0.005, swing=0.15, hidden=0.0, seed=0):
    """The west of it has a year, the east hardly; NaN in a share of the cells."""
    rng = np.random.default_rng(seed)
    days = np.asarray(days, dtype=np.float64)
    values = np.empty((len(days), *SHAPE))
    values[:, :, :7] = course(days, swing=swing)[:, None, None]
    values[:, :, 7:] = course(days, level=0.1, swing=0.01)[:, None, None]
    values += rng.normal(0, noise, values.shape) + rng.normal(0, noise, (len(days), 1, 1))
    values[rng.uniform(size=values.shape) < hidden] = np.nan
    return Series(days, values.astype(np.float32))


def learned(series, *, classes=2, name="nir"):
    return Climatology.learn({name: series}, classes=classes, seed=0)


EVERY_8_DAYS = START + np.arange(3, 365, 8)


def test_cells_with_another_year_are_another_class():
    series = {"nir": series_with(EVERY_8_DAYS, hidden=0.4)}
    climatology = Climatology.learn(series, classes=2, seed=0)

    classes = climatology.classes_of(series)

    west, east = classes[:, :7].unique(), classes[:, 7:].unique()
    assert len(west) == len(east) == 1
    assert int(west) != int(east)


def test_classes_are_told_of_cells_that_were_not_learned_from():
    climatology = learned(series_with(EVERY_8_DAYS))
    other = series_with(EVERY_8_DAYS + 2 * YEAR_DAYS + 3, seed=9)
    turned = Series(other.days, other.values[:, :, ::-1].copy())

    classes = [climatology.classes_of({"nir": one}) for one in (other, turned)]

    assert torch.equal(classes[0], classes[1].flip(1))
    assert len(classes[0].unique()) == 2


def test_a_look_in_december_tells_classes_that_were_learned_in_january():
    january = series_with(START + np.arange(15, 20, 2), swing=-0.15)
    climatology = learned(january)
    december = series_with([START - 9, START - 7], swing=-0.15)

    classes = climatology.classes_of({"nir": december})

    assert torch.equal(classes, climatology.classes_of({"nir": january}))
    assert len(classes.unique()) == 2


def test_where_nothing_is_seen_a_cell_has_the_usual_class():
    series = series_with(EVERY_8_DAYS)
    climatology = learned(series, classes=3)
    nothing = Series(series.days, np.full_like(series.values, np.nan))

    classes = climatology.classes_of({"nir": nothing})

    assert classes.shape == SHAPE
    assert len(classes.unique()) == 1


@pytest.mark.parametrize("years", [1, 3])
def test_curves_pass_near_the_truth_where_days_were_seen(years):
    days = np.concatenate([EVERY_8_DAYS + year * 365 for year in range(years)])
    series = series_with(days, noise=0.01, hidden=0.3)
    climatology = learned(series)
    classes = climatology.classes_of({"nir": series})

    for day in START + np.arange(5, 365, 30):
        mean, variance = climatology.at("nir", day, classes)
        assert float(mean[:, :7].mean()) == pytest.approx(float(course(day)), abs=0.02)
        assert float(mean[:, 7:].mean()) == pytest.approx(
            float(course(day, level=0.1, swing=0.01)), abs=0.02
        )
        assert (variance >= 0).all()


def test_a_curve_knows_how_far_it_is_off():
    """Its errors, in standard deviations, of years that differ by weather."""
    errors = []
    for seed in range(12):
        series = series_with(EVERY_8_DAYS, noise=0.02, seed=seed)
        climatology = learned(series, classes=1)
        truth = np.mean([course(EVERY_8_DAYS), course(EVERY_8_DAYS, level=0.1, swing=0.01)], 0)
        for day, expected in zip(EVERY_8_DAYS[::5], truth[::5], strict=True):
            mean, variance = climatology.curves["nir"].at(day)
            errors.append((mean[0] - expected) / np.sqrt(variance[0]))

    assert 0.4 < np.sqrt(np.mean(np.square(errors))) < 1.5


def test_far_from_all_days_of_the_year_a_curve_knows_its_level_and_how_far_seasons_go():
    summer = START + np.arange(120, 250, 6)
    series = series_with(summer, noise=0.002)
    curves = learned(series, classes=1).curves["nir"]
    measured = series.values.mean((1, 2))

    mean, variance = curves.at(WINTER)

    assert mean == pytest.approx(measured.mean(), abs=0.01)
    # Summer alone does not tell how far winter lies from it.
    assert variance > 4 * measured.var()
    assert 0.03 < np.sqrt(variance) < 0.05
    assert curves.at(SUMMER)[1] < 0.2 * variance


def test_one_day_does_not_tell_of_the_rest_of_the_year():
    one = learned(series_with([START + 190.0]), classes=1).curves["nir"]

    assert np.sqrt(one.at(WINTER)[1]) > 0.04


def test_the_doubt_grows_into_a_gap_of_the_year():
    seen = [day for day in EVERY_8_DAYS if not 130 < day - START < 230]
    curves = learned(series_with(seen), classes=1).curves["nir"]

    doubt = [float(curves.at(START + day)[1][0]) for day in (100, 140, 160, 180)]

    assert doubt == sorted(doubt)
    assert doubt[-1] > 5 * doubt[0]


def test_the_year_comes_again():
    series = series_with(EVERY_8_DAYS)
    climatology = learned(series)
    classes = climatology.classes_of({"nir": series})

    now, later = (climatology.at("nir", SUMMER + YEAR_DAYS * years, classes) for years in (0, 20))
    before, after = (climatology.at("nir", START + days, classes)[0] for days in (0, YEAR_DAYS - 1))

    torch.testing.assert_close(now, later)
    assert float((before - after).abs().max()) < 0.01


def test_days_of_december_tell_of_january():
    """The curve does not break at the turn of the year."""
    december = START + np.arange(330, 365, 3)
    rest = START + np.arange(60, 330, 10)
    rng = np.random.default_rng(1)
    days = np.concatenate([rest, december])
    shown = np.where(days >= december[0], 0.8, 0.2)[:, None, None]
    values = (shown + rng.normal(0, 0.004, (len(days), *SHAPE))).astype(np.float32)
    curves = learned(Series(days, values), classes=1).curves["nir"]

    fourth_of_january, march = (float(curves.at(START + day)[0][0]) for day in (3, 75))

    assert fourth_of_january > 0.6
    assert march < 0.35


def test_a_class_that_no_day_shows_takes_what_all_show():
    """Backscatter of cells that the radar did not reach."""
    days = EVERY_8_DAYS
    optical = series_with(days)
    radar = np.full((5, *SHAPE), np.nan, dtype=np.float32)
    radar[:, :, :7] = -12.0
    series = {"nir": optical, "vv": Series(days[:5], radar)}
    climatology = Climatology.learn(series, classes=2, seed=0)
    classes = climatology.classes_of(series)

    mean, _ = climatology.at("vv", float(days[2]), classes)

    assert mean.numpy() == pytest.approx(-12.0, abs=0.01)


def test_more_classes_than_kinds_of_cells_are_as_many_as_there_are():
    even = Series(EVERY_8_DAYS, np.full((len(EVERY_8_DAYS), *SHAPE), 0.3, dtype=np.float32))

    climatology = learned(even, classes=8)

    assert len(climatology.centres) == 1
    assert climatology.curves["nir"].at(WINTER)[0] == pytest.approx([0.3])


def test_the_same_seed_gives_the_same_classes():
    series = {"nir": series_with(EVERY_8_DAYS, noise=0.05, hidden=0.3)}

    one, other = (Climatology.learn(series, classes=5, seed=4) for _ in range(2))

    np.testing.assert_array_equal(one.centres, other.centres)


@pytest.mark.parametrize(
    "series",
    [
        {},
        {"nir": Series(np.empty(0), np.empty((0, *SHAPE), np.float32))},
        {"nir": Series(EVERY_8_DAYS[:3], np.full((3, *SHAPE), np.nan, np.float32))},
    ],
)
def test_where_nothing_was_measured_nothing_is_learned(series):
    with pytest.raises(SceneError, match="No acquisition shows anything of the pivot"):
        Climatology.learn(series, classes=4, seed=0)


def test_a_series_is_what_looks_show_on_the_ground():
    ground = GeoBox((12, 15), Affine(10, 0, 5e5, 0, -10, 7e6), "EPSG:32633")
    pixels = ground.pad(6, 6)
    values = torch.full((1, 24, 27), 0.3)
    values[0, :, :12] = torch.nan
    one = Acquisition(
        id="one",
        sensor_id="landsat-8",
        time=datetime(2023, 1, 11, tzinfo=UTC),
        readings=(Reading(pixels=pixels, bands=("nir08",), values=values),),
    )

    days, shown = series_of([looks_of(one, "nir", ground)], (12, 15))

    assert days.tolist() == [START + 10]
    assert shown.shape == (1, 12, 15)
    assert shown[0, 5, 9:12] == pytest.approx(0.3, abs=1e-5)
    assert np.isnan(shown[0, :, :4]).all()
    assert series_of([], (12, 15)).values.shape == (0, 12, 15)


def test_pieces_side_by_side_keep_their_days_and_variables():
    west = {"nir": Series(np.array([1.0, 5.0]), np.full((2, 2, 3), 0.1, np.float32))}
    east = {
        "nir": Series(np.array([5.0, 9.0]), np.full((2, 4, 1), 0.2, np.float32)),
        "red": Series(np.array([9.0]), np.full((1, 4, 1), 0.3, np.float32)),
    }

    joined = side_by_side([west, east])

    days, values = joined["nir"]
    assert days.tolist() == [1.0, 5.0, 9.0]
    nothing = np.nan
    for row, (left, right) in zip(
        values, [(0.1, nothing), (0.1, 0.2), (nothing, 0.2)], strict=True
    ):
        np.testing.assert_allclose(row[0], [left] * 6 + [right] * 4, rtol=1e-6)
    np.testing.assert_allclose(joined["red"].values[0, 0], [nothing] * 6 + [0.3] * 4, rtol=1e-6)
