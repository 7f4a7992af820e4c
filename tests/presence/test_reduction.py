"""From the probabilities of pixels to the presence of something in a chip."""

import json

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from odc.geo.geobox import GeoBox
from rasterio import Affine
from rasterio.features import rasterize
from scipy.ndimage import gaussian_filter

from geoseg.errors import ConfigError, LabelError, ModelError
from geoseg.presence.reduction import (
    FEATURES,
    LearnedReduction,
    ObjectRule,
    compare_reductions,
    cross_validated,
    features_of,
    find_objects,
    fit_reduction,
    maximum,
    noisy_or,
    present_by_outlines,
    top_k_mean,
)
from geoseg.presence.reduction.chips import ChipPixels, SquareChips
from geoseg.presence.reduction.learned import read_reduction

RULE = ObjectRule(min_area_m2=400, pixel_m2=100)  # four pixels
chances = arrays(np.float64, (7, 9), elements=st.floats(0, 1))
masks = arrays(np.bool_, (7, 9))


def every(probability, valid, rule=RULE):
    objects = find_objects(probability, valid, rule)
    return {
        "maximum": maximum(probability, valid),
        "top_k_mean": top_k_mean(probability, valid, pixels=rule.min_px),
        "noisy_or": noisy_or(objects, valid),
    }


@given(chances, masks)
def test_every_rule_gives_a_probability_or_nothing_where_nothing_is_valid(probability, valid):
    found = every(probability, valid)

    for chance in found.values():
        assert np.isnan(chance) if not valid.any() else 0 <= chance <= 1


@given(chances, masks, st.floats(0, 1))
def test_pixels_without_data_count_for_nothing(probability, valid, hidden):
    spoilt = np.where(valid, probability, hidden)

    assert every(spoilt, valid) == pytest.approx(every(probability, valid), nan_ok=True)


@given(chances, masks, st.data())
def test_a_likelier_pixel_never_makes_maximum_or_mean_less(probability, valid, data):
    row, column = data.draw(st.integers(0, 6)), data.draw(st.integers(0, 8))
    more = probability.copy()
    more[row, column] = data.draw(st.floats(probability[row, column], 1))

    before, after = every(probability, valid), every(more, valid)

    for name in ("maximum", "top_k_mean"):
        assert np.isnan(before[name]) or after[name] >= before[name] - 1e-12


def test_one_bright_pixel_is_noise_to_rules_that_ask_for_an_area():
    probability = np.full((20, 30), 0.01)
    probability[4, 5] = 1.0
    found = every(probability, np.ones(probability.shape, dtype=bool))

    assert found["maximum"] == 1
    assert found["top_k_mean"] == pytest.approx((1 + 3 * 0.01) / 4)
    assert found["noisy_or"] == 0


def test_two_objects_are_surer_than_one():
    probability = np.zeros((20, 30))
    probability[2:6, 2:6] = probability[12:16, 20:24] = 0.6

    assert every(probability, probability >= 0)["noisy_or"] == pytest.approx(1 - 0.4**2)


def test_pixels_that_touch_at_a_corner_are_two_objects():
    probability = np.zeros((6, 6))
    probability[0:2, 0:2] = probability[2:4, 2:4] = 0.9

    objects = find_objects(probability, np.ones((6, 6), dtype=bool), RULE)

    assert [one.area_px for one in objects] == [4, 4]


def test_features_of_a_disc_are_its_area_and_shape():
    row, column = np.mgrid[:80, :90]
    probability = np.where((row - 40) ** 2 + (column - 40) ** 2 < 30**2, 0.9, 0.01)
    valid = np.ones(probability.shape, dtype=bool)
    valid[:, 80:] = False

    found = dict(
        zip(
            FEATURES,
            features_of(probability, valid, find_objects(probability, valid, RULE), RULE),
            strict=True,
        )
    )

    assert np.expm1(found["objects"]) == pytest.approx(1)
    assert np.expm1(found["area"]) == pytest.approx(np.pi * 300**2, rel=0.01)
    assert found["area"] == found["largest"]
    assert found["compactness"] == pytest.approx(1, abs=0.05)
    assert found["valid"] == pytest.approx(80 / 90)
    assert (found["mean"], found["sure"], found["maximum"]) == pytest.approx((0.9, 0.9, 0.9))


