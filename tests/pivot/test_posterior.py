"""The pivot of a ground whose truth is known, on days that were measured and that were not."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import torch
from affine import Affine
from odc.geo.geobox import GeoBox

from geoseg.data.seasons import simulated_year
from geoseg.errors import GridError, SceneError, SensorError
from geoseg.pivot.measurement.acquisition import Acquisition, Reading
from geoseg.pivot.measurement.footprint import Footprint
from geoseg.pivot.measurement.looks import looks_of
from geoseg.pivot.physical import PhysicalSettings, Usual, build_posterior, learn_usual
from geoseg.pivot.physical.spread import Spread

SHAPE = (24, 30)
SETTINGS = PhysicalSettings(variables=("nir",), classes=2)
NEW_YEAR = datetime(2023, 1, 1, tzinfo=UTC)
START = 19358.0
GAP = (150, 260)  # days without a look
DAYS = [day for day in range(40, 330, 10) if not GAP[0] < day < GAP[1]]
REMEMBERS_DAYS = 25.0
INNER = (slice(7, -7), slice(7, -7))


def grid(step_m, shape, *, beyond=0.0, crs="EPSG:32633"):
    return GeoBox(shape, Affine(step_m, 0, 5e5 - beyond, 0, -step_m, 7e6 + beyond), crs)


GRID = grid(10, SHAPE)
FINE = grid(10, (68, 74), beyond=220)  # what is there to be seen


def truth(day):
    """Bright in the west in summer; with a pattern of its own that comes and goes (H, W)."""
    season = np.cos(2 * np.pi * (day - 190) / 365.25)
    rows, columns = np.meshgrid(np.arange(68), np.arange(74), indexing="ij")
    usual = np.where(columns < 37, 0.25 + 0.12 * season, 0.15)
    drawn = np.sin(columns / 4.0 + 1) * np.cos(rows / 5.0)
    return usual + 0.04 * drawn * np.cos(2 * np.pi * day / 130)


def overpass(day, *, sensor_id="landsat-8", pixel_m=20, name=None, west=True, east=True, **extra):
    """Of the near infrared, with clouds over the west or the east of the pivot."""
    side = [int((step * 10 - 2 * 60) // pixel_m) for step in (68, 74)]
    pixels = grid(pixel_m, tuple(side), beyond=160)
    seen = Footprint(FINE, pixels, 0.25).forward(torch.from_numpy(truth(day)))
    noise = np.random.default_rng(day).normal(0, 0.007, tuple(side))
    values = (seen + torch.from_numpy(noise)).float()
    middle = int((160 + 150) // pixel_m)
    if not west:
        values[:, :middle] = torch.nan
    if not east:
        values[:, middle:] = torch.nan
    return acquired(day, values, pixels, sensor_id=sensor_id, name=name, **extra)


def acquired(day, values, pixels, *, sensor_id="landsat-8", name=None, bands=("nir08",)):
    return Acquisition(
        id=name or f"{sensor_id}-{day:03d}",
        sensor_id=sensor_id,
        time=NEW_YEAR + timedelta(days=day),
        readings=(Reading(pixels=pixels, bands=bands, values=values[None]),),
    )


def cloudy(day, name="cloud"):
    shown = overpass(day, name=name)
    reading = shown.readings[0]
    nothing = torch.full_like(reading.values, torch.nan)
    return replace(shown, readings=(replace(reading, values=nothing),))


@pytest.fixture(scope="module")
def acquisitions():
    return [overpass(day) for day in DAYS]


@pytest.fixture(scope="module")
def usual(acquisitions):
    """Learned once; it forgets within a month, so that a gap of three is seen."""
    found = learn_usual([(acquisitions, GRID)], SETTINGS)
    sd = np.full(len(found.climatology.centres), 0.05, dtype=np.float32)
    return Usual(climatology=found.climatology, spreads={"nir": Spread(sd, days=REMEMBERS_DAYS)})


@pytest.fixture(scope="module")
def pivot(acquisitions, usual):
    return build_posterior(acquisitions, GRID, SETTINGS, usual)


def on(pivot, *days):
    return pivot.at([START + day for day in days])


def apart(one, other, *, days):
    """Root mean square of what two pivots differ by in the middle, in standard deviations."""
    some, others = (on(each, *days) for each in (one, other))
    off = ((some.mean - others.mean) / others.sd)[..., INNER[0], INNER[1]]
    return float(off.square().mean().sqrt())


def test_measured_days_are_near_the_truth_and_know_how_near(pivot):
    days = DAYS[2::4]

    found = on(pivot, *days)

    expected = torch.from_numpy(np.stack([truth(day)[22:46, 22:52] for day in days])).float()
    errors = found.mean[:, 0] - expected
    assert found.mean.shape == (len(days), 1, *SHAPE)
    assert float(errors.square().mean().sqrt()) < 0.02
    assert 0.3 < float((errors / found.sd[:, 0]).square().mean().sqrt()) < 1.3
    assert (found.validity > 0.5).all()
    assert not found.climatology.any()


def test_validity_is_the_share_of_the_variance_that_was_taken_away(pivot):
    found = on(pivot, 135)

    _, doubt = pivot.climatology.at("nir", START + 135, pivot.classes)
    assert float(doubt.min()) > 1e-6
    left = found.sd[0, 0] ** 2 / (0.05**2 + doubt)
    torch.testing.assert_close(found.validity[0, 0], 1 - left, rtol=1e-4, atol=1e-6)


def test_between_two_days_it_is_nearer_than_either_or_what_is_usual(pivot):
    day = 85
    before, found, after = on(pivot, 80, day, 90).mean[:, 0]
    usual, _ = pivot.climatology.at("nir", START + day, pivot.classes)
    expected = torch.from_numpy(truth(day)[22:46, 22:52]).float()

    errors = [float((one - expected).square().mean()) for one in (found, before, after, usual)]

    assert errors[0] < min(errors[1:])


def test_in_a_gap_of_months_it_grows_unsure_and_says_that_it_is_the_climatology(pivot):
    days = [150, 165, 180, 205]  # to the middle of the gap

    found = on(pivot, *days)

    sd, validity = found.sd.mean((1, 2, 3)), found.validity.mean((1, 2, 3))
    assert (sd.diff() > 0).all()
    assert (validity.diff() < 0).all()
    assert float(validity[0]) > 0.5
    assert found.climatology[-1].float().mean() > 0.9
    assert torch.equal(found.climatology, found.validity < 0.1)


@pytest.mark.parametrize("day", [-4000, 5000])
def test_years_away_it_is_the_climatology_with_all_of_its_spread(pivot, day):
    found = on(pivot, day)

    mean, doubt = pivot.climatology.at("nir", START + day, pivot.classes)
    torch.testing.assert_close(found.mean[0, 0], mean)
    torch.testing.assert_close(found.sd[0, 0] ** 2, 0.05**2 + doubt, rtol=1e-4, atol=0)
    assert (found.validity < 1e-4).all()
    assert found.climatology.all()
    nearest = DAYS[0] if day < 0 else DAYS[-1]
    assert found.age_days.unique().tolist() == [abs(day - nearest)]


def test_days_may_be_asked_for_in_any_order(pivot):
    forth, back = on(pivot, 40, 95, 300), on(pivot, 300, 95, 40)

    assert torch.equal(forth.mean, back.mean.flip(0))
    assert torch.equal(forth.provenance, back.provenance.flip(0))
    assert forth.days == back.days[::-1]


def test_age_and_provenance_are_those_of_the_nearest_look_at_each_cell(usual):
    seen = [overpass(100), overpass(110, east=False), overpass(130, west=False)]
    pivot = build_posterior(seen, GRID, SETTINGS, usual)

    found = on(pivot, 112)

    names = [[pivot.acquisitions[int(k)] for k in found.provenance[0, 0, 12, :][[2, 27]]]]
    assert names == [["landsat-8-110", "landsat-8-100"]]
    assert found.age_days[0, 0, 12, [2, 27]].tolist() == [2.0, 12.0]
    assert on(pivot, 122).age_days[0, 0, 12, [2, 27]].tolist() == [12.0, 8.0]


def test_a_cell_that_was_never_seen_has_no_age_and_no_provenance(usual):
    pivot = build_posterior([overpass(100, east=False)], GRID, SETTINGS, usual)

    found = on(pivot, 100)

    assert torch.isinf(found.age_days[0, 0, :, 27]).all()
    assert (found.provenance[0, 0, :, 27] == -1).all()
    assert found.climatology[0, 0, :, 27].all()
    assert not found.climatology[0, 0, :, 2].any()


def test_the_order_in_which_acquisitions_are_given_does_not_matter(acquisitions, usual, pivot):
    turned = build_posterior(acquisitions[::-1], GRID, SETTINGS, usual)

    assert turned.acquisitions == pivot.acquisitions
    one, other = on(turned, 60, 200, 300), on(pivot, 60, 200, 300)
    assert torch.equal(one.mean, other.mean)
    assert torch.equal(one.sd, other.sd)
    assert torch.equal(one.provenance, other.provenance)


def test_it_can_be_learned_and_built_in_one(acquisitions):
    one = build_posterior(acquisitions[:7], GRID, SETTINGS)
    other = build_posterior(acquisitions[:7][::-1], GRID, SETTINGS)

    assert one.variables == ("nir",)
    assert torch.equal(on(one, 77).mean, on(other, 77).mean)


@pytest.mark.parametrize("late", [[20], [8], [3, 11, 20], [20, 3, 11], [0, 27 - 9]])
def test_an_acquisition_that_comes_later_is_as_good_as_a_new_run(acquisitions, usual, pivot, late):
    late = [k % len(acquisitions) for k in late]
    online = build_posterior(
        [one for k, one in enumerate(acquisitions) if k not in late], GRID, SETTINGS, usual
    )
    before = online
    for k in late:
        online = online.updated(acquisitions[k])

    days = [DAYS[k] for k in late] + [DAYS[k] + 3 for k in late]
    # What cells share is kept as variances alone, so that the order matters by a little.
    assert apart(online, pivot, days=days) < 0.25
    assert apart(online, pivot, days=days) < 0.6 * apart(before, pivot, days=days)
    assert apart(online, pivot, days=DAYS) < 0.2
    spread = on(online, *days).sd / on(pivot, *days).sd
    assert float(spread[..., INNER[0], INNER[1]].mean()) == pytest.approx(1, abs=0.1)


def test_those_that_come_later_may_come_in_any_order(acquisitions, usual):
    late = [acquisitions[k] for k in (5, 6, 15)]
    base = build_posterior([one for one in acquisitions if one not in late], GRID, SETTINGS, usual)

    forth, back = base, base
    for one, other in zip(late, late[::-1], strict=True):
        forth, back = forth.updated(one), back.updated(other)

    assert set(forth.acquisitions) == set(back.acquisitions)
    assert apart(forth, back, days=DAYS) < 0.1
    day = DAYS[5] + 1
    names = {
        pivot.acquisitions[int(on(pivot, day).provenance[0, 0, 12, 12])] for pivot in (forth, back)
    }
    assert names == {acquisitions[5].id}


def test_a_missed_cloud_that_comes_later_moves_the_pivot_by_little(pivot):
    clear = overpass(103)
    reading = clear.readings[0]
    bright = replace(clear, readings=(replace(reading, values=reading.values + 0.4),), id="bright")

    moved = (on(pivot.updated(bright), 103).mean - on(pivot, 103).mean)[..., INNER[0], INNER[1]]

    assert 0 < float(moved.mean()) < 0.06


def test_an_update_leaves_the_pivot_that_it_came_from_as_it_was(pivot):
    before = on(pivot, 200).mean

    updated = pivot.updated(overpass(200))

    assert torch.equal(on(pivot, 200).mean, before)
    one, other = on(updated, 200), on(pivot, 200)
    # Pixels that look beyond the rim are not on the grid that is kept.
    assert (one.sd < 0.75 * other.sd)[..., INNER[0], INNER[1]].all()
    assert (one.age_days == 0)[..., INNER[0], INNER[1]].all()
    assert (other.age_days == 50).all()


def test_an_acquisition_that_is_all_cloud_changes_nothing(acquisitions, usual, pivot):
    found = build_posterior([*acquisitions, cloudy(205)], GRID, SETTINGS, usual)

    days = (100, 205, 206)
    for name in ("mean", "sd", "validity", "age_days"):
        assert torch.equal(getattr(on(found, *days), name), getattr(on(pivot, *days), name))
    assert "cloud" in found.acquisitions


def test_where_all_are_cloud_there_is_no_pivot(pivot):
    with pytest.raises(SceneError, match="No acquisition shows nir on the pivot: all is cloud"):
        build_posterior([cloudy(3, "a"), cloudy(9, "b")], GRID, SETTINGS)
    with pytest.raises(GridError, match="shows nothing of the pivot: all is cloud"):
        pivot.updated(cloudy(205))


def test_without_an_acquisition_there_is_no_pivot():
    with pytest.raises(SceneError, match="needs an acquisition; give one or more"):
        build_posterior([], GRID, SETTINGS)


def test_what_lies_elsewhere_or_in_another_reference_system_is_refused(acquisitions, pivot):
    values = torch.full((30, 30), 0.2)
    far = GeoBox((30, 30), Affine(10, 0, 7e5, 0, -10, 7e6), "EPSG:32633")
    there = acquired(90, values, far, name="there")
    polar = acquired(90, values, grid(10, (30, 30), crs="EPSG:3413"), name="polar")

    with pytest.raises(GridError, match="'there' does not overlap the pivot"):
        build_posterior([*acquisitions, there], GRID, SETTINGS)
    with pytest.raises(GridError, match=r"'polar' is in .*; warp it to that, at its own pixel"):
        build_posterior([*acquisitions, polar], GRID, SETTINGS)
    with pytest.raises(GridError, match="shows nothing of the pivot"):
        pivot.updated(there)
    with pytest.raises(GridError, match="warp the acquisition to the reference system"):
        pivot.updated(polar)


@pytest.mark.parametrize("cell", [Affine.scale(2, -1), Affine.scale(1, 1)])
def test_cells_that_are_not_square_or_not_north_up_are_refused(acquisitions, pivot, cell):
    corner = Affine.translation(pivot.grid.affine.c, pivot.grid.affine.f) * Affine.scale(10)
    grid = GeoBox((6, 8), corner * cell, pivot.grid.crs)

    with pytest.raises(GridError, match=r"m east and -?\d+ m south; give a grid of square cells"):
        build_posterior(acquisitions, grid)


def test_two_of_one_name_are_refused(acquisitions, pivot):
    with pytest.raises(SceneError, match="Two acquisitions are called 'landsat-8-040'"):
        build_posterior([*acquisitions, acquisitions[0]], GRID, SETTINGS)
    with pytest.raises(SceneError, match="'landsat-8-040' is in the pivot already"):
        pivot.updated(acquisitions[0])


@pytest.mark.parametrize("online", [False, True])
def test_two_sensors_on_one_date_are_both_taken(acquisitions, usual, pivot, online):
    second = overpass(DAYS[5], pixel_m=10, name="second")

    if online:
        found = pivot.updated(second)
    else:
        found = build_posterior([*acquisitions, second], GRID, SETTINGS, usual)

    both, one = on(found, DAYS[5]), on(pivot, DAYS[5])
    assert len(found.known["nir"].detail.days) == len(DAYS)
    assert (both.sd[..., INNER[0], INNER[1]] < one.sd[..., INNER[0], INNER[1]]).all()
    expected = torch.from_numpy(truth(DAYS[5])[22:46, 22:52]).float()[INNER]
    errors = [(each.mean[0, 0][INNER] - expected).square().mean() for each in (both, one)]
    assert errors[0] < errors[1]


def test_dark_water_may_be_slightly_negative_and_stays_so():
    shown = overpass(100)
    water = replace(shown.readings[0], values=torch.full_like(shown.readings[0].values, -0.02))
    days = [
        replace(shown, id=str(k), time=shown.time + timedelta(days=k), readings=(water,))
        for k in range(3)
    ]

    pivot = build_posterior(days, GRID, SETTINGS)

    found = on(pivot, 101)
    assert found.mean.numpy() == pytest.approx(-0.02, abs=0.002)
    assert torch.isfinite(found.sd).all()
    assert (found.sd > 0).all()


def test_a_block_that_shows_nothing_of_a_variable_is_solved_without_it(acquisitions):
    def radar(day):
        values = torch.full((33, 36), -12.0)
        return acquired(
            day, values, grid(20, (33, 36), beyond=160), sensor_id="sentinel-1", bands=("vv",)
        )

    both = PhysicalSettings(variables=("nir", "vv"), classes=2)
    usual = learn_usual([([*acquisitions[:5], radar(48), radar(60)], GRID)], both)

    pivot = build_posterior(acquisitions[:5], GRID, both, usual)

    assert pivot.variables == ("nir",)
    assert (on(pivot, 50).validity > 0.5).all()


def test_a_ground_of_which_only_a_corner_was_seen_is_solved():
    """The spread is learned in its middle, which shows nothing."""
    wide = grid(10, (80, 80))
    corner = grid(10, (30, 30), beyond=160)
    rng = np.random.default_rng(0)
    days = [
        acquired(day, torch.from_numpy(rng.normal(0.2, 0.005, (30, 30))).float(), corner)
        for day in (10, 20, 30)
    ]

    pivot = build_posterior(days, wide, SETTINGS)

    found = on(pivot, 20)
    assert float(found.mean[0, 0, :6, :6].mean()) == pytest.approx(0.2, abs=0.01)
    assert found.validity[0, 0, 3, 3] > 0.5
    assert found.climatology[0, 0, 60:, 60:].all()


def test_a_variable_that_the_middle_of_the_ground_does_not_show_is_solved():
    """Light is measured everywhere and radar in a corner alone."""
    wide, corner = grid(10, (80, 80)), grid(10, (30, 30), beyond=160)
    everywhere = grid(10, (112, 112), beyond=160)
    days = [acquired(day, torch.full((112, 112), 0.2), everywhere) for day in (10, 20, 30)]
    radar = acquired(15, torch.full((30, 30), -12.0), corner, sensor_id="sentinel-1", bands=("vv",))

    pivot = build_posterior([*days, radar], wide, PhysicalSettings(classes=2))

    assert {"nir", "vv"} <= set(pivot.variables)
    found = on(pivot, 15)
    vv = found.variables.index("vv")
    assert found.validity[0, vv, 3, 3] > 0.1
    assert found.climatology[0, vv, 60:, 60:].all()


@pytest.mark.parametrize("given", [{"classes": 0}, {"halo_m": -1.0}])
def test_settings_that_make_no_pivot_are_refused(given):
    with pytest.raises(SceneError, match="make no pivot; give 1 or more, and 0 m or more"):
        PhysicalSettings(**given)
    with pytest.raises(SensorError, match="no pivot variable named 'nit'"):
        PhysicalSettings(variables=("nit",))


def test_what_a_look_would_measure_is_the_pivot_through_its_footprint(pivot):
    look = looks_of(overpass(85, pixel_m=30), "nir", GRID)

    mean, variance = pivot.predicted(look, "nir")

    there = look.valid
    seen = look.footprint.forward(on(pivot, 85).mean[0, 0])
    torch.testing.assert_close(mean[there], seen[there])
    errors = (look.measured - mean)[there] / (variance + look.variance)[there].sqrt()
    assert float(errors.square().mean().sqrt()) < 2
    # Pixels average what cells do not share.
    assert (variance[there] < on(pivot, 85).sd.square().mean()).all()


def nearest_copy(look, others):
    """Of each pixel (h, w), what the day nearest to a look showed of it."""
    copy = torch.full_like(look.measured, torch.nan)
    for other in sorted(others, key=lambda one: abs(one.day - look.day)):
        copy = torch.where(torch.isnan(copy) & other.valid, other.measured, copy)
    return copy


def errors_of_hidden(seed, variable):
    """Of the pivot, of a copy of the nearest day, and of the pivot in its own sd, by pixels."""
    year = simulated_year(seed, side=24)
    light = [one for one in year.acquisitions if one.sensor_id != "sentinel-1"]
    hidden = [one for one in light[3:-3:6] if one.sensor_id == "sentinel-2"]
    shown = [one for one in light if one not in hidden]
    pivot = build_posterior(shown, year.grid, PhysicalSettings(variables=(variable,), classes=6))
    looks = [looks_of(one, variable, year.grid) for one in shown if one.sensor_id == "sentinel-2"]
    found = []
    for one in hidden:
        clear = replace(one, readings=year.clear[one.id], registration_m=0.0)
        look = looks_of(clear, variable, year.grid)
        mean, variance = pivot.predicted(look, variable)
        copy = nearest_copy(look, [each for each in looks if each is not None])
        there = look.valid & torch.isfinite(copy)
        off = mean - look.measured
        found.append(torch.stack([off, copy - look.measured, off / variance.sqrt()])[:, there])
    return torch.cat(found, 1)


@pytest.mark.slow
@pytest.mark.parametrize("variable", ["nir", "red"])
def test_hidden_overpasses_are_told_better_than_by_the_nearest_ones(variable):
    """On simulated years of Sentinel-2 and Landsat, against what a clear sky would have shown."""
    told, copied, scaled = torch.cat([errors_of_hidden(seed, variable) for seed in (2, 3)], 1)

    assert float(told.square().mean().sqrt()) < 0.85 * float(copied.square().mean().sqrt())
    within = float((scaled.abs() < 1.645).float().mean())
    assert 0.8 < within < 0.99  # of nine in ten
