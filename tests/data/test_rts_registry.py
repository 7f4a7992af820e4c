import pytest

from geoseg.data import find_data_set, load_registry
from geoseg.data import registry as module
from geoseg.errors import ConfigError


def test_every_image_of_the_slumps_has_its_mask():
    paths = {file.path for file in find_data_set("rts-chips").files}
    images = {path.removeprefix("images/") for path in paths if path.startswith("images/")}
    masks = {path.removeprefix("masks/") for path in paths if path.startswith("masks/")}

    assert len(images) == 756
    assert images == masks
    assert len(paths) == 2 * 756 + 2


def test_the_slumps_say_that_nobody_gave_a_licence():
    assert "none stated" in find_data_set("rts-chips").licence


def test_an_underscore_in_the_name_of_a_set_is_as_good_as_a_hyphen():
    assert find_data_set("rts_chips") is find_data_set("rts-chips")

    with pytest.raises(ConfigError, match=r"named 'rts_chip'.* 'rts-chips'"):
        find_data_set("rts_chip")


def test_a_listing_is_read_with_its_sizes_hashes_and_paths_that_hold_blanks(monkeypatch):
    shipped = {
        "registry.toml": """
[[set]]
name = "listed"
title = "Listed"
licence = "CC0"
source = "https://example.org"
citation = "Nobody 2000"
mirror = "listed"
base_url = "https://example.org/data/"
listing = "listed.txt"
""",
        "listed.txt": "aa  10  a.tif\nbb  2000  user 2/b  c.shp\n",
    }
    monkeypatch.setattr(module, "_shipped", shipped.__getitem__)

    first, second = load_registry.__wrapped__()["listed"].files

    assert (first.path, first.bytes, first.sha256) == ("a.tif", 10, "aa")
    assert (second.path, second.bytes, second.sha256) == ("user 2/b  c.shp", 2000, "bb")


def test_a_file_of_a_listing_has_an_address():
    data = find_data_set("rts-chips")
    (image,) = (file for file in data.files if file.path == "images/train_yg_012.jpg")

    assert data.url_of(image).endswith("/data/images/train_yg_012.jpg")
