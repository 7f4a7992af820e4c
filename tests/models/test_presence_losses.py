"""Losses of presence, against closed forms and the figures of their papers."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from geoseg.labels import IGNORE
from geoseg.models import evidence_loss, non_negative_pu_loss, presence_loss

NAN = float("nan")
logits = st.floats(-8, 8, width=32)


def softplus(value):
    return math.log1p(math.exp(value))


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def test_the_loss_of_presence_is_the_mean_cross_entropy_of_what_is_known():
    found = presence_loss(torch.tensor([2.0, -1.0, 50.0]), torch.tensor([1.0, 0.0, NAN]))

    assert float(found) == pytest.approx((softplus(-2) + softplus(-1)) / 2, rel=1e-6)


def test_a_place_without_a_label_teaches_nothing():
    given_logits = torch.tensor([2.0, -1.0, 50.0], requires_grad=True)

    presence_loss(given_logits, torch.tensor([1.0, NAN, NAN])).backward()

    assert given_logits.grad[0] != 0
    assert given_logits.grad[1:].tolist() == [0, 0]


def test_places_without_any_label_give_no_loss_and_no_gradient():
    given_logits = torch.zeros(2, requires_grad=True)

    loss = presence_loss(given_logits, torch.full((2,), NAN))
    loss.backward()

    assert float(loss.detach()) == 0
    assert given_logits.grad.tolist() == [0, 0]


def test_the_loss_of_evidence_is_the_cross_entropy_against_the_marked_share_of_a_cell():
    # Two cells of 2 x 2 pixels: of the known ones of the first 1/3 is marked, of the other all.
    label = torch.tensor([[[1, 0, 1, 3], [0, IGNORE, 1, 1]]], dtype=torch.uint8)
    evidence = torch.tensor([[[0.5, -2.0]]])

    found = evidence_loss(evidence, label)

    first = softplus(-0.5) / 3 + softplus(0.5) * 2 / 3
    second = softplus(2)
    # Each counts by its known pixels.
    assert float(found) == pytest.approx((0.75 * first + second) / 1.75, rel=1e-6)


def test_a_cell_without_a_known_pixel_teaches_nothing():
    label = torch.zeros(1, 4, 8, dtype=torch.uint8)
    label[..., 4:] = IGNORE
    evidence = torch.tensor([[[1.0, 30.0]]], requires_grad=True)

    loss = evidence_loss(evidence, label)
    loss.backward()

    assert float(loss.detach()) == pytest.approx(softplus(1), rel=1e-6)
    assert evidence.grad[0, 0, 1] == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("side", [4, 16, 32])
def test_a_single_known_pixel_teaches_its_cell_in_full(dtype, side):
    label = torch.full((1, side, side), IGNORE, dtype=torch.uint8)
    label[0, 2, 3] = 1
    evidence = torch.full((1, 1, 1), 2.0, dtype=dtype, requires_grad=True)

    loss = evidence_loss(evidence, label)
    loss.backward()

    assert float(loss.detach()) == pytest.approx(softplus(-2), rel=1e-6)
    assert float(evidence.grad) == pytest.approx(sigmoid(2) - 1, rel=0.01)


def test_no_known_pixel_at_all_gives_no_loss():
    label = torch.full((1, 4, 4), IGNORE, dtype=torch.uint8)

    assert float(evidence_loss(torch.ones(1, 2, 2), label)) == 0


@settings(deadline=None, max_examples=60)
@given(
    positive=st.lists(logits, min_size=1, max_size=5),
    unlabelled=st.lists(logits, min_size=1, max_size=5),
    prior=st.floats(0.01, 0.99),
)
def test_the_value_of_the_pu_loss_is_the_non_negative_risk_of_kiryo(positive, unlabelled, prior):
    loss = non_negative_pu_loss(torch.tensor(positive), torch.tensor(unlabelled), prior=prior)

    gain = prior * sum(sigmoid(-z) for z in positive) / len(positive)
    cost = sum(sigmoid(z) for z in unlabelled) / len(unlabelled)
    cost -= prior * sum(sigmoid(z) for z in positive) / len(positive)
    assert float(loss) == pytest.approx(gain + max(0, cost), abs=1e-5)


@pytest.mark.parametrize(("positives", "others"), [(0, 3), (3, 0), (0, 0)])
def test_the_pu_loss_without_a_sample_of_a_kind_is_none(positives, others):
    positive, unlabelled = (torch.ones(n, requires_grad=True) for n in (positives, others))

    loss = non_negative_pu_loss(positive, unlabelled, prior=0.3)
    loss.backward()

    assert float(loss.detach()) == 0
    assert [*positive.grad, *unlabelled.grad] == [0] * (positives + others)


def gradients(positive, unlabelled, prior):
    """Of the loss, and of the part that may be negative, with this part itself."""
    p, u = (torch.tensor(v, requires_grad=True) for v in (positive, unlabelled))
    cost = u.sigmoid().mean() - prior * p.sigmoid().mean()
    gain = prior * (-p).sigmoid().mean()
    loss = non_negative_pu_loss(p, u, prior=prior)
    of_loss, of_cost, of_gain = (
        torch.cat(torch.autograd.grad(value, (p, u), retain_graph=True, materialize_grads=True))
        for value in (loss, cost, gain)
    )
    return of_loss, of_cost, of_gain, float(cost.detach())


def test_the_gradient_turns_where_the_risk_of_negatives_is_below_zero():
    of_loss, of_cost, of_gain, cost = gradients([1.0, 2.0], [0.5, -1.0, -2.0], 0.2)
    assert cost > 0
    torch.testing.assert_close(of_loss, of_gain + of_cost)

    of_loss, of_cost, _, cost = gradients([3.0, 4.0], [-4.0, -5.0, -6.0], 0.5)
    assert cost < 0
    torch.testing.assert_close(of_loss, -of_cost)


def f1(truth, said):
    hit = float((truth & said).sum())
    return 2 * hit / max(float(truth.sum() + said.sum()), 1)


def taught(loss_of, x, u, *, seed):
    """A network after 300 steps over all samples."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 1), nn.Flatten(0))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(300):
        optimizer.zero_grad()
        loss_of(net(x), net(u)).backward()
        optimizer.step()
    return net