def test_a_chip_without_data_has_no_features():
    nothing = np.zeros((4, 5), dtype=bool)

    assert np.isnan(features_of(np.ones((4, 5)), nothing, [], RULE)).all()


# Squares that follow the pixels of a grid of 24 x 32, 10 m each, north up.
GRID = GeoBox((24, 32), Affine(10, 0, 500_000, 0, -10, 7_800_000), "EPSG:32608")
squares = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 22), st.integers(1, 9), st.integers(1, 9)),
    max_size=6,
)


def outline(column, row, columns, rows):
    left, top = 500_000 + 10 * column, 7_800_000 - 10 * row
    return shapely.box(left, top - 10 * rows, left + 10 * columns, top)


@settings(deadline=None)
@given(squares, st.sampled_from([100, 400, 900, 1200]))
def test_rules_on_a_perfect_mask_agree_with_the_outlines_it_was_burnt_from(drawn, min_area_m2):
    outlines = np.array([outline(*one) for one in drawn], dtype=object)
    shape = (GRID.shape.y, GRID.shape.x)
    mask = np.zeros(shape)
    if len(outlines):
        mask = rasterize(outlines, out_shape=shape, transform=GRID.affine).astype(float)
    rule = ObjectRule(min_area_m2=min_area_m2, pixel_m2=100)
    chips = [chip for row in SquareChips(GRID, 80) for chip in row.shapes]

    found, pixel = [], []
    for chip in chips:
        pixels = ChipPixels.of(chip, GRID)
        inside = mask[pixels.window.toslices()]
        found.append(noisy_or(find_objects(inside, pixels.inside, rule), pixels.inside))
        pixel.append(maximum(inside, pixels.inside))

    present = present_by_outlines(np.array(chips), outlines, min_area_m2=min_area_m2)
    np.testing.assert_array_equal(found, present.astype(float))
    # Of the likeliest pixel alone: that any piece as large as a pixel lies there.
    some = present_by_outlines(np.array(chips), outlines, min_area_m2=100)
    np.testing.assert_array_equal(pixel, some.astype(float))


def test_the_mean_of_the_likeliest_pixels_of_a_perfect_mask_tells_one_outline_exactly():
    outlines = np.array([outline(3, 2, 4, 3)])  # 12 pixels; 2 x 3 in the first chip, 2 x 3 beside
    chips = np.array([shapely.box(500_000, 7_799_950, 500_050, 7_800_000), outlines[0]])

    for chip, pixels_inside in zip(chips, (6, 12), strict=True):
        pixels = ChipPixels.of(chip, GRID)
        mask = rasterize(outlines, out_shape=(24, 32), transform=GRID.affine).astype(float)
        part = mask[pixels.window.toslices()]
        for wanted in (pixels_inside, pixels_inside + 1):
            said = top_k_mean(part, pixels.inside, pixels=wanted) == 1
            true = present_by_outlines(np.array([chip]), outlines, min_area_m2=100 * wanted)[0]
            # A chip that is smaller than the object asked for cannot be refused by its pixels.
            assert said == (true or wanted > part.size)


def test_two_halves_of_an_outline_that_touch_are_one_and_two_apart_are_not():
    chip = np.array([shapely.box(0, 0, 100, 100)])
    touching = np.array([shapely.box(10, 10, 20, 20), shapely.box(20, 10, 30, 20)])
    apart = np.array([shapely.box(10, 10, 20, 20), shapely.box(21, 10, 31, 20)])

    assert present_by_outlines(chip, touching, min_area_m2=200).tolist() == [True]
    assert present_by_outlines(chip, apart, min_area_m2=200).tolist() == [False]


