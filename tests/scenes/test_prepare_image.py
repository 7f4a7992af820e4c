"""Delivered images become reflectance with a mask; nothing depends on the blocks."""

import json
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import EntryPoint

import numpy as np
import pytest
import rasterio
from cogs import faults_of_cog
from conftest import write_raster

from geoseg.errors import ConfigError, SceneError
from geoseg.scale import Engine
from geoseg.scenes import Asset, Scene, SunPosition, open_scene, read_scene
from geoseg.scenes.prepare import Mask, PrepareJob, PrepareSettings, prepare_scenes
from geoseg.scenes.prepare import clouds as clouds_module
from geoseg.scenes.prepare import image as image_module
from geoseg.scenes.scan import scan_folders

# Bands of OLI and their reflectance over four kinds of ground.
NUMBERS = {"blue": 2, "green": 3, "red": 4, "nir08": 5, "swir16": 6}
MEADOW, SNOW, CLOUD, DARK = (
    dict(zip(NUMBERS, values, strict=True))
    for values in (
        (0.04, 0.08, 0.05, 0.40, 0.20),
        (0.85, 0.85, 0.83, 0.75, 0.08),
        (0.62, 0.60, 0.60, 0.62, 0.45),
        (0.04, 0.04, 0.04, 0.05, 0.04),
    )
)
GAIN, OFFSET = 2e-5, -0.1
SHAPE = (130, 190)


def ground(shape=SHAPE):
    """Meadow with a snow field, a cloud, and dark ground where its shadow falls."""
    image = {name: np.full(shape, MEADOW[name]) for name in NUMBERS}
    for name in NUMBERS:
        image[name][20:50, 20:60] = SNOW[name]
        image[name][100:110, 120:140] = CLOUD[name]
        image[name][80:90, 120:140] = DARK[name]
        image[name][112:118, 120:140] = DARK[name]  # towards the sun
    return image


def landsat(folder, *, elevation=45.0, quality=None):
    """A Level 1 product: numbers, their MTL, fill in a corner, saturation in another."""
    folder.mkdir(parents=True, exist_ok=True)
    light = np.sin(np.radians(elevation))
    assets, lines = {}, []
    for name, reflectance in ground().items():
        stored = np.rint((reflectance * light - OFFSET) / GAIN).astype(np.uint16)
        stored[:5, :7] = 0
        if name == "red":
            stored[-3:, -4:] = 65535
        file = f"LC08_L1TP_B{NUMBERS[name]}.TIF"
        assets[name] = Asset(path=write_raster(folder / file, stored))
        lines.append(f'FILE_NAME_BAND_{NUMBERS[name]} = "{file}"')
    scaling = [
        f"REFLECTANCE_MULT_BAND_{n} = {GAIN}\nREFLECTANCE_ADD_BAND_{n} = {OFFSET}"
        for n in NUMBERS.values()
    ]
    limits = [f"QUANTIZE_CAL_MAX_BAND_{n} = 65535" for n in NUMBERS.values()]
    groups = {
        "PRODUCT_CONTENTS": ['PROCESSING_LEVEL = "L1TP"', *lines],
        "IMAGE_ATTRIBUTES": ["SUN_AZIMUTH = 180.0", f"SUN_ELEVATION = {elevation}"],
        "LEVEL1_MIN_MAX_PIXEL_VALUE": limits,
        "LEVEL1_RADIOMETRIC_RESCALING": scaling,
    }
    text = "".join(
        f"GROUP = {group}\n" + "\n".join(rows) + f"\nEND_GROUP = {group}\n"
        for group, rows in groups.items()
    )
    mtl = folder / "LC08_L1TP_MTL.txt"
    mtl.write_text(text)
    codes = None
    if quality is not None:
        codes = Asset(path=write_raster(folder / "LC08_L1TP_QA_PIXEL.TIF", quality))
    return Scene(
        id="LC08_test",
        sensor_id="landsat-8",
        start=datetime(2020, 8, 1, 10, tzinfo=UTC),
        end=datetime(2020, 8, 1, 11, tzinfo=UTC),
        bands=assets,
        metadata=mtl,
        quality=codes,
    )


def prepared(scene, out, **settings):
    ended = []
    job = PrepareJob(scene=scene, folder=out / "a", settings=PrepareSettings(**settings))
    prepare_scenes([job], out, engine=Engine(), on_ready=ended.append)
    assert not ended[0].error, ended[0].error
    return read_scene(ended[0].item), ended[0]


def mask_in(scene):
    with rasterio.open(scene.mask.path) as raster:
        return raster.read(1)


