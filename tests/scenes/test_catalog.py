import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
import pytest
import shapely
from conftest import scene_of, write_raster
from odc.geo.geom import Geometry
from typer.testing import CliRunner

from geoseg.cli import app
from geoseg.errors import OutputError, SceneError
from geoseg.files import sha256_of
from geoseg.scenes import (
    Asset,
    CatalogEntry,
    Scene,
    footprint,
    open_scene,
    read_catalog,
    read_scene,
    require_unchanged,
    scan_items,
    scan_scene,
    with_checksums,
    write_catalog,
    write_scene,
)
from geoseg.scenes import raster as raster_module
from geoseg.scenes.stac import item_of

GEOD = pyproj.Geod(ellps="WGS84")


def make_scene(folder, name, *, bands=("red", "nir08"), sensor="landsat-7", **place):
    folder.mkdir(parents=True, exist_ok=True)
    image = np.ones((len(bands), 30, 50), np.uint8)
    path = write_raster(folder / f"{name}.tif", image, **place)
    return scene_of(path, bands=bands, sensor=sensor)


def make_mask(path):
    return Asset(path=write_raster(path, np.ones((1, 30, 50), np.uint8)))


def resolved(scene):
    """The same scene with paths that can be compared."""

    def at(asset):
        return None if asset is None else replace(asset, path=asset.path.resolve())

    return replace(
        scene,
        bands={name: at(asset) for name, asset in scene.bands.items()},
        mask=at(scene.mask),
        dem=None if scene.dem is None else scene.dem.resolve(),
    )


def entry(scene):
    """An entry of a scene whose files need not exist."""
    return CatalogEntry(scene=scene, footprint=Geometry(shapely.box(86, 27, 87, 28), "EPSG:4326"))


def change(path, row, **values):
    """Write other values into a row of a table."""
    table = pq.read_table(path)
    rows = table.to_pylist()
    for key, value in values.items():
        rows[row][key] = value(rows[row][key]) if callable(value) else value
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)


@pytest.fixture
def three(tmp_path):
    """A table of three scenes in a folder, beside the folder of their rasters."""
    scenes = [make_scene(tmp_path / "data" / "images", name) for name in ("a", "b", "c")]
    path = tmp_path / "data" / "tables" / "scenes.parquet"
    write_catalog([scan_scene(scene) for scene in scenes], path)
    return path


def test_scenes_come_back_with_all_that_they_are(tmp_path):
    film = replace(
        make_scene(tmp_path / "film", "da12", bands=("pan",), sensor="corona-kh4b"),
        start=datetime(1970, 11, 18, 3, 4, 5, 678901, tzinfo=UTC),
        end=datetime(1970, 12, 7, tzinfo=UTC),
        mask=make_mask(tmp_path / "film" / "border.tif"),
    )
    etm = make_scene(tmp_path / "etm", "e", bands=("nir08", "red"))
    etm = replace(
        etm,
        bands={n: replace(a, nodata=-9999.5) for n, a in etm.bands.items()},
        dem=tmp_path / "dem" / "heights.tif",
    )
    # The same bands in another order.
    other = make_scene(tmp_path / "etm", "o", bands=("red", "nir08"))
    scenes = [film, etm, other]

    write_catalog([scan_scene(scene) for scene in scenes], tmp_path / "scenes.parquet")
    found, broken = read_catalog(tmp_path / "scenes.parquet")

    assert broken == ()
    assert [resolved(e.scene) for e in found] == [resolved(scene) for scene in scenes]
    assert [list(e.scene.bands) for e in found] == [["pan"], ["nir08", "red"], ["red", "nir08"]]
    for one, scene in zip(found, scenes, strict=True):
        assert one.footprint == footprint(scene)
        assert one.scene.start.utcoffset().total_seconds() == 0


def test_a_scene_is_the_same_from_a_table_and_from_an_item(tmp_path):
    scene = replace(make_scene(tmp_path, "a"), mask=make_mask(tmp_path / "m.tif"))
    write_scene(scene, tmp_path / "a.json")
    write_catalog([scan_scene(scene)], tmp_path / "a.parquet")

    (found,), _ = read_catalog(tmp_path / "a.parquet")

    assert found.scene == read_scene(tmp_path / "a.json")


def test_the_table_holds_all_of_the_items(three):
    rows = pq.read_table(three).to_pylist()
    (first, *_), _ = read_catalog(three)
    item = item_of(first.scene, three.parent, first.footprint)

    assert set(item) - {"properties"} <= set(rows[0])
    assert set(item["properties"]) <= set(rows[0])
    for key, asset in item["assets"].items():
        assert {k: v for k, v in rows[0]["assets"][key].items() if v is not None} == asset


