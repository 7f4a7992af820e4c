"""Speckle in decibels."""

import numpy as np
import pytest

from geoseg.errors import SensorError
from geoseg.pivot.measurement.speckle import bias_db, sd_db


def test_figures_of_4_4_looks_are_the_exact_ones():
    per_db = np.log(10) / 10

    assert bias_db(4.4) * per_db == pytest.approx(-0.118, abs=0.0005)
    assert (sd_db(4.4) * per_db) ** 2 == pytest.approx(0.255, abs=0.0005)


@pytest.mark.parametrize("looks", [1.0, 4.4, 20.0])
def test_a_sample_has_them(looks):
    power = np.random.default_rng(1).gamma(looks, 0.03 / looks, 400_000)
    measured = 10 * np.log10(power)

    assert measured.mean() - 10 * np.log10(0.03) == pytest.approx(bias_db(looks), rel=0.02)
    assert measured.std() == pytest.approx(sd_db(looks), rel=0.02)


@pytest.mark.parametrize("looks", [0.0, -1.0, float("nan")])
def test_no_looks_are_refused(looks):
    with pytest.raises(SensorError, match="give a number above 0"):
        bias_db(looks)
