import dataclasses
import json

import numpy as np
import pytest
import torch
from pools import pool_of

from geoseg.active.heads import HeadSettings, load_heads, save_heads, scale_of, train_heads
from geoseg.errors import ConfigError, LabelError, ModelError

SMALL = HeadSettings(members=3, hidden=8, steps=60)


@pytest.fixture
def rings():
    """Two classes that no plane parts: one around the other."""
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, 300)
    far = rng.random(300) < 0.5
    radius = np.where(far, 3.0, 1.0) + 0.1 * rng.standard_normal(300)
    embeddings = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return 100 + 5 * embeddings.astype(np.float32), np.eye(2)[far.astype(int)]


@pytest.fixture
def learned(rings):
    return train_heads(*rings, SMALL, 0)


def test_a_hidden_layer_parts_what_no_plane_does(rings):
    embeddings, targets = rings

    right = {
        hidden: (
            train_heads(embeddings, targets, HeadSettings(hidden=hidden, members=1), 0)
            .probabilities(embeddings)
            .argmax(1)
            == targets.argmax(1)
        ).mean()
        for hidden in (0, 16)
    }

    assert right[16] > 0.97
    assert right[0] < 0.7


def test_what_it_says_are_probabilities_of_each_member_and_their_mean(learned, rings):
    embeddings, _ = rings

    members, mean = learned.members(embeddings), learned.probabilities(embeddings)

    assert members.shape == (3, 300, 2)
    np.testing.assert_allclose(members.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(members.mean(0), mean, atol=1e-6)
    assert np.abs(members[0] - members[1]).max() > 0.01


def test_logits_are_a_plane_of_features(learned, rings):
    features = learned.features(rings[0])

    weight, bias = learned.layers[-1]
    logits = np.stack(
        [features[:, 8 * m : 8 * m + 8] @ weight[m].numpy() + bias[m].numpy() for m in range(3)]
    )

    told = torch.softmax(torch.from_numpy(logits), dim=-1).numpy()
    np.testing.assert_allclose(told, learned.members(rings[0]), atol=1e-5)


def test_linear_heads_read_the_standardised_embeddings(rings):
    embeddings, targets = rings
    heads = train_heads(embeddings, targets, dataclasses.replace(SMALL, hidden=0), 0)

    features = heads.features(embeddings)

    np.testing.assert_allclose(features.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(features.std(0), 1, atol=1e-4)


def test_the_same_seed_learns_the_same_and_another_does_not(learned, rings):
    again = train_heads(*rings, SMALL, 0)
    other = train_heads(*rings, SMALL, 1)

    np.testing.assert_array_equal(again.members(rings[0]), learned.members(rings[0]))
    assert np.abs(other.members(rings[0]) - learned.members(rings[0])).max() > 1e-3


def test_soft_targets_are_learned_as_shares():
    embeddings = np.repeat(np.eye(2, dtype=np.float32), 50, axis=0)
    targets = np.repeat([[0.7, 0.3], [0.3, 0.7]], 50, axis=0)
    settings = HeadSettings(members=2, weight_decay=0.0)

    heads = train_heads(embeddings, targets, settings, 0)

    told = heads.probabilities(embeddings[[0, 99]])
    np.testing.assert_allclose(told, targets[[0, 99]], atol=0.05)


def test_an_item_of_more_weight_counts_as_so_many():
    embeddings = np.zeros((60, 3), dtype=np.float32)
    targets = np.eye(2)[[0, 1] * 30]
    weights = np.where(targets[:, 0] == 1, 4.0, 1.0)
    settings = HeadSettings(loss="balanced_softmax", hidden=0, members=2)

    alike = train_heads(embeddings, targets, settings, 0)
    heavy = train_heads(embeddings, targets, settings, 0, weights=weights)

    # Four to one, of which the loss takes off what is expected: nothing is left.
    assert heavy.probabilities(embeddings)[0, 0] == pytest.approx(0.5, abs=0.05)
    assert alike.probabilities(embeddings)[0, 0] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("loss", ["balanced_softmax", "adjusted_after", "class_balanced"])
def test_weights_that_add_up_to_one_teach_as_those_of_a_mean_of_one(loss):
    classes = (np.arange(200) % 10 == 0).astype(int)
    embeddings = np.random.default_rng(0).standard_normal((200, 3)) + classes[:, None]
    settings = HeadSettings(loss=loss, hidden=0, members=2, steps=50)

    alike = train_heads(embeddings, np.eye(2)[classes], settings, 0)
    shares = train_heads(embeddings, np.eye(2)[classes], settings, 0, weights=np.full(200, 0.005))

    np.testing.assert_allclose(
        shares.probabilities(embeddings), alike.probabilities(embeddings), atol=1e-4
    )


@pytest.mark.parametrize("loss", ["logit_adjusted", "adjusted_after"])
def test_probabilities_are_as_if_classes_were_equally_frequent(loss):
    rng = np.random.default_rng(1)
    classes = (np.arange(3000) < 60).astype(int)
    embeddings = (rng.standard_normal((3000, 1)) + 2 * classes[:, None]).astype(np.float32)

    heads = train_heads(embeddings, np.eye(2)[classes], HeadSettings(loss=loss, members=2), 0)

    # Normal around 0 and around 2: midway either is as likely.
    assert heads.probabilities(np.array([[1.0]]))[0, 1] == pytest.approx(0.5, abs=0.15)


def test_heads_come_back_from_disk_as_they_were(learned, rings, tmp_path):
    digest = save_heads(tmp_path / "heads.safetensors", learned)

    back = load_heads(tmp_path / "heads.safetensors")

    np.testing.assert_array_equal(back.members(rings[0]), learned.members(rings[0]))
    assert back.settings == learned.settings
    assert len(digest) == 64
    assert json.loads((tmp_path / "heads.json").read_text())["heads"]["loss"] == "adjusted_after"


def test_the_scale_of_a_pool_leaves_what_never_changes_alone():
    scale = scale_of(pool_of([[1.0, 7.0], [3.0, 7.0]]))

    np.testing.assert_allclose(scale.mean, [2, 7])
    np.testing.assert_allclose(scale.sd, [1, 1])


@pytest.mark.parametrize(
    ("embeddings", "targets", "weights", "said"),
    [
        (np.zeros((0, 2)), np.zeros((0, 2)), None, "0 items and targets of shape (0, 2) do not"),
        (np.zeros((2, 2)), np.eye(3), None, "2 items and targets of shape (3, 3)"),
        (np.zeros((2, 2)), np.ones((2, 2)), None, "Targets are no probabilities"),
        (np.full((2, 2), np.nan), np.eye(2), None, "An embedding with a label is not finite"),
        (np.zeros((2, 2)), np.eye(2), np.array([1.0, 0.0]), "Weights of items are no numbers"),
    ],
)
def test_labels_that_teach_nothing_are_refused(embeddings, targets, weights, said):
    with pytest.raises(LabelError) as error:
        train_heads(embeddings, targets, SMALL, 0, weights=weights)

    assert said in str(error.value)


def test_a_loss_that_is_not_finite_is_told():
    embeddings = np.array([[1e38], [-1e38]], dtype=np.float32) * np.ones((1, 4), dtype=np.float32)
    scale = scale_of(pool_of(np.zeros((2, 4))))

    with pytest.raises(
        ModelError, match=r"The loss adjusted_after became (nan|inf) in step 0; look"
    ):
        train_heads(embeddings, np.eye(2), SMALL, 0, scale=scale)


def test_embeddings_of_another_encoder_are_refused(learned):
    with pytest.raises(ModelError, match="The heads read 2 numbers of an item and were given 3"):
        learned.probabilities(np.zeros((1, 3)))


def test_a_file_that_holds_no_heads_is_refused(tmp_path):
    from geoseg.models import write_tensors

    write_tensors(tmp_path / "a.safetensors", {"x": torch.zeros(1)}, {"spec": {}})

    with pytest.raises(ModelError, match=r"a\.safetensors holds no heads"):
        load_heads(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"loss": "focl"}, "no loss named 'focl'. Did you mean 'focal'"),
        ({"members": 0}, "Heads of 0 members, 64 hidden numbers and 200 steps are none"),
        ({"weight_decay": float("nan")}, "The weight decay nan is none; give 0 or more"),
    ],
)
def test_settings_that_are_none_are_refused(changed, said):
    with pytest.raises(ConfigError, match=said):
        HeadSettings(**changed)


def test_no_items_are_told_nothing_of(learned):
    assert learned.probabilities(np.zeros((0, 2))).shape == (0, 2)