def test_landsat_becomes_reflectance_with_its_validity(tmp_path):
    scene, ready = prepared(landsat(tmp_path / "in"), tmp_path / "out")

    with open_scene(replace(scene, mask=None)) as reader:
        image, valid = reader.overview(1000)
    truth = ground()
    expected = np.ones(SHAPE, dtype=bool)
    expected[:5, :7] = False
    np.testing.assert_array_equal(valid, expected)
    for band, name in zip(image, scene.bands, strict=True):
        known = expected.copy()
        known[-3:, -4:] = False
        np.testing.assert_allclose(band[known], truth[name][known], atol=1.5e-4)
    assert scene.sun == SunPosition(azimuth=180.0, elevation=45.0)
    assert scene.metadata is None
    assert all(len(asset.sha256) == 64 for asset in (*scene.bands.values(), scene.mask))
    assert all(faults_of_cog(a.path) == [] for a in (*scene.bands.values(), scene.mask))
    assert ready.shares["saturated"] == pytest.approx(12 / expected.sum())
    assert json.loads(ready.item.read_text())["properties"]["eo:cloud_cover"] == pytest.approx(
        100 * ready.shares["cloud"]
    )


def test_the_mask_tells_cloud_and_its_shadow_from_snow(tmp_path):
    scene, _ = prepared(landsat(tmp_path / "in"), tmp_path / "out")

    mask = mask_in(scene)

    assert (mask[20:50, 20:60] == Mask.SNOW).all()
    assert (mask[98:112, 120:140] == Mask.UNUSABLE).all()  # with its rim of 60 m
    assert (mask[80:90, 121:139] == Mask.UNUSABLE).all()
    assert (mask[112:118, 120:140] == Mask.CLEAR).all()
    assert (mask[-3:, -4:] == Mask.SATURATED).all()
    assert (mask[60:75, :100] == Mask.CLEAR).all()
    assert (mask[:5, :7] == Mask.UNUSABLE).all()
    with open_scene(scene) as reader:
        assert (reader.overview(1000).valid == (mask > 0)).all()


def test_what_is_struck_is_chosen_and_clouds_may_be_left(tmp_path):
    source = landsat(tmp_path / "in")
    struck, _ = prepared(source, tmp_path / "a", strike=("snow", "saturated"))
    plain, ready = prepared(source, tmp_path / "b", clouds="none")

    assert (mask_in(struck)[20:50, 20:60] == Mask.UNUSABLE).all()
    assert (mask_in(struck)[-3:, -4:] == Mask.UNUSABLE).all()
    assert (mask_in(struck)[104, 130]) == Mask.CLEAR
    assert (mask_in(plain)[20:50, 20:60] == Mask.CLEAR).all()
    assert set(ready.shares) == {"saturated"}
    with pytest.raises(ConfigError, match=r"no kind of pixel 'clouds'\. Did you mean 'cloud'"):
        PrepareSettings(strike=("clouds",))


def test_codes_of_the_product_go_before_thresholds(tmp_path):
    codes = np.full(SHAPE, 21824, dtype=np.uint16)  # clear
    codes[60:70, 10:30] = 22280  # cloud, where the pixels show none
    codes[120:, :30] = 23888  # shadow
    scene, ready = prepared(landsat(tmp_path / "in", quality=codes), tmp_path / "out")

    mask = mask_in(scene)

    assert (mask[60:70, 10:30] == Mask.UNUSABLE).all()
    assert (mask[120:, :30] == Mask.UNUSABLE).all()
    assert (mask[100:110, 120:140] == Mask.CLEAR).all()
    assert ready.shares["cloud"] == pytest.approx(200 / (SHAPE[0] * SHAPE[1] - 35))


def test_blocks_leave_no_trace(tmp_path, monkeypatch):
    source = landsat(tmp_path / "in")
    whole, _ = prepared(source, tmp_path / "whole")

    monkeypatch.setattr(image_module, "_SIDE_PX", 48)
    parts, _ = prepared(source, tmp_path / "parts")

    np.testing.assert_array_equal(mask_in(parts), mask_in(whole))
    for name in source.bands:
        one, other = parts.bands[name].path, whole.bands[name].path
        assert one.read_bytes() == other.read_bytes()


