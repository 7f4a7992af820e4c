import datetime as dt
import json
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from inventory.small_inventory import ICE, NAME, no_inventory, small_inventory

from geoseg.errors import ConfigError, LabelError, OutputError
from geoseg.inventory.columns import COLUMNS, GEOMETRY_TYPES, conform
from geoseg.inventory.storage import twin
from geoseg.inventory.storage.files import is_inventory, read_inventory, write_inventory
from geoseg.inventory.storage.shown import SHOWN, with_shown

DOCS = Path(__file__).parents[2] / "docs" / "inventory.md"
NO_NUMBER = "+proj=laea +lat_0=28 +lon_0=86.9 +x_0=500000 +y_0=3000000 +ellps=WGS84 +units=m"
KILLED_BEFORE_THE_GEOPACKAGE = """
import os, signal, sys
from pathlib import Path
from inventory.small_inventory import small_inventory
from geoseg.inventory.storage import files

files.write_geopackage = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
files.write_inventory(Path(sys.argv[1]), small_inventory(), styles={}, project=None)
"""


def write(path, inventory, *, styles=None, project=None, **extra):
    write_inventory(path, inventory, styles=styles or {}, project=project, **extra)
    return path


def changed(inventory, layer, **columns):
    return replace(inventory, **{layer: getattr(inventory, layer).assign(**columns)})


def assert_same(one, other):
    for (name, table), (_, back) in zip(one.tables(), other.tables(), strict=True):
        plain = [pd.DataFrame(t).drop(columns="geometry", errors="ignore") for t in (table, back)]
        pd.testing.assert_frame_equal(*plain)
        assert isinstance(back, gpd.GeoDataFrame) == (name in GEOMETRY_TYPES)
        if name in GEOMETRY_TYPES:
            assert back.crs == table.crs
            assert table.geometry.geom_equals_exact(back.geometry, tolerance=0).all()
    assert (one.title, one.licence, one.provenance) == (
        other.title,
        other.licence,
        other.provenance,
    )


# There and back


@pytest.mark.slow
@pytest.mark.parametrize("crs", ["EPSG:32645", "EPSG:3413", "EPSG:3031", NO_NUMBER])
def test_an_inventory_comes_back_exactly(tmp_path, crs):
    inventory = small_inventory(crs)

    back = read_inventory(write(tmp_path / "a.gpkg", inventory))

    assert_same(inventory, back)
    assert back.outlines["glac_name"][0] == NAME
    assert back.outlines["start_date"][0] == dt.date(1964, 11, 20)


@pytest.mark.slow
@pytest.mark.parametrize("crs", ["EPSG:32645", NO_NUMBER])
def test_an_inventory_that_found_nothing_keeps_its_columns_and_reference_system(tmp_path, crs):
    inventory = no_inventory(crs)

    back = read_inventory(write(tmp_path / "a.gpkg", inventory))

    assert_same(inventory, back)
    assert [len(table) for _, table in back.tables()] == [0] * 7


@pytest.mark.slow
def test_what_is_known_of_nothing_keeps_its_type(tmp_path):
    inventory = small_inventory()
    for layer, columns in COLUMNS.items():
        empty = dict.fromkeys([c for c in columns if c not in {"survey", "start_date"}])
        inventory = replace(
            inventory, **{layer: conform(layer, getattr(inventory, layer).assign(**empty))}
        )

    back = read_inventory(write(tmp_path / "a.gpkg", inventory))

    assert_same(inventory, back)
    schema = pq.read_schema(tmp_path / "a_parquet" / "outlines.parquet")
    assert str(schema.field("src_date").type) == "date32[day]"


@pytest.mark.slow
def test_columns_of_ones_own_and_ground_that_nobody_knows_come_back(tmp_path):
    inventory = small_inventory()
    surveys = inventory.surveys.copy()
    surveys.geometry = [None, *surveys.geometry[1:]]
    inventory = changed(replace(inventory, surveys=surveys), "tracks", **{'o\'wn "x"': range(8)})
    own = inventory.tracks.pop('o\'wn "x"')
    inventory.tracks.insert(len(COLUMNS["tracks"]), own.name, own)

    back = read_inventory(write(tmp_path / "a.gpkg", inventory))

    assert back.surveys.geometry.isna().tolist() == [True, False, False]
    assert back.tracks[own.name].tolist() == list(range(8))


