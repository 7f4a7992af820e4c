import numpy as np
import pytest
import rasterio
import torch
from conftest import HEIGHT, WIDTH, scene_of, two_band_spec, write_raster
from rasterio.windows import Window

from geoseg.config import InferenceSettings
from geoseg.errors import SceneError
from geoseg.inference import Prediction, predict_scene, probabilities
from geoseg.labels import IGNORE
from geoseg.models import build_segmenter
from geoseg.scenes import open_scene
from geoseg.sensors import find_sensor
from geoseg.views import View, band_table

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def segmenter():
    torch.manual_seed(0)
    spec = two_band_spec()
    return build_segmenter(spec).eval()


class Threshold(torch.nn.Module):
    """Sees one pixel at a time, so that its map is known for any tiling."""

    def forward(self, image):
        return torch.stack([-image[:, 0], image[:, 0]], dim=1) * 4


@pytest.fixture
def pixelwise(segmenter):
    from geoseg.models import Segmenter

    return Segmenter(segmenter.stem, Threshold(), segmenter.spec).eval()


def map_scene(segmenter, scene, folder, **settings):
    chosen = InferenceSettings(
        **{"tile_px": 64, "halo_px": 16, "prevalence_reach_m": 0, **settings}
    )
    return predict_scene(
        segmenter,
        scene,
        chosen,
        prediction=Prediction.within(folder, chosen),
        device=CPU,
        tags={"recipe_hash": "abc"},
        on_tile=lambda *_: None,
    )


def read(path):
    with rasterio.open(path) as raster:
        return raster.read()


@pytest.mark.parametrize(("tile", "halo"), [(64, 0), (64, 16), (96, 16), (512, 64)])
@pytest.mark.parametrize("flips", [False, True])
def test_the_map_of_a_pixelwise_network_does_not_depend_on_the_tiles(
    pixelwise, example, tmp_path, tile, halo, flips
):
    prediction = map_scene(
        pixelwise, example.scene, tmp_path, tile_px=tile, halo_px=halo, flips=flips
    )

    with open_scene(example.scene, ["red"]) as reader:
        red = reader.read(Window(0, 0, WIDTH, HEIGHT)).image[0]
    np.testing.assert_array_equal(read(prediction.classes)[0], (red > 100).astype(np.uint8))
    expected = 1 / (1 + np.exp(-8 * (red - 100) / 50))
    np.testing.assert_allclose(read(prediction.probability)[1] / 250, expected, atol=0.0021)


def test_both_maps_are_cloud_optimised_and_name_their_making(pixelwise, example, tmp_path):
    prediction = map_scene(pixelwise, example.scene, tmp_path)

    for path in (prediction.classes, prediction.probability):
        with rasterio.open(path) as raster:
            assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert raster.tags()["recipe_hash"] == "abc"
            assert raster.nodata == IGNORE
            assert raster.crs.to_epsg() == 32645
    with rasterio.open(prediction.probability) as raster:
        assert raster.descriptions == ("ground", "glacier")
        assert raster.scales == (1 / 250, 1 / 250)
    with rasterio.open(prediction.classes) as raster:
        assert raster.colormap(1)[1] == (0x4A, 0xA8, 0xD8, 255)


def test_what_is_not_valid_is_255_and_does_not_touch_its_neighbours(segmenter, tmp_path):
    rng = np.random.default_rng(0)
    image = rng.uniform(50, 150, (2, HEIGHT, WIDTH)).astype(np.float32)
    holed = image.copy()
    holed[0, 30:40, 50:70] = np.nan
    other = image.copy()
    other[:, 30:40, 50:70] = -9999
    nan = scene_of(write_raster(tmp_path / "nan.tif", holed))
    tagged = scene_of(write_raster(tmp_path / "tagged.tif", other, nodata=-9999))

    one = map_scene(segmenter, nan, tmp_path / "one")
    two = map_scene(segmenter, tagged, tmp_path / "two")

    classes = read(one.classes)[0]
    assert (classes[30:40, 50:70] == IGNORE).all()
    assert (classes != IGNORE).sum() == HEIGHT * WIDTH - 200
    assert (read(one.probability)[:, 30:40, 50:70] == 255).all()
    # Two ways to say `no data` are one.
    np.testing.assert_array_equal(classes, read(two.classes)[0])


def test_a_tile_without_data_never_reaches_the_network(pixelwise, tmp_path, monkeypatch):
    image = np.full((2, HEIGHT, WIDTH), np.nan, np.float32)
    image[:, :, :20] = 120
    scene = scene_of(write_raster(tmp_path / "a.tif", image))
    calls = []
    forward = Threshold.forward
    monkeypatch.setattr(Threshold, "forward", lambda s, x: calls.append(1) or forward(s, x))

    map_scene(pixelwise, scene, tmp_path, halo_px=0)

    assert len(calls) == 2  # of six tiles


def test_a_scene_that_lacks_a_band_is_refused_and_leaves_nothing(segmenter, tmp_path):
    scene = scene_of(write_raster(tmp_path / "a.tif", np.ones((1, 50, 50), "f4")), bands=("red",))

    with pytest.raises(SceneError, match="no band 'nir08' in scene a"):
        map_scene(segmenter, scene, tmp_path / "out")

    assert not (tmp_path / "out").exists()


def test_a_scene_that_breaks_halfway_leaves_no_map(segmenter, tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (2, 400, 300)).astype(np.uint8)
    path = write_raster(tmp_path / "a.tif", image)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(SceneError, match="truncated or damaged"):
        map_scene(segmenter, scene_of(path), tmp_path / "out")

    assert list((tmp_path / "out").glob("*")) == [tmp_path / "out" / ".classes.tif.unfinished"]


def test_averaging_over_positions_undoes_each_position(pixelwise):
    image = torch.rand(2, 2, 32, 32) * 100 + 50
    valid = torch.ones(2, 32, 32, dtype=torch.bool)
    bands = band_table([find_sensor("landsat-7").band(name) for name in ("red", "nir08")])
    view = View(image, valid, image.flatten(2), torch.full((2,), 30.0), bands)

    torch.testing.assert_close(
        probabilities(pixelwise, view, flips=True),
        probabilities(pixelwise, view, flips=False),
    )


@pytest.mark.parametrize("shape", [(1, 500), (500, 1), (700, 8), (1, 1)])
@pytest.mark.parametrize("reach_m", [0, 3000])
def test_a_scene_of_a_single_row_or_column_is_mapped(pixelwise, tmp_path, shape, reach_m):
    image = np.full((2, *shape), 130, np.float32)
    scene = scene_of(write_raster(tmp_path / "a.tif", image))

    prediction = map_scene(pixelwise, scene, tmp_path / "out", prevalence_reach_m=reach_m)

    assert (read(prediction.classes)[0] == 1).all()
