import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from conftest import scene_of, write_raster
from typer.testing import CliRunner

from geoseg.commands.presence import presence_app
from geoseg.errors import ConfigError, LabelError, ModelError
from geoseg.files import sha256_of
from geoseg.metrics.calibration import fit_calibration
from geoseg.models import (
    ClassifierSpec,
    FixedInput,
    build_classifier,
    load_classifier,
    save_classifier,
)
from geoseg.scenes import scan_items, write_catalog, write_scene

BANDS = ("red", "nir08")


def presence(*arguments):
    return CliRunner().invoke(presence_app, [str(argument) for argument in arguments])


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    spec = ClassifierSpec(
        encoder="resnet10t",
        input=FixedInput(bands=BANDS, mean=(100.0, 100.0), std=(50.0, 50.0)),
        target="thaw_slump",
        size_px=16,
        width=8,
    )
    path = tmp_path / "model.safetensors"
    save_classifier(path, build_classifier(spec).eval(), {})
    return path


@pytest.fixture
def scenes(tmp_path):
    """A catalogue of three images of one ground."""
    rng = np.random.default_rng(0)
    for number in range(3):
        image = rng.normal(100, 40, (2, 120, 160)).astype(np.float32)
        write_raster(tmp_path / f"{number}.tif", image)
        scene = scene_of(tmp_path / f"{number}.tif")
        start = datetime(2000 + number, 7, 1, tzinfo=UTC)
        scene = replace(scene, start=start, end=start + timedelta(days=1))
        write_scene(scene, tmp_path / f"{number}.json")
    found = scan_items(tmp_path, checksums=False)
    write_catalog(found.entries, tmp_path / "all.parquet")
    return tmp_path / "all.parquet"


@pytest.mark.slow
def test_scenes_are_embedded_and_scored_on_the_command_line(model, scenes, tmp_path):
    rows, out = tmp_path / "rows", tmp_path / "results"
    options = ["--model", model, "--scenes", scenes, "--chip-m", 480, "--out", rows, "--json"]

    first = presence("embed", *options)
    again = presence("embed", *options)
    scored = presence("score", rows, "--model", model, "--out", out, "--json")

    assert first.exit_code == 0, first.stderr
    one, two = json.loads(first.stdout), json.loads(again.stdout)
    assert (one["units"], one["skipped"], two["skipped"]) == (3, 0, 3)
    assert one["rows"] == two["rows"] > 300
    assert scored.exit_code == 0, scored.stderr
    figures = json.loads(scored.stdout)
    assert figures["images"] == one["rows"] == 3 * figures["places"]
    assert not figures["calibrated"]
    assert "has no calibration" in scored.stderr
    table = pq.read_table(out / "shard=000000" / "part.parquet")
    assert table.num_rows == figures["places"]
    assert json.loads((out / "results.json").read_text())["places"] == figures["places"]


def test_a_scene_that_fails_is_named_and_the_exit_code_is_1(model, scenes, tmp_path):
    (tmp_path / "1.tif").write_bytes(b"no raster")

    done = presence(
        "embed", "--model", model, "--scenes", scenes, "--chip-m", 480, "--out", tmp_path / "rows",
        "--json",
    )  # fmt: skip

    assert done.exit_code == 1
    figures = json.loads(done.stdout)
    assert figures["units"] == 2
    assert [failure["name"] for failure in figures["failed"]] == ["1"]
    assert "1 failed and is passed over" in done.stderr


@pytest.mark.usefixtures("scenes")
def test_a_raster_that_is_described_by_options_is_embedded(model, tmp_path):
    described = ["--sensor", "landsat-7", "--bands", "red,nir08", "--date", "2000-10-30"]

    done = presence(
        "embed", "--model", model, "--scene", tmp_path / "0.tif", *described, "--chip-m", 480,
        "--out", tmp_path / "rows", "--min-valid", 0.9,
    )  # fmt: skip

    assert done.exit_code == 0, done.stderr
    assert "Embedded 1 parts of scenes" in done.stdout
    assert "The rows lie in" in done.stderr


@pytest.fixture
def scored(model, scenes, tmp_path):
    """Rows, and what the model says of their places."""
    rows, out = tmp_path / "rows", tmp_path / "results"
    presence("embed", "--model", model, "--scenes", scenes, "--chip-m", 480, "--out", rows)
    presence("score", rows, "--model", model, "--out", out)
    table = pq.read_table(out / "shard=000000" / "part.parquet")
    return rows, table.select(["chip_id", "lon", "lat", "image_logits"]).to_pandas()


def labels_of(path, table):
    path.write_text(table.to_csv(index=False))
    return path


@pytest.mark.slow
def test_a_head_is_fitted_to_labels_and_scored_with_on_the_command_line(model, scored, tmp_path):
    rows, places = scored
    told = places.image_logits.map(np.mean)
    places["present"] = told > told.quantile(0.6)
    known = places.iloc[::2]
    named = labels_of(tmp_path / "named.csv", known[["chip_id", "present"]])
    drawn = known[["lon", "lat", "present"]].assign(chip_id=lambda t: [f"p{i}" for i in t.index])
    drawn.lon += 1e-4  # anywhere in the cell
    one, other = tmp_path / "one.safetensors", tmp_path / "other.safetensors"

    made = presence("head", rows, "--labels", named, "--model", model, "--out", one, "--json")
    positions = labels_of(tmp_path / "drawn.csv", drawn)
    again = presence("head", rows, "--labels", positions, "--model", model, "--out", other)
    done = presence(
        "score", rows, "--model", model, "--head", one, "--out", tmp_path / "new", "--json"
    )

    assert (made.exit_code, again.exit_code, done.exit_code) == (0, 0, 0), made.stderr
    figures = json.loads(made.stdout)
    assert figures["present"] == known.present.sum()
    assert figures["absent"] == (~known.present).sum()
    assert figures["images"] == 3 * figures["labels"]
    assert one.read_bytes() == other.read_bytes()
    found = pq.read_table(tmp_path / "new" / "shard=000000" / "part.parquet").to_pandas()
    found = found.set_index("chip_id").loc[places.chip_id]
    rest = np.arange(len(places)) % 2 == 1
    right = found.image_logits.map(np.mean).to_numpy() >= 0
    assert (right == places.present.to_numpy())[rest].mean() > 0.85
    about = json.loads((tmp_path / "new" / "results.json").read_text())
    assert about["head"] == sha256_of(one)


