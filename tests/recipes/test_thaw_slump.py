import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from command_line import GEOSEG, geoseg, geoseg_here

from geoseg.data.slumps import simulated_places
from geoseg.models import load_classifier
from geoseg.presence.packs import Given, Shards, make_pack, read_pack, read_shard
from geoseg.presence.packs.tars import TarWriter
from geoseg.presence.results import results_table

QUICK = [
    *("--set", "learning.steps=6", "--set", "learning.warmup_steps=2"),
    *("--set", "model.encoder=test_resnet", "--set", "model.width=16", "--device", "cpu"),
]
LEFT = {
    *("recipe.json", "training/model.safetensors", "model.safetensors", "calibration.parquet"),
    *("held_out/pack.json", "results/results.json", "first.parquet", "scores.json", "report.html"),
}


def figures_of(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def written(out, *names):
    """When the files of some folders were written, and what is in them."""
    files = [path for name in names for path in sorted((out / name).rglob("*.*"))]
    return {
        path.relative_to(out): (path.stat().st_mtime_ns, path.read_bytes())
        for path in files
        if path.suffix in {".tar", ".parquet"}
    }


def pack_of(folder, count, *, images):
    """A pack of places with so many of their latest images each."""
    pool = simulated_places(count, seed=8, prevalence=0.4)
    places = [replace(place, images=place.images[-images:]) for place in pool]
    return make_pack(Given(pool=places, name="own"), folder).pack


def weights(out):
    return load_classifier(out / "training" / "model.safetensors").classifier.state_dict()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("thaw") / "out"
    asked = ("run", "--data", "simulated", "--set", "places=120", *QUICK)
    return out, geoseg("thaw-slump", *asked, "--out", out, "--json")


@pytest.mark.slow
def test_a_run_ends_in_all_its_files_and_one_object_of_figures(run):
    out, done = run

    figures = figures_of(done)
    assert all((out / name).is_file() for name in LEFT | {"places/pack.json"})
    assert not [path for path in out.rglob(".*") if path.is_file()]  # nothing temporary is left
    share = figures["estimated_prevalence"]
    assert 0 <= share["low"] <= share["value"] <= share["high"] <= 1
    assert 0 < figures["average_precision"] <= 1
    assert 0 <= figures["ece"] < 1
    assert 0 <= figures["recall"] <= 1
    scores = json.loads((out / "scores.json").read_text())
    assert scores["average_precision"]["value"] == figures["average_precision"]
    assert scores["recipe_hash"] == figures["recipe_hash"]
    assert figures["places"] == read_pack(out / "held_out").places
    rows = pq.read_table(out / "first.parquet")
    assert rows.num_rows == figures["places"]
    assert figures["dated"] == rows.num_rows - rows["first_until"].null_count > 0
    assert "<html" in (out / "report.html").read_text()


@pytest.mark.slow
def test_the_threshold_that_is_told_is_that_of_the_model_with_what_it_guarantees(run):
    out, done = run

    told = figures_of(done)["threshold"]
    record = load_classifier(out / "model.safetensors").record
    assert told == record["threshold"]
    # A handful of positives promise little, and that is said.
    assert told["recall"] == pytest.approx(0.05 ** (1 / told["effective_n"]))
    assert told["threshold"] == told["lowest"] > 0
    sentence = f"{told['n']} held-out places do not guarantee a recall of 0.95"
    assert sentence in done.stderr
    rows = results_table(out / "results", ["decision", "logit", "probability"])
    chance = rows["probability"].to_numpy()
    assert (np.abs(chance - 1 / (1 + np.exp(-rows["logit"].to_numpy()))) > 1e-3).any()
    np.testing.assert_array_equal(rows["decision"], chance >= np.float32(told["threshold"]))


@pytest.mark.slow
def test_what_teaches_calibrates_and_tests_is_apart(run):
    out, done = run
    assert done.returncode == 0

    pack = read_pack(out / "held_out")
    test = {place.id for shard in pack.shards for place in read_shard(shard, pack)}
    calibrated = pq.read_metadata(out / "calibration.parquet").num_rows
    # "Learning from P places with and N without" is all that is left.
    words = next(line for line in done.stderr.splitlines() if line.startswith("Learning")).split()
    assert int(words[2]) + int(words[6]) + calibrated + len(test) == 120


@pytest.mark.slow
def test_a_second_run_does_nothing_again_and_a_step_goes_on_with_the_recipe_of_the_folder(run):
    out, done = run
    figures = figures_of(done)
    before = written(out, "places", "held_out", "results")
    models = [(out / name).read_bytes() for name in ("model.safetensors", "recipe.json")]

    again = figures_of(geoseg_here("thaw-slump", "run", "--out", out, "--device", "cpu", "--json"))

    assert again == figures
    assert before
    assert written(out, "places", "held_out", "results") == before
    assert [(out / n).read_bytes() for n in ("model.safetensors", "recipe.json")] == models
    scored = figures_of(
        geoseg_here("thaw-slump", "evaluate", "--out", out, "--device", "cpu", "--json")
    )
    assert scored["average_precision"] == figures["average_precision"]


@pytest.mark.slow
def test_another_threshold_changes_the_model_and_its_results_are_made_anew(tmp_path):
    pack = pack_of(tmp_path / "pack", 80, images=1)
    out = tmp_path / "out"
    first = geoseg_here("thaw-slump", "run", "--pack", pack.folder, *QUICK, "--out", out, "--json")
    assert figures_of(first)["threshold"]["recall"] != 0.5
    network = weights(out)

    done = geoseg_here(
        "thaw-slump", "run", "--out", out, "--set", "calibration.recall=0.5", "--json"
    )

    figures = figures_of(done)
    assert figures["threshold"]["recall"] == figures["recall_wanted"] == 0.5
    assert "they are made anew" in done.stderr
    assert all(torch.equal(tensor, network[name]) for name, tensor in weights(out).items())
    about = json.loads((out / "results" / "results.json").read_text())
    assert about["threshold"] == figures["threshold"]

    model = (out / "model.safetensors").read_bytes()
    for step in ("calibrate", "predict", "evaluate"):
        others = geoseg_here("thaw-slump", step, "--out", out, "--set", "seed=9")
        assert others.returncode == 1
        assert "was taught on" in others.stderr
    longer = geoseg_here("thaw-slump", "calibrate", "--out", out, "--set", "learning.steps=7")
    assert longer.returncode == 1
    assert "name the recipe that it was taught by" in longer.stderr
    assert (out / "model.safetensors").read_bytes() == model


@pytest.mark.slow
def test_places_of_one_image_each_are_not_dated(tmp_path):
    pack = pack_of(tmp_path / "pack", 80, images=1)
    out = tmp_path / "out"
    out.mkdir()
    (out / "first.parquet").write_bytes(b"of an earlier recipe")

    done = geoseg_here("thaw-slump", "run", "--pack", pack.folder, *QUICK, "--out", out, "--json")

    figures = figures_of(done)
    assert figures["dated"] == 0
    assert "No place has more than one image: nothing is dated" in done.stderr
    assert not (out / "first.parquet").exists()
    assert pack.digest in figures["data_hash"]
    assert (out / "report.html").is_file()
    recipe = json.loads((out / "recipe.json").read_text())
    assert (recipe["pack"], recipe["data"]) == (str(pack.folder), None)


@pytest.mark.slow
def test_damaged_places_of_a_pack_are_told_of_and_the_others_are_used(tmp_path):
    pool = simulated_places(70, seed=8, prevalence=0.4)
    stored = list(Given(pool=pool, name="own").places())
    stored[3] = replace(
        stored[3], images=(replace(stored[3].images[0], pixels=b"\x93NUMPY\x01\x00"),)
    )
    path = tmp_path / "shard.tar"
    writer = TarWriter(path)
    for place in stored:
        writer.add(place)
    writer.close()
    pack = make_pack(Shards(paths=[path], foreign=None), tmp_path / "pack").pack

    done = geoseg_here(
        "thaw-slump", "train", "--pack", pack.folder, *QUICK, "--out", tmp_path / "out", "--json"
    )

    assert figures_of(done)["steps"] == 6
    assert f"{stored[3].id}: Image 0" in done.stderr


@pytest.mark.slow
def test_each_wrong_use_is_one_sentence_and_leaves_nothing(tmp_path):
    def fails(code, words, *arguments):
        out = tmp_path / "bad"
        done = geoseg_here("thaw-slump", *arguments, *QUICK, "--out", out)
        assert done.returncode == code, done.stderr
        assert words in done.stderr
        assert "Traceback" not in done.stderr
        assert not list(out.rglob("*.safetensors"))

    fails(2, "no places of data 'simulatd'. Did you mean 'simulated'?", "run", "--data", "simulatd")
    fails(2, "unknown key 'learnin'. Did you mean 'learning'?", "run", "--set", "learnin.steps=1")
    fails(1, "is no finished pack", "run", "--pack", tmp_path)
    rare = [replace(p, present=n < 3) for n, p in enumerate(simulated_places(60, seed=8))]
    pack = make_pack(Given(pool=rare, name="rare"), tmp_path / "rare").pack
    fails(1, "so that each fold has two of either kind", "run", "--pack", pack.folder)
    fails(1, "does not exist", "calibrate", "--data", "simulated", "--set", "places=60")


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on_and_the_same_command_does(tmp_path):
    out = tmp_path / "out"
    command = [
        *(GEOSEG, "thaw-slump", "run", "--data", "simulated", "--out", out, "--device", "cpu"),
        *("--set", "places=120", "--set", "learning.steps=100000"),
    ]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not list(out.glob("training/log/*")) and running.poll() is None:
        time.sleep(0.05)

    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)

    assert running.returncode == 130
    assert "Stopped. Run the same command again to go on." in said
    assert "Traceback" not in said
    assert not (out / "training" / "model.safetensors").exists()
    packed = written(out, "places")
    assert packed
    assert (
        figures_of(geoseg_here("thaw-slump", "train", "--out", out, *QUICK, "--json"))["steps"] == 6
    )
    assert written(out, "places") == packed


def test_help_names_the_steps_and_loads_nothing_heavy():
    code = (
        "import sys\n"
        "from geoseg_recipes.thaw_slump.app import app\n"
        "try: app(['train', '--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'rasterio', 'pandas', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "200"},
    )

    assert done.stdout.splitlines()[-1] == "[]"
    assert "Teach the network" in done.stdout
    assert all(option in done.stdout for option in ("--pack", "--set", "--recipe", "--json"))
