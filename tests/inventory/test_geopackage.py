import datetime as dt
import io
import json
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import zipfile
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree as ET

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
from hypothesis import example as also
from hypothesis import given, settings
from hypothesis import strategies as st
from pyogrio.errors import DataSourceError
from pyproj import CRS

from geoseg.errors import ConfigError, GridError, OutputError
from geoseg.inventory import write_geopackage
from geoseg.inventory.storage import geopackage
from geoseg.inventory.storage.geopackage import LayerTraits

VALID = re.compile(r"[a-z][a-z0-9_]{0,62}")
RESERVED = re.compile(
    r"(gpkg|rtree_|sqlite_)[a-z0-9_]{0,50}|layer_styles|qgis_projects|ogr_empty_table"
)
# What SQL means something by, and what GeoPackage drivers have looked for.
SQL_WORDS = ["select", "table", "order", "group", "values", "main", "temp", "fid", "geom", "rowid"]
DRIVER_WORDS = ["spatial_ref_sys", "geometry_columns", "layer_styles_2"]

SYSTEM_PYTHON = "/usr/bin/python3"
KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
import geopandas as gpd, shapely
from geoseg.inventory.storage import geopackage

geopackage._check = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
table = gpd.GeoDataFrame({"a": [1]}, geometry=[shapely.box(0, 0, 1, 2)], crs="EPSG:32645")
geopackage.write_geopackage(Path(sys.argv[1]), {"x": table}, styles={}, metadata={})
"""


def two_glaciers(crs="EPSG:32645", **columns):
    """One with a hole, one in two parts."""
    west = shapely.box(500_000, 3_000_000, 500_900, 3_000_600).difference(
        shapely.box(500_300, 3_000_200, 500_400, 3_000_300)
    )
    east = shapely.MultiPolygon(
        [
            shapely.box(501_000, 3_000_000, 501_100, 3_000_200),
            shapely.box(501_500, 3_000_000, 501_600, 3_000_200),
        ]
    )
    names = ["clean_ice", "debris_ice"]
    return gpd.GeoDataFrame({"class_name": names, **columns}, geometry=[west, east], crs=crs)


def write(path, layers, *, styles=None, metadata=None, **extra):
    write_geopackage(path, layers, styles=styles or {}, metadata=metadata or {}, **extra)
    return path


def read(path, layer="x"):
    return gpd.read_file(path, layer=layer)


def query(path, sql):
    with closing(sqlite3.connect(path)) as database:
        return database.execute(sql).fetchall()


def column_types(path, layer):
    return {name: kind for _, name, kind, *_ in query(path, f'PRAGMA table_info("{layer}")')}


# Rows and columns


def test_outlines_come_back_with_their_columns_holes_and_parts(tmp_path):
    written = two_glaciers(area_km2=[0.53, np.nan], pixels=[1, 2], is_ice=[True, False])

    back = read(write(tmp_path / "a.gpkg", {"x": written}))

    assert list(back.columns) == ["class_name", "area_km2", "pixels", "is_ice", "geometry"]
    pd.testing.assert_frame_equal(
        pd.DataFrame(back.drop(columns="geometry")),
        pd.DataFrame(written.drop(columns="geometry")),
        check_dtype=False,
    )
    assert shapely.equals(back.geometry.to_numpy(), written.geometry.to_numpy()).all()
    assert [len(part.interiors) for part in back.geometry[0].geoms] == [1]
    assert set(back.geom_type) == {"MultiPolygon"}


@pytest.mark.parametrize("crs", ["EPSG:32645", "EPSG:3413", "EPSG:3031", "EPSG:4326"])
def test_the_reference_system_comes_back(tmp_path, crs):
    back = read(write(tmp_path / "a.gpkg", {"x": two_glaciers(crs=crs)}))

    assert back.crs.equals(CRS(crs))
    assert back.crs.to_epsg() == CRS(crs).to_epsg()


def test_a_reference_system_without_a_number_places_outlines_alike(tmp_path):
    own = "+proj=laea +lat_0=28 +lon_0=86.9 +x_0=500000 +y_0=3000000 +ellps=WGS84 +units=m"
    written = two_glaciers(crs=own)

    back = read(write(tmp_path / "a.gpkg", {"x": written}))

    moved = shapely.hausdorff_distance(
        back.to_crs("EPSG:32645").geometry.to_numpy(),
        written.to_crs("EPSG:32645").geometry.to_numpy(),
    )
    assert moved.max() < 1e-6


def test_each_layer_keeps_its_own_reference_system_and_rows(tmp_path):
    layers = {"near": two_glaciers(), "polar": two_glaciers(crs="EPSG:3413").iloc[:1]}

    path = write(tmp_path / "a.gpkg", layers)

    near, polar = (read(path, name) for name in layers)
    assert (len(near), near.crs.to_epsg()) == (2, 32645)
    assert (len(polar), polar.crs.to_epsg()) == (1, 3413)


def test_a_layer_without_rows_keeps_its_columns_type_and_reference_system(tmp_path):
    full = two_glaciers(area_km2=[1.5, 2.5], pixels=[1, 2])

    path = write(tmp_path / "a.gpkg", {"full": full, "empty": full.iloc[:0]})

    assert column_types(path, "empty") == column_types(path, "full")
    info = pyogrio.read_info(path, layer="empty")
    assert info["features"] == 0
    assert (info["geometry_type"], info["crs"]) == ("MultiPolygon", "EPSG:32645")


def test_what_is_missing_is_null_whatever_the_type(tmp_path):
    table = two_glaciers(
        pixels=pd.array([7, None], dtype="Int64"),
        is_ice=pd.array([None, True], dtype="boolean"),
        lake_type=np.array([np.nan, "Mo"], dtype=object),
        kind=pd.Categorical(["film", None]),
    )

    path = write(tmp_path / "a.gpkg", {"x": table})

    assert query(path, "SELECT pixels, is_ice, lake_type, kind FROM x") == [
        (7, None, None, "film"),
        (None, 1, "Mo", None),
    ]


def test_heights_of_vertices_are_left_out(tmp_path):
    flat = two_glaciers()
    steep = flat.set_geometry(shapely.force_3d(flat.geometry.to_numpy(), z=5000), crs=flat.crs)

    path = write(tmp_path / "a.gpkg", {"x": steep})

    kinds = query(path, "SELECT z, geometry_type_name FROM gpkg_geometry_columns")
    assert kinds == [(0, "MULTIPOLYGON")]
    assert not read(path).has_z.any()


def test_the_table_that_was_given_is_not_changed(tmp_path):
    table = two_glaciers(start_date=[dt.date(1964, 7, 1), None]).rename_geometry("shape")
    before = table.copy()

    write(tmp_path / "a.gpkg", {"x": table})

    pd.testing.assert_frame_equal(pd.DataFrame(table), pd.DataFrame(before))


# Points and tables


def two_points(**columns):
    places = gpd.points_from_xy([500_000, 501_000], [3_000_000, 3_000_500])
    return gpd.GeoDataFrame({"event": ["split", "vanish"], **columns}, geometry=places, crs=32645)


def test_points_come_back_as_points(tmp_path):
    path = write(tmp_path / "a.gpkg", {"x": two_points()}, traits={"x": LayerTraits(points=True)})

    back = read(path)
    assert list(back["event"]) == ["split", "vanish"]
    assert back.geometry.equals(two_points().geometry)
    assert pyogrio.read_info(path, layer="x")["geometry_type"] == "Point"


def test_a_layer_without_rows_is_of_the_geometry_that_its_traits_say(tmp_path):
    layers = {"points": two_points().iloc[:0], "polygons": two_points().iloc[:0]}

    path = write(tmp_path / "a.gpkg", layers, traits={"points": LayerTraits(points=True)})

    types = {name: pyogrio.read_info(path, layer=name)["geometry_type"] for name in layers}
    assert types == {"points": "Point", "polygons": "MultiPolygon"}


@pytest.mark.parametrize("rows", [2, 0])
def test_a_table_without_geometry_comes_back_without_one(tmp_path, rows):
    table = pd.DataFrame(
        {
            "status": ["present", None],
            "start_date": [dt.date(1964, 7, 1), None],
            "outlines": pd.array([7, None], dtype="Int64"),
        }
    ).iloc[:rows]

    path = write(tmp_path / "a.gpkg", {"first": table, "x": two_glaciers(), "last": table})

    for name in ("first", "last"):
        back = pyogrio.read_dataframe(path, layer=name)
        assert not isinstance(back, gpd.GeoDataFrame)
        assert (list(back.columns), len(back)) == (list(table.columns), rows)
        assert (
            query(path, f"SELECT status, start_date, outlines FROM {name}")
            == ([("present", "1964-07-01", 7), (None, None, None)][:rows])
        )
    kinds = "SELECT table_name, data_type FROM gpkg_contents WHERE table_name <> 'layer_styles'"
    assert dict(query(path, kinds)) == {
        "first": "attributes",
        "x": "features",
        "last": "attributes",
    }


def test_rows_without_geometry_are_kept_where_traits_allow_them(tmp_path):
    table = two_glaciers()
    table.geometry = [None, table.geometry[1]]

    path = write(tmp_path / "a.gpkg", {"x": table}, traits={"x": LayerTraits(gaps=True)})

    assert query(path, "SELECT class_name, geom IS NULL FROM x") == [
        ("clean_ice", 1),
        ("debris_ice", 0),
    ]


def test_polygons_among_points_are_refused_with_their_row(tmp_path):
    with pytest.raises(OutputError, match=r"Layer 'x' has no point in row 0 of 2 .*; drop what is"):
        write(tmp_path / "a.gpkg", {"x": two_glaciers()}, traits={"x": LayerTraits(points=True)})


# Dates


def test_days_are_dates_and_times_are_utc(tmp_path):
    nepal = dt.timezone(dt.timedelta(hours=5, minutes=45))
    table = two_glaciers(
        start_date=[dt.date(1964, 7, 1), None],
        end_date=pd.to_datetime(["1964-07-02", None]),
        seen=pd.to_datetime(["2000-10-30T04:30:00.25Z", None], utc=True),
        local=pd.to_datetime(["2000-10-30T04:30", "2000-10-30T00:00"]).tz_localize(nepal),
        naive=pd.to_datetime(["2000-10-30T04:30", "2000-10-30T00:00"]),
        mixed=np.array([dt.datetime(2000, 10, 30, tzinfo=nepal), None], dtype=object),
    )

    path = write(tmp_path / "a.gpkg", {"x": table})

    types = column_types(path, "x")
    assert {types[name] for name in ("start_date", "end_date")} == {"DATE"}
    assert {types[name] for name in ("seen", "local", "naive", "mixed")} == {"DATETIME"}
    assert query(path, "SELECT start_date, end_date, seen, local, naive, mixed FROM x") == [
        (
            "1964-07-01",
            "1964-07-02",
            "2000-10-30T04:30:00.250Z",
            "2000-10-29T22:45:00.000Z",
            "2000-10-30T04:30:00.000Z",
            "2000-10-29T18:15:00.000Z",
        ),
        (None, None, None, "2000-10-29T18:15:00.000Z", "2000-10-30T00:00:00.000Z", None),
    ]


def test_dates_read_by_geopandas_are_written_as_the_same_dates(tmp_path):
    once = write(tmp_path / "a.gpkg", {"x": two_glaciers(src_date=[dt.date(1964, 7, 1), None])})

    twice = write(tmp_path / "b.gpkg", {"x": read(once)})

    assert column_types(twice, "x") == column_types(once, "x")
    assert query(twice, "SELECT src_date FROM x") == [("1964-07-01",), (None,)]


def test_a_date_column_that_holds_nothing_is_still_a_date_column(tmp_path):
    table = two_glaciers(start_date=[dt.date(1964, 7, 1)] * 2, model=[None, None])

    path = write(
        tmp_path / "a.gpkg",
        {"empty": table.iloc[:0], "unknown": table.assign(start_date=[None, None])},
    )

    for layer in ("empty", "unknown"):
        assert column_types(path, layer)["start_date"] == "DATE"
        assert column_types(path, layer)["model"] == "TEXT"


# Styles and metadata


def test_each_style_is_the_default_of_its_layer_and_registered(tmp_path):
    styles = {"one": "<qgis a='\"; --'/>", "two": "<qgis/>"}

    path = write(tmp_path / "a.gpkg", dict.fromkeys(styles, two_glaciers()), styles=styles)

    stored = "SELECT f_table_name, f_geometry_column, styleQML, useAsDefault FROM layer_styles"
    assert query(path, stored) == [(name, "geom", qml, 1) for name, qml in styles.items()]
    assert query(path, "SELECT table_name, data_type FROM gpkg_contents ORDER BY table_name") == [
        ("layer_styles", "attributes"),
        ("one", "features"),
        ("two", "features"),
    ]


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(
    metadata=st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9_.-]{0,20}", fullmatch=True),
        st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=60),
    )
)
@also(metadata={"model": "a'b\"<c>&d=e:f é"})
def test_metadata_comes_back(metadata):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.gpkg"
        write(path, {"one": two_glaciers(), "two": two_glaciers()}, metadata=metadata)
        back = pyogrio.read_info(path, layer="two")["dataset_metadata"] or {}

    assert back == metadata


def test_projects_are_kept_as_qgis_reads_them(tmp_path):
    hostile = 'd\'Ice; "DROP" निगो'
    projects = {"inventory": "<qgis a='é'/>", hostile: "<qgis/>"}

    path = write(tmp_path / "a.gpkg", {"x": two_glaciers()}, projects=projects)

    stored = query(path, "SELECT name, metadata, content, typeof(content) FROM qgis_projects")
    assert [(name, kind) for name, *_, kind in stored] == [(n, "text") for n in projects]
    for name, about, content, _ in stored:
        assert set(json.loads(about)) == {"last_modified_time", "last_modified_user"}
        with zipfile.ZipFile(io.BytesIO(bytes.fromhex(content))) as archive:
            assert archive.namelist() == [f"{name}.qgs"]
            assert archive.read(f"{name}.qgs").decode() == projects[name]


def test_what_a_layer_is_about_is_kept_beside_the_metadata_of_all(tmp_path):
    traits = {"x": LayerTraits(title='Ice <&> "x"', abstract="What is 'seen'", licence="CC0")}

    path = write(
        tmp_path / "a.gpkg",
        {"x": two_glaciers(), "y": two_glaciers()},
        traits=traits,
        metadata={"geoseg": "1"},
    )

    ((layer, text),) = query(
        path,
        "SELECT r.table_name, m.metadata FROM gpkg_metadata m JOIN gpkg_metadata_reference r "
        "ON m.id = r.md_file_id WHERE m.md_standard_uri = 'http://mrcc.com/qgis.dtd'",
    )
    root = ET.fromstring(text)
    assert layer == root.findtext("identifier") == "x"
    assert root.findtext("title") == traits["x"].title
    assert (root.findtext("abstract"), root.findtext("license")) == ("What is 'seen'", "CC0")
    assert pyogrio.read_info(path, layer="y")["dataset_metadata"] == {"geoseg": "1"}


# Names


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(name=st.from_regex(VALID, fullmatch=True).filter(lambda n: not RESERVED.fullmatch(n)))
def test_any_allowed_layer_name_comes_back(name):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.gpkg"
        write(path, {name: two_glaciers()}, styles={name: "<qgis/>"})

        assert list(pyogrio.list_layers(path)[:, 0]) == [name, "layer_styles"]
        assert len(read(path, name)) == 2


def test_words_of_sql_and_of_drivers_are_names_like_any_other(tmp_path):
    names = [*SQL_WORDS, *DRIVER_WORDS, "a" * 63]

    path = write(tmp_path / "a.gpkg", dict.fromkeys(names, two_glaciers()))

    assert [len(read(path, name)) for name in names] == [2] * len(names)


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(
    name=st.text(max_size=70).filter(lambda n: not VALID.fullmatch(n))
    | st.from_regex(RESERVED, fullmatch=True)
)
@also(name="")
@also(name="outlines\n")
@also(name="outlines; DROP TABLE gpkg_contents")
@also(name="Outlines")
@also(name="a" * 64)
@also(name="layer_styles")
@also(name="ogr_empty_table")
def test_any_other_layer_name_is_refused_before_anything_is_written(name):
    with pytest.raises(ConfigError, match="cannot name a layer; use a lower case letter") as caught:
        write(Path("/nowhere/a.gpkg"), {name: two_glaciers()})

    assert repr(name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_asked_for_is_refused_with_the_way_out(tmp_path):
    path = tmp_path / "a.gpkg"
    table = two_glaciers()

    with pytest.raises(ConfigError, match=r"a\.shp is no name of a GeoPackage; let it end"):
        write(tmp_path / "a.shp", {"x": table})
    with pytest.raises(ConfigError, match="would hold no layer; give at least one"):
        write(path, {})
    with pytest.raises(ConfigError, match=r"no layer named 'outline' for its style\. Did you mean"):
        write(path, {"outlines": table}, styles={"outline": "<qgis/>"})
    with pytest.raises(ConfigError, match=r"no layer named 'outline' for its traits\."):
        write(path, {"outlines": table}, traits={"outline": LayerTraits()})
    with pytest.raises(ConfigError, match="'model:hash' cannot be a key of metadata; use a letter"):
        write(path, {"x": table}, metadata={"model:hash": "1"})
    assert list(tmp_path.iterdir()) == []


def test_quotes_in_values_and_names_of_columns_come_back(tmp_path):
    column = 'the "name" of d\'Ice; DROP TABLE x --'
    table = two_glaciers(**{column: ['d\'Ice "x"', "'; DROP TABLE x; --"]})

    back = read(write(tmp_path / "a.gpkg", {"x": table}))

    assert list(back[column]) == list(table[column])


@pytest.mark.parametrize("column", ["fid", "FID", "geom", "CLASS_NAME", "", "a\nb", "a\0b"])
def test_a_column_that_a_geopackage_cannot_tell_apart_is_refused(tmp_path, column):
    with pytest.raises(ConfigError, match=r"Layer 'x' cannot hold a column named .*; rename it"):
        write(tmp_path / "a.gpkg", {"x": two_glaciers(**{column: [1, 2]})})


def test_a_layer_without_reference_system_is_refused(tmp_path):
    with pytest.raises(
        GridError, match=r"^Layer 'x' has no coordinate reference system; set one first\.$"
    ):
        write(tmp_path / "a.gpkg", {"x": two_glaciers(crs=None)})


@pytest.mark.parametrize(
    ("geometry", "shown"),
    [
        (shapely.LineString([(0, 0), (1, 1)]), r"LINESTRING \(0 0, 1 1\)"),
        (shapely.Polygon(), "POLYGON EMPTY"),
        (None, "None"),
    ],
)
def test_what_is_not_a_polygon_is_refused_with_its_row(tmp_path, geometry, shown):
    table = two_glaciers()
    table.geometry = [table.geometry[0], geometry]

    with pytest.raises(OutputError, match=rf"Layer 'x' has no polygon in row 1 of 2 .*{shown}"):
        write(tmp_path / "a.gpkg", {"x": table})


def test_a_type_without_a_field_is_refused_and_leaves_nothing(tmp_path):
    table = two_glaciers(age=pd.to_timedelta([1, 2], unit="D"))

    with pytest.raises(OutputError, match=r"a\.gpkg could not be written: field type is not supp"):
        write(tmp_path / "a.gpkg", {"x": table})

    assert list(tmp_path.iterdir()) == []


# Whole or not at all


def test_an_interrupted_writing_leaves_the_file_of_before(tmp_path, monkeypatch):
    path = write(tmp_path / "a.gpkg", {"old": two_glaciers()})
    before = path.read_bytes()

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(geopackage, "_check", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(path, {"new": two_glaciers()})

    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_a_killed_writing_leaves_no_file(tmp_path):
    path = tmp_path / "a.gpkg"

    done = subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, path], check=False)

    assert done.returncode == -signal.SIGKILL
    assert not path.exists()


def test_a_new_file_replaces_the_one_before_and_leaves_nothing_beside_it(tmp_path):
    path = write(tmp_path / "a.gpkg", {"old": two_glaciers()}, metadata={"model": "1"})

    write(path, {"new": two_glaciers()}, metadata={"model": "2"})

    assert list(tmp_path.iterdir()) == [path]
    assert list(pyogrio.list_layers(path)[:, 0]) == ["new", "layer_styles"]
    assert pyogrio.read_info(path, layer="new")["dataset_metadata"] == {"model": "2"}


def test_a_file_open_in_another_program_is_not_replaced(tmp_path):
    path = write(tmp_path / "a.gpkg", {"old": two_glaciers()})

    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("UPDATE gpkg_contents SET description = 'edited'")
        other.commit()
        with pytest.raises(
            OutputError,
            match=r"a\.gpkg is open in another program, .* a\.gpkg-wal lies beside it\. Close it",
        ):
            write(path, {"new": two_glaciers()})

    assert query(path, "SELECT description FROM gpkg_contents WHERE table_name = 'old'") == [
        ("edited",)
    ]


@pytest.mark.parametrize(
    "harm",
    ["DELETE FROM x WHERE fid = 1", "UPDATE gpkg_ogr_contents SET feature_count = 0"],
    ids=["a row is lost", "the count is cut short"],
)
def test_a_file_that_is_not_intact_is_not_kept(tmp_path, monkeypatch, harm):
    add_projects = geopackage.add_projects

    def add_and_harm(database, projects):
        add_projects(database, projects)
        for trigger in ("trigger_delete_feature_count_x", "rtree_x_geom_delete"):
            database.execute(f"DROP TRIGGER {trigger}")
        database.execute(harm)
        database.commit()

    monkeypatch.setattr(geopackage, "add_projects", add_and_harm)
    with pytest.raises(OutputError, match=r"layer 'x' is not intact .*\d rows, \d registered, 2 e"):
        write(tmp_path / "a.gpkg", {"x": two_glaciers()})

    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(OutputError, match="file cannot be written: "):
        write(tmp_path / "file" / "a.gpkg", {"x": two_glaciers()})


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (
            "sqlite3_exec(INSERT INTO gpkg_ogr_contents) failed: database or disk is full",
            "the disk is full; free space there and run again.",
        ),
        (
            "Failed to commit transaction",
            "Failed to commit transaction; see that the disk has space left, and run again.",
        ),
    ],
)
def test_a_full_disk_is_told_with_what_to_do(tmp_path, monkeypatch, words, reason):
    def fail(*_, **__):
        raise DataSourceError(words)

    monkeypatch.setattr(pyogrio.raw, "write", fail)

    with pytest.raises(OutputError) as told:
        write(tmp_path / "a.gpkg", {"x": two_glaciers()})

    assert str(told.value) == f"{tmp_path / 'a.gpkg'} could not be written: {reason}"


def test_a_folder_is_not_replaced(tmp_path):
    (tmp_path / "a.gpkg").mkdir()

    with pytest.raises(OutputError, match=r"a\.gpkg is a folder; name a file to write\."):
        write(tmp_path / "a.gpkg", {"x": two_glaciers()})


# The specification


@pytest.mark.qgis
def test_the_validator_of_gdal_finds_nothing(tmp_path):
    if not Path(SYSTEM_PYTHON).exists() or system_python("-c", "import osgeo_utils").returncode:
        pytest.skip(f"{SYSTEM_PYTHON} has no osgeo_utils; apt-get install python3-gdal.")
    table = two_glaciers(start_date=[dt.date(1964, 7, 1), None], area_km2=[1.5, np.nan])
    table["seen"] = pd.to_datetime(["2000-10-30T04:30Z", None], utc=True)
    layers = {
        "outlines": table,
        "empty": table.iloc[:0],
        "polar": two_glaciers(crs="EPSG:3413"),
        "own": two_glaciers(crs="+proj=laea +lat_0=28 +lon_0=86.9 +ellps=WGS84"),
        "a" * 63: two_glaciers(),
    }
    path = write(
        tmp_path / "a.gpkg",
        layers,
        styles=dict.fromkeys(layers, "<qgis/>"),
        metadata={"geoseg": "0.1", "model": "é<"},
    )

    checked = system_python("-m", "osgeo_utils.samples.validate_gpkg", "-k", str(path))

    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def system_python(*arguments):
    """Run apart from this virtual environment, whose GDAL is another."""
    return subprocess.run(
        [SYSTEM_PYTHON, "-I", *arguments],
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
