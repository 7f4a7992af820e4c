import geopandas as gpd
import numpy as np
import pytest
import shapely
from conftest import CRS, write_raster
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasterio import Affine
from rasterio.features import rasterize
from rasterio.transform import from_origin
from shapely import box

from geoseg.errors import SceneError
from geoseg.inventory.attributes import relief
from geoseg.inventory.attributes.relief import hypsometry, relief_of
from geoseg.labels import geodesic_areas_km2

LEFT, TOP = 500_000, 3_100_000
HEIGHT, WIDTH, PIXEL = 70, 110, 30.0


def place(*polygons, crs=CRS, **columns):
    return gpd.GeoDataFrame(columns, geometry=list(polygons), crs=crs)


def patch(column, row, columns, rows):
    """A box of whole pixels of the model."""
    left, top = LEFT + column * PIXEL, TOP - row * PIXEL
    return box(left, top - rows * PIXEL, left + columns * PIXEL, top)


def plane(*, east=0.0, north=0.0, height=HEIGHT, width=WIDTH):
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    return (4000 + PIXEL * (east * columns - north * rows)).astype(np.float32)


def rough(seed=0):
    return np.random.default_rng(seed).uniform(3000, 6000, (HEIGHT, WIDTH)).astype(np.float32)


def test_elevations_are_those_of_the_pixels_whose_centres_lie_inside(tmp_path):
    z = rough()
    dem = write_raster(tmp_path / "dem.tif", z)
    holed = patch(10, 5, 21, 30).difference(patch(15, 10, 4, 4))
    inside = np.zeros(z.shape, bool)
    inside[5:35, 10:31], inside[10:14, 15:19] = True, False

    (found,) = relief_of(place(holed), dem).to_dict("records")

    assert found["zmin_m"] == z[inside].min()
    assert found["zmax_m"] == z[inside].max()
    assert found["zmed_m"] == pytest.approx(np.median(z[inside]))
    assert found["zmean_m"] == pytest.approx(z[inside].mean(dtype=float))


@pytest.mark.parametrize(
    ("east", "north", "aspect", "sector"),
    [(0, -1, 0, 1), (-1, 0, 90, 3), (0, 1, 180, 5), (1, 0, 270, 7), (-0.5, -0.5, 45, 2)],
)
def test_aspect_is_where_the_ground_falls_to(tmp_path, east, north, aspect, sector):
    dem = write_raster(tmp_path / "dem.tif", plane(east=east, north=north))

    (found,) = relief_of(place(patch(20, 20, 30, 20)), dem).to_dict("records")

    # The meridian that grid north is true north on is 0 to 3 km away.
    turn = (found["aspect_deg"] - aspect + 180) % 360 - 180
    assert abs(turn) < 0.02
    assert found["aspect_sec"] == sector
    # A metre on the map is 0.04 % less on the ground at the middle of a UTM zone.
    assert np.tan(np.radians(found["slope_deg"])) == pytest.approx(np.hypot(east, north), rel=1e-3)


def test_directions_on_both_sides_of_north_have_north_as_their_mean(tmp_path):
    z = plane(east=-0.3, north=-1)
    z[:, 55:] = z[:, 54::-1]  # a trough that falls north: north-east on one side, north-west
    dem = write_raster(tmp_path / "dem.tif", z)

    (found,) = relief_of(place(patch(10, 10, 90, 40)), dem).to_dict("records")

    assert min(found["aspect_deg"], 360 - found["aspect_deg"]) < 0.1
    assert found["aspect_sec"] == 1


