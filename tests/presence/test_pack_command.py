"""`geoseg presence pack`: from a folder of chips, or from scenes, to a pack."""

import csv
import io
import json
import os
from datetime import UTC, datetime

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from conftest import CRS, scene_of, write_raster
from PIL import Image
from typer.testing import CliRunner

from geoseg.commands.presence import presence_app
from geoseg.errors import ConfigError, LabelError
from geoseg.presence.packs import Problem, read_labels, read_pack, read_points, read_shard
from geoseg.scenes import scan_scene, write_catalog, write_scene

RGB = ["--sensor", "sentinel-2", "--bands", "red,green,blue"]
DATED = [*RGB, "--date", "2021-07"]


def png(seed=0, channels=3, shape=(8, 12)):
    pixels = np.random.default_rng(seed).integers(1, 255, (*shape, channels), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def pack(*arguments):
    done = CliRunner().invoke(presence_app, ["pack", *map(str, arguments), "--json"])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def problems_of(out):
    with (out / "problems.csv").open(encoding="utf-8") as file:
        return {row["key"]: row["reason"] for row in csv.DictReader(file)}


def read_all(out):
    made = read_pack(out)
    found = [place for shard in made.shards for place in read_shard(shard, made)]
    assert not any(isinstance(place, Problem) for place in found)
    return {place.id: place for place in found}


@pytest.fixture
def chips(tmp_path):
    folder = tmp_path / "chips"
    for below, names in {"present": "ab", "absent": "cd", "": "e"}.items():
        (folder / below).mkdir(parents=True, exist_ok=True)
        for name in names:
            (folder / below / f"{name}.png").write_bytes(png(ord(name)))
    return folder


def test_a_folder_of_png_becomes_places_with_the_labels_of_its_folders(chips, tmp_path):
    done = pack(chips, *DATED, "--out", tmp_path / "pack", "--per-shard", 2)

    figures = json.loads(done.stdout)
    assert done.exit_code == 0
    assert (figures["places"], figures["shards"]) == (5, 3)
    assert (figures["present"], figures["absent"], figures["problems"]) == (2, 2, 0)
    found = read_all(tmp_path / "pack")
    assert {n: p.present for n, p in found.items()} == dict.fromkeys("ab", True) | dict.fromkeys(
        "cd", False
    ) | {"e": None}
    assert found["a"].images[0].time == datetime(2021, 7, 1, tzinfo=UTC)
    assert np.isnan(found["a"].lon)
    assert not (tmp_path / "pack" / "problems.csv").exists()


def test_parquet_holds_the_same_places(chips, tmp_path):
    pack(chips, *DATED, "--out", tmp_path / "tar")
    pack(chips, *DATED, "--out", tmp_path / "table", "--format", "parquet")

    one, other = (read_all(tmp_path / name) for name in ("tar", "table"))
    assert list(one) == list(other)
    for name, place in one.items():
        np.testing.assert_array_equal(place.images[0].image, other[name].images[0].image)


def test_labels_say_where_when_and_by_what_and_win_over_folders(chips, tmp_path):
    labels = tmp_path / "labels.csv"
    labels.write_text(
        "chip_id,present,lon,lat,time,sensor\n"
        "a,no,10.5,60.25,2019-08-03,\n"
        "e,,,,2020-06-01T10:00:00+00:00,planetscope\n"
        "gone,yes,,,,\n"
        "c,perhaps,,,,\n"
    )

    done = pack(chips, *DATED, "--labels", labels, "--out", tmp_path / "pack")

    found = read_all(tmp_path / "pack")
    assert done.exit_code == 1
    assert (found["a"].present, found["a"].lon, found["a"].lat) == (False, 10.5, 60.25)
    assert found["a"].images[0].time == datetime(2019, 8, 3, tzinfo=UTC)
    assert (found["e"].present, found["e"].images[0].sensor_id) == (None, "planetscope")
    assert found["c"].present is False
    told = problems_of(tmp_path / "pack")
    assert told["gone"] == "a label of a chip that is not there."
    assert "'perhaps' is neither true nor false" in told["c"]


def test_labels_may_be_parquet_and_two_that_differ_are_told_of(tmp_path):
    path = tmp_path / "labels.parquet"
    rows = [("a", True), ("b", False), ("b", False), ("a", False), ("c", None)]
    pd.DataFrame(rows, columns=["chip_id", "present"]).to_parquet(path)

    labels, problems = read_labels(path)

    assert {name: label.present for name, label in labels.items()} == {
        "a": True,
        "b": False,
        "c": None,
    }
    assert [p.key for p in problems] == ["a"]


def test_a_table_without_the_columns_of_labels_is_refused(tmp_path):
    (tmp_path / "labels.csv").write_text("name,present\na,1\n")

    with pytest.raises(LabelError, match="no column chip_id"):
        read_labels(tmp_path / "labels.csv")


@pytest.mark.parametrize("rows", ["a,1,\nb,0,\n", "a,1,2,3\nb,0,2,3\n", "a,1\nb,0,\n"])
def test_labels_with_a_value_that_no_column_names_are_refused_and_not_moved(tmp_path, rows):
    (tmp_path / "labels.csv").write_text("chip_id,present\n" + rows)

    with pytest.raises(LabelError, match=r"labels\.csv is no table of labels .*; give CSV"):
        read_labels(tmp_path / "labels.csv")


@pytest.mark.parametrize("rows", ["a,70,68,1,\nb,71,69,0,\n", "a,70,68,1\nb,71,69,0,\n"])
def test_points_with_a_value_that_no_column_names_are_refused_and_not_moved(tmp_path, rows):
    (tmp_path / "points.csv").write_text("id,lon,lat,present\n" + rows)

    with pytest.raises(ConfigError, match=r"points\.csv cannot be read as points .*CSV"):
        read_points(tmp_path / "points.csv")


def test_a_last_column_without_a_name_is_no_harm(tmp_path):
    (tmp_path / "points.csv").write_text("id,lon,lat,present,\na,70,68,1,\n")

    points, problems = read_points(tmp_path / "points.csv")

    assert points == [("a", 70.0, 68.0, True)]
    assert not problems


def test_what_is_wrong_with_chips_is_told_by_name_and_the_others_are_packed(chips, tmp_path):
    (chips / "a.png").write_bytes(png(1))
    (chips / "cut.png").write_bytes(png(2)[:70])
    (chips / "grey.png").write_bytes(_grey())
    name = os.fsencode(chips) + b"/caf\xe9.png"
    with open(name, "wb") as file:  # noqa: PTH123  pathlib takes no bytes
        file.write(png(4))

    done = pack(chips, *DATED, "--out", tmp_path / "pack")

    assert done.exit_code == 1
    assert sorted(read_all(tmp_path / "pack")) == ["a", "b", "c", "d", "e"]
    told = problems_of(tmp_path / "pack")
    assert set(told) == {"a", "cut", "grey", repr(b"caf\xe9.png")}
    assert "present/a.png has the name of a.png, which is kept" in told["a"]
    assert "cut.png: it is a damaged PNG" in told["cut"]
    assert "grey.png: it has 1 bands" in told["grey"]
    assert json.loads(done.stdout)["problems"] == 4
    assert "grey: grey.png: it has 1 bands" in done.stderr


def _grey():
    file = io.BytesIO()
    Image.fromarray(np.ones((8, 12), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def test_chips_of_several_sizes_are_one_kind(chips, tmp_path):
    (chips / "f.png").write_bytes(png(7, shape=(20, 16)))

    done = pack(chips, *DATED, "--out", tmp_path / "pack")

    assert done.exit_code == 0
    assert len(json.loads(done.stdout)["kinds"]) == 1
    assert read_all(tmp_path / "pack")["f"].images[0].image.shape == (3, 20, 16)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give --sensor"),
        (RGB, "nothing says when it was taken"),
        ([*DATED, "--format", "zip"], "--format 'zip'"),
        ([*DATED, "--scene", "x.tif"], "go with --points"),
        ([*DATED, "--scale", -1], "Chips have scale = -1.0; give a positive number"),
        ([*DATED, "--scale", "nan"], "Chips have scale = nan; give a positive number"),
        ([*DATED, "--gsd", 0], "Chips have gsd_m = 0.0; give a positive number"),
        (["--sensor", "sentinel-9", "--bands", "red", "--date", "2021"], "sentinel-9"),
    ],
)
def test_options_that_cannot_be_used_are_refused(chips, tmp_path, arguments, said):
    with pytest.raises(ValueError, match=said):
        pack(chips, *arguments, "--out", tmp_path / "pack")


def test_a_folder_without_an_image_is_refused(tmp_path):
    (tmp_path / "chips").mkdir()
    (tmp_path / "chips" / "notes.txt").write_text("none")

    with pytest.raises(ConfigError, match=r"holds no PNG, TIFF or \.npy file"):
        pack(tmp_path / "chips", *DATED, "--out", tmp_path / "pack")
    with pytest.raises(ConfigError, match="is no folder"):
        pack(tmp_path / "nowhere", *DATED, "--out", tmp_path / "pack")


def test_a_tiff_says_where_it_lies_and_what_is_valid(tmp_path):
    folder = tmp_path / "chips"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(1, 4000, (3, 8, 12)).astype(np.uint16)
    pixels[:, :2, :3] = 0
    write_raster(folder / "t.tif", pixels, pixel=10.0, nodata=0)

    done = pack(folder, *DATED, "--out", tmp_path / "pack")

    assert done.exit_code == 0
    found = read_all(tmp_path / "pack")["t"]
    centre = gpd.GeoSeries([shapely.Point(500_060, 3_099_960)], crs=CRS).to_crs(4326)[0]
    assert (found.lon, found.lat) == pytest.approx((centre.x, centre.y), abs=1e-9)
    chip = found.images[0]
    assert chip.gsd_m == 10.0
    assert not chip.valid[:2, :3].any()
    assert int(chip.valid.sum()) == 8 * 12 - 6
    np.testing.assert_array_equal(chip.image, pixels)


def test_nan_as_nodata_is_none_for_nan_is_never_valid_anyway(tmp_path):
    folder = tmp_path / "chips"
    folder.mkdir()
    pixels = np.random.default_rng(0).random((3, 8, 12), dtype=np.float32)
    pixels[:, 1, :4] = np.nan
    for name in "ab":
        write_raster(folder / f"{name}.tif", pixels, nodata=np.nan)
    (folder / "c.png").write_bytes(png())

    for number, options in enumerate([[], ["--nodata", "nan"]]):
        out = tmp_path / f"pack{number}"
        done = pack(folder, *DATED, "--gsd", 10, *options, "--out", out)

        assert done.exit_code == 0
        (kind,) = json.loads(done.stdout)["kinds"]
        assert kind["nodata"] is None
        found = read_all(out)
        assert int((~found["b"].images[0].valid).sum()) == 4
        assert found["c"].images[0].valid.all()


def test_labels_that_lie_nowhere_on_earth_are_told_of_and_those_of_unknown_place_are_not(
    chips, tmp_path
):
    labels = tmp_path / "labels.csv"
    rows = ["a,1,500,1000", "b,1,Infinity,60", "c,0,NaN,", "d,0,,", "e,1,east,60"]
    labels.write_text("\n".join(["chip_id,present,lon,lat", *rows]) + "\n")

    done = pack(chips, *DATED, "--labels", labels, "--out", tmp_path / "pack")

    told = problems_of(tmp_path / "pack")
    assert done.exit_code == 1
    assert set(told) == {"a", "b", "e"}
    assert "labels.csv: it lies nowhere on Earth (lon 500, lat 1000)" in told["a"]
    assert "'east' is no longitude or latitude" in told["e"]
    assert all(np.isnan(place.lon) for place in read_all(tmp_path / "pack").values())


@pytest.fixture
def scenes(tmp_path):
    """Two dates of one ground, the later one with nothing in its west."""
    rng = np.random.default_rng(0)
    found = []
    for year in (2000, 2005):
        pixels = rng.integers(1, 255, (2, 96, 160)).astype(np.uint8)
        if year == 2005:
            pixels[:, :, :80] = 0
        path = write_raster(tmp_path / f"y{year}.tif", pixels, nodata=0)
        scene = scene_of(path)
        start = scene.start.replace(year=year)
        found.append(
            type(scene)(**{**_fields(scene), "start": start, "end": start.replace(day=31)})
        )
    return found


def _fields(scene):
    return {name: getattr(scene, name) for name in scene.__dataclass_fields__}


def points_file(path, **columns):
    """West, east and far outside of the scenes; the centre of pixel (row 40, column 20 or 120)."""
    x = [500_000 + 30 * (column + 0.5) for column in (20, 120, 9000)]
    y = [3_100_000 - 30 * 40.5] * 3
    gpd.GeoDataFrame(columns, geometry=gpd.points_from_xy(x, y), crs=CRS).to_file(path)
    return path


def test_chips_are_cut_around_points_from_every_scene_that_shows_them(scenes, tmp_path):
    catalog = tmp_path / "catalog.parquet"
    write_catalog([scan_scene(scene) for scene in scenes], catalog)
    points = points_file(tmp_path / "points.gpkg", name=["w", "e", "far"], present=[1, 0, 0])

    done = pack(
        *["--points", points, "--id-column", "name", "--scenes", catalog],
        *["--size", 16, "--out", tmp_path / "pack"],
    )

    assert done.exit_code == 1
    assert problems_of(tmp_path / "pack") == {"far": "no scene shows it."}
    found = read_all(tmp_path / "pack")
    assert {n: [i.time.year for i in p.images] for n, p in found.items()} == {
        "w": [2000],
        "e": [2000, 2005],
    }
    assert (found["w"].present, found["e"].present) == (True, False)
    with rasterio.open(tmp_path / "y2000.tif") as raster:
        whole = raster.read()
    # The point lies in pixel (40, 20), right of and below the middle of an even number of pixels.
    np.testing.assert_array_equal(found["w"].images[0].image, whole[:, 32:48, 12:28])
    assert found["w"].images[0].gsd_m == 30.0


def test_a_chip_at_the_edge_of_a_scene_is_valid_only_within(scenes, tmp_path):
    write_scene(scenes[0], tmp_path / "scene.json")
    (tmp_path / "points.csv").write_text("lon,lat\n")
    corner = gpd.GeoSeries([shapely.Point(500_015, 3_099_985)], crs=CRS).to_crs(4326)[0]
    (tmp_path / "points.csv").write_text(f"lon,lat\n{corner.x!r},{corner.y!r}\n")

    pack(
        *["--points", tmp_path / "points.csv", "--scene", tmp_path / "scene.json"],
        *["--size", 8, "--out", tmp_path / "pack"],
    )

    chip = read_all(tmp_path / "pack")["0"].images[0]
    assert chip.valid[4:, 4:].all()
    assert int(chip.valid.sum()) == 16


def test_points_of_one_id_and_of_nowhere_are_told_of(scenes, tmp_path):
    write_scene(scenes[0], tmp_path / "scene.json")
    centre = gpd.GeoSeries([shapely.Point(502_000, 3_098_500)], crs=CRS).to_crs(4326)[0]
    rows = [f"a,{centre.x},{centre.y}", f"a,{centre.x},{centre.y}", "b,,60", "c,10,95"]
    (tmp_path / "points.csv").write_text("\n".join(["id,lon,lat", *rows]) + "\n")

    done = pack(
        *["--points", tmp_path / "points.csv", "--scene", tmp_path / "scene.json"],
        *["--out", tmp_path / "pack"],
    )

    assert done.exit_code == 1
    assert list(read_all(tmp_path / "pack")) == ["a"]
    assert set(problems_of(tmp_path / "pack")) == {"a", "b", "c"}


def test_a_label_of_a_point_that_is_none_costs_that_label_alone(scenes, tmp_path):
    write_scene(scenes[0], tmp_path / "scene.json")
    points = points_file(tmp_path / "points.gpkg", id=["w", "e", "f"], present=["maybe", "no", ""])

    done = pack(
        *["--points", points, "--scene", tmp_path / "scene.json"],
        *["--size", 8, "--out", tmp_path / "pack"],
    )

    assert done.exit_code == 1
    found = read_all(tmp_path / "pack")
    assert {name: place.present for name, place in found.items()} == {"w": None, "e": False}
    told = problems_of(tmp_path / "pack")
    assert told["w"].startswith("present = 'maybe' is neither true nor false")
    assert told["w"].endswith("It is cut without a label.")


def test_a_table_of_labels_wins_over_points_where_it_has_one_and_loses_none(scenes, tmp_path):
    write_scene(scenes[0], tmp_path / "scene.json")
    points = points_file(tmp_path / "points.gpkg", id=["w", "e", "f"], present=[1, 0, 1])
    (tmp_path / "labels.csv").write_text("chip_id,present\nw,\ne,yes\ngone,no\n")

    pack(
        *["--points", points, "--scene", tmp_path / "scene.json", "--size", 8],
        *["--labels", tmp_path / "labels.csv", "--out", tmp_path / "pack"],
    )

    found = read_all(tmp_path / "pack")
    assert {name: place.present for name, place in found.items()} == {"w": True, "e": True}
    assert problems_of(tmp_path / "pack")["gone"] == "a label of a chip that is not there."


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--gsd", 10], "--gsd, --nodata and --scale are of chips in files"),
        (["--nodata", 0], "--gsd, --nodata and --scale are of chips in files"),
        (["--scale", 0.5], "--gsd, --nodata and --scale are of chips in files"),
        (["--labels", "where.csv"], r"where\.csv has positions, times or sensors"),
        (["--labels", "when.csv"], r"when\.csv has positions, times or sensors"),
        (["--labels", "what.csv"], r"what\.csv has positions, times or sensors"),
    ],
)
def test_what_points_and_scenes_say_themselves_is_refused(
    scenes, tmp_path, monkeypatch, options, said
):
    monkeypatch.chdir(tmp_path)
    write_scene(scenes[0], tmp_path / "scene.json")
    points_file(tmp_path / "points.gpkg", id=list("wef"))
    for name, column, value in [
        ("where", "lat", "60"),
        ("when", "time", "2020"),
        ("what", "sensor", "spot-5"),
    ]:
        (tmp_path / f"{name}.csv").write_text(f"chip_id,present,{column}\nw,1,{value}\n")

    with pytest.raises(ConfigError, match=said):
        pack("--points", "points.gpkg", "--scene", "scene.json", *options, "--out", "pack")
    assert not (tmp_path / "pack").exists()


