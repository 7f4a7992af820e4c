from dataclasses import replace

import numpy as np
import pytest
from conftest import scene_of, write_raster
from pyproj import Proj, Transformer
from rasterio.windows import Window

from geoseg.errors import SceneError
from geoseg.scenes import TERRAIN_BANDS, band_names, bands_of, open_scene, read_scene, write_scene
from geoseg.views import TERRAIN, band_table

# A reference system and the coordinates of a top left corner in it, on land with ice.
PLACES = {
    "EPSG:32645": (500_000, 3_100_000),
    "EPSG:3413": (-200_000, -2_300_000),
    "EPSG:3857": (-5_500_000, 10_500_000),
}


def map_scale(crs, x, y):
    """Metres of the map for a metre on the ground, by PROJ's own derivatives."""
    lon, lat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(x, y)
    return Proj(crs).get_factors(lon, lat).parallel_scale


def image(height=60, width=80):
    return np.full((2, height, width), 100, np.float32)


def plane(height, width, pixel, *, east, north):
    """Elevation that rises by these shares of a map unit to the east and to the north."""
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    return (5000 + pixel * (east * columns - north * rows)).astype(np.float32)


def make_scene(folder, dem, *, crs="EPSG:32645", pixel=30, dem_pixel=30, margin=0, **extra):
    """A scene of 60 x 80 px and a model of its ground, with `margin` map units more each side."""
    left, top = PLACES[crs]
    path = write_raster(folder / "a.tif", image(), crs=crs, origin=(left, top), pixel=pixel)
    model = write_raster(
        folder / "dem.tif",
        dem,
        crs=crs,
        origin=(left - margin, top + margin),
        pixel=dem_pixel,
        **extra,
    )
    return replace(scene_of(path), dem=model)


def read(scene, window=None, names=("red", *TERRAIN_BANDS), **options):
    with open_scene(scene, names, **options) as reader:
        height, width = reader.grid.shape
        return reader.read(Window(0, 0, width, height) if window is None else window)


def test_the_bands_are_those_that_networks_know():
    assert TERRAIN_BANDS == TERRAIN


@pytest.mark.parametrize("crs", PLACES)
@pytest.mark.parametrize(("east", "north"), [(-1, 0), (0.3, -0.4), (0, 0.2)])
def test_a_plane_has_its_slope_and_aspect_everywhere(tmp_path, crs, east, north):
    scene = make_scene(tmp_path, plane(80, 100, 30, east=east, north=north), crs=crs, margin=300)

    _, elevation, slope, sine, cosine, curvature = read(scene).image

    left, top = PLACES[crs]
    scale = map_scale(crs, left + 40 * 30, top - 30 * 30)
    steepness = np.hypot(east, north)
    np.testing.assert_allclose(elevation, plane(80, 100, 30, east=east, north=north)[10:70, 10:90])
    np.testing.assert_allclose(slope, np.degrees(np.arctan(steepness * scale)), rtol=2e-3)
    # It faces where it falls to.
    np.testing.assert_allclose(sine, -east / steepness, atol=2e-3)
    np.testing.assert_allclose(cosine, -north / steepness, atol=2e-3)
    np.testing.assert_allclose(curvature, 0, atol=1e-2)


def test_flat_ground_faces_nowhere(tmp_path):
    scene = make_scene(tmp_path, np.full((80, 100), 5, np.float32), margin=300)

    _, elevation, slope, sine, cosine, curvature = read(scene).image

    assert (elevation == 5).all()
    for band in (slope, sine, cosine, curvature):
        assert (band == 0).all()


def test_a_dome_is_convex_by_its_second_derivative(tmp_path):
    rows, columns = np.meshgrid(np.arange(80) - 40, np.arange(100) - 50, indexing="ij")
    dome = (2000 - 0.5 * 1e-3 * ((rows * 30.0) ** 2 + (columns * 30.0) ** 2)).astype(np.float32)
    scene = make_scene(tmp_path, dome, margin=300)

    curvature = read(scene).image[5]

    # Minus the Laplacian, in 1/(100 m): 2 x 1e-3 per metre; UTM shrinks by 4 in 10,000.
    np.testing.assert_allclose(curvature, 0.2, rtol=0.02)


def test_a_window_is_its_part_of_the_whole_across_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("geoseg.scenes.terrain._BLOCK_PX", 32)
    rng = np.random.default_rng(1)
    rough = rng.normal(1000, 50, (60, 80)).astype(np.float32)
    # Another reference system than the scene's, so that the model has to be warped.
    left, top = Transformer.from_crs("EPSG:32645", "EPSG:3413", always_xy=True).transform(
        *PLACES["EPSG:32645"]
    )
    scene = replace(
        make_scene(tmp_path, rough),
        dem=write_raster(
            tmp_path / "polar.tif",
            rough,
            crs="EPSG:3413",
            origin=(left - 4e3, top + 4e3),
            pixel=100,
        ),
    )

    whole = read(scene)
    part = read(scene, Window(25, 17, 40, 33))
    beyond = read(scene, Window(-9, -6, 30, 40))

    assert np.isfinite(whole.image).mean() > 0.9
    np.testing.assert_array_equal(part.image, whole.image[:, 17:50, 25:65])
    np.testing.assert_array_equal(beyond.image[:, 6:, 9:], whole.image[:, :34, :21])


