"""The JSON schemas of recipes, and what follows from them."""

import datetime as dt
import json
import re
import runpy
from pathlib import Path
from textwrap import dedent
from typing import Literal

import pytest
import yaml
from command_line import geoseg_here
from jsonschema import Draft7Validator, Draft202012Validator
from pydantic import Field

from geoseg.config import (
    Section,
    as_markdown,
    find_kind,
    find_kinds,
    load_recipe,
    schema_by_name,
    schema_of,
)
from geoseg.errors import ConfigError

ROOT = Path(__file__).parents[2]
SHIPPED = sorted([*ROOT.glob("recipes/*/*.yaml"), *ROOT.glob("examples/*.yaml")])
NAMED = re.compile(r"# yaml-language-server: \$schema=(([a-z-]+)\.schema\.json)\n")


def in_json(values):
    """As an editor takes it, to which a date is text."""
    return json.loads(json.dumps(values, default=dt.date.isoformat))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_recipe_that_ships_names_its_schema_and_is_valid_by_it(path):
    text = path.read_text()
    beside, name = NAMED.match(text).groups()
    schema = json.loads((path.parent / beside).read_text())

    assert schema == schema_by_name(name)
    Draft202012Validator(schema).validate(in_json(yaml.safe_load(text)))


def test_what_follows_from_the_keys_is_as_it_was_written():
    made = runpy.run_path(str(ROOT / "docs" / "write_recipe_keys.py"))["made"]()

    stale = [path.name for path, text in made.items() if path.read_text() != text]
    assert not stale, "run python docs/write_recipe_keys.py"
    assert len(made) == len(find_kinds()) + 1


@pytest.mark.parametrize("name", find_kinds())
def test_a_schema_is_one_of_its_draft_and_says_what_every_key_means(name):
    schema = schema_by_name(name)

    Draft202012Validator.check_schema(schema)
    Draft7Validator.check_schema(schema)  # which some editors take every schema for
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    silent = {
        key
        for part in (schema, *schema["$defs"].values())
        for key, said in part["properties"].items()
        if "description" not in said and "$ref" not in said
    }
    assert silent == set()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("glacier-inventory", {"trainig": {"steps": 3}}),
        ("glacier-inventory", {"training": {"step": 3}}),
        ("glacier-inventory", {"training": {"steps": 0}}),
        ("glacier-inventory", {"training": {"steps": "many"}}),
        ("glacier-inventory", {"training": {"steps": True}}),
        ("glacier-inventory", {"training": {"learning_rate": 0}}),
        ("glacier-inventory", {"training": None}),
        ("glacier-inventory", {"chips": {"size_px": 100}}),
        ("glacier-inventory", {"chips": {"gsd_m": [10]}}),
        ("glacier-inventory", {"chips": {"gsd_m": [10, 20, 30]}}),
        ("glacier-inventory", {"split": {"train_from": "wst"}}),
        ("glacier-inventory", {"scene": {"sensor": "landsat-7"}}),
        ("glacier-inventory", {"scene": {"path": "a", "more": {"red": 1}}}),
        ("glacier-inventory", {"series": [{"path": "a", "pth": "b"}]}),
        ("glacier-inventory", {"film": {"cameras": []}}),
        ("glacier-inventory", {"scheme": [{"name": "A", "colour": "#1f78b4"}]}),
        ("glacier-inventory", {"scheme": [{"name": "a", "colour": "blue"}]}),
        ("compare", {"seed": 2**31}),
        ("thaw-slump", {"model": {"output_stride": 12}}),
        ("thaw-slump", {"target": "Thaw Slump"}),
        ("thaw-slump", {"training": {"steps": 3}}),
        ("pivot-landcover", {"maps": {"legends": ["corine"]}}),
        ("pivot-landcover", {"maps": {"gsd_m": [0]}}),
        ("pivot-landcover", {"data": "simulatd"}),
        ("active-labelling", {"round": {"item": 3}}),
        ("active-labelling", {"places": 3}),
    ],
)
def test_what_the_schema_refuses_is_refused_when_it_is_read(tmp_path, name, change):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(change))

    assert not Draft202012Validator(schema_by_name(name)).is_valid(in_json(change))
    with pytest.raises(ConfigError, match=r"mine\.yaml, line \d+, column \d+"):
        load_recipe(None, overlay=path, kind=find_kind(name))


