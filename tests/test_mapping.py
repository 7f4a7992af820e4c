"""`geoseg predict` over an archive, with scenes in it that cannot be mapped."""

import json
from dataclasses import replace

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import torch
from command_line import geoseg, geoseg_here
from conftest import scene_of, two_band_spec, write_raster

from geoseg.models import build_segmenter, save_checkpoint
from geoseg.scenes import read_catalog, scan_scene, with_checksums, write_catalog, write_scene

SMALL = ("--set", "inference.tile_px=64", "--set", "inference.halo_px=16", "--device", "cpu")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    spec = two_band_spec(encoder="test_resnet")
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_checkpoint(path, build_segmenter(spec), {})
    return path


def pixels(seed=0, shape=(2, 130, 170)):
    return np.random.default_rng(seed).integers(1, 255, shape).astype(np.uint8)


def archive_in(folder):
    """Four scenes in a catalogue; three of them are spoilt afterwards."""
    names = ("good", "cut_short", "flipped", "disguised")
    scenes = []
    for name in names:
        path = write_raster(folder / f"{name}.tif", pixels(), tiled=True, compress="deflate")
        scene = replace(scene_of(path), id=name)
        # Truncation is seen while reading, a flipped bit by its checksum alone.
        scenes.append(with_checksums(scene) if name == "flipped" else scene)
    write_catalog([scan_scene(scene) for scene in scenes], folder / "catalog.parquet")
    cut = folder / "cut_short.tif"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    flipped = bytearray((folder / "flipped.tif").read_bytes())
    flipped[len(flipped) // 3] ^= 0x10
    (folder / "flipped.tif").write_bytes(flipped)
    (folder / "disguised.tif").write_text(
        '<VRTDataset rasterXSize="170" rasterYSize="130"><VRTRasterBand dataType="Byte" band="1">'
        "<SimpleSource><SourceFilename>/etc/passwd</SourceFilename></SimpleSource>"
        "</VRTRasterBand></VRTDataset>"
    )
    return folder / "catalog.parquet"


@pytest.mark.slow
def test_scenes_that_cannot_be_read_are_reported_and_passed_over(model, tmp_path):
    catalog, out = archive_in(tmp_path), tmp_path / "maps"

    done = geoseg("predict", "--model", model, "--scenes", catalog, "--out", out, *SMALL, "--json")

    assert done.returncode == 1
    found = {scene["scene"]: scene for scene in json.loads(done.stdout)["scenes"]}
    assert json.loads(done.stdout)["failed"] == 3
    assert found["good"]["error"] is None
    assert "truncated or damaged" in found["cut_short"]["error"]
    assert "flipped.tif has not the checksum that scene flipped gives" in found["flipped"]["error"]
    assert "cannot be opened as a raster" in found["disguised"]["error"]
    assert "disguised failed and is passed over" in done.stderr
    assert sorted(p.name for p in out.rglob("*") if p.is_file()) == [
        "SHA256SUMS",
        "classes.tif",
        "manifest.lock",
        "manifest.sqlite",
        "manifest.workers",
        "probability.tif",
    ]
    # Only what is missing is done again.
    written = (out / "good" / "classes.tif").stat().st_mtime_ns
    again = geoseg_here("predict", "--model", model, "--scenes", catalog, "--out", out, *SMALL)
    assert again.returncode == 1
    assert (out / "good" / "classes.tif").stat().st_mtime_ns == written
    assert again.stdout.count("failed") == 3


@pytest.mark.slow
def test_maps_of_two_scenes_become_one_inventory(model, tmp_path):
    whole = pixels(shape=(2, 130, 300))
    for name, columns, day in (("west", slice(0, 180), 1), ("east", slice(120, 300), 2)):
        origin = (500_000 + columns.start * 30, 3_100_000)
        path = write_raster(tmp_path / f"{name}.tif", whole[:, :, columns], origin=origin)
        scene = replace(scene_of(path), id=name)
        scene = replace(
            scene, start=scene.start.replace(day=day), end=scene.end.replace(day=day + 1)
        )
        write_scene(scene, tmp_path / f"{name}.json")
        done = geoseg_here(
            "predict", "--model", model, "--scene", tmp_path / f"{name}.json",
            "--out", tmp_path / "maps", *SMALL,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    joined = geoseg(
        "mosaic", tmp_path / "maps" / "west", tmp_path / "maps" / "east", "--out", tmp_path / "both"
    )
    drawn = geoseg(
        "vectorize", tmp_path / "both", "--out", tmp_path / "both.gpkg", "--json",
        "--set", "outlines.min_area_m2=0",
    )  # fmt: skip

    assert joined.returncode == 0, joined.stderr
    assert drawn.returncode == 0, drawn.stderr
    with rasterio.open(tmp_path / "both" / "classes.tif") as raster:
        assert raster.shape == (130, 300)
    outlines = gpd.read_file(tmp_path / "both.gpkg", layer="outlines")
    assert len(outlines) == json.loads(drawn.stdout)["outlines"]
    assert set(outlines.scene) <= {"west", "east", "west,east"}
    largest = outlines.iloc[0]
    assert (str(largest.start_date)[:10], str(largest.end_date)[:10]) == (
        "2000-10-01",
        "2000-10-03",
    )

    # A bit that flips on the disk is found before it becomes an outline.
    classes = tmp_path / "both" / "classes.tif"
    rotten = bytearray(classes.read_bytes())
    rotten[-5] ^= 1
    classes.write_bytes(rotten)
    refused = geoseg_here("vectorize", tmp_path / "both", "--out", tmp_path / "rotten.gpkg")
    assert refused.returncode == 1
    assert "classes.tif is not what it was when it was written" in refused.stderr
    assert not (tmp_path / "rotten.gpkg").exists()


def test_a_plan_writes_nothing(model, tmp_path):
    scene = write_raster(tmp_path / "a.tif", pixels())
    done = geoseg_here(
        "predict", "--model", model, "--scene", scene, "--sensor", "landsat-7", "--date",
        "2000-10-30", "--bands", "red,nir08", "--out", tmp_path / "out", *SMALL, "--dry-run",
        "--max-memory", "3GB",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "130 x 170" in done.stdout
    assert "6 of 96 x 96" in done.stdout
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ((), 2, "Name either one image (--scene) or a catalogue of scenes."),
        (("--scene", "a.tif", "--scenes", "b.parquet"), 2, "Name either one image"),
        (("--scene", "a.tif", "--date", "2000"), 2, "--date '2000' cannot be used: write it as"),
        (("--scene", "missing.json"), 1, "missing.json is no file; give a STAC item"),
        (("--scene", "a.json", "--sensor", "landsat-7"), 2, "--sensor cannot be given with STAC"),
        (("--scene", "a.tif", "--set", "training.steps=2"), 2, "name a key of inference"),
        (("--scene", "a.tif", "--max-memory", "1.2.3GB"), 2, "is no amount of memory"),
        (("--scenes", "a.tif"), 1, "a.tif"),
        (("--scene", "a.tif", "--max-memory", "lots"), 2, "--max-memory 'lots' is no amount"),
        (
            ("--scene", "bare.tif", "--sensor", "landsat-7", "--date", "2000-10-30", "--bands",
             "red,nir08"),
            2,
            "bare.tif has no coordinate reference system",
        ),
    ],
)  # fmt: skip
def test_wrong_use_is_one_sentence(model, tmp_path, options, code, words):
    write_raster(tmp_path / "a.tif", pixels())
    write_raster(tmp_path / "bare.tif", pixels(), crs=None)

    done = geoseg_here("predict", "--model", model, *options, "--out", "out", *SMALL, cwd=tmp_path)

    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_of_items_becomes_a_catalogue(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "items" / name).mkdir(parents=True)
        scene = scene_of(write_raster(tmp_path / "items" / name / "image.tif", pixels()))
        write_scene(replace(scene, id=name), tmp_path / "items" / name / "item.json")
    (tmp_path / "items" / "b" / "image.tif").unlink()
    (tmp_path / "items" / "other.json").write_text('{"recipe": 1}')

    done = geoseg_here(
        "catalog", "scan", tmp_path / "items", "--out", tmp_path / "c.parquet", "--checksums",
        "--json",
    )  # fmt: skip

    assert done.returncode == 1
    assert json.loads(done.stdout)["scenes"] == ["a"]
    assert "image.tif cannot be read" in json.loads(done.stdout)["broken"]["b/item.json"]
    (entry,) = read_catalog(tmp_path / "c.parquet").entries
    assert entry.scene.bands["red"].sha256 is not None
    empty = geoseg_here("catalog", "scan", tmp_path / "items" / "b", cwd=tmp_path)
    assert empty.returncode == 2
    assert "holds no scene that can be read" in empty.stderr


@pytest.mark.slow
def test_odd_names_become_folders_and_a_second_scene_of_one_fails_alone(model, tmp_path):
    image = write_raster(tmp_path / "a.tif", pixels())
    names = ("S2 Gletscher März (1)", "../b", "c", "C")
    entries = [scan_scene(replace(scene_of(image), id=name)) for name in names]
    write_catalog(entries, tmp_path / "catalog.parquet")

    done = geoseg_here(
        "predict", "--model", model, "--scenes", tmp_path / "catalog.parquet", "--out",
        tmp_path / "maps", *SMALL, "--json",
    )  # fmt: skip

    assert done.returncode == 1
    errors = [scene["error"] for scene in json.loads(done.stdout)["scenes"]]
    assert errors[:3] == [None] * 3
    assert "Another scene goes to the folder 'C' of" in errors[3]
    assert sorted(p.name for p in (tmp_path / "maps").iterdir()) == [
        "S2_Gletscher_März_1_",
        "_b",
        "c",
        "manifest.lock",
        "manifest.sqlite",
        "manifest.workers",
    ]


def archive_of(folder, count):
    """A catalogue of small scenes, each of its own."""
    scenes = []
    for number in range(count):
        path = write_raster(folder / f"s{number}.tif", pixels(number, (2, 70, 90)), tiled=True)
        scenes.append(replace(scene_of(path), id=f"s{number}"))
    write_catalog([scan_scene(scene) for scene in scenes], folder / "archive.parquet")
    return folder / "archive.parquet"


def bytes_below(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.glob("*/*") if p.is_file()}


@pytest.mark.slow
def test_workers_map_an_archive_as_one_process_does_and_go_on_where_it_was_left(model, tmp_path):
    catalog = archive_of(tmp_path, 4)
    ask = ("predict", "--model", model, "--scenes", catalog, *SMALL, "--json")
    two = ("--executor", "processes", "--workers", "2")

    # As many threads as each of two workers has: another number may sum in another order.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        serial = geoseg_here(*ask, "--out", tmp_path / "serial")
    finally:
        torch.set_num_threads(threads)
    shared = geoseg(*ask, "--out", tmp_path / "shared", *two, OMP_NUM_THREADS="1")
    (tmp_path / "shared" / "s2" / "probability.tif").unlink()
    written = (tmp_path / "shared" / "s1" / "classes.tif").stat().st_mtime_ns
    again = geoseg_here(*ask, "--out", tmp_path / "shared", "--executor", "dask", *two[2:])

    for done in (serial, shared, again):
        assert done.returncode == 0, done.stderr
        assert {scene["scene"] for scene in json.loads(done.stdout)["scenes"]} == {
            f"s{number}" for number in range(4)
        }
    assert bytes_below(tmp_path / "serial") == bytes_below(tmp_path / "shared")
    assert len(bytes_below(tmp_path / "serial")) == 12
    assert (tmp_path / "shared" / "s1" / "classes.tif").stat().st_mtime_ns == written
    told = geoseg_here("status", tmp_path / "shared", "--json")
    assert json.loads(told.stdout)["folders"][0]["done"] == 4


@pytest.mark.slow
def test_a_damaged_map_is_found_forgotten_and_made_again(model, tmp_path):
    catalog, out = archive_of(tmp_path, 1), tmp_path / "maps"
    ask = ("predict", "--model", model, "--scenes", catalog, *SMALL, "--out", out)
    geoseg_here(*ask)
    whole = bytes_below(out)
    classes = out / "s0" / "classes.tif"
    rotten = bytearray(classes.read_bytes())
    rotten[len(rotten) // 2] ^= 1  # not in the header, which says what it was made of
    classes.write_bytes(rotten)

    found = geoseg_here("verify", out)
    left = geoseg_here("retry", out)
    still = geoseg_here("verify", out)
    geoseg_here("retry", "--damaged", out)
    again = geoseg_here(*ask)

    assert (found.returncode, left.returncode, still.returncode) == (1, 0, 1)
    assert again.returncode == 0, again.stderr
    assert geoseg_here("verify", out).returncode == 0
    assert bytes_below(out) == whole


def test_slurm_as_an_executor_asks_for_the_job_of_a_worker(model, tmp_path):
    ask = ("predict", "--model", model, "--scenes", archive_of(tmp_path, 1), *SMALL)

    refused = geoseg_here(*ask, "--executor", "slurm")

    assert refused.returncode == 2
    assert "--executor slurm needs the job of a worker; give --slurm memory=16GB" in refused.stderr
