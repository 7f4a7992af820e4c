import json
import subprocess
import sys

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import rasterio.features
from command_line import geoseg, geoseg_here
from conftest import HEIGHT, WIDTH, true_outlines, write_raster

QUICK = [
    *("--set", "training.steps=40", "--set", "training.averaging=0.7", "--set", "chips.size_px=64"),
    *("--set", "training.warmup_steps=2", "--set", "training.batch=4"),
    *("--set", "training.validate_every=20", "--set", "inference.tile_px=64"),
    *("--set", "inference.halo_px=16", "--set", "outlines.min_area_m2=20000"),
    *("--set", "inference.prevalence_reach_m=0", "--device", "cpu"),
    *("--set", "model.encoder=test_resnet"),
]


def own_files(example):
    return [
        *("--scene", example.raster, "--sensor", "landsat-7", "--date", "2000-10-30"),
        *("--bands", "red,nir08", "--labels", example.outlines, "--class-of", "glacier"),
    ]


@pytest.mark.slow
def test_a_run_on_ones_own_files_ends_in_a_styled_inventory_and_scores(example, tmp_path):
    out = tmp_path / "out"

    done = geoseg("glacier-inventory", "run", *own_files(example), *QUICK, "--out", out, "--json")

    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["scores"]["glacier"]["iou"] > 0.6
    outlines = gpd.read_file(out / "inventory.gpkg", layer="outlines")
    assert len(outlines) == figures["outlines"] > 0
    assert set(outlines.class_name) == {"glacier"}
    with rasterio.open(out / "map" / "classes.tif") as raster:
        assert raster.shape == (HEIGHT, WIDTH)
        assert raster.tags()["recipe_hash"] == figures["recipe_hash"]
    assert (out / "map.png").stat().st_size > 10_000
    assert json.loads((out / "recipe.json").read_text())["training"]["steps"] == 40
    assert not list(out.rglob(".*"))  # nothing temporary is left

    # A step that is told nothing goes on with what the folder was begun with.
    again = geoseg_here("glacier-inventory", "evaluate", "--out", out, "--json")
    assert json.loads(again.stdout)["scores"] == figures["scores"]
    other = ["--set", "outlines.min_area_m2=0", "--json"]
    redrawn = json.loads(geoseg_here("glacier-inventory", "run", "--out", out, *other).stdout)
    assert redrawn["best_step"] == figures["best_step"]
    assert redrawn["outlines"] >= figures["outlines"]
    none = geoseg_here(
        *("glacier-inventory", "run", "--out", out, "--set", "outlines.min_area_m2=1e12", "--json")
    )
    assert (none.returncode, json.loads(none.stdout)["outlines"]) == (0, 0), none.stderr

    moved = geoseg_here(
        "glacier-inventory", "evaluate", "--out", out, "--set", "split.train_from=east"
    )
    assert (moved.returncode, "trained on another part of the scene" in moved.stderr) == (2, True)
    renamed = tmp_path / "other.tif"
    renamed.write_bytes(example.raster.read_bytes())
    wrong = geoseg_here(
        "glacier-inventory", "vectorize", *own_files(example), "--scene", renamed, "--out", out
    )
    assert (wrong.returncode, "is a map of scene, not of other" in wrong.stderr) == (2, True)


@pytest.mark.slow
def test_a_series_of_scenes_ends_in_one_inventory_through_time(example, tmp_path):
    # In 2010 the glacier in the east is gone, and a cloud hides a part of the one in the west.
    west = true_outlines().geometry.iloc[[0]]
    ice = rasterio.features.rasterize(
        west, out_shape=(HEIGHT, WIDTH), transform=rasterio.open(example.raster).transform
    )
    noise = np.random.default_rng(1).normal(0, 8, (2, HEIGHT, WIDTH))
    image = (60 + 120 * ice + noise).astype(np.float32)
    image[:, 20:45, 10:30] = np.nan
    later = write_raster(tmp_path / "later.tif", image)
    series = [{"path": str(later), "sensor": "landsat-7", "date": "2010-09-01"}]
    series[0]["bands"] = ["red", "nir08"]
    out = tmp_path / "out"

    done = geoseg_here(
        *("glacier-inventory", "run", *own_files(example), *QUICK, "--out", out, "--json"),
        *("--set", f"series={json.dumps(series)}"),
    )

    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["surveys"] == ["2000-10-30", "2010-09-01"]
    states = gpd.read_file(out / "inventory.gpkg", layer="states")
    by_date = states[states.kind == "glacier"].groupby(["survey", "status"]).size()
    assert by_date["2000-10-30", "present"] >= 2
    assert by_date["2010-09-01", "absent"] >= 1
    west_now = states[(states.survey == "2010-09-01") & (states.status == "present")]
    assert west_now.area_km2.isna().any()  # a part of it was not seen
    seen = gpd.read_file(out / "outlines" / "later.gpkg", layer="seen")
    assert seen.area.sum() == pytest.approx((HEIGHT * WIDTH - 25 * 20) * 900)
    for path in ("map", "maps/later", "consistent/scene", "consistent/later"):
        assert (out / path / "classes.tif").is_file()
    assert set(json.loads((out / "scores.json").read_text())["dates"]) == {"scene"}
    assert "<html" in (out / "report.html").read_text()

    # The same ids, when the outlines are drawn and tracked anew.
    assert geoseg_here("glacier-inventory", "vectorize", "--out", out).returncode == 0
    again = geoseg_here("glacier-inventory", "track", "--out", out, "--json")
    assert again.returncode == 0, again.stderr
    after = gpd.read_file(out / "inventory.gpkg", layer="states")
    assert set(after.track_id) == set(states.track_id)


