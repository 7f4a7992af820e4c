import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
from command_line import geoseg_here
from conftest import scene_of, write_raster
from odc.geo.geom import Geometry
from typer.testing import CliRunner

from geoseg.cli import app
from geoseg.dates import parse_interval
from geoseg.errors import ConfigError, GridError, SceneError
from geoseg.scenes import (
    Asset,
    CatalogEntry,
    Query,
    Scene,
    area_of_bbox,
    open_scene,
    read_catalog,
    scan_scene,
    search_catalog,
    summarise,
    write_catalog,
)
from geoseg.scenes.area import read_area


def entry(name, box, *, dates="2000", sensor="landsat-7", cloud=None, outline=None):
    start, end = parse_interval(dates)
    scene = Scene(
        id=name,
        sensor_id=sensor,
        start=start,
        end=end,
        bands={"pan" if sensor == "corona-kh4b" else "red": Asset(path=Path("a.tif"))},
        cloud_percent=cloud,
    )
    return CatalogEntry(scene=scene, footprint=Geometry(outline or shapely.box(*box), "EPSG:4326"))


@pytest.fixture(params=[16_384, 2])
def catalog(tmp_path, monkeypatch, request):
    """A table of few rows, in one group and in several."""
    monkeypatch.setattr("geoseg.scenes.catalog_rows._GROUP", request.param)
    monkeypatch.setattr("geoseg.scenes.catalog_rows.ROWS_AT_ONCE", 1)
    path = tmp_path / "all.parquet"
    fiji = shapely.MultiPolygon(
        [shapely.box(178, -18, 180, -16), shapely.box(-180, -18, -178, -16)]
    )
    triangle = shapely.Polygon([(10, 10), (20, 10), (10, 20)])
    entries = [
        entry("everest", (86, 27, 88, 29), cloud=5),
        entry("karakoram", (75, 35, 77, 37), dates="1990", cloud=60),
        entry("film", (86, 27, 88, 29), dates="1980-06-18/1981-03-05", sensor="corona-kh4b"),
        entry("fiji", None, outline=fiji, cloud=20),
        entry("chukotka", (179.5, 65, 179.9, 66), sensor="landsat-5"),
        entry("triangle", None, outline=triangle, cloud=0, sensor="landsat-8"),
    ]
    write_catalog(entries, path)
    return path


def found(catalog, **query):
    out = catalog.with_name("found.parquet")
    result = search_catalog(catalog, Query(**query), out)
    entries, broken = read_catalog(out)
    assert broken == ()
    assert result.scenes == len(entries)
    return [e.scene.id for e in entries]


@pytest.mark.parametrize(
    ("bbox", "wanted"),
    [
        ((87, 28, 100, 40), ["everest", "film"]),
        ((-180, -90, 180, 90), ["everest", "karakoram", "film", "fiji", "chukotka", "triangle"]),
        ((179, 64, -179, 67), ["chukotka"]),
        ((179.95, 64, -179, 67), []),
        ((179, -17, -179, -16), ["fiji"]),
        ((170, -17, -179.5, 0), ["fiji"]),
        # The box of the triangle is touched here, and the triangle is not.
        ((18, 18, 19, 19), []),
        ((11, 11, 12, 12), ["triangle"]),
        ((-10, -5, 0, 5), []),
    ],
)
def test_scenes_are_found_by_place(catalog, bbox, wanted):
    assert found(catalog, area=area_of_bbox(bbox)) == wanted


@pytest.mark.parametrize(
    ("dates", "wanted"),
    [
        ("1960/1980", ["film"]),
        ("1981-03-05", ["film"]),
        ("1981-03-06/1989", []),
        ("1981-03-06/1990-01-01", ["karakoram"]),
        ("1999", []),
        ("2000-07", ["everest", "fiji", "chukotka", "triangle"]),
    ],
)
def test_scenes_are_found_by_time_that_overlaps(catalog, dates, wanted):
    assert found(catalog, interval=parse_interval(dates)) == wanted