def test_a_second_run_makes_nothing_anew_and_another_setting_does(tmp_path):
    source = landsat(tmp_path / "in")
    scene, _ = prepared(source, tmp_path / "out")
    written = scene.mask.path.stat().st_mtime_ns

    again, _ = prepared(source, tmp_path / "out")
    assert again.mask.path.stat().st_mtime_ns == written

    prepared(source, tmp_path / "out", clouds="none")
    assert scene.mask.path.stat().st_mtime_ns != written
    assert sorted(p.name for p in (tmp_path / "out" / "a").iterdir()) == [
        "SHA256SUMS", "blue.tif", "green.tif", "mask.tif", "nir08.tif", "red.tif", "scene.json",
        "swir16.tif",
    ]  # fmt: skip


def test_a_scene_without_metadata_keeps_its_files_and_says_what_was_not_done(tmp_path):
    source = replace(landsat(tmp_path / "in"), metadata=None)

    scene, ready = prepared(source, tmp_path / "out")

    assert {a.path.resolve() for a in scene.bands.values()} == {
        a.path.resolve() for a in source.bands.values()
    }
    assert ready.said == (
        "clouds were not looked for: that takes reflectance of blue, green, red, swir16 and near "
        "infrared.",
    )


def test_a_file_that_scales_itself_is_not_scaled_twice(tmp_path):
    source = landsat(tmp_path / "in")
    with rasterio.open(source.bands["red"].path, "r+") as raster:
        raster.scales = (1e-4,)

    scene, _ = prepared(source, tmp_path / "out", clouds="none")

    assert scene.bands["red"].path.resolve() == source.bands["red"].path.resolve()
    assert scene.bands["blue"].path.parent == tmp_path / "out" / "a"


def test_codes_that_are_asked_for_and_not_there_are_an_error(tmp_path):
    job = PrepareJob(
        scene=landsat(tmp_path / "in"),
        folder=tmp_path / "out" / "a",
        settings=PrepareSettings(clouds="product"),
    )
    ended = []

    prepare_scenes([job], tmp_path / "out", engine=Engine(), on_ready=ended.append)

    assert ended[0].error.startswith("Scene LC08_test names no codes of its pixels")
    assert not job.item.exists()


def bright(bands):
    """As a plug-in would be: a probability."""
    return np.where(bands["blue"] > 0.5, 0.9, 0.1)


def two_rows(bands):
    return bands["blue"][:2] > 0.5


def cirrus(bands):
    return bands["cirrus"] > 0.01


@pytest.fixture
def plug_ins(monkeypatch):
    installed = [
        EntryPoint(name, f"{__name__}:{name}", "geoseg.cloud_masks") for name in
        ("bright", "two_rows", "cirrus")
    ]  # fmt: skip
    monkeypatch.setattr(clouds_module, "entry_points", lambda **_: installed)


@pytest.mark.usefixtures("plug_ins")
def test_a_cloud_mask_of_another_package_is_used_by_its_name(tmp_path):
    source = landsat(tmp_path / "in")

    scene, _ = prepared(source, tmp_path / "out", clouds="bright")

    assert (mask_in(scene)[20:50, 20:60] == Mask.UNUSABLE).all()  # it takes snow for cloud
    job = PrepareJob(
        scene=source, folder=tmp_path / "b" / "a", settings=PrepareSettings(clouds="two_rows")
    )
    ended = []
    prepare_scenes([job], tmp_path / "b", engine=Engine(), on_ready=ended.append)
    assert "a plug-in returns as many as it was given" in ended[0].error


@pytest.mark.usefixtures("plug_ins")
def test_a_cloud_mask_that_asks_for_a_band_that_is_not_there_says_which(tmp_path):
    with pytest.raises(SceneError) as caught:
        image_module.prepare_image(landsat(tmp_path), tmp_path, PrepareSettings(clouds="cirrus"))

    assert str(caught.value) == (
        "The cloud mask asks for the band 'cirrus', and scene LC08_test has blue, green, red, "
        "nir08, swir16; choose another with --clouds."
    )


@pytest.mark.slow
def test_changed_codes_of_saturation_make_the_scene_anew(tmp_path):
    source = landsat(tmp_path / "in", quality=np.full(SHAPE, 21824, dtype=np.uint16))
    codes = np.zeros(SHAPE, dtype=np.uint16)
    codes[60:70, 10:30] = 0b100
    path = write_raster(tmp_path / "in" / "LC08_L1TP_QA_RADSAT.TIF", codes)
    first, _ = prepared(source, tmp_path / "out")
    before = mask_in(first)

    codes[60:70, 10:30], codes[90:95, 40:50] = 0, 0b10
    write_raster(path, codes)
    second, _ = prepared(source, tmp_path / "out")

    assert (before[60:70, 10:30] == Mask.SATURATED).all()
    assert (mask_in(second)[60:70, 10:30] == Mask.CLEAR).all()
    assert (mask_in(second)[90:95, 40:50] == Mask.SATURATED).all()
    path.unlink()
    without, _ = prepared(source, tmp_path / "out")
    assert (mask_in(without)[90:95, 40:50] == Mask.CLEAR).all()


