"""The STAC item beside a network of land cover, as other programs read it."""

import json

import pytest
import torch
from small_grounds import CLASSES, small_ground
from stac_cards import require_stac

from geoseg.config import LandCoverRecipe
from geoseg.files import sha256_of
from geoseg.landcover.attention import AttentionSpec, TemporalAttention, save_attention
from geoseg.landcover.card import write_attention_card
from geoseg.landcover.cells import cell_years

RECORD = {"step": 3}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return TemporalAttention(AttentionSpec.fitting(cell_years(small_ground(0)), CLASSES, width=16))


@pytest.fixture
def card(network, tmp_path):
    model = tmp_path / "network.safetensors"
    save_attention(model, network, RECORD)
    grounds = (small_ground(seed) for seed in range(2))
    write_attention_card(model, network, grounds, LandCoverRecipe(seed=4), RECORD)
    return json.loads((tmp_path / "network.stac.json").read_text())


def test_it_is_a_stac_item_of_the_mlm_extension(card, tmp_path):
    require_stac(card)
    for asset in card["assets"].values():
        assert asset["file:checksum"] == f"1220{sha256_of(tmp_path / asset['href'])}"


def test_it_tells_what_the_network_takes_and_says(card, network):
    told = card["properties"]
    assert [one["name"] for one in told["bands"]] == ["green", "red", "nir"]
    mean, sd, validity, days = told["mlm:input"]
    assert [one["mean"] for one in mean["value_scaling"]] == list(network.spec.centre)
    assert [one["value"] for one in sd["value_scaling"]] == list(network.spec.scale)
    assert mean["bands"] == sd["bands"] == validity["bands"] == ["green", "red", "nir"]
    assert days["input"]["dim_order"] == ["time"]
    (out,) = told["mlm:output"]
    assert [one["name"] for one in out["classification:classes"]] == list(CLASSES)
    assert told["mlm:hyperparameters"]["seed"] == 4
    assert told["geoseg:record"] == RECORD


def test_it_tells_where_and_when_was_learned_from(card):
    # Days 19358 to 19688 since 1970, on 160 x 120 m about 15 E 64.9 N.
    assert card["properties"]["start_datetime"] == "2023-01-01T00:00:00Z"
    assert card["properties"]["end_datetime"] == "2023-11-27T00:00:00Z"
    west, south, east, north = card["bbox"]
    assert 14.99 < west < east < 15.01
    assert 64.9 < south < north < 64.95
