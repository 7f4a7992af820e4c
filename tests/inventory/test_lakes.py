import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import box

from geoseg.errors import GridError
from geoseg.inventory.attributes.lakes import lake_relations

CRS = "EPSG:32645"


def frame(*polygons, index=None):
    return gpd.GeoDataFrame(geometry=list(polygons), index=index, crs=CRS)


def relation(lake, *ice, **options):
    (found,) = lake_relations(frame(lake), frame(*ice), touch_m=30, **options).to_dict("records")
    return found["lake_type"], found["dist_ice_m"], found["glacier"]


TONGUE = box(0, 0, 3000, 800)


def test_a_lake_on_the_ice_is_supraglacial():
    assert relation(box(500, 300, 600, 380), TONGUE) == ("supraglacial", 0, 0)


def test_a_lake_that_the_outline_leaves_out_as_a_hole_is_supraglacial():
    lake = box(500, 300, 700, 450)
    # With a rim of 60 m between, that was taken for ground.
    assert relation(lake, TONGUE.difference(lake.buffer(60)))[0] == "supraglacial"


def test_a_lake_with_a_third_of_its_shore_at_the_front_is_in_contact():
    assert relation(box(3000, 0, 3400, 800), TONGUE) == ("ice_contact", 0, 0)


def test_a_small_lake_beside_the_ice_is_not_on_it():
    assert relation(box(3000, 300, 3030, 330), TONGUE)[0] == "ice_contact"


def test_a_gap_of_a_pixel_is_no_gap():
    assert relation(box(3025, 0, 3400, 800), TONGUE) == ("ice_contact", 0, 0)
    kind, distance, _ = relation(box(3035, 0, 3400, 800), TONGUE)
    assert (kind, distance) == ("proglacial", pytest.approx(35))


def test_a_lake_is_proglacial_up_to_a_kilometre_away():
    assert relation(box(3990, 0, 4100, 90), TONGUE)[0] == "proglacial"
    kind, distance, glacier = relation(box(4010, 0, 4100, 90), TONGUE)
    assert (kind, distance) == ("other", 1010)
    assert pd.isna(glacier)
    assert relation(box(4010, 0, 4100, 90), TONGUE, near_m=2000)[0] == "proglacial"


def test_a_lake_belongs_to_the_nearest_glacier():
    other = box(0, 2000, 3000, 2500)

    assert relation(box(1000, 1700, 1100, 1800), TONGUE, other) == ("proglacial", 200, 1)
    assert relation(box(1000, 1000, 1100, 1100), TONGUE, other) == ("proglacial", 200, 0)


def test_the_shore_counts_on_all_glaciers_together():
    lake = box(0, 0, 100, 100)
    # A quarter of the shore on each.
    assert relation(lake, box(-500, 0, 0, 100), box(100, 0, 500, 100))[0] == "supraglacial"
    assert relation(lake, box(-500, 0, 0, 100))[0] == "ice_contact"


def test_rows_keep_their_index_and_no_ice_is_no_distance():
    lakes = frame(box(0, 0, 1, 1), box(5, 0, 6, 1), index=[7, 3])

    found = lake_relations(lakes, frame(), touch_m=30)

    assert found.index.tolist() == [7, 3]
    assert found.lake_type.tolist() == ["other", "other"]
    assert found.dist_ice_m.isna().all()
    assert found.glacier.isna().all()
    assert lake_relations(lakes[:0], frame(TONGUE), touch_m=30).empty


def test_reference_systems_must_agree():
    with pytest.raises(GridError, match="lakes are in WGS 84 / UTM zone 45N and the glaciers in"):
        lake_relations(frame(TONGUE), frame(TONGUE).to_crs(32646), touch_m=30)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_distance_and_glacier_are_those_of_looking_at_every_pair(seed):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 5000, (12, 2))
    boxes = shapely.box(*corners.T, *(corners + rng.uniform(20, 700, (12, 2))).T)
    lakes, ice = frame(*boxes[:7]), frame(*boxes[7:])

    found = lake_relations(lakes, ice, touch_m=25)

    every = shapely.distance(boxes[:7, None], boxes[None, 7:])
    closest = every.min(axis=1)
    np.testing.assert_allclose(found.dist_ice_m, np.where(closest <= 25, 0, closest))
    np.testing.assert_array_equal(found.glacier.isna(), closest > 1000)
    for row in np.flatnonzero(closest <= 1000):
        assert every[row, found.glacier[row]] == pytest.approx(closest[row])
