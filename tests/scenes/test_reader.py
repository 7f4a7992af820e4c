from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from conftest import CRS, HEIGHT, WIDTH, scene_of, write_raster
from rasterio.windows import Window

from geoseg.errors import GridError, SceneError
from geoseg.grids import crs_of, gsd_m, same_crs
from geoseg.scenes import (
    Asset,
    Scene,
    data_bands,
    open_raster,
    open_scene,
    read_onto,
    read_scene,
    scene_sample,
    write_scene,
)

# One projection written by two programs: names differ, the ground does not.
OTHER_WORDS = (
    'PROJCS["UTM Zone 45, Northern Hemisphere",GEOGCS["Unknown datum based upon WGS 84",'
    'DATUM["Not specified (based on WGS 84 spheroid)",SPHEROID["WGS 84",6378137,298.257223563]],'
    'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],'
    'PARAMETER["latitude_of_origin",0],PARAMETER["central_meridian",87],'
    'PARAMETER["scale_factor",0.9996],PARAMETER["false_easting",500000],'
    'PARAMETER["false_northing",0],UNIT["metre",1]]'
)


def positions(height=40, width=60, count=1):
    """Each pixel holds its own position, so a swapped axis or a shifted window is seen."""
    flat = np.arange(count * height * width, dtype=np.float32)
    return flat.reshape(count, height, width)


def two_bands(one, other):
    return Scene(**{**fields_of(scene_of(one)), "bands": {
        "red": Asset(path=one), "nir08": Asset(path=other)}})  # fmt: skip


def fields_of(scene):
    return {name: getattr(scene, name) for name in ("id", "sensor_id", "start", "end")}


def test_a_window_holds_the_pixels_of_its_place(tmp_path):
    image = positions(count=2)
    scene = scene_of(write_raster(tmp_path / "a.tif", image))

    with open_scene(scene) as reader:
        read, valid = reader.read(Window(7, 3, 20, 10))

    np.testing.assert_array_equal(read, image[:, 3:13, 7:27])
    assert valid.all()


def test_what_lies_beyond_the_scene_is_not_valid(tmp_path):
    scene = scene_of(write_raster(tmp_path / "a.tif", positions(count=2)))

    with open_scene(scene) as reader:
        image, valid = reader.read(Window(-5, -8, 20, 20))
        nothing = reader.read(Window(500, 500, 4, 4))

    assert valid.sum() == 12 * 15
    assert not valid[:8].any()
    assert not valid[:, :5].any()
    assert (image[:, ~valid] == 0).all()
    assert not nothing.valid.any()


@pytest.mark.parametrize("nodata", [-9999.0, float("-inf"), 0.0, float("nan")])
def test_tagged_nodata_of_any_band_is_not_valid(tmp_path, nodata):
    image = positions(count=2) + 1
    image[1, 5, 9] = nodata
    scene = scene_of(write_raster(tmp_path / "a.tif", image, nodata=nodata))

    with open_scene(scene) as reader:
        read, valid = reader.read(Window(0, 0, 60, 40))

    assert np.argwhere(~valid).tolist() == [[5, 9]]
    assert np.isfinite(read).all()


def test_nan_is_never_valid_and_nodata_can_be_named_where_the_file_does_not(tmp_path):
    image = positions(count=2) + 1
    image[0, 1, 2], image[1, 3, 4] = np.nan, -9999
    scene = scene_of(write_raster(tmp_path / "a.tif", image), nodata=-9999.0)

    with open_scene(scene) as reader:
        valid = reader.read(Window(0, 0, 60, 40)).valid

    assert np.argwhere(~valid).tolist() == [[1, 2], [3, 4]]


def test_scale_and_offset_of_the_file_are_applied(tmp_path):
    path = write_raster(tmp_path / "a.tif", positions().astype(np.int16))
    import rasterio

    with rasterio.open(path, "r+") as raster:
        raster.scales, raster.offsets = (1e-4,), (-0.1,)
    with open_scene(scene_of(path, bands=("red",))) as reader:
        read = reader.read(Window(0, 0, 60, 40)).image

    np.testing.assert_allclose(read[0], positions()[0] * 1e-4 - 0.1, rtol=1e-5)


def test_bands_of_two_pixel_sizes_share_the_finer_grid(tmp_path):
    fine = write_raster(tmp_path / "fine.tif", positions(40, 60)[0], pixel=10)
    coarse = write_raster(tmp_path / "coarse.tif", np.full((20, 30), 7, np.float32), pixel=20)

    with open_scene(two_bands(coarse, fine)) as reader:
        image, valid = reader.read(Window(0, 0, 60, 40))
        assert gsd_m(reader.grid) == 10

    assert valid.all()
    assert (image[0] == 7).all()