@settings(max_examples=15, deadline=None)
@given(
    title=st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=60),
    provenance=st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9_.-]{0,20}", fullmatch=True).filter(
            lambda key: key not in {"title", "licence", "layer_title"}
        ),
        st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=60),
    ),
)
@pytest.mark.slow
def test_title_and_provenance_come_back(title, provenance):
    inventory = replace(no_inventory(), title=title, provenance=provenance)
    with tempfile.TemporaryDirectory() as folder:
        back = read_inventory(write(Path(folder) / "a.gpkg", inventory, parquet=False))

    assert (back.title, back.licence, back.provenance) == (title, "CC-BY-4.0", provenance)


def test_reading_leaves_nothing_beside_the_file(tmp_path):
    path = write(tmp_path / "a.gpkg", small_inventory(), parquet=False)
    before = path.read_bytes()

    read_inventory(path)

    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


def test_types_that_pandas_read_elsewhere_become_those_of_an_inventory():
    inventory = small_inventory()
    loose = inventory.outlines.assign(
        start_date=pd.to_datetime(inventory.outlines["start_date"]),
        end_date=inventory.outlines["end_date"].astype(str),
        parts=inventory.outlines["parts"].astype(float),
        area_km2=inventory.outlines["area_km2"].astype("Float64"),
        glac_name=inventory.outlines["glac_name"].astype(object),
        geometry=[g.geoms[0] if len(g.geoms) == 1 else g for g in inventory.outlines.geometry],
    ).rename_geometry("shape")

    back = conform("outlines", loose[loose.columns[::-1]])

    assert_same(inventory, replace(inventory, outlines=back))


def test_the_columns_are_those_of_the_docs():
    words = {"text", "date", "real", "integer", "bool"}
    named = {}
    for layer, section in re.findall(
        r"\n\*\*(\w+)\*\*: (.*?)(?=\n\*\*|\Z)", DOCS.read_text(), re.S
    ):
        rows = re.findall(r"^\| (`[^|]+)\|\s*(\w*)\s*\|", section, re.M)
        named[layer] = {
            name: kind for names, kind in rows for name in re.findall(r"`(\w+)`", names)
        }

    assert set(named) == set(COLUMNS)
    for layer, columns in named.items():
        assert set(columns) <= set(COLUMNS[layer])
        told = {name: kind for name, kind in columns.items() if kind in words}
        assert told == {name: COLUMNS[layer][name] for name in told}
    assert set(named["outlines"]) == set(COLUMNS["outlines"])
    assert set(named["tracks"]) == set(COLUMNS["tracks"])


# What is refused


def test_a_table_without_a_column_is_refused(tmp_path):
    inventory = small_inventory()
    lacking = replace(inventory, lakes=inventory.lakes.drop(columns="dist_ice_m"))

    with pytest.raises(LabelError, match=r"layer 'lakes' .* no column 'dist_ice_m'; add it, empty"):
        write(tmp_path / "a.gpkg", lacking)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("column", "value"),
    [("area_km2", "large"), ("parts", 1.5), ("start_date", "in 1964"), ("start_date", 1964)],
)
def test_a_value_of_another_type_is_refused(tmp_path, column, value):
    inventory = small_inventory()
    values = inventory.outlines[column].astype(object)
    values[3] = value

    with pytest.raises(LabelError, match=rf"Column '{column}' of the layer 'outlines' is not all"):
        write(tmp_path / "a.gpkg", changed(inventory, "outlines", **{column: values}))


def test_a_layer_without_geometry_is_refused(tmp_path):
    inventory = small_inventory()
    flat = replace(inventory, events=pd.DataFrame(inventory.events.drop(columns="geometry")))

    with pytest.raises(LabelError, match="layer 'events' of an inventory has no geometry; give a"):
        write(tmp_path / "a.gpkg", flat)


