import json
import math
from dataclasses import replace

import numpy as np
import pytest

from geoseg.errors import ConfigError, DataError
from geoseg.evaluation.comparison import (
    BlockConfusion,
    Cost,
    UnitKey,
    UnitResult,
    compare_units,
    read_unit,
    write_unit,
)
from geoseg.labels import GLACIER, ClassScheme
from geoseg.metrics.resampling import class_iou, mean_iou

SCHEME = ClassScheme.of({"ice": "#4aa8d8", "lake": "#123a8c"})
SCENES = (  # id, sensor, year, gsd in metres
    ("film_1965", "corona-kh4b", 1965, 4.0),
    ("etm_2001", "landsat-7", 2001, 30.0),
    ("msi_2020", "sentinel-2", 2020, 10.0),
)
COST = Cost(
    train_seconds=100.0,
    predict_seconds_per_mpx=2.0,
    parameters=1_000_000,
    trained_parameters=400_000,
    peak_memory_mb=800.0,
    device="cpu",
)
FOLDS, BLOCKS_A_FOLD = 3, 8


def matrix(rng, truth, skill):
    """A map of `truth` (K,) pixels, each right with chance `skill`."""
    chances = np.full((3, 3), (1 - skill) / 2)
    np.fill_diagonal(chances, skill)
    return np.stack([rng.multinomial(n, p) for n, p in zip(truth, chances, strict=True)])


def unit(model, fold, seed, *, skill=0.9, scenes=SCENES, cost=COST):
    """A unit over the blocks of one fold; blocks differ alike for all models, as ground does."""
    rng = np.random.default_rng([fold, seed, int(1000 * skill)])
    scores = []
    for block in range(fold * BLOCKS_A_FOLD, (fold + 1) * BLOCKS_A_FOLD):
        ground = np.random.default_rng(block)
        truth, harder = ground.integers(300, 3000, size=3), ground.uniform(0, 0.2)
        scores += [
            BlockConfusion(
                scene=scene,
                sensor=sensor,
                year=year,
                gsd_m=gsd_m,
                block=block,
                confusion=matrix(rng, truth, skill - harder),
            )
            for scene, sensor, year, gsd_m in scenes
        ]
    return UnitResult(model=model, fold=fold, seed=seed, scores=tuple(scores), cost=cost)


def units_of(skills, *, seeds=2):
    return [
        unit(model, fold, seed, skill=skill)
        for model, skill in skills.items()
        for fold in range(FOLDS)
        for seed in range(seeds)
    ]


def total(units):
    return np.sum([s.confusion for u in units for s in u.scores], axis=0)


def test_a_unit_comes_back_from_its_file(tmp_path):
    path = tmp_path / "unit.json"
    result = unit("unet", 1, 7, cost=replace(COST, peak_memory_mb=math.nan))

    write_unit(path, result)
    back = read_unit(path)

    assert (back.key, len(back.scores)) == (result.key, len(result.scores))
    for ours, theirs in zip(back.scores, result.scores, strict=True):
        np.testing.assert_array_equal(ours.confusion, theirs.confusion, strict=True)
        for field in ("scene", "sensor", "year", "gsd_m", "block"):
            assert getattr(ours, field) == getattr(theirs, field)
    assert math.isnan(back.cost.peak_memory_mb)
    assert replace(back.cost, peak_memory_mb=1.0) == replace(result.cost, peak_memory_mb=1.0)


def test_a_file_that_is_no_unit_is_refused_in_a_sentence(tmp_path):
    path = tmp_path / "unit.json"
    write_unit(path, unit("unet", 0, 0))
    good = json.loads(path.read_text())
    crooked = json.loads(path.read_text())
    crooked["scores"][0]["confusion"] = [[1, 2, 3], [4, 5, 6]]
    ragged = json.loads(path.read_text())
    ragged["scores"][0]["confusion"] = [[1, 2], [3]]

    for text, words in {
        path.read_text()[:-40]: "file: Invalid JSON",
        "[]": "file: Input should be",
        json.dumps(good | {"fold": "first"}): "fold: Input should be a valid integer",
        json.dumps({k: v for k, v in good.items() if k != "cost"}): "cost: Field required",
        json.dumps(crooked): "give as many rows as columns",
        json.dumps(ragged): "scores.0.confusion: ",
    }.items():
        path.write_text(text)
        with pytest.raises(DataError, match="holds no finished unit of a comparison") as caught:
            read_unit(path)
        assert words in str(caught.value)
        assert str(caught.value).endswith("; delete it and run the comparison again.")
    with pytest.raises(DataError, match=r"none\.json cannot be read: No such file"):
        read_unit(tmp_path / "none.json")


