import numpy as np
import pytest
import shapely
from conftest import CRS, scene_of, write_raster
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio import Affine
from rasterio.features import rasterize

from geoseg.config import OutlineSettings
from geoseg.errors import GridError, LabelError, SceneError
from geoseg.labels import GLACIER, GLACIER_SURFACE, IGNORE
from geoseg.vectorize import (
    glims_ids,
    half_pixel_uncertainty_km2,
    outline_classes,
    outline_raster,
    outline_scene,
    reader,
)

RAW = OutlineSettings(min_area_m2=0, min_hole_m2=0, simplify_px=0)


def grid_of(classes, crs=CRS):
    return GeoBox(classes.shape, Affine(30, 0, 500_000, 0, -30, 3_100_000), crs)


def square_with_hole():
    classes = np.zeros((40, 60), np.uint8)
    classes[5:25, 10:40] = 1
    classes[12:18, 20:28] = 0
    return classes


def test_an_outline_keeps_its_hole_and_its_area():
    classes = square_with_hole()

    outlines = outline_classes(classes, grid_of(classes), GLACIER, RAW)

    assert list(outlines.class_name) == ["glacier"]
    assert len(outlines.geometry[0].interiors) == 1
    assert outlines.area[0] == classes.sum() * 900
    assert outlines.crs.to_epsg() == 32645


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), height=st.integers(2, 40), width=st.integers(2, 40))
def test_raw_outlines_burnt_again_are_the_map(seed, height, width):
    rng = np.random.default_rng(seed)
    classes = rng.choice([0, 1, 2, IGNORE], (height, width), p=[0.4, 0.3, 0.2, 0.1])
    classes = classes.astype(np.uint8)
    grid = grid_of(classes)

    outlines = outline_classes(classes, grid, GLACIER_SURFACE, RAW)

    ids = [GLACIER_SURFACE.find(name).id for name in outlines.class_name]
    pairs = list(zip(outlines.geometry, ids, strict=True)) or [(shapely.box(0, 0, 1, 1), 0)]
    burnt = rasterize(pairs, out_shape=grid.shape, transform=grid.affine)
    np.testing.assert_array_equal(burnt, np.where(classes == IGNORE, 0, classes))


def test_simplified_neighbours_keep_a_common_border():
    rng = np.random.default_rng(1)
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(rng.standard_normal((80, 120)), 6)
    classes = np.where(noise > 0.02, 2, 1).astype(np.uint8)
    classes[:8] = 0

    raw = outline_classes(classes, grid_of(classes), GLACIER_SURFACE, RAW)
    smooth = outline_classes(
        classes,
        grid_of(classes),
        GLACIER_SURFACE,
        OutlineSettings(min_area_m2=0, min_hole_m2=0, simplify_px=1.5),
    )

    assert shapely.get_num_coordinates(smooth.geometry).sum() < (
        0.6 * shapely.get_num_coordinates(raw.geometry).sum()
    )
    assert shapely.coverage_is_valid(smooth.geometry.to_numpy())
    assert smooth.geometry.is_valid.all()
    union = shapely.coverage_union_all(smooth.geometry.to_numpy())
    assert union.area == pytest.approx(smooth.area.sum())


def test_small_outlines_and_small_holes_go():
    classes = square_with_hole()
    classes[30:32, 50:52] = 1  # 3600 m2
    chosen = OutlineSettings(min_area_m2=10_000, min_hole_m2=48 * 900 + 1, simplify_px=0)

    outlines = outline_classes(classes, grid_of(classes), GLACIER, chosen)

    assert len(outlines) == 1
    assert len(outlines.geometry[0].interiors) == 0


def test_a_map_without_ice_gives_an_empty_layer_with_its_columns(tmp_path):
    classes = np.zeros((20, 30), np.uint8)
    path = write_raster(tmp_path / "classes.tif", classes, nodata=IGNORE)
    chance = write_raster(tmp_path / "p.tif", np.zeros((2, 20, 30), np.uint8), nodata=IGNORE)

    outlines = outline_scene(
        path, chance, scene=scene_of(path), scheme=GLACIER, settings=OutlineSettings()
    )

    assert outlines.empty
    assert {"glims_id", "class_name", "area_km2", "src_date", "geometry"} <= set(outlines.columns)
    assert outlines.crs is not None


def test_an_outline_says_what_an_inventory_needs(tmp_path):
    import rasterio

    classes = square_with_hole()
    path = write_raster(tmp_path / "classes.tif", classes, nodata=IGNORE)
    stored = np.stack([250 - classes * 200, classes * 200]).astype(np.uint8)
    chance = write_raster(tmp_path / "p.tif", stored, nodata=IGNORE)
    with rasterio.open(chance, "r+") as raster:
        raster.scales = (1 / 250, 1 / 250)

    (row,) = outline_scene(
        path, chance, scene=scene_of(path), scheme=GLACIER, settings=RAW
    ).itertuples()

    # UTM shrinks by 0.9996 along its central meridian, so the ground is larger than the map.
    assert row.area_km2 == pytest.approx(classes.sum() * 900 / 1e6 / 0.9996**2, rel=1e-3)
    perimeter_m = (100 + 28) * 30
    assert row.area_unc_km2 == pytest.approx(perimeter_m * 15 / 1e6)
    assert row.probability == pytest.approx(0.8)
    assert str(row.src_date) == "2000-10-30"
    assert (row.sensor, row.scene, row.gsd_m) == ("landsat-7", "classes", 30)
    assert row.glims_id.startswith("G0870")


