"""Names of whatever origin: they name what they may, and lead nowhere else."""

import os
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from geoseg.active.project import require_classes
from geoseg.errors import ConfigError, LabelError, SceneError
from geoseg.files import plain_name, write_text
from geoseg.inventory.storage.geopackage import write_geopackage
from geoseg.labels import MapClass
from geoseg.scenes.products.product import inside

MANY = settings(max_examples=1000)
HOSTILE = st.sampled_from(
    [
        "",
        ".",
        "..",
        "../a",
        "a/../../b",
        "/etc/passwd",
        "a\x00b",
        "a\nb",
        "C:\\a",
        "\\\\host\\a",
        'a"; DROP TABLE outlines; --',
        "gpkg_contents",
        "sqlite_master",
        "rtree_a_geom",
        "<script>",
        "a" * 64,
        "A",
        "1a",
        "é",
        "a b",
        "\u202eexe",
        "con",
    ]
)
WORDS = st.from_regex(r"[a-z_][a-z0-9_/.]*", fullmatch=True)
NAMES = st.one_of(st.text(max_size=80), HOSTILE, WORDS)


def is_plain(name):
    """As the notes ask for: ^[a-z][a-z0-9_]{0,62}$, in ASCII and without a newline at its end."""
    letters, others = "abcdefghijklmnopqrstuvwxyz", "0123456789_"
    return 0 < len(name) <= 63 and name[0] in letters and set(name) <= set(letters + others)


@pytest.mark.slow
@MANY
@given(name=NAMES)
def test_a_class_has_a_plain_name(name):
    if is_plain(name):
        assert MapClass(id=1, name=name, colour="#ffffff").name == name
    else:
        with pytest.raises(LabelError, match="is no class name"):
            MapClass(id=1, name=name, colour="#ffffff")


@pytest.mark.slow
@MANY
@given(name=NAMES.filter(lambda name: not is_plain(name)))
def test_a_layer_of_another_name_is_refused_before_anything_is_written(tmp_path_factory, name):
    folder = tmp_path_factory.getbasetemp() / "layers"

    with pytest.raises(ConfigError):
        write_geopackage(
            folder / "a.gpkg", {name: pd.DataFrame({"a": [1]})}, styles={}, metadata={}
        )

    assert not folder.exists()


@pytest.mark.slow
@MANY
@given(name=NAMES.filter(lambda name: not is_plain(name)))
def test_a_class_of_labelling_of_another_name_is_refused(name):
    with pytest.raises(ConfigError):
        require_classes(["ice", name])


@pytest.mark.slow
@MANY
@given(name=NAMES)
@example("a" * 5000)
@example("é" * 200)
def test_a_file_that_metadata_name_lies_in_the_folder_of_its_product(tmp_path_factory, name):
    folder = tmp_path_factory.getbasetemp()
    try:
        path = inside(folder, name, folder / "MTL.txt")
    except SceneError:
        return

    assert folder in Path(os.path.abspath(path)).parents  # noqa: PTH100  without resolving links
    assert not path.is_file()


@pytest.mark.slow
@MANY
@given(text=NAMES)
@example("é" * 200)
@example("\ud800")
def test_any_id_becomes_a_name_that_stays_in_its_folder(tmp_path_factory, text):
    folder = tmp_path_factory.getbasetemp() / "ids"
    folder.mkdir(exist_ok=True)

    name = plain_name(text)

    assert (folder / name).resolve().parent == folder.resolve()
    (folder / name).touch()
    (folder / name).unlink()


def test_a_link_under_the_name_of_a_result_is_replaced_and_not_followed(tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("mine")
    (tmp_path / "result.txt").symlink_to(other)

    write_text(tmp_path / "result.txt", "new")

    assert other.read_text() == "mine"
    assert not (tmp_path / "result.txt").is_symlink()
    assert (tmp_path / "result.txt").read_text() == "new"
