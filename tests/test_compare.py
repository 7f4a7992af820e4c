"""`geoseg compare`, from the command line."""

import json

import pytest
from command_line import geoseg, geoseg_here

from geoseg.config import ModelSettings
from geoseg.errors import ConfigError
from geoseg.evaluation import find_candidates


def recipe_of(example, folder, **more):
    recipe = {
        "scene": {
            "path": str(example.raster),
            "sensor": "landsat-7",
            "date": "2000-10-30",
            "bands": ["red", "nir08"],
        },
        "labels": {"path": str(example.outlines), "class_of": "glacier"},
        "chips": {"size_px": 32},
        "model": {"encoder": "test_resnet"},
        "training": {"steps": 3, "batch": 2, "validate_every": 3},
        "inference": {"tile_px": 64, "halo_px": 16},
        **more,
    }
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(recipe))  # JSON is YAML
    return path


@pytest.mark.slow
def test_models_are_compared_over_the_same_folds_and_a_stopped_comparison_goes_on(
    example, tmp_path
):
    out = tmp_path / "out"
    options = [
        *("--recipe", recipe_of(example, tmp_path), "--folds", "2", "--out", out),
        *("--block-m", "600", "--json"),
    ]

    first = geoseg_here("compare", *options, "--models", "unet")
    assert first.returncode == 0, first.stderr
    done = {path: path.stat().st_mtime_ns for path in out.glob("units/*/unit.json")}
    both = geoseg("compare", *options, "--models", "unet,unet:frozen")

    assert both.returncode == 0, both.stderr
    figures = json.loads(both.stdout)
    assert {m["model"] for m in figures["models"]} == {"unet", "unet:frozen"}
    assert figures["units"] == {"done": 4, "missing": []}
    assert len(done) == 2
    assert all(path.stat().st_mtime_ns == when for path, when in done.items())
    costs = {m["model"]: m["cost"] for m in figures["models"]}
    assert costs["unet:frozen"]["trained_parameters"] < costs["unet"]["trained_parameters"]
    assert costs["unet"]["train_seconds"] > 0
    # Every pixel of the scene is scored once: each block is held out once.
    tested = [json.loads(path.read_text())["scores"] for path in done]
    pixels = sum(sum(map(sum, block["confusion"])) for unit in tested for block in unit)
    assert pixels == 96 * 160
    for name in ("comparison.html", "comparison.png", "comparison.json", "folds.json"):
        assert (out / name).stat().st_size > 500


@pytest.mark.slow
def test_another_pixel_of_the_maps_is_another_unit(example, tmp_path):
    recipe = recipe_of(example, tmp_path)
    options = ["--recipe", recipe, "--models", "unet", "--folds", "2", "--block-m", "900"]
    out = tmp_path / "out"

    first = geoseg_here("compare", *options, "--out", out)
    second = geoseg_here("compare", *options, "--out", out, "--set", "inference.gsd_m=60")

    assert (first.returncode, second.returncode) == (0, 0), second.stderr
    assert len(list(out.glob("units/*/unit.json"))) == 4


@pytest.mark.slow
def test_losses_are_compared_and_one_that_was_compared_alone_is_not_learned_again(
    example, tmp_path
):
    out = tmp_path / "out"
    options = [
        *("--recipe", recipe_of(example, tmp_path), "--folds", "2", "--out", out),
        *("--models", "unet", "--block-m", "600", "--json"),
    ]

    alone = geoseg_here("compare", *options)
    done = {path: path.stat().st_mtime_ns for path in out.glob("units/*/unit.json")}
    several = geoseg_here("compare", *options, "--losses", "dice_cross_entropy,logit_adjusted")

    assert (alone.returncode, several.returncode) == (0, 0), several.stderr
    assert [m["model"] for m in json.loads(alone.stdout)["models"]] == ["unet"]
    assert {m["model"] for m in json.loads(several.stdout)["models"]} == {
        "unet+dice_cross_entropy",
        "unet+logit_adjusted",
    }
    assert len(list(out.glob("units/*/unit.json"))) == 4
    assert all(path.stat().st_mtime_ns == when for path, when in done.items())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--models", "unett"), "no architecture named 'unett'. Did you mean 'unet'"),
        (("--models", "unet,unet"), "name each once"),
        (("--models", ","), "name each once"),
        (("--models", "unet:frosen"), "has the tuning 'frosen'. Did you mean 'frozen'?"),
        (("--models", "unet", "--losses", "tversky"), "Did you mean 'focal_tversky'?"),
        (("--models", "unet", "--losses", "focal,focal"), "focal, focal; name each once"),
        (("--models", "unet", "--block-m", "1e9"), "need one each; make block_m smaller"),
    ],
)
def test_a_comparison_that_cannot_be_is_refused_before_anything_is_trained(
    example, tmp_path, options, words
):
    out = tmp_path / "out"

    done = geoseg_here("compare", "--recipe", recipe_of(example, tmp_path), "--out", out, *options)

    assert done.returncode in {1, 2}
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(out.rglob("*.safetensors"))


def test_models_are_named_shortly():
    usual = ModelSettings(encoder="resnet34")

    unet, dino, own = find_candidates(
        ["unet", "dinov3:last-blocks", "deeplabv3plus/resnet50"], usual
    )

    assert (unet.model.architecture, unet.model.encoder, unet.model.tuning) == (
        "unet",
        "resnet34",
        "full",
    )
    assert (dino.model.architecture, dino.model.encoder, dino.model.tuning) == (
        "dpt",
        "vit_small_patch16_dinov3",
        "last_blocks",
    )
    assert own.model.encoder == "resnet50"
    with pytest.raises(ConfigError, match="name each once"):
        find_candidates([], usual)


def test_each_model_is_compared_with_each_loss_and_named_by_it_where_there_are_several():
    usual = ModelSettings()

    (alone,) = find_candidates(["unet"], usual)
    (one,) = find_candidates(["unet"], usual, ["focal"])
    four = find_candidates(["unet", "unet:frozen"], usual, ["focal", "ldam_drw"])

    assert (alone.name, alone.loss) == ("unet", None)
    assert (one.name, one.loss) == ("unet", "focal")
    assert [(c.name, c.model.tuning, c.loss) for c in four] == [
        ("unet+focal", "full", "focal"),
        ("unet+ldam_drw", "full", "ldam_drw"),
        ("unet:frozen+focal", "frozen", "focal"),
        ("unet:frozen+ldam_drw", "frozen", "ldam_drw"),
    ]


def test_the_help_of_compare_names_the_losses_and_how_models_are_written():
    done = geoseg_here("compare", "--help")

    assert done.returncode == 0, done.stderr
    told = " ".join(done.stdout.replace("│", " ").split())
    assert "--losses dice_cross_entropy,focal_tversky,logit_adjusted" in told
    assert "each with /encoder, :frozen or :last_blocks" in told
