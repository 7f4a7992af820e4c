"""Losses of heads are compared on labels that the heads did not see."""

import json

import numpy as np
import pytest
from active.pools import pool_of
from command_line import geoseg_here

from geoseg.active.folder import opened
from geoseg.active.known import known_classes
from geoseg.active.losses import BASE, compare_losses
from geoseg.errors import ConfigError, LabelError

NAMES = ("absent", "present")


@pytest.fixture(scope="module")
def rare():
    """Two classes that overlap, one with 30 items of 430."""
    rng = np.random.default_rng(3)
    classes = np.arange(430) < 30
    embeddings = rng.standard_normal((430, 8)) + 0.8 * classes[:, None]
    return pool_of(embeddings), known_classes(np.arange(430), classes.astype(int), 2)


@pytest.mark.slow
def test_losses_for_rare_classes_gain_over_cross_entropy_and_the_interval_says_so(rare):
    found = compare_losses(*rare, NAMES, ("focal", "logit_adjusted", "adjusted_after"), seeds=2)

    by_name = {one.loss: one for one in found}
    values = [one.balanced_accuracy.value for one in found]
    assert values == sorted(values, reverse=True)
    assert set(by_name) == {BASE, "focal", "logit_adjusted", "adjusted_after"}
    assert by_name["logit_adjusted"].gain.low > 0.03
    assert by_name["adjusted_after"].gain.low > 0.03
    assert (by_name[BASE].gain.low, by_name[BASE].gain.high) == (0, 0)
    for one in found:
        assert one.balanced_accuracy.value == pytest.approx(np.mean(one.recall))
        assert one.balanced_accuracy.low < one.balanced_accuracy.value < one.balanced_accuracy.high
        base = by_name[BASE].balanced_accuracy.value
        assert one.gain.value == pytest.approx(one.balanced_accuracy.value - base)


@pytest.mark.slow
def test_items_of_one_neighbourhood_are_held_out_and_drawn_together():
    """Of each place there are ten items that are all but one: apart, each tells what it is of."""
    rng = np.random.default_rng(5)
    place = np.repeat(np.arange(40), 10)
    classes = (place % 2).astype(int)
    own = 0.7 * classes[:, None] + rng.standard_normal((40, 4))[place]
    embeddings = own + 0.01 * rng.standard_normal((400, 4))
    known = known_classes(np.arange(400), classes, 2)
    near = pool_of(embeddings, lon=place * 0.5, lat=np.full(400, 60.0))

    apart, together = (
        compare_losses(pool, known, NAMES, (BASE,), seeds=1)[0].balanced_accuracy
        for pool in (pool_of(embeddings), near)
    )

    assert apart.value > 0.9
    assert together.value < 0.8
    assert together.high - together.low > 2 * (apart.high - apart.low)
    alone = 1.96 * 2 * (together.value * (1 - together.value) / 400) ** 0.5
    assert together.high - together.low > 2 * alone


@pytest.mark.slow
def test_items_of_even_votes_teach_and_are_not_scored(rare):
    pool, known = rare
    even = known.targets.copy()
    even[100:200] = 0.5

    found = compare_losses(pool, known._replace(targets=even), NAMES, (BASE,))[0]

    # 330 of the common class are scored: a hundred of them less would be 0.
    assert found.recall[0] > 0.95


def test_what_cannot_be_compared_is_refused(rare):
    pool, known = rare

    with pytest.raises(ConfigError, match="no loss named 'fokal'"):
        compare_losses(pool, known, NAMES, ("fokal",))
    with pytest.raises(ConfigError, match="0 seeds tell nothing"):
        compare_losses(pool, known, NAMES, seeds=0)
    lonely = known_classes(np.arange(29, 60), (np.arange(31) < 1).astype(int), 2)
    with pytest.raises(LabelError, match="labels of 'present' lie in 1 neighbourhoods of 5 km"):
        compare_losses(pool, lonely, NAMES)
    here = pool_of(pool.stored, lon=np.full(430, 10.0), lat=np.full(430, 60.0))
    with pytest.raises(LabelError, match="labels of 'absent' lie in 1 neighbourhoods of 5 km"):
        compare_losses(here, known, NAMES)


@pytest.mark.slow
def test_the_labels_of_a_project_say_which_loss_serves_them(tmp_path, rare):
    pool, known = rare
    rows = ["item,e" + ",e".join(map(str, range(8)))]
    rows += [f"i{n}," + ",".join(f"{v:.4f}" for v in e) for n, e in enumerate(pool.stored)]
    (tmp_path / "embeddings.csv").write_text("\n".join(rows))
    said = ["absent", "present"]
    labels = [f"i{n},{said[k]}" for n, k in enumerate(known.targets.argmax(axis=1))]
    (tmp_path / "labels.csv").write_text("\n".join(["item,said", *labels]))
    project = tmp_path / "project"
    begun = geoseg_here(
        *("active", "init", project, "--embeddings", tmp_path / "embeddings.csv"),
        *("--seeds", tmp_path / "labels.csv"),
    )
    assert begun.returncode == 0, begun.stderr

    done = geoseg_here(
        *("compare", "--project", project, "--losses", "logit_adjusted", "--seeds", 2, "--json")
    )
    table = geoseg_here("compare", "--project", project, "--losses", "focal", "--seeds", 1)
    both = geoseg_here("compare", "--project", project, "--recipe", tmp_path / "r.yaml")
    neither = geoseg_here("compare")

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    with opened(project) as (_, of_project):
        alone = compare_losses(of_project, known, NAMES, ("logit_adjusted",), seeds=2)
    assert told["labels"] == 430
    for one in alone:
        own = told["losses"][one.loss]
        assert own["balanced_accuracy"]["value"] == pytest.approx(one.balanced_accuracy.value)
        assert own["recall"] == {"absent": one.recall[0], "present": one.recall[1]}
    assert "cross_entropy" in table.stdout
    assert "focal" in table.stdout
    unused = geoseg_here("compare", "--project", project, "--folds", 4)
    assert unused.returncode == 2
    assert "--folds is for --recipe and changes nothing here; drop it." in unused.stderr
    for refused in (both, neither):
        assert refused.returncode == 2
        assert "Name what to compare by: --recipe of scenes, or --project of labels." in (
            refused.stderr
        )
