"""What one look tells, against the exact update by dense matrices."""

import numpy as np
import pytest
import torch
from affine import Affine
from odc.geo.geobox import GeoBox

from geoseg.pivot.measurement.footprint import Footprint
from geoseg.pivot.measurement.looks import Look
from geoseg.pivot.physical.assimilate import Belief, Correlation, State, assimilate

SHAPE = (24, 27)
REGION_M = 20.0
FOUND = ("detail", "region")
SENSORS = {10: 0.30, 20: 0.25, 30: 0.25}  # modulation transfer by pixel size in metres


def grid(step_m, shape, *, beyond=0.0):
    return GeoBox(shape, Affine(step_m, 0, 5e5 - beyond, 0, -step_m, 7e6 + beyond), "EPSG:32633")


def look_at(pixel_m, *, sd=0.02, shared=0.01, values=None, shape=SHAPE, beyond=None):
    beyond = 2 * pixel_m if beyond is None else beyond
    pixels = tuple(int((side * 10 + 2 * beyond) // pixel_m) for side in shape)
    footprint = Footprint(grid(10, shape), grid(pixel_m, pixels, beyond=beyond), SENSORS[pixel_m])
    rng = np.random.default_rng(5)
    if values is None:
        values = torch.from_numpy(rng.normal(0.3, 0.06, pixels)).float()
    covered = footprint.covered
    return Look(
        acquisition="one",
        day=0.0,
        footprint=footprint,
        measured=values.masked_fill(~covered, 0.0),
        variance=torch.full(pixels, sd**2).masked_fill(~covered, torch.inf),
        shared_sd=shared,
    )


def state_of(shape=SHAPE, *, detail=0.02, region=0.03, rough=0.0):
    rng = np.random.default_rng(6)
    means = [torch.from_numpy(rng.normal(0, 0.01, shape)).float() for _ in range(2)]
    factors = [torch.from_numpy(np.exp(rough * rng.normal(size=shape))).float() for _ in range(2)]
    pairs = zip(means, factors, (detail, region), strict=True)
    return State(*(Belief(mean, sd**2 * factor) for mean, factor, sd in pairs))


def updated(state, look, *, expected=None):
    shape = tuple(state.detail.mean.shape)
    expected = torch.full(shape, 0.28) if expected is None else expected
    correlation = Correlation.of(shape, step_m=10.0, width_m=REGION_M)
    return assimilate(state, look, expected, correlation)


def drawn_look(state, pixel_m, *, sd, shared, seed=1):
    """Of ground as likely as the state says, with haze and noise."""
    rng = np.random.default_rng(seed)
    correlation = Correlation.of(SHAPE, step_m=10.0, width_m=REGION_M)

    def smooth():
        roots = [
            torch.linalg.cholesky(axis.double() + 1e-6 * torch.eye(len(axis))).float()
            for axis in (correlation.rows, correlation.columns)
        ]
        return roots[0] @ torch.from_numpy(rng.normal(size=SHAPE)).float() @ roots[1].T

    detail = torch.from_numpy(rng.normal(size=SHAPE)).float() * state.detail.variance.sqrt()
    ground = 0.28 + state.detail.mean + state.region.mean + detail
    ground = ground + smooth() * state.region.variance.sqrt() + shared * smooth()
    look = look_at(pixel_m, sd=sd, shared=shared)
    own = torch.from_numpy(rng.normal(0, sd, look.measured.shape)).float()
    return look_at(pixel_m, sd=sd, shared=shared, values=look.footprint.forward(ground) + own)


def exact(state, look, *, expected=0.28):
    """Means and variances of detail and region by matrices over all cells, in float64."""
    height, width = state.detail.mean.shape
    rows, columns = (
        np.exp(-0.5 * ((np.arange(n)[:, None] - np.arange(n)) * 10 / REGION_M) ** 2)
        for n in (height, width)
    )
    alike = np.kron(rows, columns)
    cells = torch.eye(height * width, dtype=torch.float64).reshape(-1, height, width)
    seen = torch.stack([look.footprint.forward(cell)[look.valid] for cell in cells]).numpy().T
    detail_sd, region_sd = (np.sqrt(belief.variance.double().numpy().ravel()) for belief in state)
    priors = (np.diag(detail_sd**2), region_sd[:, None] * alike * region_sd)
    haze = look.shared_sd**2 * alike
    total = seen @ (priors[0] + priors[1] + haze) @ seen.T
    total += np.diag(look.variance[look.valid].double().numpy())
    means = [belief.mean.double().numpy().ravel() for belief in state]
    innovation = look.measured[look.valid].double().numpy() - seen @ (expected + sum(means))
    gains = [np.linalg.solve(total, seen @ prior).T for prior in priors]
    return State(
        *(
            Belief(
                torch.from_numpy(mean + gain @ innovation).reshape(height, width),
                torch.from_numpy(np.diag(prior - gain @ seen @ prior).copy()).reshape(
                    height, width
                ),
            )
            for mean, gain, prior in zip(means, gains, priors, strict=True)
        )
    )


@pytest.mark.parametrize("pixel_m", SENSORS)
def test_on_even_ground_means_are_those_of_the_exact_update(pixel_m):
    state, look = state_of(), look_at(pixel_m)

    found, truth = updated(state, look), exact(state, look)

    for before, one, other in zip(state, found, truth, strict=True):
        moved = (other.mean - before.mean).norm()
        assert float((one.mean - other.mean).norm() / moved) < 1e-3


@pytest.mark.parametrize("pixel_m", SENSORS)
@pytest.mark.parametrize("cloudy", [False, True])
def test_elsewhere_they_are_off_by_a_share_of_their_sd(pixel_m, cloudy):
    """The variance differs from cell to cell, and pixels of a precise sensor tell little apart."""
    state = state_of(detail=0.03, region=0.04, rough=0.5)
    look = drawn_look(state, pixel_m, sd=0.007, shared=0.006)
    if cloudy:
        hidden = torch.zeros_like(look.valid)
        hidden[:, : hidden.shape[1] // 2 - 2] = hidden[5:8] = True
        look = look.without(hidden)

    found, truth = updated(state, look), exact(state, look)

    off = sum(one.mean - other.mean for one, other in zip(found, truth, strict=True))
    sd = (truth.detail.variance + truth.region.variance).sqrt()
    assert float((off / sd).square().mean().sqrt()) < 0.05


@pytest.mark.parametrize("pixel_m", SENSORS)
@pytest.mark.parametrize("sd", [0.01, 0.04])
def test_variances_are_the_exact_ones_within_a_fifth_where_all_is_seen(pixel_m, sd):
    """Spatial frequencies stand for a ground without borders."""
    state, look = state_of(), look_at(pixel_m, sd=sd)
    middle = (slice(10, 14), slice(10, 16))

    found, truth = updated(state, look), exact(state, look)

    for name, one, other in zip(FOUND, found, truth, strict=True):
        ratio = (one.variance[middle] / other.variance[middle]).mean()
        assert float(ratio) == pytest.approx(1, abs=0.2), name


def test_a_sharp_sensor_moves_detail_and_a_coarse_one_the_region():
    left = {m: updated(state_of(), look_at(m)) for m in SENSORS}
    middle = (slice(10, 14), slice(10, 16))

    details = [float(left[m].detail.variance[middle].mean()) / 0.02**2 for m in (10, 20, 30)]
    regions = [float(left[m].region.variance[middle].mean()) / 0.03**2 for m in (10, 20, 30)]
    assert details[0] < details[1] < details[2]
    assert details[2] > 0.9
    assert max(regions) < 0.6


def test_haze_that_pixels_share_is_not_taken_for_ground():
    state = state_of()
    brighter = look_at(20, shared=0.0)
    clear, hazy = (
        updated(state, look_at(20, shared=sd, values=brighter.measured + 0.05))
        for sd in (0.0, 0.05)
    )

    moved = [
        float((one.region.mean - state.region.mean)[8:16, 8:18].mean()) for one in (clear, hazy)
    ]
    assert moved[1] < 0.5 * moved[0]
    assert hazy.region.variance[12, 13] > clear.region.variance[12, 13]


def test_what_is_expected_by_all_changes_no_mean():
    state = state_of()
    look = look_at(20)
    usual = torch.full(SHAPE, 0.28)
    shown = look.footprint.forward(usual + state.detail.mean + state.region.mean)

    found = updated(state, look_at(20, values=shown))

    torch.testing.assert_close(found.detail.mean, state.detail.mean, atol=1e-6, rtol=0)
    torch.testing.assert_close(found.region.mean, state.region.mean, atol=1e-6, rtol=0)
    assert found.region.variance[12, 13] < 0.7 * state.region.variance[12, 13]


def test_beyond_the_half_that_a_look_shows_nothing_changes():
    state, look = state_of((24, 60)), look_at(10, shape=(24, 60))
    hidden = torch.zeros_like(look.valid)
    hidden[:, 30:] = True  # the ground begins at the third pixel

    found = updated(state, look.without(hidden))

    # From five regions beyond the edge of what is seen, and the reach of a pixel.
    for before, after in zip(state, found, strict=True):
        torch.testing.assert_close(after.mean[:, 42:], before.mean[:, 42:], atol=1e-6, rtol=0)
        torch.testing.assert_close(after.variance[:, 42:], before.variance[:, 42:])
    assert (found.region.variance[6:18, 6:24] < 0.8 * state.region.variance[6:18, 6:24]).all()


def test_values_of_pixels_that_are_not_valid_do_not_matter():
    state, look = state_of(), look_at(20)
    hidden = torch.zeros_like(look.valid)
    hidden[6:9, 5:9] = True
    shown = [
        look_at(20, values=look.measured.masked_fill(hidden, value)).without(hidden)
        for value in (0.0, 50.0)
    ]

    one, other = (updated(state, each) for each in shown)

    assert torch.equal(one.detail.mean, other.detail.mean)
    assert torch.equal(one.region.variance, other.region.variance)


def test_infinite_variance_everywhere_says_nothing():
    state, look = state_of(), look_at(20)

    found = updated(state, look.without(torch.ones_like(look.valid)))

    for before, after in zip(state, found, strict=True):
        torch.testing.assert_close(after.mean, before.mean, rtol=0, atol=0)
        torch.testing.assert_close(after.variance, before.variance)


def test_variances_never_grow_nor_vanish():
    state = state_of(rough=1.0)
    look = look_at(10, sd=1e-5, shared=0.0)

    found = updated(state, look)

    for before, after in zip(state, found, strict=True):
        assert (after.variance <= before.variance).all()
        assert (after.variance > 0).all()


def test_two_looks_in_either_order_are_one_knowledge():
    state = state_of()
    looks = [drawn_look(state, m, sd=0.02, shared=0.01) for m in (10, 30)]

    one = updated(updated(state, looks[0]), looks[1])
    other = updated(updated(state, looks[1]), looks[0])

    # Variances are kept by cell and not between cells, so that the order matters by a little.
    whole = [each.detail.mean + each.region.mean for each in (one, other)]
    sd = (one.detail.variance + one.region.variance).sqrt()
    assert float(((whole[0] - whole[1]) / sd)[6:18, 6:20].abs().mean()) < 0.3