def unbiased(positive, unlabelled, prior):
    """Of du Plessis, Niu and Sugiyama 2015: without the bound at zero."""
    gain = prior * (-positive).sigmoid().mean()
    return gain + unlabelled.sigmoid().mean() - prior * positive.sigmoid().mean()


def naive(positive, unlabelled):
    """All that is unlabelled taken for absent."""
    both = torch.cat([positive, unlabelled])
    label = torch.cat([torch.ones_like(positive), torch.zeros_like(unlabelled)])
    return presence_loss(both, label)


@pytest.mark.slow
def test_few_positives_among_many_unlabelled_are_learned_from_as_kiryo_found():
    prior = 0.1
    scores = {"naive": [], "unbiased": [], "non_negative": []}
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)

        def draw(count, share, generator=generator):
            truth = torch.rand(count, generator=generator) < share
            x = torch.randn(count, 20, generator=generator) + 0.55 * truth[:, None]
            return x, truth

        x, _ = draw(100, 1.0)
        u, _ = draw(4_000, prior)
        test, truth = draw(10_000, prior)
        losses = {
            "naive": naive,
            "unbiased": lambda p, q: unbiased(p, q, prior),
            "non_negative": lambda p, q: non_negative_pu_loss(p, q, prior=prior),
        }
        for name, loss_of in losses.items():
            net = taught(loss_of, x, u, seed=seed)
            with torch.inference_mode():
                scores[name].append(f1(truth, net(test) > 0))

    mean = {name: sum(found) / len(found) for name, found in scores.items()}
    assert mean["non_negative"] > 0.5
    assert mean["non_negative"] > 2 * mean["unbiased"]
    assert mean["unbiased"] > mean["naive"]
