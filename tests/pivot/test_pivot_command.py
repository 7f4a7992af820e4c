"""`geoseg pivot`: what it prints, what it leaves, and what it refuses."""

import json

import numpy as np
import pytest
import rasterio
from command_line import geoseg_here
from odc.geo.geobox import GeoBox

from geoseg.data.seasons import simulated_year
from geoseg.data.seasons.write import write_acquisition
from geoseg.pivot.measurement.optics import gaussian_width
from geoseg.pivot.storage import read_acquisition
from geoseg.scenes import scan_items

pytestmark = pytest.mark.slow  # what they share takes seconds to make

CELL = "500105,7199895"


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    for one in simulated_year(3, side=16).acquisitions[:10]:
        write_acquisition(folder, one)
    return folder


@pytest.fixture(scope="module")
def pivot(scenes, tmp_path_factory):
    out = tmp_path_factory.mktemp("pivot")
    done = geoseg_here("pivot", "build", scenes, "--out", out, "--variables", "red,vh,", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["variables"], told["scenes"], told["blocks_now"]) == (["red", "vh"], 10, 1)
    return out


def refusal(*arguments):
    """What is said on standard error of what cannot be done."""
    done = geoseg_here("pivot", *arguments)
    assert done.returncode in {1, 2}
    assert not done.stdout
    assert "unexpected" not in done.stderr
    return done.stderr


def test_the_same_command_builds_nothing_again_and_another_is_refused(scenes, pivot):
    again = geoseg_here("pivot", "build", scenes, "--out", pivot, "--variables", "red,vh", "--json")

    assert json.loads(again.stdout)["blocks_now"] == 0
    other = refusal("build", scenes, "--out", pivot, "--variables", "red")
    assert "holds a pivot of other scenes, grid or settings" in other


@pytest.mark.parametrize(
    ("step", "pixel"), [(5, 10), (10, 10), (12, 10), (14, 20), (15, 20), (20, 20), (25, 20)]
)
def test_pixels_are_read_about_as_large_as_cells(scenes, step, pixel):
    scene = next(
        e.scene
        for e in scan_items(scenes, checksums=False).entries
        if e.scene.sensor_id == "sentinel-2"
    )
    grid = GeoBox.from_bbox(
        (500000, 7199880, 500120, 7200000), crs="EPSG:32633", resolution=step, tight=True
    )

    fine = read_acquisition(scene, grid).readings[0].pixels

    assert fine.resolution.x == pixel
    assert gaussian_width(pixel, 0.3, step) < 0.9 * pixel


def test_a_pivot_of_cells_that_are_coarser_than_pixels(scenes, tmp_path):
    done = geoseg_here(
        "pivot", "build", scenes, "--out", tmp_path, "--gsd", "20", "--variables", "red", "--json"
    )

    assert done.returncode == 0, done.stderr
    assert "of 20" in json.loads(done.stdout)["grid"]


def test_values_of_a_cell_are_those_of_the_map(pivot, tmp_path):
    day = ("--dates", "2023-01-14")
    cell = geoseg_here("pivot", "query", pivot, *day, "--at", CELL, "--json")
    mapped = geoseg_here("pivot", "query", pivot, *day, "--out", tmp_path / "day.tif", "--json")

    assert json.loads(mapped.stdout)["dates"] == 1
    told = json.loads(cell.stdout)
    assert told["at"] == [500105.0, 7199895.0]
    with rasterio.open(tmp_path / "day.tif") as raster:
        [shown] = raster.sample([told["at"]])
        bands = dict(zip(raster.descriptions, shown, strict=True))
    for one in told["values"]:
        assert one["time"] == "2023-01-14T12:00Z"
        np.testing.assert_allclose(bands[one["variable"]], one["mean"], rtol=1e-5)
        np.testing.assert_allclose(bands[f"{one['variable']}_sd"], one["sd"], rtol=1e-5)


def test_a_variable_that_is_named_twice_is_given_once(pivot):
    done = geoseg_here(
        "pivot", "query", pivot, "--dates", "2023-01-14", "--variables", "red, red,", "--json"
    )

    assert [one["variable"] for one in json.loads(done.stdout)["values"]] == ["red"]


def test_the_picture_lies_beside_the_store_and_is_a_png(pivot, tmp_path):
    done = geoseg_here("pivot", "plot", pivot / "pivot.zarr", "--variables", "red", "--json")

    assert json.loads(done.stdout)["picture"] == str(pivot / "curve.png")
    assert (pivot / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert "ends in .png" in refusal("plot", pivot, "--out", tmp_path / "curve.jpg")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--at", "5,6"), "lies beside the pivot"),
        (("--at", "nan,7199900"), "is no place"),
        (("--at", "inf,7199900"), "is no place"),
        (("--at", "here"), "is no place"),
        (("--variables", "rod"), "Did you mean 'red'?"),
        (("--variables", "nir"), "it holds red, vh"),
        (("--variables", "elevation"), "is terrain"),
        (("--variables", ","), "names none"),
        (("--dates", "14.7.2023"), "is no date"),
        (("--dates", "2023-09/2023-05"), "ends before it begins"),
        (("--dates", "3000-01-01"), "after 2261"),
        (("--dates", "0001-01-01"), "before 1678"),
        (("--dates", "2023-01", "--out", "map.tif"), "takes one date"),
        (("--dates", "2023-01-14", "--at", CELL, "--out", "map.tif"), "--at names one cell"),
    ],
)
def test_a_query_that_cannot_be_answered_is_refused(pivot, options, said):
    assert said in " ".join(refusal("query", pivot, *options).split())


def test_scenes_that_are_none_are_refused(tmp_path):
    assert "holds no scene" in refusal("build", tmp_path, "--out", tmp_path / "out")
    assert "is not there" in refusal("build", tmp_path / "no", "--out", tmp_path / "out")
    assert "is no pivot" in refusal("query", tmp_path)


def test_a_later_scene_updates_a_pivot_beside_it(pivot, tmp_path):
    later = simulated_year(3, side=16).acquisitions[10]
    write_acquisition(tmp_path / "later", later)

    done = geoseg_here("pivot", "update", pivot, tmp_path / "later", "--out", tmp_path / "new")

    assert done.returncode == 0, done.stderr
    values = geoseg_here(
        "pivot", "query", tmp_path / "new", "--dates", f"{later.time:%Y-%m-%d}", "--json"
    )
    told = json.loads(values.stdout)["values"]
    assert later.id in {one["nearest"] for one in told}
    again = refusal("update", tmp_path / "new", tmp_path / "later", "--out", tmp_path / "twice")
    assert "is in the pivot already" in again
    assert not (tmp_path / "twice" / "pivot.zarr").exists()