def test_other_programs_read_the_table(three):
    table = gpd.read_parquet(three)

    assert table.crs.to_authority() == ("OGC", "CRS84")
    assert table["id"].tolist() == ["a", "b", "c"]
    assert table["start_datetime"].dt.year.tolist() == [2000] * 3
    assert json.loads(pq.read_schema(three).metadata[b"stac-geoparquet"])["version"] == "1.0.0"
    # The box that a reader skips row groups by.
    inside = gpd.read_parquet(three, bbox=(80, 20, 90, 30))
    assert len(inside) == 3
    assert gpd.read_parquet(three, bbox=(0, 0, 10, 10)).empty


def test_paths_hold_after_the_folder_was_moved(three, tmp_path):
    moved = tmp_path / "elsewhere" / "tables" / three.name
    shutil.move(tmp_path / "data", tmp_path / "elsewhere")

    (first, *_), broken = read_catalog(moved)

    assert broken == ()
    with open_scene(first.scene) as reader:
        assert reader.grid.shape == (30, 50)
    assert pq.read_table(moved).to_pylist()[0]["assets"]["red"]["href"] == "../images/a.tif"


def test_reading_opens_no_raster(three, tmp_path, monkeypatch):
    monkeypatch.setattr(raster_module, "DatasetReader", None)
    shutil.rmtree(tmp_path / "data" / "images")

    assert len(read_catalog(three).entries) == 3


def test_a_footprint_over_the_antimeridian_is_divided_there(tmp_path):
    scene = make_scene(
        tmp_path, "chukotka", crs="EPSG:32660", origin=(610_000, 7_400_000), pixel=1000.0
    )
    write_catalog([scan_scene(scene)], tmp_path / "scenes.parquet")

    (found,), _ = read_catalog(tmp_path / "scenes.parquet")

    outline = found.footprint.geom
    assert isinstance(outline, shapely.MultiPolygon)
    assert outline.is_valid
    assert outline.intersects(shapely.Point(179.9, 66.5))
    assert outline.intersects(shapely.Point(-179.9, 66.5))
    assert not outline.intersects(shapely.Point(0, 66.5))
    area_km2 = abs(GEOD.geometry_area_perimeter(outline)[0]) / 1e6
    np.testing.assert_allclose(area_km2, 1500, rtol=0.01)


@pytest.mark.parametrize(
    ("crs", "latitude", "inward", "scale"),
    [("EPSG:3413", 90, -1, 1.063), ("EPSG:3031", -90, 1, 1.057)],
)
def test_a_footprint_about_a_pole_holds_it(tmp_path, crs, latitude, inward, scale):
    scene = make_scene(tmp_path, "pole", crs=crs, origin=(-17_000, 12_000), pixel=1000.0)
    write_catalog([scan_scene(scene)], tmp_path / "scenes.parquet")

    (found,), _ = read_catalog(tmp_path / "scenes.parquet")

    outline = found.footprint.geom
    assert outline.is_valid
    for longitude in (-179.9, -90, 0, 45, 179.9):
        assert outline.contains(shapely.Point(longitude, latitude + inward * 0.01))
        assert not outline.contains(shapely.Point(longitude, latitude + inward * 1))
    area_km2 = abs(GEOD.geometry_area_perimeter(outline.segmentize(1))[0]) / 1e6
    # True areas are larger than those of the projection by the square of its scale at the pole.
    np.testing.assert_allclose(area_km2, 1500 * scale, rtol=0.01)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"geoseg:sensor": None}, "names no sensor; add the property 'geoseg:sensor'"),
        ({"geoseg:sensor": "landsat-77"}, "no sensor named 'landsat-77'. Did you mean 'landsat-7'"),
        ({"end_datetime": datetime(1999, 1, 1, tzinfo=UTC)}, "Scene 'b' ends at 1999-01-01"),
        ({"start_datetime": None}, "is not a STAC item that can be read (STACError"),
        ({"geometry": None}, "holds scene b without a footprint; scan it again"),
        ({"geometry": b"\x01nonsense"}, "holds scene b without a footprint; scan it again"),
        ({"assets": None}, "is no STAC item that can be read (AttributeError: "),
        ({"assets": {}}, "Scene 'b' has no band; name at least one"),
    ],
)
def test_a_broken_row_is_told_of_and_leaves_the_others(three, values, reason):
    change(three, 1, **values)

    found, broken = read_catalog(three)

    assert [e.scene.id for e in found] == ["a", "c"]
    assert [b.id for b in broken] == ["b"]
    assert reason in broken[0].reason
    assert "\n" not in broken[0].reason


