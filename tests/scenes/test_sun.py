"""Where the sun stood, in scenes and in their items."""

import json
from dataclasses import replace

import numpy as np
import pystac
import pytest
from conftest import scene_of, write_raster
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import SceneError
from geoseg.scenes import (
    SunPosition,
    read_catalog,
    read_scene,
    scan_scene,
    with_checksums,
    write_catalog,
    write_scene,
)

SUN = SunPosition(azimuth=147.25, elevation=41.5)


@pytest.fixture
def scene(tmp_path):
    return scene_of(write_raster(tmp_path / "a.tif", np.ones((2, 30, 50), np.uint8)))


def changed(path, **properties):
    """An item with other properties; None takes one away."""
    item = json.loads(path.read_text())
    item["properties"] |= {f"view:{key}": value for key, value in properties.items()}
    item["properties"] = {k: v for k, v in item["properties"].items() if v is not None}
    item["properties"].setdefault("datetime", None)
    path.write_text(json.dumps(item))
    return path


@given(azimuth=st.floats(0, 360), elevation=st.floats(-90, 90))
def test_any_place_in_the_sky_is_a_sun(azimuth, elevation):
    sun = SunPosition(azimuth=azimuth, elevation=elevation)

    assert (sun.azimuth, sun.elevation) == (azimuth, elevation)


@pytest.mark.parametrize("azimuth", [-0.1, 360.1, float("nan"), float("inf")])
def test_an_azimuth_beyond_the_circle_is_refused(azimuth):
    with pytest.raises(SceneError, match=r"azimuth .* is nowhere; give 0 to 360 degrees clockwise"):
        SunPosition(azimuth=azimuth, elevation=30)


@pytest.mark.parametrize("elevation", [-90.1, 90.1, float("nan")])
def test_an_elevation_beyond_the_zenith_is_refused(elevation):
    with pytest.raises(SceneError, match=r"elevation .* is nowhere; give -90 to 90 degrees above"):
        SunPosition(azimuth=30, elevation=elevation)


def test_the_sun_comes_back_from_an_item(scene, tmp_path):
    write_scene(replace(scene, sun=SUN), tmp_path / "a.json")

    assert read_scene(tmp_path / "a.json").sun == SUN
    assert with_checksums(read_scene(tmp_path / "a.json")).sun == SUN


def test_other_programs_find_the_sun_where_the_view_extension_has_it(scene, tmp_path):
    write_scene(replace(scene, sun=SUN), tmp_path / "a.json")

    item = pystac.Item.from_file(str(tmp_path / "a.json"))

    assert item.ext.has("view")
    assert (item.ext.view.sun_azimuth, item.ext.view.sun_elevation) == (147.25, 41.5)


def test_a_scene_of_an_unknown_sun_says_nothing_of_it(scene, tmp_path):
    write_scene(scene, tmp_path / "a.json")

    assert read_scene(tmp_path / "a.json").sun is None
    assert "view" not in (tmp_path / "a.json").read_text()


def test_half_a_position_is_none(scene, tmp_path):
    write_scene(replace(scene, sun=SUN), tmp_path / "a.json")

    assert read_scene(changed(tmp_path / "a.json", sun_elevation=None)).sun is None


def test_azimuths_west_of_north_are_read_as_landsat_writes_them(scene, tmp_path):
    write_scene(replace(scene, sun=SUN), tmp_path / "a.json")

    sun = read_scene(changed(tmp_path / "a.json", sun_azimuth=-40)).sun

    assert sun == SunPosition(azimuth=320, elevation=41.5)


@pytest.mark.parametrize("azimuth", [-181, 361, "south"])
def test_an_item_with_a_sun_that_is_nowhere_is_refused_by_name(scene, tmp_path, azimuth):
    write_scene(replace(scene, sun=SUN), tmp_path / "a.json")

    with pytest.raises(SceneError, match=r"a\.json"):
        read_scene(changed(tmp_path / "a.json", sun_azimuth=azimuth))


def test_the_sun_comes_back_from_a_table(scene, tmp_path):
    entries = [scan_scene(replace(scene, sun=SUN)), scan_scene(replace(scene, id="dark"))]
    write_catalog(entries, tmp_path / "scenes.parquet")

    found, broken = read_catalog(tmp_path / "scenes.parquet")

    assert broken == ()
    assert [entry.scene.sun for entry in found] == [SUN, None]