@pytest.mark.slow
def test_labels_that_lie_nowhere_are_named_and_the_others_make_the_head(model, scored, tmp_path):
    rows, places = scored
    table = places[["chip_id"]].assign(present=np.arange(len(places)) % 2 == 0)
    table.loc[0, "chip_id"] = str(2**63)
    table.loc[1, "chip_id"] = "a.png"
    table.loc[4, "chip_id"] = "٤٢"  # digits to Python, not to a grid
    table.loc[5, "chip_id"] = "9" * 5000
    table["present"] = table["present"].astype(object)
    table.loc[2, "present"] = "perhaps"
    table.loc[3, "present"] = ""
    labels = labels_of(tmp_path / "labels.csv", table)
    out = tmp_path / "head.safetensors"

    done = presence("head", rows, "--labels", labels, "--model", model, "--out", out, "--json")

    assert done.exit_code == 1
    assert f"{2**63}: it is no chip_id of `geoseg presence score`" in done.stderr
    assert "a.png: it is no chip_id" in done.stderr
    figures = json.loads(done.stdout)
    assert (figures["labels"], len(figures["problems"])) == (len(places) - 6, 5)
    assert out.is_file()


@pytest.mark.slow
def test_labels_where_no_row_lies_are_named_and_not_counted(model, scored, tmp_path):
    rows, places = scored
    near = places[["chip_id", "lon", "lat"]].assign(present=np.arange(len(places)) % 2 == 0)
    far = [{"chip_id": f"far{n}", "lon": 10.0, "lat": 10.0 + n, "present": True} for n in range(6)]
    labels = labels_of(tmp_path / "labels.csv", pd.concat([pd.DataFrame(far), near]))
    out = tmp_path / "head.safetensors"

    done = presence("head", rows, "--labels", labels, "--model", model, "--out", out, "--json")

    assert done.exit_code == 1
    assert "far4: no row lies there; embed scenes that show it." in done.stderr
    assert "far5" not in done.stderr
    assert "6 problems in all: --json names them" in done.stderr
    figures = json.loads(done.stdout)
    assert figures["labels"] == len(places) == figures["present"] + figures["absent"]
    assert [key for key, _ in figures["problems"]] == [f"far{n}" for n in range(6)]


@pytest.mark.slow
def test_labels_of_which_none_is_known_are_told_as_such(model, scored, tmp_path):
    rows, places = scored
    labels = labels_of(tmp_path / "labels.csv", places[["chip_id"]].assign(present=""))

    with pytest.raises(LabelError, match="No label tells what a place holds"):
        raise presence("head", rows, "--labels", labels, "--model", model).exception


@pytest.mark.slow
def test_a_head_never_replaces_a_model_and_may_replace_a_head(model, scored, tmp_path):
    rows, places = scored
    table = places[["chip_id"]].assign(present=np.arange(len(places)) % 2 == 0)
    labels = labels_of(tmp_path / "labels.csv", table)
    beside, out = model.with_suffix(".json"), tmp_path / "head.safetensors"
    before = model.read_bytes(), beside.read_bytes()
    asked = ("head", rows, "--labels", labels, "--model", model, "--out")

    with pytest.raises(ConfigError, match=r"model\.safetensors is there and no head; name another"):
        raise presence(*asked, model).exception
    made = [presence(*asked, out).exit_code for _ in range(2)]

    assert (model.read_bytes(), beside.read_bytes()) == before
    assert made == [0, 0]


@pytest.mark.slow
def test_a_head_for_rows_of_another_model_or_under_another_name_is_refused(model, scored, tmp_path):
    rows, places = scored
    labels = labels_of(tmp_path / "labels.csv", places[["chip_id"]].assign(present=1))
    torch.manual_seed(1)
    other, out = tmp_path / "other.safetensors", tmp_path / "head.safetensors"
    save_classifier(other, build_classifier(load_classifier(model).classifier.spec).eval(), {})

    with pytest.raises(ModelError, match="holds rows of another model"):
        raise presence("head", rows, "--labels", labels, "--model", other, "--out", out).exception
    with pytest.raises(ConfigError, match=r"let it end in '\.safetensors'"):
        raise presence(
            "head", rows, "--labels", labels, "--model", model, "--out", tmp_path / "head.json"
        ).exception
    assert not list(tmp_path.glob("head*"))


@pytest.mark.slow
def test_a_prevalence_that_is_none_is_refused_before_anything_is_written(model, scored, tmp_path):
    present = np.arange(40) % 2 == 0
    calibration = fit_calibration(np.where(present, 1.0, -1.0) + np.arange(40) % 3, present)
    shipped, out = tmp_path / "shipped.safetensors", tmp_path / "new"
    record = {"calibration": calibration.to_dict()}
    save_classifier(shipped, load_classifier(model).classifier, record)

    with pytest.raises(ConfigError, match="The prevalence is 2; give a number above 0 and below 1"):
        raise presence(
            "score", scored[0], "--model", shipped, "--prevalence", 2, "--out", out
        ).exception
    assert not out.exists()
