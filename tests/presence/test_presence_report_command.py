"""`geoseg presence report` and `geoseg presence queue`, on results and a pack on disk."""

import json
import math
import sqlite3
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyogrio
import pytest
import torch
import typer
from report.shown_places import BANDS, image_of, place_of
from typer.testing import CliRunner

from geoseg.commands.presence.queue import queue
from geoseg.commands.presence.report import report
from geoseg.errors import ConfigError, DataError, LabelError
from geoseg.files import sha256_of, write_json
from geoseg.metrics.calibration import Calibration, fit_calibration
from geoseg.metrics.prevalence import HeldOut
from geoseg.models import AnyInput, ClassifierSpec, build_classifier, save_classifier
from geoseg.presence.packs import ImageKind, Shard, StoredImage, StoredPlace
from geoseg.presence.packs.pack import write_pack
from geoseg.presence.packs.tables import TableWriter
from geoseg.presence.results import RESULTS, Result, part_of_shard, write_part
from geoseg.presence.scores import estimate_of_results, write_held_out
from geoseg.report.presence_results import report_of_results

THRESHOLD = 0.2
SHARDS, PLACES = 3, 40

app = typer.Typer()
app.command()(report)
app.command()(queue)


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def chip_id(shard, number):
    return f"s{shard}/<b>{number:03d}</b>"


def probabilities(shard):
    """Of the places of a shard; one was not seen, the first is the surest."""
    rng = np.random.default_rng(shard)
    chances = 1 / (1 + np.exp(-rng.normal(-2, 2, PLACES)))
    return [0.999, *chances[2:].tolist(), None]


def holds(shard, number):
    return (shard * PLACES + number) % 7 == 0


def stored(shard, number):
    place = place_of(chip_id(shard, number), present=holds(shard, number), seed=number)
    images = [
        StoredImage(
            pixels=np.where(chip.valid.numpy(), chip.image.numpy(), np.nan).astype(np.float32),
            suffix="npy",
            kind=ImageKind(
                sensor_id=chip.sensor_id,
                bands=tuple(band.common_name for band in chip.bands),
                gsd_m=chip.gsd_m,
            ),
            time=chip.time,
        )
        for chip in place.images[::-1]
    ]
    return StoredPlace(
        id=place.id, lon=place.lon, lat=place.lat, present=None, images=tuple(images)
    )


def result(shard, number, probability, *, known):
    years = (1976.5, 2019.5, 2021.5)
    return Result(
        id=chip_id(shard, number),
        lon=130 + 0.05 * number,
        lat=69 + 0.2 * shard if number != 7 else math.nan,
        present=holds(shard, number) if known else None,
        times=tuple(datetime(int(year), 7, 12, tzinfo=UTC) for year in years),
        years=years,
        sensors=("hexagon-kh9-mapping", "sentinel-2", "sentinel-1"),
        image_logits=(0.0, 0.0, 0.0),
        image_valid=(1.0, 1.0, 1.0),
        logit=None if probability is None else math.log(probability / (1 - probability)),
        probability=probability,
        decision=None if probability is None else probability >= THRESHOLD,
    )


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pack")
    kinds, shards = {}, []
    for shard in range(SHARDS):
        path = folder / f"{shard:06d}.parquet"
        writer = TableWriter(path)
        for number in range(PLACES):
            place = stored(shard, number)
            kinds |= {i.kind: np.zeros((len(i.kind.bands), 4), np.float32) for i in place.images}
            writer.add(place)
        writer.close()
        shards.append(
            Shard(
                path=path,
                places=PLACES,
                images=3 * PLACES,
                bytes=path.stat().st_size,
                sha256=sha256_of(path),
            )
        )
    return write_pack(folder, kinds, shards, source="test")


