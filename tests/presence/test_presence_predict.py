"""`geoseg presence predict`: a pack through a classifier, whatever happens on the way."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from command_line import geoseg_here
from presence.small_pack import (
    BANDS,
    DAY,
    RGB,
    SPOT,
    image,
    make_small_pack,
    place,
    varied,
    varied_shards,
)
from typer.testing import CliRunner

from geoseg.chips import stack_places
from geoseg.commands.engine import engine_of
from geoseg.commands.presence import presence_app
from geoseg.errors import ConfigError, DataError, ModelError
from geoseg.metrics.calibration import fit_calibration
from geoseg.models import AnyInput, FixedInput
from geoseg.models.classifier import (
    ClassifierSpec,
    build_classifier,
    load_classifier,
    save_classifier,
)
from geoseg.presence.about import unfinished
from geoseg.presence.ahead import Ahead
from geoseg.presence.packs import ImageKind, read_shard
from geoseg.presence.packs.stored import StoredImage
from geoseg.presence.predict import Prediction, beyond_training, predict_pack
from geoseg.presence.results import part_of_shard, results_table
from geoseg.presence.scoring import Verdict, score
from geoseg.scale import Engine
from geoseg.sensors import find_sensor

PRESENCE = "from geoseg.commands.presence import presence_app; presence_app()"


def noise(seed):
    pixels = np.random.default_rng(seed).integers(1, 2**16, (3, 128, 128), dtype=np.uint16)
    return StoredImage(pixels=pixels, suffix="npy", kind=RGB, time=DAY)


def make_model(path, *, encoder="test_resnet", fixed=True, seed=0, **record):
    torch.manual_seed(seed)
    bands = tuple(find_sensor("sentinel-2").band(name) for name in BANDS)
    given = (
        FixedInput(bands=BANDS, mean=(100.0,) * 3, std=(50.0,) * 3)
        if fixed
        else AnyInput(seen=bands, gsd_m=(10.0, 10.0))
    )
    spec = ClassifierSpec(encoder=encoder, input=given, target="thaw_slump", size_px=16, width=16)
    save_classifier(path, build_classifier(spec), record)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model") / "model.safetensors")


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    return make_small_pack(folder, varied_shards(3, 4))


def one_by_one(pack, model):
    """Logit of each place alone, by its id; NaN of one without a valid pixel."""
    classifier = load_classifier(model).classifier
    logits = {}
    for shard in pack.shards:
        for found in read_shard(shard, pack):
            batch = stack_places([found])
            with torch.inference_mode():
                said = classifier([b.view() for b in batch.batches], batch.owners, 1)
            seen = any(bool(image.valid.any()) for image in found.images)
            logits[found.id] = float(said.places) if seen else np.nan
    return logits


def predict(pack, model, out, **changes):
    fields = {"pack": pack.folder, "model": model, "out": out, "device": "cpu"}
    return predict_pack(Prediction(**{**fields, **changes}), Engine())


def bytes_of(out):
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in out.glob("shard=*/*.parquet")}


@pytest.mark.parametrize("most_images", [1, 5, 256])
def test_places_of_any_shape_get_their_own_logit_in_the_order_of_the_pack(
    pack, model, tmp_path, most_images
):
    done = predict(pack, model, tmp_path, most_images=most_images)

    table = results_table(tmp_path)
    wanted = one_by_one(pack, model)
    assert table["chip_id"].to_pylist() == [f"p{n}" for n in range(12)]
    np.testing.assert_allclose(
        table["logit"].to_numpy(), [wanted[n] for n in table["chip_id"].to_pylist()], atol=1e-5
    )
    assert (done.places, done.unseen, done.problems) == (12, 3, 0)


def test_images_of_a_place_keep_their_order_whatever_they_are(tmp_path):
    """Two sensors and two shapes, not in the order in which they are grouped."""
    model = make_model(tmp_path / "any.safetensors", fixed=False)
    times = [DAY.replace(year=year) for year in (2001, 2005, 2010, 2015)]
    kinds = [SPOT, RGB, SPOT, RGB]
    images = [
        image(n, kind, time=time, shape=shape)
        for n, (kind, time, shape) in enumerate(
            zip(kinds, times, [(16, 16), (16, 24), (16, 24), (16, 16)], strict=True)
        )
    ]
    alone = [place(f"alone{n}", one) for n, one in enumerate(images)]
    pack = make_small_pack(tmp_path / "shards", [[place("all", *images), *alone]])

    predict(pack, model, tmp_path / "out")

    rows = results_table(tmp_path / "out").to_pylist()
    np.testing.assert_allclose(
        rows[0]["image_logits"], [row["image_logits"][0] for row in rows[1:]], atol=1e-4
    )
    assert rows[0]["sensors"] == [kind.sensor_id for kind in kinds]
    assert [int(year) for year in rows[0]["years"]] == [2001, 2005, 2010, 2015]
    assert len(set(rows[0]["image_logits"])) == 4


def test_bands_are_brought_into_the_order_of_the_network(model, tmp_path):
    shuffled = ImageKind(sensor_id="sentinel-2", bands=("blue", "nir", "green", "red"), gsd_m=10.0)
    pixels = np.random.default_rng(3).integers(1, 255, (3, 16, 24), dtype=np.uint8)
    both = [
        StoredImage(pixels=pixels, suffix="npy", kind=replace(RGB, nodata=None), time=DAY),
        StoredImage(
            pixels=np.stack([pixels[2], pixels[0], pixels[1], pixels[0]]),
            suffix="npy",
            kind=shuffled,
            time=DAY,
        ),
    ]
    made = make_small_pack(tmp_path / "s", [[place(str(n), one) for n, one in enumerate(both)]])

    predict(made, model, tmp_path / "out")

    plain, other = results_table(tmp_path / "out")["logit"].to_pylist()
    assert plain == pytest.approx(other, abs=1e-5)


def test_an_image_without_a_band_of_the_network_is_a_problem_of_its_place(model, tmp_path):
    made = make_small_pack(tmp_path / "s", [[place("a", image(1)), place("b", image(2, SPOT))]])

    done = predict(made, model, tmp_path / "out")

    assert results_table(tmp_path / "out")["chip_id"].to_pylist() == ["a"]
    assert [p.key for p in done.first_problems] == ["b"]
    assert "lacks a band of the network (red, green, blue)" in done.first_problems[0].reason


def test_a_rerun_does_only_what_is_missing_and_gives_the_same_bytes(pack, model, tmp_path):
    predict(pack, model, tmp_path)
    before = bytes_of(tmp_path)
    kept = part_of_shard(tmp_path, 0).stat().st_mtime_ns
    part_of_shard(tmp_path, 1).unlink()

    done = predict(pack, model, tmp_path)

    assert bytes_of(tmp_path) == before
    assert part_of_shard(tmp_path, 0).stat().st_mtime_ns == kept
    assert done.places == 12


def test_results_are_recognised_when_their_record_is_lost(pack, model, tmp_path):
    first = predict(pack, model, tmp_path)
    kept = part_of_shard(tmp_path, 0).stat().st_mtime_ns
    (tmp_path / "manifest.sqlite").unlink()

    assert predict(pack, model, tmp_path) == first
    assert part_of_shard(tmp_path, 0).stat().st_mtime_ns == kept


def test_results_of_another_model_pack_or_prevalence_are_not_added_to(pack, model, tmp_path):
    out = tmp_path / "out"
    predict(pack, model, out)
    other = make_model(tmp_path / "other.safetensors", seed=1)
    few = make_small_pack(tmp_path / "smaller", [[varied(0)]])

    with pytest.raises(ConfigError, match=r"another model .*; name another folder"):
        predict(pack, other, out)
    with pytest.raises(ConfigError, match="holds results of another pack"):
        predict(few, model, out)


def test_a_shard_that_is_gone_or_cut_is_told_of_by_name_and_the_others_go_on(model, tmp_path):
    made = make_small_pack(tmp_path / "s", varied_shards(4, 4))
    whole = (tmp_path / "s" / "s2.tar").read_bytes()
    (tmp_path / "s" / "s0.tar").rename(tmp_path / "aside.tar")
    (tmp_path / "s" / "s2.tar").write_bytes(whole[:2000])

    done = predict(made, model, tmp_path / "out")

    assert (done.places, done.shards_done, done.shards) == (8, 2, 4)
    assert [p.key for p in done.first_problems] == ["s0.tar", "s2.tar"]
    assert "No such file" in done.first_problems[0].reason
    assert "has 2000 bytes" in done.first_problems[1].reason
    assert (tmp_path / "out" / "problems.csv").read_text().count("\n") == 3

    (tmp_path / "aside.tar").rename(tmp_path / "s" / "s0.tar")
    (tmp_path / "s" / "s2.tar").write_bytes(whole)
    again = predict(made, model, tmp_path / "out")
    assert (again.places, again.problems) == (16, 0)
    assert not (tmp_path / "out" / "problems.csv").exists()


def test_a_shard_that_is_cut_while_it_is_read_is_told_of(tmp_path):
    made = make_small_pack(tmp_path / "s", [[place(f"p{n}", noise(n)) for n in range(40)]])
    path = made.shards[0].path
    reading = read_shard(made.shards[0], made)
    next(reading)
    os.truncate(path, path.stat().st_size // 2)  # beyond what is read ahead in one block

    with pytest.raises(DataError, match=r"s0\.tar cannot be read to its end"):
        list(reading)


def test_names_that_come_twice_in_different_shards_are_told_of(model, tmp_path):
    made = make_small_pack(tmp_path / "s", [[varied(0), varied(1)], [varied(1), varied(2)]])

    done = predict(made, model, tmp_path / "out")

    assert done.places == 4
    assert [p.key for p in done.first_problems] == ["p1"]
    assert "s0.tar, s1.tar" in done.first_problems[0].reason


@pytest.mark.slow
def test_probabilities_are_calibrated_and_corrected_and_decisions_stay(pack, model, tmp_path):
    rng = np.random.default_rng(0)
    present = rng.random(400) < 0.5
    logits = rng.normal(np.where(present, 1.0, -1.0), 1.5)
    calibration = fit_calibration(logits, present)
    scored = one_by_one(pack, model)
    middle = float(np.nanmedian(calibration.probability(list(scored.values()))))
    record = {
        "calibration": calibration.to_dict(),
        "threshold": {"threshold": middle, "n": 100, "recall": 0.9, "confidence": 0.95},
    }
    calibrated = make_model(tmp_path / "calibrated.safetensors", **record)

    predict(pack, calibrated, tmp_path / "half")
    predict(pack, calibrated, tmp_path / "rare", prevalence=1e-4)

    half, rare = (results_table(tmp_path / name) for name in ("half", "rare"))
    z = half["logit"].to_numpy()
    np.testing.assert_allclose(
        half["probability"].to_numpy(), calibration.probability(z), rtol=1e-5
    )
    np.testing.assert_allclose(
        rare["probability"].to_numpy(), calibration.probability(z, prevalence=1e-4), rtol=1e-5
    )
    assert half["decision"].to_pylist() == rare["decision"].to_pylist()
    assert 0 < sum(bool(d) for d in half["decision"].to_pylist()) < 9
    about = json.loads((tmp_path / "rare" / "results.json").read_text())
    told = (about["threshold"], about["prevalence"], about["state"])
    assert told == (record["threshold"], 1e-4, "done")


def test_a_prevalence_for_a_model_that_is_not_calibrated_is_refused(pack, model, tmp_path):
    with pytest.raises(ModelError, match="not calibrated"):
        predict(pack, model, tmp_path, prevalence=1e-4)


def test_an_uncalibrated_model_decides_at_one_half():
    probability, decided = Verdict.of({})(np.array([-1.0, 0.0, 1.0]), [None] * 3)

    np.testing.assert_allclose(probability, [0.268941, 0.5, 0.731059], atol=1e-6)
    assert decided.tolist() == [False, True, True]


def test_a_network_that_gives_nan_is_not_believed(pack, model):
    classifier = load_classifier(model).classifier
    with torch.no_grad():
        classifier.head.bias.fill_(float("nan"))
    places = read_shard(pack.shards[0], pack)

    with pytest.raises(ModelError, match="not finite"):
        score(places, classifier, Verdict.of({}), device=torch.device("cpu"), on_problem=print)


@pytest.mark.slow
def test_a_run_of_two_processes_that_is_killed_and_gone_on_with_gives_the_bytes_of_one(
    model, tmp_path
):
    made = make_small_pack(tmp_path / "s", varied_shards(12, 40))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        predict(made, model, tmp_path / "one")
    finally:
        torch.set_num_threads(threads)
    out = tmp_path / "killed"
    asked = ["predict", made.folder, "--model", model, "--out", out, "--device", "cpu", "--json"]
    asked += ["--executor", "processes", "--workers", "2"]
    run = subprocess.Popen([sys.executable, "-c", PRESENCE, *asked], stdout=subprocess.DEVNULL)
    while not any(out.glob("shard=*/part.parquet")) and run.poll() is None:
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.wait()

    done = geoseg_here("presence", *asked)

    assert done.returncode == 0, done.stderr
    assert bytes_of(out) == bytes_of(tmp_path / "one")
    assert json.loads(done.stdout)["places"] == 480
    ids = results_table(out, ["chip_id"])["chip_id"].to_pylist()
    assert len(set(ids)) == len(ids) == 480


def test_the_command_ends_with_1_where_something_was_left_out(model, tmp_path):
    made = make_small_pack(tmp_path / "s", [[varied(0)], [varied(1)]])
    (tmp_path / "s" / "s1.tar").unlink()
    asked = ["predict", made.folder, "--model", model, "--out", tmp_path / "out", "--json"]

    done = CliRunner().invoke(presence_app, [*map(str, asked), "--device", "cpu"])

    assert done.exit_code == 1
    assert "s1.tar" in done.stderr
    figures = json.loads(done.stdout)
    assert (figures["places"], figures["shards_done"], figures["problems"]) == (1, 1, 1)


def test_images_unlike_those_of_the_training_are_told_of(model, tmp_path):
    coarse = ImageKind(sensor_id="landsat-8", bands=("red", "swir16"), gsd_m=30.0)
    pixels = np.ones((2, 16, 16), dtype=np.uint8)
    images = (StoredImage(pixels=pixels, suffix="npy", kind=coarse, time=DAY),)
    made = make_small_pack(tmp_path / "s", [[varied(0)], [place("far", *images)]])
    any_bands = make_model(tmp_path / "any.safetensors", fixed=False)

    job = Prediction(pack=made.folder, model=any_bands, out=tmp_path / "out", device="cpu")
    (sentence,) = beyond_training(job)

    assert sentence.startswith("landsat-8: The network extrapolates: it was never shown swir16 at")
    assert "pixels of 30 m (trained at 10 m)" in sentence
    assert beyond_training(replace(job, model=model)) == []  # it takes its own bands or none


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """A model that was calibrated for a prevalence, and its calibration."""
    rng = np.random.default_rng(0)
    present = rng.random(400) < 0.5
    calibration = fit_calibration(rng.normal(np.where(present, 1.0, -1.0), 1.5), present)
    path = tmp_path_factory.mktemp("calibrated") / "model.safetensors"
    return make_model(path, calibration=calibration.to_dict(), prevalence=1e-3), calibration


@pytest.mark.parametrize(("asked", "used"), [(None, 1e-3), (0.2, 0.2)])
def test_the_prevalence_of_the_model_is_taken_where_none_is_asked_for(
    pack, calibrated, tmp_path, asked, used
):
    model, calibration = calibrated

    predict(pack, model, tmp_path, prevalence=asked)

    table = results_table(tmp_path, ["logit", "probability"])
    np.testing.assert_allclose(
        table["probability"].to_numpy(),
        calibration.probability(table["logit"].to_numpy(), prevalence=used),
        rtol=1e-5,
    )
    assert json.loads((tmp_path / "results.json").read_text())["prevalence"] == used


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--prevalence", "3"), "The prevalence is 3; give a number above 0 and below 1."),
        (("--prevalence", "0"), "The prevalence is 0; give a number above 0 and below 1."),
        (("--device", "cuda:77"), "device 'cuda:77' cannot be used"),
        (("--slurm", "memory=1GB"), "A serial engine takes no address and no slurm; use dask."),
        (("--slurm", "gpu"), "--slurm says 'gpu'; give settings as memory=16GB,queue=gpu, or"),
        (("--slurm", '{"memory"}'), "--slurm is no JSON object"),
        (("--executor", "dask", "--slurm", "memory=banana"), "slurm has memory = 'banana'; give"),
        (("--executor", "dask", "--slurm", '{"memory": null}'), "slurm has memory = None; give"),
        (("--slurm", "memory=1GB,threads=few"), "--slurm has threads = 'few'; give 1 or more."),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(
    pack, calibrated, tmp_path, option, words
):
    out = tmp_path / "out"

    done = geoseg_here(
        "presence", "predict", pack.folder, "--model", calibrated[0], "--out", out, *option
    )

    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())
    assert not out.exists()


@pytest.mark.slow
def test_results_tell_how_many_shards_are_missing(pack, model, tmp_path):
    predict(pack, model, tmp_path)
    assert unfinished(tmp_path) is None
    path = tmp_path / "results.json"
    whole = json.loads(path.read_text())
    part_of_shard(tmp_path, 1).unlink()

    # As it is while the first run goes on, or when it was killed.
    path.write_text(json.dumps({**whole, "state": "running"}))
    assert unfinished(tmp_path).startswith("2 of 3 shards are done: what is told is of these")
    for verb, name in (("heat", "h.gpkg"), ("first", "f.parquet"), ("queue", "q.parquet")):
        done = geoseg_here("presence", verb, tmp_path, "--out", tmp_path / name)
        assert done.returncode == 0, done.stderr
        assert "2 of 3 shards are done" in done.stderr
    page = tmp_path / "page.html"
    assert (
        "2 of 3 shards are done"
        in geoseg_here("presence", "report", tmp_path, "--out", page).stderr
    )
    assert "2 of 3 shards are done" in page.read_text(encoding="utf-8")

    predict(pack, model, tmp_path)
    assert unfinished(tmp_path) is None


def test_a_run_says_what_it_makes_before_it_makes_anything(pack, calibrated, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        predict_pack(
            Prediction(pack=pack.folder, model=calibrated[0], out=tmp_path, device="cpu"),
            Engine(),
            on_shard=interrupt,
        )

    told = json.loads((tmp_path / "results.json").read_text())
    assert (told["state"], told["shards"], told["prevalence"]) == ("running", 3, 1e-3)
    assert told["calibration"]["pooled"]["prior"] == calibrated[1].prior


def interrupt(*_):
    raise KeyboardInterrupt


def test_settings_of_a_job_are_read_from_pairs_and_from_json():
    pairs = "queue=gpu, memory=16GB,walltime=04:00:00,job_extra_directives=--gres=gpu:1,threads=3"
    same = {
        "queue": "gpu",
        "memory": "16GB",
        "walltime": "04:00:00",
        "job_extra_directives": ["--gres=gpu:1"],
        "threads": 3,
    }

    one, two = (engine_of("dask", 40, None, text) for text in (pairs, json.dumps(same)))

    assert one == two
    assert (one.workers, one.threads) == (40, 3)
    assert dict(one.slurm) == {key: value for key, value in same.items() if key != "threads"}


@pytest.mark.slow
def test_a_job_of_slurm_is_asked_for_with_the_settings_of_the_command(
    pack, model, tmp_path, monkeypatch
):
    """Its commands are stood in for: `sbatch` keeps the script, as Slurm does, and runs it here."""
    commands = tmp_path / "bin"
    commands.mkdir()
    script = tmp_path / "job.sh"
    for name, text in (
        ("sbatch", f'cp "$1" {script}; bash {script} > {tmp_path}/log 2>&1 & echo 123'),
        ("scancel", "exit 0"),
    ):
        (commands / name).write_text(f"#!/bin/bash\n{text}\n")
        (commands / name).chmod(0o755)
    slurm = "queue=gpu,memory=16GB,walltime=04:00:00,interface=lo,job_extra_directives=--gres=gpu:1"

    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    done = geoseg_here(
        "presence", "predict", pack.folder, "--model", model, "--out", tmp_path / "out",
        "--device", "cpu", "--executor", "dask", "--slurm", f"{slurm},threads=2", "--json",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["places"] == 12
    job = script.read_text()
    for line in ("-p gpu", "--mem=15G", "-t 04:00:00", "--gres=gpu:1", "--cpus-per-task=2"):
        assert f"#SBATCH {line}\n" in job
    assert "export OMP_NUM_THREADS=2" in job


def test_what_is_no_pack_and_no_model_is_refused(pack, model, tmp_path):
    with pytest.raises(DataError, match="is no finished pack"):
        predict(replace(pack, folder=tmp_path), model, tmp_path / "out")
    with pytest.raises(ModelError, match=r"m\.safetensors is no file"):
        predict(pack, tmp_path / "m.safetensors", tmp_path / "out")


def test_items_made_ahead_come_in_order_and_errors_where_they_belong():
    def items():
        yield from range(5)
        raise ValueError("the end")

    found = []
    with pytest.raises(ValueError, match="the end"), Ahead(items(), most=2) as ahead:
        found += ahead

    assert found == [0, 1, 2, 3, 4]
