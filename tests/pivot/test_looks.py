"""What an acquisition says of a variable, and how sure it is."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
import torch
from affine import Affine
from odc.geo.geobox import GeoBox

from geoseg.errors import GridError
from geoseg.pivot.measurement.acquisition import Acquisition, Reading
from geoseg.pivot.measurement.looks import looks_by_variable, looks_of, readout_of
from geoseg.pivot.measurement.speckle import bias_db, sd_db
from geoseg.pivot.measurement.spectral import prediction_of
from geoseg.pivot.measurement.variables import find_variable, load_variables

UTM = "EPSG:32633"
LIGHT = [name for name, one in load_variables().items() if one.kind == "reflectance"]


def grid(step_m, shape, *, beyond=0.0, crs=UTM):
    return GeoBox(shape, Affine(step_m, 0, 500_000 - beyond, 0, -step_m, 7e6 + beyond), crs)


GROUND = grid(10, (36, 48))
OF_15_M = grid(15, (36, 44), beyond=90)
OF_30_M = grid(30, (18, 22), beyond=90)


def acquisition(values, *, sensor_id="landsat-8", bands=("nir08",), pixels=OF_30_M, **extra):
    values = torch.as_tensor(np.asarray(values, dtype=np.float32))
    shown = values.expand(len(bands), *(int(n) for n in pixels.shape)).clone()
    return Acquisition(
        id="one",
        sensor_id=sensor_id,
        time=datetime(2022, 7, 1, tzinfo=UTC),
        readings=(Reading(pixels=pixels, bands=bands, values=shown),),
        **extra,
    )


@pytest.mark.parametrize(
    ("variable", "band", "slope", "offset"),
    [
        ("blue", "blue", 0.9778, -0.004),
        ("nir", "nir08", 0.9983, -0.0001),
        ("swir2", "swir22", 1.003, -0.0012),
    ],
)
def test_sentinel_2_is_brought_to_oli_and_not_the_other_way(variable, band, slope, offset):
    both = [
        looks_of(acquisition(0.4, sensor_id=sensor, bands=(band,)), variable, GROUND)
        for sensor in ("sentinel-2", "landsat-8")
    ]

    brought, own = ([float(v) for v in look.measured[look.valid].unique()] for look in both)
    assert brought == pytest.approx([slope * 0.4 + offset], abs=1e-6)
    assert own == pytest.approx([0.4])


def test_the_offset_of_coefficients_has_no_noise_and_the_slope_scales_it():
    one = looks_of(acquisition(0.4, sensor_id="sentinel-2", bands=("blue",)), "blue", GROUND)

    own = 0.005**2 + (0.015 * 0.4) ** 2
    assert one.variance[one.valid].numpy() == pytest.approx(0.9778**2 * own, rel=1e-5)


def test_a_variable_without_coefficients_is_the_best_mixture_of_bands():
    spectrum = {"green": 0.12, "red": 0.16, "nir08": 0.30}
    values = np.array(list(spectrum.values()))[:, None, None]

    look = looks_of(
        acquisition(values, sensor_id="landsat-7", bands=tuple(spectrum)), "red", GROUND
    )

    # A band of about the same place and width; not taken as it is.
    assert look.measured[look.valid].numpy() == pytest.approx(0.16, abs=0.01)
    readout = readout_of("landsat-7", tuple(spectrum), "red")
    mixed = np.dot(readout.weights, list(spectrum.values())) + readout.offset
    assert look.measured[look.valid].numpy() == pytest.approx(mixed, abs=1e-6)
    assert 0 < readout.sd < 0.01
    assert float(look.variance[look.valid].min()) > readout.sd**2


@pytest.mark.parametrize(
    ("sensor_id", "bands", "variable"),
    [
        ("landsat-8", ("blue",), "swir2"),
        ("landsat-8", ("lwir11",), "nir"),
        ("sentinel-2", ("blue", "green", "red"), "nir"),
        ("sentinel-1", ("vv", "vh"), "nir"),
        ("sentinel-1", ("vh",), "vv"),
        ("landsat-8", ("blue", "green", "red"), "vv"),
    ],
)
def test_bands_that_leave_a_variable_open_say_nothing_of_it(sensor_id, bands, variable):
    values = -12.0 if sensor_id == "sentinel-1" else 0.3

    assert looks_of(acquisition(values, sensor_id=sensor_id, bands=bands), variable, GROUND) is None


def test_a_band_stands_for_variables_of_which_it_leaves_less_than_a_hundredth():
    red = find_variable("red").band

    for variable in LIGHT:
        left = prediction_of(find_variable(variable).band, [red]).sd
        assert (readout_of("landsat-8", ("red",), variable) is not None) == (left < 0.018)


def test_of_readings_the_one_that_leaves_least_open_is_taken():
    colours = Reading(
        pixels=OF_30_M, bands=("blue", "green", "red"), values=torch.full((3, 18, 22), 0.1)
    )
    infrared = Reading(pixels=OF_30_M, bands=("nir08",), values=torch.full((1, 18, 22), 0.4))
    both = Acquisition(
        id="one",
        sensor_id="landsat-8",
        time=datetime(2022, 7, 1, tzinfo=UTC),
        readings=(colours, infrared),
    )

    found = looks_by_variable([both], ["nir", "red", "vv"], GROUND)

    assert [look.measured.max().item() for look in found["nir"]] == pytest.approx([0.4])
    assert [look.measured.max().item() for look in found["red"]] == pytest.approx([0.1])
    assert found["vv"] == []


def test_a_wide_band_is_read_from_bands_of_several_pixel_sizes():
    fine = torch.tensor([0.03, 0.08, 0.04])[:, None, None].expand(3, 36, 44)
    colours = Reading(pixels=OF_15_M, bands=("blue", "green", "red"), values=fine)
    infrared = Reading(pixels=OF_30_M, bands=("nir08",), values=torch.full((1, 18, 22), 0.44))
    alone, both = (
        looks_of(replace(acquisition(0.3), readings=readings), "visible", GROUND)
        for readings in ((colours,), (infrared, colours))
    )

    # Leaves are bright beyond the red, where the wide band still sees a little.
    assert both.footprint.pixel_m == 15
    assert float(alone.measured[alone.valid].mean()) < 0.06
    assert float(both.measured[both.valid].mean()) == pytest.approx(0.083, abs=0.006)
    assert float(both.variance[both.valid].mean()) < 0.5 * float(alone.variance[alone.valid].mean())


@pytest.mark.parametrize("looks", [1.0, 4.4, 20.0])
def test_radar_is_freed_of_the_bias_of_its_speckle_and_is_as_sure_as_its_looks(looks):
    look = looks_of(
        acquisition(-12.0, sensor_id="sentinel-1", bands=("vv", "vh"), looks=looks), "vv", GROUND
    )

    assert look.measured[look.valid].numpy() == pytest.approx(-12.0 - bias_db(looks))
    assert look.variance[look.valid].numpy() == pytest.approx(sd_db(looks) ** 2)
    assert look.measured[look.valid].min() > -12.0  # a mean of logarithms lies too low
    assert look.shared_sd == pytest.approx(0.2)


def test_radar_of_many_pixels_comes_back_to_its_backscatter():
    power = 0.05 * np.random.default_rng(3).gamma(4.4, 1 / 4.4, (1, 18, 22))

    look = looks_of(
        acquisition(10 * np.log10(power), sensor_id="sentinel-1", bands=("vh",)), "vh", GROUND
    )

    values = look.measured[look.valid]
    standard_error = float(look.variance[look.valid].mean().sqrt()) / len(values) ** 0.5
    assert abs(float(values.mean()) - 10 * np.log10(0.05)) < 3 * standard_error
    assert float(values.var()) == pytest.approx(sd_db(4.4) ** 2, rel=0.35)


def test_what_is_not_a_number_is_not_valid():
    values = np.full((1, 18, 22), 0.3)
    values[0, 8, 9] = np.nan
    values[0, 11, 8] = np.inf

    look = looks_of(acquisition(values), "nir", GROUND)

    expected = look.footprint.covered.clone()
    assert expected[8, 9]
    assert expected[11, 8]
    expected[8, 9] = expected[11, 8] = False
    assert torch.equal(look.valid, expected)
    assert torch.isfinite(look.measured).all()
    assert torch.isinf(look.variance[~expected]).all()


def test_beside_a_cloud_nobody_knows_what_a_shift_would_bring():
    values = np.full((1, 18, 22), 0.3)
    values[0, 8, 9] = np.nan

    look = looks_of(acquisition(values, registration_m=5.0), "nir", GROUND)

    assert not look.valid[8, 8:11].any()
    assert not look.valid[7:10, 9].any()
    assert look.valid[7, 8]
    assert not torch.isnan(look.variance).any()
    assert torch.isfinite(look.measured).all()


def test_where_a_band_of_a_mixture_is_missing_it_is_not_valid():
    values = np.full((3, 18, 22), 0.2)
    values[1, 8, 9] = np.nan

    look = looks_of(
        acquisition(values, sensor_id="landsat-8", bands=("blue", "green", "red")),
        "visible",
        GROUND,
    )

    assert not look.valid[8, 9]
    assert look.valid[8, 8]


def test_all_cloud_and_what_lies_beside_say_nothing():
    far = GeoBox((18, 22), Affine(30, 0, 600_000, 0, -30, 7e6), UTM)

    assert looks_of(acquisition(np.nan), "nir", GROUND) is None
    assert looks_of(acquisition(0.3, pixels=far), "nir", GROUND) is None


def test_another_reference_system_is_refused():
    with pytest.raises(GridError, match="warp the acquisition to the reference system"):
        looks_of(acquisition(0.3, pixels=grid(30, (18, 22), crs="EPSG:3413")), "nir", GROUND)


def test_a_doubtful_place_counts_at_edges_alone():
    values = np.where(np.arange(22) < 11, 0.1, 0.5) * np.ones((1, 18, 1))

    sure, moved = (
        looks_of(acquisition(values, registration_m=m), "nir", GROUND) for m in (0.0, 9.0)
    )

    added = torch.where(sure.valid, moved.variance - sure.variance, 0.0)
    columns = added.amax(0).nonzero().flatten().tolist()
    assert columns == [10, 11]
    # The slope across the edge is 0.4 in two pixels of 30 m.
    assert added[:, 10:12][sure.valid[:, 10:12]].numpy() == pytest.approx(
        (9.0 * 0.4 / 60) ** 2, rel=1e-4
    )


def test_the_haze_that_pixels_share_grows_with_brightness():
    dark, bright = (looks_of(acquisition(v), "nir", GROUND).shared_sd for v in (0.0, 0.8))

    assert dark == pytest.approx(0.005)
    assert bright == pytest.approx(np.hypot(0.005, 0.015 * 0.8))


def test_without_pixels_a_look_is_as_if_they_were_cloud():
    look = looks_of(acquisition(0.3), "nir", GROUND)
    rejected = torch.zeros(18, 22, dtype=torch.bool)
    rejected[6:9, 7] = True

    left = look.without(rejected)

    assert torch.equal(left.valid, look.valid & ~rejected)
    assert (left.measured[rejected] == 0).all()
    assert look.valid[7, 7]


def test_on_the_ground_cells_show_the_pixels_that_look_there():
    columns = 0.01 * np.arange(22) * np.ones((1, 18, 1))
    columns[0, :, 10:13] = np.nan

    look = looks_of(acquisition(columns), "nir", GROUND)
    cells = look.on_ground()

    assert cells.shape == (36, 48)
    # Cells of pixel 6 are those from 90 m on: pixels begin 90 m to the west of the ground.
    assert cells[12:24, 10].numpy() == pytest.approx(0.01 * 6, abs=0.002)
    assert torch.isnan(cells[12:24, 25]).all()  # in the middle of pixel 11
    assert torch.isnan(cells[:, 0]).all()  # seen by pixels that reach beyond


@pytest.mark.parametrize("pixel_m", [10, 20, 30])
def test_on_the_ground_even_values_stay_even(pixel_m):
    pixels = grid(pixel_m, (36, 48), beyond=2 * pixel_m)

    cells = looks_of(acquisition(0.3, pixels=pixels), "nir", GROUND).on_ground()

    assert cells[torch.isfinite(cells)].numpy() == pytest.approx(0.3)
    assert torch.isfinite(cells[12:24, 12:36]).all()
