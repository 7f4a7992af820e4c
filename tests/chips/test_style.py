"""The look of one scene given to chips of another."""

import pytest
import torch

from geoseg.chips import Batch, match_tones, swap_amplitude
from geoseg.sensors import find_sensor

PAN = find_sensor("hexagon-kh9-mapping").bands


def batch_of(image):
    count, _, height, width = image.shape
    return Batch(
        image,
        torch.ones(count, height, width, dtype=torch.bool),
        torch.zeros(count, height, width, dtype=torch.uint8),
        image.flatten(2),
        torch.full((count,), 10.0),
        PAN,
    )


@pytest.fixture
def dark():
    torch.manual_seed(0)
    return batch_of(torch.rand(3, 1, 64, 64) ** 2)


@pytest.fixture
def bright():
    torch.manual_seed(1)
    return batch_of(torch.rand(2, 1, 64, 64) * 50 + 200)


def test_matched_tones_have_the_quantiles_of_the_target(dark, bright):
    matched = match_tones(dark, bright)

    levels = torch.tensor([0.1, 0.5, 0.9])
    own = torch.quantile(matched.image[0].flatten(), levels)
    torch.testing.assert_close(own, torch.quantile(bright.image[0], levels), atol=1.0, rtol=0)
    torch.testing.assert_close(matched.palette, matched.image.flatten(2))


def test_matched_tones_keep_the_order_of_brightness(dark, bright):
    matched = match_tones(dark, bright).image[1].flatten()

    order = dark.image[1].flatten().argsort()
    assert (matched[order].diff() >= -1e-4).all()


def test_a_chip_that_is_brighter_than_its_scene_stays_so(dark, bright):
    # A chip full of ice: its pixels lie in the upper half of its palette.
    icy = dark._replace(image=dark.image.clamp(min=0.5))

    assert match_tones(icy, bright).image.mean() > match_tones(dark, bright).image.mean()


def test_a_target_like_the_chip_changes_nothing(dark):
    torch.testing.assert_close(match_tones(dark, dark).image, dark.image, atol=2e-3, rtol=0)
    torch.testing.assert_close(swap_amplitude(dark, dark).image, dark.image, atol=1e-4, rtol=0)


def test_the_low_frequencies_come_from_the_target_and_the_edges_stay(dark):
    ramp = torch.linspace(0, 1, 64).expand(3, 1, 64, 64)
    target = batch_of(ramp + 0.01 * torch.rand(3, 1, 64, 64))

    styled = swap_amplitude(dark, target).image

    spectrum, before, far = (
        torch.fft.fft2((x - x.mean((-2, -1), keepdim=True)) / x.std((-2, -1), keepdim=True))
        for x in (styled, dark.image, target.image)
    )
    # Around the ramp's frequency the amplitude was lifted towards the target's.
    lifted = spectrum[..., 0, 1].abs()
    assert (lifted > before[..., 0, 1].abs()).all()
    assert (far[..., 0, 1].abs() > before[..., 0, 1].abs()).all()
    high = torch.corrcoef(
        torch.stack([styled.diff(dim=-2).flatten(), dark.image.diff(dim=-2).flatten()])
    )
    assert high[0, 1] > 0.99


def test_pixels_that_are_not_valid_stay_what_they_are(dark, bright):
    dark.valid[:, :4] = False
    styled = swap_amplitude(dark, bright)

    assert torch.equal(styled.image[:, 0][~dark.valid], dark.image[:, 0][~dark.valid])
    assert torch.equal(styled.label, dark.label)
