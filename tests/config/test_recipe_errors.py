"""Whatever is wrong with a recipe ends in one sentence that says where."""

import math
from functools import cache
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from geoseg.config import LabellingRecipe, LandCoverRecipe, PresenceRecipe, Recipe, load_recipe
from geoseg.config.recipe import _validated
from geoseg.config.strict_yaml import parse_yaml
from geoseg.errors import ConfigError, ModelError

MARK = "qqzzqq"
SCENE = {"path": "a.tif", "sensor": "landsat-7", "date": "2000-10-30", "bands": ["red"]}
LABELS = {"path": "a.gpkg"}
CUBE = {"path": "cube.zarr", "reference": "cover.tif"}
# Of each kind one with all keys in it, those of items of lists too.
WHOLE = {
    Recipe: {
        "scene": {**SCENE, "more": {"nir08": "b.tif"}, "nodata": 0, "dem": "dem.tif"},
        "labels": {**LABELS, "layer": "l", "inside": "i", "date_of": "d"},
        "series": [SCENE, SCENE],
        "sources": [{"scene": SCENE, "labels": LABELS}],
        "scheme": [{"name": "glacier", "colour": "#1f78b4"}],
        "adaptation": {"scenes": [SCENE], "methods": ["histogram"]},
        "chips": {"gsd_m": [10, 30]},
        "model": {"stem": "any"},
    },
    PresenceRecipe: {},
    LandCoverRecipe: {"data": "cubes", "teaching": [CUBE], "testing": [CUBE]},
    LabellingRecipe: {},
}


