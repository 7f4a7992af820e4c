import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio import Affine
from scipy.ndimage import label
from shapely import box

from geoseg.config import OutlineSettings
from geoseg.errors import GridError, LabelError
from geoseg.inventory.attributes.borders import shared_sides
from geoseg.inventory.attributes.divides import split_by_divides
from geoseg.inventory.attributes.glaciers import glaciers_of
from geoseg.labels import GLACIER_SURFACE
from geoseg.vectorize import outline_classes

CRS = "EPSG:32645"
RAW = OutlineSettings(min_area_m2=0, min_hole_m2=0, simplify_px=0)
CLEAN, DEBRIS, POND, LAKE = 1, 2, 3, 4


def surface_of(*pieces, **columns):
    """Outlines of class names and polygons in turn."""
    names, polygons = pieces[::2], pieces[1::2]
    table = {"class_name": list(names), **columns}
    return gpd.GeoDataFrame(table, geometry=list(polygons), crs=CRS)


def mapped(classes, pixel_m=10.0):
    height = len(classes)
    grid = GeoBox(
        np.shape(classes), Affine(pixel_m, 0, 5e5, 0, -pixel_m, 3e6 + pixel_m * height), CRS
    )
    return outline_classes(np.asarray(classes, np.uint8), grid, GLACIER_SURFACE, RAW)


def references(*pieces, **columns):
    return gpd.GeoDataFrame(
        {"RGIId": [f"RGI60-15.{i:05}" for i in range(1, len(pieces) + 1)], **columns},
        geometry=list(pieces),
        crs=CRS,
    )


def test_clean_ice_and_the_debris_beside_it_are_one_glacier():
    surface = surface_of(
        "clean_ice",
        box(0, 0, 300, 100),
        "debris_ice",
        box(300, 0, 400, 100),
        p_clean_ice=[0.9, 0.3],
    ).assign(p_debris_ice=[0.05, 0.5], p_proglacial_lake=[0.01, 0.2])

    (glacier,) = glaciers_of(surface).to_dict("records")

    assert glacier["geometry"].equals(box(0, 0, 400, 100))
    assert glacier["kind"] == glacier["class_name"] == "glacier"
    assert glacier["debris_share"] == pytest.approx(0.25)
    assert glacier["pond_share"] == 0
    # That it is ice of either kind.
    assert glacier["probability"] == pytest.approx(0.75 * 0.95 + 0.25 * 0.8)
    assert glacier["parts"] == 1


def test_ice_that_touches_at_a_corner_is_two_glaciers():
    surface = surface_of("clean_ice", box(0, 0, 10, 10), "clean_ice", box(10, 10, 30, 20))

    glaciers = glaciers_of(surface)

    assert len(glaciers) == 2
    assert glaciers["class_name"].tolist() == ["clean_ice", "clean_ice"]


def test_ice_drawn_with_other_corners_along_its_border_is_joined():
    # The corners of the two on the right lie on the middle of a side of the one on the left.
    surface = surface_of(
        *("clean_ice", box(0, 0, 10, 90)),
        *("debris_ice", box(10, 10, 20, 30)),
        *("debris_ice", box(10, 40, 25, 60)),
    )

    (glacier,) = glaciers_of(surface).geometry

    assert glacier.is_valid
    assert glacier.area == 900 + 200 + 300


def test_a_pond_stays_glacier_and_a_nunatak_stays_a_hole():
    classes = np.ones((30, 40), int)
    classes[5:10, 5:12] = POND
    classes[15:20, 20:23] = 0

    glaciers = glaciers_of(mapped(classes))

    assert len(glaciers) == 1
    assert glaciers.area[0] == 100 * (30 * 40 - 15)
    assert len(glaciers.geometry[0].interiors) == 1
    assert glaciers.pond_share[0] == pytest.approx(35 / (1200 - 15))
    assert glaciers.class_name[0] == "clean_ice"


