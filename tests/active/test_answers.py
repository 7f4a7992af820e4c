"""What people said becomes labels, as sure as they are."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from geoseg.active.answers import agreements, known_of, measure_annotators, soft_labels
from geoseg.active.pool import PoolBatch, write_pool
from geoseg.active.project import UNKNOWN, Answer

CLASSES = ("absent", "present")
THREE = ("absent", "slump", "scar")


def said(*rows):
    return [Answer(n, *row, "2026-01-01", "page") for n, row in enumerate(rows, start=1)]


def by_item(labels):
    return dict(zip(labels.items, labels.probabilities.tolist(), strict=True))


def test_votes_are_shares_and_those_who_cannot_tell_are_counted_beside():
    labels = soft_labels(
        said(
            ("b", "anna", "present"),
            ("b", "ben", "absent"),
            ("a", "anna", "present"),
            ("a", "ben", UNKNOWN),
            ("c", "anna", UNKNOWN),
            ("c", "ben", UNKNOWN),
        ),
        CLASSES,
    )

    assert labels.items == ("a", "b", "c")
    np.testing.assert_array_equal(labels.probabilities, [[0, 1], [0.5, 0.5], [np.nan, np.nan]])
    assert labels.votes.tolist() == [1, 2, 0]
    assert labels.unknown.tolist() == [1, 0, 2]
    assert labels.disagree.tolist() == [False, True, False]
    assert labels.told.tolist() == [True, True, False]


def test_nobody_said_anything():
    labels = soft_labels([], CLASSES)

    assert labels.items == ()
    assert labels.probabilities.shape == (0, 2)
    assert measure_annotators([], CLASSES, {}) == []
    assert agreements([], CLASSES) == []


@given(
    st.dictionaries(
        st.tuples(st.sampled_from("abcd"), st.sampled_from(["anna", "ben", "cleo"])),
        st.sampled_from([*THREE, UNKNOWN]),
    )
)
def test_labels_are_shares_of_votes_whatever_is_said(answers):
    labels = soft_labels(said(*((*key, word) for key, word in answers.items())), THREE)

    for row, item in enumerate(labels.items):
        words = [word for (of, _), word in answers.items() if of == item]
        told = [word for word in words if word != UNKNOWN]
        assert labels.disagree[row] == (len(set(told)) > 1)
        assert (labels.votes[row], labels.unknown[row]) == (len(told), len(words) - len(told))
        if told:
            expected = [told.count(name) / len(told) for name in THREE]
            np.testing.assert_allclose(labels.probabilities[row], expected, rtol=1e-6)
    assert set(labels.items) == {item for item, _ in answers}


def simulated(accuracies, *, prevalence=0.5, items=600):
    """Answers of people who err independently, and the truth of all items."""
    rng = np.random.default_rng(7)
    truth = (rng.random(items) < prevalence).astype(int)
    rows = [
        (f"{n:04d}", f"person {j}", CLASSES[t if rng.random() < a else 1 - t])
        for n, t in enumerate(truth)
        for j, a in enumerate(accuracies)
    ]
    return said(*rows), truth


def gold_of(truth, count):
    return {f"{n:04d}": CLASSES[t] for n, t in enumerate(truth[:count])}


def brier(answers, truth, gold):
    found = soft_labels(answers, CLASSES, gold).probabilities[len(gold) :, 1]
    return float(((found - truth[len(gold) :]) ** 2).mean())


@pytest.mark.parametrize(
    ("accuracies", "prevalence", "gain"),
    [((0.95, 0.7), 0.5, 0.01), ((0.9, 0.9), 0.5, -0.002), ((0.97, 0.9, 0.8), 0.05, 0.01)],
)
def test_gold_helps_where_people_differ_and_hardly_costs_where_they_do_not(
    accuracies, prevalence, gain
):
    answers, truth = simulated(accuracies, prevalence=prevalence)
    gold = gold_of(truth, 40)
    equal = soft_labels(answers, CLASSES).probabilities[40:, 1]

    judged = brier(answers, truth, gold)

    assert judged <= float(((equal - truth[40:]) ** 2).mean()) - gain


def test_votes_count_alike_until_gold_has_measured_all_who_voted():
    answers, truth = simulated((0.95, 0.7))
    stranger = said(("0500", "stranger", "present"))
    alike = by_item(soft_labels(answers, CLASSES))

    assert by_item(soft_labels(answers, CLASSES, gold_of(truth, 19)))["0599"] == alike["0599"]
    judged = by_item(soft_labels([*answers, *stranger], CLASSES, gold_of(truth, 40)))
    votes = [one.said for one in answers if one.item == "0500"]
    share = (votes.count("present") + 1) / 3
    np.testing.assert_allclose(judged["0500"][1], share, rtol=1e-6)
    split = next(item for item in judged if alike[item] == [0.5, 0.5] and item > "0500")
    assert max(judged[split]) > 0.6


def test_the_better_measured_of_two_who_disagree_is_believed():
    answers, truth = simulated((0.98, 0.7))
    labels = soft_labels(answers, CLASSES, gold_of(truth, 60))
    words = {(one.item, one.annotator): one.said for one in answers}

    for item, chances in list(by_item(labels).items())[60:]:
        better = words[item, "person 0"]
        assert chances[CLASSES.index(better)] > 0.5


def test_an_item_of_known_class_is_of_that_class_where_somebody_told():
    gold = {"a": "present", "b": "present", "never seen": "absent"}
    labels = soft_labels(said(("a", "anna", "absent"), ("b", "anna", UNKNOWN)), CLASSES, gold)

    np.testing.assert_array_equal(labels.probabilities, [[0, 1], [np.nan, np.nan]])


def test_people_are_measured_by_gold_with_intervals():
    gold = {"a": "slump", "b": "slump", "c": "scar", "d": "absent"}
    answers = said(
        ("a", "ben", "slump"),
        ("b", "ben", "scar"),
        ("c", "ben", UNKNOWN),
        ("e", "ben", "slump"),
        ("e", "anna", "slump"),
    )

    anna, ben = measure_annotators(answers, THREE, gold)

    assert (ben.name, ben.answers, ben.unknown, ben.gold) == ("ben", 4, 1, 2)
    assert ben.confusion.tolist() == [[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]]
    assert ben.accuracy.value == 0.5
    # Wilson for 1 of 2, as in R: binom::binom.wilson(1, 2).
    np.testing.assert_allclose([ben.accuracy.low, ben.accuracy.high], [0.0945, 0.9055], atol=1e-4)
    assert ben.recall[1].value == 0.5
    assert math.isnan(ben.recall[0].value)
    assert math.isnan(ben.recall[2].value)
    assert (anna.gold, anna.accuracy.low, anna.accuracy.high) == (0, 0, 1)


def test_seeds_are_no_person_but_teach():
    answers = said(("a", "anna", "present"), ("a", "seeds", "present"), ("b", "seeds", "present"))

    assert [one.name for one in measure_annotators(answers, CLASSES, {"a": "present"})] == ["anna"]
    assert agreements(answers, CLASSES) == []
    assert by_item(soft_labels(answers, CLASSES))["b"] == [0, 1]


def test_kappa_is_that_of_the_paper():
    """The example of Cohen (1960) as it is told in textbooks: 20, 5, 10, 15 of 50; kappa 0.4."""
    pairs = [("present", "present")] * 20 + [("present", "absent")] * 5
    pairs += [("absent", "present")] * 10 + [("absent", "absent")] * 15
    answers = said(
        *((f"{n}", "anna", one) for n, (one, _) in enumerate(pairs)),
        *((f"{n}", "ben", two) for n, (_, two) in enumerate(pairs)),
        ("only anna", "anna", "present"),
        ("0 not told", "anna", UNKNOWN),
        ("0 not told", "ben", "present"),
    )

    (found,) = agreements(answers, CLASSES)

    assert (found.first, found.second, found.items) == ("anna", "ben", 50)
    assert found.share.value == 0.7
    np.testing.assert_allclose(found.kappa.value, 0.4)
    # The standard error is 0.126, by 20,000 samples of such a table.
    np.testing.assert_allclose((found.kappa.high - found.kappa.low) / 3.92, 0.1264, atol=2e-3)


@given(st.lists(st.tuples(st.sampled_from(THREE), st.sampled_from(THREE)), min_size=1, max_size=30))
def test_kappa_is_that_of_scikit_learn(pairs):
    answers = said(
        *((f"{n}", "anna", one) for n, (one, _) in enumerate(pairs)),
        *((f"{n}", "ben", two) for n, (_, two) in enumerate(pairs)),
    )

    (found,) = agreements(answers, THREE)

    if len({word for pair in pairs for word in pair}) == 1:
        assert math.isnan(found.kappa.value)
    else:
        firsts, seconds = zip(*pairs, strict=True)
        np.testing.assert_allclose(
            found.kappa.value, cohen_kappa_score(firsts, seconds), rtol=1e-9, atol=1e-12
        )
        assert -1 <= found.kappa.low <= found.kappa.value + 1e-12 <= found.kappa.high + 2e-12


def test_pairs_without_a_common_item_are_told_without_numbers():
    (found,) = agreements(said(("a", "anna", "absent"), ("b", "ben", "absent")), CLASSES)

    assert found.items == 0
    assert math.isnan(found.share.value)
    assert math.isnan(found.kappa.value)


@pytest.fixture
def pool(tmp_path):
    nowhere = np.full(3, np.nan)
    batch = PoolBatch(["z", "a", "m"], nowhere, nowhere, np.zeros((3, 2), dtype=np.float32))
    return write_pool(tmp_path, [batch], count=3, width=2, source="test")


def test_heads_learn_from_items_of_the_pool_that_somebody_could_tell(pool):
    answers = said(
        ("m", "anna", "present"),
        ("z", "anna", "absent"),
        ("a", "anna", UNKNOWN),
        ("gone", "anna", "present"),
    )

    known = known_of(soft_labels(answers, CLASSES), pool)

    assert known.rows.tolist() == [0, 2]
    assert known.targets.tolist() == [[1, 0], [0, 1]]
    assert known_of(soft_labels([], CLASSES), pool).targets.shape == (0, 2)
