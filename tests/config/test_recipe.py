from pathlib import Path

import pytest

from geoseg.config import Recipe, load_recipe, recipe_hash, with_absolute_paths
from geoseg.config.strict_yaml import parse_yaml
from geoseg.errors import ConfigError

DEFAULTS = Path(__file__).parents[2] / "recipes" / "glacier_inventory" / "recipe.yaml"


def test_single_keys_lie_over_a_file_that_lies_over_the_defaults(tmp_path):
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("training: {steps: 7, batch: 4}\n")

    recipe = load_recipe(DEFAULTS, overlay=overlay, changes=["training.steps=9"])

    assert (recipe.training.steps, recipe.training.batch) == (9, 4)


def test_a_scene_of_ones_own_takes_the_place_of_the_default_data_set(tmp_path):
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("scene: {path: a.tif}\n")

    assert load_recipe(DEFAULTS).data == "simulated"
    assert load_recipe(DEFAULTS, overlay=overlay).data is None
    assert load_recipe(DEFAULTS, changes=["scene.path=a.tif", "data=everest"]).data == "everest"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("trainig.steps=3", "unknown key 'trainig'. Did you mean 'training'?"),
        ("training.step=3", "unknown key 'training.step'. Did you mean 'steps'?"),
        ("scene.pth=a.tif", "unknown key 'scene.pth'. Did you mean 'path'?"),
        ("scene.date=2000-13-01", "--set scene.date=2000-13-01 is not valid YAML"),
        ("seed=99999999999999999999", "seed = 99999999999999999999 cannot be used"),
        ("training.steps=-3", "training.steps = -3 cannot be used"),
        ("training.steps=many", "training.steps = 'many' cannot be used"),
        ("inference.halo_px=400", "is over a quarter of inference.tile_px"),
        ("steps", "'steps' changes nothing; write it as key=value, for example seed=1."),
    ],
)
def test_a_wrong_key_or_value_is_named_with_the_way_out(change, message):
    with pytest.raises(ConfigError) as caught:
        load_recipe(DEFAULTS, changes=[change])

    assert message in str(caught.value)
    assert caught.value.exit_code == 2


def test_the_hash_changes_with_any_key_and_with_nothing_else():
    assert recipe_hash(Recipe()) == recipe_hash(Recipe())
    assert recipe_hash(Recipe(seed=1)) != recipe_hash(Recipe())


HOSTILE = [
    "[" * 60 + "]" * 60,
    "a: &x [1]\n" + "".join(f"k{i}: *x\n" for i in range(101)),
    "a: 1\na: 2",
    "!!python/object/apply:os.system [ls]",
    "- 1",
    "a: [",
    "date: 2000-13-01",
]


@pytest.mark.parametrize(
    "text",
    HOSTILE,
    ids=["deep", "aliases", "twice", "code", "no mapping", "broken", "no date"],
)
def test_hostile_or_broken_yaml_is_refused_in_one_sentence(text):
    with pytest.raises(ConfigError, match=r"^x\.yaml(, line \d+, column \d+)? (is not|holds)"):
        parse_yaml(text, where="x.yaml")


def test_a_file_of_more_than_a_mebibyte_is_no_recipe(tmp_path):
    path = tmp_path / "big.yaml"
    path.write_text("#" * (2**20 + 1))

    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        load_recipe(DEFAULTS, overlay=path)


def test_the_page_on_the_recipe_shows_a_recipe_that_is_valid(tmp_path):
    page = (DEFAULTS.parent / "README.md").read_text()
    shown = page.split("## Several sensors, and film")[1]
    indented = [line[4:] for line in shown.splitlines() if line.startswith("    ")]
    fenced = shown.partition("```yaml\n")[2].partition("```")[0]
    overlay = tmp_path / "series.yaml"
    overlay.write_text(fenced or "\n".join(indented))

    recipe = load_recipe(DEFAULTS, overlay=overlay)

    assert recipe.sources[1].labels.date_of == "src_date"
    assert recipe.model.stem == "any"


def test_paths_of_a_recipe_are_made_good_in_any_folder(tmp_path):
    overlay = tmp_path / "mine.yaml"
    overlay.write_text(
        "scene: {path: a.tif, more: {nir08: b.tif}, dem: dem.tif}\n"
        "sources: [{scene: {path: /data/c.json}, labels: {path: d.gpkg}}]\n"
    )

    recipe = with_absolute_paths(load_recipe(DEFAULTS, overlay=overlay), tmp_path)

    assert recipe.scene.path == str(tmp_path / "a.tif")
    assert recipe.scene.more == {"nir08": str(tmp_path / "b.tif")}
    assert recipe.scene.dem == str(tmp_path / "dem.tif")
    assert recipe.sources[0].scene.path == "/data/c.json"
    assert recipe.sources[0].labels.path == str(tmp_path / "d.gpkg")
