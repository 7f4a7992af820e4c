"""The same choices as scikit-activeml, on small pools."""

import numpy as np
import pytest
from skactiveml.classifier import SklearnClassifier
from skactiveml.pool import Badge, CoreSet, TypiClust, UncertaintySampling
from sklearn.linear_model import LogisticRegression

from geoseg.active.acquire.clusters import typiclust
from geoseg.active.acquire.diverse import badge, core_set
from geoseg.active.acquire.scores import entropy, least_confidence, margin

LABELLED = 6


@pytest.fixture(params=range(3))
def pool(request):
    """Embeddings, their labels (NaN beyond the first six), and a classifier of the six."""
    rng = np.random.default_rng(request.param)
    embeddings = rng.normal(size=(120, 5))
    labels = np.full(len(embeddings), np.nan)
    labels[:LABELLED] = [0, 1, 2, 0, 1, 2]
    classifier = SklearnClassifier(LogisticRegression(), classes=[0, 1, 2])
    return embeddings, labels, classifier.fit(embeddings, labels)


@pytest.mark.parametrize(
    ("score", "name"),
    [(margin, "margin_sampling"), (entropy, "entropy"), (least_confidence, "least_confident")],
)
def test_the_most_doubtful_items_are_the_same(pool, score, name):
    embeddings, labels, classifier = pool

    worth = score(classifier.predict_proba(embeddings[LABELLED:]))
    ours = LABELLED + np.argsort(-worth, kind="stable")[:20]

    oracle = UncertaintySampling(name, random_state=0)
    theirs = oracle.query(embeddings, labels, classifier, batch_size=20, fit_clf=False)
    assert ours.tolist() == theirs.tolist()


def test_the_core_set_is_the_same(pool):
    embeddings, labels, _ = pool

    ours = LABELLED + core_set(embeddings[LABELLED:], embeddings[:LABELLED], 30)

    theirs = CoreSet(random_state=0).query(embeddings, labels, batch_size=30)
    assert ours.tolist() == theirs.tolist()


def test_badge_chooses_the_same_from_the_same_random_numbers(pool, monkeypatch):
    # Both draw one uniform number for each item after the first, and invert the distribution
    # function by it. The oracle is given the generator that it would seed in a way of its own.
    embeddings, labels, classifier = pool
    monkeypatch.setattr(
        "skactiveml.base.check_random_state",
        lambda *_: np.random.RandomState(np.random.MT19937(7)),
    )

    ours = badge(
        embeddings[LABELLED:],
        classifier.predict_proba(embeddings[LABELLED:]),
        30,
        np.random.Generator(np.random.MT19937(7)),
    )

    theirs = Badge().query(embeddings, labels, classifier, batch_size=30, fit_clf=False)
    assert (LABELLED + ours).tolist() == [int(one) for one in theirs]


def test_typiclust_is_the_same_on_groups_that_any_k_means_finds():
    # K-means of both begins elsewhere, so choices can be equal only where its end is certain.
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(7), [12, 20, 9, 15, 7, 30, 40])
    embeddings = 60 * np.eye(7, 8)[group] + rng.normal(size=(len(group), 8))
    labels = np.full(len(group), np.nan)
    labels[[0, 13]] = [0, 1]

    ours = typiclust(embeddings, np.array([0, 13]), 5, rng)

    theirs = TypiClust(random_state=0, k=20).query(embeddings, labels, batch_size=5)
    assert ours.tolist() == theirs.tolist()
