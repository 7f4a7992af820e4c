"""Sampling by how common classes are, and a last layer that is taught anew."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geoseg.training import class_aware_weights, retrain_classifier, square_root_weights

labels = st.lists(st.integers(0, 5), min_size=1, max_size=60).map(np.array)


@given(labels)
def test_class_aware_sampling_sees_every_class_equally_often(ids):
    weights = class_aware_weights(ids)

    seen = [weights[ids == k].sum() for k in np.unique(ids)]
    np.testing.assert_allclose(seen, 1 / len(seen))
    assert weights.sum() == pytest.approx(1)


@given(labels)
def test_square_root_sampling_sees_classes_by_the_root_of_their_number(ids):
    weights = square_root_weights(ids)

    classes, counts = np.unique(ids, return_counts=True)
    seen = [weights[ids == k].sum() for k in classes]
    np.testing.assert_allclose(seen, np.sqrt(counts) / np.sqrt(counts).sum())
    # Samples of one class are alike.
    assert all(np.ptp(weights[ids == k]) == 0 for k in classes)


@pytest.mark.parametrize("weigh", [class_aware_weights, square_root_weights])
def test_labels_that_are_sure_weigh_as_ids_do_and_a_class_of_none_is_no_matter(weigh):
    ids = np.array([0, 0, 0, 2, 2, 0])
    soft = np.eye(4)[ids]

    np.testing.assert_allclose(weigh(soft), weigh(ids))


def test_a_label_that_is_not_sure_weighs_by_its_share_of_each_class():
    # The classes have 1.5 and 0.5 samples, and are to be seen equally often.
    found = class_aware_weights(np.array([[1.0, 0.0], [0.5, 0.5]]))

    np.testing.assert_allclose(found, [1 / 3, 2 / 3])


def unbalanced(count, rng):
    """Features (N, 2) of three classes, one of them of a hundredth of the samples."""
    ids = rng.choice(3, count, p=[0.69, 0.3, 0.01])
    middles = np.array([[0, 0], [3, 0], [0, 2]])
    return torch.from_numpy(middles[ids] + rng.standard_normal((count, 2))).float(), ids


def test_a_last_layer_that_is_taught_anew_chooses_as_if_classes_were_equally_common():
    features, ids = unbalanced(4_000, np.random.default_rng(0))
    test, truth = unbalanced(20_000, np.random.default_rng(1))

    layer = retrain_classifier(
        features, torch.from_numpy(ids), generator=torch.Generator().manual_seed(0)
    )

    said = layer(test).argmax(1).numpy()
    recalls = [np.mean(said[truth == k] == k) for k in range(3)]
    middles = torch.tensor([[0.0, 0], [3, 0], [0, 2]])
    best = torch.cdist(test, middles).argmin(1).numpy()
    limit = [np.mean(best[truth == k] == k) for k in range(3)]
    assert np.mean(recalls) == pytest.approx(np.mean(limit), abs=0.02)
    assert not any(p.requires_grad for p in layer.parameters())


def test_a_last_layer_is_the_same_for_the_same_draw_and_takes_labels_that_are_not_sure():
    features, ids = unbalanced(200, np.random.default_rng(3))
    soft = torch.eye(3)[torch.from_numpy(ids)]

    one, two = (
        retrain_classifier(features, targets, steps=20, generator=torch.Generator().manual_seed(5))
        for targets in (torch.from_numpy(ids), soft)
    )

    torch.testing.assert_close(one.weight, two.weight)
