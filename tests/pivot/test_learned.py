"""The learned back-end of the pivot, on ground whose season is known."""

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import torch
from affine import Affine
from odc.geo.geobox import GeoBox
from safetensors.torch import save_file

from geoseg.errors import ModelError, SceneError
from geoseg.pivot.learned import Episode, LearnedPivot, LearnedSettings, train_learned
from geoseg.pivot.learned import posterior as posterior_module
from geoseg.pivot.learned.prior import smooth_about
from geoseg.pivot.measurement.acquisition import Acquisition, Reading
from geoseg.pivot.measurement.looks import looks_of
from geoseg.pivot.physical import PhysicalSettings, build_posterior

pytestmark = pytest.mark.slow  # what they share takes seconds to make

HEIGHT, WIDTH = 10, 14  # not square: a swapped axis is seen
GRID = GeoBox((HEIGHT, WIDTH), Affine(10, 0, 500_000, 0, -10, 7_200_000), "EPSG:32633")
TINY = LearnedSettings(near=3, width=16, layers=1, hidings=1, steps=40)
NOISE = 0.01


def season(ground, day):
    """Green reflectance of cells through the year, each with its own height and time of peak."""
    return 0.1 + ground[0] * (1 + np.sin(2 * np.pi * (day - ground[1]) / 365))


def year(seed, *, sensor="sentinel-2", bands=("green",), gsd=10.0, every=10, clouds=0.0, tag=""):
    """Acquisitions with noise, 8 pixels of them beyond the grid."""
    rng = np.random.default_rng(seed)
    count = (round(HEIGHT * 10 / gsd) + 16, round(WIDTH * 10 / gsd) + 16)
    affine = Affine(gsd, 0, 500_000 - 8 * gsd, 0, -gsd, 7_200_000 + 8 * gsd)
    pixels = GeoBox(count, affine, "EPSG:32633")
    # Smooth in space, so that the point spread of a sensor takes nothing away.
    rows, columns = np.meshgrid(*(np.arange(side) * gsd / 100 for side in count), indexing="ij")
    ground = (0.1 + 0.05 * np.sin(rows + columns / 2 + seed), 110 + 50 * np.cos(columns - rows))
    found = []
    for day in range(0, 365, every):
        shown = season(ground, day) + rng.normal(0, NOISE, count)
        if sensor == "sentinel-1":
            shown = 30 * shown - 18  # dB
        values = torch.from_numpy(np.stack([shown] * len(bands)).astype(np.float32))
        values[:, rng.random(count) < clouds] = torch.nan
        reading = Reading(pixels=pixels, bands=bands, values=values)
        time = datetime(2023, 1, 1, tzinfo=UTC) + timedelta(days=day)
        found.append(
            Acquisition(
                id=f"{sensor}{tag}-{day:03d}", sensor_id=sensor, time=time, readings=(reading,)
            )
        )
    return found, ground


@pytest.fixture(scope="module")
def trained():
    losses = []
    episodes = [Episode(year(seed, clouds=0.1)[0], GRID) for seed in (1, 2)]
    found = train_learned(episodes, TINY, seed=0, progress=lambda _, loss: losses.append(loss))
    return found, losses


@pytest.fixture(scope="module")
def pivot(trained):
    return trained[0]


def test_training_lowers_the_loss(trained):
    _, losses = trained

    assert len(losses) == TINY.steps // 10
    assert losses[-1] < losses[0] - 0.1


def test_the_same_seed_gives_the_same_network_and_leaves_the_generator_of_torch_alone():
    episodes = [Episode(year(1)[0], GRID)]
    short = LearnedSettings(near=2, width=8, layers=1, hidings=1, steps=2)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()

    one, again, other = (train_learned(episodes, short, seed=seed) for seed in (0, 0, 1))

    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(one.network.token.weight, again.network.token.weight)
    assert not torch.equal(one.network.token.weight, other.network.token.weight)


def test_a_hidden_acquisition_is_predicted_better_than_by_the_nearest_date(pivot):
    acquisitions, ground = year(7)
    hidden = acquisitions.pop(16)
    look = looks_of(hidden, "green", GRID)
    nearest = looks_of(acquisitions[16], "green", GRID)

    mean, variance = pivot.reading(acquisitions, GRID).predicted(look, "green")

    truth = torch.from_numpy(season(ground, 160.0)).float()
    truth = 1.0053 * truth - 0.0009  # Sentinel-2 to OLI, of HLS
    inside = look.footprint.covered
    error = (mean - truth)[inside]
    copied = (nearest.measured - truth)[inside]
    assert error.square().mean().sqrt() < 0.8 * copied.square().mean().sqrt()
    covered = (error.abs() < 1.645 * variance[inside].sqrt()).float().mean()
    assert covered > 0.7