@pytest.mark.parametrize(
    "change",
    [
        {"scene": {"path": "a", "date": dt.date(2000, 10, 30), "nodata": 0, "dem": None}},
        {"chips": {"gsd_m": [10, 30.5]}, "data": None, "series": []},
        {"scene": {"path": "a", "more": {"nir08": "b.tif"}}, "inference": {"gsd_m": 10}},
    ],
)
def test_what_the_schema_takes_is_taken_when_it_is_read(tmp_path, change):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(change))

    assert Draft202012Validator(schema_by_name("compare")).is_valid(in_json(change))
    load_recipe(None, overlay=path)


class Melt(Section):
    """How ice melts."""

    rate_m_per_year: float = Field(default=1.0, ge=0, lt=20)
    """Of the surface."""
    days: tuple[int, ...] = Field(default=(1, 2), min_length=1)
    """Of the year, that is."""
    way: Literal["slow", "fast"] = "slow"
    """One | the other."""


class Rock(Section):
    """A rock glacier."""

    title: str
    """On the page."""
    melt: Melt = Melt()
    others: tuple[Melt, ...] = ()
    """More of it."""


def test_a_table_tells_type_default_unit_range_and_meaning_of_each_key():
    assert as_markdown(schema_of(Rock, {"melt": {"way": "fast"}}), level=2) == dedent("""\
        ## The recipe itself

        A rock glacier.

        | key | type | default | unit, range | what it is |
        |---|---|---|---|---|
        | `title` | text | needed |  | On the page. |
        | `melt` | section |  |  | How ice melts. |
        | `others` | list: section each | `[]` |  | More of it. |

        ## `melt`, `others[]`

        How ice melts.

        | key | type | default | unit, range | what it is |
        |---|---|---|---|---|
        | `rate_m_per_year` | number | `1.0` | m/year, >= 0 and < 20 | Of the surface. |
        | `days` | list: whole number each | `[1, 2]` | 1 at least | Of the year, that is. |
        | `way` | choice | `fast` | `slow`, `fast` | One \\| the other. |
        """)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of somebody else, with a recipe."""
    room = tmp_path / "rock_glaciers"
    room.mkdir()
    (room / "__init__.py").write_text("")
    (room / "app.py").write_text("import typer\n\napp = typer.Typer()\n")
    (room / "recipe.py").write_text(
        "from geoseg.config import Section\n\n\n"
        "class RockRecipe(Section):\n    seed: int = 0\n    '''Of chance.'''\n\n\nother = 3\n"
    )
    (room / "recipe.yaml").write_text("seed: 7\n")
    about = tmp_path / "rock_glaciers-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: rock-glaciers\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[geoseg.recipes]\nrock-glacier = rock_glaciers.app:app\n\n"
        "[geoseg.recipe_kinds]\nrock-glacier = rock_glaciers.recipe:RockRecipe\n"
        "rock-fall = rock_glaciers.recipe:other\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("package")
def test_recipes_of_another_package_have_a_schema_with_its_defaults():
    assert schema_by_name("rock-glacier")["properties"]["seed"] == {
        "type": "integer",
        "default": 7,
        "description": "Of chance.",
    }
    with pytest.raises(ConfigError, match=r"rock-fall names .*:other as its kind of recipe"):
        find_kind("rock-fall")


def test_the_defaults_of_a_schema_are_those_of_the_recipe_that_ships():
    default = {name: schema_by_name(name)["properties"]["data"]["default"] for name in find_kinds()}

    assert default == {
        "active-labelling": "rts-chips",
        "compare": None,
        "glacier-inventory": "simulated",
        "pivot-landcover": "simulated",
        "thaw-slump": "simulated",
    }


def test_the_command_shows_writes_and_lists_schemas(tmp_path):
    shown = geoseg_here("schema", "thaw-slump")
    written = geoseg_here("schema", "thaw-slump", "--out", "mine.schema.json", cwd=tmp_path)
    listed = geoseg_here("schema")

    assert json.loads(shown.stdout) == schema_by_name("thaw-slump")
    assert (tmp_path / "mine.schema.json").read_text() == shown.stdout
    assert "# yaml-language-server: $schema=mine.schema.json" in written.stderr
    assert listed.stdout.count("geoseg.config:Recipe") == 2


def test_a_command_without_recipes_is_named_with_the_nearest_that_has_some(tmp_path):
    wrong = geoseg_here("schema", "thaw-slum")
    no_name = geoseg_here("schema", "--out", tmp_path / "a.json")

    assert wrong.returncode == no_name.returncode == 2
    assert "There are no recipes of 'thaw-slum'. Did you mean 'thaw-slump'?" in wrong.stderr
    assert "is for the schema of one recipe; name it: active-labelling, " in no_name.stderr
    assert not (tmp_path / "a.json").exists()
