"""The STAC item beside a classifier of presence, as other programs read it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import shapely
import torch
from stac_cards import require_stac
from taught_places import CPU, RECORD, S2, drawn_places, fresh_classifier, recipe_of, samples_of

from geoseg.errors import ModelError
from geoseg.files import sha256_of
from geoseg.models import ClassifierSpec, FixedInput, build_classifier, save_classifier
from geoseg.training import train_classifier
from geoseg.training.classifier_card import continue_card, write_classifier_card


@pytest.fixture(scope="module")
def places():
    return drawn_places(9)


def fixed_classifier():
    taken = FixedInput(
        bands=tuple(band.common_name for band in S2), mean=(100.0,) * 3, std=(10.0,) * 3
    )
    spec = ClassifierSpec(
        encoder="test_resnet", input=taken, target="thaw_slump", size_px=32, width=16
    )
    return build_classifier(spec)


def card_of(folder, places, classifier=None):
    classifier = classifier or fresh_classifier()
    model = folder / "model.safetensors"
    save_classifier(model, classifier, RECORD)
    write_classifier_card(model, classifier, places, recipe_of(), RECORD)
    return json.loads((folder / "model.stac.json").read_text())


def require_own_files(card, folder):
    for asset in card["assets"].values():
        assert asset["file:checksum"] == f"1220{sha256_of(folder / asset['href'])}"


@pytest.mark.parametrize("make", [fresh_classifier, fixed_classifier], ids=["any", "fixed"])
@pytest.mark.parametrize("lon", [0.0, np.nan], ids=["placed", "nowhere"])
def test_a_card_of_a_classifier_is_a_stac_item_of_the_mlm_extension(make, lon, places, tmp_path):
    seen = [replace(place, lon=lon) for place in places]
    if make is fixed_classifier:
        seen = [p for p in seen if all(image.bands == S2 for image in p.images)]

    card = card_of(tmp_path, seen, make())

    require_stac(card)
    assert (card["geometry"] is None) == (not np.isfinite(lon))
    assert ("bbox" in card) == bool(np.isfinite(lon))


def test_a_card_of_a_classifier_tells_what_it_says_and_what_it_learned_from(places, tmp_path):
    card = card_of(tmp_path, places)

    told = card["properties"]
    (out,) = told["mlm:output"]
    assert [c["name"] for c in out["classification:classes"]] == ["absent", "thaw_slump"]
    assert out["post_processing_function"]["expression"] == "torch.sigmoid"
    assert told["mlm:hyperparameters"]["learning.steps"] == 40
    assert told["mlm:hyperparameters"]["few_labels.unlabelled"] == "left_out"
    assert told["geoseg:places"] == 9
    assert told["geoseg:record"] == RECORD
    # The second image of a place is of the year after the first.
    assert told["start_datetime"] == "2000-07-01T00:00:00Z"
    assert told["end_datetime"] == "2001-07-01T00:00:00Z"
    weights = fresh_classifier().parameters()
    assert told["mlm:total_parameters"] == sum(w.numel() for w in weights)
    require_own_files(card, tmp_path)


def test_its_ground_is_squares_of_a_degree_on_both_sides_of_the_antimeridian(places, tmp_path):
    where = [(179.5, 68.2), (-179.9, 68.9), (10.0, -0.5), (np.nan, np.nan)]
    seen = [replace(p, lon=lon, lat=lat) for p, (lon, lat) in zip(places, where, strict=False)]

    card = card_of(tmp_path, seen)

    ground = shapely.geometry.shape(card["geometry"])
    squares = [(179, 68), (-180, 68), (10, -1)]
    boxes = shapely.union_all([shapely.box(x, y, x + 1, y + 1) for x, y in squares])
    assert ground.equals(boxes)
    assert card["bbox"] == [-180, -1, 180, 69]


def test_a_checkpoint_with_more_in_its_record_has_the_card_of_the_trained_one(places, tmp_path):
    trained = card_of(tmp_path, places)
    more = {**RECORD, "threshold": 0.3}
    out = tmp_path / "calibrated" / "model.safetensors"
    save_classifier(out, fresh_classifier(), more)

    continue_card(tmp_path / "model.safetensors", out, more)

    card = json.loads((out.parent / "model.stac.json").read_text())
    require_stac(card)
    require_own_files(card, out.parent)
    assert card["id"] != trained["id"]  # the header is a part of the file
    assert card["properties"].pop("geoseg:record") == more
    del trained["properties"]["geoseg:record"]
    assert {**card, "id": "", "assets": {}} == {**trained, "id": "", "assets": {}}


def test_without_a_card_of_the_trained_one_none_is_left_of_what_was_there_before(places, tmp_path):
    card_of(tmp_path, places)
    alone = tmp_path / "alone" / "model.safetensors"
    save_classifier(alone, fresh_classifier(), RECORD)

    continue_card(alone, tmp_path / "model.safetensors", RECORD)

    assert not (tmp_path / "model.stac.json").exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"properties": {}}'])
def test_a_card_that_is_damaged_is_named(text, places, tmp_path):
    card_of(tmp_path, places)
    (tmp_path / "model.stac.json").write_text(text)

    with pytest.raises(ModelError, match=r"model\.stac\.json is no card .* remove it"):
        continue_card(tmp_path / "model.safetensors", tmp_path / "model.safetensors", RECORD)


@pytest.mark.slow
def test_a_training_leaves_a_card_of_its_classifier(places, tmp_path):
    torch.manual_seed(0)

    train_classifier(
        fresh_classifier(),
        samples_of(places),
        recipe_of(steps=2, batch=4),
        folder=tmp_path,
        device=CPU,
        record=RECORD,
        on_step=lambda _: None,
    )

    card = json.loads((tmp_path / "model.stac.json").read_text())
    require_own_files(card, tmp_path)
    assert card["properties"]["geoseg:record"] == {**RECORD, "step": 2}
    assert card["properties"]["mlm:hyperparameters"]["learning.steps"] == 2
