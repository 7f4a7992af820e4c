"""From maps in folders to one map, and to outlines."""

from datetime import UTC, datetime

import numpy as np
import pytest
import rasterio
from conftest import write_raster

from geoseg import outlining
from geoseg.config import OutlineSettings
from geoseg.errors import ConfigError, DataError, GridError, OutputError, SceneError
from geoseg.files import checksums_beside, write_checksums
from geoseg.inference import read_origin
from geoseg.labels import GLACIER
from geoseg.map_origin import origin_tags
from geoseg.mosaic import source_path
from geoseg.outlining import join_maps, outline_map
from geoseg.scenes import Asset, Scene

SETTINGS = OutlineSettings(min_area_m2=0, min_hole_m2=0, simplify_px=0)


def write_map(folder, *, glacier=200, probability=True, job="a1", sums=True, **place):
    """A folder as `geoseg predict` leaves it: a glacier in the middle of ground."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = np.full((30, 50), 25, np.uint8)
    chance[10:20, 10:30] = glacier
    classes = (chance > 125).astype(np.uint8)
    scene = Scene(
        id=folder.name,
        sensor_id="landsat-7",
        start=datetime(2000, 8, 1, tzinfo=UTC),
        end=datetime(2000, 8, 2, tzinfo=UTC),
        bands={"red": Asset(path=folder / "red.tif")},
    )
    images = {"classes.tif": classes}
    if probability:
        images["probability.tif"] = np.stack([250 - chance, chance])
    for name, image in images.items():
        write_raster(folder / name, image, nodata=255, **place)
        with rasterio.open(folder / name, "r+") as raster:
            tags = {**origin_tags(scene), "CLASSES": ",".join(GLACIER.names)}
            raster.update_tags(**tags, **({} if job is None else {"job": job}))
            if name == "classes.tif":
                raster.write_colormap(1, {0: (0, 0, 0, 255), 1: (74, 168, 216, 255)})
    if sums:
        write_checksums([folder / name for name in images])
    return folder


def join(folders, out, *, rule="best"):
    return join_maps(folders, rule=rule, crs=None, out=out)


def read(path):
    with rasterio.open(path) as raster:
        return raster.read()


def has_probabilities(folder, out):
    """Whether outlines of a folder have probabilities."""
    return "probability" in outline_map(folder, SETTINGS, out).columns


def test_a_folder_that_is_the_mosaic_itself_is_refused(tmp_path, monkeypatch):
    one, two = write_map(tmp_path / "one"), write_map(tmp_path / "two")
    before = (one / "classes.tif").read_bytes()
    monkeypatch.chdir(one)

    for out in (one, two / ".." / "one", one.relative_to(one)):
        with pytest.raises(ConfigError, match="one is named as a map and as --out; write to anot"):
            join([two, one], out)

    assert (one / "classes.tif").read_bytes() == before


def test_a_folder_named_twice_is_refused(tmp_path):
    one = write_map(tmp_path / "one")

    with pytest.raises(ConfigError, match="one is named twice; name the folder of each map once"):
        join([one, one / ".." / "one"], tmp_path / "out")


def test_a_mosaic_is_not_joined_again(tmp_path):
    one, two = write_map(tmp_path / "one"), write_map(tmp_path / "two")
    join([one], tmp_path / "first")

    message = r"first holds a mosaic; name the folders of the maps that it was made of\."
    with pytest.raises(ConfigError, match=message):
        join([two, tmp_path / "first"], tmp_path / "second")


def test_a_mosaic_in_the_working_folder_has_its_name(tmp_path, monkeypatch):
    one = write_map(tmp_path / "one")
    (tmp_path / "south").mkdir()
    monkeypatch.chdir(tmp_path / "south")

    here = tmp_path.__class__(".")
    join([one], here)

    assert read_origin(here / "classes.tif").id == "south"
    assert len(outline_map(here, SETTINGS, tmp_path / "a.gpkg")) == 1


def test_a_folder_without_a_map_is_told_what_to_give(tmp_path):
    message = r"holds no classes\.tif; give a folder that `geoseg predict` or `geoseg mosaic` wrote"
    with pytest.raises(SceneError, match=message):
        join([tmp_path], tmp_path / "out")
    with pytest.raises(SceneError, match=message):
        outline_map(tmp_path, SETTINGS, tmp_path / "a.gpkg")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("classes_job", "other_job", "sums", "taken"),
    [
        ("a1", "a1", "both", True),
        ("a1", "a1", "classes", True),  # its line was deleted on purpose
        ("a1", "b2", "classes", False),
        (None, None, "classes", False),
        ("a1", "a1", "none", True),
        (None, None, "none", True),
        ("a1", "b2", "none", False),
        ("a1", None, "none", False),
        (None, "b2", "none", False),
    ],
)
def test_probabilities_of_another_job_are_not_those_of_the_map(
    tmp_path, classes_job, other_job, sums, taken
):
    folder = write_map(tmp_path / "one", job=other_job, sums=False)
    write_map(folder, probability=False, job=classes_job, sums=False)
    maps = [folder / "classes.tif", folder / "probability.tif"]
    if sums != "none":
        write_checksums(maps if sums == "both" else maps[:1])

    assert has_probabilities(folder, tmp_path / "a.gpkg") == taken
    made = join([folder], tmp_path / "out", rule="newest")
    assert (made.probability is not None) == taken


def test_a_map_that_changed_is_refused(tmp_path):
    folder = write_map(tmp_path / "one")
    with rasterio.open(folder / "probability.tif", "r+") as raster:
        raster.update_tags(changed="yes")

    with pytest.raises(DataError, match=r"probability\.tif is not what it was"):
        outline_map(folder, SETTINGS, tmp_path / "a.gpkg")


def test_what_an_earlier_mosaic_left_is_not_of_the_new_one(tmp_path):
    one, bare = write_map(tmp_path / "one"), write_map(tmp_path / "bare", probability=False)
    out = tmp_path / "out"
    join([one], out)
    assert (out / "probability.tif").is_file()

    made = join([one, bare], out, rule="newest")

    assert made.probability is None
    names = {path.name for path in out.iterdir()}
    assert names == {"classes.tif", "source.tif", "SHA256SUMS"}
    assert not has_probabilities(out, tmp_path / "a.gpkg")


def test_a_mosaic_stopped_before_its_checksums_is_not_held_against_earlier_ones(
    tmp_path, monkeypatch
):
    one, two = write_map(tmp_path / "one"), write_map(tmp_path / "two", origin=(501_500, 3_100_000))
    out = tmp_path / "out"
    join([one], out)

    def stop(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(outlining, "write_checksums", stop)
    with pytest.raises(KeyboardInterrupt):
        join([one, two], out)

    assert not checksums_beside(out / "classes.tif").exists()
    assert len(outline_map(out, SETTINGS, tmp_path / "a.gpkg")) == 2
    assert read(source_path(outlining._maps_in(out))).shape == (1, 30, 100)


def test_maps_without_probabilities_are_told_the_rule_that_needs_none(tmp_path):
    bare = write_map(tmp_path / "bare", probability=False)

    with pytest.raises(SceneError, match=r"bare was mapped without.*or join .*`--rule newest`\."):
        join([bare], tmp_path / "out")


def test_a_name_that_no_outlines_can_have_is_refused_before_the_work(tmp_path, monkeypatch):
    folder = write_map(tmp_path / "one")
    (tmp_path / "folder.gpkg").mkdir()
    monkeypatch.setattr(outlining, "outline_scene", None)

    with pytest.raises(ConfigError, match=r"a\.shp is no name of a GeoPackage; let it end in"):
        outline_map(folder, SETTINGS, tmp_path / "a.shp")
    with pytest.raises(OutputError, match=r"folder\.gpkg is a folder; name a file to write\."):
        outline_map(folder, SETTINGS, tmp_path / "folder.gpkg")


def test_a_map_in_degrees_is_outlined_by_way_of_a_mosaic(tmp_path):
    folder = write_map(tmp_path / "one", crs="EPSG:4326", origin=(86.5, 28), pixel=0.001)

    message = (
        r"classes\.tif is in degrees \(WGS 84\), and outlines are drawn in metres; bring it there "
        r"with `geoseg mosaic .*one --out FOLDER` first\."
    )
    with pytest.raises(GridError, match=message):
        outline_map(folder, SETTINGS, tmp_path / "a.gpkg")

    join([folder], tmp_path / "metres")
    assert len(outline_map(tmp_path / "metres", SETTINGS, tmp_path / "a.gpkg")) == 1
