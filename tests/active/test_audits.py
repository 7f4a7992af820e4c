import numpy as np
import pytest
from pools import pool_of

from geoseg.active.answers import soft_labels
from geoseg.active.audits import (
    AuditRound,
    audit_rounds,
    class_audits,
    left_out,
    missed_at_most,
    prevalence_by_audit,
)
from geoseg.active.estimate import out_of_fold, round_worth
from geoseg.active.heads import HeadSettings
from geoseg.active.known import known_classes
from geoseg.active.neighbourhood import neighbourhoods
from geoseg.active.project import create_project
from geoseg.active.record import Answer, Drawn, Proposed, Round

CLASSES = ("absent", "present")
QUICK = HeadSettings(members=2, hidden=8, steps=100)


def labelled_by_rounds(rng, *, skill):
    """Rounds of 45 chosen and 5 audited of 2000 items with 40 positives; what is found and left."""
    present = np.arange(2000) < 40
    known = np.zeros(2000, dtype=bool)
    audits = []
    for _ in range(8):
        free = np.flatnonzero(~known)
        order = rng.exponential(size=len(free)) / np.where(present[free], skill, 1)
        known[free[np.argsort(order)[:45]]] = True
        rest = np.flatnonzero(~known)
        drawn = rng.choice(rest, 5, replace=False)
        audits.append(AuditRound(present[known].sum(), len(rest), 5, present[drawn].sum()))
        known[drawn] = True
    return audits, int(present[known].sum()), int(present[~known].sum())


@pytest.mark.parametrize("skill", [1, 10, 100])
def test_intervals_hold_the_prevalence_over_rounds_however_well_heads_choose(skill):
    rng = np.random.default_rng(skill)

    held, values, missed = [], [], []
    for _ in range(200):
        audits, found, left = labelled_by_rounds(rng, skill=skill)
        estimate = prevalence_by_audit(audits, 2000, found)
        held.append(estimate.low <= 0.02 <= estimate.high)
        values.append(estimate.value)
        missed.append(missed_at_most(audits, 2000 - 400) >= left)

    assert np.mean(held) >= 0.87
    # Never below what was found, so a little high where little is drawn.
    assert np.mean(values) == pytest.approx(0.02, abs=3.5 * np.std(values) / np.sqrt(200) + 0.003)
    assert np.mean(missed) >= 0.93


def test_a_single_round_is_what_is_known_and_what_the_audit_stands_for():
    estimate = prevalence_by_audit([AuditRound(30, 900, 90, 2)], 1000, 32)

    assert estimate.value == pytest.approx((30 + 2 * 10) / 1000)
    assert estimate.low >= 32 / 1000
    assert estimate.low < estimate.value < estimate.high


def test_a_pool_that_was_audited_whole_is_known_exactly():
    estimate = prevalence_by_audit([AuditRound(3, 90, 90, 7)], 100, 10)

    assert (estimate.low, estimate.value, estimate.high) == (0.1, 0.1, 0.1)


def test_what_was_chosen_and_nobody_could_tell_may_all_be_positive():
    audits = [AuditRound(0, 900, 90, 2, untold=50)]

    told, untold = (
        prevalence_by_audit([one], 1000, 0) for one in (audits[0]._replace(untold=0), audits[0])
    )

    assert untold.value == told.value
    assert untold.low == told.low
    assert untold.high == pytest.approx(told.high + 0.05)
    assert missed_at_most(audits, 950) >= 50 + missed_at_most([audits[0]._replace(untold=0)], 900)


def test_what_has_another_label_is_none():
    audits = [AuditRound(6, 20, 5, 0)]

    assert prevalence_by_audit(audits, 80, 6, others=74).high == 6 / 80
    assert prevalence_by_audit(audits, 80, 6, others=70).high == pytest.approx(10 / 80)


def test_a_later_round_counts_more_also_where_one_before_waits():
    first, waits, last = (
        AuditRound(0, 100, 10, 1),
        AuditRound(0, 90, 10, 0, 3),
        AuditRound(0, 80, 10, 0),
    )

    estimate = prevalence_by_audit([first, waits, last], 1000, 0)

    assert estimate.value == pytest.approx(10 * 1 / 4 / 1000)


def test_without_an_answered_audit_nothing_is_told():
    assert prevalence_by_audit([], 100, 0) is None
    assert missed_at_most([], 70) == 70


