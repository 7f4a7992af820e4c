import math

import numpy as np
import pytest

from geoseg.metrics import confusion_matrix, score_classes


def test_scores_are_those_counted_by_hand():
    truth = np.array([[0, 0, 1, 1], [1, 1, 255, 0]], np.uint8)
    mapped = np.array([[0, 1, 1, 1], [0, 255, 1, 0]], np.uint8)

    confusion = confusion_matrix(truth, mapped, 2)
    ground, ice = score_classes(confusion)

    assert confusion.tolist() == [[2, 1], [1, 2]]
    assert ice.iou == pytest.approx(2 / 4)
    assert ice.f1 == pytest.approx(4 / 6)
    assert (ice.precision, ice.recall) == pytest.approx((2 / 3, 2 / 3))
    assert ground.pixels == 3


def test_rows_are_the_truth():
    truth, mapped = np.array([1, 1, 1], np.uint8), np.array([0, 0, 1], np.uint8)

    ice = score_classes(confusion_matrix(truth, mapped, 2))[1]

    assert (ice.precision, ice.recall) == (1, pytest.approx(1 / 3))


def test_a_class_that_nobody_has_is_neither_right_nor_wrong():
    nothing = np.zeros(4, np.uint8)

    ice = score_classes(confusion_matrix(nothing, nothing, 2))[1]

    assert math.isnan(ice.iou)
    assert math.isnan(ice.recall)
