import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from conftest import scene_of, write_raster
from typer.testing import CliRunner

from geoseg.commands.presence import presence_app
from geoseg.models import ClassifierSpec, FixedInput, build_classifier, save_classifier
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
