import json
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import torch

from geoseg.config import Architecture
from geoseg.errors import ConfigError, ModelError
from geoseg.labels import GLACIER, GLACIER_SURFACE, IGNORE
from geoseg.models import (
    FixedInput,
    ModelSpec,
    build_segmenter,
    choose_device,
    dice_cross_entropy,
    find_encoder,
    inspect_pair,
    load_checkpoint,
    save_checkpoint,
    shared_checkpoints,
)
from geoseg.sensors import find_sensor
from geoseg.views import View, band_table


def spec_of(architecture="unet", encoder="resnet18", scheme=GLACIER):
    return ModelSpec(
        architecture=architecture,
        encoder=encoder,
        input=FixedInput(bands=("red", "nir08"), mean=(100.0, 80.0), std=(50.0, 40.0)),
        scheme=scheme,
        prior=(0.5, 0.5),
    )


def view_of(image, valid=None, bands=("red", "nir08"), sensor="landsat-7"):
    table = band_table([find_sensor(sensor).band(name) for name in bands])
    palette = image.flatten(2)[..., :256].nan_to_num(posinf=0.0)
    known = torch.ones(image[:, 0].shape, dtype=torch.bool) if valid is None else valid
    return View(image, known, palette, torch.full((len(image),), 30.0), table)


@pytest.fixture
def segmenter():
    torch.manual_seed(0)
    return build_segmenter(spec_of()).eval()


@pytest.mark.parametrize(
    ("architecture", "encoder"),
    [
        ("unet", "resnet18"),
        ("deeplabv3plus", "resnet18"),
        pytest.param("dpt", "vit_small_patch16_dinov3", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("size", [(64, 96), (70, 41)])
def test_networks_by_name_take_images_of_any_size(architecture, encoder, size):
    segmenter = build_segmenter(spec_of(architecture, encoder, GLACIER_SURFACE)).eval()

    with torch.inference_mode():
        logits = segmenter(view_of(torch.rand(1, 2, *size) * 100))

    assert logits.shape == (1, len(GLACIER_SURFACE.classes), *size)
    assert logits.isfinite().all()


def test_the_architectures_of_recipes_are_those_that_can_be_built():
    import segmentation_models_pytorch as smp  # after geoseg, which lets it in

    assert set(get_args(Architecture)) == set(smp.MODEL_ARCHITECTURES_MAPPING)


def test_no_encoder_is_offered_twice():
    with pytest.raises(ModelError, match="Did you mean") as caught:
        find_encoder("resnet19")

    offered = re.findall("'([^']+)'", str(caught.value).partition("Did you mean")[2])
    assert "resnet18" in offered
    assert len(offered) == len(set(offered)) == 3


@pytest.mark.parametrize(
    ("architecture", "encoder", "message"),
    [
        ("unett", "resnet18", r"no architecture named 'unett'\. Did you mean 'unet'"),
        ("unet", "resnett18", r"no encoder named 'resnett18'\. Did you mean 'resnet18' or '"),
        ("unet", "vit_small_patch16_dinov3", "dpt plain transformers"),
    ],
)
def test_a_network_that_cannot_be_built_is_answered_with_one_that_can(
    architecture, encoder, message
):
    with pytest.raises(ModelError, match=message):
        build_segmenter(spec_of(architecture, encoder))


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 1e30])
def test_no_value_of_an_invalid_pixel_reaches_the_network(segmenter, poison):
    torch.manual_seed(0)
    image, valid = torch.rand(1, 2, 64, 64) * 100, torch.ones(1, 64, 64, dtype=torch.bool)
    valid[:, 10:20, 10:20] = False
    poisoned = torch.where(valid.unsqueeze(1), image, poison)

    with torch.inference_mode():
        torch.testing.assert_close(
            segmenter(view_of(poisoned, valid)), segmenter(view_of(image, valid))
        )


def test_a_nan_that_is_called_valid_stays_a_hole(segmenter):
    image = torch.full((1, 2, 64, 64), 100.0)
    image[0, 0, 5, 5] = float("nan")

    with torch.inference_mode():
        assert segmenter(view_of(image)).isfinite().all()


def test_training_on_poisoned_chips_leaves_weights_and_buffers_finite(segmenter):
    segmenter.train()
    image = torch.rand(2, 2, 64, 64) * 100
    image[0, :, :30], image[1, 0, 40:] = float("nan"), float("inf")
    valid = image.isfinite().all(dim=1)
    label = torch.where(valid, 1, IGNORE).to(torch.uint8)

    loss = dice_cross_entropy(segmenter(view_of(image, valid)), label)
    loss.backward()

    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in segmenter.parameters() if p.grad is not None)
    assert all(b.isfinite().all() for b in segmenter.buffers())