def refusal(text, tmp_path, *, kind=Recipe, **more):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_recipe(None, overlay=path, kind=kind, **more)
    return str(caught.value).replace(f"{tmp_path}/", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "seed: 1\ntraining:\n  step: 3\n",
            "mine.yaml, line 3, column 3 has the unknown key 'training.step'. Did you mean 'steps'",
        ),
        (
            "training: {batch: 4, step: 3}",
            "mine.yaml, line 1, column 22 has the unknown key 'training.step'.",
        ),
        (
            "\nsteps: 3\n",
            "mine.yaml, line 2, column 1 has the unknown key 'steps'. Did you mean "
            "'training.steps'?",
        ),
        (
            "tile_px: 64\n",
            "has the unknown key 'tile_px'. Did you mean 'inference.tile_px'?",
        ),
        (
            "series:\n- path: a\n- {path: b, sensr: c}\n",
            "mine.yaml, line 3, column 13 has the unknown key 'series.1.sensr'. Did you mean "
            "'sensor'?",
        ),
        (
            "training:\n  steps: many\n",
            "mine.yaml, line 2, column 3: training.steps = 'many' cannot be used: it is a whole "
            "number.",
        ),
        ("training: {steps: 2.5}", "training.steps = 2.5 cannot be used: it is a whole number."),
        ("training: {steps: 99999999999999999999}", "cannot be used: it is at most 10000000."),
        ("training: {learning_rate: .nan}", "learning_rate = nan cannot be used: it is a number."),
        ("outlines: {min_area_m2: .inf}", "min_area_m2 = inf cannot be used: it is a number."),
        ("chips: {size_px: 100}", "chips.size_px = 100 cannot be used: it is a multiple of 32."),
        ("film: {cameras: []}", "film.cameras = [] cannot be used: 1 at least are needed."),
        ("scene: {path: a, date: 2000-13}", "= '2000-13' cannot be used: it is a day, such as"),
        (
            "warmup-steps: 4\n",
            "mine.yaml, line 1, column 1 has the unknown key 'warmup-steps'. Did you mean "
            "'adaptation.warmup_steps' or 'training.warmup_steps'?",
        ),
        ("inference: {stepz: 4}", "the unknown key 'inference.stepz'. Did you mean 'training.step"),
        (
            "model:\n  architecture: unett\n",
            "mine.yaml, line 2, column 3: model.architecture = 'unett' cannot be used. Did you "
            "mean 'unet'? Known: deeplabv3, deeplabv3plus, dpt, fpn, ",
        ),
        (
            "training:\n  steps: on\n",
            "mine.yaml, line 2, column 3: training.steps = true cannot be used: true and false "
            "are no value of this key.",
        ),
        (
            "training:\n",
            "mine.yaml, line 1, column 1: training = null cannot be used: it holds lines",
        ),
        (
            "scene: {path: a}\nscheme: glacier\n",
            "mine.yaml, line 2, column 1: scheme = 'glacier' cannot be used: it is a list",
        ),
        (
            "seed: 1\ninference:\n  tile_px: 100000\n",
            "mine.yaml, line 3, column 3: inference.tile_px = 100000 cannot be used: it is at most "
            "8192.",
        ),
        (
            "split: {train_from: wst}\n",
            "mine.yaml, line 1, column 9: split.train_from = 'wst' cannot be used. Did you mean "
            "'west'? Known: east, north, south, west.",
        ),
        (
            "adaptation:\n  methods:\n  - histogram\n  - fourir\n",
            "mine.yaml, line 4, column 5: adaptation.methods.1 = 'fourir' cannot be used. Did you "
            "mean 'fourier'?",
        ),
        (
            "scheme:\n- {name: Glacier, colour: '#1f78b4'}\n",
            "mine.yaml, line 2, column 4: scheme.0.name = 'Glacier' cannot be used: it is lower "
            "case letters, digits and _, a letter first, such as debris_ice.",
        ),
        (
            "scheme:\n- {name: glacier, colour: blue}\n",
            "scheme.0.colour = 'blue' cannot be used: it is a colour of six digits in quotes, such "
            "as '#1f78b4'.",
        ),
        (
            "seed: 1\nscene:\n  sensor: landsat-7\n",
            "mine.yaml, line 2, column 1 lacks scene.path. A STAC item (.json) or a raster file, "
            "relative to the recipe.",
        ),
        (
            "inference:\n  blend: crop\n  halo_px: 400\n",
            "mine.yaml, line 3, column 3: inference.halo_px = 400, rounded up to a multiple of 16, "
            "is over a quarter of inference.tile_px = 1024.",
        ),
        (
            "inventory: {reference: a.gpkg,\n  divides: b.gpkg}\n",
            "mine.yaml, line 2, column 3: inventory.divides = b.gpkg carry ids over too; leave out "
            "inventory.reference = a.gpkg.",
        ),
        (
            "chips: {gsd_m: [30, 10]}",
            "line 1, column 9: chips.gsd_m = [30.0, 10.0] is no range of pixels in metres",
        ),
        (
            "adaptation: {methods: [fourier]}",
            "line 1, column 14: adaptation.scenes names 0 images and adaptation.methods = "
            "['fourier']; give both or neither.",
        ),
        (
            "seed: 1\nfilm:\n  share: 0.3\n",
            "mine.yaml, line 3, column 3: model.stem = fixed takes one set of bands; set it to any "
            "for film.share = 0.3.",
        ),
        (
            "training:\n  steps: 3\n  batch: 2\n  steps: 4\n",
            "mine.yaml, line 4, column 3 is not valid YAML: key 'steps' twice in one mapping, "
            "first at line 2, column 3.",
        ),
        (
            "seed: 1\ntraining:\n\tsteps: 3\n",
            "mine.yaml, line 3, column 1 is not valid YAML: found",
        ),
        ("seed: 1\nmodel: {stem: any\n", "mine.yaml, line 3, column 1 is not valid YAML: expected"),
        ("seed: 1\nchips: [1, 2\nfilm: 3", "mine.yaml, line 3, column 5 is not valid YAML"),
        (
            "seed: 1\nno: 3",
            "mine.yaml, line 2, column 1 is not valid YAML: a key that is no text: 'no'",
        ),
        ("seed: 1\n? [a]\n: 3", "a key that is no text: a list or mapping; put it in quotes."),
        ("a: b\x00", "mine.yaml, line 1, column 5 is not valid YAML: character #x0000 is not"),
        (
            "seed: 1\nsplit: !!int no\n",
            "mine.yaml, line 2, column 8 is not valid YAML: 'no' cannot be",
        ),
        ("seed: !!bool perhaps", "'perhaps' cannot be read as what it looks like"),
        ("- seed", "mine.yaml holds no mapping; write lines of the form `key: value`."),
        ("", "mine.yaml holds no mapping; write lines of the form `key: value`."),
    ],
)
def test_what_is_wrong_is_told_with_its_line_key_value_and_the_way_out(tmp_path, text, message):
    assert message in refusal(text, tmp_path)


