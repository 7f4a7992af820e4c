"""Scores of results, against scikit-learn and against a known truth."""

from datetime import UTC, datetime

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import average_precision_score, brier_score_loss, recall_score

from geoseg.errors import ConfigError, DataError, LabelError
from geoseg.metrics.calibration import fit_calibration
from geoseg.metrics.prevalence import HeldOut
from geoseg.presence.results import Result, part_of_shard, write_part
from geoseg.presence.scores import (
    estimate_of_results,
    pool_of_results,
    read_held_out,
    score_results,
    write_held_out,
)

DAY = datetime(2020, 7, 1, tzinfo=UTC)
RECORD = {"threshold": {"threshold": 0.5, "n": 9, "recall": 0.8, "confidence": 0.95}}


def result(number, logit, present, *, sensors=("sentinel-2",)):
    seen = logit is not None
    return Result(
        id=f"p{number}",
        lon=10.0,
        lat=70.0,
        present=present,
        times=(DAY,) * len(sensors),
        years=(2020.5,) * len(sensors),
        sensors=sensors,
        image_logits=(logit,) * len(sensors),
        image_valid=(float(seen),) * len(sensors),
        logit=logit,
        probability=float(expit(logit)) if seen else None,
        decision=bool(logit >= 0) if seen else None,
    )


def write(folder, results, per_shard=100):
    for number, first in enumerate(range(0, len(results), per_shard)):
        part = results[first : first + per_shard]
        write_part(part_of_shard(folder, number), part, model="abc", told=None)
    return folder


def drawn(count, prevalence, seed):
    """Logits that are calibrated but for a constant: N(2, 2) with, N(-2, 2) without."""
    rng = np.random.default_rng(seed)
    present = rng.random(count) < prevalence
    # Through float32, as results hold them.
    logits = rng.normal(np.where(present, 2.0, -2.0), 2.0).astype(np.float32).astype(np.float64)
    return logits, present


@pytest.fixture
def scored(tmp_path):
    logits, present = drawn(350, 0.2, seed=1)
    results = [result(n, z, bool(p)) for n, (z, p) in enumerate(zip(logits, present, strict=True))]
    results[5:5] = [result(900, None, True), result(901, 3.0, None)]
    return write(tmp_path, results), logits, present


def test_scores_are_those_of_scikit_learn_over_the_places_that_were_seen_and_are_known(scored):
    folder, logits, present = scored

    scores = score_results(folder, RECORD, {})

    assert (scores.places, scores.positives) == (350, present.sum())
    wanted = average_precision_score(present, logits)
    assert scores.average_precision.value == pytest.approx(wanted)
    assert scores.average_precision.low < wanted < scores.average_precision.high
    assert scores.brier == pytest.approx(brier_score_loss(present, expit(logits)), abs=1e-6)
    assert scores.recall == pytest.approx(recall_score(present, logits >= 0))
    assert scores.precision == pytest.approx(present[logits >= 0].mean())
    assert scores.prevalence == pytest.approx(present.mean())
    assert scores.recall_wanted == 0.8
    lowest = np.sort(logits[present])[::-1][int(np.ceil(0.9 * present.sum())) - 1]
    false = (logits[~present] >= lowest).mean()
    assert scores.false_positives_1e5.value == pytest.approx(1e5 * false)


def test_scores_made_again_are_the_same(scored):
    folder, _, _ = scored

    assert score_results(folder, RECORD, {}) == score_results(folder, RECORD, {})


def test_intervals_are_over_groups(scored):
    folder, _, _ = scored
    # All of fifty in a row lie on the same ground.
    groups = {f"p{n}": f"g{n // 50}" for n in range(350)}

    alone, together = (score_results(folder, RECORD, g) for g in ({}, groups))

    assert together.average_precision.value == alone.average_precision.value
    assert together.average_precision != alone.average_precision


