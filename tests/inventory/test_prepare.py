import geopandas as gpd
import numpy as np
import pyproj
import pytest
import shapely
from inventory.drawn_outlines import CRS, ORIGIN, rectangle, rectangles

from geoseg.dates import parse_interval
from geoseg.errors import ConfigError, GridError
from geoseg.inventory.surveys.prepare import (
    common_crs,
    prepare_survey,
    presumed_ground,
    require_apart,
)
from geoseg.inventory.surveys.sources import Drawn
from geoseg.labels import geodesic_areas_km2

# As GDAL's older drivers and other programs write it.
CUSTOM = (
    'PROJCS["mine",GEOGCS["WGS84",DATUM["D_WGS_1984",SPHEROID["WGS_1984",6378137,298.257223563]],'
    'PRIMEM["Greenwich",0],UNIT["Degree",0.0174532925199433]],PROJECTION["Albers"],'
    'PARAMETER["False_Easting",0],PARAMETER["False_Northing",0],PARAMETER["central_meridian",95],'
    'PARAMETER["Standard_Parallel_1",15],PARAMETER["Standard_Parallel_2",65],'
    'PARAMETER["latitude_of_origin",30],UNIT["Meter",1]]'
)
TWO = ((0, 0, 300, 200), (900, 0, 100, 500))


def drawn(table, when="2000", **extra):
    """As `read_drawn` reads them."""
    table = table.assign(kind="glacier", glac_name=None) if "kind" not in table.columns else table
    if "class_name" not in table.columns:
        table = table.assign(class_name=table["kind"])
    return Drawn(
        source="a.gpkg", when=parse_interval(when), outlines=table, **{"seen": None, **extra}
    )


def in_degrees(*boxes):
    return gpd.GeoDataFrame(geometry=[shapely.box(*box) for box in boxes], crs="EPSG:4326")


class TestCommonCrs:
    @pytest.mark.parametrize("crs", ["EPSG:32645", "EPSG:3413", CUSTOM])
    def test_is_theirs_where_all_have_one_in_metres(self, crs):
        far = in_degrees((86, 70, 86.1, 70.1)) if crs == "EPSG:3413" else rectangles(*TWO)
        table = far.to_crs(crs)

        assert common_crs([drawn(table), drawn(table)]) == pyproj.CRS(crs)

    def test_is_the_zone_of_utm_that_holds_all_of_them(self):
        tables = [rectangles(*TWO, crs=c) for c in ("EPSG:4326", "EPSG:3413", CUSTOM, "EPSG:32644")]

        assert common_crs([drawn(table) for table in tables]).to_epsg() == 32645

    def test_is_that_of_the_south_there(self):
        assert common_crs([drawn(in_degrees((-70.1, -50.2, -70, -50)))]).to_epsg() == 32719

    @pytest.mark.parametrize("crs", ["EPSG:2264", "EPSG:3857"])
    def test_is_not_theirs_where_a_metre_of_it_is_none(self, crs):
        # Feet; and Web Mercator, of which a metre is half of one at 60 degrees north.
        table = in_degrees((-147.1, 60, -147, 60.1)).to_crs(crs)

        assert common_crs([drawn(table)]).to_epsg() == 32606

    def test_is_one_of_equal_area_where_no_zone_holds_them(self):
        chosen = common_crs([drawn(in_degrees((70, 36, 70.1, 36.1), (95, 28, 95.1, 28.2)))])

        assert "Azimuthal Equal Area" in chosen.coordinate_operation.method_name

    @pytest.mark.parametrize(
        "shape",
        [
            shapely.box(179.9, 66, 180.2, 66.1),
            shapely.box(-180.1, 66, -179.8, 66.1),
            shapely.union(shapely.box(179.9, 66, 180, 66.1), shapely.box(-180, 66, -179.8, 66.1)),
            shapely.Polygon([(179.9, 66), (-179.8, 66), (-179.8, 66.1), (179.9, 66.1)]),
        ],
    )
    def test_lies_at_the_antimeridian_however_that_was_drawn(self, shape):
        table = gpd.GeoDataFrame(geometry=[shape], crs="EPSG:4326")
        truth = geodesic_areas_km2(in_degrees((179.9, 66, 180.2, 66.1)), bend_m=np.inf)

        crs = common_crs([drawn(table)])
        survey = prepare_survey(drawn(table), crs=crs).survey

        assert crs.to_epsg() in {32601, 32660}
        assert len(survey.outlines) == 1
        found = geodesic_areas_km2(survey.outlines, bend_m=1000)
        # A side of three tenths of a degree along a parallel is bent otherwise.
        np.testing.assert_allclose(found, truth, rtol=2e-3)

    def test_of_what_lies_on_both_sides_of_the_antimeridian_is_one_of_there(self):
        west, east = in_degrees((179.5, 66, 179.9, 66.1)), in_degrees((-179.9, 66, -179, 66.1))

        assert common_crs([drawn(west), drawn(east.to_crs("EPSG:3413"))]).to_epsg() in {
            32601,
            32660,
        }

    def test_of_no_outlines_is_theirs_in_metres_or_one_of_the_earth(self):
        assert common_crs([drawn(rectangles())]).to_epsg() == 32645
        assert common_crs([drawn(in_degrees())]).is_projected

    def test_is_that_of_the_outlines_where_the_first_survey_has_none(self):
        assert common_crs([drawn(in_degrees()), drawn(rectangles(*TWO))]).to_epsg() == 32645

    def test_of_what_lies_nowhere_is_refused_with_where_and_what_to_do(self):
        wrong = rectangles(*TWO).set_crs("EPSG:4326", allow_override=True)

        with pytest.raises(
            GridError, match=r"a\.gpkg has an outline at 500300, 3100000, which is n"
        ):
            common_crs([drawn(wrong)])
        with pytest.raises(GridError, match=r"nowhere in WGS 84; set its true reference system"):
            prepare_survey(drawn(wrong), crs=pyproj.CRS(CRS))

    def test_of_what_lies_all_around_the_earth_is_refused(self):
        with pytest.raises(GridError, match="all around the Earth"):
            common_crs([drawn(in_degrees((0, 0, 1, 1), (180, -1, 181, 0)))])


