import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from command_line import geoseg, geoseg_here
from inventory.drawn_outlines import ids_of, rectangle, rectangles, track, write

from geoseg.errors import GeosegError
from geoseg.inventory import read_inventory
from geoseg.labels import geodesic_areas_km2

MIRROR = Path(os.environ.get("GEOSEG_DATA_MIRROR", "/nowhere"))
LAKES = MIRROR / "hkh_lakes" / "HKHLAKEDB"
SLUMPS = MIRROR / "rts_arts" / "RTS_NESiberia(Runge2022)" / "Chukotka_Coast"
RGI = MIRROR / "everest_landsat7" / "15_rgi60_glacier_outlines.gpkg"
TWO = ((0, 0, 900, 700), (1500, 0, 300, 400))


def lies_in(folder):
    """What is in a folder, hidden or not, with its bytes."""
    return {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.slow
def test_surveys_are_tracked_added_to_and_exported_on_the_command_line(tmp_path):
    layer = 'it\'s "new"'
    write(rectangles(*TWO), tmp_path / "a.gpkg", layer)
    write(rectangles(*TWO[:1], crs="EPSG:4326"), tmp_path / "b.geojson")
    seen = write(rectangles((-500, -500, 5000, 4000)), tmp_path / "seen.gpkg")
    write(rectangles((0, 0, 500, 700), crs="EPSG:3413"), tmp_path / "c.gpkg")
    out = tmp_path / "all.gpkg"
    first = [f"{tmp_path / 'a.gpkg'}::{layer}", tmp_path / "b.geojson"]
    options = ["--gsd", "30", "--seen", f"2003={seen}", "--out", out, "--json"]

    done = geoseg("track", *first, "--dates", "1971-07/1973-09,2003", *options)
    before = ids_of(read_inventory(out))
    three = (*first, tmp_path / "c.gpkg", "--dates", "1971-07/1973-09,2003,2020-08")
    added = geoseg_here("track", *three, *options)
    exported = geoseg_here("export", out, "--survey", "2003", "--out", tmp_path / "rgi.gpkg")

    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["surveys"] == ["1971-07-01/1973-09-30", "2003"]
    assert figures["tracks"] == {"glacier": 2}
    assert figures["events"] == {"vanish": 1}
    assert figures["area_km2"]["glacier"]["2003"] == pytest.approx(0.63, rel=2e-3)
    assert added.returncode == 0, added.stderr
    assert f"Ids of {out} stay as they are" in added.stderr
    after = ids_of(read_inventory(out))
    assert {key: after[key] for key in before} == before
    assert exported.returncode == 0, exported.stderr
    assert len(gpd.read_file(tmp_path / "rgi.gpkg", layer="glaciers")) == 1


@pytest.mark.slow
def test_wrong_use_is_one_sentence_and_leaves_the_inventory_that_there_is(tmp_path):
    path = write(rectangles(*TWO), tmp_path / "a.gpkg")
    track(tmp_path / "all.gpkg", path, dates="2000")
    before = lies_in(tmp_path)

    for code, words, arguments in [
        (2, "--dates names 2 and there are 1 files", [path, "--dates", "2000,2001"]),
        (2, "--divides carries ids over too", ["--reference", path, "--divides", path, path]),
        (1, "none.gpkg does not exist; check", [tmp_path / "none.gpkg", "--dates", "2000"]),
    ]:
        done = geoseg_here("track", *arguments, "--out", tmp_path / "all.gpkg")
        assert done.returncode == code, done.stderr
        assert done.stderr.splitlines()[-1].startswith("Error: ")
        assert words in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr
    assert lies_in(tmp_path) == before


BAD = {
    "no date": ("does not say when its outlines were seen; give --dates", ["a.gpkg"], {}),
    "two of one date": ("b.gpkg are both dated 2000; give each", ["a.gpkg", "b.gpkg"], {}),
    "one of one date more": ("--dates names 3 and there are 2", ["a.gpkg", "b.gpkg"], {}),
    "no such day": ("'2000-02-30' is no date; write 1966", ["a.gpkg"], {"dates": "2000-02-30"}),
    "no vector file": ("cannot be read as a vector file", ["a.txt"], {}),
    "a raster": ("cannot be read as a vector file", ["scene.tif"], {}),
    "no file": ("none.gpkg does not exist; check the path", ["none.gpkg"], {}),
    "points": ("holds no polygon, only Point", ["points.gpkg"], {}),
    "no reference system": ("has no coordinate reference system; set", ["bare.shp"], {}),
    "a place nowhere": ("which is nowhere in WGS 84; set", ["nowhere.gpkg"], {}),
    "no such column": ("no column 'yaer'. Did you mean 'year'?", ["a.gpkg"], {"date_of": "yaer"}),
    "a class that is a column": ("too like one to be", ["a.gpkg"], {"class_of": "years"}),
    "no such layer": ("has no layer 'x'. Known: a.", ["a.gpkg::x"], {}),
    "ground of no survey": (
        "is of no file; write DATE=FILE",
        ["a.gpkg"],
        {"seen": ["1999=a.gpkg"]},
    ),
    "no ground": ("does not exist", ["a.gpkg"], {"seen": ["2000=none.gpkg"]}),
    "a pixel that is none": ("--gsd '-3' is no pixel in metres", ["a.gpkg"], {"gsd_m": "-3"}),
    "a reference without ids": ("has no column of ids", ["a.gpkg"], {"reference": "b.gpkg"}),
    "no reference": ("does not exist", ["a.gpkg"], {"reference": "none.gpkg"}),
    "two inventories": ("are inventories with ids of their own", ["other.gpkg"], {}),
}


@pytest.fixture
def bad(tmp_path, example):
    table = rectangles(*TWO, year=[1990, 1991])
    write(table, tmp_path / "a.gpkg", "a")
    write(table, tmp_path / "b.gpkg")
    (tmp_path / "a.txt").write_text("Khumbu")
    write(table.set_geometry(table.centroid), tmp_path / "points.gpkg")
    write(table, tmp_path / "bare.shp")
    (tmp_path / "bare.prj").unlink()
    write(table.set_crs("EPSG:4326", allow_override=True), tmp_path / "nowhere.gpkg")
    assert example.raster == tmp_path / "scene.tif"
    track(tmp_path / "other.gpkg", tmp_path / "b.gpkg", dates="1950")
    track(tmp_path / "all.gpkg", tmp_path / "a.gpkg", dates="1990")
    return tmp_path


@pytest.mark.slow
def test_each_bad_input_is_one_sentence_and_leaves_all_as_it_was(bad, monkeypatch):
    monkeypatch.chdir(bad)
    before = lies_in(bad)
    dates = {"two of one date": "2000,2000", "one of one date more": "2000,2001,2002"}
    undated = {"no date", "two inventories", "no such column"}

    for name, (words, files, options) in BAD.items():
        given = {"dates": None if name in undated else dates.get(name, "2000"), **options}
        given = {k: Path(v) if k == "reference" else v for k, v in given.items()}
        with pytest.raises(GeosegError) as error:  # noqa: PT012
            track(Path("all.gpkg"), *files, **given)
            pytest.fail(f"{name} is not refused")
        assert words in str(error.value), name
        assert "\n" not in str(error.value), name
        assert error.value.exit_code in {1, 2}, name

    assert lies_in(bad) == before


class TestWhereItIsWritten:
    def test_is_no_file_of_another_kind(self, tmp_path):
        path = write(rectangles(*TWO), tmp_path / "a.gpkg")
        mine = write(rectangles(*TWO), tmp_path / "mine.gpkg")
        before = lies_in(tmp_path)

        with pytest.raises(GeosegError, match=r"mine\.gpkg exists and is no inventory; name anoth"):
            track(mine, path, dates="2000")
        assert lies_in(tmp_path) == before

    def test_is_none_of_the_files(self, tmp_path):
        path = write(rectangles(*TWO), tmp_path / "a.gpkg")
        before = lies_in(tmp_path)

        with pytest.raises(GeosegError, match=r"a\.gpkg is one of the files to track; name anoth"):
            track(path, path, dates="2000")
        assert lies_in(tmp_path) == before

    def test_is_a_geopackage(self, tmp_path):
        path = write(rectangles(*TWO), tmp_path / "a.gpkg")

        with pytest.raises(GeosegError, match=r"all\.shp is no name of a GeoPackage"):
            track(tmp_path / "all.shp", path, dates="2000")

    @pytest.mark.slow
    @pytest.mark.parametrize(("mode", "log"), [("WAL", "-wal"), ("DELETE", "-journal")])
    def test_is_not_open_in_another_program(self, tmp_path, mode, log):
        path, out = write(rectangles(*TWO), tmp_path / "a.gpkg"), tmp_path / "all.gpkg"
        ids = ids_of(track(out, path, dates="2000"))
        with closing(sqlite3.connect(out, isolation_level=None)) as other:
            other.execute(f"PRAGMA journal_mode = {mode}")
            if mode == "DELETE":
                other.execute("BEGIN IMMEDIATE")
            other.execute("UPDATE states SET kind = 'edited'")
            names = set(lies_in(tmp_path))
            assert f"all.gpkg{log}" in names

            with pytest.raises(
                GeosegError, match=rf"all\.gpkg is open in another .* all\.gpkg{log}"
            ):
                track(out, path, dates="2000")

            assert set(lies_in(tmp_path)) == names
            if mode == "DELETE":
                other.execute("COMMIT")
        kept = read_inventory(out)
        assert ids_of(kept) == ids
        assert set(kept.states["kind"]) == {"edited"}


class TestPolarData:
    def test_in_polar_stereographic_coordinates_has_areas_on_the_ellipsoid(self, tmp_path):
        box = gpd.GeoDataFrame(geometry=[shapely.box(-45, 82, -44.8, 82.02)], crs="EPSG:4326")
        dense = box.set_geometry(box.segmentize(0.001))
        path = write(dense.to_crs("EPSG:3413"), tmp_path / "a.gpkg")

        inventory = track(tmp_path / "all.gpkg", path, dates="2000", gsd_m="10")

        assert inventory.outlines.crs == "EPSG:3413"
        truth = geodesic_areas_km2(dense, bend_m=np.inf)
        np.testing.assert_allclose(inventory.outlines["area_km2"], truth, rtol=1e-5)

    def test_on_both_sides_of_the_antimeridian_is_one_track(self, tmp_path):
        cut = shapely.union(
            shapely.box(179.99, 66, 180, 66.01), shapely.box(-180, 66, -179.98, 66.01)
        )
        whole = shapely.box(179.99, 66, 180.02, 66.01)
        tables = [gpd.GeoDataFrame(geometry=[shape], crs="EPSG:4326") for shape in (cut, whole)]
        files = [write(t, tmp_path / f"{i}.gpkg") for i, t in enumerate(tables)]

        inventory = track(tmp_path / "all.gpkg", *files, dates="2000,2010")

        assert len(inventory.tracks) == 1
        assert inventory.tracks["change_pct"].abs().max() < 0.01
        assert inventory.tracks["track_id"][0].startswith(("G180", "G179"))


needs_data = pytest.mark.skipif(
    not MIRROR.is_dir(), reason="needs open data sets in a mirror named by GEOSEG_DATA_MIRROR"
)


@needs_data
@pytest.mark.slow
def test_lakes_of_three_decades_keep_the_ids_that_people_gave_them(tmp_path):
    files = [LAKES / f"HKH_{year}.shp" for year in (2000, 2010, 2020)]

    inventory = track(
        tmp_path / "all.gpkg", *files, dates="2000,2010,2020", class_of="lake", gsd_m="30"
    )

    assert inventory.surveys["outlines"].tolist() == [1485, 1538, 1597]
    assert inventory.surveys["duplicates"].tolist() == [0, 2, 0]
    assert set(inventory.outlines["kind"]) == {"lake"}
    # Of 1455 ids of 2000 that are known in 2010 too, 1440 are of outlines that lie on each other;
    # a few of them grew together with a neighbour.
    present = inventory.states.pivot_table(
        index="track_id", columns="survey", values="status", aggfunc="first"
    ).eq("present")
    assert 1415 <= (present["2000"] & present["2010"]).sum() <= 1445
    area = inventory.outlines.groupby("survey")["area_km2"].sum()
    np.testing.assert_allclose(area, [192.1, 218.05, 234.8], atol=0.1)


@pytest.mark.slow
@needs_data
def test_thaw_slumps_of_one_coast_are_tracked_through_seven_images(tmp_path):
    files = sorted(SLUMPS.glob("*.shp"))
    dates = ",".join(file.name.split("_")[1] for file in files)

    inventory = track(tmp_path / "all.gpkg", *files, dates=dates, class_of="thaw_slump", gsd_m="5")

    assert inventory.surveys["outlines"].tolist() == [50, 70, 60, 58, 52, 62, 41]
    assert inventory.outlines.crs.to_epsg() == 32602
    assert inventory.tracks["track_id"].str.startswith("RTS187").all()
    # Many are drawn in several images, which tracks of their own for each would not show.
    assert (inventory.tracks["n_present"] >= 5).sum() >= 30


@needs_data
@pytest.mark.slow
def test_glaciers_of_everest_are_known_by_their_rgi_ids(tmp_path):
    rgi = gpd.read_file(RGI)
    ice = rgi.to_crs("EPSG:32645").union_all()
    parts = gpd.GeoDataFrame(geometry=[ice], crs="EPSG:32645").explode()
    shrunk = rgi.to_crs("EPSG:32645").buffer(-30)
    shrunk = gpd.GeoDataFrame(geometry=shrunk[~shrunk.is_empty].reset_index(drop=True))
    files = write(parts, tmp_path / "a.gpkg"), write(shrunk, tmp_path / "b.gpkg")

    divided = track(
        tmp_path / "1.gpkg", *files, dates="2000,2015", class_of="clean_ice", divides=RGI
    )
    carried = track(tmp_path / "2.gpkg", files[1], dates="2015", reference=RGI)

    assert set(divided.tracks["ref_id"].dropna()) == set(rgi["RGIId"])
    assert set(carried.tracks["track_id"]) <= set(rgi["RGIId"])
    of_2000 = divided.outlines[divided.outlines["survey"] == "2000"]
    # The ice is all there, and each glacier is as large as RGI says, to a fiftieth of all ice.
    assert of_2000["area_km2"].sum() == pytest.approx(365.7, abs=0.1)
    both = of_2000.merge(rgi[["RGIId", "Area"]], left_on="track_id", right_on="RGIId")
    assert len(both) == len(rgi)


@pytest.mark.slow
def test_a_film_that_saw_a_part_leaves_the_rest_unknown(tmp_path):
    satellite = write(rectangles(*TWO), tmp_path / "a.gpkg")
    film = write(rectangles(TWO[0]), tmp_path / "b.gpkg")
    seen = write(rectangles((-100, -100, 1100, 900), crs="EPSG:3413"), tmp_path / "seen.gpkg")

    inventory = track(
        tmp_path / "all.gpkg", satellite, film, dates="2000,1965-08", seen=[f"1965-08={seen}"]
    )

    assert inventory.states["status"].tolist() == ["present", "present", "unknown", "present"]
    assert len(inventory.events) == 0
    ground = inventory.surveys.set_index("survey").geometry["1965-08"]
    assert ground.symmetric_difference(rectangle(-100, -100, 1100, 900)).area < 100
