import json
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import HEIGHT, WIDTH, scene_of, write_raster
from rasterio.windows import Window
from safetensors.torch import load_file

from geoseg.chips import ChipSource, GridChips, MixedChips, RandomChips, band_statistics, stack
from geoseg.config import ChipSettings, Recipe, TrainingSettings, training_hash
from geoseg.data import LabelledScene
from geoseg.errors import ConfigError, ModelError, OutputError
from geoseg.labels import GLACIER, place_labels, read_outlines
from geoseg.models import FixedInput, ModelSpec, build_segmenter, load_checkpoint
from geoseg.scenes import open_scene
from geoseg.training import TrainingChips, gather, learning_rate, new_segmenter, train
from geoseg.training.loop import _judge
from geoseg.training.resume import TrainingState

RECORD = {"training_hash": "t", "data_hash": "d", "recipe_hash": "r"}


class StoppedError(Exception):
    """Stands for a kill."""


@pytest.fixture
def chips(example):
    with open_scene(example.scene) as reader:
        table = read_outlines(example.outlines, GLACIER, layer=None, class_of="glacier")
        labels = place_labels(table, reader.grid, GLACIER, margin_m=15)
    source = ChipSource(example.scene, labels, ("red", "nir08"))
    settings = ChipSettings(size_px=32)
    random = RandomChips(source, Window(0, 0, 100, HEIGHT), settings, seed=1)
    mixed = MixedChips([random], seed=1)
    yield TrainingChips(mixed, [GridChips(source, Window(100, 0, 60, HEIGHT), settings)])
    source.close()


def fresh(chips):
    torch.manual_seed(0)
    mean, std = band_statistics(chips.labelled)
    return build_segmenter(
        ModelSpec(
            architecture="unet",
            encoder="test_resnet",
            input=FixedInput(bands=("red", "nir08"), mean=mean, std=std),
            scheme=GLACIER,
            prior=(0.5, 0.5),
        )
    )


def run(chips, folder, on_step=lambda _: None, segmenter=None, **settings):
    defaults = {"steps": 12, "batch": 4, "validate_every": 4, "warmup_steps": 2, "jitter": 0.1}
    return train(
        segmenter or fresh(chips),
        chips,
        Recipe(data="simulated-scene", training={**defaults, **settings}),
        folder=folder,
        device=torch.device("cpu"),
        record=RECORD,
        on_step=on_step,
    )


@pytest.mark.slow
def test_a_network_learns_bright_ice_in_a_minute(chips, tmp_path):
    result = run(chips, tmp_path, steps=60, validate_every=20, averaging=0.8)

    assert result.best_score > 0.85
    record = load_checkpoint(result.model).record
    assert record["validation_iou"] == pytest.approx(result.best_score)
    assert record["recipe_hash"] == "r"
    assert list((tmp_path / "log").glob("events.*"))


@pytest.mark.slow
def test_a_training_that_was_killed_ends_in_the_same_weights(chips, tmp_path):
    def stop_at_seven(report):
        if report.step == 7:
            raise StoppedError

    whole = run(chips, tmp_path / "whole")
    with pytest.raises(StoppedError):
        run(chips, tmp_path / "killed", stop_at_seven)
    seen = []
    run(chips, tmp_path / "killed", lambda report: seen.append(report.step))

    assert seen == list(range(5, 13))
    one, two = (load_file(tmp_path / name / "state.safetensors") for name in ("whole", "killed"))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert whole.steps == 12


