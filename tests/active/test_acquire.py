"""Which items are worth a label: scores, and batches of unlike items, on small known pools."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.active.acquire.clusters import cluster_margin, typiclust
from geoseg.active.acquire.diverse import badge, core_set
from geoseg.active.acquire.partition import k_means, nearest_centre
from geoseg.active.acquire.scores import bald, entropy, least_confidence, margin
from geoseg.errors import ConfigError

seeds = st.integers(0, 2**32 - 1)


def chances(rng, items, classes=3):
    return rng.dirichlet(np.full(classes, 0.5), items)


def blobs(rng, *sizes, width=6, apart=100.0):
    """Clusters far from each other, of these sizes, and the cluster of each item."""
    cluster = np.repeat(np.arange(len(sizes)), sizes)
    centres = apart * np.eye(len(sizes), width)
    return centres[cluster] + rng.normal(size=(len(cluster), width)), cluster


def all_ways(embeddings, probabilities, count):
    """A batch by each way there is."""
    rng = np.random.default_rng(3)
    return {
        "core_set": core_set(embeddings, embeddings[:0], count),
        "badge": badge(embeddings, probabilities, count, rng),
        "cluster_margin": cluster_margin(embeddings, probabilities, count),
        "typiclust": typiclust(embeddings, np.empty(0, dtype=np.intp), count, rng),
    }


def gradients(features, probabilities):
    """Built in full: (N, K * D)."""
    pull = probabilities - np.eye(probabilities.shape[1])[probabilities.argmax(axis=1)]
    return (pull[:, :, None] * features[:, None, :]).reshape(len(features), -1)


def test_a_toss_up_scores_highest_and_a_certainty_nothing():
    sure, even = np.array([[0.0, 1.0, 0.0]]), np.full((1, 3), 1 / 3)

    assert [entropy(sure)[0], margin(sure)[0], least_confidence(sure)[0]] == [0, 0, 0]
    assert entropy(even)[0] == pytest.approx(np.log(3))
    assert margin(even)[0] == pytest.approx(1)
    assert least_confidence(even)[0] == pytest.approx(2 / 3)


def test_scores_are_those_of_the_formulas():
    p = np.array([[0.5, 0.3, 0.2], [0.7, 0.1, 0.2]], dtype=np.float32)

    np.testing.assert_allclose(margin(p), [0.8, 0.5], rtol=1e-6)
    np.testing.assert_allclose(least_confidence(p), [0.5, 0.3], rtol=1e-6)
    np.testing.assert_allclose(entropy(p), [1.029653, 0.801819], rtol=1e-5)


def test_bald_is_high_where_members_contradict_and_nothing_where_all_are_unsure():
    contradicting = np.array([[[1.0, 0.0]], [[0.0, 1.0]]])
    unsure = np.full((2, 1, 2), 0.5)

    assert bald(contradicting)[0] == pytest.approx(np.log(2))
    assert bald(unsure)[0] == pytest.approx(0, abs=1e-15)


@given(seed=seeds, members=st.integers(1, 4), classes=st.integers(2, 5))
def test_bald_lies_between_nothing_and_the_entropy_of_the_mean(seed, members, classes):
    drawn = np.random.default_rng(seed).dirichlet(np.full(classes, 0.2), (members, 7))

    score = bald(drawn)

    assert (score >= 0).all()
    assert (score <= entropy(drawn.mean(axis=0)) + 1e-12).all()
    assert (score <= np.log(members) + 1e-12).all()


@given(seed=seeds, count=st.integers(1, 3), labelled=st.integers(0, 2))
@settings(max_examples=50)
def test_core_set_covers_within_twice_the_best_radius(seed, count, labelled):
    points = np.random.default_rng(seed).normal(size=(9, 2))
    known, pool = points[:labelled], points[labelled:]

    def radius(chosen):
        centres = np.concatenate([known, pool[list(chosen)]])
        return np.linalg.norm(pool[:, None] - centres, axis=2).min(axis=1).max()

    best = min(radius(chosen) for chosen in itertools.combinations(range(len(pool)), count))
    assert radius(core_set(pool, known, count)) <= 2 * best + 1e-9


def test_core_set_without_labels_begins_at_the_mean_and_goes_to_the_farthest():
    line = np.array([[-9.0], [0.5], [2.0], [11.0]])

    np.testing.assert_array_equal(core_set(line, line[:0], 3), [1, 3, 0])


def test_core_set_takes_the_lowest_position_of_equal_distances():
    square = np.array([[0.0, 0], [1, 1], [1, -1], [-1, 1], [-1, -1]])

    assert core_set(square, square[:1], 2).tolist() == [1, 2]


def test_core_set_tells_near_duplicates_far_from_the_origin_from_the_rest():
    rng = np.random.default_rng(0)
    apart = 1000 + np.repeat(rng.normal(size=(5, 64)), 4, axis=0).astype(np.float32)

    chosen = core_set(apart, apart[:1], 20)

    assert sorted(chosen[:4] // 4) == [1, 2, 3, 4]
    # All that is left equals what is chosen, to the last bit: by position.
    assert chosen[4:].tolist() == sorted(chosen[4:])


def test_core_set_refuses_labels_of_another_encoder():
    with pytest.raises(ConfigError) as error:
        core_set(np.zeros((4, 16)), np.zeros((2, 8)), 1)

    assert str(error.value) == (
        "Labelled items have 8 numbers and candidates 16; embed both with one encoder."
    )


@given(seed=seeds, count=st.integers(1, 12))
@settings(max_examples=50)
def test_badge_is_k_means_plus_plus_on_gradients_built_in_full(seed, count):
    rng = np.random.default_rng(seed)
    features, probabilities = rng.normal(size=(12, 4)), chances(rng, 12)

    chosen = badge(features, probabilities, count, np.random.default_rng(seed))

    full, uniform = gradients(features, probabilities), np.random.default_rng(seed)
    expected = [int((full**2).sum(axis=1).argmax())]
    while len(expected) < count:
        centres = np.concatenate([np.zeros_like(full[:1]), full[expected]])
        apart = ((full[:, None] - centres) ** 2).sum(axis=2).min(axis=1)
        below = np.cumsum(apart) / apart.sum()
        expected.append(int(np.searchsorted(below, uniform.random(), side="right")))
    assert chosen.tolist() == expected


def test_badge_in_half_precision_takes_one_of_each_kind_of_gradient_first():
    rng = np.random.default_rng(1)
    features = np.repeat(rng.normal(size=(4, 32)), 8, axis=0).astype(np.float16)
    probabilities = np.repeat(chances(rng, 4), 8, axis=0).astype(np.float32)

    for seed in range(20):
        chosen = badge(features, probabilities, 4, np.random.default_rng(seed))
        assert sorted(chosen // 8) == [0, 1, 2, 3]


def test_badge_never_draws_an_item_twice_even_by_the_lowest_random_number():
    class Lowest:
        def random(self):
            return 0.0

    features = np.array([[9.0, 0], [1, 0], [0, 2], [3, 3]])

    chosen = badge(features, np.full((4, 2), 0.5), 4, Lowest())

    assert chosen.tolist() == [0, 1, 2, 3]


def test_badge_of_certain_items_draws_each_once():
    probabilities = np.tile([1.0, 0.0], (6, 1))

    chosen = badge(np.ones((6, 3)), probabilities, 6, np.random.default_rng(0))

    assert sorted(chosen) == list(range(6))


def test_cluster_margin_goes_round_from_the_smallest_cluster_by_margin_within_each():
    # 20 doubtful items in two clusters, of 15 and of 5; two are wanted, so 20 are looked at.
    rng = np.random.default_rng(0)
    embeddings, cluster = blobs(rng, 15, 5, 40)
    lead = np.concatenate([np.linspace(0.01, 0.1, 20), np.full(40, 0.9)])
    probabilities = np.stack([(1 + lead) / 2, (1 - lead) / 2], axis=1)

    chosen = cluster_margin(embeddings, probabilities, 2)

    assert chosen.tolist() == [15, 0]
    assert cluster[chosen].tolist() == [1, 0]


def test_cluster_margin_takes_no_item_of_a_large_margin():
    rng = np.random.default_rng(0)
    probabilities = chances(rng, 500)

    chosen = cluster_margin(rng.normal(size=(500, 8)), probabilities, 10)

    assert set(chosen) <= set(np.argsort(-margin(probabilities))[:100])
    assert len(set(chosen)) == 10


def test_typiclust_takes_the_middle_of_the_largest_clusters_without_a_label():
    rng = np.random.default_rng(0)
    embeddings, cluster = blobs(rng, 30, 50, 20, 40)
    embeddings[60] = embeddings[cluster == 1].mean(axis=0)  # The most typical of all.

    chosen = typiclust(embeddings, np.array([3]), 3, np.random.default_rng(0))

    assert cluster[chosen].tolist() == [1, 3, 2]
    assert chosen[0] == 60


def test_typiclust_goes_round_again_where_clusters_are_fewer_than_wanted(monkeypatch):
    monkeypatch.setattr("geoseg.active.acquire.clusters._MOST_CLUSTERS", 2)
    embeddings, cluster = blobs(np.random.default_rng(0), 30, 10)

    chosen = typiclust(embeddings, np.array([0]), 25, np.random.default_rng(0))

    # First the cluster without a label, then in turns until it has no more.
    assert cluster[chosen].tolist() == [1, 0] * 10 + [0] * 5
    assert 0 not in chosen


def test_typiclust_gives_items_of_a_large_cluster_that_were_not_compared_last(monkeypatch):
    monkeypatch.setattr("geoseg.active.acquire.clusters._MOST_COMPARED", 12)
    monkeypatch.setattr("geoseg.active.acquire.clusters._MOST_CLUSTERS", 1)
    embeddings, _ = blobs(np.random.default_rng(0), 40)
    embeddings[:3] += 50  # Far from all others, so the least typical of those compared.

    chosen = typiclust(embeddings, np.array([5]), 60, np.random.default_rng(0))

    assert sorted(chosen) == [*range(5), *range(6, 40)]
    assert not set(chosen[:5]) & {0, 1, 2}


@pytest.mark.parametrize("items", [0, 1, 2, 30])
@pytest.mark.parametrize("count", [0, 1, 5, 50])
def test_identical_items_are_each_chosen_once_and_never_more_than_there_are(items, count):
    for chosen in all_ways(np.ones((items, 8)), np.full((items, 3), 1 / 3), count).values():
        assert len(set(chosen)) == len(chosen) == min(items, count)
        assert chosen.dtype == np.intp


def test_the_same_seed_gives_the_same_batch():
    rng = np.random.default_rng(5)
    embeddings, probabilities = rng.normal(size=(200, 8)), chances(rng, 200)

    first, second = (all_ways(embeddings, probabilities, 20) for _ in range(2))

    for way, chosen in first.items():
        np.testing.assert_array_equal(chosen, second[way])


@given(seed=seeds)
@settings(max_examples=10)
def test_another_order_of_the_pool_gives_the_same_items(seed):
    rng = np.random.default_rng(seed)
    embeddings, _ = blobs(rng, 12, 7, 9)
    probabilities, order = chances(rng, 28), rng.permutation(28)

    for ways in (
        [core_set(embeddings[rows], embeddings[:2], 9) for rows in (slice(None), order)],
        [cluster_margin(embeddings[rows], probabilities[rows], 2) for rows in (slice(None), order)],
        # Of the numbers drawn, and so of the batch, badge keeps its first item alone.
        [badge(embeddings[rows], probabilities[rows], 1, rng) for rows in (slice(None), order)],
        # As many clusters as there are groups far apart: k-means finds them from any seeds.
        [typiclust(embeddings[rows], np.empty(0, int), 3, rng) for rows in (slice(None), order)],
    ):
        np.testing.assert_array_equal(ways[0], order[ways[1]])


def test_k_means_finds_groups_far_apart_from_a_sample(monkeypatch):
    monkeypatch.setattr("geoseg.active.acquire.partition._A_CENTRE", 16)
    monkeypatch.setattr("geoseg.active.acquire.partition._BLOCK", 250)
    embeddings, cluster = blobs(np.random.default_rng(0), 300, 200, 100)

    centres = k_means(embeddings.astype(np.float16), 3, np.random.default_rng(0))
    found = nearest_centre(embeddings, centres)

    assert len(np.unique(np.stack([cluster, found]), axis=1).T) == 3