@pytest.mark.parametrize("counts", [[[1, -1], [0, 2]], [1, 2], [[1, 2, 3], [4, 5, 6]]])
def test_a_matrix_that_counts_nothing_is_refused(counts):
    with pytest.raises(ConfigError, match=r"block 4 in scene .a. is .* give as many rows as"):
        BlockConfusion(
            scene="a", sensor="landsat-7", year=2001, gsd_m=30, block=4, confusion=np.array(counts)
        )


def test_the_better_model_is_first_and_surely_better():
    units = units_of({"worse": 0.8, "better": 0.92})

    found = compare_units(units, SCHEME, seed=0)

    assert [m.model for m in found.models] == ["better", "worse"]
    best, worst = found.models
    assert best.mean_iou.low < best.mean_iou.value < best.mean_iou.high
    assert best.mean_iou.value == pytest.approx(
        mean_iou(total([u for u in units if u.model == "better"])), rel=1e-12
    )
    (pair,) = found.pairs
    assert (pair.first, pair.second) == ("better", "worse")
    assert pair.paired.difference.value == pytest.approx(
        best.mean_iou.value - worst.mean_iou.value, rel=1e-12
    )
    assert pair.paired.p_value < 0.001
    assert pair.paired.difference.low > 0
    assert (found.blocks, found.left_out, found.done) == (FOLDS * BLOCKS_A_FOLD, 0, 12)
    assert found.missing == ()


def test_the_interval_holds_the_skill_the_blocks_were_drawn_with():
    skill, truth = 0.85, np.random.default_rng(3).integers(300, 3000, size=(20_000, 3))
    rng = np.random.default_rng(4)
    harder = rng.uniform(0, 0.2, size=len(truth))
    expected = np.zeros((3, 3))
    for pixels, less in zip(truth, harder, strict=True):
        chances = np.full((3, 3), (1 - skill + less) / 2)
        np.fill_diagonal(chances, skill - less)
        expected += pixels[:, None] * chances

    (model,) = compare_units(units_of({"unet": skill}), SCHEME, seed=0).models

    assert model.mean_iou.low <= mean_iou(expected) <= model.mean_iou.high
    assert model.mean_iou.high - model.mean_iou.low < 0.15


def test_models_that_are_the_same_do_not_differ():
    units = units_of({"one": 0.9})
    twin = [replace(u, model="two") for u in units]

    (pair,) = compare_units(units + twin, SCHEME, seed=0).pairs

    assert pair.paired.p_value == 1
    assert pair.p_holm == 1
    assert pair.paired.difference.value == 0


def test_three_pairs_are_corrected_for_being_three():
    found = compare_units(units_of({"a": 0.9, "b": 0.7, "c": 0.8}), SCHEME, seed=0)

    assert [(p.first, p.second) for p in found.pairs] == [("a", "c"), ("a", "b"), ("c", "b")]
    smallest = min(p.paired.p_value for p in found.pairs)
    assert min(p.p_holm for p in found.pairs) == pytest.approx(3 * smallest)


def test_seeds_and_scenes_are_no_more_ground():
    once = units_of({"unet": 0.9}, seeds=1)
    again = [replace(u, seed=seed) for u in once for seed in range(5)]
    twice = [
        replace(u, scores=(*u.scores, *(replace(s, scene=f"{s.scene}_b") for s in u.scores)))
        for u in once
    ]

    alone, seeds, scenes = (compare_units(u, SCHEME, seed=0) for u in (once, again, twice))

    for more in (seeds, scenes):
        assert more.blocks == alone.blocks
        for end in ("value", "low", "high"):
            assert getattr(more.models[0].mean_iou, end) == pytest.approx(
                getattr(alone.models[0].mean_iou, end), rel=1e-9
            )


