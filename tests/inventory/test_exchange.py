import datetime as dt
import sqlite3
import zipfile
from contextlib import closing
from dataclasses import replace

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from inventory.small_inventory import CALM, ICE, NAME, SURGE, TONGUE, no_inventory, small_inventory

from geoseg.errors import ConfigError, LabelError
from geoseg.inventory.storage import exchange
from geoseg.inventory.storage.exchange import export_glims, export_rgi
from geoseg.labels import geodesic_areas_km2

DAY = dt.date(2026, 11, 21)
# RGI 7.0 user guide, glacier product, in the order of its files.
_RGI = """
    rgi_id o1region o2region glims_id anlys_id subm_id src_date cenlon cenlat utm_zone area_km2
    primeclass conn_lvl surge_type term_type glac_name is_rgi6 termlon termlat zmin_m zmax_m
    zmed_m zmean_m slope_deg aspect_deg aspect_sec dem_source lmax_m
"""
RGI = _RGI.split()
WHOLE = "anlys_id subm_id utm_zone primeclass conn_lvl surge_type term_type is_rgi6 aspect_sec"
TEXTS = "rgi_id o1region o2region glims_id src_date glac_name dem_source"


def rgi_of(tmp_path, inventory, survey):
    exported = export_rgi(inventory, survey, tmp_path / "rgi.gpkg")
    return gpd.read_file(tmp_path / "rgi.gpkg", layer="glaciers"), exported


def at(lon, lat, side_m=2000, crs=3413, **values):
    """A square glacier about a point, in an inventory of its own."""
    inventory = small_inventory(f"EPSG:{crs}")
    place = gpd.GeoSeries(gpd.points_from_xy([lon], [lat]), crs=4326).to_crs(crs)[0]
    square = place.buffer(side_m / 2, cap_style="square")
    one = inventory.outlines.iloc[[1]].assign(cenlon=lon, cenlat=lat, **values)
    one.geometry = [shapely.MultiPolygon([square])]
    return replace(inventory, outlines=one.reset_index(drop=True))


# RGI


@pytest.mark.parametrize("inventory", [small_inventory, no_inventory])
def test_a_survey_has_the_columns_and_types_of_rgi(tmp_path, inventory):
    whole = inventory()
    surveys = small_inventory().surveys
    export_rgi(replace(whole, surveys=surveys), "2000", tmp_path / "a.gpkg")

    with closing(sqlite3.connect(tmp_path / "a.gpkg")) as database:
        types = {row[1]: row[2] for row in database.execute("PRAGMA table_info(glaciers)")}
    assert list(types)[2:] == [*RGI, "track_id"]
    assert {types[name] for name in WHOLE.split()} == {"INTEGER"}
    assert {types[name] for name in TEXTS.split()} == {"TEXT"}
    assert {types[n] for n in set(RGI) - {*WHOLE.split(), *TEXTS.split()}} == {"REAL"}
    assert pyogrio.read_info(tmp_path / "a.gpkg", layer="glaciers")["crs"] == "EPSG:4326"


def test_each_glacier_of_the_survey_is_there_with_what_is_known(tmp_path):
    inventory = small_inventory()

    table, exported = rgi_of(tmp_path, inventory, "2020")

    assert exported == (4, 0)
    assert list(table["track_id"]) == sorted([ICE, TONGUE, CALM, SURGE])
    row = table.set_index("track_id").loc[ICE]
    own = inventory.outlines.set_index("outline_id").loc[f"{ICE}@2020"]
    assert row["rgi_id"] == "RGI2000-v7.0-G-15-00001"
    assert (row["glims_id"], row["glac_name"]) == (ICE, NAME)
    assert (row["src_date"], row["utm_zone"]) == ("2020-10-12T00:00:00", 45)
    for name in ("area_km2", "cenlon", "cenlat", "zmin_m", "zmax_m", "aspect_deg", "aspect_sec"):
        assert row[name] == own[name]
    for name in set(WHOLE.split()) - {"utm_zone", "aspect_sec"}:
        assert table[name].isna().all()
    assert pd.isna(table.set_index("track_id").loc[CALM, "rgi_id"])


def test_outlines_keep_their_area_and_holes_in_degrees(tmp_path):
    table, _ = rgi_of(tmp_path, small_inventory(), "2000")

    np.testing.assert_allclose(geodesic_areas_km2(table, bend_m=1), table["area_km2"], rtol=1e-6)
    ice = table.set_index("track_id").geometry[ICE]
    assert sorted(len(part.interiors) for part in ice.geoms) == [0, 1]
    points = shapely.points(table["cenlon"], table["cenlat"])
    assert shapely.contains(table.geometry.to_numpy(), points).all()


def test_glaciers_below_the_least_area_are_left_out_and_counted(tmp_path):
    inventory = small_inventory()
    areas = inventory.outlines["area_km2"].where(inventory.outlines["track_id"] != CALM, 0.00999)

    table, exported = rgi_of(
        tmp_path, replace(inventory, outlines=inventory.outlines.assign(area_km2=areas)), "2020"
    )

    assert exported == (3, 1)
    assert CALM not in set(table["track_id"])


def test_an_id_of_glims_that_a_reference_gave_comes_before_that_of_the_place(tmp_path):
    inventory = small_inventory()
    given_ids = ["G086000E27000N", "RGI60-15.00002", *[None] * 6]
    inventory = replace(inventory, tracks=inventory.tracks.assign(ref_id=given_ids))

    table, _ = rgi_of(tmp_path, inventory, "2020")

    ids = table.set_index("track_id")["glims_id"]
    assert (ids[ICE], ids[TONGUE]) == ("G086000E27000N", TONGUE)
    assert table["rgi_id"].isna().all()


