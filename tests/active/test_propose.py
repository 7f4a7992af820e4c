import numpy as np
import pytest
from pools import pool_of

from geoseg.active.audits import AUDIT
from geoseg.active.choose import STRATEGIES
from geoseg.active.heads import HeadSettings, train_heads
from geoseg.active.known import known_classes
from geoseg.active.propose import ProposeSettings, propose
from geoseg.errors import ConfigError, DataError
from geoseg.metrics.audit import Audit, audit_count
from geoseg.metrics.histogram import LogitHistogram
from geoseg.presence.ranking import EARTH_RADIUS_M, log_odds

NOTHING = known_classes(np.array([], dtype=int), np.array([], dtype=int), 2)


@pytest.fixture(scope="module")
def world():
    """400 items of two groups: 40 positives lie apart from the others; some are known."""
    rng = np.random.default_rng(0)
    classes = (np.arange(400) % 10 == 3).astype(int)
    embeddings = rng.standard_normal((400, 6)) + 6 * classes[:, None]
    lon, lat = (np.arange(400) % 20) * 0.01, 60 + (np.arange(400) // 20) * 0.005
    pool = pool_of(embeddings, lon=lon, lat=lat)
    known = known_classes(np.arange(40), classes[:40], 2)
    settings = HeadSettings(members=2, hidden=4, steps=60)
    heads = train_heads(pool.embeddings(known.rows), known.targets, settings, 0)
    return pool, known, heads, classes


def shuffled(pool, order):
    return pool_of(
        np.asarray(pool.stored)[order],
        lon=pool.lon[order],
        lat=pool.lat[order],
        names=pool.names(order),
    )


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_proposes_items_once_that_nobody_was_asked_about(world, strategy):
    pool, known, heads, _ = world
    asked = np.arange(40, 60)

    drawn = propose(pool, known, heads, ProposeSettings(strategy=strategy, count=50), asked=asked)

    rows = pool.positions([one.item for one in drawn])
    audit = [one for one in drawn if one.why == AUDIT]
    assert len(set(rows.tolist())) == 50
    assert rows.min() >= 60
    assert len(audit) == (50 if strategy == "random" else 5)
    chosen = 50 - len(audit)
    assert {one.inclusion for one in audit} == {len(audit) / (340 - chosen)}
    assert {one.inclusion for one in drawn if one.why != AUDIT} <= {1.0}
    assert all(0 <= one.probability <= 1 for one in drawn)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_order_of_the_pool_changes_no_proposal(world, strategy):
    pool, known, heads, _ = world
    order = np.random.default_rng(1).permutation(len(pool))
    place = np.argsort(order)
    other = known._replace(rows=place[known.rows])
    settings = ProposeSettings(strategy=strategy, count=30, seed=3)

    first = propose(pool, known, heads, settings)
    second = propose(shuffled(pool, order), other, heads, settings)

    assert [one.item for one in first] == [one.item for one in second]


def test_another_seed_draws_another_audit_and_chooses_the_same(world):
    pool, known, heads, _ = world

    both = [
        propose(pool, known, heads, ProposeSettings(strategy="likely", count=40, seed=seed))
        for seed in (0, 1)
    ]

    chosen, audit = (
        [{one.item for one in drawn if (one.why == AUDIT) is wanted} for drawn in both]
        for wanted in (False, True)
    )
    assert chosen[0] == chosen[1]
    assert audit[0] != audit[1]


def test_likely_items_are_positives_and_the_mixture_looks_elsewhere_when_these_are_found(world):
    pool, known, heads, classes = world

    drawn = propose(pool, known, heads, ProposeSettings(count=100))

    of = {why: [one.item for one in drawn if one.why == why] for why in {d.why for d in drawn}}
    likely = classes[pool.positions(of["likely"])]
    # There are 36 positives left, and at least three quarters of 54 are the likeliest.
    assert likely.sum() == 36
    assert len(likely) == 41
    assert {why: len(items) for why, items in of.items() if why != "likely"} == {
        "doubtful": 18,
        "compact": 15,
        "representative": 16,
        AUDIT: 10,
    }
    assert len(drawn) == 100


@pytest.mark.parametrize("strategy", ["likely", "mixture", "core_set", "similar"])
def test_no_two_chosen_items_are_nearer_than_asked(world, strategy):
    pool, known, heads, _ = world
    settings = ProposeSettings(strategy=strategy, count=40, apart_m=1200)

    drawn = propose(pool, known, heads, settings)

    rows = pool.positions([one.item for one in drawn if one.why != AUDIT])
    lon, lat = np.radians(pool.lon[rows]), np.radians(pool.lat[rows])
    points = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], 1)
    apart = EARTH_RADIUS_M * np.linalg.norm(points[:, None] - points[None], axis=-1)
    assert len(rows) >= 15
    assert apart[~np.eye(len(rows), dtype=bool)].min() >= 1199