def test_an_outline_without_a_place_in_the_reference_system_of_all_is_refused_by_row():
    with pytest.raises(
        GridError, match=r"Row 2 of a\.gpkg has no place in .*; leave out what is f"
    ):
        prepare_survey(
            drawn(in_degrees((86, 28, 86.1, 28.1), (-94, -28.1, -93.9, -28))),
            crs=pyproj.CRS("+proj=gnom +lat_0=28 +lon_0=86 +datum=WGS84"),
        )


def test_areas_are_the_same_whatever_system_outlines_are_drawn_in():
    truth = geodesic_areas_km2(rectangles(*TWO), bend_m=1000)

    for crs in ("EPSG:4326", "EPSG:3413", "EPSG:3857", CUSTOM):
        table = drawn(rectangles(*TWO, crs=crs))
        survey = prepare_survey(table, crs=common_crs([table])).survey
        np.testing.assert_allclose(
            geodesic_areas_km2(survey.outlines, bend_m=1000), truth, rtol=1e-4
        )


class TestPreparedSurvey:
    def prepared(self, table, **extra):
        return prepare_survey(drawn(table, **extra), crs=pyproj.CRS(CRS))

    def test_is_called_by_its_date(self):
        assert self.prepared(rectangles(*TWO), when="1971-07/1973-09").survey.name == (
            "1971-07-01/1973-09-30"
        )

    def test_joins_ice_of_several_classes_and_keeps_its_share_of_debris(self):
        table = rectangles(
            (0, 0, 600, 500),
            (600, 0, 200, 500),
            (5000, 0, 10, 20),
            kind=["glacier", "glacier", "lake"],
            class_name=["clean_ice", "debris_ice", "lake"],
            glac_name=[None] * 3,
        )

        outlines = self.prepared(table).survey.outlines

        assert outlines["class_name"].tolist() == ["glacier", "lake"]
        assert outlines["debris_share"][0] == pytest.approx(0.25)
        assert outlines.area[0] == pytest.approx(400_000)

    def test_keeps_whole_glaciers_apart_that_touch(self):
        whole = rectangles((0, 0, 600, 500), (600, 0, 200, 500))
        ice = whole.assign(kind="glacier", class_name="clean_ice", glac_name=None)

        assert len(self.prepared(whole).survey.outlines) == 2
        assert len(self.prepared(ice).survey.outlines) == 1
        # An inventory says that it holds whole ones, though a class of ice be their name.
        assert len(self.prepared(ice, whole=True).survey.outlines) == 2

    def test_counts_and_names_what_was_mended(self):
        x, y = ORIGIN
        bow_tie = shapely.Polygon([(x, y), (x + 200, y + 100), (x + 200, y), (x, y + 100)])
        shapes = [bow_tie, rectangle(900, 0, 20, 30), rectangle(900, 0, 20, 30), None,
                  rectangle(915, 0, 20, 30)]  # fmt: skip
        table = gpd.GeoDataFrame(
            {"kind": "glacier", "glac_name": [None, "Khumbu", None, None, None]},
            geometry=shapes,
            crs=CRS,
        )

        prepared = self.prepared(table, repaired=10, duplicates=20, overlaps=30)

        assert (prepared.repaired, prepared.duplicates, prepared.overlaps) == (11, 21, 31)
        said = "\n".join(prepared.remarks)
        assert "a.gpkg: not valid, and repaired (1): row 1: Self-intersection[" in said
        assert "there twice, and counted once (1): row 3 is row 2 (Khumbu) again." in said
        assert "the larger cut by the smaller (1): row 5 by row 2 (Khumbu)." in said
        assert "without a polygon that has an area, and left out (1): row 4." in said

    def test_names_a_few_of_many_and_counts_the_rest(self):
        remarks = self.prepared(rectangles(*[(0, 0, 20, 30)] * 9)).remarks

        assert len(remarks) == 1
        assert remarks[0].endswith("row 6 is row 1 again, and 3 more.")

    def test_without_outlines_says_so_and_saw_no_ground(self):
        prepared = self.prepared(rectangles())

        assert prepared.remarks == ("a.gpkg: no outline in it.",)
        assert prepared.survey.seen.is_empty

    def test_saw_the_ground_that_the_file_says(self):
        seen = rectangles((0, 0, 300, 100), (200, 0, 300, 100), crs="EPSG:4326").geometry

        assert self.prepared(rectangles(*TWO), seen=seen).survey.seen.area == pytest.approx(
            50_000, rel=1e-4
        )

    @pytest.mark.parametrize("seen", [[], [shapely.Polygon()]])
    def test_saw_nothing_where_the_file_says_so(self, seen):
        ground = gpd.GeoSeries(seen, crs="EPSG:4326")

        assert self.prepared(rectangles(*TWO), seen=ground).survey.seen.is_empty

    def test_saw_the_whole_of_a_scene_that_bends_between_its_corners(self):
        # A scene of the north on polar stereographic coordinates, its corners only.
        scene = gpd.GeoSeries([shapely.box(-2e6, -2e6, 2e6, -1e6)], crs="EPSG:3413")
        middle = shapely.Point(0, -1.01e6)
        local = pyproj.CRS("+proj=laea +lat_0=78 +lon_0=-45 +datum=WGS84")

        survey = prepare_survey(
            drawn(in_degrees((-46, 79, -45, 79.1)), seen=scene), crs=local
        ).survey

        placed = gpd.GeoSeries([middle], crs="EPSG:3413").to_crs(local)[0]
        assert survey.seen.contains(placed)