def test_a_row_without_id_is_named_by_its_number(three):
    change(three, 2, id=None)

    found, broken = read_catalog(three)

    assert [e.scene.id for e in found] == ["a", "b"]
    assert [b.id for b in broken] == ["row 3"]
    assert "holds a scene without id; give it one" in broken[0].reason


def test_a_time_that_no_calendar_has_breaks_its_row_only(three):
    table = pq.read_table(three)
    column = table.schema.get_field_index("end_datetime")
    values = table.column(column).cast(pa.int64()).to_pylist()
    values[0] = 2**62
    late = pa.array(values, pa.int64()).cast(table.schema.field(column).type)
    pq.write_table(table.set_column(column, table.schema.field(column), late), three)

    found, broken = read_catalog(three)

    assert [e.scene.id for e in found] == ["b", "c"]
    assert [b.id for b in broken] == ["row 1"]


@pytest.mark.parametrize(
    "href",
    [
        "http://example.org/a.tif",
        "s3://bucket/a.tif",
        "file:///etc/passwd",
        "/vsicurl/http://example.org/a.tif",
        "/vsizip/a.zip/a.tif",
        "/vsistdin/",
        "///vsimem/a.tif",
        None,
    ],
)
@pytest.mark.parametrize("key", ["red", "mask"])
def test_a_file_that_is_not_local_is_refused(three, href, key):
    # The rows are kept: a table from elsewhere may hold such a name, and only such a row is lost.
    asset = {"href": href, "roles": ["mask"] if key == "mask" else ["data"], "bands": []}
    change(three, 1, assets=lambda assets: {**assets, key: asset})

    found, broken = read_catalog(three)

    assert [e.scene.id for e in found] == ["a", "c"]
    wanted = "no STAC item" if href is None else "download the file and name it by a local path"
    assert wanted in broken[0].reason or "not a STAC item" in broken[0].reason


