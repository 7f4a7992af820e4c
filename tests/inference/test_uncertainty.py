import numpy as np
import pytest
import rasterio
import torch
from conftest import scene_of, write_raster

from geoseg.config import InferenceSettings
from geoseg.errors import ConfigError, ModelError
from geoseg.inference import Prediction, predict_scene
from geoseg.labels import GLACIER, GLACIER_SURFACE
from geoseg.models import FixedInput, ModelSpec, Segmenter
from geoseg.models.stem import FixedBands

CPU = torch.device("cpu")
BANDS = ("red", "nir08")


class Fixed(torch.nn.Module):
    """Says the same of every pixel, whatever it shows."""

    def __init__(self, chance, drop=0.0):
        super().__init__()
        self.register_buffer("chance", torch.tensor(chance))
        self.dropout = torch.nn.Dropout(drop)

    def forward(self, image):
        logits = self.chance.log()[None, :, None, None].expand(len(image), -1, *image.shape[2:])
        return self.dropout(torch.ones(len(image), 1, 1, 1)) * logits


def says(*chance, drop=0.0, scheme=GLACIER, architecture="unet"):
    spec = ModelSpec(
        architecture=architecture,
        encoder="resnet18",
        input=FixedInput(bands=BANDS, mean=(100.0, 100.0), std=(50.0, 50.0)),
        scheme=scheme,
        prior=(1 / len(scheme.classes),) * len(scheme.classes),
    )
    return Segmenter(FixedBands((100.0,) * 2, (50.0,) * 2), Fixed(chance, drop), spec).eval()


@pytest.fixture
def scene(tmp_path):
    image = np.full((2, 90, 150), 80, np.uint8)
    image[:, :9] = 0
    return scene_of(write_raster(tmp_path / "scene.tif", image, nodata=0))


def mapped(networks, scene, folder, **settings):
    chosen = InferenceSettings(
        **{"tile_px": 64, "halo_px": 16, "prevalence_reach_m": 0, **settings}
    )
    prediction = predict_scene(
        networks,
        scene,
        chosen,
        prediction=Prediction.within(folder, chosen),
        device=CPU,
        tags={},
        on_tile=lambda *_: None,
    )
    with rasterio.open(prediction.uncertainty) as raster:
        assert raster.count == 1
        assert raster.nodata == 255
        stored = raster.read(1)
        assert (stored[:9] == 255).all()
        return stored[9:] * raster.scales[0], raster.descriptions[0]


@pytest.mark.parametrize("blend", ["smooth", "crop"])
def test_entropy_is_that_of_the_probabilities_over_its_most(scene, tmp_path, blend):
    values, name = mapped(says(0.8, 0.2), scene, tmp_path, uncertainty="entropy", blend=blend)

    expected = -(0.8 * np.log(0.8) + 0.2 * np.log(0.2)) / np.log(2)
    np.testing.assert_allclose(values, expected, atol=0.0021)
    assert name == "entropy"
    alike = (1 / len(GLACIER_SURFACE.classes),) * len(GLACIER_SURFACE.classes)
    most, _ = mapped(
        says(*alike, scheme=GLACIER_SURFACE), scene, tmp_path / "b", uncertainty="entropy"
    )
    np.testing.assert_allclose(most, 1, atol=0.0021)


@pytest.mark.parametrize("blend", ["smooth", "crop"])
@pytest.mark.parametrize("reach_m", [0, 3000])
def test_the_spread_of_two_networks_is_their_standard_deviation(scene, tmp_path, blend, reach_m):
    values, name = mapped(
        [says(0.9, 0.1), says(0.5, 0.5)],
        scene,
        tmp_path,
        uncertainty="spread",
        blend=blend,
        prevalence_reach_m=reach_m,
    )

    np.testing.assert_allclose(values, 0.2, atol=0.0021)
    assert name == "spread"
    if reach_m == 0:
        with rasterio.open(tmp_path / "probability.tif") as raster:
            np.testing.assert_allclose(raster.read(1)[9:] / 250, 0.7, atol=0.0021)


def test_units_that_drop_out_spread_one_network_and_always_the_same(scene, tmp_path):
    options = {"uncertainty": "spread", "dropout_samples": 8, "blend": "crop"}
    torch.manual_seed(1)
    one, _ = mapped(says(0.9, 0.1, drop=0.5), scene, tmp_path / "one", **options)
    torch.manual_seed(2)
    two, _ = mapped(says(0.9, 0.1, drop=0.5), scene, tmp_path / "two", **options)

    np.testing.assert_array_equal(one, two)
    # Half of the samples say 0.5, the other half 81/82.
    assert 0.15 < one.mean() < 0.25


def test_what_cannot_be_told_is_refused(scene, tmp_path):
    with pytest.raises(ConfigError, match="spread needs several networks"):
        mapped(says(0.9, 0.1), scene, tmp_path, uncertainty="spread")
    with pytest.raises(ConfigError, match="unet has no unit that drops out; use deeplabv3plus"):
        mapped(says(0.9, 0.1), scene, tmp_path, uncertainty="spread", dropout_samples=4)
    with pytest.raises(ModelError, match="ensemble have different classes or bands"):
        mapped([says(0.9, 0.1), says(*[0.1] * 7, scheme=GLACIER_SURFACE)], scene, tmp_path)
    with pytest.raises(ConfigError, match=r"inference.uncertainty = none; set it to entropy"):
        predict_scene(
            says(0.9, 0.1),
            scene,
            InferenceSettings(),
            prediction=Prediction(classes=tmp_path / "c.tif", uncertainty=tmp_path / "u.tif"),
            device=CPU,
            tags={},
            on_tile=lambda *_: None,
        )
    assert [p.name for p in tmp_path.iterdir()] == ["scene.tif"]


def test_numbers_that_are_not_finite_are_refused(scene, tmp_path):
    with pytest.raises(ModelError, match="not finite; its training went wrong"):
        mapped(says(0.5, float("nan")), scene, tmp_path, uncertainty="entropy")
    assert list(tmp_path.glob("*.tif")) == [tmp_path / "scene.tif"]
    assert [p for p in tmp_path.iterdir() if p.name.startswith(".")] == []