def test_a_lake_at_the_end_of_the_ice_is_not_glacier():
    surface = surface_of(
        *("clean_ice", box(0, 0, 100, 100)),
        *("supraglacial_lake", box(100, 0, 120, 100)),  # 100 m of its 240 m lie on ice
        *("proglacial_lake", box(40, 100, 60, 103)),
    )

    assert glaciers_of(surface).area.tolist() == [10_000]


def test_what_is_not_known_of_the_probability_is_not_made_up():
    ice = ("clean_ice", box(0, 0, 9, 1)), ("debris_ice", box(9, 0, 10, 1))
    pieces = [value for pair in ice for value in pair]

    assert glaciers_of(surface_of(*pieces)).probability.isna().all()
    assert glaciers_of(surface_of(*pieces, probability=[0.8, np.nan])).probability.isna().all()
    assert glaciers_of(surface_of(*pieces, probability=[1, 0.5])).probability[0] == 0.95


def test_snow_and_shadow_of_a_glacier_are_means_over_what_they_are_known_of():
    surface = surface_of(
        *("clean_ice", box(0, 0, 300, 100)),
        *("debris_ice", box(300, 0, 400, 100)),
        *("supraglacial_lake", box(300, 100, 400, 102)),
        *("clean_ice", box(300, 102, 400, 150)),
        snow_share=[0.8, 0.2, np.nan, np.nan],
        shadow_share=[np.nan, 0.5, 1.0, 0.0],
    )

    (glacier,) = glaciers_of(surface).to_dict("records")

    assert glacier["snow_share"] == pytest.approx((300 * 0.8 + 100 * 0.2) / 400)
    assert glacier["shadow_share"] == pytest.approx((100 * 0.5 + 2) / 150)


def test_snow_that_is_not_known_of_any_piece_is_not_made_up():
    ice = surface_of("clean_ice", box(0, 0, 9, 1), snow_share=[None])

    assert glaciers_of(ice).snow_share.isna().all()
    assert "shadow_share" not in glaciers_of(ice)


def test_a_map_without_ice_has_no_glaciers_but_their_columns():
    glaciers = glaciers_of(surface_of("proglacial_lake", box(0, 0, 10, 10)))

    assert glaciers.empty
    assert glaciers.crs == CRS
    wanted = {"kind", "class_name", "debris_share", "pond_share", "probability", "parts"}
    assert wanted < set(glaciers.columns)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 14), columns=st.integers(1, 17))
def test_glaciers_are_the_connected_regions_of_the_map(seed, rows, columns):
    shares = [0.4, 0.35, 0.25]
    classes = np.random.default_rng(seed).choice([0, CLEAN, DEBRIS], (rows, columns), p=shares)
    regions, count = label(classes > 0)  # that touch at corners only are apart
    sizes = np.sort(np.bincount(regions.ravel())[1:])
    debris = np.bincount(regions.ravel(), classes.ravel() == DEBRIS)[1:].sum()

    glaciers = glaciers_of(mapped(classes))

    assert len(glaciers) == count
    np.testing.assert_allclose(np.sort(glaciers.area) / 100, sizes)
    assert glaciers.is_valid.all()
    assert (glaciers.debris_share * glaciers.area).sum() / 100 == pytest.approx(debris)


def test_shared_sides_run_around_the_first_and_against_the_second():
    west, east = box(0, 0, 10, 30), box(10, 0, 50, 30)

    for order in ([west, east], [east, west]):
        sides = shared_sides(np.array(order))

        assert len(sides.first) == 1
        up = sides.vector[0, 1] > 0
        # Around the one in the west, inside to the left, its eastern side runs north.
        assert up == (order[sides.first[0]] is west)


