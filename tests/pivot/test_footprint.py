"""Where pixels look, as matrices: sums, their transpose and their squares."""

import numpy as np
import pytest
import torch
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from geoseg.errors import GridError
from geoseg.pivot.measurement.footprint import Footprint

UTM = "EPSG:32643"
WEST, NORTH = 500_000.0, 4_000_000.0

anywhere = st.fixed_dictionaries(
    {
        "pixel_m": st.floats(10, 60),
        "across": st.floats(-150, 250),
        "down": st.floats(-150, 250),
        "mtf": st.floats(0.1, 0.4),
    }
)


def grid(step_m, shape, *, across=0.0, down=0.0, crs=UTM):
    """Its top left corner so many metres east and south of that of the ground."""
    return GeoBox(shape, Affine(step_m, 0, WEST + across, 0, -step_m, NORTH - down), crs)


def footprint_of(place, *, shape=(50, 70), pixels=(13, 17)):
    beside = grid(place["pixel_m"], pixels, across=place["across"], down=place["down"])
    return Footprint(grid(10, shape), beside, place["mtf"])


def weights_of(footprint, *, shape, pixels):
    """Each pixel's share (h, w, H, W) of each cell, by looking at cells one by one."""
    cells = torch.eye(shape[0] * shape[1], dtype=torch.float64).reshape(-1, *shape)
    seen = torch.stack([footprint.forward(cell) for cell in cells])
    return seen.permute(1, 2, 0).reshape(*pixels, *shape)


@settings(max_examples=50)
@given(place=anywhere, seed=st.integers(0, 99))
def test_the_adjoint_is_the_transpose(place, seed):
    footprint = footprint_of(place)
    rng = np.random.default_rng(seed)
    x, y = (torch.from_numpy(rng.normal(size=shape)) for shape in [(50, 70), (13, 17)])

    one, other = (footprint.forward(x) * y).sum(), (x * footprint.adjoint(y)).sum()

    assert float(one - other) == pytest.approx(0, abs=1e-12 * float(x.norm() * y.norm()))


@settings(max_examples=8)
@given(place=anywhere, seed=st.integers(0, 99))
def test_independent_cells_add_up_by_the_squares_of_their_weights(place, seed):
    shape, pixels = (21, 27), (5, 7)
    footprint = footprint_of(place, shape=shape, pixels=pixels)
    variance = torch.from_numpy(np.random.default_rng(seed).uniform(0, 2, shape))

    found = footprint.spread(variance)

    weights = weights_of(footprint, shape=shape, pixels=pixels)
    torch.testing.assert_close(found, (weights**2 * variance).sum((2, 3)), rtol=1e-12, atol=1e-15)


@given(place=anywhere, level=st.floats(-2, 2))
def test_even_ground_stays_even_where_it_is_covered(place, level):
    footprint = footprint_of(place)

    seen = footprint.forward(torch.full((50, 70), level, dtype=torch.float64))

    assert seen[footprint.covered].numpy() == pytest.approx(level, abs=1e-12)
    assert (seen[~footprint.covered] == 0).all()


@given(place=anywhere, east=st.floats(-1, 1), south=st.floats(-1, 1))
def test_a_ramp_is_seen_at_the_middles_of_pixels(place, east, south):
    ground, height, width = grid(10, (50, 70)), 13, 17
    footprint = footprint_of(place)
    down, across = (torch.arange(n, dtype=torch.float64) * 10 + 5 for n in ground.shape)
    ramp = south * down[:, None] + east * across

    seen = footprint.forward(ramp)

    step = place["pixel_m"]
    rows = place["down"] + (torch.arange(height, dtype=torch.float64) + 0.5) * step
    columns = place["across"] + (torch.arange(width, dtype=torch.float64) + 0.5) * step
    there = footprint.covered
    expected = (south * rows[:, None] + east * columns)[there].numpy()
    # Cells stand for their middles, so that a pixel between them is off by a hair on each axis.
    assert seen[there].numpy() == pytest.approx(
        expected, abs=0.35 * (abs(east) + abs(south)) + 1e-9
    )


def test_pixels_that_reach_beyond_the_ground_are_not_covered():
    footprint = Footprint(grid(10, (60, 90)), grid(30, (40, 40), across=-300, down=-300), 0.25)

    rows, columns = (
        footprint.covered.any(dim=1).nonzero(),
        footprint.covered.any(dim=0).nonzero(),
    )

    reach = 4 * footprint.width_m
    first, last_row, last_column = (300 + reach) / 30, (900 - reach) / 30, (1200 - reach) / 30
    assert int(rows.min()) == int(columns.min()) == int(np.ceil(first - 0.5))
    assert int(rows.max()) == int(np.floor(last_row - 0.5))
    assert int(columns.max()) == int(np.floor(last_column - 0.5))


def test_rows_that_run_north_are_the_same_ground_upside_down():
    down = grid(10, (60, 90))
    up = GeoBox((60, 90), Affine(10, 0, WEST, 0, 10, NORTH - 600), UTM)
    pixels = grid(30, (12, 20), across=90, down=150)
    ground = torch.from_numpy(np.random.default_rng(0).normal(size=(60, 90)))

    one, other = Footprint(down, pixels, 0.25), Footprint(up, pixels, 0.25)

    torch.testing.assert_close(one.forward(ground), other.forward(ground.flip(0)))


def test_values_of_float32_stay_so():
    footprint = Footprint(grid(10, (40, 40)), grid(20, (20, 20)), 0.25)
    cells, pixels = torch.ones(40, 40), torch.ones(20, 20)

    found = [footprint.forward(cells), footprint.spread(cells), footprint.adjoint(pixels)]

    assert {one.dtype for one in found} == {torch.float32}


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (grid(30, (9, 9), crs="EPSG:3413"), "warp the acquisition to the reference system"),
        (grid(0.001, (9, 9), crs="EPSG:4326"), "need a scene in metres"),
        (GeoBox((9, 9), Affine.rotation(5) * Affine.scale(30, -30), UTM), "is rotated"),
    ],
)
def test_grids_that_do_not_fit_are_refused(pixels, words):
    with pytest.raises(GridError, match=words):
        Footprint(grid(10, (60, 60)), pixels, 0.25)
