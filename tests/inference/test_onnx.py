"""A network as ONNX: the classes of the network itself, by another program."""

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pytest
import rasterio
import torch
from command_line import geoseg_here
from conftest import scene_of, two_band_spec, write_raster
from rasterio.windows import Window

from geoseg.config import InferenceSettings
from geoseg.inference import SceneView, open_input, probabilities, write_onnx
from geoseg.labels import GLACIER, GLACIER_SURFACE
from geoseg.models import AnyInput, build_segmenter, load_checkpoint, save_checkpoint
from geoseg.scenes import Asset, Scene, open_scene
from geoseg.sensors import find_sensor
from geoseg.views import band_table

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

TILE = InferenceSettings(tile_px=128, halo_px=32)  # tiles of 192 px
SIDE = 192


def ground(seed=0):
    """Bright ice with a dark rim, fields, noise; the corner and a stripe hold no data."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:300, :340]
    ice = np.hypot(row - 150, column - 120) < 90
    bands = [
        80 + 100 * ice + 20 * np.sin(column / (9 + 4 * band)) + rng.normal(0, 6, ice.shape)
        for band in range(2)
    ]
    image = np.clip(bands, 1, 250).astype(np.uint8)
    image[:, :40, :60] = 0
    image[1, 200:210] = 0
    return image


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene")
    return scene_of(write_raster(folder / "scene.tif", ground(), nodata=0))


def network(**changes):
    """With weights at random, whose classes are all about as likely."""
    torch.manual_seed(1)
    segmenter = build_segmenter(two_band_spec(encoder="test_resnet", **changes)).eval()
    seen = ground().astype(np.float32)[None, :, 40:232, 60:252]
    scene = SceneView(
        *(torch.tensor(part) for part in (seen[..., :50].reshape(1, 2, -1), [30.0])),
        band_table([find_sensor("landsat-7").band(name) for name in ("red", "nir08")]),
    )
    view = scene.show(seen, np.ones((1, 192, 192), dtype=bool))
    head = segmenter.network.segmentation_head[0]
    with torch.no_grad():
        spread, mean = torch.std_mean(segmenter(view), dim=(0, 2, 3))
        head.weight.div_(spread[:, None, None, None])
        head.bias.sub_(mean).div_(spread)
    return segmenter


def any_band_input():
    landsat = find_sensor("landsat-7")
    return AnyInput(seen=(landsat.band("red"), landsat.band("nir08")), gsd_m=(30.0, 60.0))


def tiles_of(scene, count=4):
    """Windows as a file holds them (N, C, S, S), and what the network itself says of them."""
    with rasterio.open(next(iter(scene.bands.values())).path) as raster:
        corners = [(0, 0), (100, 20), (60, 140), (108, 148)][:count]
        windows = [Window(left, top, SIDE, SIDE) for top, left in corners]
        return windows, np.stack([raster.read(window=window) for window in windows])


def by_torch(segmenter, scene, windows):
    with open_input(segmenter.spec.input, scene) as reader:
        read = [reader.read(window) for window in windows]
        shown = SceneView.of(reader, segmenter.spec.input, torch.device("cpu"))
        image, valid = (np.stack(part) for part in zip(*read, strict=True))
        return probabilities(segmenter, shown.show(image, valid), flips=False).numpy(), valid


def session_of(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def as_deepness_feeds(session, tiles):
    """Tiles (N, C, H, W) as they are stored, through the arithmetic of the plugin."""
    told = session.get_modelmeta().custom_metadata_map
    mean, std = (
        np.array(json.loads(told[f"standardization_{of}"]), np.float32) for of in ("mean", "std")
    )
    batch = np.float32(np.moveaxis(tiles, 1, -1) * 1.0 / 255.0)
    return np.moveaxis((batch - mean) / std, -1, 1)


@pytest.fixture(scope="module", params=["fixed", "any"])
def exported(request, scene, tmp_path_factory):
    # The one decoder interpolates, the other repeats pixels.
    changes = {"architecture": "deeplabv3plus"}
    if request.param == "any":
        changes = {"input": any_band_input()}
    segmenter = network(scheme=GLACIER_SURFACE, prior=(1 / 7,) * 7, **changes)
    path = tmp_path_factory.mktemp(request.param) / "model.onnx"
    return segmenter, write_onnx(path, segmenter, scene, TILE, tags={"recipe_hash": "r"})


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 4])
def test_another_program_finds_the_same_classes(exported, scene, count):
    segmenter, written = exported
    windows, tiles = tiles_of(scene, count)
    wanted, valid = by_torch(segmenter, scene, windows)
    session = session_of(written.path)

    (found,) = session.run(None, {"image": as_deepness_feeds(session, tiles)})

    assert 0.8 < valid.mean() < 0.99
    where = np.broadcast_to(valid[:, None], wanted.shape)
    np.testing.assert_allclose(found[where], wanted[where], atol=1e-4)
    same = (found.argmax(axis=1) == wanted.argmax(axis=1))[valid]
    assert same.mean() >= 0.9999
    assert len(np.unique(found.argmax(axis=1)[valid])) > 2  # it tells classes apart
    # Of which the plugin makes class 0: its layers "without 0 class" leave it out.
    assert (np.moveaxis(found, 1, -1)[~valid] == 0).all()


@pytest.mark.slow
def test_a_file_says_what_deepness_asks_of_it(exported):
    _, written = exported
    session = session_of(written.path)
    told = session.get_modelmeta().custom_metadata_map

    said = {key: json.loads(value) for key, value in told.items()}

    assert session.get_inputs()[0].shape == ["batch", 2, SIDE, SIDE]
    assert session.get_outputs()[0].shape == ["batch", 7, SIDE, SIDE]
    names = {str(number): name for number, name in enumerate(GLACIER_SURFACE.names)}
    assert said == {
        "model_type": "Segmentor",
        "class_names": names,
        "resolution": 3000.0,
        "tile_size": SIDE,
        "tiles_overlap": 34,  # 64 of 192 px
        "standardization_mean": [0.0, 0.0],
        "standardization_std": [1 / 255, 1 / 255],
        "seg_thresh": 0.0,
        "seg_small_segment": 0,
        "bands": ["red", "nir08"],
        "sensor": "landsat-7",
        "recipe_hash": "r",
    }


@pytest.mark.slow
def test_a_file_is_valid_and_tells_nothing_of_the_machine_that_made_it(exported):
    _, written = exported
    model = onnx.load(written.path)

    onnx.checker.check_model(model, full_check=True)

    assert model.ir_version <= 9  # what onnxruntime 1.17 takes
    assert {(one.domain, one.version) for one in model.opset_import} == {("", 18)}
    assert b".py" not in written.path.read_bytes()
    assert list(written.path.parent.iterdir()) == [written.path]


@pytest.mark.slow
def test_the_command_writes_a_file_of_the_pixel_that_is_asked_for(scene, tmp_path):
    model, out = tmp_path / "model.safetensors", tmp_path / "model.onnx"
    save_checkpoint(model, network(input=any_band_input()), {})
    path = next(iter(scene.bands.values())).path

    done = geoseg_here(
        *("export-onnx", model, "--scene", path, "--sensor", "landsat-7"),
        *("--bands", "red,nir08", "--date", "2000-10-30", "--out", out, "--json"),
        *("--set", "inference.gsd_m=60", "--set", "inference.tile_px=64"),
        *("--set", "inference.halo_px=16"),
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "path": str(out),
        "bands": ["red", "nir08"],
        "gsd_m": 60.0,
        "tile_px": 96,
        "overlap_percent": 34,
    }
    told = session_of(out).get_modelmeta().custom_metadata_map
    assert json.loads(told["model_sha256"]) == load_checkpoint(model).sha256
    assert json.loads(told["resolution"]) == 6000.0


@pytest.mark.skipif(shutil.which("gdalbuildvrt") is None, reason="needs gdal-bin")
def test_a_layer_of_gdal_holds_what_geoseg_reads_of_bands_of_two_pixels(tmp_path):
    """By the command of docs/tools.md."""
    rng = np.random.default_rng(2)
    paths = [
        write_raster(
            tmp_path / f"{name}.tif",
            rng.integers(1000, 4000, (1, 640 // pixel, 800 // pixel)).astype(np.uint16),
            pixel=pixel,
            nodata=0,
        )
        for name, pixel in (("red", 10), ("swir16", 20))
    ]
    scene = Scene(
        id="two",
        sensor_id="sentinel-2",
        start=datetime(2025, 8, 15, tzinfo=UTC),
        end=datetime(2025, 8, 16, tzinfo=UTC),
        bands={path.stem: Asset(path=path) for path in paths},
    )

    layer = tmp_path / "layer.vrt"
    gdal = ("gdalbuildvrt", "-q", "-separate", "-resolution", "highest", "-r", "bilinear")
    subprocess.run([*gdal, layer, *paths], check=True)

    with open_scene(scene, ("red", "swir16")) as reader:
        image, valid = reader.read(Window(0, 0, 80, 64))
    with rasterio.open(layer) as raster:
        stored = raster.read().astype(np.float32)
    assert valid.all()
    # Rounded to whole numbers.
    np.testing.assert_allclose(stored, image, atol=0.501)


@pytest.mark.slow
def test_without_onnx_the_command_names_what_to_install(scene, tmp_path):
    model = tmp_path / "model.safetensors"
    save_checkpoint(model, network(scheme=GLACIER), {})
    path = next(iter(scene.bands.values())).path
    hidden = "import sys; sys.modules['onnx'] = None; from geoseg.cli import main; main()"

    done = subprocess.run(
        [
            *(sys.executable, "-c", hidden, "export-onnx", model, "--scene", path),
            *("--sensor", "landsat-7", "--bands", "red,nir08", "--date", "2000-10-30"),
            *("--out", tmp_path / "model.onnx"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "run pip install 'onnx>=1.17' 'onnxscript>=0.5'" in done.stderr
    assert not (tmp_path / "model.onnx").exists()