def test_scenes_of_one_name_in_two_folders_are_two_scenes(tmp_path):
    rasters = []
    for number, below in enumerate(["one", "two"]):
        (tmp_path / below).mkdir()
        pixels = np.full((2, 96, 160), 10 + number, dtype=np.uint8)
        rasters.append(write_raster(tmp_path / below / "B.tif", pixels))
    points = points_file(tmp_path / "points.gpkg", id=list("wef"))
    films = ["--sensor", "landsat-7", "--bands", "red,nir08", "--date", "2001-07-02"]

    def values(*cut):
        named = [word for raster in cut for word in ("--scene", raster)]
        pack("--points", points, *named, *films, "--size", 8, "--out", tmp_path / "pack")
        images = read_all(tmp_path / "pack")["w"].images
        return sorted(np.unique(image.image).tolist() for image in images)

    assert values(*rasters) == [[10], [11]]
    # And the record of what was cut tells them apart.
    assert values(rasters[0]) == [[10]]
    assert values(rasters[1]) == [[11]]


def test_scenes_may_be_dated_to_a_year(tmp_path):
    raster = write_raster(tmp_path / "s.tif", np.ones((2, 96, 160), dtype=np.uint8))
    points = points_file(tmp_path / "points.gpkg", id=list("wef"))

    pack(
        *["--points", points, "--scene", raster, "--sensor", "landsat-7", "--bands", "red,nir08"],
        *["--date", "2021", "--size", 8, "--out", tmp_path / "pack"],
    )

    image = read_all(tmp_path / "pack")["w"].images[0]
    assert image.time == datetime(2021, 1, 1, tzinfo=UTC)