@pytest.mark.parametrize("key", ["title", "licence", "layer_title"])
def test_a_key_of_the_provenance_that_is_taken_is_refused(tmp_path, key):
    with pytest.raises(ConfigError, match=f"has a key '{key}'; use another"):
        write(tmp_path / "a.gpkg", replace(small_inventory(), provenance={key: "x"}))


def test_what_is_no_inventory_is_told_apart_and_refused(tmp_path):
    inventory = write(tmp_path / "a.gpkg", small_inventory(), parquet=False)
    foreign, text, cut = (tmp_path / name for name in ("b.gpkg", "c.gpkg", "d.gpkg"))
    gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 2)], crs=32645).to_file(foreign)
    text.write_text("no database at all, " * 100)
    cut.write_bytes(inventory.read_bytes()[:20_000])
    bare = shutil.copy(inventory, tmp_path / "e.gpkg")
    with closing(sqlite3.connect(bare)) as database:
        database.execute("ALTER TABLE states DROP COLUMN status")
        database.commit()

    assert is_inventory(inventory)
    assert is_inventory(bare)
    for path in (foreign, text, tmp_path / "none.gpkg", tmp_path):
        assert not is_inventory(path)
    with pytest.raises(LabelError, match=r"b\.gpkg is no inventory: it has no layer 'surveys'"):
        read_inventory(foreign)
    for path in (text, cut):
        with pytest.raises(LabelError, match=rf"{path.name} cannot be read as an inventory: "):
            read_inventory(path)
    with pytest.raises(LabelError, match=r"none\.gpkg does not exist; give the \.gpkg of an"):
        read_inventory(tmp_path / "none.gpkg")
    with pytest.raises(LabelError, match="layer 'states' of an inventory has no column 'status'"):
        read_inventory(bare)


# The GeoParquet twin


def test_the_twin_holds_the_same_tables(tmp_path):
    inventory = small_inventory("EPSG:3413")

    path = write(tmp_path / "a.gpkg", inventory)

    folder = tmp_path / "a_parquet"
    tables = {}
    for name, _ in inventory.tables():
        read = gpd.read_parquet if name in GEOMETRY_TYPES else pd.read_parquet
        tables[name] = conform(name, read(folder / f"{name}.parquet"))
    assert_same(read_inventory(path), replace(inventory, **tables))
    assert json.loads((folder / "inventory.json").read_text()) == {
        "title": inventory.title,
        "licence": inventory.licence,
        **inventory.provenance,
    }
    assert {p.stem for p in folder.iterdir()} == {*COLUMNS, "inventory"}


def test_the_twin_can_be_read_by_a_box(tmp_path):
    inventory = small_inventory()
    write(tmp_path / "a.gpkg", inventory)
    east = (476_000, 3_085_000, 481_000, 3_099_000)

    found = gpd.read_parquet(tmp_path / "a_parquet" / "outlines.parquet", bbox=east)

    assert (
        found["track_id"].tolist()
        == inventory.outlines.cx[east[0] : east[2], :]["track_id"].tolist()
    )
    assert len(found) == 1


@pytest.mark.slow
def test_a_new_twin_replaces_the_one_before_whole(tmp_path):
    path = write(tmp_path / "a.gpkg", small_inventory())

    write(path, no_inventory())

    assert len(pd.read_parquet(tmp_path / "a_parquet" / "states.parquet")) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.gpkg", "a_parquet"]


@pytest.mark.slow
def test_without_parquet_no_earlier_twin_stays(tmp_path):
    path = write(tmp_path / "a.gpkg", small_inventory())

    write(path, no_inventory(), parquet=False)

    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_of_something_else_is_not_replaced(tmp_path):
    (tmp_path / "a_parquet").mkdir()
    (tmp_path / "a_parquet" / "thesis.txt").write_text("mine")

    for parquet in (True, False):
        with pytest.raises(OutputError, match=r"a_parquet is where the GeoParquet of a\.gpkg goes"):
            write(tmp_path / "a.gpkg", small_inventory(), parquet=parquet)

    assert (tmp_path / "a_parquet" / "thesis.txt").read_text() == "mine"


