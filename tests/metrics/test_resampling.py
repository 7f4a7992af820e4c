import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.metrics import score_classes
from geoseg.metrics.resampling import (
    bootstrap_scores,
    class_iou,
    compare_paired,
    holm,
    mean_iou,
)


def simulate(rng, blocks, *, skill=0.9, spread=0.15, classes=3):
    """Blocks of unequal size, in which a map is right to a share that differs between blocks."""
    out = np.zeros((blocks, classes, classes), dtype=np.int64)
    for block in out:
        right = np.clip(rng.normal(skill, spread), 0.02, 0.98)
        for k in range(classes):
            wrong = np.full(classes, (1 - right) / (classes - 1))
            wrong[k] = right
            block[k] = rng.multinomial(rng.integers(200, 4000), wrong)
    return out


def rng(seed=0):
    return np.random.default_rng(seed)


@given(st.integers(0, 1000), st.integers(2, 5))
def test_iou_is_that_of_the_class_scores(seed, classes):
    confusion = rng(seed).integers(0, 3, size=(classes, classes))

    scores = score_classes(confusion)

    np.testing.assert_array_equal(class_iou(confusion), [s.iou for s in scores])
    held = [s.iou for s in scores[1:] if s.pixels > 0]
    expected = np.mean(held) if held else np.nan
    np.testing.assert_allclose(mean_iou(confusion), expected, rtol=1e-12)


@pytest.mark.slow
def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    draw = rng(7)
    truth = simulate(draw, 20_000).sum(axis=0)
    iou, mean = class_iou(truth), mean_iou(truth)

    held = [
        (s.mean.low <= mean <= s.mean.high, s.classes[1].low <= iou[1] <= s.classes[1].high)
        for s in (bootstrap_scores(simulate(draw, 40), draw, draws=400) for _ in range(300))
    ]

    # 95 % less what 40 blocks lose; three standard errors of 300 trials are 4 %.
    share = np.mean(held, axis=0)
    assert (share > 0.89).all()
    assert (share < 0.985).all()


def test_the_value_is_that_of_all_blocks_and_the_interval_is_around_it():
    blocks = simulate(rng(1), 30)

    scores = bootstrap_scores(blocks, rng())

    assert scores.blocks == 30
    assert scores.mean.value == mean_iou(blocks.sum(axis=0))
    for interval in (scores.mean, *scores.classes):
        assert interval.low < interval.value < interval.high
        assert interval.high - interval.low < 0.3


def test_blocks_that_are_all_alike_leave_nothing_open():
    one = simulate(rng(2), 1)

    scores = bootstrap_scores(np.repeat(one, 12, axis=0), rng())

    assert scores.mean.low == pytest.approx(scores.mean.value, rel=1e-12)
    assert scores.mean.high == pytest.approx(scores.mean.value, rel=1e-12)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.integers(2, 25))
def test_swapping_the_models_turns_the_sign(seed, blocks):
    first, second = simulate(rng(seed), blocks), simulate(rng(seed + 1), blocks, skill=0.85)

    there = compare_paired(first, second, rng(), draws=100)
    back = compare_paired(second, first, rng(), draws=100)

    assert back.difference.value == -there.difference.value
    assert back.difference.low == pytest.approx(-there.difference.high, abs=1e-12)
    assert back.difference.high == pytest.approx(-there.difference.low, abs=1e-12)
    assert back.p_value == there.p_value


@pytest.mark.parametrize("blocks", [1, 2, 5, 40])
def test_a_model_does_not_differ_from_itself(blocks):
    same = simulate(rng(3), blocks)

    paired = compare_paired(same, same, rng())

    assert paired.p_value == 1
    assert paired.difference.value == 0


@pytest.mark.parametrize("blocks", [8, 10, 40])  # 8 and 10: every swap; 40: some at random
def test_a_clear_difference_is_found_with_its_sign(blocks):
    paired = compare_paired(
        simulate(rng(4), blocks, skill=0.9, spread=0.03),
        simulate(rng(5), blocks, skill=0.6, spread=0.03),
        rng(),
    )

    assert 0 < paired.p_value < 0.01
    assert 0 < paired.difference.low < paired.difference.value < paired.difference.high
    assert paired.blocks == blocks


def test_all_swaps_of_few_blocks_give_the_exact_p():
    # The first is better in each of five blocks: 2 of 32 arrangements differ as much.
    good, bad = np.array([[90, 10], [10, 90]]), np.array([[70, 30], [30, 70]])

    paired = compare_paired(np.stack([good] * 5), np.stack([bad] * 5), rng())

    assert paired.p_value == 2 / 32


def test_models_of_equal_skill_seldom_differ():
    draw = rng(11)
    p = [
        compare_paired(simulate(draw, 15), simulate(draw, 15), draw, draws=200).p_value
        for _ in range(200)
    ]

    assert 0.01 <= np.mean(np.array(p) <= 0.05) <= 0.1
    assert 0.4 < np.mean(p) < 0.6


def test_one_block_or_none_gives_no_interval():
    for blocks in (0, 1):
        few = simulate(rng(6), blocks)
        scores = bootstrap_scores(few, rng())
        paired = compare_paired(few, few, rng())

        assert (scores.blocks, paired.blocks) == (blocks, blocks)
        assert math.isnan(scores.mean.low)
        assert math.isnan(paired.difference.high)
        assert math.isnan(scores.mean.value) == (blocks == 0)
        assert math.isnan(paired.p_value) == (blocks == 0)


def test_a_class_that_the_truth_lacks_is_not_part_of_the_mean():
    blocks = simulate(rng(8), 12)
    blocks[:, 2] = 0  # in the map, not in the truth

    scores = bootstrap_scores(blocks, rng())

    assert scores.mean == scores.classes[1]
    assert scores.classes[2].value == 0
    blocks[:, :, 2] = 0  # nowhere
    assert math.isnan(bootstrap_scores(blocks, rng()).classes[2].value)


def test_models_of_other_blocks_are_not_paired():
    with pytest.raises(ValueError, match="are not paired"):
        compare_paired(simulate(rng(), 3), simulate(rng(), 4), rng())


def test_p_values_are_corrected_after_holm():
    # By hand: 0.01 * 3, then max(0.03, 0.02 * 2) and max(0.04, 0.03).
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.6, math.nan, 0.7])[0] == 1
    assert math.isnan(holm([0.6, math.nan, 0.7])[1])
    assert holm([]) == []
