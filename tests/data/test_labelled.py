from datetime import date

import numpy as np
import pytest
import rasterio
from conftest import CRS, scene_of, true_outlines, write_raster
from rasterio.enums import ColorInterp

from geoseg.config import Recipe
from geoseg.data import LabelledScene, find_sources
from geoseg.errors import ConfigError, LabelError
from geoseg.labels import GLACIER, IGNORE
from geoseg.scenes import open_scene


def sources_of(folder, **scene):
    recipe = Recipe.model_validate(
        {
            "scene": {"path": "film.tif", "sensor": "landsat-7", "date": "2000-10-30", **scene},
            "labels": {
                "path": "outlines.gpkg",
                "class_of": "glacier",
                "date_of": "src_date",
                "within_years": 3,
                "moved_m_per_year": 90,
            },
        }
    )
    return find_sources(recipe, base=folder, work=folder, on_step=print)


@pytest.fixture
def folder(tmp_path):
    """A picture with an alpha band, and outlines of 1998, each of another day."""
    image = np.full((3, 96, 160), 100, np.uint8)
    image[2, :, :8] = 0
    path = write_raster(tmp_path / "film.tif", image)
    with rasterio.open(path, "r+") as raster:
        raster.colorinterp = [ColorInterp.gray, ColorInterp.undefined, ColorInterp.alpha]
    days = [date(1998, 10, 30), date(1990, 1, 1)]
    true_outlines().assign(src_date=days).to_file(tmp_path / "outlines.gpkg")
    return tmp_path


def test_the_keys_of_a_recipe_reach_the_labels(folder):
    source = sources_of(folder, bands=["red", "nir08"]).mapped

    with open_scene(source.scene) as reader:
        label = source.labels_on(reader.grid, margin_m=0).burn(reader.grid)

    # West: two years at 90 m a year are six pixels; east: ten years away, so not known.
    assert (label[20 - 6 : 20 + 6, 45] == IGNORE).all()
    assert label[20 + 6, 45] == 1
    assert label[20 - 7, 45] == 0
    assert (label[30:80, 105:120] == IGNORE).all()


def test_an_alpha_band_needs_no_name_and_masks(folder):
    scene = sources_of(folder, bands=["red", "nir08"]).mapped.scene

    with open_scene(scene) as reader:
        valid = reader.overview(160).valid

    assert list(scene.bands) == ["red", "nir08"]
    assert not valid[:, :8].any()
    assert valid[:, 8:].all()


def test_an_alpha_band_that_is_named_is_data(folder):
    scene = sources_of(folder, bands=["red", "green", "nir08"]).mapped.scene

    with open_scene(scene) as reader:
        assert reader.overview(160).valid.all()
    assert scene.bands["nir08"].index == 3


def test_too_few_names_are_refused_with_what_the_file_holds(folder):
    with pytest.raises(ConfigError) as caught:
        sources_of(folder, bands=["red"])

    assert str(caught.value) == (
        f"{folder / 'film.tif'} has 3 bands, one of them alpha that may be left unnamed, "
        "scene.bands names 1; name each in its order, _ for one to leave out."
    )


def test_a_scene_without_outlines_says_so(tmp_path):
    path = write_raster(tmp_path / "a.tif", np.ones((2, 96, 160), np.uint8), crs=CRS)
    source = LabelledScene(
        scene=scene_of(path), outlines=None, layer=None, class_of="", scheme=GLACIER
    )

    with open_scene(source.scene) as reader, pytest.raises(LabelError, match="has no outlines"):
        source.labels_on(reader.grid, margin_m=0)


def test_two_scenes_of_one_name_are_refused(folder):
    other = folder / "other"
    other.mkdir()
    (folder / "film.tif").rename(other / "film.tif")
    write_raster(folder / "film.tif", np.full((1, 96, 160), 100, np.uint8))
    scene = {"sensor": "landsat-7", "date": "2000-10-30", "bands": ["red"]}
    labels = {"path": "outlines.gpkg", "class_of": "glacier"}
    recipe = Recipe.model_validate(
        {
            "scene": {"path": "film.tif", **scene},
            "labels": labels,
            "sources": [
                {
                    "scene": {"path": "other/film.tif", **scene, "bands": ["red", "nir08"]},
                    "labels": labels,
                }
            ],
        }
    )

    with pytest.raises(ConfigError, match="Two scenes are named 'film'"):
        find_sources(recipe, base=folder, work=folder, on_step=print)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"scene": {"path": "film.tif"}}, "a scene"),
        ({"labels": {"path": "outlines.gpkg"}}, "labels"),
        ({"scheme": [{"name": "ice", "colour": "#7fd0ee"}]}, "a scheme"),
    ],
)
def test_a_data_set_takes_nothing_that_it_has_of_its_own(given, what, tmp_path):
    recipe = Recipe.model_validate({"data": "everest", **given})

    with pytest.raises(ConfigError, match=f"data = 'everest', which has its own, and {what}"):
        find_sources(recipe, base=tmp_path, work=tmp_path, on_step=print)


def test_the_scene_that_is_mapped_is_scored_beside_its_sources_and_not_learned_from(folder):
    (folder / "s2.tif").write_bytes((folder / "film.tif").read_bytes())
    scene = {"sensor": "landsat-7", "date": "2000-10-30", "bands": ["red", "nir08"]}
    labels = {"path": "outlines.gpkg", "class_of": "glacier"}
    recipe = Recipe.model_validate(
        {
            "scene": {"path": "film.tif", **scene},
            "labels": labels,
            "sources": [{"scene": {"path": "s2.tif", **scene}, "labels": labels}],
        }
    )

    found = find_sources(recipe, base=folder, work=folder, on_step=print)

    assert [(s.scene.id, s.learned) for s in found.labelled] == [("s2", True), ("film", False)]
    before = found.fingerprint()
    write_raster(folder / "film.tif", np.full((3, 96, 160), 90, np.uint8))
    assert found.fingerprint() != before