def test_scenes_are_found_by_sensor_and_cloud(catalog):
    assert found(catalog, sensors=["landsat-8", "corona-kh4b"]) == ["film", "triangle"]
    assert found(catalog, max_cloud_percent=20) == ["everest", "fiji", "triangle"]
    result = search_catalog(
        catalog, Query(max_cloud_percent=100), catalog.with_name("found.parquet")
    )
    assert tuple(result) == (4, 6, 2)


def test_an_empty_catalogue_can_be_searched_and_shown(tmp_path):
    path = tmp_path / "all.parquet"
    write_catalog([], path)

    query = {"area": area_of_bbox((0, 0, 1, 1)), "interval": parse_interval("2000")}
    assert found(path, **query, sensors=["landsat-8"], max_cloud_percent=5) == []
    assert summarise(path).bbox is None


def test_what_is_found_lies_where_it_lay(tmp_path):
    (tmp_path / "images").mkdir()
    raster = write_raster(tmp_path / "images" / "a.tif", np.ones((2, 9, 9), np.uint8))
    write_catalog([scan_scene(scene_of(raster))], tmp_path / "all.parquet")

    search_catalog(tmp_path / "all.parquet", Query(), tmp_path / "sub" / "deep" / "a.parquet")

    (one,) = read_catalog(tmp_path / "sub" / "deep" / "a.parquet").entries
    with open_scene(one.scene) as reader:
        assert reader.grid.shape == (9, 9)
    rows = pq.read_table(tmp_path / "sub" / "deep" / "a.parquet").to_pylist()
    assert rows[0]["assets"]["red"]["href"] == "../../images/a.tif"
    assert rows[0]["assets"]["mask"] is None
    table = gpd.read_parquet(tmp_path / "sub" / "deep" / "a.parquet")
    assert table.crs.to_authority() == ("OGC", "CRS84")


def test_an_area_of_a_file_is_bent_as_the_ground_is(tmp_path):
    # A square about the pole, and one whose straight side is an arc in degrees.
    table = gpd.GeoDataFrame(geometry=[shapely.box(-2e6, -2e6, 2e6, 2e6)], crs="EPSG:3413")
    table.to_file(tmp_path / "pole.gpkg")
    side = gpd.GeoDataFrame(geometry=[shapely.box(-5e5, -3e6, 5e5, -1e6)], crs="EPSG:3413")
    side.to_file(tmp_path / "side.gpkg")

    pole, arc = read_area(tmp_path / "pole.gpkg").geom, read_area(tmp_path / "side.gpkg").geom

    for longitude in (-179.9, -45, 0, 90, 179.9):
        assert pole.contains(shapely.Point(longitude, 89.9))
        assert not pole.contains(shapely.Point(longitude, 60))
    inside = gpd.GeoSeries([shapely.Point(0, -2.99e6)], crs="EPSG:3413").to_crs(4326)[0]
    outside = gpd.GeoSeries([shapely.Point(0, -3.01e6)], crs="EPSG:3413").to_crs(4326)[0]
    assert arc.contains(inside)
    assert not arc.contains(outside)


def test_areas_of_a_file_are_divided_at_the_antimeridian_where_they_cross_it(tmp_path):
    boxes = [shapely.box(x, 7.2e6, x + 5e4, 7.3e6) for x in (450e3, 600e3)]
    gpd.GeoDataFrame(geometry=boxes, crs="EPSG:32660").to_file(tmp_path / "both.gpkg")

    area = read_area(tmp_path / "both.gpkg").geom

    placed = gpd.GeoSeries([b.centroid for b in boxes], crs="EPSG:32660").to_crs(4326)
    assert all(area.contains(point) for point in placed)
    assert all(area.intersects(shapely.Point(x, 65.3)) for x in (-179.99, 179.99))
    parts = [part.bounds for part in shapely.get_parts(area)]
    assert len(parts) == 3
    assert all(east - west < 2 for west, _, east, _ in parts)


