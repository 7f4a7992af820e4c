"""The STAC item beside a checkpoint, as other programs read it."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
import shapely
import torch
from command_line import geoseg_here
from conftest import HEIGHT, WIDTH, scene_of, two_band_spec, write_raster
from rasterio.windows import Window
from stac_cards import require_stac

from geoseg.chips import ChipSource, MixedChips, RandomChips
from geoseg.config import ChipSettings, Recipe
from geoseg.errors import SceneError
from geoseg.files import sha256_of
from geoseg.labels import GLACIER, place_labels, read_outlines
from geoseg.models import AnyInput, build_segmenter, save_checkpoint
from geoseg.scenes import footprint, open_scene
from geoseg.sensors import find_sensor
from geoseg.training import TrainingChips, train
from geoseg.training.model_card import ModelCard

RECORD = {"training_hash": "t", "data_hash": "d", "validation_iou": float("nan")}
RECIPE = Recipe(data="simulated-scene", seed=7, training={"steps": 2, "batch": 2})


def later(folder):
    """Another scene, two years later and three degrees further south."""
    pixels = np.random.default_rng(1).integers(1, 255, (2, HEIGHT, WIDTH)).astype(np.uint8)
    path = write_raster(folder / "later.tif", pixels, origin=(500_000, 2_800_000))
    start, end = (datetime(2002, 10, day, tzinfo=UTC) for day in (1, 2))
    return replace(scene_of(path), id="later", start=start, end=end)


def card_of(folder, scenes, **changes):
    model = folder / "model.safetensors"
    segmenter = build_segmenter(two_band_spec(encoder="test_resnet", **changes))
    save_checkpoint(model, segmenter, RECORD)
    ModelCard(RECIPE, tuple(scenes)).write(model, segmenter, RECORD)
    return json.loads((folder / "model.stac.json").read_text()), segmenter


def any_input():
    sensor = find_sensor("landsat-7")
    return AnyInput(seen=(sensor.band("red"), sensor.band("nir08")), gsd_m=(15.0, 60.0))


@pytest.mark.parametrize("changes", [{}, {"input": any_input()}], ids=["fixed", "any"])
def test_a_card_is_a_stac_item_of_the_mlm_extension(changes, example, tmp_path):
    card, _ = card_of(tmp_path, [example.scene], **changes)

    require_stac(card)


def test_a_card_tells_how_to_feed_a_network_and_what_its_classes_are(example, tmp_path):
    card, segmenter = card_of(tmp_path, [example.scene])

    told = card["properties"]
    (given,), (out,) = told["mlm:input"], told["mlm:output"]
    assert given["bands"] == ["red", "nir08"]
    assert given["input"]["shape"] == [-1, 2, -1, -1]
    assert given["value_scaling"] == 2 * [{"type": "z-score", "mean": 100.0, "stddev": 50.0}]
    # A reader of the extension looks a band up where STAC describes bands.
    assert [band["name"] for band in told["bands"]] == given["bands"]
    assert told["bands"][0]["eo:center_wavelength"] == pytest.approx(0.66, abs=0.01)
    assert [c["name"] for c in out["classification:classes"]] == ["ground", "glacier"]
    assert out["classification:classes"][1]["color_hint"] == "4AA8D8"
    assert told["mlm:total_parameters"] == sum(w.numel() for w in segmenter.parameters())
    assert told["mlm:hyperparameters"]["training.steps"] == 2
    assert told["mlm:hyperparameters"]["seed"] == 7
    # It was drawn at random, and no weights are named that a reader could look for in vain.
    assert (told["mlm:pretrained"], told["mlm:pretrained_source"]) == (False, None)
    assert told["geoseg:record"] == {**RECORD, "validation_iou": None}


def test_a_card_lies_where_and_when_the_scenes_of_the_training_do(example, tmp_path):
    scenes = [example.scene, later(tmp_path)]

    card, _ = card_of(tmp_path, scenes)

    ground = shapely.geometry.shape(card["geometry"])
    for scene in scenes:
        assert ground.covers(footprint(scene).geom.buffer(-1e-6))
    assert ground.area == pytest.approx(sum(footprint(s).geom.area for s in scenes))
    assert card["bbox"] == pytest.approx(ground.bounds)
    told = card["properties"]
    assert told["start_datetime"] == "2000-10-30T00:00:00Z"
    assert told["end_datetime"] == "2002-10-02T00:00:00Z"
    assert [scene["id"] for scene in told["geoseg:scenes"]] == ["scene", "later"]


def test_a_card_that_cannot_be_written_whole_is_not_written(example, tmp_path):
    example.raster.unlink()

    with pytest.raises(SceneError, match=r"scene\.tif"):
        card_of(tmp_path, [example.scene])

    assert not (tmp_path / "model.stac.json").exists()


@pytest.mark.slow
def test_training_leaves_a_card_of_the_checkpoint_it_left(example, tmp_path):
    with open_scene(example.scene) as reader:
        table = read_outlines(example.outlines, GLACIER, layer=None, class_of="glacier")
        labels = place_labels(table, reader.grid, GLACIER, margin_m=15)
    source = ChipSource(example.scene, labels, ("red", "nir08"))
    random = RandomChips(source, Window(0, 0, 100, HEIGHT), ChipSettings(size_px=32), seed=1)

    result = train(
        build_segmenter(two_band_spec(encoder="test_resnet")),
        TrainingChips(MixedChips([random], seed=1)),
        RECIPE,
        folder=tmp_path / "model",
        device=torch.device("cpu"),
        record=RECORD,
        on_step=lambda _: None,
    )

    source.close()
    card = json.loads((tmp_path / "model" / "model.stac.json").read_text())
    for asset in card["assets"].values():
        lies = tmp_path / "model" / asset["href"]
        assert asset["file:checksum"] == f"1220{sha256_of(lies)}"
    assert card["assets"]["weights"]["file:size"] == result.model.stat().st_size
    assert card["properties"]["geoseg:record"]["step"] == result.best_step


def test_a_bit_that_flips_in_a_network_is_found_by_its_card(example, tmp_path):
    card_of(tmp_path, [example.scene])
    model = tmp_path / "model.safetensors"
    whole = model.read_bytes()

    sound = geoseg_here("verify", tmp_path)
    rotten = bytearray(whole)
    rotten[-7] ^= 4
    model.write_bytes(rotten)
    found = geoseg_here("verify", tmp_path, "--json")
    model.unlink()
    gone = geoseg_here("verify", tmp_path)
    model.write_bytes(whole)
    (tmp_path / "model.stac.json").write_text("[")
    broken = geoseg_here("verify", tmp_path)

    assert [done.returncode for done in (sound, found, gone, broken)] == [0, 1, 1, 1]
    assert json.loads(found.stdout)["networks"] == [str(model)]
    assert f"{model} is not what its card says, or gone" in gone.stderr
    assert "model.stac.json is not what its card says" in broken.stderr


def test_a_card_without_checksums_is_no_damage_and_a_folder_without_a_card_is_refused(tmp_path):
    (tmp_path / "other.stac.json").write_text('{"assets": {"a": {"href": "a.tif"}}}')

    assert geoseg_here("verify", tmp_path).returncode == 0
    (tmp_path / "other.stac.json").unlink()
    assert "holds no record of work" in geoseg_here("verify", tmp_path).stderr
