"""The stem takes any bands of any sensor."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.errors import SensorError
from geoseg.labels import GLACIER_SURFACE
from geoseg.models import AnyInput, ModelSpec, build_segmenter, extrapolation, tune
from geoseg.models.stem import AnyBands, _codes, standardise
from geoseg.sensors import Band, find_sensor
from geoseg.views import View, band_table, tones, turned

S2 = find_sensor("sentinel-2").bands
DEM = find_sensor("dem").bands
SETS = {
    1: find_sensor("hexagon-kh9-mapping").bands,
    3: S2[1:4],
    4: find_sensor("spot-5").bands[-4:],
    10: tuple(band for band in S2 if band.gsd_m <= 20),
    13: S2,
    2: find_sensor("sentinel-1").bands[:2],
}


@pytest.fixture(scope="module")
def stem():
    torch.manual_seed(0)
    return AnyBands(8).eval()


def view_of(bands, *, size=(20, 28), count=2, gsd_m=10.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(count, len(bands), *size, generator=generator) * 50 + 100
    valid = torch.ones(count, *size, dtype=torch.bool)
    return View(image, valid, image.flatten(2), torch.full((count,), gsd_m), band_table(bands))


def permuted(view, order):
    return view._replace(
        image=view.image[:, order], palette=view.palette[:, order], bands=view.bands[order]
    )


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(6)))
def test_the_order_of_bands_does_not_matter(order):
    torch.manual_seed(0)
    stem = AnyBands(8).eval()
    view = view_of(S2[:6])

    torch.testing.assert_close(stem(view), stem(permuted(view, order)), atol=1e-5, rtol=1e-5)


def test_bands_in_another_order_than_their_names_are_another_image(stem):
    view = view_of(S2[:6])
    wrong = view._replace(bands=view.bands[[1, 0, 2, 3, 4, 5]])

    assert (stem(view) - stem(wrong)).abs().max() > 1e-3


def test_a_band_that_is_missing_is_left_out_and_not_zero(stem):
    view = view_of(S2[:4])
    hole = view.image.clone()
    hole[:, 2] = torch.nan
    mean = view.image.clone()
    mean[:, 2] = view.palette[:, 2].mean(-1)[:, None, None]
    fewer = view_of(S2[:4])
    fewer = permuted(fewer, [0, 1, 3])

    missing = stem(view._replace(image=hole))

    torch.testing.assert_close(missing, stem(fewer), atol=1e-5, rtol=1e-5)
    assert (missing - stem(view._replace(image=mean))).abs().max() > 1e-3


def test_a_band_may_be_missing_in_a_part_of_an_image(stem):
    view = view_of(S2[:4])
    hole = view.image.clone()
    hole[:, 2, :, :10] = torch.nan

    half = stem(view._replace(image=hole))

    fewer = stem(permuted(view, [0, 1, 3]))
    torch.testing.assert_close(half[..., :9], fewer[..., :9], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(half[..., 11:], stem(view)[..., 11:], atol=1e-5, rtol=1e-5)


def test_a_void_of_the_band_that_counts_most_does_not_blow_features_up():
    torch.manual_seed(0)
    stem = AnyBands(8).eval()
    view = view_of(S2[:2])
    holed = view.image.clone()
    holed[:, 1, 8:12, 8:12] = torch.nan
    # All attention goes to the second band.
    described = stem.describe(_codes(view.bands))
    stem.attend.weight.data = 40 * (described[1] - described[0]).expand(4, -1).clone()

    whole, some = stem(view), stem(view._replace(image=holed))

    assert some.abs().max() < 3 * whole.abs().max()


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 1e30])
def test_no_value_of_an_invalid_pixel_reaches_the_features(stem, poison):
    view = view_of(S2[:3])
    view.valid[:, 5:9, 5:9] = False
    poisoned = torch.where(view.valid.unsqueeze(1), view.image, poison)

    torch.testing.assert_close(stem(view._replace(image=poisoned)), stem(view))


@pytest.mark.parametrize("scale", [1e-4, 1.0, 40.0])
def test_the_unit_of_a_scene_does_not_matter(stem, scale):
    view = view_of(S2[:3])
    other = view._replace(image=view.image * scale + 7, palette=view.palette * scale + 7)

    torch.testing.assert_close(stem(view), stem(other), atol=1e-3, rtol=1e-3)


def test_the_ground_sampling_distance_conditions_the_features():
    torch.manual_seed(0)
    stem = AnyBands(8)
    torch.nn.init.normal_(stem.condition[-1].weight)

    fine, coarse = (stem(view_of(S2[:3], gsd_m=gsd_m)) for gsd_m in (2.0, 30.0))

    assert (fine - coarse).abs().max() > 1e-2


def test_neighbouring_wavelengths_are_seen_alike_and_far_ones_are_not(stem):
    def features(centre_um):
        band = Band(name="x", common_name="x", gsd_m=10, centre_um=centre_um, fwhm_um=0.03)
        return stem(view_of([band]))

    red, near_red, swir = features(0.665), features(0.655), features(2.2)

    assert (red - near_red).abs().mean() < 0.25 * (red - swir).abs().mean()


def test_a_panchromatic_band_is_seen_as_the_colours_within_it(stem):
    def code(centre_um, fwhm_um):
        band = Band(name="x", common_name="x", gsd_m=10, centre_um=centre_um, fwhm_um=fwhm_um)
        return stem.describe(_codes(band_table([band])))

    pan, green, swir = code(0.6, 0.2), code(0.56, 0.04), code(1.6, 0.1)

    assert (pan - green).norm() < (pan - swir).norm()


@pytest.mark.slow
@pytest.mark.parametrize("count", SETS)
def test_one_network_takes_scenes_of_any_number_of_bands(count):
    torch.manual_seed(0)
    segmenter = build_segmenter(any_spec()).eval()

    with torch.inference_mode():
        logits = segmenter(view_of(SETS[count], size=(64, 96)))

    assert len(SETS[count]) == count
    assert logits.shape == (2, len(GLACIER_SURFACE.classes), 64, 96)
    assert logits.isfinite().all()


def test_views_of_several_sensors_are_one_batch():
    torch.manual_seed(0)
    segmenter = build_segmenter(any_spec()).eval()
    one, two = view_of(SETS[1], size=(64, 64)), view_of(SETS[4], size=(64, 64), count=3)

    with torch.inference_mode():
        both = segmenter(one, two)
        torch.testing.assert_close(both[:2], segmenter(one))
        torch.testing.assert_close(both[2:], segmenter(two))


def test_a_constant_band_carries_nothing(stem):
    view = view_of(S2[:2])
    image = view.image.clone()
    image[:, 1] = 3.0
    view = view._replace(image=image, palette=image.flatten(2))

    assert (standardise(view)[0][:, 1] == 0).all()
    assert stem(view).isfinite().all()


def test_tones_leave_out_what_is_missing():
    palette = torch.tensor([[[1.0, 3.0, torch.nan], [2.0, 2.0, 2.0]]])

    mean, std = tones(palette)

    assert mean.flatten().tolist() == [2, 2]
    assert std.flatten().tolist() == [1, torch.inf]


def test_an_unknown_polarisation_and_terrain_are_named():
    odd = Band(name="x", common_name="x", gsd_m=10, frequency_ghz=5.4, polarisation="RL")
    with pytest.raises(SensorError, match="no polarisation named 'RL'"):
        band_table([odd])
    with pytest.raises(SensorError, match=r"terrain named 'slop'\. Did you mean 'slope'"):
        band_table([Band(name="slop", common_name="slop", gsd_m=10)])


def test_the_aspect_turns_with_the_image():
    terrain = [band for band in DEM if band.common_name.startswith("aspect")]
    # A slope that falls towards the east of the picture faces east.
    east = [1.0 if band.common_name == "aspect_sine" else 0.0 for band in terrain]
    image = torch.tensor(east).view(1, 2, 1, 1).expand(1, 2, 4, 4)
    names = [band.common_name for band in terrain]
    table = band_table(terrain)

    north = turned(image, table, 1, mirrored=False)[0, :, 0, 0]
    west = turned(image, table, 0, mirrored=True)[0, :, 0, 0]

    assert north[names.index("aspect_cosine")] == 1
    assert north[names.index("aspect_sine")].abs() == 0
    assert west[names.index("aspect_sine")] == -1


# ---- what was seen


def any_spec(encoder="resnet18", architecture="unet"):
    seen = (*S2[1:4], *find_sensor("landsat-5").bands)
    return ModelSpec(
        architecture=architecture,
        encoder=encoder,
        input=AnyInput(seen=seen, gsd_m=(10, 30)),
        scheme=GLACIER_SURFACE,
        prior=(1 / 7,) * 7,
    )


def test_what_a_network_never_saw_is_said_in_one_sentence():
    taken = any_spec().input
    film, radar = find_sensor("hexagon-kh9-mapping").bands, find_sensor("sentinel-1").bands[:1]

    assert extrapolation(taken, S2[1:4], 10) is None
    assert extrapolation(taken, find_sensor("landsat-7").bands[:3], 30) is None
    assert extrapolation(taken, radar, 10).startswith(
        "The network extrapolates: it was never shown vv at 5.405 GHz (trained on blue, green"
    )
    assert extrapolation(taken, DEM[:1], 10).startswith(
        "The network extrapolates: it was never shown elevation"
    )
    sentence = extrapolation(taken, film, 2)
    assert "pixels of 2 m (trained at 10 to 30 m)" in sentence
    assert sentence.count(".") - sentence.count("0.") == 1


# ---- what is trained


def trained_share(segmenter):
    encoder = segmenter.network.encoder
    every = sum(p.numel() for p in encoder.parameters())
    return sum(p.numel() for p in encoder.parameters() if p.requires_grad) / every


@pytest.mark.parametrize(
    ("architecture", "encoder"),
    [
        ("unet", "resnet18"),
        ("unet", "resnet34"),
        ("unet", "efficientnet-b0"),
        pytest.param("dpt", "vit_small_patch16_dinov3", marks=pytest.mark.slow),
    ],
)
def test_an_encoder_is_trained_whole_in_its_last_blocks_or_not(architecture, encoder):
    spec = any_spec(encoder, architecture)

    full, last, frozen = (
        trained_share(tune(build_segmenter(spec), tuning))
        for tuning in ("full", "last_blocks", "frozen")
    )

    assert full == 1
    assert 0.1 < last < 0.95
    assert frozen == 0


def test_a_frozen_encoder_keeps_its_weights_and_its_statistics():
    torch.manual_seed(0)
    segmenter = tune(build_segmenter(any_spec()), "frozen").train()
    before = {k: v.clone() for k, v in segmenter.network.encoder.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in segmenter.parameters() if p.requires_grad], lr=0.1)

    segmenter(view_of(SETS[3], size=(64, 64))).square().mean().backward()
    optimizer.step()

    after = segmenter.network.encoder.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert segmenter.stem.filter.weight.grad.abs().max() > 0