@pytest.mark.slow
def test_each_bad_input_is_one_sentence_and_leaves_nothing(example, tmp_path):
    def fails(code, words, *arguments):
        out = tmp_path / "bad"
        done = geoseg_here("glacier-inventory", "run", *arguments, *QUICK, "--out", out)
        assert done.returncode == code, done.stderr
        assert words in done.stderr
        assert "Traceback" not in done.stderr
        assert not list(out.rglob("*.tif")) + list(out.rglob("*.gpkg"))

    mine = own_files(example)
    fails(2, "no sensor named 'landsat7'. Did you mean 'landsat-7'?", *mine, "--sensor", "landsat7")
    fails(2, "no landsat-7 band named 'nir'. Did you mean 'nir08'?", *mine, "--bands", "red,nir")
    fails(2, "has 2 bands, scene.bands names 3", *mine, "--bands", "red,nir08,blue")
    fails(2, "unknown key 'trainig'. Did you mean 'training'?", *mine, "--set", "trainig.steps=1")
    fails(2, "no labelled data set named 'everst'. Did you mean 'everest'?", "--data", "everst")
    east = tmp_path / "east.gpkg"
    true_outlines().iloc[1:].to_file(east)
    fails(1, "No outline lies in the part of scene scene that trains", *mine, "--labels", east)
    fails(1, "'ground' is neither a column of", *mine, "--class-of", "ground")
    fails(2, "cannot be used: it is a day, such as", *mine, "--date", "2000-13-01")
    elsewhere = tmp_path / "elsewhere.gpkg"
    true_outlines().to_crs("EPSG:3413").translate(1e6).to_file(elsewhere)
    fails(1, "The labels do not overlap the scene.", *mine, "--labels", elsewhere)
    empty = tmp_path / "empty.gpkg"
    true_outlines().iloc[:0].to_file(empty, geometry_type="Polygon")
    fails(1, "holds no polygon", *mine, "--labels", empty)
    blank = write_raster(
        tmp_path / "blank.tif", np.full((2, HEIGHT, WIDTH), np.nan, dtype=np.float32)
    )
    fails(1, "hardly a valid, labelled pixel", *mine, "--scene", blank)
    truncated = tmp_path / "truncated.tif"
    truncated.write_bytes(example.raster.read_bytes()[:20_000])
    fails(1, "truncated or damaged", *mine, "--scene", truncated)


def test_predict_without_a_model_says_what_to_do(example, tmp_path):
    done = geoseg_here("glacier-inventory", "predict", *own_files(example), "--out", tmp_path)

    assert done.returncode == 1
    assert "model.safetensors does not exist; train a model" in done.stderr


def test_help_does_not_load_what_is_heavy():
    code = (
        "import sys, geoseg.cli as c; sys.argv = ['geoseg', '--help'];\n"
        "try: c.main()\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'rasterio', 'geopandas', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"
    assert "glacier-inventory" in done.stdout


def test_the_doctor_names_both_halves_of_the_pair():
    findings = json.loads(geoseg_here("doctor", "--json").stdout)

    assert "torchvision" in findings["torch"]
    assert findings["device"]


@pytest.mark.slow
def test_sensors_and_data_are_listed_and_an_error_has_its_exit_code():
    sensors = json.loads(geoseg_here("sensors", "list", "--json").stdout)["sensors"]
    data = json.loads(geoseg_here("data", "list", "--json").stdout)["data"]
    shown = json.loads(geoseg_here("sensors", "show", "sentinel-1", "--json").stdout)
    wrong = geoseg_here("sensors", "show", "sentinel")

    assert "hexagon-kh9-mapping" in sensors
    assert "everest" in {row["name"] for row in data}
    assert shown["bands"][0]["polarisation"] == "VV"
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("Error: no sensor named 'sentinel'.")
    assert geoseg("--debug", "sensors", "show", "x").stderr.startswith("Traceback")
    assert geoseg("--version").stdout.startswith("geoseg ")