def test_a_failure_leaves_both_files_as_they_were(tmp_path, monkeypatch):
    path = write(tmp_path / "a.gpkg", small_inventory())
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

    with pytest.raises(ConfigError, match="cannot hold a column named 'fid'"):
        write(path, changed(no_inventory(), "states", fid=[]))
    monkeypatch.setattr(twin.pd.DataFrame, "to_parquet", _full_disk)
    with pytest.raises(
        OutputError, match=r"a_parquet could not be written: the disk is full; free"
    ):
        write(path, no_inventory())

    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def _full_disk(*_, **__):
    raise OSError(28, "No space left on device")


@pytest.mark.slow
def test_a_killed_writing_leaves_the_inventory_of_before(tmp_path):
    path = write(tmp_path / "a.gpkg", no_inventory())

    done = subprocess.run(
        [sys.executable, "-c", KILLED_BEFORE_THE_GEOPACKAGE, path],
        check=False,
        cwd=Path(__file__).parents[1],
    )

    assert done.returncode == -signal.SIGKILL
    assert len(read_inventory(path).outlines) == 0
    assert len(pd.read_parquet(tmp_path / "a_parquet" / "states.parquet")) == 0


def test_a_geopackage_open_in_another_program_is_refused(tmp_path):
    path = write(tmp_path / "a.gpkg", small_inventory())

    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("UPDATE gpkg_contents SET description = 'edited'")
        other.commit()
        with pytest.raises(OutputError, match=r"a\.gpkg is open in another program"):
            write(path, no_inventory())


# When rows are shown


def shown(inventory, layer):
    table = with_shown(dict(inventory.tables()))[layer]
    return table.assign(**{name: table[name].dt.strftime("%Y-%m-%d").fillna("") for name in SHOWN})


def spans_of(inventory, track):
    table = shown(inventory, "outlines")
    own = table[table["track_id"] == track]
    return list(zip(own["shown_from"], own["shown_until"], strict=True))


def test_an_outline_is_shown_from_its_year_until_that_of_the_next_survey():
    assert spans_of(small_inventory(), ICE) == [
        ("1964-01-01", "2000-01-01"),
        ("2000-01-01", "2020-01-01"),
        ("2020-01-01", ""),
    ]


def test_an_outline_stays_while_its_track_is_unknown():
    inventory = small_inventory()
    states, outlines = inventory.states, inventory.outlines
    hidden = (states["track_id"] == ICE) & (states["survey"] == "2000")
    inventory = replace(
        inventory,
        states=states.assign(status=states["status"].mask(hidden, "unknown")),
        outlines=outlines[outlines["outline_id"] != f"{ICE}@2000"],
    )

    assert spans_of(inventory, ICE) == [("1964-01-01", "2020-01-01"), ("2020-01-01", "")]


def test_of_two_surveys_in_a_year_the_later_is_shown_from_its_day():
    inventory = small_inventory()
    days = {"2000": dt.date(2020, 6, 3)}
    surveys = inventory.surveys
    moved = [days.get(s, d) for s, d in zip(surveys["survey"], surveys["start_date"], strict=True)]
    inventory = changed(inventory, "surveys", start_date=moved)

    assert spans_of(inventory, ICE) == [
        ("1964-01-01", "2020-01-01"),
        ("2020-01-01", "2020-10-12"),
        ("2020-10-12", ""),
    ]


def test_changes_and_events_are_shown_with_the_survey_that_found_them():
    changes = shown(small_inventory(), "changes")
    events = shown(small_inventory(), "events")

    found = dict(zip(changes["survey_to"], changes["shown_from"], strict=True))
    assert found == {"2000": "2000-01-01", "2020": "2020-01-01"}
    assert set(events.loc[events["event"] == "split", "shown_from"]) == {"2020-01-01"}


@pytest.mark.slow
def test_the_file_holds_the_times_and_reading_leaves_them_out(tmp_path):
    path = write(tmp_path / "a.gpkg", no_inventory())

    for layer in ("surveys", "outlines", "lakes", "changes", "events"):
        with closing(sqlite3.connect(path)) as database:
            columns = database.execute(f"PRAGMA table_info({layer})").fetchall()
        assert [row[1:3] for row in columns][-2:] == [
            ("shown_from", "DATE"),
            ("shown_until", "DATE"),
        ]
        assert "shown_from" not in getattr(read_inventory(path), layer)