def test_the_spread_of_seeds_is_that_of_whole_maps():
    units = units_of({"unet": 0.9}, seeds=3)
    per_seed = [mean_iou(total([u for u in units if u.seed == seed])) for seed in range(3)]

    (model,) = compare_units(units, SCHEME, seed=0).models
    # The third seed has no second fold: it would be spread by the ground, not by the seed.
    (less,) = compare_units([u for u in units if (u.fold, u.seed) != (1, 2)], SCHEME, seed=0).models

    assert model.seed_std == pytest.approx(np.std(per_seed, ddof=1), rel=1e-9)
    assert less.seed_std == pytest.approx(np.std(per_seed[:2], ddof=1), rel=1e-9)
    assert math.isnan(
        compare_units(units_of({"a": 0.9}, seeds=1), SCHEME, seed=0).models[0].seed_std
    )


def test_groups_hold_the_scenes_they_name_in_their_order():
    units = units_of({"unet": 0.9}, seeds=1)

    (model,) = compare_units(units, SCHEME, seed=0).models

    iou = {name: interval.value for name, interval in model.per_class.items()}
    assert iou == {
        "ice": pytest.approx(class_iou(total(units))[1], rel=1e-12),
        "lake": pytest.approx(class_iou(total(units))[2], rel=1e-12),
    }
    assert list(model.per_sensor) == ["corona-kh4b", "landsat-7", "sentinel-2"]
    assert list(model.per_era) == ["before 1980", "2000-2014", "2015 and later"]
    assert list(model.per_gsd) == ["below 5 m", "5 to 15 m", "15 to 40 m"]
    film = [
        replace(u, scores=tuple(s for s in u.scores if s.sensor == "corona-kh4b")) for u in units
    ]
    for scores in (
        model.per_sensor["corona-kh4b"],
        model.per_era["before 1980"],
        model.per_gsd["below 5 m"],
    ):
        assert scores.mean.value == pytest.approx(mean_iou(total(film)), rel=1e-12)
        assert scores.blocks == FOLDS * BLOCKS_A_FOLD


@pytest.mark.parametrize(
    ("year", "gsd_m", "era", "gsd"),
    [
        (1979, 4.9, "before 1980", "below 5 m"),
        (1980, 5, "1980-1999", "5 to 15 m"),
        (2000, 15, "2000-2014", "15 to 40 m"),
        (2015, 40, "2015 and later", "40 m and more"),
    ],
)
def test_groups_begin_with_their_lower_end(year, gsd_m, era, gsd):
    only = unit("unet", 0, 0, scenes=[("a", "landsat-7", year, gsd_m)])

    (model,) = compare_units([only], SCHEME, seed=0).models

    assert (list(model.per_era), list(model.per_gsd)) == ([era], [gsd])


def test_what_is_missing_is_stated_and_the_rest_is_compared_on_the_same_ground():
    units = units_of({"a": 0.9, "b": 0.9})
    done = [u for u in units if u.key not in {("b", 2, 0), ("b", 2, 1), ("a", 0, 1)}]

    found = compare_units(done, SCHEME, seed=0)

    assert found.missing == (UnitKey("a", 0, 1), UnitKey("b", 2, 0), UnitKey("b", 2, 1))
    assert (found.blocks, found.left_out) == (2 * BLOCKS_A_FOLD, BLOCKS_A_FOLD)
    by_name = {m.model: m for m in found.models}
    # Fold 2 is in no table of either model.
    expected = mean_iou(total([u for u in done if u.model == "b"]))
    assert by_name["b"].mean_iou.value == pytest.approx(expected, rel=1e-12)
    kept = [u for u in done if u.model == "a" and u.fold == 1]
    kept += [u for u in done if u.key == ("a", 0, 0)] * 2  # a block counts once, by one seed or two
    assert by_name["a"].mean_iou.value == pytest.approx(mean_iou(total(kept)), rel=1e-12)
    assert found.to_dict()["units"] == {
        "done": 9,
        "missing": [
            {"model": "a", "fold": 0, "seed": 1},
            {"model": "b", "fold": 2, "seed": 0},
            {"model": "b", "fold": 2, "seed": 1},
        ],
    }