def test_a_network_that_finds_nothing_has_no_precision(tmp_path):
    results = [result(n, -3.0 - n, n % 4 == 0) for n in range(40)]

    scores = score_results(write(tmp_path, results), RECORD, {})

    assert scores.recall == 0
    assert np.isnan(scores.precision)


@pytest.mark.parametrize("present", [True, False])
def test_places_of_one_kind_are_not_scored(tmp_path, present):
    folder = write(tmp_path, [result(n, float(n), present) for n in range(6)])

    with pytest.raises(LabelError, match=f"{6 * present} of 6 places that test hold it; label"):
        score_results(folder, RECORD, {})


def test_places_of_one_sensor_are_pooled_by_its_curve_and_unseen_ones_are_in_no_bin(tmp_path):
    rng = np.random.default_rng(0)
    sensor = np.where(rng.random(2000) < 0.5, "sentinel-2", "landsat-8")
    present = rng.random(2000) < 0.5
    shift = np.where(sensor == "landsat-8", 3.0, 0.0)
    logits = rng.normal(np.where(present, 1.5, -1.5), 1.5) + shift
    calibration = fit_calibration(logits, present, sensor_ids=sensor.tolist())
    assert "landsat-8" in calibration.sensors
    both = ("sentinel-2", "landsat-8")
    results = [
        result(0, 1.0, None, sensors=("landsat-8", "landsat-8")),
        result(1, 1.0, None, sensors=both),
        result(2, None, None),
    ]

    pool = pool_of_results(write(tmp_path, results), calibration)

    assert pool.total == 2
    wanted = calibration.log_ratio([1.0, 1.0], ["landsat-8", None])
    assert wanted[0] != pytest.approx(wanted[1])
    np.testing.assert_allclose(pool.sums.sum(), wanted.sum(), rtol=1e-6)


@pytest.mark.parametrize("prevalence", [0.3, 0.02])
@pytest.mark.slow
def test_the_estimated_share_covers_the_truth_at_another_prevalence(tmp_path, prevalence):
    covered = near = 0
    for seed in range(10):
        logits, present = drawn(600, 0.4, seed=[seed, 0])
        calibration = fit_calibration(logits, present)
        held_out = HeldOut(log_ratio=calibration.log_ratio(logits), present=present)
        new, truth = drawn(3000, prevalence, seed=[seed, 1])
        results = [result(n, z, None) for n, z in enumerate(new)]
        folder = write(tmp_path / str(seed), results, per_shard=1000)

        found = estimate_of_results(folder, calibration, held_out)

        covered += found.low <= truth.mean() <= found.high
        near += abs(found.value - truth.mean()) < 0.25 * truth.mean() + 0.01
        assert found.confidence == 0.9

    # At 90 % each, fewer than 7 of 10 have a chance of 1 in 80.
    assert covered >= 7
    assert near >= 8


@pytest.mark.parametrize("groups", [None, np.array(["a", "b", "b"])])
def test_held_out_places_come_back_as_they_were_kept(tmp_path, groups):
    kept = HeldOut(
        log_ratio=np.array([-1.5, 0.1, 30.25]),
        present=np.array([False, True, True]),
        groups=groups,
    )

    write_held_out(tmp_path / "held.parquet", kept, model="ab")

    found = read_held_out(tmp_path / "held.parquet", model="ab")
    np.testing.assert_array_equal(found.log_ratio, kept.log_ratio)
    np.testing.assert_array_equal(found.present, kept.present)
    assert (found.groups is None) == (groups is None)
    assert groups is None or found.groups.tolist() == groups.tolist()
    with pytest.raises(ConfigError, match="of the calibration of another model"):
        read_held_out(tmp_path / "held.parquet", model="cd")


def test_held_out_places_that_are_gone_or_damaged_are_to_be_made_again(tmp_path):
    path = tmp_path / "held.parquet"

    with pytest.raises(DataError, match=r"held\.parquet cannot be read .*; calibrate again"):
        read_held_out(path, model="ab")
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match="calibrate again"):
        read_held_out(path, model="ab")
