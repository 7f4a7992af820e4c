"""The picture of a cell of the pivot: curve, interval, measurements, and where there are none."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import torch
from affine import Affine
from odc.geo.geobox import GeoBox

from geoseg.pivot.measurement.acquisition import Acquisition, Reading
from geoseg.pivot.physical import PhysicalSettings, build_posterior
from geoseg.pivot.storage import Source
from geoseg.report.drawing import png_of
from geoseg.report.pivot_curve import curve_figure

GRID = GeoBox((6, 8), Affine(10, 0, 500_000, 0, -10, 7_200_000), "EPSG:32633")
PIXELS = GRID.pad(20, 20)
FIRST = datetime(2023, 5, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def acquisitions():
    rng = np.random.default_rng(0)
    shape = (1, *(int(n) for n in PIXELS.shape))
    return [
        Acquisition(
            id=f"{sensor}-{day}",
            sensor_id=sensor,
            time=FIRST + timedelta(days=day),
            readings=(
                Reading(
                    pixels=PIXELS,
                    bands=(band,),
                    values=torch.from_numpy(rng.normal(level, 0.01, shape).astype(np.float32)),
                ),
            ),
        )
        for sensor, band, level in (("sentinel-2", "red", 0.1), ("sentinel-1", "vh", -18.0))
        for day in (0, 5, 10, 15)
    ]


@pytest.fixture(scope="module")
def cell(acquisitions):
    settings = PhysicalSettings(variables=("red", "vh"), classes=1)
    return build_posterior(acquisitions, GRID[2:3, 3:4], settings)


@pytest.fixture(scope="module")
def sources(acquisitions):
    ordered = sorted(acquisitions, key=lambda one: (one.time, one.id))
    return [Source(id=one.id, sensor_id=one.sensor_id, time=one.time) for one in ordered]


def test_each_variable_has_a_panel_with_what_its_sensor_measured(cell, sources):
    days = [sources[0].time.timestamp() / 86400 + k for k in range(-200, 200, 5)]

    figure = curve_figure(cell, sources, days, "A cell")

    assert [axes.get_ylabel() for axes in figure.axes] == ["red", "vh (dB)"]
    for axes, sensor in zip(figure.axes, ("sentinel-2", "sentinel-1"), strict=True):
        lines = {line.get_label(): line for line in axes.get_lines()}
        assert set(lines) == {"pivot", sensor}
        assert len(lines["pivot"].get_xdata()) == len(days)
        assert len(lines[sensor].get_xdata()) == 4
    assert "climatology only" in {text.get_text() for text in figure.legends[0].get_texts()}


def test_one_day_is_drawn_without_a_word_of_matplotlib(cell, sources):
    day = sources[0].time.timestamp() / 86400

    assert png_of(curve_figure(cell, sources, [day], "A cell"))
