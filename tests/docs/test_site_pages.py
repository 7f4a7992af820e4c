"""The reference that is made of the code, and links between pages that lie apart."""

import importlib
import inspect
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from mkdocs.exceptions import PluginError

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))

import site_pages  # noqa: E402

# What people reach by commands and pages, not by imports.
NO_API = {"commands", "page", "viewer"}


def at(name):
    return SimpleNamespace(file=SimpleNamespace(src_uri=name))


def relinked(text, name):
    return site_pages.on_page_markdown(text, page=at(name), config=None, files=None)


def test_each_room_has_a_page():
    rooms = {path.parent.name for path in ROOT.glob("geoseg/*/__init__.py")}

    assert rooms - NO_API == set(site_pages._ROOMS)


def test_everything_on_a_page_of_the_api_has_a_docstring():
    names = re.findall(r"^::: (.+)$", "\n".join(site_pages.api_pages().values()), re.MULTILINE)
    found = [(name, *name.rsplit(".", 1)) for name in names]
    bare = [
        name for name, m, n in found if not inspect.getdoc(getattr(importlib.import_module(m), n))
    ]

    assert len(names) > 300
    assert bare == []


def test_notebooks_are_pages_with_what_they_showed():
    pages = site_pages.notebook_pages()
    text = pages["examples/track-inventories.md"]
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)

    assert "```sh\ngeoseg track out/surveys/*.json" in text
    assert "%%" not in text
    assert len(pictures) == 2
    assert all(pages[f"examples/{name}"].startswith(b"\x89PNG") for name in pictures)


def test_the_command_line_is_told_whole():
    pages = site_pages.command_pages()

    assert "* `--prevalence <float>`: " in pages["reference/cli/presence.md"]
    assert "## `geoseg predict`" in pages["reference/cli/verbs.md"]
    assert "    geoseg active serve out/labelling\n" in pages["reference/cli/active.md"]
    assert not any("Example:" in text for text in pages.values())


@pytest.mark.parametrize(
    ("page", "link", "there"),
    [
        ("presence.md", "(../recipes/thaw_slump/README.md)", "(recipes/thaw-slump.md)"),
        (
            "tutorials/a.md",
            "(../../recipes/thaw_slump/README.md#data)",
            "(../recipes/thaw-slump.md#data)",
        ),
        ("recipes/thaw-slump.md", "(../../docs/film.md#ranges)", "(../film.md#ranges)"),
        ("tutorials/a.md", "(../film.md)", "(../film.md)"),
        ("tutorials/a.md", "(../../examples/README.md)", "(../examples/index.md)"),
        ("examples/train-and-map.md", "(../docs/film.md)", "(../film.md)"),
        ("examples/index.md", "(train_and_map.ipynb)", "(train-and-map.md)"),
        ("film.md", "(https://example.org/a.md)", "(https://example.org/a.md)"),
        ("film.md", "(#ranges)", "(#ranges)"),
        ("film.md", "(nowhere.md)", "(nowhere.md)"),
    ],
)
def test_a_link_leads_to_the_page_that_a_file_became(page, link, there):
    assert relinked(f"[x]{link}", page) == f"[x]{there}"


def test_a_file_that_is_no_page_is_named():
    assert (
        relinked("[x](simulated.yaml)", "recipes/thaw-slump.md")
        == "`recipes/thaw_slump/simulated.yaml`"
    )


@pytest.mark.parametrize(
    "loads",
    [
        '<script src="https://cdn.example/x.js">',
        "<img alt=x src=//cdn.example/x.png>",
        '<link href="https://fonts.example/a.css" rel="stylesheet">',
    ],
)
def test_a_page_that_loads_from_elsewhere_is_refused(loads):
    with pytest.raises(PluginError, match=r"a\.md loads from another machine"):
        site_pages.on_post_page(f"<p>{loads}", page=at("a.md"), config=None)


def test_a_page_may_link_elsewhere():
    text = '<a href="https://example.org">x</a><link rel="canonical" href="https://example.org">'

    assert site_pages.on_post_page(text, page=at("a.md"), config=None) == text