def test_a_map_in_degrees_is_refused(tmp_path):
    path = write_raster(
        tmp_path / "c.tif", square_with_hole(), crs="EPSG:4326", origin=(87, 28), pixel=0.001
    )
    with pytest.raises(GridError, match="Minimum areas need a scene in metres"):
        outline_scene(path, path, scene=scene_of(path), scheme=GLACIER, settings=OutlineSettings())


def test_ids_follow_glims():
    import geopandas as gpd

    points = [(86.85, 27.99), (-0.001, -45.5), (179.9999, 10)]
    frame = gpd.GeoDataFrame(
        geometry=[shapely.Point(p).buffer(1e-5) for p in points], crs="EPSG:4326"
    )

    assert glims_ids(frame) == ["G086850E27990N", "G359999E45500S", "G180000E10000N"]


def test_the_uncertainty_is_half_a_pixel_along_the_border():
    classes = square_with_hole()

    outlines = outline_classes(classes, grid_of(classes), GLACIER, RAW)

    assert half_pixel_uncertainty_km2(outlines, gsd_m=30)[0] == pytest.approx(128 * 30 * 15 / 1e6)


@pytest.mark.parametrize("crs", [CRS, "EPSG:3413"])
def test_a_map_read_in_strips_gives_what_the_whole_gives(tmp_path, monkeypatch, crs):
    rng = np.random.default_rng(3)
    classes = rng.choice(np.array([0, 1, 2, IGNORE], np.uint8), (37, 53))
    path = write_raster(
        tmp_path / "c.tif", classes, crs=crs, origin=(-200_000, -1_900_000), pixel=25, blockysize=4
    )
    grid = GeoBox(classes.shape, Affine(25, 0, -200_000, 0, -25, -1_900_000), crs)
    chosen = OutlineSettings(min_area_m2=2000, min_hole_m2=1500, simplify_px=0.75, smooth=2)
    monkeypatch.setattr(reader, "_STRIP_PX", 53 * 9)
    told = []

    outlines = outline_raster(
        path, GLACIER_SURFACE, chosen, on_strip=lambda done, total: told.append((done, total))
    )

    whole = outline_classes(classes, grid, GLACIER_SURFACE, chosen)
    assert len(outlines) > 10
    assert outlines.crs.equals(whole.crs)
    assert outlines.geometry.geom_equals_exact(whole.geometry, 0).all()
    assert list(outlines.class_name) == list(whole.class_name)
    assert told == [(i, 5) for i in range(1, 6)]  # of 8 rows: two blocks


def test_outlines_run_counter_clockwise_and_holes_clockwise():
    classes = square_with_hole()

    (outline,) = outline_classes(classes, grid_of(classes), GLACIER, RAW).geometry

    assert outline.exterior.is_ccw
    assert not outline.interiors[0].is_ccw


def test_pixels_that_are_not_square_keep_their_shape():
    classes = np.zeros((4, 5), np.uint8)
    classes[1, 2:4] = 1
    grid = GeoBox(classes.shape, Affine(20, 0, 500_000, 0, -30, 3_100_000), CRS)

    (outline,) = outline_classes(classes, grid, GLACIER, RAW).geometry

    assert outline.equals(shapely.box(500_040, 3_099_940, 500_080, 3_099_970))


def test_a_class_that_the_scheme_does_not_know_is_refused():
    classes = np.full((4, 5), 2, np.uint8)

    with pytest.raises(LabelError, match=r"holds class 2 and the scheme ends at 1 \(glacier\)"):
        outline_classes(classes, grid_of(classes), GLACIER, RAW)


def test_a_raster_that_holds_no_class_ids_is_refused(tmp_path):
    path = write_raster(tmp_path / "image.tif", np.ones((4, 6), np.float32))

    with pytest.raises(SceneError, match="holds float32 values and a class map holds ids"):
        outline_raster(path, GLACIER, RAW)


def test_smoothed_outlines_have_rounder_corners():
    classes = square_with_hole()
    chosen = RAW.model_copy(update={"smooth": 1})

    (outline,) = outline_classes(classes, grid_of(classes), GLACIER, chosen).geometry

    assert shapely.get_num_coordinates(outline) == 2 * (8 + 1)
    # A square with sides of 30 and 20 px loses a triangle of a quarter of them at each corner.
    cut_px = 4 * 30 * 20 / 32 - 4 * 8 * 6 / 32
    assert outline.area == pytest.approx((classes.sum() - cut_px) * 900)


def test_neighbours_agree_to_the_last_digit_wherever_the_map_lies():
    rng = np.random.default_rng(5)
    classes = rng.choice(np.array([1, 2, 3], np.uint8), (61, 47))
    grid = GeoBox(classes.shape, Affine(0.3, 0, -1_234_567.8, 0, -0.7, 987_654.3), "EPSG:3413")
    chosen = OutlineSettings(min_area_m2=0, min_hole_m2=0, simplify_px=0.75, smooth=3)

    outlines = outline_classes(classes, grid, GLACIER_SURFACE, chosen)

    assert shapely.coverage_is_valid(outlines.geometry.to_numpy())
    assert outlines.geometry.is_valid.all()
