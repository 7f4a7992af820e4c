"""What is found in a folder, and what is left where it is."""

import json
from datetime import date

import pytest
from viewer.viewed_folder import (
    DATES,
    HOSTILE,
    add_maps,
    add_scene,
    look,
    make_folder,
    place,
    scene_image,
)

from geoseg.errors import ConfigError
from geoseg.viewer.told import contents_told


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def contents(folder):
    return look(folder)


def titles(contents, group):
    return [item.title for item in contents.items if item.group == group]


def test_scenes_maps_and_surveys_are_found_each_with_its_days(contents):
    days = {(item.group, item.title): item.when for item in contents.items}
    first, second = (date.fromisoformat(day) for day in DATES)

    assert contents.problems == ()
    assert days["Scenes", "sentinel-2_20001030"] == (first, first)
    assert days["Classes", "sentinel-2_20201012"] == (second, second)
    assert days["Probability", "sentinel-2_20201012"] == (second, second)
    assert days["Uncertainty", "sentinel-2_20201012"] == (second, second)
    assert days["Inventory: inventory.gpkg", "1964"] == (date(1964, 11, 20),) * 2
    assert days["Inventory: inventory.gpkg", "2000"] == (first, first)
    assert days["Other rasters", HOSTILE] is None
    assert len(days) == 2 + 3 + 3 + 1


def test_the_page_has_a_stop_for_each_date_in_their_order(contents):
    told = contents_told(contents, "run")

    assert [time["words"] for time in told["times"]] == ["1964-11-20", *DATES]
    assert [group["name"] for group in told["groups"]] == [
        "Other rasters",
        "Scenes",
        "Uncertainty",
        "Probability",
        "Classes",
        "Inventory: inventory.gpkg",
    ]
    on = [group["name"] for group in told["groups"] if group["on"]]
    assert on == ["Scenes", "Inventory: inventory.gpkg"]


def test_things_lie_where_they_are(contents):
    west, south, east, north = contents.items[0].bounds

    assert (west, north) == pytest.approx((86.593, 28.006), abs=0.01)
    assert (east - west, north - south) == pytest.approx((0.204, 0.117), abs=0.01)


def test_a_map_made_consistent_and_a_mosaic_are_told_from_the_map_of_a_scene(tmp_path):
    scene = add_scene(tmp_path / "scenes", "2020-10-12")
    add_maps(tmp_path / "consistent" / "one", scene, filtered="hmm")
    add_maps(tmp_path / "joined", scene)
    place(tmp_path / "joined" / "source.tif", scene_image()[0])

    contents = look(tmp_path)

    assert titles(contents, "Classes, made consistent") == [scene.id]
    assert titles(contents, "Classes, mosaic") == [scene.id]
    assert titles(contents, "Other rasters") == []


def test_nothing_outside_of_the_folder_is_shown_wherever_links_and_items_lead(tmp_path):
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    scene = add_scene(outside, DATES[0])
    add_maps(outside / "map", scene)
    make_links(inside, outside, scene)
    add_scene(inside, DATES[1])

    contents = look(inside)

    assert [item.title for item in contents.items] == ["sentinel-2_20201012"]
    assert {name for name, _ in contents.problems} == {"elsewhere", "sentinel-2_20001030"}
    assert all("outside of this folder" in why for _, why in contents.problems)


def make_links(inside, outside, scene):
    """All ways to lead out of a folder."""
    (inside / "map").mkdir(parents=True)
    (inside / "linked").symlink_to(outside, target_is_directory=True)
    (inside / "linked.tif").symlink_to(outside / scene.id / "image.tif")
    (inside / "map" / "classes.tif").symlink_to(outside / "map" / "classes.tif")
    item = json.loads((outside / f"{scene.id}.json").read_text())
    item["id"] = "elsewhere"
    for asset in item["assets"].values():
        asset["href"] = f"../outside/{asset['href']}"
    (inside / "elsewhere.json").write_text(json.dumps(item))


def test_what_is_broken_is_told_of_and_the_rest_is_shown(tmp_path):
    add_scene(tmp_path, DATES[0])
    (tmp_path / "cut.tif").write_bytes(b"II*\0")
    (tmp_path / "cut.gpkg").write_bytes(b"SQLite format 3\0 and no more")
    (tmp_path / "nowhere.gpkg").write_bytes(b"<OGRVRTDataSource/>")
    (tmp_path / "cut.json").write_text("{")

    contents = look(tmp_path)

    assert titles(contents, "Scenes") == ["sentinel-2_20001030"]
    assert {name for name, _ in contents.problems} == {
        "cut.tif",
        "cut.gpkg",
        "nowhere.gpkg",
        "cut.json",
    }
    told = contents_told(contents, "run")
    assert len(told["problems"]) == 4


def test_a_folder_with_nothing_to_show_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="holds nothing that can be shown; give a folder of"):
        look(tmp_path)
    with pytest.raises(ConfigError, match="is no folder"):
        look(tmp_path / "none")