def test_the_loss_falls_with_the_truth_and_leaves_out_what_is_ignored():
    label = torch.tensor([[[0, 1, IGNORE], [1, 0, IGNORE]]], dtype=torch.uint8)
    truth = torch.nn.functional.one_hot(label.long().clamp(max=1), 2).movedim(-1, 1) * 20.0 - 10
    other = truth.clone()
    other[..., 2] = -truth[..., 2]

    assert dice_cross_entropy(truth, label) < 1e-3
    assert dice_cross_entropy(-truth, label) > 5
    torch.testing.assert_close(dice_cross_entropy(truth, label), dice_cross_entropy(other, label))


def test_a_batch_without_a_known_pixel_gives_zero_loss_and_zero_gradient():
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)

    loss = dice_cross_entropy(logits, torch.full((1, 4, 4), IGNORE, dtype=torch.uint8))
    loss.backward()

    assert loss == 0
    assert (logits.grad == 0).all()


def test_dice_leaves_out_a_class_that_is_absent():
    label = torch.zeros(1, 4, 4, dtype=torch.uint8)
    sure = torch.zeros(1, 3, 4, 4)
    sure[:, 0] = 20

    assert dice_cross_entropy(sure, label) < 1e-3


def test_a_checkpoint_comes_back_as_the_same_network(segmenter, tmp_path):
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, segmenter, {"recipe_hash": "abc"})
    view = view_of(torch.rand(1, 2, 64, 64))

    read = load_checkpoint(path)

    assert read.segmenter.spec == segmenter.spec
    assert read.record == {"recipe_hash": "abc"}
    assert json.loads(path.with_suffix(".json").read_text())["spec"]["encoder"] == "resnet18"
    with torch.inference_mode():
        assert torch.equal(read.segmenter(view), segmenter(view))


@pytest.mark.slow
def test_a_network_is_read_once_as_long_as_its_file_stays(segmenter, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, segmenter, {"recipe_hash": "abc"})

    (first,) = shared_checkpoints((path,))
    (again,) = shared_checkpoints((Path("model.safetensors"),), (first.sha256,))
    save_checkpoint(path, segmenter, {"recipe_hash": "def"})
    (other,) = shared_checkpoints((path,))

    assert again is first
    assert other.record == {"recipe_hash": "def"}
    with pytest.raises(ModelError, match="was changed while it was used; run again"):
        shared_checkpoints((path,), (first.sha256,))
    path.unlink()
    with pytest.raises(ModelError, match="does not exist; train a model"):
        shared_checkpoints((path,))


@pytest.mark.parametrize("content", [b"", b"\x80\x04pickle", b"x" * 5000])
def test_what_is_no_checkpoint_is_refused_in_one_sentence(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)

    with pytest.raises(ModelError, match="is not a checkpoint of geoseg or is damaged"):
        load_checkpoint(path)
    with pytest.raises(ModelError, match="does not exist; train a model"):
        load_checkpoint(tmp_path / "none.safetensors")


def test_an_unknown_device_is_refused():
    with pytest.raises(ConfigError, match="device 'cpux' cannot be used"):
        choose_device("cpux")
    assert choose_device("cpu").type == "cpu"


@pytest.mark.slow
def test_timm_can_be_imported_whatever_torchvision_lies_beside_torch():
    code = (
        "import geoseg.models, torch, torchvision, timm;"
        "from geoseg.models.torchvision import _declared, inspect_pair;"
        "print(bool(_declared), hasattr(torch.ops.torchvision, 'roi_align'))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error::ImportWarning", "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    declared, has_operators = done.stdout.split()

    # Declared where torchvision's own operators are missing, and nowhere else.
    assert (declared == "True") != (has_operators == "True")
    assert inspect_pair().torch == torch.__version__