def test_nothing_among_59_audited_bounds_what_is_missed_by_five_in_a_hundred():
    assert missed_at_most([AuditRound(0, 1000, 59, 0)], 1000) == pytest.approx(50, abs=1)


@pytest.fixture
def project(tmp_path):
    with create_project(tmp_path, classes=("absent", "present"), pool="d") as made:
        yield made


def say(project, **said):
    project.record_all([(item, "ann", word) for item, word in said.items()], via="page")


def test_audits_of_a_project_tell_what_was_known_when_they_were_drawn(project):
    say(project, seed="present")
    project.record_round(
        [Drawn("a", "likely", 1), Drawn("b", "audit", 0.1), Drawn("c", "audit", 0.1)],
        strategy="mixture",
        settings={},
    )
    say(project, a="present", b="present", c="unknown")
    project.record_round(
        [Drawn("d", "likely", 1), Drawn("e", "audit", 0.25)], strategy="mixture", settings={}
    )
    say(project, d="absent", e="absent", late="present")
    labels = soft_labels(project.answers(), project.classes)
    present = {
        item: float(chance[1])
        for item, chance, told in zip(labels.items, labels.probabilities, labels.told, strict=True)
        if told
    }

    audits = audit_rounds(project.rounds(), project.proposed(), project.answers(), present)

    # In the first round the seed and `a` are known, in the second `b` too; `late` in neither.
    # Of `c` nobody could tell.
    assert audits == [
        AuditRound(2, 20, 1, 1, waiting=0, untold=0, planned=2),
        AuditRound(3, 4, 1, 0, waiting=0, untold=1, planned=1),
    ]


def test_an_audit_that_nobody_answered_tells_nothing(project):
    project.record_round([Drawn("b", "audit", 0.1)], strategy="random", settings={})

    assert audit_rounds(project.rounds(), project.proposed(), [], {}) == []


def asked_in_rounds(rng, shares):
    """Rounds of 50 chosen and 10 audited of 1000 items with 60 positives; first parts answered."""
    names = [f"item-{n}" for n in range(1000)]
    present, free = np.arange(1000) < 60, np.ones(1000, dtype=bool)
    rounds, proposed, answers = [], [], []
    for number, answered in enumerate(shares, start=1):
        rounds.append(Round(number, f"{number}", "mixture", {}, "", {}))
        rows = np.flatnonzero(free)
        order = rng.exponential(size=len(rows)) / np.where(present[rows], 10, 1)
        chosen = rows[np.argsort(order)[:50]]
        free[chosen] = False
        audit = rng.choice(np.flatnonzero(free), 10, replace=False)
        share = 10 / free.sum()
        free[audit] = False
        asked = [(n, "likely", 1.0) for n in chosen] + [(n, "audit", share) for n in audit]
        proposed += [Proposed(number, 1, names[n], why, of, None) for n, why, of in asked]
        said = [*chosen[: int(50 * answered)], *audit[: int(10 * answered)]]
        answers += [Answer(1, names[n], "ann", CLASSES[int(present[n])], "9", "page") for n in said]
    return audit_rounds(rounds, proposed, answers, {a.item: a.said == "present" for a in answers})


@pytest.mark.parametrize("shares", [(0.5, 0.5, 0.5, 0.5), (1, 1, 0.5, 0.5), (1, 1, 1, 1)])
def test_intervals_hold_the_prevalence_or_none_is_told_where_rounds_are_partly_answered(shares):
    rng = np.random.default_rng(7)

    held, missed = [], []
    for _ in range(100):
        audits = asked_in_rounds(rng, shares)
        # All positives that were found are known, or were shown by the last audit.
        found = audits[-1].known + audits[-1].present
        answered = int(60 * sum(shares))
        missed.append(missed_at_most(audits, 1000 - answered) >= 60 - found)
        if estimate := prevalence_by_audit(audits, 1000, found):
            held.append(estimate.low <= 0.06 <= estimate.high)

    assert len(held) == (100 if shares[0] == 1 else 0)
    assert not held or np.mean(held) >= 0.85
    assert np.mean(missed) >= 0.93


def test_a_round_is_left_out_while_anything_waits_that_was_asked_by_then(project):
    for number in (1, 2):
        drawn = [Drawn(f"likely-{number}", "likely", 1), Drawn(f"audit-{number}", "audit", 0.1)]
        drawn.append(Drawn(f"other-{number}", "audit", 0.1))
        project.record_round(drawn, strategy="mixture", settings={})

    say(project, **{"likely-1": "unknown", "audit-1": "present", "audit-2": "absent"})
    first = audits_now(project)
    say(project, **{"likely-2": "present", "other-1": "absent"})
    then = audits_now(project)

    # What waits of its own audit does no harm to a round; that of a round before does.
    assert [one.waiting for one in first] == [0, 2]
    assert left_out(first) == 1
    assert left_out(then) == 0