def test_what_is_no_table_of_scenes_is_refused_in_one_sentence(tmp_path, three):
    text = tmp_path / "text.parquet"
    text.write_text("not a table")
    bare = tmp_path / "bare.parquet"
    pq.write_table(pa.table({"id": ["a"], "name": ["b"]}), bare)
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(three.read_bytes()[: three.stat().st_size // 2])

    with pytest.raises(SceneError, match=r"none\.parquet does not exist; check the path"):
        read_catalog(tmp_path / "none.parquet")
    with pytest.raises(SceneError, match=r"text\.parquet cannot be read as a catalogue \(.*\); g"):
        read_catalog(text)
    with pytest.raises(SceneError, match=r"cut\.parquet cannot be read as a catalogue"):
        read_catalog(cut)
    with pytest.raises(SceneError, match=r"cannot be read as a catalogue"):
        read_catalog(tmp_path)
    with pytest.raises(SceneError, match=r"bare\.parquet has no column geometry and no assets; gi"):
        read_catalog(bare)


def test_damaged_pages_are_refused_in_one_sentence(three):
    content = bytearray(three.read_bytes())
    content[4:400] = bytes(396)
    three.write_bytes(content)

    with pytest.raises(SceneError, match="cannot be read as a catalogue"):
        read_catalog(three)


def test_a_catalogue_of_no_scene_is_a_catalogue(tmp_path):
    write_catalog([], tmp_path / "none.parquet")

    assert read_catalog(tmp_path / "none.parquet") == ((), ())
    assert gpd.read_parquet(tmp_path / "none.parquet").empty


def test_two_scenes_of_one_id_are_refused_and_leave_nothing(tmp_path):
    scene = scene_of(tmp_path / "a.tif")

    with pytest.raises(SceneError, match=r"would hold 2 scenes named 'a'; give each an id"):
        write_catalog([entry(scene), entry(scene)], tmp_path / "scenes.parquet")

    assert list(tmp_path.iterdir()) == []


def test_rows_beyond_one_batch_keep_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr("geoseg.scenes.catalog_rows.ROWS_AT_ONCE", 3)
    scenes = [scene_of(tmp_path / f"{i}.tif") for i in range(8)]

    write_catalog([entry(scene) for scene in scenes], tmp_path / "scenes.parquet")

    found = read_catalog(tmp_path / "scenes.parquet").entries
    assert [e.scene.id for e in found] == [str(i) for i in range(8)]


def test_scenes_named_from_the_working_folder_are_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_scene(Path("images"), "a")
    scene = Scene(
        id="a",
        sensor_id="landsat-7",
        start=datetime(2000, 1, 1, tzinfo=UTC),
        end=datetime(2000, 1, 2, tzinfo=UTC),
        bands={"red": Asset(path=Path("images/a.tif"))},
    )
    write_catalog([scan_scene(scene)], Path("tables/scenes.parquet"))

    monkeypatch.chdir("/")
    (found,), _ = read_catalog(tmp_path / "tables" / "scenes.parquet")

    assert found.scene.bands["red"].path.resolve() == tmp_path / "images" / "a.tif"


def test_checksums_go_with_the_scene(tmp_path):
    scene = with_checksums(scene_of(write_raster(tmp_path / "a.tif", np.ones((2, 9, 9), np.uint8))))
    write_catalog([scan_scene(scene)], tmp_path / "catalog.parquet")
    write_scene(scene, tmp_path / "a.json")

    (entry,) = read_catalog(tmp_path / "catalog.parquet").entries
    for read in (entry.scene, read_scene(tmp_path / "a.json")):
        assert read == scene
        assert read.bands["red"].sha256 == sha256_of(tmp_path / "a.tif")
        require_unchanged(read)

    write_raster(tmp_path / "a.tif", np.full((2, 9, 9), 2, np.uint8))
    with pytest.raises(SceneError, match=r"a.tif has not the checksum that scene a gives"):
        require_unchanged(scene)
    (tmp_path / "a.tif").unlink()
    with pytest.raises(SceneError, match=r"a.tif cannot be read"):
        require_unchanged(scene)


def write_items(folder, *names):
    """Scenes with a STAC item each."""
    scenes = [make_scene(folder / name, name) for name in names]
    for scene in scenes:
        write_scene(scene, folder / scene.id / "scene.json")
    return scenes


def scan_command(*arguments):
    return CliRunner().invoke(app, ["catalog", "scan", *map(str, arguments)])


# Deeper than a parser of JSON follows it.
DEEP = "[" * 200_000 + "]" * 200_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"stac_version": "1.1.0", "assets": {', "JSONDecodeError"),
        (b"", "JSONDecodeError"),
        (b"\xff\xfe", "UnicodeDecodeError"),
        (DEEP.encode(), "RecursionError"),
    ],
)
def test_a_file_that_is_no_json_is_told_of_and_leaves_the_others(tmp_path, content, reason):
    write_items(tmp_path, "a", "c")
    (tmp_path / "b.json").write_bytes(content)
    (tmp_path / "other.json").write_text('{"kind": "no item"}')
    (tmp_path / "folder.json").mkdir()

    found, broken = scan_items(tmp_path, checksums=False)

    assert [e.scene.id for e in found] == ["a", "c"]
    assert [b.id for b in broken] == ["b.json"]
    assert f"b.json is no JSON that can be read ({reason}" in broken[0].reason
    assert broken[0].reason.endswith("write it again if it was cut short, or move it away.")
    run = scan_command(tmp_path, "--out", tmp_path / "catalog.parquet")
    assert run.exit_code == 1
    assert "b.json is left out: " in run.output
    assert len(read_catalog(tmp_path / "catalog.parquet").entries) == 2


def test_deep_nesting_is_no_scene(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(DEEP)

    with pytest.raises(SceneError, match=r"is not a STAC item that can be read \(Recursion"):
        read_scene(path)


def test_of_scenes_with_one_id_the_first_is_taken(tmp_path):
    write_items(tmp_path, "a", "b")
    shutil.copytree(tmp_path / "a", tmp_path / "later")

    found, broken = scan_items(tmp_path, checksums=False)

    assert [e.scene.id for e in found] == ["a", "b"]
    (entry,) = broken
    assert entry.id == "later/scene.json"
    assert entry.reason == (
        "later/scene.json holds a scene named 'a', and so does a/scene.json; give each an id of "
        "its own."
    )


def test_a_catalogue_is_not_written_over_a_folder(tmp_path):
    write_items(tmp_path, "a")

    run = scan_command(tmp_path, "--out", tmp_path)

    assert isinstance(run.exception, OutputError)
    assert str(run.exception) == f"{tmp_path} is a folder; name a file to write."