def results_of(folder, made, *, known=True, **told):
    for shard in range(SHARDS):
        rows = [result(shard, n, p, known=known) for n, p in enumerate(probabilities(shard))]
        write_part(part_of_shard(folder, shard), rows, model="0123", told=None)
    about = {
        "geoseg": "1",
        "model": "0123",
        "target": "thaw_slump",
        "pack": str(made.folder),
        "pack_digest": made.digest,
        "threshold": THRESHOLD,
        "prevalence": None,
        "calibrated": True,
        "problems": 3,
        "first_problems": [{"key": "<i>bad</i>", "reason": "it is damaged."}],
    }
    write_json(folder / RESULTS, {**about, **told})
    return folder


@pytest.fixture
def results(tmp_path, pack):
    return results_of(tmp_path / "results", pack)


def table_of():
    """All places with a probability, and what they hold."""
    rows = [
        (chip_id(shard, n), p, holds(shard, n))
        for shard in range(SHARDS)
        for n, p in enumerate(probabilities(shard))
        if p is not None
    ]
    return pd.DataFrame(rows, columns=["chip_id", "probability", "present"])


# ---- The page ----


@pytest.mark.slow
def test_the_page_is_written_from_results_and_the_pack_they_name(results, tmp_path):
    out = tmp_path / "r" / "page.html"

    done = run("report", results, "--out", out, "--json")

    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    rows = table_of()
    found = rows.probability >= THRESHOLD
    assert (told["places"], told["unscored"], told["found"]) == (
        SHARDS * PLACES, SHARDS, int(found.sum())
    )  # fmt: skip
    assert told["truth"]["positives"] == int(rows.present.sum())
    assert told["truth"]["recall_at_threshold"]["value"] == pytest.approx(
        found[rows.present].mean()
    )
    page = out.read_text(encoding="utf-8")
    assert page.count("data:image/webp") == page.count('class="image"') > 30
    assert "&lt;b&gt;" in page
    assert "<b>0" not in page.replace("<b>0.", "")
    assert "3 problems" in page
    assert "&lt;i&gt;bad&lt;/i&gt;: it is damaged." in page
    assert "and 2 more." in page
    expected = rows.probability.sum()
    assert f"{expected:.1f}" in page


@pytest.mark.slow
def test_the_total_has_an_interval_where_the_calibration_of_the_model_is_given(tmp_path, pack):
    rng = np.random.default_rng(0)
    present = np.arange(600) < 200
    logits = rng.normal(np.where(present, 2.0, -2.0), 2.0)
    calibration = fit_calibration(logits, present)
    results = results_of(tmp_path / "results", pack, calibration=calibration.to_dict())
    plain = results_of(tmp_path / "plain", pack)
    kept = HeldOut(log_ratio=calibration.log_ratio(logits), present=present)
    held_out, other = tmp_path / "calibration.parquet", tmp_path / "other.parquet"
    write_held_out(held_out, kept, model="0123")
    write_held_out(other, kept, model="4567")
    asked = ("report", results, "--out", tmp_path / "page.html", "--json", "--held-out")

    done = run(*asked, held_out)

    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    total = told["total"]
    assert total["low"] < total["value"] < total["high"]
    # Of the places that were seen: the other one of each shard says nothing.
    share = estimate_of_results(results, calibration, kept)
    seen = SHARDS * (PLACES - 1)
    assert (told["unscored"], total["of_places"]) == (SHARDS, seen)
    assert total["value"] == pytest.approx(share.value * seen)
    assert total["high"] == pytest.approx(share.high * seen)
    words = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert f"Estimated number in the {seen} places that were seen" in words
    # Logits of mean -2: nearly all of the places are like those without it.
    assert total["value"] < 0.4 * SHARDS * PLACES
    assert "90 % interval" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert isinstance(run(*asked, other).exception, ConfigError)
    with pytest.raises(ConfigError, match="that was not calibrated"):
        report_of_results(plain, held_out=held_out)


def test_places_on_the_sheets_have_the_images_of_their_own(results):
    made = report_of_results(results)

    shown = {place.id: place for sheet in made.sheets for place in sheet.places}
    assert all(len(place.images) == 3 for place in shown.values())
    assert {chip_id(shard, 0) for shard in range(SHARDS)} <= set(shown)
    slump, none = (
        next(p for p in shown.values() if p.present is present) for present in (True, False)
    )
    assert [image.when[:4] for image in slump.images] == ["1976", "2019", "2021"]
    # The bowl in the middle of the newest image.
    middle = [place.images[-1].picture[14:18, 14:18].mean() for place in (slump, none)]
    assert middle[0] > 230
    assert middle[1] < 200


