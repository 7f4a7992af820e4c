"""What tiling does to a map, against the whole image in one piece."""

import numpy as np
import pytest
import rasterio
import torch
from conftest import scene_of, two_band_spec, write_raster

from geoseg.config import InferenceSettings
from geoseg.inference import Prediction, predict_scene, probabilities
from geoseg.inference.layers import most_likely
from geoseg.inference.scene_view import SceneView
from geoseg.models import Segmenter, build_segmenter
from geoseg.models.stem import FixedBands
from geoseg.scenes import open_scene

CPU = torch.device("cpu")
BANDS = ("red", "nir08")
SPEC = two_band_spec()


class Halving(torch.nn.Module):
    """Sees 5 pixels to each side, paired two by two: 5 x 5, half, 3 x 3, back."""

    def __init__(self):
        super().__init__()
        self.fine = torch.nn.Conv2d(2, 4, 5, padding=2)
        self.coarse = torch.nn.Conv2d(4, 2, 3, padding=1)

    def forward(self, image):
        half = torch.nn.functional.avg_pool2d(self.fine(image).tanh(), 2)
        return 8 * torch.nn.functional.interpolate(self.coarse(half), scale_factor=2)


def scene_in(folder, height, width):
    image = np.random.default_rng(0).uniform(1, 200, (2, height, width)).astype(np.float32)
    image[:, 20:30, 40:70] = np.nan
    return scene_of(write_raster(folder / "scene.tif", image))


def whole_image(segmenter, scene):
    """Probabilities (K, H, W) and validity (H, W) without tiles."""
    with open_scene(scene, BANDS) as reader:
        height, width = reader.grid.shape
        from rasterio.windows import Window

        pixels = reader.read(Window(0, 0, width, height))
    bands = torch.full((len(BANDS), 5), torch.nan)
    view = SceneView(torch.ones(1, 2, 1), torch.tensor([30.0]), bands).show(
        pixels.image[None], pixels.valid[None]
    )
    return probabilities(segmenter, view, flips=False)[0].numpy(), pixels.valid


def tiled(segmenter, scene, folder, **settings):
    chosen = InferenceSettings(prevalence_reach_m=0, **settings)
    prediction = predict_scene(
        segmenter,
        scene,
        chosen,
        prediction=Prediction.within(folder, chosen),
        device=CPU,
        tags={},
        on_tile=lambda *_: None,
    )
    with rasterio.open(prediction.classes) as one, rasterio.open(prediction.probability) as two:
        return one.read(1), two.read()


@pytest.mark.parametrize("size", [(200, 333), (64, 64), (95, 257)])
def test_cropped_at_a_halo_as_wide_as_the_network_looks_it_is_the_whole_image(tmp_path, size):
    torch.manual_seed(0)
    segmenter = Segmenter(FixedBands((100.0,) * 2, (50.0,) * 2), Halving(), SPEC).eval()
    scene = scene_in(tmp_path, *size)
    chance, valid = whole_image(segmenter, scene)

    classes, stored = tiled(segmenter, scene, tmp_path, tile_px=64, halo_px=16, blend="crop")

    np.testing.assert_array_equal(classes[valid], chance.argmax(0)[valid])
    np.testing.assert_allclose(stored[:, valid] / 250, chance[:, valid], atol=0.5 / 250 + 1e-6)
    assert (classes[~valid] == 255).all()


def test_a_halo_narrower_than_the_network_looks_leaves_seams(tmp_path):
    torch.manual_seed(0)
    segmenter = Segmenter(FixedBands((100.0,) * 2, (50.0,) * 2), Halving(), SPEC).eval()
    scene = scene_in(tmp_path, 200, 333)
    chance, valid = whole_image(segmenter, scene)

    _, stored = tiled(segmenter, scene, tmp_path, tile_px=64, halo_px=0, blend="crop")

    off = np.abs(stored[1] / 250 - chance[1]) > 0.01
    assert 0 < off[valid].mean() < 0.3
    rows, columns = np.nonzero(off & valid)
    # Nowhere but at seams, which lie on multiples of 32 px.
    near = [np.abs((n + 16) % 32 - 16) <= 6 for n in (rows, columns)]
    assert (near[0] | near[1]).all()


@pytest.mark.slow
def test_a_unet_on_wide_halos_maps_as_in_one_piece(tmp_path):
    torch.manual_seed(0)
    segmenter = build_segmenter(SPEC).eval()
    scene = scene_in(tmp_path, 2100, 96)
    chance, valid = whole_image(segmenter, scene)

    classes, stored = tiled(segmenter, scene, tmp_path, tile_px=1280, halo_px=320, blend="crop")

    assert (classes[valid] == chance.argmax(0)[valid]).mean() > 0.9999
    assert np.abs(stored[1][valid] / 250 - chance[1][valid]).max() < 1.5 / 250


def test_the_most_likely_class_is_argmax():
    chance = torch.rand(3, 5, 20, 30).round(decimals=1)

    torch.testing.assert_close(most_likely(chance), chance.argmax(dim=1).to(torch.uint8))