def test_a_mass_is_cut_at_the_divide_and_takes_ids_and_names():
    mass = gpd.GeoDataFrame({"kind": ["glacier"]}, geometry=[box(0, 0, 1000, 300)], crs=CRS)
    # The margin of the reference is another one; so is its CRS.
    divides = references(box(-50, -50, 400, 350), box(400, 20, 900, 280), Name=["Khumbu", None])

    split = split_by_divides(mass, divides.to_crs("EPSG:32646"), surface=None)

    assert split.ref_id.tolist() == ["RGI60-15.00001", "RGI60-15.00002"]
    assert split.glac_name.fillna("").tolist() == ["Khumbu", ""]
    np.testing.assert_allclose(split.area, [120_000, 180_000], rtol=1e-3)
    assert split.kind.tolist() == ["glacier", "glacier"]
    assert len(shared_sides(split.geometry.to_numpy()).first) >= 1


@pytest.mark.parametrize("name", ["rgi_id", "RGIId", "glims_id", "GLIMSId"])
def test_ids_are_found_however_they_are_written(name):
    mass = gpd.GeoDataFrame(geometry=[box(0, 0, 1000, 300)], crs=CRS)
    divides = references(box(0, 0, 10, 10)).rename(columns={"RGIId": name})

    assert split_by_divides(mass, divides, surface=None).ref_id.tolist() == ["RGI60-15.00001"]


def test_a_mass_on_one_reference_glacier_is_whole_and_on_none_is_without_an_id():
    masses = gpd.GeoDataFrame(geometry=[box(0, 0, 100, 100), box(900, 0, 950, 50)], crs=CRS)

    split = split_by_divides(masses, references(box(20, 20, 50, 40)), surface=None)

    assert split.ref_id.fillna("").tolist() == ["RGI60-15.00001", ""]
    assert split.geometry.to_numpy().tolist() == masses.geometry.to_numpy().tolist()


def test_ice_beyond_the_reference_goes_with_the_longest_border():
    mass = gpd.GeoDataFrame(geometry=[box(0, 0, 900, 500)], crs=CRS)
    # What lies north of both borders the western one by 300 m, the eastern one by 600 m.
    divides = references(box(0, 0, 300, 300), box(300, 0, 900, 300))

    split = split_by_divides(mass, divides, surface=None).set_index("ref_id")

    assert split.area["RGI60-15.00001"] == pytest.approx(300 * 300)
    assert split.area["RGI60-15.00002"] == pytest.approx(600 * 300 + 900 * 200)


def test_splinters_along_a_margin_are_no_glaciers():
    mass = gpd.GeoDataFrame(geometry=[box(0, 0, 1000, 300)], crs=CRS)
    # The glacier to the north was drawn 5 m over the margin of this one.
    divides = references(box(0, 0, 1000, 295), box(0, 295, 1000, 900))

    split = split_by_divides(mass, divides, surface=None)
    fine = split_by_divides(mass, divides, surface=None, min_area_m2=1000)

    assert split.ref_id.tolist() == ["RGI60-15.00001"]
    assert fine.area.tolist() == pytest.approx([295_000, 5_000])


def test_pieces_of_one_mass_on_one_reference_glacier_are_one_outline():
    mass = gpd.GeoDataFrame(geometry=[box(0, 0, 1000, 300)], crs=CRS)
    tongue = box(400, -10, 500, 310)
    divides = references(box(0, 0, 1000, 300).difference(tongue), tongue)

    split = split_by_divides(mass, divides, surface=None)

    assert split.parts.tolist() == [2, 1]
    assert split.area.tolist() == pytest.approx([270_000, 30_000])


def test_shares_are_those_of_the_piece():
    surface = surface_of(
        *("clean_ice", box(0, 0, 600, 300)),
        *("debris_ice", box(600, 0, 1000, 300)),
        probability=[0.9, 0.6],
    )
    divides = references(box(0, 0, 500, 300), box(500, 0, 1000, 300))
    glaciers = glaciers_of(surface)

    split = split_by_divides(glaciers, divides, surface=surface)
    blind = split_by_divides(glaciers, divides, surface=None)

    assert split.debris_share.tolist() == pytest.approx([0, 0.8])
    assert split.probability.tolist() == pytest.approx([0.9, 0.66])
    assert split.class_name.tolist() == ["clean_ice", "glacier"]
    assert blind[["debris_share", "probability"]].isna().all(axis=None)