def test_another_version_of_a_plug_in_makes_the_scene_anew(tmp_path, monkeypatch):
    installed = tmp_path / "site" / "masks_of_a_test-1.0.dist-info"
    installed.mkdir(parents=True)
    metadata = installed / "METADATA"
    metadata.write_text("Metadata-Version: 2.1\nName: masks-of-a-test\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(
        "[geoseg.cloud_masks]\nnowhere = masks_of_a_test:nowhere\n"
    )
    (tmp_path / "site" / "masks_of_a_test.py").write_text(
        "def nowhere(bands):\n    return bands['blue'] > 9\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "site")
    source = landsat(tmp_path / "in")
    scene, _ = prepared(source, tmp_path / "out", clouds="nowhere")
    written = scene.mask.path.stat().st_mtime_ns

    prepared(source, tmp_path / "out", clouds="nowhere")
    same = scene.mask.path.stat().st_mtime_ns
    metadata.write_text(metadata.read_text().replace("1.0", "1.1"))
    prepared(source, tmp_path / "out", clouds="nowhere")

    assert same == written
    assert scene.mask.path.stat().st_mtime_ns != written


@pytest.mark.slow
def test_memory_does_not_grow_with_the_scene(tmp_path, monkeypatch):
    monkeypatch.setattr(image_module, "_SIDE_PX", 256)

    def peak(rows):
        name = str(rows)
        stored = np.full((rows, 600), 20_000, dtype=np.uint16)
        path = write_raster(tmp_path / f"{name}.tif", stored, tiled=True, blockxsize=256,
                            blockysize=256)  # fmt: skip
        bands = {band: Asset(path=path) for band in NUMBERS}
        scene = replace(landsat(tmp_path / name), bands=bands, metadata=None)
        tracemalloc.start()
        prepared(scene, tmp_path / f"out{name}", clouds="none")
        return tracemalloc.get_traced_memory()[1], tracemalloc.stop()

    small, large = peak(600)[0], peak(6000)[0]

    assert large < 1.3 * small


def test_unreadable_metadata_fail_that_scene_in_one_sentence(tmp_path):
    source = landsat(tmp_path / "in")
    source.metadata.write_text("nothing")

    with pytest.raises(SceneError, match="MTL file that can be read"):
        image_module.prepare_image(source, tmp_path, PrepareSettings())


@pytest.mark.slow
def test_a_landsat_folder_that_was_scanned_is_prepared_by_what_it_says(tmp_path):
    """The scan finds metadata and codes; the preparation uses both."""
    name = "LC08_L1TP_067017_20200801_20200907_02_T1"
    codes = np.full(SHAPE, 21824, dtype=np.uint16)
    codes[60:70, 10:30] = 22280
    landsat(tmp_path / name, quality=codes)
    for path in (tmp_path / name).iterdir():
        path.rename(path.with_name(path.name.replace("LC08_L1TP", name)))
    mtl = tmp_path / name / f"{name}_MTL.txt"
    text = mtl.read_text().replace("LC08_L1TP_B", f"{name}_B")
    for group, line in (
        ("PRODUCT_CONTENTS", f'FILE_NAME_QUALITY_L1_PIXEL = "{name}_QA_PIXEL.TIF"'),
        ("IMAGE_ATTRIBUTES", 'DATE_ACQUIRED = 2020-08-01\nSCENE_CENTER_TIME = "20:30:00.0Z"'),
    ):
        text = text.replace(f"GROUP = {group}\n", f"GROUP = {group}\n{line}\n", 1)
    mtl.write_text(text)
    entries = [entry for step in scan_folders([tmp_path]) for entry in step.entries]

    scene, ready = prepared(entries[0].scene, tmp_path / "out")

    assert (mask_in(scene)[60:70, 10:30] == Mask.UNUSABLE).all()
    assert ready.shares["cloud"] == pytest.approx(200 / (SHAPE[0] * SHAPE[1] - 35))
    with open_scene(scene, ["nir08"]) as reader:
        image, _ = reader.overview(1000)
    np.testing.assert_allclose(image[0, 72:78, :100], MEADOW["nir08"], atol=1.5e-4)