def test_bands_one_pixel_apart_are_refused_with_both_grids(tmp_path):
    one = write_raster(tmp_path / "red.tif", positions()[0])
    other = write_raster(tmp_path / "nir.tif", positions()[0], origin=(500_030, 3_100_000))

    with pytest.raises(GridError) as caught, open_scene(two_bands(one, other)):
        pass

    assert str(caught.value).splitlines() == [
        "red and nir08 are not on the same pixels.",
        "  red: EPSG:32645, 40 x 60 px of 30, top left (500000, 3100000)",
        "  nir08: EPSG:32645, 40 x 60 px of 30, top left (500030, 3100000)",
        "Bring one onto the other with geoseg.scenes.read_onto(asset, grid) or `gdalwarp`.",
    ]


def test_two_reference_systems_are_refused_but_two_spellings_of_one_are_not(tmp_path):
    red = write_raster(tmp_path / "red.tif", positions()[0])
    same = write_raster(tmp_path / "same.tif", positions()[0], crs=OTHER_WORDS)
    other = write_raster(tmp_path / "other.tif", positions()[0], crs="EPSG:32644")

    with open_scene(two_bands(red, same)) as reader:
        assert reader.read(Window(0, 0, 60, 40)).valid.all()
    with (
        pytest.raises(GridError, match="different coordinate reference systems") as caught,
        open_scene(two_bands(red, other)),
    ):
        pass
    assert caught.value.exit_code == 2


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_raster_without_a_reference_system_is_refused(tmp_path):
    path = write_raster(tmp_path / "a.tif", positions()[0], crs=None)

    with (
        pytest.raises(GridError, match="has no coordinate reference system; set it with"),
        open_scene(scene_of(path, bands=("red",))),
    ):
        pass


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_a_truncated_file_is_one_sentence_with_its_path(tmp_path, kept):
    rng = np.random.default_rng(0)
    whole = write_raster(tmp_path / "a.tif", rng.integers(0, 255, (400, 400)).astype(np.uint8))
    content = whole.read_bytes()
    whole.write_bytes(content[: int(len(content) * kept)])

    with (
        pytest.raises(SceneError, match="truncated or damaged") as caught,
        open_scene(scene_of(whole, bands=("red",))) as reader,
    ):
        reader.read(Window(0, 0, 400, 400))

    assert str(whole) in str(caught.value)


def test_a_virtual_raster_in_disguise_is_not_opened(tmp_path):
    path = tmp_path / "innocent.tif"
    path.write_text(
        '<VRTDataset rasterXSize="1" rasterYSize="1"><VRTRasterBand dataType="Byte" band="1">'
        "<SimpleSource><SourceFilename>/etc/passwd</SourceFilename></SimpleSource>"
        "</VRTRasterBand></VRTDataset>"
    )

    with pytest.raises(SceneError, match="cannot be opened as a raster"):
        open_raster(path)


@pytest.mark.parametrize(
    ("bands", "interleave", "refused"),
    [(15, "pixel", False), (17, "pixel", True), (17, "band", False)],
)
def test_blocks_of_more_than_64_mebibytes_are_refused(tmp_path, bands, interleave, refused):
    import rasterio

    path = tmp_path / "a.tif"
    size = {"height": 4096, "width": 4096, "count": bands, "dtype": "uint8"}
    blocks = {"tiled": True, "blockxsize": 2048, "blockysize": 2048, "interleave": interleave}
    placed = {"crs": CRS, "transform": rasterio.Affine(30, 0, 5e5, 0, -30, 3.1e6)}
    with rasterio.open(path, "w", driver="GTiff", sparse_ok=True, **placed, **size, **blocks):
        pass

    told = pytest.raises(SceneError, match="2048 x 2048 px, over 64 MiB")
    with told if refused else nullcontext():
        open_raster(path).close()


def test_a_missing_file_and_a_missing_band_are_named(example, tmp_path):
    with pytest.raises(SceneError, match="does not exist"):
        open_raster(tmp_path / "none.tif")
    with (
        pytest.raises(SceneError, match="no band 'swir16' in scene scene"),
        open_scene(example.scene, ["swir16"]),
    ):
        pass


def test_a_scene_comes_back_from_its_stac_item(example, tmp_path):
    path = tmp_path / "items" / "scene.json"

    write_scene(example.scene, path)
    read = read_scene(path)

    assert fields_of(read) == fields_of(example.scene)
    assert list(read.bands) == ["red", "nir08"]
    with open_scene(read) as one, open_scene(example.scene) as other:
        window = Window(0, 0, WIDTH, HEIGHT)
        np.testing.assert_array_equal(one.read(window).image, other.read(window).image)