def test_snow_and_shadow_are_those_of_the_piece():
    surface = surface_of(
        *("clean_ice", box(0, 0, 600, 300)),
        *("debris_ice", box(600, 0, 1000, 300)),
        snow_share=[0.9, 0.4],
        shadow_share=[0.1, np.nan],
    )
    divides = references(box(0, 0, 500, 300), box(500, 0, 1000, 300))
    glaciers = glaciers_of(surface)

    split = split_by_divides(glaciers, divides, surface=surface)
    blind = split_by_divides(glaciers, divides, surface=None)
    whole = split_by_divides(glaciers, divides[:1], surface=None)

    assert split.snow_share.tolist() == pytest.approx([0.9, 0.5])
    assert split.shadow_share.tolist() == pytest.approx([0.1, 0.1])
    # What is known of the whole is not known of its parts.
    assert blind[["snow_share", "shadow_share"]].isna().all(axis=None)
    assert whole.snow_share.tolist() == pytest.approx([0.7])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), tilt=st.floats(0, 1.5), count=st.integers(1, 9))
@pytest.mark.slow
def test_no_ice_is_lost_or_added_by_divides(seed, tilt, count):
    rng = np.random.default_rng(seed)
    classes = rng.choice([0, CLEAN, DEBRIS], (9, 13), p=[0.25, 0.6, 0.15])
    glaciers = glaciers_of(mapped(classes))
    # Some overlap, some leave gaps, some lie elsewhere.
    corner = np.array([5e5, 3e6]) + rng.uniform(-40, 130, (count, 2))
    size = rng.uniform(10, 90, (count, 2))
    boxes = shapely.box(*corner.T, *(corner + size).T)
    turned = [shapely.affinity.rotate(b, tilt, use_radians=True) for b in boxes]

    split = split_by_divides(glaciers, references(*turned), surface=None, min_area_m2=150)

    whole = shapely.union_all(glaciers.geometry.to_numpy())
    together = shapely.union_all(split.geometry.to_numpy())
    assert split.area.sum() == pytest.approx(glaciers.area.sum(), rel=1e-9)
    assert together.symmetric_difference(whole).area < 1e-6 * max(whole.area, 1)
    assert split.is_valid.all()
    assert (split.parts == split.count_geometries()).all()


def test_divides_must_say_where_and_what_they_are():
    mass = gpd.GeoDataFrame(geometry=[box(0, 0, 9, 9)], crs=CRS)
    nowhere = gpd.GeoDataFrame({"RGIId": ["a"]}, geometry=[box(0, 0, 9, 9)])
    nameless = gpd.GeoDataFrame({"Area": [1.0]}, geometry=[box(0, 0, 9, 9)], crs=CRS)

    with pytest.raises(GridError, match="The divides have no coordinate reference system"):
        split_by_divides(mass, nowhere, surface=None)
    with pytest.raises(
        LabelError, match=r"no column of ids \(ref_id, rgi_id, .*\), only Area; give"
    ):
        split_by_divides(mass, nameless, surface=None)


def test_no_divides_and_no_glaciers_are_results():
    mass = gpd.GeoDataFrame({"parts": [1]}, geometry=[box(0, 0, 9, 9)], crs=CRS)
    divides = references(box(0, 0, 5, 9), box(5, 0, 9, 9))

    assert split_by_divides(mass, divides[:0], surface=None).ref_id.isna().tolist() == [True]
    empty = split_by_divides(mass[:0], divides, surface=None)
    assert empty.empty
    assert {"ref_id", "glac_name", "parts"} <= set(empty.columns)