def test_a_name_is_asked_for_once_all_else_is_right(tmp_path):
    def require(name):
        asked.append(name)
        raise ModelError(f"no encoder named {name!r}. Did you mean 'resnet18'?")

    asked = []
    names = {"model.encoder": require}

    assert refusal("seed: 1\nmodel:\n  encoder: resnett18\n", tmp_path, names=names) == (
        "mine.yaml, line 3, column 3: model.encoder = 'resnett18' cannot be used: no encoder named "
        "'resnett18'. Did you mean 'resnet18'?"
    )
    assert refusal("model: {encoder: a, stm: any}", tmp_path, names=names).startswith("mine.yaml")
    assert asked == ["resnett18"]


def test_no_data_may_be_told_by_a_value_that_is_no_number(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("scene: {path: a.tif, nodata: .nan}\n")

    assert math.isnan(load_recipe(None, overlay=path).scene.nodata)


def test_a_value_is_looked_for_where_it_counts(tmp_path):
    """A section is of several files, a list of one."""
    defaults, suited = tmp_path / "recipe.yaml", tmp_path / "suited.yaml"
    defaults.write_text("data: x\n\nseries: [{path: a}, {path: b}]\ntraining: {steps: 0}\n")
    suited.write_text("training:\n  batch: 4\n")

    def told(text, *changes, **options):
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        with pytest.raises(ConfigError) as caught:
            load_recipe(
                defaults,
                of_data={"x": suited},
                overlay=path,
                changes=changes,
                options={f"--{key}": (key, value) for key, value in options.items()},
            )
        return str(caught.value).replace(f"{tmp_path}/", "")

    good = "training: {steps: 3}\n"
    assert told("seed: 1").startswith("recipe.yaml, line 4, column 12: training.steps = 0")
    assert told(good, "training.steps=-1").startswith("--set training.steps=-1: training.steps")
    assert told(good, "training.steps=-1", "training.steps=-2").startswith(
        "--set training.steps=-2: training.steps = -2 cannot"
    )
    assert told(good + "series: [{sensor: s}]").startswith("mine.yaml, line 2, column 10 lacks")
    assert told(good, "series=[{sensor: s}]").startswith("--set series=[{sensor: s}] lacks")
    assert told(good, data="x", seed=-1).startswith("--seed: seed = -1 cannot be used")
    assert told(good, "seed=-2", seed=-1).startswith("--set seed=-2: seed = -2 cannot be used")
    suited.write_text("\ntraining: {batch: many}\n")
    assert told(good).startswith("suited.yaml, line 2, column 12: training.batch = 'many'")
    assert told(good, "training.batch=0").startswith("--set training.batch=0: training.batch = 0")


def test_what_is_taken_over_by_an_alias_is_told_where_it_was_written(tmp_path):
    text = "adaptation:\n  scenes: [&a {path: a,\n    sensr: b}]\nscene: {<<: *a, sensor: c}\n"

    assert refusal(text, tmp_path).startswith("mine.yaml, line 3, column 5 has the unknown key")


def test_what_stands_in_place_of_what_was_taken_over_is_told_where_it_stands(tmp_path):
    text = "series: [&a {path: a, bands: [red]}]\nscene: {<<: *a,\n  bands: red}\n"

    assert refusal(text, tmp_path).startswith("mine.yaml, line 3, column 3: scene.bands = 'red'")


def test_a_mapping_may_say_again_what_it_takes_over(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "film: {cameras: [a]}\n"
        "sources:\n- scene: &s {path: a, sensor: x}\n"
        "  labels: {path: l}\n"
        "- scene: &t {<<: *s, path: b}\n"
        "  labels: {path: l}\n"
        "scene: {<<: *t, path: c}\n"
    )

    recipe = load_recipe(None, overlay=path)

    assert (recipe.scene.path, recipe.scene.sensor) == ("c", "x")
    assert recipe.sources[1].scene.path == "b"


def levels(first, of):
    """Ten aliases of ten aliases, nine times over."""
    lines = [f"a0: &a0 {first}"]
    for i in range(1, 10):
        lines.append(f"a{i}: &a{i} " + of(f"*a{i - 1}"))
    return "\n".join(lines)


BOMBS = [
    (levels("x", lambda a: f"[{', '.join([a] * 10)}]"), "20000 values or 50 levels, aliases"),
    (levels("{k: v}", lambda a: f"{{<<: [{', '.join([a] * 10)}]}}"), "20000 values"),
    (levels("{k: v}", lambda a: "[" * 20 + a + "]" * 20), "50 levels, aliases unfolded"),
    ("training: &a [*a]", "an alias within what it stands for"),
    ("training: &a {<<: *a}", "an alias within what it stands for"),
    (f"seed: 1{':59' * 4000}", "more than 10000 letters in a value"),
    (f"seed: {'9' * 9000}", "cannot be read as what it looks like"),
    (f"seed: {'[' * 2000}", "more than 50 levels"),
    ("\n".join(f"k{i}: {i}" for i in range(20_000)), "more than 20000 values"),
]


@pytest.mark.parametrize(
    ("text", "why"),
    BOMBS,
    ids=["laughs", "merged", "deep", "itself", "merged itself", "base 60", "long", "open", "many"],
)
@pytest.mark.slow
def test_a_bomb_is_refused_before_it_unfolds(tmp_path, text, why):
    assert why in refusal(text, tmp_path)


def test_a_long_value_is_cut_in_the_sentence(tmp_path):
    long = refusal(f"training: {{steps: [{'x, ' * 5_000}]}}", tmp_path)
    option = refusal("seed: 1", tmp_path, changes=[f"training.steps={'x' * 5_000}"])
    key = refusal(f"? {'y' * 3_000}\n: 1", tmp_path)

    assert max(map(len, (long, option))) < 400
    assert "yyy...'" in key


def test_no_more_of_a_file_is_read_than_a_recipe_may_be():
    with pytest.raises(ConfigError, match=r"^/dev/zero is larger than 1 MiB"):
        load_recipe(None, overlay=Path("/dev/zero"))


def test_text_of_another_encoding_is_told_with_its_line(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes("seed: 1\n# K\u00f6ln\n".encode("latin-1"))

    with pytest.raises(ConfigError, match=r"mine\.yaml, line 2 is not UTF-8 text"):
        load_recipe(None, overlay=path)


def keys_of(tree, above=()):
    """All keys of a recipe, as (path to the mapping, key)."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield above, key
            yield from keys_of(value, (*above, key))
    elif isinstance(tree, list):
        for number, value in enumerate(tree):
            yield from keys_of(value, (*above, number))


def at(tree, path):
    for part in path:
        tree = tree[part]
    return tree


def words_of(node):
    """All that a schema says of a key, to look into."""
    return " ".join(
        f"{word}={value}"
        for one in node.get("anyOf", [node])
        for word, value in one.items()
        if word in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "enum", "type")
    )


schema_of = cache(lambda kind: kind.model_json_schema())


def schema_at(kind, path):
    """Of a key by its path, what pydantic says it may be."""
    schema = node = schema_of(kind)
    for part in path:
        refs = [one["$ref"] for one in node.get("anyOf", [node]) if "$ref" in one]
        if refs:
            node = schema["$defs"][refs[0].rsplit("/", 1)[-1]]
        node = node["items"] if isinstance(part, int) else node.get("properties", {}).get(part, {})
    return words_of(node)


MUTATIONS = {
    "unknown": lambda _: None,
    "mapping": lambda _: {MARK: 1},
    "word": lambda may: MARK if "enum" in may or "type=string" not in may else None,
    "low": lambda may: -987654321 if "inimum" in may else None,
    "high": lambda may: 9876543210 if "aximum" in may else None,
}


@st.composite
def mutated(draw):
    """A kind, a recipe of it with one key that is wrong, and that key."""
    kind = draw(st.sampled_from(list(WHOLE)))
    tree = kind.model_validate(WHOLE[kind]).model_dump(mode="json")
    places = [(above, key) for above, key in keys_of(tree) if "more" not in above]
    above, key = draw(st.sampled_from(places))
    name = draw(st.sampled_from(list(MUTATIONS)))
    if name == "unknown":
        at(tree, above)[MARK] = draw(st.sampled_from([1, "a", None]))
        return kind, tree, (*above, MARK)
    wrong = MUTATIONS[name](schema_at(kind, (*above, key)))
    at(tree, above)[key] = {MARK: 1} if wrong is None else wrong
    return kind, tree, (*above, key)


@pytest.mark.slow
@given(mutated(), st.booleans())
def test_any_wrong_key_is_found_with_its_line(tmp_path_factory, case, sort):
    kind, tree, path = case
    text = yaml.safe_dump(tree, default_flow_style=None, sort_keys=sort)
    signs = (MARK, "-987654321", "9876543210")
    line = next(
        n for n, written in enumerate(text.splitlines(), 1) if any(s in written for s in signs)
    )

    message = refusal(text, tmp_path_factory.mktemp("any"), kind=kind)

    assert message.startswith(f"mine.yaml, line {line}, column ")
    assert ".".join(map(str, path)) in message
    assert "\n" not in message


@pytest.mark.slow
@given(mutated())
def test_any_wrong_option_is_named(case):
    kind, tree, path = case
    key, value = path[0], tree[path[0]]
    change = f"{key}={yaml.safe_dump(value, default_flow_style=True, width=1e9)}"

    with pytest.raises(ConfigError) as caught:
        load_recipe(None, changes=[change.removesuffix("...\n").strip()], kind=kind)

    assert str(caught.value).startswith(f"--set {key}=")


@pytest.mark.slow
@given(mutated(), st.data())
def test_a_recipe_that_is_cut_or_spoilt_anywhere_ends_in_an_error_or_a_recipe(case, data):
    kind, tree, _ = case
    text = yaml.safe_dump(tree, default_flow_style=None)
    where = data.draw(st.integers(0, len(text)))
    spoilt = data.draw(st.text(alphabet="[]{}&*!:|>-#'\"\n\t ab1<,%@`?\x00\ufeff~", max_size=12))

    survives(text[:where] + spoilt + text[data.draw(st.integers(where, len(text))) :], kind)


@given(
    st.text(alphabet="[]{}&*!:|>-#'\"\n\t ab1.e_<,%@`?~", max_size=120)
    | st.text(max_size=60)
    | st.from_regex(r"(seed|data|scene|training): !!?[a-z]{2,9} [0-9a-z:.-]{0,9}", fullmatch=True)
)
def test_any_text_ends_in_an_error_or_a_recipe(text):
    survives(text, Recipe)


def survives(text, kind):
    try:
        recipe = _validated([parse_yaml(text, where="mine.yaml")], kind)
    except ConfigError as error:
        assert str(error).startswith("mine.yaml")  # noqa: PT017  it may also be none
    else:
        assert type(recipe) is kind
