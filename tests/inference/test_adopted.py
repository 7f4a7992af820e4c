"""Networks that geoseg did not make, in its predict."""

import numpy as np
import pytest
import rasterio
import torch
from conftest import scene_of, write_raster
from torch import nn

from geoseg.config import InferenceSettings
from geoseg.errors import ModelError, SensorError
from geoseg.inference import Prediction, predict_scene
from geoseg.labels import GLACIER, IGNORE
from geoseg.models import adopt_network, build_segmenter, save_checkpoint
from geoseg.models.network import FixedInput, ModelSpec

TOLD = {
    "scheme": GLACIER,
    "sensor": "landsat-7",
    "bands": ("red", "B4"),
    "mean": (100.0, 50.0),
    "std": (10.0, 5.0),
    "prior": (0.9, 0.1),
}
SETTINGS = InferenceSettings(tile_px=64, halo_px=16, prevalence_reach_m=0)


class BrightIsIce(nn.Module):
    """Ice where the bands are brighter than their means by more than they differ."""

    def forward(self, image):
        bright = image[:, :1] + image[:, 1:]
        return torch.cat([-bright, bright], dim=1)


def map_with(segmenter, scene, folder):
    predict_scene(
        segmenter,
        scene,
        SETTINGS,
        prediction=Prediction.within(folder, SETTINGS),
        device=torch.device("cpu"),
        tags={},
        on_tile=lambda *_: None,
    )
    with rasterio.open(folder / "classes.tif") as raster:
        return raster.read(1)


@pytest.fixture
def scene(tmp_path):
    pixels = np.random.default_rng(0).integers(1, 200, (2, 130, 170)).astype(np.uint8)
    pixels[:, :7] = 0
    return scene_of(write_raster(tmp_path / "scene.tif", pixels, nodata=0))


def test_any_module_maps_a_scene_by_the_bands_and_normalisation_it_is_told(scene, tmp_path):
    adopted = adopt_network(BrightIsIce(), **TOLD)

    mapped = map_with(adopted, scene, tmp_path / "map")

    with rasterio.open(scene.bands["red"].path) as raster:
        red, nir = raster.read().astype(np.float32)
    ice = (red - 100) / 10 + (nir - 50) / 5 > 0
    expected = np.where(ice, 1, 0)
    expected[:7] = IGNORE
    np.testing.assert_array_equal(mapped, expected)
    assert adopted.spec.input.bands == ("red", "nir08")  # by their common names


@pytest.mark.slow
def test_weights_of_smp_go_into_a_checkpoint_of_geoseg(scene, tmp_path):
    """As those of torchgeo, whose segmentation networks are smp's."""
    import segmentation_models_pytorch as smp

    torch.manual_seed(3)
    theirs = smp.Unet("resnet18", encoder_weights=None, in_channels=2, classes=2).eval()
    spec = ModelSpec(
        architecture="unet",
        encoder="resnet18",
        input=FixedInput(bands=("red", "nir08"), mean=TOLD["mean"], std=TOLD["std"]),
        scheme=GLACIER,
        prior=TOLD["prior"],
    )
    segmenter = build_segmenter(spec).eval()
    segmenter.network.load_state_dict(theirs.state_dict())
    save_checkpoint(tmp_path / "model.safetensors", segmenter, {"source": "smp"})

    one = map_with(segmenter, scene, tmp_path / "one")
    two = map_with(adopt_network(theirs, **TOLD), scene, tmp_path / "two")

    np.testing.assert_array_equal(one, two)
    assert len(np.unique(one)) == 3  # both classes, and no data


class GivesADict(BrightIsIce):
    """As the networks of torchvision."""

    def forward(self, image):
        return {"out": super().forward(image)}


class GivesClasses(BrightIsIce):
    def forward(self, image):
        return super().forward(image).long()


class GivesNoNumber(BrightIsIce):
    def forward(self, image):
        return super().forward(image) / 0


class Raises(BrightIsIce):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def forward(self, _):
        raise self.error


@pytest.mark.parametrize(
    ("network", "changes", "message"),
    [
        (GivesADict(), {}, r"GivesADict gives dict, and .* ask for \(1, 2, 64, 64\)"),
        (nn.Conv2d(2, 3, 1), {}, r"Conv2d gives \(1, 3, 64, 64\), and .* \(1, 2, 64, 64\)"),
        (nn.Conv2d(3, 2, 1), {}, r"Conv2d does not take an image of shape \(1, 2, 64, 64\)"),
        (GivesClasses(), {}, r"GivesClasses gives torch\.int64, and logits are floats"),
        (GivesNoNumber(), {}, "gives logits of an image of zeros that are not finite"),
        (
            Raises(AssertionError("Input height (64)\ndoesn't match (224)")),
            {},
            r"\(AssertionError: Input height \(64\) doesn't match \(224\)\); name the bands",
        ),
        (Raises(KeyError("image")), {}, r"\(KeyError: 'image'\)"),
        (Raises(AssertionError()), {}, r"\(AssertionError: no reason was given\)"),
        (len, {}, "The network is of type builtin_function_or_method; give a torch.nn.Module"),
        (BrightIsIce(), {"bands": ("red", "B3")}, "bands has red more than once"),
        (BrightIsIce(), {"mean": (float("nan"), 1.0)}, r"mean = \[nan, 1\.0\]; give a finite"),
        (BrightIsIce(), {"mean": ("a", "b")}, r"mean = \['a', 'b'\]; give a finite number"),
        (BrightIsIce(), {"std": (float("inf"), 1.0)}, r"std = \[inf, 1\.0\]; give a finite"),
        (BrightIsIce(), {"prior": (float("nan"), 0.5)}, r"prior = \[nan, 0\.5\]; give shares"),
        (BrightIsIce(), {"mean": (1.0,)}, "mean has 1 numbers for 2 bands, red, nir08"),
        (BrightIsIce(), {"std": (1.0, 0.0)}, r"std = \[1\.0, 0\.0\]; give a finite number above 0"),
        (BrightIsIce(), {"prior": (0.5, 0.2)}, r"prior = \[0\.5, 0\.2\]; give shares above 0"),
        (BrightIsIce(), {"prior": (1.0,)}, "prior has 1 numbers for 2 classes, ground, glacier"),
    ],
)
def test_what_does_not_fit_is_told_with_both_sides(network, changes, message):
    with pytest.raises(ModelError, match=message):
        adopt_network(network, **{**TOLD, **changes})


@pytest.mark.parametrize("error", [None, KeyError("image")])
def test_a_refused_network_is_in_the_mode_it_was_in(error):
    network = nn.Sequential(nn.BatchNorm2d(2).eval(), Raises(error) if error else GivesClasses())

    with pytest.raises(ModelError):
        adopt_network(network, **TOLD)

    assert network.training
    assert [part.training for part in network] == [False, True]


def test_a_band_that_the_sensor_has_not_is_named():
    with pytest.raises(SensorError, match=r"no landsat-7 band named 'rad'\. Did you mean 'red'"):
        adopt_network(BrightIsIce(), **{**TOLD, "bands": ("rad", "nir08")})


def test_an_adopted_network_is_not_written_as_a_checkpoint_that_cannot_be_read(tmp_path):
    with pytest.raises(ModelError, match="BrightIsIce was adopted and cannot be built again"):
        save_checkpoint(tmp_path / "m.safetensors", adopt_network(BrightIsIce(), **TOLD), {})

    assert list(tmp_path.iterdir()) == []
