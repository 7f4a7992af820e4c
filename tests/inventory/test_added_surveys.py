"""What becomes of an inventory when surveys are added to it, and what a survey does not say."""

import datetime as dt

import geopandas as gpd
import pytest
import shapely

from geoseg.errors import ConfigError
from geoseg.inventory import Interval, read_inventory
from geoseg.inventory.surveys.sources import read_drawn
from geoseg.inventory.surveys.survey import Survey
from geoseg.inventory.tracking.linking import link_surveys

from inventory.drawn_outlines import rectangles, track, write  # isort: skip

CRS = "EPSG:32645"
TWO = ((0, 0, 900, 600), (3000, 0, 3800, 700))


def survey_of(year, polygons, *, seen=None, presumed=False, kinds=None):
    kinds = kinds or ["glacier"] * len(polygons)
    return Survey(
        name=str(year),
        start=dt.datetime(year, 8, 1, tzinfo=dt.UTC),
        end=dt.datetime(year, 8, 2, tzinfo=dt.UTC),
        outlines=gpd.GeoDataFrame(
            {"kind": kinds, "class_name": kinds, "glac_name": None}, geometry=polygons, crs=CRS
        ),
        seen=seen,
        presumed=presumed,
        source=f"{year}.gpkg",
    )


@pytest.mark.slow
def test_an_inventory_is_not_replaced_by_one_that_lacks_a_survey_of_it(tmp_path):
    out = tmp_path / "all.gpkg"
    old, new = (write(rectangles(*TWO), tmp_path / name) for name in ("old.gpkg", "new.gpkg"))
    track(out, old, dates="1998", title="Mine", licence="CC0")
    before = out.read_bytes()

    with pytest.raises(ConfigError, match="The survey 1998 of the earlier inventory would be"):
        track(out, new, dates="2020")
    assert out.read_bytes() == before

    both = track(out, out, new, dates="2020")
    assert both.surveys["survey"].tolist() == ["1998", "2020"]
    assert (both.title, both.licence) == ("Mine", "CC0")


@pytest.mark.slow
def test_a_date_that_is_told_more_closely_changes_no_id(tmp_path):
    out, path = tmp_path / "all.gpkg", write(rectangles(*TWO), tmp_path / "a.gpkg")
    first = track(out, path, dates="1966")

    again = track(out, path, dates="1966-08")

    assert again.surveys["survey"].tolist() == ["1966-08"]
    assert set(again.tracks["track_id"]) == set(first.tracks["track_id"])
    assert set(read_inventory(out).tracks["track_id"]) == set(again.tracks["track_id"])


def test_a_file_of_lakes_says_nothing_of_glaciers():
    ice, water = shapely.box(0, 0, 900, 900), shapely.box(1500, 0, 1700, 200)
    surveys = [
        survey_of(1998, [ice], presumed=True),
        survey_of(2005, [water], presumed=True, kinds=["lake"]),
        survey_of(2015, [ice], presumed=True),
    ]

    tracks = link_surveys(surveys, earlier=None, reference=None)

    assert tracks.events == []
    states = dict(zip(tracks.kinds, tracks.states.tolist(), strict=True))
    assert states == {"glacier": [1, -1, 1], "lake": [-1, 1, -1]}


def test_what_other_dates_filled_in_under_a_cloud_is_unknown():
    there, gone = shapely.box(0, 0, 900, 900), shapely.box(5000, 0, 5900, 900)
    ground = shapely.box(-1000, -1000, 9000, 3000)
    surveys = [
        survey_of(2000, [there], seen=ground),
        survey_of(2010, [there, gone], seen=ground.difference(shapely.box(-9, -9, 6000, 1000))),
        survey_of(2020, [there], seen=ground),
    ]

    tracks = link_surveys(surveys, earlier=None, reference=None)

    assert tracks.states.tolist() == [[1, -1, 1], [0, -1, 0]]
    assert [event.name for event in tracks.events] in ([], ["vanish"])


def test_a_moment_ends_on_the_day_after(tmp_path):
    moment = dt.datetime(2020, 8, 15, 5, 30, tzinfo=dt.UTC)
    when = Interval(moment, moment + dt.timedelta(microseconds=1))

    drawn = read_drawn(write(rectangles(*TWO), tmp_path / "a.gpkg"), when=when)

    assert set(drawn.outlines["start_date"]) == {dt.date(2020, 8, 15)}
    assert set(drawn.outlines["end_date"]) == {dt.date(2020, 8, 16)}


def test_rock_of_glims_is_a_hole_and_its_lakes_are_lakes(tmp_path):
    table = gpd.GeoDataFrame(
        {"line_type": ["glac_bound", "intrnl_rock", "pro_lake", "snowline"]},
        geometry=[shapely.box(*box) for box in ((0, 0, 900, 900), (300, 300, 500, 500),
                                                (900, 0, 1200, 200), (0, 0, 50, 50))],
        crs=CRS,
    )  # fmt: skip
    path = write(table, tmp_path / "glims.gpkg")

    drawn = read_drawn(path, when=Interval.of_days(dt.date(2000, 1, 1), dt.date(2001, 1, 1)))

    assert drawn.outlines["kind"].tolist() == ["glacier", "lake"]
    assert drawn.outlines.area.tolist() == [900**2 - 200**2, 300 * 200]


def test_a_column_that_one_file_lacks_is_no_class(tmp_path):
    one = write(rectangles(*TWO).assign(sort="lake"), tmp_path / "one.gpkg")
    other = write(rectangles(*TWO), tmp_path / "other.gpkg")

    with pytest.raises(ConfigError, match=r"other\.gpkg has no column 'sort', by which"):
        track(tmp_path / "all.gpkg", one, other, dates="2000,2010", class_of="sort")
