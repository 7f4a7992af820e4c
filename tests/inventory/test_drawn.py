import datetime as dt
import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
from inventory.drawn_outlines import rectangle, rectangles, write

from geoseg.dates import parse_interval
from geoseg.errors import ConfigError, GridError, LabelError
from geoseg.inventory.surveys.sources import read_drawn, read_ground, read_reference

TWO = ((0, 0, 300, 200), (900, 0, 100, 500))
YEAR = parse_interval("1998")


def test_outlines_are_read_in_their_own_reference_system(tmp_path):
    path = write(rectangles(*TWO, crs="EPSG:3413"), tmp_path / "a.gpkg")

    drawn = read_drawn(path, when=YEAR)

    assert drawn.outlines.crs == "EPSG:3413"
    assert drawn.source == "a.gpkg"
    assert (drawn.when, drawn.seen, drawn.gsd_m) == (YEAR, None, None)
    assert drawn.outlines["start_date"].tolist() == [dt.date(1998, 1, 1)] * 2
    assert drawn.outlines["end_date"].tolist() == [dt.date(1999, 1, 1)] * 2


def test_heights_of_corners_are_left_behind(tmp_path):
    table = rectangles(*TWO)
    table = table.set_geometry(shapely.force_3d(table.geometry.to_numpy(), 4000.0), crs=table.crs)

    drawn = read_drawn(write(table, tmp_path / "a.gpkg"), when=YEAR)

    assert not drawn.outlines.has_z.any()


@pytest.mark.parametrize("column", ["glac_name", "Name", "GLACNAME"])
def test_names_are_found_in_the_columns_of_any_inventory(tmp_path, column):
    path = write(rectangles(*TWO, **{column: ["  Khumbu ", ""]}), tmp_path / "a.gpkg")

    names = read_drawn(path, when=YEAR).outlines["glac_name"]

    assert names[0] == "Khumbu"
    assert pd.isna(names[1])


class TestClasses:
    def classes(self, folder, class_of=None, **columns):
        path = write(rectangles(*TWO, **columns), folder / "a.gpkg")
        outlines = read_drawn(path, when=YEAR, class_of=class_of).outlines
        return list(zip(outlines["class_name"], outlines["kind"], strict=True))

    def test_are_glaciers_where_nothing_says_else(self, tmp_path):
        assert self.classes(tmp_path) == [("glacier", "glacier")] * 2

    def test_are_read_from_the_column_class_name(self, tmp_path):
        found = self.classes(tmp_path, class_name=["debris_ice", "proglacial_lake"])

        assert found == [("debris_ice", "glacier"), ("proglacial_lake", "lake")]

    def test_are_read_from_another_column_and_glacier_where_it_says_nothing(self, tmp_path):
        found = self.classes(tmp_path, "Cover", Cover=["lake", None], class_name=["x", "y"])

        assert found == [("lake", "lake"), ("glacier", "glacier")]

    def test_may_be_one_for_all(self, tmp_path):
        assert self.classes(tmp_path, "thaw_slump") == [("thaw_slump", "thaw_slump")] * 2
        assert self.classes(tmp_path, "moraine") == [("moraine", "moraine")] * 2
        # A known class is one, though a column is called much like it.
        assert self.classes(tmp_path, "glacier", glaciers=[1, 2])[0] == ("glacier", "glacier")

    @pytest.mark.parametrize("wrong", ["Covr", "covr", "cover "])
    def test_that_are_a_misspelt_column_are_refused_with_the_column(self, tmp_path, wrong):
        with pytest.raises(ConfigError, match=f"'{wrong}' is no column of a.gpkg.*mean 'cover'"):
            self.classes(tmp_path, wrong, cover=["lake", "lake"])