def test_without_its_pack_the_page_lists_places_without_images(tmp_path, pack):
    results = results_of(tmp_path / "results", pack, pack=str(tmp_path / "gone"))

    done = run("report", results, "--out", tmp_path / "page.html", "--json")

    assert done.exit_code == 0, done.stderr
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "data:image/webp" not in page
    assert "geo:69." in page


def classifier_of(folder, bias, **record):
    """A network whose evidence is the same everywhere."""
    bands = tuple(band for name in BANDS for band in image_of(name, 2020).bands)
    spec = ClassifierSpec(
        encoder="test_resnet", input=AnyInput(seen=bands, gsd_m=(10, 10)), target="t", size_px=32
    )
    classifier = build_classifier(spec)
    torch.nn.init.zeros_(classifier.head.weight)
    torch.nn.init.constant_(classifier.head.bias, bias)
    save_classifier(folder / "model.safetensors", classifier, record)
    return folder / "model.safetensors"


# Without a calibration places are held to be present from the logit of the threshold on.
@pytest.mark.slow
@pytest.mark.parametrize(("bias", "threshold"), [(-1.0, 0.5), (1.0, 0.5), (-1.0, 0.2), (1.0, 0.9)])
def test_with_its_model_lines_are_around_what_speaks_for_presence(tmp_path, pack, bias, threshold):
    model = classifier_of(tmp_path, bias, threshold={"threshold": threshold})
    over = bias - math.log(threshold / (1 - threshold))
    results = results_of(tmp_path / "results", pack, model=sha256_of(model))

    made = report_of_results(results, model=model)

    maps = [i.evidence for s in made.sheets for p in s.places for i in p.images]
    assert len(maps) > 50
    for evidence in maps:
        shown = evidence[evidence > -900]  # nothing is shown there
        np.testing.assert_allclose(shown, over, atol=1e-5)
    assert all((evidence.max() > 0) == (over > 0) for evidence in maps)
    page = tmp_path / "page.html"
    done = run("report", results, "--model", model, "--out", page)
    assert ('<svg class="line"' in page.read_text(encoding="utf-8")) == (over > 0)
    assert "No lines are drawn" not in done.stderr


def test_a_model_that_finds_no_images_to_draw_on_is_told_of(tmp_path, pack):
    model = classifier_of(tmp_path, 1.0)
    gone = {"pack": str(tmp_path / "gone"), "model": sha256_of(model)}
    results = results_of(tmp_path / "results", pack, **gone)

    done = run("report", results, "--model", model, "--out", tmp_path / "page.html")

    assert done.exit_code == 0, done.stderr
    assert "No lines are drawn, for no images of these places are at hand" in done.stderr


def test_another_model_is_refused(tmp_path, results):
    done = run("report", results, "--model", classifier_of(tmp_path, 0.0))

    assert isinstance(done.exception, ConfigError)
    assert "is not the model of these results (0123)" in str(done.exception)


@pytest.mark.slow
def test_labels_of_a_table_make_truth(tmp_path, pack):
    results = results_of(tmp_path / "results", pack, known=False)
    table_of()[["chip_id", "present"]].to_csv(tmp_path / "labels.csv", index=False)

    without = run("report", results, "--out", tmp_path / "a.html", "--json")
    done = run(
        "report",
        results,
        "--labels",
        tmp_path / "labels.csv",
        "--out",
        tmp_path / "b.html",
        "--json",
    )

    assert "truth" not in json.loads(without.stdout)
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "Of none of these places it is known what they hold." in page
    assert "False alarms" not in page
    assert json.loads(done.stdout)["truth"]["positives"] == int(table_of().present.sum())


