"""The point spread passes what it should at the Nyquist frequency of the sensor."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import SensorError
from geoseg.pivot.measurement.optics import Axis, gaussian_width, realised_mtf, sampling


@pytest.mark.parametrize("pixel_m", [10, 15, 20, 30, 60, 79])
@given(mtf=st.floats(0.1, 0.4))
def test_the_transfer_at_nyquist_is_that_of_the_sensor(pixel_m, mtf):
    width = gaussian_width(pixel_m, mtf, 10.0)

    assert realised_mtf(width, pixel_m, 10.0) == pytest.approx(mtf, abs=0.003)


@given(mtf=st.floats(0.1, 0.4), pixel_m=st.sampled_from([10.0, 20.0, 30.0]))
def test_a_wave_at_nyquist_comes_out_as_much_weaker(mtf, pixel_m):
    """Through the matrix itself, where pixels and cells lie on each other's centres."""
    ground = Axis(-5.0, 10.0, 400)
    pixels = Axis(600 - pixel_m / 2, pixel_m, int(1500 / pixel_m))
    matrix = sampling(ground, pixels, gaussian_width(pixel_m, mtf, 10.0))

    seen = matrix @ np.cos(np.pi * ground.centres / pixel_m)

    assert np.abs(seen) == pytest.approx(mtf, abs=0.003)


def test_on_a_fine_grid_it_is_the_formula():
    formula = 30 / np.pi * np.sqrt(-2 * np.log(0.2))

    assert gaussian_width(30, 0.2, 1.0) == pytest.approx(formula, rel=1e-4)


@given(
    begin=st.floats(0, 300),
    pixel_m=st.floats(10, 80),
    north_up=st.booleans(),
    slope=st.floats(-1, 1),
)
def test_a_ramp_stays_a_ramp_wherever_the_pixels_lie(begin, pixel_m, north_up, slope):
    ground = Axis(2000.0, -10.0, 200) if north_up else Axis(0.0, 10.0, 200)
    pixels = Axis(2000 - begin, -pixel_m, 20) if north_up else Axis(begin, pixel_m, 20)
    matrix = sampling(ground, pixels, gaussian_width(pixel_m, 0.25, 10.0))
    inside = matrix.any(axis=1)

    seen = matrix @ (slope * ground.centres + 3)

    # Cells stand for their centres, so that pixels between them are off by a hair.
    assert seen[inside] == pytest.approx(slope * pixels.centres[inside] + 3, abs=0.35)
    assert (seen[~inside] == 0).all()


def test_pixels_that_see_beyond_the_ground_are_left_empty():
    matrix = sampling(Axis(0, 10, 50), Axis(-30, 30, 20), gaussian_width(30, 0.25, 10.0))

    taken = matrix.any(axis=1)

    assert taken.any()
    assert not taken[:3].any()
    assert not taken[-3:].any()
    assert matrix.sum(axis=1)[taken] == pytest.approx(1)


@pytest.mark.parametrize(("pixel_m", "mtf"), [(10, 0.0), (10, 1.0), (4, 0.3)])
def test_what_is_no_transfer_or_too_fine_is_refused(pixel_m, mtf):
    with pytest.raises(SensorError, match=r"give one between 0 and 1|choose a finer grid"):
        gaussian_width(pixel_m, mtf, 10.0)
