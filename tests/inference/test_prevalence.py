import numpy as np
import pytest

from geoseg.inference.prevalence import adapted, prevalence_ratio, ratio_at

PRIOR = (0.7, 0.3)


def calibrated(share, shape, seed=0):
    """Truth at a prevalence, and the probabilities of a network calibrated at PRIOR."""
    rng = np.random.default_rng(seed)
    truth = rng.random(shape) < share
    seen = rng.normal(np.where(truth, 1.0, -1.0), 1.0)
    odds = np.exp(2 * seen) * PRIOR[1] / PRIOR[0]
    ice = odds / (1 + odds)
    return truth, np.stack([1 - ice, ice]).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.15, 0.3, 0.6, 0.85])
def test_the_prevalence_of_a_place_is_found_without_a_label(share):
    _, chance = calibrated(share, (150, 200))

    ratio = prevalence_ratio(chance, PRIOR, reach_px=1000)

    np.testing.assert_allclose(ratio[1] * PRIOR[1], share, atol=0.03)
    np.testing.assert_allclose(ratio[0] * PRIOR[0], 1 - share, atol=0.03)


def test_a_map_of_two_places_gets_better_in_both():
    west_truth, west = calibrated(0.1, (200, 300), seed=1)
    east_truth, east = calibrated(0.9, (200, 300), seed=2)
    chance = np.concatenate([west, east], axis=2)
    truth = np.concatenate([west_truth, east_truth], axis=1)

    better = adapted(chance, prevalence_ratio(chance, PRIOR, reach_px=40))

    def right(c):
        return ((c[1] > 0.5) == truth).mean()

    assert right(better) > right(chance) + 0.02


def test_a_place_like_the_training_is_left_nearly_as_it_is():
    _, chance = calibrated(PRIOR[1], (200, 300))

    ratio = prevalence_ratio(chance, PRIOR, reach_px=60)

    np.testing.assert_allclose(ratio, 1, atol=0.25)


def test_pixels_without_data_neither_count_nor_break():
    _, chance = calibrated(0.6, (100, 200))
    holed = chance.copy()
    holed[:, :, :90] = np.nan

    ratio = prevalence_ratio(holed, PRIOR, reach_px=500)

    assert np.isfinite(ratio).all()
    assert ratio[1, 50, 150] * PRIOR[1] == pytest.approx(0.6, abs=0.03)


def test_a_network_that_is_sure_of_everything_cannot_drive_a_class_out():
    chance = np.full((2, 50, 50), 0.0, np.float32)
    chance[0] = 1

    ratio = prevalence_ratio(chance, PRIOR, reach_px=10)

    assert ratio[1].min() == pytest.approx(0.2)


def test_coarse_ratios_are_placed_at_the_middle_of_their_cells():
    # Every 4th pixel, from the third on: columns 2, 6, 10, ... hold 0, 1, 2, ...
    coarse = np.tile(np.arange(5, dtype=np.float32), (1, 3, 1))

    fine = ratio_at(coarse, begin=(2, 2), step_px=4, rows=range(2, 5), width=20)

    assert fine.shape == (1, 3, 20)
    assert fine[0, 0, 6] == 1
    assert fine[0, 0, 8] == pytest.approx(1.5)
    assert fine[0, 0, 0] == 0
    assert fine[0, 0, 19] == 4