@pytest.mark.slow
def test_labels_of_one_kind_tell_the_recall_in_a_sentence(tmp_path, pack):
    results = results_of(tmp_path / "results", pack, known=False)
    rows = table_of()
    kinds = {"present": rows[rows.present], "absent": rows[~rows.present]}
    pages = {}
    for name, kind in kinds.items():
        kind[["chip_id", "present"]].to_parquet(tmp_path / f"{name}.parquet")
        done = run(
            "report", results, "--labels", tmp_path / f"{name}.parquet",
            "--out", tmp_path / f"{name}.html",
        )  # fmt: skip
        assert done.exit_code == 0, done.stderr
        pages[name] = (tmp_path / f"{name}.html").read_text(encoding="utf-8")

    recall = (kinds["present"].probability >= THRESHOLD).mean()
    wrong = int((kinds["absent"].probability >= THRESHOLD).sum())
    assert f"a recall of {recall:.3f}" in pages["present"]
    assert f"hold none, and {wrong} of them are said to" in pages["absent"]


@pytest.mark.slow
@pytest.mark.parametrize("threshold", [0.3, 0.97])
def test_the_threshold_is_that_of_the_probabilities_at_their_prevalence(tmp_path, pack, threshold):
    """Whatever was decided, and also for a sensor that has a curve of its own."""
    calibration = curves()
    results = results_of(
        tmp_path / "results", pack, calibration=calibration, prevalence=1e-3, threshold=threshold
    )

    done = run("report", results, "--out", tmp_path / "page.html", "--json")

    told = json.loads(done.stdout)["threshold"]
    of = Calibration.from_dict(calibration)
    for sensor in ("spot-5", None):
        z = np.linspace(-30, 30, 100_001)
        decided = of.probability(z, [sensor] * len(z)) >= threshold
        rare = of.probability(z, [sensor] * len(z), prevalence=1e-3)
        assert rare[~decided].max() < told <= rare[decided].min()


def test_a_prevalence_of_a_model_without_a_calibration_is_told_as_damage(tmp_path, pack):
    results = results_of(tmp_path / "results", pack, prevalence=1e-3)

    with pytest.raises(DataError, match=r"results\.json cannot be read .*; predict again"):
        raise run("report", results, "--out", tmp_path / "page.html").exception


def curves():
    """A calibration in which one sensor differs from the others."""
    rng = np.random.default_rng(0)
    present = np.arange(800) % 4 == 0
    sensors = np.where(rng.random(800) < 0.5, "spot-5", "landsat-7")
    logits = rng.normal(np.where(present, 2.0, -2.0), 2.0)
    logits[sensors == "spot-5"] += 6
    found = fit_calibration(logits, present, sensors.tolist())
    assert "spot-5" in found.sensors
    return found.to_dict()


@pytest.mark.slow
def test_what_the_threshold_promises_is_told(tmp_path, pack):
    rule = {"threshold": THRESHOLD, "n": 210, "recall": 0.95, "confidence": 0.9}
    results = results_of(tmp_path / "results", pack, threshold=rule)

    run("report", results, "--out", tmp_path / "page.html")

    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "set on 210 held-out places" in page
    assert "at least 95 % of such places are found, with a confidence of 90 %" in page


@pytest.mark.slow
def test_first_appearances_are_on_the_page_where_they_are_given(results, tmp_path):
    first = pd.DataFrame(
        {
            "chip_id": ["a", "b", "c"],
            "first_until": [2003.5, 1999.5, np.nan],
            "first_year": [2001.5, np.nan, np.nan],
            "low": [2000.0, np.nan, np.nan],
            "high": [2003.0, 1999.0, np.nan],
        }
    )
    first.to_parquet(tmp_path / "first.parquet")

    done = run(
        "report", results, "--first", tmp_path / "first.parquet", "--out", tmp_path / "page.html"
    )

    assert done.exit_code == 0, done.stderr
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "1 first appear in one of these years; 1 were probably there before" in page
    assert (tmp_path / "page_figures" / "first_years.png").is_file()


