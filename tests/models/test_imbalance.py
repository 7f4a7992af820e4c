"""Losses for rare classes, against the formulas of their papers in double precision."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import log_softmax, softmax
from scipy.stats import norm

from geoseg.errors import ConfigError
from geoseg.models.imbalance import (
    CLASSIFICATION_LOSSES,
    MULTILABEL_LOSSES,
    adjust_logits,
    adjust_multilabel_logits,
    classification_loss,
    multilabel_loss,
)
from geoseg.models.imbalance_samples import class_balanced_weights, log_shares

COUNTS = np.array([20_000, 300, 7])
NAN = float("nan")
BETA = 0.9999


def weights_of(counts):
    """Eq. of Cui et al. 2019, normalised to the number of classes."""
    inverse = [(1 - BETA) / (1 - BETA**n) for n in counts]
    return np.array(inverse) * len(counts) / sum(inverse)


def asymmetric_of(p, present):
    """Of Ben-Baruch et al. 2021 with gammas of 0 and 4 and a shift of 0.05."""
    shifted = max(p - 0.05, 0)
    return -math.log(p) if present else -(shifted**4) * math.log(1 - shifted)


def ldam_of(z, y, counts, weights):
    """Of Cao et al. 2019: margins of at most 0.5, and all times 30."""
    margin = 0.5 * (counts[y] / counts.min()) ** -0.25
    lowered = z - margin * (np.arange(len(z)) == y)
    return -weights[y] * log_softmax(30 * lowered)[y]


def loss_of(name, z, y, counts):
    """Of one sample, as its paper has it."""
    p, w = softmax(z), weights_of(counts)
    return {
        "cross_entropy": lambda: -math.log(p[y]),
        "class_balanced": lambda: -w[y] * math.log(p[y]),
        "focal": lambda: -((1 - p[y]) ** 2) * math.log(p[y]),
        "class_balanced_focal": lambda: -w[y] * (1 - p[y]) ** 2 * math.log(p[y]),
        "asymmetric": lambda: sum(asymmetric_of(p[k], k == y) for k in range(len(z))),
        # n_y e^z_y / sum_j n_j e^z_j.
        "balanced_softmax": lambda: -math.log(counts[y] * math.exp(z[y]) / (counts @ np.exp(z))),
        "logit_adjusted": lambda: -log_softmax(z + np.log(counts / counts.sum()))[y],
        "ldam_drw": lambda: ldam_of(z, y, counts, w),
    }[name]()


@pytest.mark.parametrize("name", CLASSIFICATION_LOSSES)
def test_a_loss_is_the_mean_of_what_its_paper_says_of_each_sample(name):
    rng = np.random.default_rng(0)
    z, y = rng.normal(0, 3, (40, 3)), rng.integers(3, size=40)

    found = classification_loss(name, COUNTS)(torch.from_numpy(z), torch.from_numpy(y))

    expected = np.mean([loss_of(name, row, label, COUNTS) for row, label in zip(z, y, strict=True)])
    assert float(found) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", CLASSIFICATION_LOSSES)
def test_soft_targets_that_are_sure_teach_what_ids_teach(name):
    logits = torch.randn(30, 3, generator=torch.Generator().manual_seed(1))
    ids = torch.arange(30) % 3
    loss = classification_loss(name, COUNTS)

    hard, soft = loss(logits, ids), loss(logits, torch.eye(3)[ids])

    torch.testing.assert_close(soft, hard)


@pytest.mark.parametrize("name", CLASSIFICATION_LOSSES)
def test_a_soft_target_teaches_its_share_of_each_class(name):
    logits = torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64)
    loss = classification_loss(name, COUNTS)

    half = loss(logits, torch.tensor([[0.25, 0.0, 0.75]]))

    one, three = loss(logits, torch.tensor([0])), loss(logits, torch.tensor([2]))
    torch.testing.assert_close(half, 0.25 * one + 0.75 * three)


@pytest.mark.parametrize("name", CLASSIFICATION_LOSSES)
@settings(deadline=None, max_examples=25)
@given(
    logits=arrays(np.float32, (4, 3), elements=st.floats(-200, 200, width=32)),
    counts=st.lists(st.integers(0, 10**8), min_size=3, max_size=3),
)
def test_losses_and_gradients_are_numbers_however_sure_and_however_rare(name, logits, counts):
    z = torch.from_numpy(logits).requires_grad_()

    loss = classification_loss(name, counts)(z, torch.tensor([0, 1, 2, 2]))
    loss.backward()

    assert loss.isfinite()
    assert float(loss.detach()) >= 0
    assert z.grad.isfinite().all()


@pytest.mark.parametrize("name", CLASSIFICATION_LOSSES)
def test_no_sample_gives_no_loss_and_no_gradient(name):
    logits = torch.zeros(0, 3, requires_grad=True)

    loss = classification_loss(name, COUNTS)(logits, torch.zeros(0, dtype=torch.int64))
    loss.backward()

    assert float(loss.detach()) == 0


def test_a_network_of_half_precision_is_judged_in_single():
    logits = torch.tensor([[2.0, -1.0]], dtype=torch.bfloat16)

    loss = classification_loss("cross_entropy", [1, 1])(logits, torch.tensor([0]))

    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(math.log1p(math.exp(-3)), rel=1e-6)


def test_class_weights_come_late_in_ldam():
    z, y = torch.tensor([[2.0, 1.0, 3.0]]), torch.tensor([1])
    loss = classification_loss("ldam_drw", COUNTS)

    early, last_before, late = (float(loss(z, y, progress)) for progress in (0.0, 0.79, 0.8))

    assert early == last_before == pytest.approx(ldam_of(z[0].numpy(), 1, COUNTS, np.ones(3)))
    assert late == pytest.approx(early * weights_of(COUNTS)[1])


def test_weights_of_few_samples_go_by_their_number_and_of_very_many_are_alike():
    torch.testing.assert_close(
        class_balanced_weights([1, 100]),
        torch.tensor([200 / 101, 2 / 101], dtype=torch.float64),
        rtol=0.006,
        atol=0,
    )
    few = class_balanced_weights([10**6, 10**9])
    torch.testing.assert_close(few, torch.ones(2, dtype=torch.float64))


def test_logits_of_a_class_without_a_sample_are_adjusted_as_of_one_with_one():
    zeros = torch.zeros(3)

    torch.testing.assert_close(adjust_logits(zeros, [5, 0, 9]), adjust_logits(zeros, [5, 1, 9]))


def test_a_class_without_a_sample_takes_no_weight_from_the_others():
    found = class_balanced_weights([[0, 1000, 1000], [0, 0, 0], [1, 100, 0]])

    expected = torch.ones((3, 3), dtype=torch.float64)
    expected[2, :2] = class_balanced_weights([1, 100])
    torch.testing.assert_close(found, expected)


def test_shares_are_those_of_each_choice_by_itself():
    found = log_shares([[90, 10], [1, 0]]).exp()

    expected = torch.tensor([[0.9, 0.1], [0.5, 0.5]], dtype=torch.float64)
    torch.testing.assert_close(found, expected)


def test_adjusting_afterwards_takes_the_prior_from_the_odds():
    p = torch.tensor([[0.99, 0.01]], dtype=torch.float64)

    even = adjust_logits(p.log(), [99, 1]).softmax(-1)
    halfway = adjust_logits(p.log(), [99, 1], tau=0.5).softmax(-1)

    torch.testing.assert_close(even, torch.full((1, 2), 0.5, dtype=torch.float64))
    odds = float(halfway[0, 0] / halfway[0, 1])
    assert odds == pytest.approx(math.sqrt(99))


def test_a_loss_adjusted_in_training_has_its_minimum_where_one_adjusted_afterwards_has():
    # Of one place where the classes are seen 30, 60 and 10 times: logits that minimise the loss.
    seen, counts = torch.tensor([[0.3, 0.6, 0.1]], dtype=torch.float64), [500, 400, 100]
    adjusted = adjust_logits(seen.log(), counts).requires_grad_()

    classification_loss("logit_adjusted", counts)(adjusted, seen).backward()

    torch.testing.assert_close(adjusted.grad, torch.zeros(1, 3, dtype=torch.float64))


def multilabel_of(name, z, present, counts):
    """Of one class of one sample."""
    absent_count, present_count = counts
    p = 1 / (1 + math.exp(-z))
    hit = p if present else 1 - p
    weight = weights_of(counts)[int(present)]
    adjusted = z + math.log(present_count / absent_count)
    return {
        "cross_entropy": -math.log(hit),
        "class_balanced": -weight * math.log(hit),
        "focal": -((1 - hit) ** 2) * math.log(hit),
        "class_balanced_focal": -weight * (1 - hit) ** 2 * math.log(hit),
        "asymmetric": asymmetric_of(p, present),
        "logit_adjusted": math.log1p(math.exp(-adjusted if present else adjusted)),
    }[name]


@pytest.mark.parametrize("name", MULTILABEL_LOSSES)
def test_a_loss_of_several_classes_is_the_mean_over_what_is_known(name):
    rng = np.random.default_rng(2)
    z = rng.normal(0, 3, (20, 2))
    present = rng.integers(2, size=(20, 2)).astype(float)
    present[3:9, 1] = NAN
    counts = np.array([[900, 100], [19_990, 10]])

    found = multilabel_loss(name, counts)(torch.from_numpy(z), torch.from_numpy(present))

    expected = [
        multilabel_of(name, z[n, k], present[n, k] == 1, counts[k])
        for n, k in np.argwhere(np.isfinite(present))
    ]
    assert float(found) == pytest.approx(np.mean(expected), rel=1e-9)


@pytest.mark.parametrize("name", MULTILABEL_LOSSES)
def test_what_is_unknown_teaches_nothing(name):
    logits = torch.tensor([[200.0, -3.0], [-200.0, 1.0]], requires_grad=True)

    targets = torch.tensor([[NAN, NAN], [1.0, NAN]])
    loss = multilabel_loss(name, [[10, 0], [10, 0]])(logits, targets)
    loss.backward()

    assert loss.isfinite()
    assert logits.grad[1, 0] != 0
    assert logits.grad[0].tolist() == [0, 0]
    assert logits.grad[1, 1] == 0


@pytest.mark.parametrize("name", MULTILABEL_LOSSES)
def test_nothing_known_gives_no_loss_and_no_gradient(name):
    logits = torch.ones(2, 2, requires_grad=True)

    loss = multilabel_loss(name, [[1, 1], [9, 1]])(logits, torch.full((2, 2), NAN))
    loss.backward()

    assert float(loss.detach()) == 0
    assert logits.grad.count_nonzero() == 0


def test_logits_of_several_classes_are_adjusted_by_their_odds():
    p = torch.tensor([[0.2, 0.5]], dtype=torch.float64)

    found = adjust_multilabel_logits(p.logit(), [[80, 20], [90, 10]]).sigmoid()

    torch.testing.assert_close(found, torch.tensor([[0.5, 0.9]], dtype=torch.float64))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: classification_loss("logit_ajusted", [1, 2]),
            "no loss named 'logit_ajusted'. Did you mean 'logit_adjusted'? Known: asymmetric, "
            "balanced_softmax, class_balanced, class_balanced_focal, cross_entropy, focal, "
            "ldam_drw, logit_adjusted.",
        ),
        (
            lambda: multilabel_loss("ldam_drw", [[1, 2]]),
            "no multi-label loss named 'ldam_drw'. Known: asymmetric, class_balanced, "
            "class_balanced_focal, cross_entropy, focal, logit_adjusted.",
        ),
        (
            lambda: classification_loss("focal", [3, -1]),
            "The counts of classes are [3.0, -1.0]; give samples of each class (K,), each 0 or "
            "more.",
        ),
        (
            lambda: adjust_logits(torch.zeros(1, 2), [3, NAN]),
            "The counts of classes are [3.0, nan]; give samples of each class (K,), each 0 or "
            "more.",
        ),
        (
            lambda: multilabel_loss("focal", [3, 1]),
            "The counts of classes are [3.0, 1.0]; give absent and present samples of each class "
            "(K, 2), each 0 or more.",
        ),
    ],
)
def test_what_cannot_be_a_loss_is_refused(make, message):
    with pytest.raises(ConfigError) as caught:
        make()

    assert str(caught.value) == message


def balanced_accuracy(slope, intercept):
    """Of the choice slope * x + intercept > 0 between N(0, 1) and N(2, 1)."""
    border = -intercept / slope
    return (norm.cdf(border) + norm.sf(border - 2)) / 2


@pytest.mark.parametrize(("ratio", "bayes"), [(100, 0.548), (1_000, 0.504)])
def test_between_two_normal_classes_the_trained_border_is_where_theory_has_it(ratio, bayes):
    # Quantiles, so that no chance is in it: the share of the rare class is that of its weight.
    quantiles = torch.from_numpy(norm.ppf((np.arange(400) + 0.5) / 400))
    x = torch.cat([quantiles, quantiles + 2])
    shares = torch.tensor([ratio, 1.0], dtype=torch.float64) / (ratio + 1)
    found = {}
    for name in ("cross_entropy", "logit_adjusted"):
        loss = classification_loss(name, [ratio * 400, 400])
        line = torch.zeros(2, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS([line], max_iter=200, line_search_fn="strong_wolfe")

        def closure(line=line, optimizer=optimizer, loss=loss):
            optimizer.zero_grad()
            of_rare = line[0] * x + line[1]
            logits = torch.stack([torch.zeros_like(of_rare), of_rare], dim=1)
            common, rare = (
                loss(part, torch.full((400,), k))
                for k, part in enumerate((logits[:400], logits[400:]))
            )
            total = shares[0] * common + shares[1] * rare
            total.backward()
            return total

        optimizer.step(closure)
        found[name] = balanced_accuracy(*line.detach().tolist())

    assert found["cross_entropy"] == pytest.approx(bayes, abs=0.01)
    assert found["logit_adjusted"] == pytest.approx(norm.cdf(1), abs=0.01)