def test_a_plan_says_what_is_missing_altogether():
    plan = {UnitKey(model, 0, 0) for model in ("a", "b")}

    found = compare_units([unit("a", 0, 0)], SCHEME, seed=0, planned=plan)

    assert found.missing == (UnitKey("b", 0, 0),)
    assert [m.model for m in found.models] == ["a"]


def test_blocks_of_other_pixels_or_other_scenes_are_not_compared():
    a, b = unit("a", 0, 0), unit("b", 0, 0)
    first, second, third, *others = b.scores
    fewer = replace(first, confusion=first.confusion - np.diag([1, 0, 0]))
    lacking = [s for s in others if (s.block, s.scene) != (1, "msi_2020")]

    pixels = compare_units([a, replace(b, scores=(fewer, second, third, *others))], SCHEME, seed=0)
    scenes = compare_units([a, replace(b, scores=(first, second, third, *lacking))], SCHEME, seed=0)

    assert (pixels.blocks, pixels.left_out) == (BLOCKS_A_FOLD - 1, 1)
    assert (scenes.blocks, scenes.left_out) == (BLOCKS_A_FOLD - 1, 1)


def test_models_without_common_ground_have_no_score():
    found = compare_units([unit("a", 0, 0), unit("b", 1, 0)], SCHEME, seed=0)

    assert (found.blocks, found.left_out) == (0, 2 * BLOCKS_A_FOLD)
    told = found.to_dict()
    assert [m["mean_iou"] for m in told["models"]] == [None, None]
    assert told["models"][0]["per_sensor"] == {}
    assert (told["pairs"][0]["difference"], told["pairs"][0]["p_holm"]) == (None, None)


def test_the_dictionary_is_json_with_null_for_what_is_not_known():
    cost = replace(COST, train_seconds=math.nan)
    found = compare_units([unit("unet", 0, 0, cost=cost)], SCHEME, seed=0)

    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))

    assert list(told) == ["models", "pairs", "units", "blocks", "blocks_left_out"]
    (model,) = told["models"]
    assert list(model) == [
        *("model", "mean_iou", "low", "high", "seed_std"),
        *("per_class", "per_sensor", "per_era", "per_gsd", "cost"),
    ]
    assert (model["seed_std"], model["cost"]["train_seconds"]) == (None, None)
    assert model["cost"]["parameters"] == 1_000_000
    assert list(model["per_class"]["ice"]) == ["iou", "low", "high"]
    assert list(model["per_era"]["before 1980"]) == ["mean_iou", "low", "high", "blocks"]


def test_cost_is_the_usual_one_and_the_most_memory():
    costs = [
        replace(COST, train_seconds=t, predict_seconds_per_mpx=p, peak_memory_mb=m, device=d)
        for t, p, m, d in ((10, 1, 500, "cuda:0"), (20, 2, 900, "cuda:0"), (90, 9, 700, "cpu"))
    ]
    units = [unit("unet", fold, 0, cost=cost) for fold, cost in enumerate(costs)]
    units.append(unit("other", 0, 0, skill=0.5, cost=replace(COST, peak_memory_mb=9000)))

    model, _ = compare_units(units, SCHEME, seed=0).models

    assert (model.cost.train_seconds, model.cost.predict_seconds_per_mpx) == (20, 2)
    assert (model.cost.peak_memory_mb, model.cost.device) == (900, "cpu, cuda:0")


def test_the_order_of_units_does_not_matter():
    units = units_of({"a": 0.9, "b": 0.85})
    units += [replace(u, model="twin of a") for u in units if u.model == "a"]

    one, other = (compare_units(u, SCHEME, seed=5).to_dict() for u in (units, units[::-1]))

    assert one == other


def test_units_that_do_not_go_together_are_refused():
    with pytest.raises(ConfigError, match="No unit of the comparison is finished; run it"):
        compare_units([], SCHEME, seed=0)
    with pytest.raises(
        ConfigError,
        match=r"of block 0 of scene 'film_1965' in the unit a, fold 0, seed 0 has 3 classes and "
        r"the scheme has 2; compare",
    ):
        compare_units([unit("a", 0, 0)], GLACIER, seed=0)
    with pytest.raises(ConfigError, match="two confusion matrices of block 0 of scene 'film_1965'"):
        compare_units([unit("a", 0, 0), replace(unit("a", 0, 0), fold=1)], SCHEME, seed=0)