def test_reading_onto_a_coarser_grid_averages(tmp_path):
    image = positions(40, 60)[0]
    path = write_raster(tmp_path / "a.tif", image)
    with open_scene(scene_of(path, bands=("red",))) as reader:
        coarse = read_onto(Asset(path=path), reader.grid.zoom_out(2))

    blocks = image.reshape(20, 2, 30, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(coarse, blocks, rtol=1e-6)


def test_datums_apart_are_reference_systems_apart(tmp_path):
    def crs(code):
        path = write_raster(tmp_path / f"{code}.tif", positions()[0], crs=f"EPSG:{code}")
        with open_scene(scene_of(path, bands=("red",))) as reader:
            return crs_of(reader.grid)

    assert not same_crs(crs(32611), crs(26711))  # WGS 84 and NAD27
    assert not same_crs(crs(3413), crs(3031))
    assert same_crs(crs(3413), crs(3413))


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"type": "Feature"}', '{"type": "Feature", "id": 3, "assets": {"a": "b"}}'],
)
def test_what_is_no_stac_item_is_refused_in_one_sentence(tmp_path, content):
    path = tmp_path / "item.json"
    path.write_text(content)

    with pytest.raises(SceneError, match="is not a STAC item that can be read"):
        read_scene(path)


def test_an_item_that_lacks_what_is_needed_is_named(example, tmp_path):
    path = tmp_path / "scene.json"
    write_scene(example.scene, path)
    whole = path.read_text()

    path.write_text(whole.replace("geoseg:sensor", "other"))
    with pytest.raises(SceneError, match="names no sensor; add the property 'geoseg:sensor'"):
        read_scene(path)
    path.write_text(whole.replace('"bands": [', '"bands": ["x", '))
    with pytest.raises(SceneError, match="is not a STAC item that can be read"):
        read_scene(path)
    path.write_text(whole.replace('"href": "', '"href": "https://example.org/'))
    with pytest.raises(SceneError, match="download the file and name it by a local path"):
        read_scene(path)


def test_a_coarser_band_has_no_seam_between_windows(tmp_path):
    rng = np.random.default_rng(0)
    fine = write_raster(tmp_path / "fine.tif", positions(60, 90)[0], pixel=10)
    coarse = write_raster(
        tmp_path / "coarse.tif", rng.normal(0, 1, (20, 30)).astype(np.float32), pixel=30
    )

    with open_scene(two_bands(coarse, fine)) as reader:
        whole = reader.read(Window(0, 0, 90, 60))
        parts = {n: reader.read(Window(14 + n, 23 + n, 31, 17)).image for n in range(6)}

    for n, part in parts.items():
        np.testing.assert_array_equal(part, whole.image[:, 23 + n : 40 + n, 14 + n : 45 + n])


def test_a_gap_of_a_coarser_band_is_as_large_as_its_pixel(tmp_path):
    values = np.full((20, 30), 7, np.float32)
    values[4, 9] = -9999
    fine = write_raster(tmp_path / "fine.tif", positions(40, 60)[0], pixel=10)
    coarse = write_raster(tmp_path / "coarse.tif", values, pixel=20, nodata=-9999)

    with open_scene(two_bands(coarse, fine)) as reader:
        image, valid = reader.read(Window(0, 0, 60, 40))

    assert np.argwhere(~valid).tolist() == [[8, 18], [8, 19], [9, 18], [9, 19]]
    np.testing.assert_allclose(image[0][valid], 7, rtol=1e-6)