@pytest.mark.parametrize(("crs", "latitude"), [("EPSG:3413", 78), ("EPSG:3031", -75)])
def test_aspect_is_from_true_north_in_polar_projections(tmp_path, crs, latitude):
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(100, latitude)
    rows, columns = np.meshgrid(np.arange(40), np.arange(60), indexing="ij")
    # A cone about the pole falls away from it: south in the north, north in the south.
    left, top = x - 30 * 100, y + 20 * 100
    out = np.hypot(left + 100 * (columns + 0.5), top - 100 * (rows + 0.5))
    z = (4000 - 0.1 * (out - out.min())).astype(np.float32)
    dem = write_raster(tmp_path / "dem.tif", z, crs=crs, origin=(left, top), pixel=100)

    (found,) = relief_of(place(shapely.Point(x, y).buffer(1500), crs=crs), dem).to_dict("records")

    away = 180 if latitude > 0 else 0
    assert abs((found["aspect_deg"] - away + 180) % 360 - 180) < 0.1
    assert found["aspect_sec"] == (5 if latitude > 0 else 1)


def test_slope_is_in_metres_on_a_model_in_degrees(tmp_path):
    # 0.001 degrees at 60 north are 55.8 m to the east and 111.4 m to the north.
    columns = np.arange(60)[None] * np.ones((40, 1))
    z = (1000 + 55.8 * columns).astype(np.float32)
    path = tmp_path / "dem.tif"
    dem = write_raster(path, z, crs="EPSG:4326", origin=(20, 60.02), pixel=0.001)
    outline = place(box(20.02, 59.99, 20.04, 60.01), crs="EPSG:4326").to_crs(32634)

    (found,) = relief_of(outline, dem).to_dict("records")

    assert found["slope_deg"] == pytest.approx(45, abs=0.05)
    assert found["aspect_deg"] == pytest.approx(270, abs=0.01)


def test_voids_and_ground_beyond_the_model_are_left_out(tmp_path):
    z = rough()
    z[:, :50] = -32768
    dem = write_raster(tmp_path / "dem.tif", z, nodata=-32768)

    found = relief_of(
        place(patch(40, 10, 20, 10), patch(10, 10, 5, 5), patch(WIDTH - 5, 8, 50, 3)), dem
    )

    assert found.zmin_m[0] == z[10:20, 50:60].min()
    assert found.loc[1].isna().all()
    assert found.zmax_m[2] == z[8:11, -5:].max()
    assert np.isfinite(found.slope_deg[0])


def test_an_outline_smaller_than_a_pixel_has_the_pixel_under_it(tmp_path):
    z = rough()
    dem = write_raster(tmp_path / "dem.tif", z)
    corner = box(LEFT + 30 * 7 + 1, TOP - 30 * 4 - 9, LEFT + 30 * 7 + 8, TOP - 30 * 4 - 2)

    (found,) = relief_of(place(corner), dem).to_dict("records")

    assert found["zmin_m"] == found["zmax_m"] == z[4, 7]


def test_flat_ground_falls_nowhere(tmp_path):
    dem = write_raster(tmp_path / "dem.tif", plane())

    (found,) = relief_of(place(patch(5, 5, 9, 9)), dem).to_dict("records")

    assert found["slope_deg"] == 0
    assert np.isnan(found["aspect_deg"])


def test_outlines_that_overlap_do_not_know_of_each_other_and_rows_keep_their_index(tmp_path):
    dem = write_raster(tmp_path / "dem.tif", rough())
    one, other = patch(10, 10, 30, 30), patch(20, 20, 40, 30)
    both = place(one, other).set_axis([8, 3])

    together = relief_of(both, dem)

    assert together.index.tolist() == [8, 3]
    np.testing.assert_array_equal(together.iloc[[0]], relief_of(place(one), dem))
    np.testing.assert_array_equal(together.iloc[[1]], relief_of(place(other), dem))