def test_a_network_comes_back_from_disk_as_it_was(pivot, tmp_path):
    acquisitions, _ = year(7)
    path = tmp_path / "pivot.safetensors"

    pivot.save(path)
    again = LearnedPivot.load(path)

    days = [acquisitions[3].day + 2, acquisitions[25].day]
    before, after = (one.at(acquisitions, GRID, days) for one in (pivot, again))
    assert torch.equal(before.mean, after.mean)
    assert torch.equal(before.sd, after.sd)
    assert again.settings == pivot.settings


def test_the_order_of_acquisitions_changes_nothing(pivot):
    acquisitions, _ = year(7, clouds=0.3)
    shuffled = [acquisitions[k] for k in np.random.default_rng(0).permutation(len(acquisitions))]
    days = [acquisitions[10].day + 3.5]

    one, other = (pivot.at(some, GRID, days) for some in (acquisitions, shuffled))

    assert torch.equal(one.mean, other.mean)
    assert torch.equal(one.provenance, other.provenance)


def test_cells_are_asked_for_some_at_a_time_with_the_same_result(pivot, monkeypatch):
    acquisitions, _ = year(7)
    days = [acquisitions[10].day + 3.5]
    whole = pivot.at(acquisitions, GRID, days)

    monkeypatch.setattr(posterior_module, "_CELLS_AT_ONCE", 50)

    torch.testing.assert_close(pivot.at(acquisitions, GRID, days).mean, whole.mean)


def test_an_estimate_says_what_was_measured_where_and_when(pivot):
    acquisitions, _ = year(7, every=30)
    blind = acquisitions[4].readings[0].values
    blind[:, 8 + 4 : 8 + 7, 8 + 11 : 8 + 14] = torch.nan  # around row 5, column 12 of the grid
    days = [acquisitions[4].day, acquisitions[0].day - 3]
    radar = year(8, sensor="sentinel-1", bands=("vv",), every=30)[0]

    found = pivot.at([*acquisitions, *radar], GRID, days)

    assert found.mean.shape == (2, 2, HEIGHT, WIDTH)
    assert found.variables == ("green", "vv")
    # Radar of the same day comes before Sentinel-2 by its name.
    assert found.provenance[0, :, 5, 8].tolist() == [9, 8]
    assert found.age_days[0, 0, 5, 8] == 0
    assert found.age_days[1, 0, 5, 8] == 3
    assert found.age_days[0, 0, 5, 12] == 30
    assert (found.sd > 0).all()
    assert ((found.validity >= 0) & (found.validity <= 1)).all()


@pytest.mark.parametrize(
    ("sensor", "bands", "gsd"),
    [
        ("planetscope", ("blue", "green", "red", "nir"), 10.0),
        ("landsat-7", ("green", "red", "nir08"), 30.0),
        ("sentinel-1", ("vv", "vh"), 10.0),
    ],
)
def test_a_sensor_that_no_episode_had_is_accepted(pivot, sensor, bands, gsd):
    known, _ = year(7, every=24)
    others, _ = year(8, sensor=sensor, bands=bands, gsd=gsd, every=24)
    day = known[5].day + 4

    alone = pivot.at(known, GRID, [day])
    joined = pivot.at([*known, *others], GRID, [day])

    assert torch.isfinite(joined.mean).all()
    assert torch.isfinite(joined.sd).all()
    if sensor == "sentinel-1":
        assert {"vv", "vh"} <= set(joined.variables)
    else:
        green = joined.variables.index("green")
        before = alone.mean[0, alone.variables.index("green")]
        assert not torch.allclose(joined.mean[0, green], before, atol=1e-4)


def test_nothing_to_learn_from_is_refused():
    with pytest.raises(SceneError, match="learns from episodes; give one or more"):
        train_learned([], TINY, seed=0)
    with pytest.raises(SceneError, match="has 1 acquisitions, of which none can be hidden"):
        train_learned([Episode(year(1)[0][:1], GRID)], TINY, seed=0)
    with pytest.raises(SceneError, match="give numbers above 0, and a width that 4 divides"):
        LearnedSettings(width=10)


def test_nothing_to_predict_from_is_refused(pivot):
    acquisitions, _ = year(7, clouds=1.0)

    with pytest.raises(SceneError, match="needs an acquisition; give one or more"):
        pivot.at([], GRID, [19_500.0])
    with pytest.raises(SceneError, match="No acquisition shows anything of the pivot"):
        pivot.at(acquisitions, GRID, [19_500.0])
    with pytest.raises(SceneError, match="An estimate needs a day; name one or more"):
        pivot.at(year(7)[0], GRID, [])