def test_results_without_a_row_have_a_page(tmp_path, pack):
    results = results_of(tmp_path / "results", pack)
    for shard in range(SHARDS):
        write_part(part_of_shard(results, shard), [], model="0123", told=None)

    done = run("report", results, "--out", tmp_path / "page.html", "--json")

    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["places"] == 0
    assert "There is no result here" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_what_is_no_prediction_is_refused_in_one_sentence(results, pack, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    other = write_pack(tmp_path / "other", pack.kinds, [pack.shards[0]], source="test")
    out = ("--out", tmp_path / "page.html")

    for arguments, error, words in (
        ((tmp_path / "empty", *out), DataError, "holds no results"),
        ((results, "--out", tmp_path / "page.pdf"), ConfigError, r"let it end in '\.html'"),
        ((results, "--pack", other.folder, *out), ConfigError, "is not the pack of these results"),
        ((results, "--labels", tmp_path / "other.csv", *out), LabelError, "no column chip_id"),
        ((results, "--first", tmp_path / "other.csv", *out), DataError, "cannot be read"),
    ):
        done = run("report", *arguments)

        with pytest.raises(error, match=words):
            raise done.exception
    assert not (tmp_path / "page.html").exists()


def test_damaged_results_json_is_told(results, tmp_path):
    (results / RESULTS).write_text("{")

    with pytest.raises(DataError, match=r"results\.json cannot be read"):
        raise run("report", results, "--out", tmp_path / "page.html").exception


# ---- The queue ----


def test_the_queue_is_written_with_a_layer_beside_it(results, tmp_path):
    out = tmp_path / "q" / "queue.parquet"

    done = run("queue", results, "--count", 30, "--apart-m", 0, "--out", out, "--json")

    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["places"], told["unscored"]) == (SHARDS * (PLACES - 1), SHARDS)
    assert (told["surest"], told["doubtful"], told["audit"]) == (18, 9, 3)
    rows = pd.read_parquet(out)
    best = table_of().nlargest(18, "probability").chip_id
    assert set(rows.chip_id[rows.why == "surest"]) == set(best)
    layer = pyogrio.read_dataframe(out.with_suffix(".gpkg"), layer="queue")
    assert layer.chip_id.tolist() == rows.chip_id.tolist()
    placed = rows.lat.notna().to_numpy()
    assert 0 < placed.sum() < 30
    assert (layer.geometry.notna() == placed).all()
    np.testing.assert_allclose(layer.geometry[placed].x, rows.lon[placed])
    np.testing.assert_allclose(layer.geometry[placed].y, rows.lat[placed])
    assert layer.crs.to_epsg() == 4326
    with sqlite3.connect(out.with_suffix(".gpkg")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_the_same_seed_draws_the_same_audit_and_another_one_another(results, tmp_path):
    audits = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(
            "queue", results, "--count", 20, "--strategy", "audit", "--seed", seed,
            "--out", tmp_path / f"{name}.parquet",
        )  # fmt: skip
        audits.append(pd.read_parquet(tmp_path / f"{name}.parquet").chip_id.tolist())

    assert audits[0] == audits[1] != audits[2]
    assert pd.read_parquet(tmp_path / "a.parquet").inclusion_probability.unique() == (
        pytest.approx(20 / (SHARDS * (PLACES - 1)))
    )


def test_a_queue_of_no_result_is_an_empty_table_and_layer(tmp_path, pack):
    results = results_of(tmp_path / "results", pack)
    for shard in range(SHARDS):
        write_part(part_of_shard(results, shard), [], model="0123", told=None)
    out = tmp_path / "queue.parquet"

    done = run("queue", results, "--out", out, "--json")

    assert done.exit_code == 0, done.exception
    assert len(pd.read_parquet(out)) == 0
    assert len(pyogrio.read_dataframe(out.with_suffix(".gpkg"), layer="queue")) == 0


def test_a_queue_that_cannot_be_made_is_refused(results, tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'doubtful'"):
        raise run("queue", results, "--strategy", "doubtfull").exception
    with pytest.raises(ConfigError, match=r"let it end in '\.parquet'"):
        raise run("queue", results, "--out", tmp_path / "queue.csv").exception
