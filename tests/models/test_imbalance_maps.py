"""Losses of maps for rare classes: by hand, and with unknown pixels left out."""

import math
from typing import get_args

import numpy as np
import pytest
import torch

from geoseg.config import TrainingSettings
from geoseg.errors import ConfigError
from geoseg.labels import IGNORE
from geoseg.models import SEGMENTATION_LOSSES, assumed_shares, segmentation_loss
from geoseg.models.imbalance import CLASSIFICATION_LOSSES, classification_loss
from geoseg.models.imbalance_maps import focal_tversky
from geoseg.models.imbalance_samples import class_balanced_weights

COUNTS = (9_000, 900, 90)


def some_map(seed=0):
    """Logits (2, 3, 4, 5) and a label with a third unknown."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64)
    label = torch.randint(3, (2, 4, 5), generator=generator).to(torch.uint8)
    label[:, ::3] = IGNORE
    return logits, label


@pytest.mark.parametrize("name", CLASSIFICATION_LOSSES)
@pytest.mark.parametrize("progress", [0.1, 1.0])
def test_a_loss_of_samples_is_taken_of_each_known_pixel(name, progress):
    logits, label = some_map()
    known = np.argwhere(label.numpy() != IGNORE)

    found = segmentation_loss(name, COUNTS)(logits, label, progress)

    rows = torch.stack([logits[n, :, y, x] for n, y, x in known])
    ids = torch.tensor([int(label[n, y, x]) for n, y, x in known])
    expected = classification_loss(name, COUNTS)(rows, ids, progress)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", SEGMENTATION_LOSSES)
def test_unknown_pixels_take_no_part(name):
    logits, label = some_map()
    logits.requires_grad_()
    loss = segmentation_loss(name, COUNTS)

    value = loss(logits, label)
    value.backward()
    other = (
        logits.detach() + 100 * (label == IGNORE)[:, None] * torch.tensor([1, -2, 3])[:, None, None]
    )

    torch.testing.assert_close(loss(other, label), value.detach())
    assert logits.grad.isfinite().all()
    assert logits.grad.movedim(1, -1)[label == IGNORE].count_nonzero() == 0
    assert (logits.grad.movedim(1, -1)[label != IGNORE] != 0).any()


@pytest.mark.parametrize("name", SEGMENTATION_LOSSES)
def test_a_batch_without_a_known_pixel_gives_no_loss_and_no_gradient(name):
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)

    loss = segmentation_loss(name, COUNTS)(logits, torch.full((1, 2, 2), IGNORE))
    loss.backward()

    assert float(loss.detach()) == 0
    assert logits.grad.count_nonzero() == 0


def test_focal_tversky_weighs_what_is_missed_more_than_what_is_found_in_vain():
    # Class 1 on the first of four pixels; the last is unknown. p of class 1: 0.6, 0.2, 0.1.
    p = torch.tensor([0.6, 0.2, 0.1, 0.9], dtype=torch.float64)
    logits = torch.stack([(1 - p).log(), p.log()])[None, :, None]
    label = torch.tensor([[[1, 0, 0, IGNORE]]])

    found = focal_tversky(logits, label)

    of_one = 0.6 / (0.6 + 0.7 * 0.4 + 0.3 * 0.3)
    of_ground = 1.7 / (1.7 + 0.7 * 0.3 + 0.3 * 0.4)
    expected = ((1 - of_one) ** 0.75 + (1 - of_ground) ** 0.75) / 2
    assert float(found) == pytest.approx(expected, rel=1e-12)


def test_focal_tversky_of_a_perfect_map_is_next_to_nothing_and_can_be_learned_from():
    label = torch.tensor([[[0, 1, 1]]])
    logits = (200 * torch.nn.functional.one_hot(label, 3).movedim(-1, 1).double()).requires_grad_()

    loss = focal_tversky(logits, label)
    loss.backward()

    assert float(loss.detach()) < 1e-4
    assert logits.grad.isfinite().all()


def test_a_class_that_no_pixel_is_of_takes_no_part_in_focal_tversky():
    logits, label = some_map()
    label[label == 2] = 0
    two = logits.clone()
    two[:, 2] = -math.inf

    torch.testing.assert_close(
        focal_tversky(two, label), focal_tversky(logits[:, :2], label), rtol=1e-9, atol=0
    )


def test_a_network_whose_loss_is_adjusted_takes_classes_to_be_equally_common():
    shares = (9_000 / 9_990, 900 / 9_990, 90 / 9_990)
    weighed = np.array(COUNTS) * class_balanced_weights(COUNTS).numpy()

    assert assumed_shares("logit_adjusted", COUNTS) == pytest.approx([1 / 3] * 3)
    assert assumed_shares("dice_cross_entropy", COUNTS) == pytest.approx(shares)
    assert assumed_shares("class_balanced", COUNTS) == pytest.approx(weighed / weighed.sum())
    assert assumed_shares("focal", (5, 0)) == (1.0, 0.0)


@pytest.mark.parametrize("name", ["cross_entropy", "logit_adjusted", "class_balanced"])
def test_the_shares_that_are_assumed_are_those_at_which_a_blind_network_settles(name):
    # All pixels look alike, so what is learned of them is how common each class is.
    label = torch.tensor([0] * 90 + [1] * 9 + [2]).reshape(1, 10, 10)
    blind = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    loss_of = segmentation_loss(name, (90, 9, 1))
    optimizer = torch.optim.LBFGS([blind], max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = loss_of(blind[None, :, None, None].expand(1, 3, 10, 10), label)
        loss.backward()
        return loss

    optimizer.step(closure)

    found = blind.detach().softmax(0).tolist()
    assert found == pytest.approx(assumed_shares(name, (90, 9, 1)), abs=1e-3)


def test_the_recipe_knows_all_losses_and_no_other():
    field = TrainingSettings.model_fields["loss"]

    assert sorted(get_args(field.annotation)) == sorted(SEGMENTATION_LOSSES)


def test_an_unknown_loss_of_maps_is_refused():
    with pytest.raises(
        ConfigError, match=r"no loss named 'tversky'. Did you mean 'focal_tversky'?"
    ):
        segmentation_loss("tversky", COUNTS)