def test_where_only_cells_beside_the_grid_were_seen_nothing_is_valid(pivot):
    acquisitions, _ = year(7, every=120)
    beside = []
    for one in acquisitions:
        values = one.readings[0].values.clone()
        values[:, 7:] = torch.nan  # rows of 10 m, of which the grid begins at the eighth
        beside.append(replace(one, readings=(replace(one.readings[0], values=values),)))

    found = pivot.at(beside, GRID, [19_500.0])

    assert float(found.validity.max()) == 0
    assert bool(torch.isinf(found.age_days).all())


def test_a_posterior_of_some_variables_teaches_those_alone():
    radar = year(1, sensor="sentinel-1", bands=("vh",), every=180)[0]
    optical = year(2, every=12)[0]
    how = PhysicalSettings(variables=("vh",), classes=1, halo_m=0.0)
    tiny = LearnedSettings(near=2, width=8, layers=1, hidings=1, steps=2)

    for seed in range(3):  # of which some hide nothing but optical acquisitions at first
        train_learned([Episode(radar + optical, GRID)], tiny, seed=seed, physical=how)


def test_a_loss_that_is_not_finite_ends_the_training():
    absurd = LearnedSettings(near=2, width=8, layers=1, hidings=1, steps=5, rate=1e38)

    with pytest.raises(ModelError, match=r"The loss of step \d is .*; give a lower rate"):
        train_learned([Episode(year(1)[0], GRID)], absurd, seed=0)


def test_what_is_no_network_is_refused(tmp_path):
    (tmp_path / "noise.safetensors").write_bytes(b"noise")

    with pytest.raises(ModelError, match="does not exist; train a network"):
        LearnedPivot.load(tmp_path / "none.safetensors")
    with pytest.raises(ModelError, match="is no network of the pivot or is damaged"):
        LearnedPivot.load(tmp_path / "noise.safetensors")


def test_a_header_that_lacks_something_is_refused(pivot, tmp_path):
    path = tmp_path / "odd.safetensors"
    header = {"settings": asdict(pivot.settings)}  # and not whether it corrects posteriors
    save_file(pivot.network.state_dict(), path, metadata={"geoseg_pivot": json.dumps(header)})

    with pytest.raises(ModelError, match="is no network of the pivot or is damaged"):
        LearnedPivot.load(path)


def test_a_network_corrects_a_physical_posterior_and_does_without_one(pivot):
    how = PhysicalSettings(variables=("green",), classes=2, halo_m=0.0)
    acquisitions, ground = year(7, every=20)
    hidden = acquisitions.pop(9)
    look, nearest = (looks_of(one, "green", GRID) for one in (hidden, acquisitions[9]))
    physical = build_posterior(acquisitions, GRID, how)

    hybrid = train_learned([Episode(year(1)[0], GRID)] * 2, TINY, seed=0, physical=how)

    mean, _ = hybrid.reading(acquisitions, GRID, physical).predicted(look, "green")
    inside = look.footprint.covered
    truth = torch.from_numpy(1.0053 * season(ground, 180.0) - 0.0009).float()
    copied = (nearest.measured - truth)[inside].square().mean()
    assert (mean - truth)[inside].square().mean() < 0.5 * copied
    without = hybrid.at(acquisitions, GRID, [hidden.day]).mean
    assert not torch.allclose(hybrid.at(acquisitions, GRID, [hidden.day], physical).mean, without)
    with pytest.raises(SceneError, match="trained without physical posteriors; leave it out"):
        pivot.at(acquisitions, GRID, [hidden.day], physical)
    with pytest.raises(SceneError, match="has 10 x 14 cells and the grid 10 x 12; make it on"):
        hybrid.at(acquisitions, GRID[:, :12], [hidden.day], physical)


def test_what_a_network_says_is_a_prior_that_measurements_move(pivot):
    acquisitions, ground = year(7, clouds=0.1)
    hidden = acquisitions[12]
    seen = [one for one in acquisitions if one is not hidden]
    settings = PhysicalSettings(variables=("green",), halo_m=40)
    posterior = smooth_about(pivot, seen, GRID, settings)
    look = looks_of(hidden, "green", GRID)
    mean, variance = posterior.predicted(look, "green")
    truth = torch.from_numpy(season(ground, hidden.day - 19358)).float()
    covered = look.footprint.covered

    told, sd = posterior.moment("green", seen[5].day)
    alone, _ = pivot.reading(seen, GRID).moment("green", seen[5].day)

    assert posterior.variables == ("green",)
    assert told.shape == sd.shape == (HEIGHT, WIDTH)
    assert float((mean - truth)[covered].square().mean().sqrt()) < 0.02
    inside = (mean - truth)[covered].abs() < 2 * variance[covered].sqrt()
    assert float(inside.float().mean()) > 0.7
    assert not torch.allclose(told, alone, atol=1e-4)


def test_a_prior_of_nothing_is_refused(pivot):
    with pytest.raises(SceneError, match="needs an acquisition"):
        smooth_about(pivot, [], GRID)
