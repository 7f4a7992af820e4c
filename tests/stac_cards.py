"""Whether a card is what other programs read."""

import json
import re
from copy import deepcopy

import pystac.validation


def require_stac(card):
    """It is a STAC item of the machine learning model extension, by packages of their makers."""
    from stac_model import schema

    pystac.validation.set_validator(pystac.validation.stac_validator.JsonSchemaSTACValidator())
    core = {**card, "stac_extensions": []}  # theirs lie on the web
    pystac.Item.from_dict(core).validate()
    told = {k: deepcopy(v) for k, v in card["properties"].items() if k.startswith("mlm:")}
    read = schema.MLModelProperties(**told)
    again = json.loads(read.model_dump_json(by_alias=True))
    for key in ("mlm:input", "mlm:output"):
        for ours, theirs in zip(told.pop(key), again.pop(key), strict=True):
            ours.pop("description", None)  # which they do not know of both
            assert {name: theirs[name] for name in ours} == ours
    kept = {key: value for key, value in told.items() if value is not None}
    assert {key: again[key] for key in kept} == kept
    # What its JSON schema asks for beyond those types.
    assert re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_.\-\s]+[a-zA-Z0-9]", told["mlm:name"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", told["mlm:framework_version"])
    for given in card["properties"]["mlm:input"]:
        assert ("bands" in given["input"]["dim_order"]) == bool(given.get("bands"))
    assert card["properties"]["bands"]
    models = [asset for asset in card["assets"].values() if "mlm:model" in asset["roles"]]
    assert [asset["mlm:artifact_type"] for asset in models] == ["safetensors.torch.save_file"]