@pytest.mark.slow
def test_so_does_one_whose_loss_changes_on_the_way(chips, tmp_path):
    def stop_at_nine(report):
        if report.step == 9:
            raise StoppedError

    told = chips._replace(pixels=(900, 100))
    run(told, tmp_path / "whole", loss="ldam_drw")
    with pytest.raises(StoppedError):
        run(told, tmp_path / "killed", stop_at_nine, loss="ldam_drw")
    run(told, tmp_path / "killed", loss="ldam_drw")

    one, two = (load_file(tmp_path / name / "state.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.slow
def test_so_does_one_on_several_sensors_with_film_and_adaptation(example, tmp_path):
    rng = np.random.default_rng(1)
    colours = rng.integers(1, 255, (2, HEIGHT, WIDTH)).astype(np.uint8)
    pan = scene_of(
        write_raster(tmp_path / "film.tif", colours[:1]), bands=("pan",), sensor="corona-kh4b"
    )
    modern = scene_of(write_raster(tmp_path / "s2.tif", colours), bands=("green", "red"))
    sources = [
        LabelledScene(
            scene=scene, outlines=example.outlines, layer=None, class_of="glacier", scheme=GLACIER
        )
        for scene in (example.scene, modern)
    ]
    recipe = Recipe(
        data="simulated-scene",
        chips={"size_px": 32, "gsd_m": [30, 60], "band_dropout": 0.3},
        film={"share": 0.5, "cameras": ["corona-kh4b"]},
        adaptation={
            "scenes": [{"path": "film.tif"}],
            "methods": ["self_training", "histogram", "fourier"],
            "confidence": 0.5,
        },
        model={"stem": "any", "encoder": "test_resnet"},
        training={"steps": 6, "batch": 4, "validate_every": 2, "jitter": 0.1, "flips": True},
    )
    losses = {}

    def train_in(name, stop_after=None):
        def on_step(report):
            losses.setdefault(name, {})[report.step] = report.loss
            if report.step == stop_after:
                raise StoppedError

        material = gather(sources, (pan,), recipe)
        train(
            new_segmenter(material.spec, recipe),
            material.chips,
            recipe,
            folder=tmp_path / name,
            device=torch.device("cpu"),
            record=RECORD,
            on_step=on_step,
        )

    train_in("whole")
    with pytest.raises(StoppedError):
        train_in("killed", stop_after=3)
    train_in("killed")

    assert losses["whole"] == losses["killed"]
    one, two = (load_file(tmp_path / name / "state.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.slow
def test_a_finished_training_is_not_done_again_but_another_recipe_is(chips, tmp_path, monkeypatch):
    run(chips, tmp_path, steps=2, validate_every=2)
    seen = []

    run(chips, tmp_path, seen.append, steps=2, validate_every=2)
    assert seen == []

    monkeypatch.setitem(RECORD, "training_hash", "another")
    run(chips, tmp_path, seen.append, steps=2, validate_every=2)
    assert len(seen) == 2


@pytest.mark.slow
def test_a_second_training_in_a_folder_is_told_who_holds_it(chips, tmp_path):
    met = []

    def begin_another(_report):
        if not met:
            with pytest.raises(OutputError, match=rf"is held by pid {os.getpid()} on host") as told:
                run(chips, tmp_path, steps=1)
            met.append(told)

    run(chips, tmp_path, begin_another, steps=1)
    again = run(chips, tmp_path, steps=1)

    assert met
    assert again.steps == 1


@pytest.mark.slow
def test_a_loss_for_rare_classes_finds_more_of_them(chips, tmp_path):
    settings = {"steps": 40, "validate_every": 40, "averaging": 0.8}
    shares = []
    for loss in ("cross_entropy", "logit_adjusted"):
        # Ice is said to be rarer than it is, so that the loss has to make up for it.
        told = TrainingChips(chips.labelled, pixels=(9_900, 100))
        found = run(told, tmp_path / loss, loss=loss, **settings)
        network = load_checkpoint(found.model).segmenter
        batch = stack([chips.validation[0][n] for n in range(len(chips.validation[0]))])
        with torch.inference_mode():
            shares.append(
                float((network(*(one.view() for one in batch)).argmax(1) == 1).float().mean())
            )

    assert shares[1] > shares[0]


def test_a_training_hash_changes_with_the_loss():
    usual = Recipe(data="simulated-scene")
    named = Recipe(data="simulated-scene", training={"loss": "dice_cross_entropy"})
    other = Recipe(data="simulated-scene", training={"loss": "focal_tversky"})

    assert training_hash(named) == training_hash(usual) != training_hash(other)


def test_a_loss_that_asks_how_common_classes_are_is_told_or_refused(chips, tmp_path):
    with pytest.raises(ConfigError, match="give samples of each class"):
        run(chips, tmp_path, loss="logit_adjusted")


@pytest.mark.slow
def test_training_stops_when_the_score_stops_rising(chips, tmp_path):
    # With a rate of nearly nothing no score rises after the first one.
    result = run(
        chips, tmp_path, steps=40, validate_every=1, patience=3, learning_rate=1e-12, averaging=0
    )

    assert result.steps < 12
    assert json.loads((tmp_path / "model.json").read_text())["record"]["step"] == result.best_step


@pytest.mark.slow
def test_without_a_validation_part_the_last_weights_are_kept(chips, tmp_path):
    result = run(TrainingChips(chips.labelled), tmp_path, steps=4, validate_every=2)

    assert result.best_step == 4


def test_a_loss_that_is_no_number_ends_the_training_and_leaves_no_model(chips, tmp_path):
    segmenter = fresh(chips)
    torch.nn.init.constant_(segmenter.network.segmentation_head[0].weight, float("nan"))

    with pytest.raises(ModelError, match=r"lower training\.learning_rate"):
        run(chips, tmp_path, segmenter=segmenter, steps=2, validate_every=2)

    assert not (tmp_path / "model.safetensors").exists()


def test_the_learning_rate_rises_and_falls():
    settings = TrainingSettings(steps=100, warmup_steps=9, learning_rate=0.01)
    rates = [learning_rate(step, settings) for step in range(100)]

    assert rates[0] == pytest.approx(0.001)
    assert max(rates) == pytest.approx(0.01, rel=0.03)
    assert rates.index(max(rates)) == 9
    assert rates[-1] < 1e-5


def test_a_newer_network_is_kept_unless_it_is_clearly_worse():
    state = TrainingState(fingerprint="f")
    kept = []
    for step, score in enumerate((0.3, 0.51, 0.5, 0.4, 0.505), start=1):
        state = _judge(replace(state, step=step), score)
        kept.append((state.best_step, state.stale))

    assert kept == [(1, 0), (2, 0), (3, 1), (3, 2), (5, 3)]
    assert (state.kept_score, state.best_score) == (0.505, 0.51)
