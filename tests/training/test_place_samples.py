"""Which places are learned from in a step, and which labels are granted."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from taught_places import drawn_places, recipe_of, samples_of

from geoseg.chips import Place
from geoseg.config import FewLabelSettings
from geoseg.errors import LabelError
from geoseg.training import PlaceSamples, choose_labels
from geoseg.training.place_samples import steps_of, unlabelled_steps_of

PU = {"unlabelled": "positive_unlabelled", "prior": 0.1}


@pytest.fixture(scope="module")
def places():
    """Of 40, the first 8 with something; the value of the first pixel tells which place it is."""
    found = drawn_places(40, share=0.2)
    for number, place in enumerate(found):
        for chip in place.images:
            chip.image[:, 0, 0] = number
    return found


def numbers_in(batch):
    """Of the places of a batch, in its order."""
    found = {}
    for images, owners in zip(batch.batches, batch.owners, strict=True):
        for image, owner in zip(images.image, owners, strict=True):
            found[int(owner)] = int(image[0, 0, 0])
    return [found[i] for i in range(batch.size)]


def labels_of(present):
    """Samples whose places are never read."""
    place = Place(id="p", lon=0.0, lat=0.0, images=(), present=None)
    return PlaceSamples(places=[place] * len(present), present=np.array(present, dtype=np.float32))


def test_places_and_labels_are_of_one_number():
    with pytest.raises(LabelError, match="There are 1 places and 2 labels; give one label a place"):
        PlaceSamples(places=labels_of([1]).places, present=np.ones(2, dtype=np.float32))


def test_the_same_step_draws_the_same_places_wherever_a_training_starts(places):
    samples, recipe = samples_of(places), recipe_of(steps=6)

    whole = [numbers_in(batch) for batch in steps_of(samples, recipe, first=0)]
    resumed = [numbers_in(batch) for batch in steps_of(samples, recipe, first=4)]

    assert len(whole) == 6
    assert resumed == whole[4:]
    assert len(set(map(tuple, whole))) == 6


@pytest.mark.parametrize("unlabelled", [False, True])
def test_the_places_of_a_step_are_drawn_when_they_are_asked_for(unlabelled, places):
    many = 400_000
    samples, recipe = samples_of(places), recipe_of(steps=many)
    begun = time.process_time()

    if unlabelled:
        next(unlabelled_steps_of(samples, recipe, first=0, steps=many, every=True))
    else:
        next(steps_of(samples, recipe, first=0))

    assert time.process_time() - begun < 1  # all of them take some ten


def test_another_seed_draws_others(places):
    samples = samples_of(places)
    one, two = (next(steps_of(samples, recipe_of(seed=s), first=0)) for s in (0, 1))

    assert numbers_in(one) != numbers_in(two)


@pytest.mark.parametrize(("share", "count"), [(0.25, 4), (0.5, 8), (0.001, 1), (0.999, 15)])
def test_a_step_holds_its_share_of_what_is_rare(places, share, count):
    recipe = recipe_of(steps=20, present_share=share)
    drawn = set()
    for batch in steps_of(samples_of(places), recipe, first=0):
        assert int(batch.present.sum()) == count
        assert batch.size == 16
        assert [n < 8 for n in numbers_in(batch)] == batch.present.bool().tolist()
        drawn |= set(numbers_in(batch))

    assert len(drawn) > 16


def test_the_label_of_the_samples_goes_over_that_of_the_place(places):
    turned = samples_of(places, labels=[not place.present for place in places])

    batch = next(steps_of(turned, recipe_of(), first=0))

    assert [n >= 8 for n in numbers_in(batch)] == batch.present.bool().tolist()


def test_without_negatives_a_step_is_of_positives_and_of_places_without_a_label(places):
    labels = [1.0] * 8 + [np.nan] * 32

    batch = next(steps_of(samples_of(places, labels), recipe_of(present_share=0.5), first=0))

    assert [n < 8 for n in numbers_in(batch)] == (batch.present == 1).tolist()
    assert int(batch.present.isnan().sum()) == 8


@pytest.mark.parametrize("labels", [[0.0] * 40, [np.nan] * 40, [1.0] * 40])
def test_nothing_to_learn_from_is_said_in_one_sentence(places, labels):
    with pytest.raises(LabelError, match=r"to learn from; label at least two of each kind\.$"):
        next(steps_of(samples_of(places, labels), recipe_of(), first=0))


@pytest.mark.parametrize("every", [True, False])
def test_places_without_labels_are_drawn_without_those_of_others(places, every):
    labels = [1.0, 0.0] * 10 + [np.nan] * 20

    batches = list(
        unlabelled_steps_of(samples_of(places, labels), recipe_of(), first=0, steps=8, every=every)
    )

    drawn = {n for batch in batches for n in numbers_in(batch)}
    assert len(batches) == 8
    assert (min(drawn) >= 20) != every
    assert all(batch.size == 16 for batch in batches)
    again = next(
        unlabelled_steps_of(samples_of(places, labels), recipe_of(), first=5, steps=8, every=every)
    )
    assert numbers_in(again) == numbers_in(batches[5])


def test_where_every_place_is_labelled_the_way_out_is_named(places):
    drawn = unlabelled_steps_of(samples_of(places), recipe_of(), first=0, steps=1, every=False)

    with pytest.raises(
        LabelError, match=r"lower few_labels\.labels, or set few_labels\.unlabelled"
    ):
        next(drawn)


@settings(deadline=None, max_examples=60)
@given(
    positives=st.integers(2, 60),
    negatives=st.integers(2, 200),
    unknown=st.integers(0, 20),
    labels=st.integers(4, 300),
    seed=st.integers(0, 99),
)
def test_granted_labels_keep_the_share_of_positives_and_two_of_each(
    positives, negatives, unknown, labels, seed
):
    rng = np.random.default_rng(seed)
    present = rng.permutation([1.0] * positives + [0.0] * negatives + [np.nan] * unknown)
    samples = labels_of(present)

    chosen = choose_labels(samples, FewLabelSettings(labels=labels), seed=seed)

    total = positives + negatives
    granted = min(labels, total)
    one, none = len(chosen.positives), len(chosen.negatives)
    assert one + none == granted
    assert min(one, none) >= 2
    if granted * min(positives, negatives) / total >= 2.5:
        assert abs(one - granted * positives / total) <= 0.5
    known = np.isfinite(chosen.present)
    assert np.array_equal(chosen.present[known], samples.present[known])


def test_granted_labels_depend_on_the_seed_alone():
    samples = labels_of([1.0, 0.0] * 50)
    few = FewLabelSettings(labels=10)

    one, same, other = (choose_labels(samples, few, seed=s).present for s in (3, 3, 4))

    assert np.array_equal(one, same, equal_nan=True)
    assert not np.array_equal(one, other, equal_nan=True)


def test_all_labels_are_granted_where_the_recipe_names_no_number():
    samples = labels_of([1.0, 0.0, np.nan] * 5)

    chosen = choose_labels(samples, FewLabelSettings(), seed=0)

    assert np.array_equal(chosen.present, samples.present, equal_nan=True)


def test_positive_unlabelled_hides_what_is_absent():
    samples = labels_of([1.0, 0.0, 0.0, np.nan] * 25)

    chosen = choose_labels(samples, FewLabelSettings(**PU), seed=0)

    assert np.array_equal(chosen.positives, samples.positives)
    assert len(chosen.negatives) == 0
    assert len(chosen.unlabelled) == 75


def test_positives_alone_take_all_the_labels_that_are_granted():
    samples = labels_of([1.0] * 20 + [np.nan] * 20)

    assert len(choose_labels(samples, FewLabelSettings(labels=6, **PU), seed=0).positives) == 6


@pytest.mark.parametrize(
    ("present", "more", "kind"),
    [([1.0, np.nan], {}, "absent"), ([0.0, np.nan], {}, "present"), ([0.0], PU, "present")],
)
def test_a_kind_without_an_example_is_named(present, more, kind):
    with pytest.raises(
        LabelError, match=f"No place is labelled {kind}; label at least two of each"
    ):
        choose_labels(labels_of(present), FewLabelSettings(**more), seed=0)