class TestDays:
    def read(self, folder, date_of=None, when=None, **columns):
        path = write(rectangles(*TWO, **columns), folder / "a.gpkg")
        drawn = read_drawn(path, when=when, date_of=date_of)
        outlines = drawn.outlines
        days = zip(outlines["start_date"].map(str), outlines["end_date"].map(str), strict=True)
        return str(drawn.when), list(days)

    def test_are_those_of_a_column_and_the_survey_holds_them_all(self, tmp_path):
        found = self.read(tmp_path, "BgnDate", BgnDate=["20001030", "20020105"])

        assert found == (
            "2000-10-30/2002-01-05",
            [("2000-10-30", "2000-10-31"), ("2002-01-05", "2002-01-06")],
        )

    def test_that_are_not_known_are_those_of_all_that_are(self, tmp_path):
        name, days = self.read(tmp_path, "day", day=[None, "1966-08-12"])

        assert name == "1966-08-12"
        assert days == [("1966-08-12", "1966-08-13")] * 2

    def test_of_geosegs_own_files_are_half_open(self, tmp_path):
        starts, ends = [dt.date(1899, 7, 1), None], [dt.date(1899, 9, 1), dt.date(1900, 1, 1)]

        found = self.read(tmp_path, start_date=starts, end_date=ends)

        assert found == (
            "1899-07-01/1899-12-31",
            [("1899-07-01", "1899-09-01"), ("1899-07-01", "1900-01-01")],
        )

    def test_may_be_texts_and_may_count_the_last_day_in(self, tmp_path):
        found = self.read(tmp_path, start_date=["1966-08-12"] * 2, end_date=["1966-08-12"] * 2)

        assert found == ("1966-08-12", [("1966-08-12", "1966-08-13")] * 2)

    def test_of_the_user_come_before_those_of_the_file(self, tmp_path):
        own = {"start_date": [dt.date(2001, 1, 1)] * 2, "end_date": [dt.date(2001, 1, 9)] * 2}

        assert self.read(tmp_path, when=YEAR, **own)[0] == "1998"

    def test_that_no_one_gives_are_asked_for(self, tmp_path):
        with pytest.raises(ConfigError, match=r"a\.gpkg does not say when .*; give --dates, one"):
            self.read(tmp_path, start_date=["2000-01-01"] * 2)

    def test_in_a_column_that_is_not_there_name_the_nearest(self, tmp_path):
        with pytest.raises(ConfigError, match=r"no column 'BgnDat'\. Did you mean 'BgnDate'\?"):
            self.read(tmp_path, "BgnDat", BgnDate=["20001030"] * 2)

    def test_that_are_none_are_refused(self, tmp_path):
        with pytest.raises(LabelError, match=r"Column 'day' of a\.gpkg holds no date \(its first"):
            self.read(tmp_path, "day", day=["summer", "autumn"])


class TestEmptyFile:
    def test_with_a_date_is_a_survey_that_found_nothing(self, tmp_path):
        path = write(rectangles(day=[]), tmp_path / "a.gpkg")

        for drawn in (read_drawn(path, when=YEAR), read_drawn(path, when=YEAR, date_of="day")):
            assert len(drawn.outlines) == 0
            assert {"kind", "class_name", "glac_name", "start_date"} < set(drawn.outlines.columns)

    def test_without_a_date_is_refused(self, tmp_path):
        path = write(rectangles(day=[]), tmp_path / "a.gpkg")

        with pytest.raises(ConfigError, match=r"a\.gpkg is empty and does not say of when; give"):
            read_drawn(path, date_of="day")

    def test_may_be_a_geojson_that_does_not_say_of_what(self, tmp_path):
        path = tmp_path / "a.geojson"
        path.write_text(json.dumps({"type": "FeatureCollection", "features": []}))

        assert len(read_drawn(path, when=YEAR).outlines) == 0


class TestLayers:
    def test_of_any_name_are_read(self, tmp_path):
        path = tmp_path / "a.gpkg"
        for number, layer in enumerate(["it's", 'the "new" one', "a::b", "Übersicht"], start=1):
            write(rectangles(*TWO * number), path, layer)
            assert len(read_drawn(path, layer=layer, when=YEAR).outlines) == 2 * number
        assert read_drawn(path, layer="it's", when=YEAR).source == "a.gpkg::it's"

    def test_that_are_several_are_asked_for_by_name(self, tmp_path):
        for layer in ("it's", "other"):
            path = write(rectangles(*TWO), tmp_path / "a.gpkg", layer)

        with pytest.raises(LabelError, match=r"several layers \(it's, other\); name one as a\.gp"):
            read_drawn(path, when=YEAR)
        with pytest.raises(LabelError, match=r"has no layer 'othr'\. Did you mean 'other'\?"):
            read_drawn(path, layer="othr", when=YEAR)

    def test_of_geosegs_own_files_are_known(self, tmp_path):
        path = write(rectangles(*TWO, gsd_m=[10.0, 30.0]), tmp_path / "a.gpkg", "outlines")
        write(rectangles((0, 0, 400, 300)), path, "seen")
        write(rectangles((5, 5, 1, 1)), path, "other")

        drawn = read_drawn(path, when=YEAR)

        assert len(drawn.outlines) == 2
        assert drawn.seen.area.sum() == pytest.approx(120_000)
        assert drawn.gsd_m == 30


