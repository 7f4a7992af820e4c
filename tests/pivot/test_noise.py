"""How far a measurement may be off."""

import pytest
import torch

from geoseg.errors import SensorError
from geoseg.pivot.measurement.noise import Noise, measurement_variance


def ramp(slope_per_m, pixel_m=30.0, size=20):
    row = torch.arange(size, dtype=torch.float64) * pixel_m * slope_per_m + 0.2
    return row.expand(1, size, size).clone()


def test_on_even_ground_a_shift_changes_nothing():
    even = torch.full((2, 9, 9), 0.3, dtype=torch.float64)
    noise = Noise(absolute=0.01, relative=0.1, registration_m=20.0)

    found = measurement_variance(even, noise, pixel_m=30.0, mixture_sd=[0.0, 0.02])

    assert found[0].numpy() == pytest.approx(0.01**2 + 0.03**2)
    assert found[1].numpy() == pytest.approx(0.01**2 + 0.03**2 + 0.02**2)


def test_on_a_slope_it_is_that_of_values_that_lie_elsewhere():
    slope, off_m = 2e-3, 12.0
    image = ramp(slope)

    found = measurement_variance(
        image, Noise(absolute=0.01, registration_m=off_m), pixel_m=30.0
    ).sqrt()

    shifted = torch.randn(100_000, dtype=torch.float64, generator=torch.manual_seed(0)) * off_m
    beside = (0.01**2 + (shifted * slope).var()).sqrt()
    assert found.numpy() == pytest.approx(float(beside), rel=0.01)


@pytest.mark.parametrize("given", [{"absolute": 0.0}, {"absolute": 0.1, "relative": -1.0}])
def test_no_noise_is_refused(given):
    with pytest.raises(SensorError, match="give an absolute part above 0"):
        Noise(**given)