def test_a_survey_that_is_not_there_is_refused_with_the_nearest(tmp_path):
    for export in (export_rgi, lambda *a: export_glims(*a, analysed=DAY)):
        out = tmp_path / ("a.gpkg" if export is export_rgi else "a.zip")
        with pytest.raises(LabelError, match=r"no survey named '2021' .* Did you mean '2020'\?"):
            export(small_inventory(), "2021", out)

    assert list(tmp_path.iterdir()) == []


@given(west=st.floats(-0.9, 0.9))
@pytest.mark.slow
def test_an_outline_across_the_antimeridian_is_cut_there(west):
    lon = 180 + west if west < 0 else -180 + west
    outlines = at(lon, 71.1, side_m=80_000).outlines

    (outline,) = exchange._in_degrees(outlines)

    assert outline.is_valid
    assert outline.bounds[0] == -180
    assert outline.bounds[2] == 180
    assert max(part.bounds[2] - part.bounds[0] for part in outline.geoms) < 5
    cut = gpd.GeoDataFrame(geometry=[outline], crs=4326)
    np.testing.assert_allclose(
        geodesic_areas_km2(cut, bend_m=1), geodesic_areas_km2(outlines, bend_m=1000), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("lon", "lat", "zone"),
    [
        (86.9, 28.0, 45),
        (-180.0, 68.0, 1),
        (179.99, 68.0, 60),
        (7.0, 61.5, 32),  # Jostedalsbreen, in the widened zone of Norway
        (2.9, 61.5, 31),
        (16.0, 78.5, 33),  # Svalbard
        (8.9, 78.5, 31),
        (25.0, 79.5, 35),
        (16.0, 71.9, 33),
        (-73.0, -49.0, 18),
    ],
)
def test_the_zone_of_utm_is_that_of_the_point_inside(lon, lat, zone):
    frame = gpd.GeoDataFrame({"cenlon": [lon], "cenlat": [lat]})

    assert exchange._utm_zones(frame).tolist() == [zone]


# GLIMS


def glims_of(tmp_path, inventory, survey):
    exported = export_glims(inventory, survey, tmp_path / "glims.zip", analysed=DAY)
    return gpd.read_file(tmp_path / "glims.zip"), exported


def test_glims_has_glaciers_and_lakes_by_their_type_of_line(tmp_path):
    table, exported = glims_of(tmp_path, small_inventory(), "2020")

    assert exported == (5, 0)
    assert table["line_type"].tolist() == ["glac_bound"] * 4 + ["pro_lake"]
    lake = table.iloc[-1]
    assert (lake["glac_id"], lake["local_id"]) == (TONGUE, "GL086688E27905N")
    assert table.crs.to_epsg() == 4326


def test_glims_has_times_areas_and_uncertainties(tmp_path):
    inventory = small_inventory()

    table, _ = glims_of(tmp_path, inventory, "2020")

    row = table.set_index("local_id").loc[ICE]
    own = inventory.outlines.set_index("outline_id").loc[f"{ICE}@2020"]
    assert (row["anlys_time"], row["src_date"]) == ("2026-11-21T00:00:00", "2020-10-12T00:00:00")
    assert row["area"] == pytest.approx(own["area_km2"], rel=1e-9)
    assert (row["loc_unc_x"], row["loc_unc_y"]) == (5, 5)
    assert (row["glob_unc_x"], row["glob_unc_y"]) == (0.75, 0.75)
    assert (row["min_elev"], row["max_elev"], row["glac_name"]) == (4700.5, 7100.25, NAME)
    assert (row["inst_name"], row["orig_id"]) == ("sentinel-2", "scene-2020")


def test_glims_leaves_empty_what_is_unknown_and_lakes_without_a_type_of_line(tmp_path):
    table, exported = glims_of(tmp_path, small_inventory(), "2000")

    assert exported.outlines == len(table) == 5
    assert table["glob_unc_x"].isna().all()
    assert table.set_index("local_id").loc[CALM, ["glac_name", "min_elev"]].isna().all()
    assert "GL086700E27903N" not in set(table["local_id"])


def test_glims_is_one_shapefile_with_its_parts(tmp_path):
    glims_of(tmp_path, small_inventory(), "2020")

    with zipfile.ZipFile(tmp_path / "glims.zip") as archive:
        assert {name.rsplit(".")[-1] for name in archive.namelist()} == {
            *("shp", "shx", "dbf", "prj", "cpg")
        }
    assert [p.name for p in tmp_path.iterdir()] == ["glims.zip"]


def test_a_survey_without_glaciers_is_an_empty_shapefile(tmp_path):
    empty = replace(no_inventory(), surveys=small_inventory().surveys)

    table, exported = glims_of(tmp_path, empty, "2020")

    assert exported == (0, 0)
    assert {"line_type", "glac_id", "area"} <= set(table.columns)


def test_names_that_are_no_zip_or_geopackage_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"a\.shp is no name of a zipped shapefile; let it end"):
        export_glims(small_inventory(), "2020", tmp_path / "a.shp", analysed=DAY)
    with pytest.raises(ConfigError, match=r"a\.shp is no name of a GeoPackage"):
        export_rgi(small_inventory(), "2020", tmp_path / "a.shp")