def test_items_of_known_class_that_were_asked_for_wait_for_nobody(project):
    project.set_gold({"gold": "present", "drawn": "present", "nobody": "present"})
    project.record_round(
        # The one that was put among the audit has an inclusion of 1.
        [Drawn("gold", "audit", 1), Drawn("drawn", "audit", 0.25), Drawn("a", "audit", 0.25)],
        strategy="random",
        settings={},
    )
    say(project, a="absent")

    assert audits_now(project) == [AuditRound(1, 8, 2, 1, planned=2)]


def test_an_item_is_known_since_its_first_answer(project):
    say(project, early="present")
    project.record_round([Drawn("a", "audit", 0.1)], strategy="random", settings={})
    say(project, a="absent", early="present")

    assert audits_now(project) == [AuditRound(1, 10, 1, 0, planned=1)]


def audits_now(project):
    return class_audits(project, soft_labels(project.answers(), project.classes, project.gold()))[1]


@pytest.fixture
def pool():
    rng = np.random.default_rng(0)
    classes = np.arange(120) % 4 == 0
    # Thirty neighbourhoods of four items, far from each other.
    lon = np.repeat(np.arange(30) * 0.5, 4)
    embeddings = rng.standard_normal((120, 3)) + 5 * classes[:, None]
    return pool_of(embeddings, lon=lon, lat=np.full(120, 70.0)), classes.astype(int)


def test_a_round_is_worth_what_heads_say_of_items_they_did_not_learn_from(project, pool):
    items, classes = pool
    project.record_round(
        [Drawn(f"item-{n}", "audit", 0.5) for n in range(60)], strategy="random", settings={}
    )
    say(project, **{f"item-{n}": project.classes[classes[n]] for n in range(60)})

    worth = round_worth(
        project, items, soft_labels(project.answers(), project.classes), QUICK, seed=0
    )

    absent, present = worth.classes
    assert worth.labels == 60
    assert present.labels == 15
    assert present.average_precision > 0.95
    assert worth.balanced_accuracy > 0.9
    assert present.prevalence.value == pytest.approx(0.25)
    assert present.prevalence.low < 0.25 < present.prevalence.high
    assert 4 < present.missed_at_most <= 60
    assert worth.worst in {absent, present}
    assert worth.figures()["classes"]["present"]["prevalence"]["confidence"] == 0.9


def test_one_class_is_worth_no_score_and_says_so(project, pool):
    say(project, **{"item-1": "absent", "item-2": "absent"})

    worth = round_worth(
        project, pool[0], soft_labels(project.answers(), project.classes), QUICK, seed=0
    )

    assert worth.worst is None
    assert worth.figures()["balanced_accuracy"] is None
    assert worth.figures()["classes"]["present"]["prevalence"] is None
    assert worth.classes[1].missed_at_most == 118


def test_items_of_a_neighbourhood_are_scored_by_heads_that_saw_none_of_it():
    # The label of each item is that of its neighbourhood and of nothing else.
    rng = np.random.default_rng(0)
    place = np.repeat(np.arange(40), 5)
    embeddings = np.eye(40)[place] + 0.01 * rng.standard_normal((200, 40))
    classes = rng.integers(0, 2, 40)[place]
    together = pool_of(embeddings, lon=place * 0.5, lat=np.full(200, 70.0))
    alone = pool_of(embeddings)
    known = known_classes(np.arange(200), classes, 2)

    right = {
        name: (out_of_fold(pool, known, QUICK, seed=0).argmax(1) == classes).mean()
        for name, pool in (("together", together), ("alone", alone))
    }

    assert right["alone"] > 0.9
    assert right["together"] < 0.75


def test_neighbourhoods_are_cells_of_ground_and_items_without_a_place_their_own():
    pool = pool_of(
        np.zeros((4, 2)), lon=[10.0, 10.0, 11.0, np.nan], lat=[70.0, 70.001, 70.0, np.nan]
    )

    found = neighbourhoods(pool, np.arange(4))

    assert len(set(found.tolist())) == 3
    assert found[0] == found[1]