def test_what_lies_beyond_the_chip_does_not_count():
    chips = np.array([shapely.box(0, 0, 100, 100), shapely.box(100, 0, 200, 100)])
    across = np.array([shapely.box(95, 0, 130, 10)])

    assert present_by_outlines(chips, across, min_area_m2=100).tolist() == [False, True]


def test_no_outline_is_a_truth_too():
    chips = np.array([shapely.box(0, 0, 100, 100)])

    assert present_by_outlines(chips, np.array([]), min_area_m2=1).tolist() == [False]


@pytest.mark.parametrize("side", [70.0, 80.0, 333.0])
def test_every_pixel_is_of_one_square_chip(side):
    count = np.zeros((GRID.shape.y, GRID.shape.x), dtype=int)
    names = []
    for row in SquareChips(GRID, side):
        names += row.ids
        for chip in row.shapes:
            pixels = ChipPixels.of(chip, GRID)
            count[pixels.window.toslices()] += pixels.inside

    assert (count == 1).all()
    assert len(set(names)) == len(names)


def test_the_chips_of_two_maps_of_one_reference_system_are_the_same():
    moved = GeoBox((24, 32), GRID.affine * Affine.translation(13, 7), "EPSG:32608")

    ids = [{name for row in SquareChips(g, 100) for name in row.ids} for g in (GRID, moved)]

    assert ids[0] & ids[1]
    assert "500000_7799900" in ids[0]


def test_a_chip_that_is_no_square_takes_the_pixels_whose_centres_it_holds():
    triangle = shapely.Polygon([(500_000, 7_800_000), (500_100, 7_800_000), (500_000, 7_799_900)])

    pixels = ChipPixels.of(triangle, GRID)

    centres = np.add.outer(np.arange(10) + 0.5, np.arange(10) + 0.5)
    assert pixels.inside[centres < 10].all()
    assert not pixels.inside[centres > 10].any()


def test_a_chip_across_pixels_takes_those_whose_centres_it_holds():
    left, right = 500_006, 500_026  # centres at 5, 15, 25: the second and the third
    pixels = ChipPixels.of(shapely.box(left, 7_799_900, right, 7_800_000), GRID)

    assert (pixels.window.col_off, pixels.window.width) == (1, 2)


def test_a_chip_beyond_the_map_has_no_pixel_and_one_at_its_edge_some():
    beyond = ChipPixels.of(shapely.box(400_000, 7_000_000, 400_100, 7_000_100), GRID)
    edge = ChipPixels.of(shapely.box(499_950, 7_799_980, 500_050, 7_800_080), GRID)

    assert beyond.inside.size == 0
    assert (edge.inside.shape, edge.total) == ((2, 5), 100)


def test_a_chip_smaller_than_a_pixel_is_refused():
    with pytest.raises(ConfigError, match="A chip of 5 m is smaller than a pixel of the map"):
        SquareChips(GRID, 5)


def noisy_chips(rng, count=300):
    """Chips of 24 x 24 px, a third with a blurred square in them, others with speckle."""
    present = np.arange(count) % 3 == 0
    rules, features = [], []
    for one in present:
        probability = rng.beta(1, 30, (24, 24))
        if one:
            mask = np.zeros((24, 24))
            mask[8:14, 9:15] = 1
            probability += 0.75 * gaussian_filter(mask, 1.0)
        else:
            probability[tuple(rng.integers(0, 24, (2, 2)))] = 0.95
        probability = probability.clip(0, 1)
        valid = np.ones((24, 24), dtype=bool)
        objects = find_objects(probability, valid, RULE)
        rules.append(tuple(every(probability, valid).values()))
        features.append(features_of(probability, valid, objects, RULE))
    names = ("maximum", "top_k_mean", "noisy_or")
    return dict(zip(names, np.array(rules).T, strict=True)), np.array(features), present