@pytest.mark.parametrize("pixel", [30, 60])
def test_the_mask_of_a_scene_strikes_out_its_zeros(tmp_path, pixel):
    image = positions(40, 60, count=2) + 1
    mask = np.ones((40 * 30 // pixel, 60 * 30 // pixel), np.uint8)
    mask[3, 5] = 0
    path = write_raster(tmp_path / "a.tif", image)
    scene = replace(
        scene_of(path), mask=Asset(path=write_raster(tmp_path / "m.tif", mask, pixel=pixel))
    )

    with open_scene(scene) as reader:
        valid = reader.read(Window(0, 0, 60, 40)).valid

    size = pixel // 30
    assert (~valid).sum() == size**2
    assert not valid[3 * size : 4 * size, 5 * size : 6 * size].any()


def with_alpha(path, image, alpha):
    import rasterio
    from rasterio.enums import ColorInterp

    write_raster(path, np.concatenate([image, alpha[None]]))
    with rasterio.open(path, "r+") as raster:
        raster.colorinterp = [*[ColorInterp.gray] * len(image), ColorInterp.alpha]
    return path


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_an_alpha_band_is_a_mask_and_no_data(tmp_path, kind):
    image = (positions(40, 60, count=1) % 200 + 1).astype(kind)
    alpha = np.full((40, 60), np.iinfo(kind).max, kind)
    alpha[:, :7] = 0
    alpha[9, 20] = 1
    path = with_alpha(tmp_path / "film.tif", image, alpha)

    with open_raster(path) as raster:
        assert data_bands(raster) == (1,)
    with open_scene(scene_of(path, bands=("pan",), sensor="hexagon-kh9-mapping")) as reader:
        read, valid = reader.read(Window(0, 0, 60, 40))

    np.testing.assert_array_equal(valid, alpha != 0)
    np.testing.assert_array_equal(read[0, :, 7:], image[0, :, 7:])


def test_near_infrared_that_a_program_tagged_as_alpha_is_data(tmp_path):
    image = (positions(40, 60, count=4) % 250).astype(np.uint8)  # zeros in every band
    path = with_alpha(tmp_path / "a.tif", image[:3], image[3])
    scene = scene_of(path, bands=("red", "green", "blue", "nir08"))

    with open_scene(scene) as reader:
        read, valid = reader.read(Window(0, 0, 60, 40))
    with open_scene(scene, ["red"]) as reader:
        only = reader.read(Window(0, 0, 60, 40))

    assert valid.all()
    assert only.valid.all()
    np.testing.assert_array_equal(read, image)


def test_nodata_of_16_bits_is_exact(tmp_path):
    image = np.full((2, 40, 60), 65_534, np.uint16)
    image[0, 1, 2], image[1, 3, 4] = 65_535, 0
    scene = scene_of(write_raster(tmp_path / "a.tif", image, nodata=65_535), nodata=0.0)

    with open_scene(scene) as reader:
        read, valid = reader.read(Window(0, 0, 60, 40))

    assert np.argwhere(~valid).tolist() == [[1, 2], [3, 4]]
    assert (read[:, valid] == 65_534).all()


def test_a_sample_is_the_same_each_time_and_from_the_whole_scene(tmp_path):
    image = positions(700, 900, count=2) + 1
    image[0, :350] = np.nan
    scene = scene_of(write_raster(tmp_path / "a.tif", image))

    with open_scene(scene) as reader:
        sample = scene_sample(reader)
        again = scene_sample(reader)
        other = scene_sample(reader, count=50, seed=1)

    np.testing.assert_array_equal(sample, again)
    assert sample.shape == (2, 1024)
    assert other.shape == (2, 50)
    place = sample[0].astype(int) - 1
    np.testing.assert_array_equal(sample[1], sample[0] + 700 * 900)
    rows, columns = place // 900, place % 900
    assert rows.min() >= 350
    for axis, low, high in ((rows, 350, 700), (columns, 0, 900)):
        spread = np.histogram(axis, bins=4, range=(low, high))[0]
        assert spread.min() > 150


def test_a_sample_finds_the_little_that_is_valid_and_nothing_where_nothing_is(tmp_path):
    image = np.full((1, 1500, 1600), np.nan, np.float32)
    empty = scene_of(write_raster(tmp_path / "empty.tif", image), bands=("red",))
    image[0, 900:960, 300:360] = 7
    sparse = scene_of(write_raster(tmp_path / "sparse.tif", image), bands=("red",))

    with open_scene(sparse) as reader:
        assert (scene_sample(reader) == 7).all()
    with open_scene(empty) as reader:
        sample = scene_sample(reader)

    assert sample.shape == (1, 1024)
    assert np.isnan(sample).all()


def test_an_overview_is_an_average(tmp_path):
    image = positions(40, 60, count=2)
    with open_scene(scene_of(write_raster(tmp_path / "a.tif", image))) as reader:
        seen, valid = reader.overview(15)

    np.testing.assert_allclose(seen, image.reshape(2, 10, 4, 15, 4).mean(axis=(2, 4)), rtol=1e-5)
    assert valid.all()


def test_a_band_that_the_sensor_has_not_is_named_with_its_item(example, tmp_path):
    path = tmp_path / "scene.json"
    write_scene(example.scene, path)
    whole = path.read_text()

    path.write_text(whole.replace('"nir08"', '"nir07"'))
    with pytest.raises(
        SceneError, match=r"scene\.json holds a band that its sensor has not: no la"
    ):
        read_scene(path)
    centre = '"eo:common_name": "red", "eo:center_wavelength": '
    path.write_text(whole.replace('"eo:common_name": "red"', centre + "665"))
    with pytest.raises(SceneError, match=r"'red' eo:center_wavelength = 665, and landsat-7 has it"):
        read_scene(path)
    path.write_text(whole.replace('"eo:common_name": "red"', centre + "0.661"))
    assert list(read_scene(path).bands) == ["red", "nir08"]
