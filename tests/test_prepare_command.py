"""`geoseg catalog prepare`, and what `geoseg predict` says of an image that lies nowhere."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
import rasterio
import torch
from command_line import geoseg_here
from conftest import scene_of, two_band_spec, write_raster
from rasterio.errors import NotGeoreferencedWarning
from typer.testing import CliRunner

from geoseg.cli import app
from geoseg.models import build_segmenter, save_checkpoint
from geoseg.scenes import read_catalog, scan_scene, write_catalog

FILM = ("--sensor", "hexagon-kh9-mapping", "--bands", "pan", "--date", "1980-08-22")


def bare_scan(path, count=1):
    """An image without any georeference."""
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", driver="GTiff", height=90, width=120, count=count, dtype="uint8"
        ) as raster:
            raster.write(rng.integers(20, 200, (count, 90, 120)).astype(np.uint8))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("executor", [(), ("--executor", "processes", "--workers", "2")])
def test_a_catalogue_becomes_a_catalogue_of_prepared_scenes(tmp_path, executor):
    rng = np.random.default_rng(0)
    scenes = []
    for name in ("a", "b", "cut"):
        image = rng.integers(1, 255, (2, 200, 170)).astype(np.uint8)
        image[:, :9] = 0
        scenes.append(scene_of(write_raster(tmp_path / f"{name}.tif", image, nodata=0)))
    scenes.append(replace(scenes[1], id="B"))  # some file systems know no capitals
    write_catalog([scan_scene(scene) for scene in scenes], tmp_path / "catalog.parquet")
    cut = tmp_path / "cut.tif"
    cut.write_bytes(cut.read_bytes()[:30_000])

    done = geoseg_here(
        "catalog", "prepare", "catalog.parquet", "--out", "out", *executor, "--json", cwd=tmp_path
    )

    assert done.returncode == 1, done.stderr
    figures = json.loads(done.stdout)
    assert figures["failed"] == 2
    errors = {one["scene"]: one["error"] for one in figures["scenes"]}
    assert list(errors) == ["a", "b", "cut", "B"]
    assert errors["a"] is errors["b"] is None
    assert "cut failed and is passed over" in done.stderr
    assert "Another scene goes to the folder 'B' of" in errors["B"]
    entries = read_catalog(tmp_path / "out" / "catalog.parquet").entries
    assert [entry.scene.id for entry in entries] == ["a", "b"]
    with rasterio.open(entries[0].scene.mask.path) as raster:
        mask = raster.read(1)
    assert not mask[:9].any()
    assert mask[9:].all()


def test_the_only_scene_of_a_catalogue_says_why_it_failed(tmp_path):
    path = write_raster(tmp_path / "cut.tif", np.ones((2, 200, 170), np.uint8))
    write_catalog([scan_scene(scene_of(path))], tmp_path / "catalog.parquet")
    path.unlink()

    done = CliRunner().invoke(
        app, ["catalog", "prepare", str(tmp_path / "catalog.parquet"), "--out", str(tmp_path / "o")]
    )

    assert done.exit_code == 1
    assert "cut failed and is passed over" in done.stderr
    assert "does not exist; check the path of the band." in done.stderr


@pytest.mark.slow
def test_what_is_damaged_of_a_prepared_scene_is_found_and_what_is_gone_made_again(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        write_raster(tmp_path / f"{name}.tif", rng.integers(1, 255, (2, 200, 170)).astype(np.uint8))
    out = tmp_path / "out"
    ask = ("catalog", "prepare", "--sensor", "landsat-7", "--bands", "red,nir08", "--date")

    for name in ("a", "b"):
        done = geoseg_here(*ask, "2000-10-30", "--scene", tmp_path / f"{name}.tif", "--out", out)
        assert done.returncode == 0, done.stderr
    entries = read_catalog(out / "catalog.parquet").entries
    (out / "a" / "mask.tif").unlink()
    mask = bytearray((out / "b" / "mask.tif").read_bytes())
    mask[-7] ^= 1
    (out / "b" / "mask.tif").write_bytes(mask)
    found = geoseg_here("verify", out)
    again = geoseg_here(*ask, "2000-10-30", "--scene", tmp_path / "a.tif", "--out", out)

    assert [entry.scene.id for entry in entries] == ["a", "b"]
    assert found.returncode == 1
    assert "a is damaged or gone" in found.stderr
    assert "b is damaged or gone" in found.stderr
    assert again.returncode == 0, again.stderr
    assert (out / "a" / "mask.tif").is_file()


@pytest.mark.slow
def test_a_frame_without_georeference_is_refused_by_prepare_and_by_predict(tmp_path):
    bare_scan(tmp_path / "frame.tif")
    bare_scan(tmp_path / "two.tif", count=2)
    save_checkpoint(tmp_path / "model.safetensors", build_segmenter(two_band_spec()), {})
    torch.manual_seed(0)

    prepared = geoseg_here(
        "catalog", "prepare", "--scene", "frame.tif", *FILM, "--out", "out", cwd=tmp_path
    )
    predicted = geoseg_here(
        "predict", "--model", "model.safetensors", "--scene", "two.tif", "--sensor", "landsat-7",
        "--bands", "red,nir08", "--date", "2000-10-30", "--device", "cpu", "--out", "maps",
        cwd=tmp_path,
    )  # fmt: skip

    for done, code in ((prepared, 1), (predicted, 2)):
        assert done.returncode == code, done.stderr
        assert "has no georeference and cannot be mapped; where it has ground" in done.stderr
        assert "spymicmac" in done.stderr
        assert "Ames Stereo Pipeline" in done.stderr
        assert "Traceback" not in done.stderr
        assert "Warning" not in done.stderr
    assert not (tmp_path / "maps").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--points", "a.points", "c.parquet"), "--points are those of one image; name it by"),
        (("c.parquet", "--strike", "clowd"), "no kind of pixel 'clowd'. Did you mean 'cloud'"),
        (("c.parquet", "--clouds", "fmask"), "no cloud mask 'fmask'"),
        ((), "Name either one image (--scene)"),
    ],
)
def test_wrong_use_of_prepare_is_one_sentence(tmp_path, options, words):
    done = geoseg_here("catalog", "prepare", *options, "--out", "out", cwd=tmp_path)

    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert not (tmp_path / "out").exists()