class TestRefusal:
    def test_of_what_is_not_there(self, tmp_path):
        with pytest.raises(LabelError, match=r"a\.gpkg does not exist; check the path"):
            read_drawn(tmp_path / "a.gpkg", when=YEAR)

    @pytest.mark.parametrize("name", ["a.txt", "a.gpkg", "a.shp", "a.geojson"])
    @pytest.mark.parametrize("content", [b"", b"no outlines", b"\x89PNG\r\n"])
    def test_of_what_is_no_vector_file(self, tmp_path, name, content):
        path = tmp_path / name
        path.write_bytes(content)

        with pytest.raises(LabelError, match=r"cannot be read as a vector file \(.*\); give a Geo"):
            read_drawn(path, when=YEAR)

    def test_of_a_raster(self, example):
        with pytest.raises(LabelError, match=r"scene\.tif cannot be read as a vector file"):
            read_drawn(example.raster, when=YEAR)

    def test_of_a_table_without_geometry(self, tmp_path):
        table = pd.DataFrame({"name": ["Khumbu"], "area": [19]})
        pyogrio.write_dataframe(table, tmp_path / "a.gpkg", driver="GPKG")

        with pytest.raises(LabelError, match=r"a\.gpkg holds no layer of polygons"):
            read_drawn(tmp_path / "a.gpkg", when=YEAR)

    @pytest.mark.parametrize("name", ["a.gpkg", "a.geojson", "a.shp"])
    def test_of_points_and_lines(self, tmp_path, name):
        table = rectangles(*TWO, crs="EPSG:4326")
        points, lines = (
            table.set_geometry(g) for g in (table.representative_point(), table.boundary)
        )

        with pytest.raises(LabelError, match=r"holds no polygon, only Point; give outlines"):
            read_drawn(write(points, tmp_path / name), when=YEAR)
        with pytest.raises(LabelError, match=r"holds no polygon, only LineString; give outlines"):
            read_drawn(write(lines, tmp_path / f"lines_{name}"), when=YEAR)

    def test_of_a_file_without_a_reference_system(self, tmp_path):
        path = write(rectangles(*TWO), tmp_path / "a.shp")
        (tmp_path / "a.prj").unlink()

        for read in (lambda: read_drawn(path, when=YEAR), lambda: read_ground(path)):
            with pytest.raises(GridError, match=r"a\.shp has no coordinate reference system; set"):
                read()

    def test_of_a_file_that_was_cut_short(self, tmp_path):
        many = rectangles(*[(i, 0, 1, 1) for i in range(5000)])
        path = write(many, tmp_path / "a.gpkg")
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

        with pytest.raises(LabelError, match=r"a\.gpkg cannot be read as a vector file"):
            read_drawn(path, when=YEAR)


def test_what_other_programs_write_into_columns_of_ours_does_no_harm(tmp_path):
    columns = {
        "probability": ["high", "0.5"],
        "gsd_m": ["thirty", "ten"],
        "p_ice": ["a", None],
        "sensor": [7, 8],
    }
    drawn = read_drawn(write(rectangles(*TWO, **columns), tmp_path / "a.gpkg"), when=YEAR)

    np.testing.assert_equal(drawn.outlines["probability"].to_numpy(), [np.nan, 0.5])
    assert drawn.outlines["p_ice"].isna().all()
    assert drawn.outlines["sensor"].tolist() == ["7", "8"]
    assert drawn.gsd_m is None


class TestReference:
    @pytest.mark.parametrize("column", ["RGIId", "rgi_id", "GLIMS_ID", "glac_id"])
    def test_ids_are_found_in_the_columns_of_rgi_and_glims(self, tmp_path, column):
        table = rectangles(
            *TWO, (0, 900, 9, 9), **{column: ["A", "B", None], "Name": ["x", "", ""]}
        )

        reference = read_reference(write(table, tmp_path / "r.gpkg"), table.crs)

        assert reference["ref_id"].tolist() == ["A", "B"]
        assert reference["glac_name"][0] == "x"
        assert reference["kind"].tolist() == ["glacier", "glacier"]

    def test_outlines_are_mended_and_brought_into_the_reference_system_of_the_surveys(
        self, tmp_path
    ):
        x, y = 500_000, 3_100_000
        bow_tie = shapely.Polygon([(x, y), (x + 200, y + 100), (x + 200, y), (x, y + 100)])
        table = gpd.GeoDataFrame(
            {"rgi_id": ["A", "B"]}, geometry=[rectangle(0, 900, 30, 20), bow_tie], crs="EPSG:32645"
        )
        path = write(table.to_crs("EPSG:4326"), tmp_path / "r.gpkg")

        reference = read_reference(path, table.crs)

        assert reference.crs == table.crs
        np.testing.assert_allclose(reference.area, [600, 10_000], rtol=1e-5)

    def test_a_file_without_ids_is_refused_with_the_columns_that_it_has(self, tmp_path):
        path = write(rectangles(*TWO, Area=[1, 2]), tmp_path / "r.gpkg")

        with pytest.raises(LabelError, match=r"no column of ids \(rgi_id, .*\), only Area; give"):
            read_reference(path, pyogrio.read_info(path)["crs"])
