import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from geoseg.labels import IGNORE
from geoseg.landcover.scores import confusions_by_parcel, score_cover, share_error
from geoseg.landcover.shares import Shares

TRUTH = np.array([[0, 0, 1, 1], [0, 0, 1, IGNORE], [2, 2, 2, 2]], dtype=np.uint8)
MAPPED = np.array([[0, 0, 1, 0], [0, 1, 1, 1], [2, 2, IGNORE, 2]], dtype=np.uint8)
PARCEL = np.array([[0, 0, 1, 1], [0, 0, 1, -1], [2, 2, 2, 2]])


def test_scores_are_those_counted_by_hand():
    confusions = confusions_by_parcel(TRUTH, MAPPED, PARCEL, 3)

    scores = score_cover(confusions, ("a", "b", "c"), np.random.default_rng(0))

    assert confusions.shape == (3, 3, 3)
    assert scores.confusion == ((3, 1, 0), (1, 2, 0), (0, 0, 3))
    assert scores.accuracy.value == pytest.approx(8 / 10)
    assert scores.f1["a"].value == pytest.approx(6 / 8)
    assert scores.f1["b"].value == pytest.approx(4 / 6)
    assert scores.macro_f1.value == pytest.approx((6 / 8 + 4 / 6 + 1) / 3)
    # The worst parcel has two of three cells right, the best all.
    assert 2 / 3 <= scores.accuracy.low < scores.accuracy.value < scores.accuracy.high <= 1
    assert scores.parcels == 3


def test_intervals_are_wider_where_cells_err_by_whole_parcels():
    rng = np.random.default_rng(0)
    right = np.diag([10, 0]).astype(int)
    wrong = np.array([[0, 10], [0, 0]])
    half = np.array([[5, 5], [0, 0]])

    by_parcels = score_cover(np.stack([right, wrong] * 20), ("a", "b"), rng).accuracy
    by_cells = score_cover(np.stack([half] * 40), ("a", "b"), rng).accuracy

    assert by_parcels.value == by_cells.value == 0.5
    assert by_parcels.high - by_parcels.low > 0.2
    assert by_cells.high == by_cells.low


def test_one_parcel_tells_no_interval_and_a_class_nowhere_no_f1():
    scores = score_cover(
        confusions_by_parcel(TRUTH[:2, :2], MAPPED[:2, :2], PARCEL[:2, :2], 3),
        ("a", "b", "c"),
        np.random.default_rng(0),
    )

    assert np.isnan(scores.accuracy.low)
    assert np.isnan(scores.f1["c"].value)
    assert scores.macro_f1.value == pytest.approx(6 / 7)


def test_the_error_of_shares_is_none_where_areas_are_right_and_skips_what_is_unknown():
    grid = GeoBox((1, 3), Affine(10, 0, 0, 0, -10, 0), "EPSG:32633")
    true = Shares.of(np.array([[[1.0, 0.5, np.nan]], [[0.0, 0.5, 1.0]]]), grid)
    told = Shares.of(np.array([[[0.8, 0.5, 0.3]], [[0.2, 0.5, 0.7]]]), grid)

    assert share_error(true, true) == 0
    assert share_error(told, true) == pytest.approx(0.1)