def test_without_heads_what_is_like_known_positives_is_chosen(world):
    pool, known, _, classes = world

    drawn = propose(pool, known, None, ProposeSettings(count=30))

    chosen = [one for one in drawn if one.why != AUDIT]
    assert {one.why for one in chosen} == {"similar"}
    assert classes[pool.positions([one.item for one in chosen])].all()
    assert {one.probability for one in drawn} == {None}


def test_with_nothing_known_what_is_typical_is_chosen(world):
    drawn = propose(world[0], NOTHING, None, ProposeSettings(count=30))

    assert {one.why for one in drawn} == {"typical", AUDIT}


def test_a_pool_that_is_used_up_gives_what_it_has(world):
    pool, known, heads, _ = world
    asked = np.arange(40, 395)

    drawn = propose(pool, known, heads, ProposeSettings(count=50), asked=asked)
    none = propose(pool, known, heads, ProposeSettings(count=50), asked=np.arange(400))

    assert len(drawn) == 5
    assert [one.why for one in drawn].count(AUDIT) == 1
    assert none == []


def test_what_is_drawn_to_choose_from_is_drawn_anew_in_each_round(world, monkeypatch):
    pool, known, heads, _ = world
    monkeypatch.setattr("geoseg.active.choose.CANDIDATES", 60)

    # Nearly all candidates are chosen, so that the proposal shows them.
    first, later = (
        {
            one.item
            for one in propose(
                pool,
                known,
                heads,
                ProposeSettings(strategy="core_set", count=66),
                asked=np.arange(40, 40 + asked),
            )
            if one.why != AUDIT
        }
        for asked in (0, 20)
    )

    # By chance a sixth are the same.
    assert len(first) == len(later) == 59
    assert len(first & later) < 25


def test_groups_are_looked_for_with_labels_as_sparse_as_the_others(world, monkeypatch):
    pool, known, heads, _ = world
    seen = []

    def look(embeddings, labelled, _, *, known):
        seen.append((len(embeddings), int(labelled.sum()), len(known)))
        return np.empty(0, dtype=np.intp)

    monkeypatch.setattr("geoseg.active.choose.CANDIDATES", 60)
    monkeypatch.setattr("geoseg.active.choose.compact_groups", look)
    propose(pool, known, heads, ProposeSettings(count=20), asked=np.arange(40, 200))

    ((points, labelled, others),) = seen
    taken = labelled + others
    assert points - labelled == 60
    assert taken > 200
    assert labelled / taken == pytest.approx(60 / (400 - taken), abs=0.01)


def test_audits_follow_one_order_from_round_to_round(world):
    pool, known, heads, _ = world

    def audit(asked):
        settings = ProposeSettings(strategy="random", count=20)
        drawn = propose(pool, known, heads, settings, asked=asked)
        return pool.positions([one.item for one in drawn])

    first = audit(np.array([], dtype=np.intp))
    second = audit(first)
    both = propose(pool, known, heads, ProposeSettings(strategy="random", count=40))

    rows = set(pool.positions([one.item for one in both]).tolist())
    assert rows == {*first.tolist(), *second.tolist()}


def test_any_first_part_of_a_proposal_holds_audit(world):
    pool, known, heads, _ = world

    whys = [one.why for one in propose(pool, known, heads, ProposeSettings(count=100))]

    assert all(AUDIT in whys[first : first + 10] for first in range(0, 100, 10))


def test_chosen_items_and_audit_together_count_the_pool(world):
    pool, known, heads, classes = world
    odds = log_odds(heads.probabilities(pool.embeddings(slice(None)))[:, 1])
    histogram = LogitHistogram()
    histogram.add(odds)

    held = []
    for seed in range(30):
        settings = ProposeSettings(count=80, audit_share=0.5, seed=seed)
        drawn = propose(pool, known, heads, settings)
        rows = np.concatenate([known.rows, pool.positions([one.item for one in drawn])])
        inclusion = np.array([1.0] * len(known.rows) + [one.inclusion for one in drawn])
        found = audit_count(
            histogram, Audit(log_ratio=odds[rows], present=classes[rows] == 1, inclusion=inclusion)
        )
        held.append(found.low <= 0.1 <= found.high)

    assert np.mean(held) >= 0.8


def test_what_does_not_fit_the_pool_is_refused(world):
    pool, known, heads, _ = world

    with pytest.raises(DataError, match="Item 400 is known and the pool has 400; give the pool"):
        propose(pool, known._replace(rows=known.rows + 361), heads, ProposeSettings())
    many = known_classes(np.arange(3), np.arange(3), 3)
    with pytest.raises(ConfigError, match="The heads tell 2 classes apart and labels are of 3"):
        propose(pool, many, heads, ProposeSettings())


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"strategy": "mixtur"}, "There is no strategy 'mixtur'\\. Did you mean 'mixture'"),
        ({"count": 0}, "A proposal of 0 items is none"),
        ({"apart_m": 0.5}, r"Items cannot be kept 0\.5 m apart"),
        ({"audit_share": 0.05}, r"An audit of a share of 0\.05 is too small or too large"),
    ],
)
def test_settings_that_propose_nothing_are_refused(changed, said):
    with pytest.raises(ConfigError, match=said):
        ProposeSettings(**changed)
