"""What no page of geoseg may do, whoever wrote it."""

from importlib.resources import files
from pathlib import Path

import pytest
from page_elements import Elements

from geoseg.page.policy import SERVED, WRITTEN


@pytest.mark.parametrize("policy", [SERVED, WRITTEN])
def test_a_page_lets_no_base_form_or_plugin_in_and_names_no_other_host(policy):
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))

    assert {rules[key] for key in ("base-uri", "form-action", "object-src")} == {"'none'"}
    assert set(" ".join(rules.values()).split()) <= {"'none'", "'self'", "data:", "'unsafe-inline'"}
    assert rules["default-src"] in {"'none'", "'self'"}
    assert "script-src" not in rules


def test_every_page_that_is_written_takes_the_policy_from_one_place():
    pages = [p for p in Path(str(files("geoseg"))).rglob("*.html") if "static" not in p.parts]
    texts = {page.name: page.read_text() for page in pages}

    whole = {name: text for name, text in texts.items() if "<!DOCTYPE html>" in text}

    assert len(whole) >= 3
    for text in whole.values():
        said = [m["content"] for m in Elements(text).all("meta") if "http-equiv" in m]
        assert [content.split(";")[0] for content in said] == ["{{ policy }}"]