class TestPresumedGround:
    def test_is_between_outlines_and_as_far_around_as_neighbours_lie_apart(self):
        shapes = rectangles((0, 0, 100, 200), (1000, 0, 100, 200), (2000, 0, 100, 200)).geometry

        ground = presumed_ground(shapes.to_numpy())

        assert ground.covers(rectangle(0, 0, 2100, 200))
        assert ground.covers(rectangle(500, -990, 10, 1))
        assert not ground.intersects(rectangle(500, -1010, 10, 1))

    def test_of_one_outline_is_its_own_box(self):
        assert presumed_ground(rectangles((0, 0, 10, 30)).geometry.to_numpy()).area == (
            pytest.approx(300)
        )

    def test_of_outlines_upon_each_other_is_their_box(self):
        shapes = rectangles((0, 0, 10, 30), (0, 0, 10, 30)).geometry.to_numpy()

        assert presumed_ground(shapes).area == pytest.approx(300)

    def test_of_none_is_none(self):
        assert presumed_ground(np.empty(0, dtype=object)).is_empty


def test_surveys_of_one_date_are_refused_with_both_names():
    surveys = [
        prepare_survey(drawn(rectangles(*TWO), when), crs=pyproj.CRS(CRS)).survey
        for when in ("2000-02", "2000", "2000-02")
    ]

    require_apart(surveys[:2])
    with pytest.raises(ConfigError, match=r"a\.gpkg and a\.gpkg are both dated 2000-02; give each"):
        require_apart(surveys)