def test_speckle_deceives_the_maximum_and_not_the_rules_that_ask_for_an_area():
    rules, features, present = noisy_chips(np.random.default_rng(0))
    rules["learned"] = cross_validated(features, present, np.arange(300) // 10)

    scores = {score.name: score for score in compare_reductions(rules, present)}

    assert scores["maximum"].average_precision < 0.6
    for name in ("top_k_mean", "noisy_or", "learned"):
        assert scores[name].average_precision > 0.99
        assert scores[name].recall > 0.99
    assert scores["learned"].log_loss < scores["top_k_mean"].log_loss
    assert scores["learned"].chips == 300


def test_chips_that_nothing_is_known_of_are_left_out_of_the_comparison():
    present = np.array([True, False, True, False])
    known = np.array([0.9, 0.1, 0.8, np.nan])

    scores = compare_reductions({"a": known, "never": np.full(4, np.nan)}, present)

    assert (scores[0].chips, scores[0].present, scores[0].average_precision) == (3, 2, 1.0)
    assert np.isnan(scores[1].average_precision)


def test_chips_of_one_kind_compare_nothing():
    with pytest.raises(LabelError, match="0 chips with and 2 without an outline compare nothing"):
        compare_reductions({"a": np.array([0.1, 0.2])}, np.zeros(2, dtype=bool))


def test_the_learnt_rule_is_never_judged_on_the_ground_it_learnt_from():
    # Features that name the block, and labels that are one of the block: nothing else to learn.
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 10)
    block = rng.random((40, len(FEATURES)))
    present = rng.random(40) < 0.5
    features = block[groups] + rng.normal(0, 1e-3, (400, len(FEATURES)))

    apart = cross_validated(features, present[groups], groups)
    known = fit_reduction(features, present[groups]).probability(features)

    truth = present[groups]
    assert np.mean((apart > 0.5) == truth) < np.mean((known > 0.5) == truth)
    assert np.isfinite(apart).all()


def test_a_learnt_rule_comes_back_from_its_numbers(tmp_path):
    _, features, present = noisy_chips(np.random.default_rng(1), count=60)
    features[3] = np.nan
    learnt = fit_reduction(features, present)

    learnt.write(tmp_path / "rule.json")
    back = read_reduction(tmp_path / "rule.json")

    assert back == learnt
    chance = back.probability(features)
    assert np.isnan(chance[3])
    assert ((chance > 0.5) == present)[np.isfinite(chance)].mean() > 0.95


def test_a_rule_of_other_features_is_refused(tmp_path):
    path = tmp_path / "rule.json"
    numbers = [0.0] * 2
    record = {"features": ["area", "x"], "intercept": 0, "mean": numbers, "spread": numbers}
    path.write_text(json.dumps({**record, "weights": numbers}), encoding="utf-8")

    with pytest.raises(ModelError, match="The learnt reduction is of area, x and this geoseg has"):
        read_reduction(path)
    with pytest.raises(ModelError, match="cannot be read"):
        LearnedReduction.from_dict({"features": 3})
    with pytest.raises(ModelError, match=r"other.json does not exist; learn a reduction"):
        read_reduction(tmp_path / "other.json")


def test_a_rule_is_not_learnt_from_chips_of_one_kind():
    with pytest.raises(LabelError, match="0 chips with and 5 without cannot teach a reduction"):
        fit_reduction(np.zeros((5, len(FEATURES))), np.zeros(5, dtype=bool))


def test_impossible_objects_are_refused():
    with pytest.raises(ConfigError, match="A smallest object of 0 m2 and pixels of 100 m2"):
        ObjectRule(min_area_m2=0, pixel_m2=100)
    with pytest.raises(ConfigError, match="A least probability of 0; give one above 0"):
        ObjectRule(min_area_m2=1, pixel_m2=100, least_probability=0)
