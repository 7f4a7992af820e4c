import json

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from command_line import geoseg, geoseg_here
from odc.geo.geobox import GeoBox

from geoseg.labels import IGNORE
from geoseg.landcover.agreement import aggregate_labels
from geoseg.landcover.files import read_classes, read_shares, write_classes
from geoseg.landcover.legends import UNRESOLVED, find_legend, translate
from geoseg.landcover.shares import aggregate
from geoseg.pivot.physical.posterior import Estimate
from geoseg.pivot.storage import as_dataset

QUICK = [
    *("--set", "ground.side=24", "--set", "ground.teaching=2", "--set", "ground.testing=1"),
    *("--set", "ground.every_days=45", "--set", "learning.steps=20", "--set", "learning.width=16"),
    *("--set", "learning.per_class=60", "--set", "maps.gsd_m=[2, 5, 20, 100]"),
    *("--set", "maps.legends=[ipcc, corine-2]", "--device", "cpu"),
]
SIZES = ("002m", "005m", "010m", "020m", "100m")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("cover") / "out"
    return out, geoseg("pivot-landcover", "run", *QUICK, "--out", out, "--json")


def figures_of(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_a_run_ends_in_its_maps_a_picture_and_one_object_of_figures(run):
    out, done = run

    figures = figures_of(done)
    assert set(figures["methods"]) == {"attention", "forest", "boosting"}
    for method, scores in figures["methods"].items():
        assert 0 < scores["accuracy"]["low"] <= scores["accuracy"]["value"] <= 1
        assert set(scores["share_error"]) == {"10", "20", "100"}
        assert scores["agreement"]["2-100"] == 1
        assert np.sum(scores["confusion"]) == 24 * 24
        folder = out / "maps" / "testing_0" / method
        assert all((folder / f"classes_{size}.tif").is_file() for size in SIZES)
    assert figures["maps"] == 3 * len(SIZES)
    assert (out / "land_cover.png").stat().st_size > 5_000
    saved = json.loads((out / "scores.json").read_text())
    assert saved["forest"]["accuracy"] == figures["methods"]["forest"]["accuracy"]
    assert saved["recipe_hash"] == figures["recipe_hash"]
    card = json.loads((out / "model" / "network.stac.json").read_text())
    assert card["properties"]["geoseg:record"]["recipe_hash"] == figures["recipe_hash"]


@pytest.mark.slow
def test_maps_on_disk_agree_at_all_sizes(run):
    out, done = run
    assert done.returncode == 0, done.stderr
    folder = out / "maps" / "testing_0" / "attention"

    finest, grid = read_classes(folder / "classes_002m.tif")
    shares = read_shares(folder / "shares_005m.tif")
    assert grid.resolution.x == 2
    for size, gsd in (("010m", 10.0), ("020m", 20.0), ("100m", 100.0)):
        codes, coarse = read_classes(folder / f"classes_{size}.tif")
        np.testing.assert_array_equal(aggregate_labels(finest, 2.0, gsd), codes)
        told = read_shares(folder / f"shares_{size}.tif")
        np.testing.assert_allclose(aggregate(shares, gsd).share, told.share, atol=1e-9)
        assert (coarse.affine.c, coarse.affine.f) == (grid.affine.c, grid.affine.f)


@pytest.mark.slow
def test_maps_of_another_legend_are_those_of_the_network_translated(run):
    out, done = run
    assert done.returncode == 0, done.stderr
    folder = out / "maps" / "testing_0" / "attention"

    codes, _ = read_classes(folder / "classes_020m.tif")
    for legend in ("ipcc", "corine-2"):
        told, _ = read_classes(folder / f"{legend}_020m.tif")
        np.testing.assert_array_equal(told, translate(codes, "simulated", legend))
        with rasterio.open(folder / f"{legend}_020m.tif") as raster:
            assert raster.tags()["LEGEND"] == legend
    assert set(np.unique(told)) <= {51, 33, UNRESOLVED, 31, 21, IGNORE}


@pytest.mark.slow
def test_a_step_goes_on_with_what_is_there_and_makes_nothing_twice(run):
    out, done = run
    figures = figures_of(done)
    kept = sorted([*(out / "grounds").glob("*.safetensors"), *(out / "model").iterdir()])
    before = [path.stat().st_mtime_ns for path in kept]

    again = figures_of(geoseg_here("pivot-landcover", "train", "--out", out, "--json"))
    scored = figures_of(geoseg_here("pivot-landcover", "evaluate", "--out", out, "--json"))

    assert again["grounds_made"] == 0
    assert again["held_out_loss"] == figures["held_out_loss"]
    assert [path.stat().st_mtime_ns for path in kept] == before
    assert scored["methods"] == figures["methods"]


@pytest.mark.slow
def test_maps_are_refused_of_a_network_of_another_recipe(run):
    out, done = run
    assert done.returncode == 0, done.stderr

    other = geoseg_here(
        "pivot-landcover", "predict", *QUICK, "--set", "learning.steps=21", "--out", out
    )

    assert other.returncode == 1
    assert "was taught by another recipe or on other grounds" in other.stderr
    assert "`geoseg pivot-landcover train` again" in other.stderr.replace("\n", " ")


def write_cube_of(folder, name, seed):
    """A cube of stripes of rock and meadow: green early, or late, and its reference."""
    rng = np.random.default_rng(seed)
    cover = np.broadcast_to(10 * ((np.arange(20) // 4 + seed) % 2) + 30, (15, 20)).astype(np.uint8)
    peak = np.where(cover == 30, 4, 8)
    leaves = np.exp(-0.5 * ((np.arange(12)[:, None, None] - peak) / 1.5) ** 2)
    mean = np.stack([0.15 - 0.1 * leaves, 0.2 + 0.3 * leaves], axis=1)
    mean = torch.from_numpy((mean + rng.normal(0, 0.03, mean.shape)).astype(np.float32))
    nothing = torch.zeros_like(mean)
    estimate = Estimate(
        days=tuple(19_358.0 + 30 * month for month in range(12)),
        variables=("red", "nir"),
        mean=mean,
        sd=nothing + 0.03,
        validity=nothing + 0.9,
        age_days=nothing,
        provenance=nothing.int(),
    )
    grid = GeoBox((15, 20), Affine(20, 0, 500_000, 0, -20, 7_200_000), "EPSG:32633")
    as_dataset(estimate, grid).to_zarr(folder / f"{name}.zarr", consolidated=False)
    write_classes(folder / f"{name}.tif", cover, grid, find_legend("worldcover"), {})
    return {"path": f"{name}.zarr", "reference": f"{name}.tif"}


@pytest.mark.slow
def test_cubes_of_ones_own_are_learned_from_and_mapped_in_their_legend(tmp_path):
    recipe = {
        "data": "cubes",
        "legend": "worldcover",
        "teaching": [write_cube_of(tmp_path, f"teaching{i}", i) for i in range(3)],
        "testing": [write_cube_of(tmp_path, "testing", 7)],
        "learning": {"steps": 60, "batch": 64, "width": 16, "learning_rate": 0.01},
        "maps": {"gsd_m": [5, 40], "legends": ["ipcc"]},
    }
    (tmp_path / "mine.yaml").write_text(json.dumps(recipe))

    done = geoseg_here(
        *("pivot-landcover", "run", "--recipe", tmp_path / "mine.yaml", "--workers", "1"),
        *("--out", tmp_path / "out", "--device", "cpu", "--json"),
    )

    figures = figures_of(done)
    assert all(scores["accuracy"]["value"] > 0.9 for scores in figures["methods"].values())
    assert figures["gsd_m"] == [5, 20, 40]
    folder = tmp_path / "out" / "maps" / "testing_0" / "attention"
    codes, _ = read_classes(folder / "classes_020m.tif")
    truth, _ = read_classes(tmp_path / "testing.tif")
    assert set(np.unique(codes)) == {30, 40}
    assert (codes == truth).mean() > 0.9
    told, _ = read_classes(folder / "ipcc_020m.tif")
    np.testing.assert_array_equal(told, np.where(codes == 30, 3, 2))


def test_a_step_without_the_ones_before_it_says_what_to_run(tmp_path):
    done = geoseg_here("pivot-landcover", "predict", "--out", tmp_path)

    assert done.returncode == 1
    assert "train" in done.stderr


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("maps.gsd=[10]", "unknown key 'maps.gsd'. Did you mean 'gsd_m'?"),
        ("maps.gsd_m=[10, 10]", "names a pixel size twice"),
        ("maps.legends=[corine]", "cannot be used"),
        ("data=cubes", "name at least one in teaching and one in testing"),
        ("legend=ipcc", "legend = ipcc are of your own cubes; set data: cubes"),
    ],
)
def test_keys_that_cannot_be_used_are_refused_in_one_sentence(tmp_path, change, sentence):
    done = geoseg_here("pivot-landcover", "run", "--set", change, "--out", tmp_path)

    assert done.returncode == 2
    assert sentence in done.stderr.replace("\n", " ")
    assert not list(tmp_path.iterdir())