def test_parts_and_strips_do_not_show(tmp_path, monkeypatch):
    dem = write_raster(tmp_path / "dem.tif", rough())
    rng = np.random.default_rng(1)
    corners = rng.uniform([LEFT, TOP - 2000], [LEFT + 3000, TOP - 100], (40, 2))
    boxes = place(*shapely.box(*corners.T, *(corners + rng.uniform(5, 900, (40, 2))).T))
    whole = relief_of(boxes, dem)
    for name, value in (("_CELL_PX", 17), ("_PIXELS_AT_ONCE", 200), ("_STRIP_PX", 150)):
        monkeypatch.setattr(relief, name, value)

    np.testing.assert_allclose(relief_of(boxes, dem).astype(float), whole.astype(float))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_pixels_are_those_that_rasterio_burns(seed):
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
    spokes = np.stack([np.cos(angles), np.sin(angles)], axis=1) * rng.uniform(2, 16, (9, 1))
    shape = shapely.make_valid(shapely.Polygon(spokes + rng.uniform(-3, 25, 2)))
    burnt = rasterize([shape], out_shape=(20, 27), transform=from_origin(0, 0, 1, -1))
    assume(burnt.any())

    runs = relief._runs(np.array([shape], dtype=object), GeoBox((20, 27), Affine.identity(), CRS))

    counted = np.zeros((20, 27), int)
    for row, first, end in zip(runs.row, runs.first, runs.end, strict=True):
        counted[row, first:end] += 1
    np.testing.assert_array_equal(counted, burnt)


def test_bands_of_elevation_add_up_to_the_areas(tmp_path):
    z = plane(north=0.5) - 0.25 * PIXEL  # 15 m a row, so that no pixel lies on the end of a band
    dem = write_raster(tmp_path / "dem.tif", z)
    outlines = place(
        *(patch(10, 0, 20, 40), patch(50, 20, 10, 20), patch(70, 10, 4, 4)),
        survey=["2000", "2000", "2020"],
        kind=["glacier", "glacier", "lake"],
    )

    bands = hypsometry(outlines, dem)

    assert bands.columns.tolist() == ["survey", "kind", "z_from_m", "z_to_m", "area_km2"]
    assert (bands.z_to_m - bands.z_from_m == 100).all()
    areas = geodesic_areas_km2(outlines, bend_m=1000)
    total = bands.groupby(["survey", "kind"]).area_km2.sum()
    assert total["2000", "glacier"] == pytest.approx(areas[:2].sum())
    assert total["2020", "lake"] == pytest.approx(areas[2])
    row = z[:, 0]
    glacier = bands[bands.kind == "glacier"].set_index("z_from_m").area_km2
    for low in (3400, 3600, 3900):
        pixels = [
            ((row[a:b] >= low) & (row[a:b] < low + 100)).sum() for a, b in [(0, 40), (20, 40)]
        ]
        expected = (20 * pixels[0] + 10 * pixels[1]) * PIXEL**2 / 1e6
        assert glacier[low] == pytest.approx(expected, rel=2e-3)


def test_ground_in_voids_is_in_no_band(tmp_path):
    z = plane()
    z[:, 20:] = np.nan
    dem = write_raster(tmp_path / "dem.tif", z)
    outlines = place(patch(10, 10, 20, 10), survey=["a"], kind=["glacier"])

    bands = hypsometry(outlines, dem, step_m=50)

    assert bands.area_km2.tolist() == pytest.approx([0.1 / 1000 * 900], rel=2e-3)
    assert bands.z_from_m.tolist() == [4000]


def test_outlines_elsewhere_have_no_relief(tmp_path):
    dem = write_raster(tmp_path / "dem.tif", rough())
    far = place(box(0, 0, 10, 10), survey=["a"], kind=["lake"])

    assert relief_of(far, dem).isna().all(axis=None)
    assert relief_of(far[:0], dem).empty
    assert hypsometry(far, dem).empty


def test_a_model_holds_elevation_only(tmp_path):
    dem = write_raster(tmp_path / "dem.tif", np.stack([rough(), rough()]))

    with pytest.raises(SceneError, match="has 2 bands; give an elevation model of one band"):
        relief_of(place(patch(5, 5, 9, 9)), dem)