def test_a_finer_model_is_averaged_by_area(tmp_path):
    rng = np.random.default_rng(2)
    rough = rng.normal(1000, 50, (60 * 3, 80 * 3)).astype(np.float32)
    scene = make_scene(tmp_path, rough, dem_pixel=10)

    elevation = read(scene).image[1]

    np.testing.assert_allclose(elevation, rough.reshape(60, 3, 80, 3).mean(axis=(1, 3)), rtol=1e-5)


def test_a_coarser_reader_takes_the_terrain_of_its_own_pixel(tmp_path):
    rng = np.random.default_rng(3)
    rough = rng.normal(1000, 50, (60, 80)).astype(np.float32)
    scene = make_scene(tmp_path, rough)

    coarse = read(scene, coarser=4)
    with open_scene(scene, ("red", *TERRAIN_BANDS)) as reader:
        averaged = reader.read(Window(0, 0, 80, 60), (15, 20))

    np.testing.assert_allclose(
        coarse.image[1], rough.reshape(15, 4, 20, 4).mean(axis=(1, 3)), rtol=1e-5
    )
    np.testing.assert_allclose(averaged.image, coarse.image, rtol=1e-3, atol=1e-3)


def test_a_void_is_nan_in_the_terrain_and_leaves_the_pixel_valid(tmp_path):
    dem = plane(60, 80, 30, east=0.1, north=0)
    dem[20, 30] = -9999
    scene = make_scene(tmp_path, dem, nodata=-9999)

    image, valid = read(scene)

    assert valid.all()
    assert np.isfinite(image[0]).all()
    assert np.argwhere(np.isnan(image[1])).tolist() == [[20, 30]]
    assert np.isnan(image[2, 19:22, 29:32]).all()
    assert np.isfinite(image[2, 22:-1, 1:-1]).all()


@pytest.mark.parametrize("void", [-9999, -32768])
def test_an_untagged_void_is_a_void(tmp_path, void):
    dem = plane(60, 80, 30, east=0.1, north=0).astype(np.float32 if void == -9999 else np.int16)
    dem[20, 30] = void
    scene = make_scene(tmp_path, dem)

    assert np.argwhere(np.isnan(read(scene).image[1])).tolist() == [[20, 30]]


def test_terrain_comes_in_the_order_that_is_asked_for(tmp_path):
    scene = make_scene(tmp_path, plane(60, 80, 30, east=0, north=0.1))

    names = ("slope", "nir08", "elevation")
    image = read(scene, names=names).image

    assert image[1, 5, 5] == 100
    assert image[2, 5, 5] == pytest.approx(5000 - 0.1 * 30 * 5)
    assert image[0, 5, 5] == pytest.approx(np.degrees(np.arctan(0.1)), rel=1e-2)
    assert [band.common_name for band in bands_of(scene, names)] == list(names)
    assert band_names(scene) == ("red", "nir08", *TERRAIN_BANDS)
    assert band_table(bands_of(scene, band_names(scene)))[2:, 4].tolist() == [0, 1, 2, 3, 4]


def test_terrain_without_a_model_is_refused_with_what_to_do(tmp_path):
    scene = scene_of(write_raster(tmp_path / "a.tif", image()))

    with pytest.raises(SceneError) as caught, open_scene(scene, ["red", "slope"]):
        pass

    assert str(caught.value) == (
        "scene a has no elevation model, which band 'slope' is made from; name one under `dem` of "
        "the scene, or leave the band out."
    )
    with pytest.raises(SceneError, match="has no elevation model"):
        bands_of(scene, ["aspect_sine"])
    assert band_names(scene) == ("red", "nir08")


def test_a_picture_is_no_elevation_model(tmp_path):
    scene = replace(make_scene(tmp_path, image()), dem=tmp_path / "a.tif")

    with (
        pytest.raises(SceneError, match="has 2 bands; give an elevation model of one band"),
        open_scene(scene, ["red", "slope"]),
    ):
        pass


def test_the_elevation_model_comes_back_from_the_stac_item(tmp_path):
    scene = make_scene(tmp_path, plane(60, 80, 30, east=0.1, north=0))
    path = tmp_path / "items" / "a.json"

    write_scene(scene, path)
    found = read_scene(path)

    assert found.dem is not None
    assert found.dem.resolve() == scene.dem.resolve()
    assert list(found.bands) == ["red", "nir08"]
    np.testing.assert_array_equal(read(found).image, read(scene).image)


def test_degrees_are_taken_to_metres(tmp_path):
    step = 1 / 3600
    rows, columns = np.meshgrid(np.arange(60), np.arange(80), indexing="ij")
    # At 60 degrees north a second of longitude is half as long as one of latitude.
    dem = (1000 + 10.0 * columns + 10.0 * rows).astype(np.float32)
    at = {"crs": "EPSG:4326", "origin": (86.0, 60.0), "pixel": step}
    path = write_raster(tmp_path / "a.tif", image(), **at)
    scene = replace(scene_of(path), dem=write_raster(tmp_path / "dem.tif", dem, **at))

    _, _, slope, sine, cosine, _ = read(scene, Window(10, 10, 20, 20)).image

    east, north = 15.50, 30.95  # metres of a second at 60 degrees, WGS 84
    expected = np.degrees(np.arctan(np.hypot(10 / east, 10 / north)))
    np.testing.assert_allclose(slope, expected, rtol=3e-3)
    np.testing.assert_allclose(sine / cosine, -north / east, rtol=5e-3)