def test_an_area_that_is_none_is_refused(tmp_path):
    points = gpd.GeoDataFrame(geometry=[shapely.Point(0, 0)], crs="EPSG:4326")
    points.to_file(tmp_path / "points.gpkg")
    bare = gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)])
    with pytest.warns(UserWarning, match="'crs' was not provided"):
        bare.to_file(tmp_path / "bare.shp")

    with pytest.raises(ConfigError, match="holds no polygon; draw the area"):
        read_area(tmp_path / "points.gpkg")
    with pytest.raises(GridError, match="has no coordinate reference system; set it in QGIS"):
        read_area(tmp_path / "bare.shp")
    with pytest.raises(ConfigError, match="cannot be read as a vector file"):
        read_area(tmp_path / "none.gpkg")


@pytest.mark.parametrize(
    "bbox", [(0, 0, 0, 1), (0, 2, 1, 1), (-190, 0, 0, 1), (0, 0, 1, 91), (float("nan"), 0, 1, 1)]
)
def test_a_box_that_is_none_is_refused(bbox):
    with pytest.raises(ConfigError, match="is none on the Earth; give west,south,east,north"):
        area_of_bbox(bbox)


def rewrite(path, *, drop=(), metadata=None):
    table = pq.read_table(path).drop_columns(list(drop))
    kept = {k: v for k, v in table.schema.metadata.items() if k != b"geoseg:catalog"}
    pq.write_table(table.replace_schema_metadata({**kept, **(metadata or {})}), path)


def test_a_catalogue_of_an_older_version_is_read(catalog):
    rewrite(catalog, drop=["eo:cloud_cover"])

    entries, broken = read_catalog(catalog)

    assert (len(entries), broken) == (6, ())
    assert {e.scene.cloud_percent for e in entries} == {None}
    assert len(found(catalog, interval=parse_interval("2000"))) == 4
    assert summarise(catalog).scenes == 6


@pytest.mark.parametrize("stated", [b'{"version": 2}', b"new", b'{"version": "1"}', b"[]"])
def test_a_catalogue_of_a_later_version_is_refused(catalog, stated):
    rewrite(catalog, metadata={b"geoseg:catalog": stated})

    for read in (read_catalog, summarise):
        with pytest.raises(
            SceneError, match=r"all\.parquet is a catalogue of version .*; update geo"
        ):
            read(catalog)
    with pytest.raises(SceneError, match="update geoseg"):
        search_catalog(catalog, Query(), catalog.with_name("found.parquet"))


def test_the_command_finds_scenes(catalog, tmp_path):
    area = gpd.GeoDataFrame(geometry=[shapely.box(86, 27, 87, 28)], crs="EPSG:4326")
    area.to_file(tmp_path / "area.geojson")
    out = tmp_path / "found.parquet"

    def search(*options):
        arguments = ["catalog", "search", str(catalog), "--out", str(out), *options]
        return CliRunner().invoke(app, arguments)

    run = search("--area", str(tmp_path / "area.geojson"), "--dates", "1960/1990", "--json")
    assert json.loads(run.stdout)["scenes"] == 1
    cloudy = search("--bbox", "86,27,88,29", "--max-cloud", "50")
    assert "1 scenes whose cloud cover is not known are left out" in cloudy.stderr
    assert [e.scene.id for e in read_catalog(out).entries] == ["everest"]
    for wrong, words in (
        (["--bbox", "86,27,88"], "is no box; write it as 86,27,88,29"),
        (["--bbox", "0,0,1,1", "--area", "x.gpkg"], "Name the place once"),
        (["--sensor", "landsat-77"], "no sensor named"),
        (["--max-cloud", "120"], "give 0 to 100 percent"),
        (["--dates", "yesterday"], "is no date"),
    ):
        assert words in str(search(*wrong).exception)


def test_a_catalogue_is_not_replaced_by_what_is_found_in_it(catalog):
    before = catalog.read_bytes()

    refused = geoseg_here("catalog", "search", catalog, "--bbox", "0,0,1,1", "--out", catalog)

    assert refused.returncode == 2
    assert "is the catalogue that is searched; name another file for --out." in refused.stderr
    assert catalog.read_bytes() == before
