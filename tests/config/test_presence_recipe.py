"""The recipe of presence: read and checked as any other, with keys of its own."""

from pathlib import Path

import pytest

from geoseg.config import (
    PresenceRecipe,
    Recipe,
    load_recipe,
    recipe_hash,
    training_hash,
    with_absolute_paths,
)
from geoseg.errors import ConfigError

FOLDER = Path(__file__).parents[2] / "recipes" / "thaw_slump"
DEFAULTS = FOLDER / "recipe.yaml"
OF_DATA = {"simulated": FOLDER / "simulated.yaml", "rts-chips": FOLDER / "rts_chips.yaml"}


def load(*changes, overlay=None, path=DEFAULTS, of_data=OF_DATA):
    return load_recipe(path, of_data=of_data, overlay=overlay, changes=changes, kind=PresenceRecipe)


def test_the_kind_that_is_asked_for_is_what_comes():
    assert type(load()) is PresenceRecipe
    assert type(load_recipe(None)) is Recipe
    assert load_recipe(None, kind=PresenceRecipe) == PresenceRecipe()


def test_what_suits_the_data_lies_over_the_defaults_and_under_what_the_user_names(tmp_path):
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("data: rts-chips\nlearning: {batch: 8}\n")

    windows, series = load(overlay=overlay), load()

    assert (windows.model.stem, series.model.stem) == ("fixed", "any")
    assert (windows.learning.batch, series.learning.batch) == (8, 32)
    assert load("learning.steps=9", overlay=overlay).learning.steps == 9
    assert load("data=rts-chips").model.stem == "fixed"


def test_a_key_that_suits_the_data_goes_over_that_of_the_defaults(tmp_path):
    defaults, suited = tmp_path / "recipe.yaml", tmp_path / "suited.yaml"
    defaults.write_text("data: simulated\nlearning: {steps: 1, batch: 5}\n")
    suited.write_text("learning: {steps: 2}\n")

    recipe = load(path=defaults, of_data={"simulated": suited})

    assert (recipe.learning.steps, recipe.learning.batch) == (2, 5)
    assert (
        load("learning.steps=3", path=defaults, of_data={"simulated": suited}).learning.steps == 3
    )
    assert load(path=defaults, of_data={"rts-chips": suited}).learning.steps == 1


def test_a_pack_of_ones_own_takes_the_place_of_the_default_data(tmp_path):
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("pack: my_pack\n")

    recipe = load(overlay=overlay)

    assert (recipe.data, recipe.pack) == (None, "my_pack")
    assert load().data == "simulated"
    assert load("pack=null").data == "simulated"
    # Nothing of the defaults' data is taken up.
    assert recipe.few_labels.masks == 0


def test_a_pack_beside_data_is_refused():
    with pytest.raises(ConfigError, match="data = rts-chips and pack = a; name one of them"):
        load("pack=a", "data=rts-chips")
    assert load("pack=a", "data=null").pack == "a"
    assert PresenceRecipe(pack="a").pack == "a"


def test_a_pack_is_found_from_the_folder_of_its_recipe(tmp_path):
    absolute = with_absolute_paths(load("pack=packs/one"), tmp_path)

    assert type(absolute) is PresenceRecipe
    assert absolute.pack == str(tmp_path / "packs" / "one")
    assert with_absolute_paths(absolute, Path("/elsewhere")) == absolute
    assert with_absolute_paths(load(), tmp_path) == load()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("learnin.steps=3", "unknown key 'learnin'. Did you mean 'learning'?"),
        ("few_labels.label=8", "unknown key 'few_labels.label'. Did you mean 'labels'?"),
        ("model.encodr=resnet18", "unknown key 'model.encodr'. Did you mean 'encoder'?"),
        ("training.steps=3", "unknown key 'training'"),  # of the recipe of outlines
        ("learning.steps=0", "learning.steps = 0 cannot be used"),
        ("learning.present_share=1", "learning.present_share = 1 cannot be used"),
        ("few_labels.labels=3", "few_labels.labels = 3 cannot be used"),
        ("few_labels.confidence=0.5", "few_labels.confidence = 0.5 cannot be used"),
        ("few_labels.unlabelled=ignored", "few_labels.unlabelled = 'ignored' cannot be used"),
        ("few_labels.unlabelled=positive_unlabelled", "needs few_labels.prior"),
        ("model.output_stride=12", "model.output_stride = 12 cannot be used"),
        ("calibration.recall=1.0", "calibration.recall = 1.0 cannot be used"),
        ("calibration.prevalence=0", "calibration.prevalence = 0 cannot be used"),
        ("calibration.prevalence=1", "calibration.prevalence = 1 cannot be used"),
        ("target=Thaw Slump", "target = 'Thaw Slump' cannot be used"),
        ("places=59", "places = 59 cannot be used"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_the_way_out(change, message):
    with pytest.raises(ConfigError) as caught:
        load(change)

    assert message in str(caught.value)
    assert caught.value.exit_code == 2


def test_positive_unlabelled_is_taken_with_a_prior():
    recipe = load("few_labels.unlabelled=positive_unlabelled", "few_labels.prior=0.01")

    assert recipe.few_labels.prior == 0.01


@pytest.mark.parametrize(
    "change",
    ["seed=1", "learning.steps=9", "few_labels.labels=8", "model.encoder=resnet18", "places=99"],
)
def test_another_training_has_another_hash(change):
    assert training_hash(load(change)) != training_hash(load())
    assert recipe_hash(load(change)) != recipe_hash(load())


@pytest.mark.parametrize("change", ["calibration.recall=0.5", "calibration.prevalence=0.01"])
def test_what_comes_after_the_training_leaves_its_hash(change):
    assert training_hash(load(change)) == training_hash(load())
    assert recipe_hash(load(change)) != recipe_hash(load())
