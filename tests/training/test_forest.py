"""A forest says of places that nobody labelled what their colours and textures tell."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from taught_places import (
    CPU,
    PAN,
    RECORD,
    S2,
    drawn_chip,
    drawn_places,
    fresh_classifier,
    recipe_of,
    samples_of,
)

from geoseg.training import forest, train_classifier
from geoseg.training.forest import forest_labels, statistics_of
from geoseg.training.place_samples import steps_of


def labelled(places, known):
    """The first of them with their label, the others without."""
    labels = [place.present if n in known else np.nan for n, place in enumerate(places)]
    return samples_of(places, labels)


def of_one_sensor(count, bands=S2, **options):
    places = [p for p in drawn_places(3 * count, **options) if p.images[-1].bands == bands]
    return [replace(p, images=p.images[-1:]) for p in places][:count]


@pytest.mark.slow
def test_what_is_plain_to_see_is_told_of_places_without_a_label():
    places = drawn_places(240, share=0.5, seed=1)
    known = set(range(0, 240, 5))

    said = forest_labels(labelled(places, known), seed=0)

    assert said.places == places
    assert sorted(said.guessed) == sorted(set(range(240)) - known)
    assert sorted([*said.positives, *said.negatives]) == sorted(known)
    truth = np.array([place.present for place in places])
    for bands in (S2, PAN):  # a forest for each
        of = [n for n in said.guessed if places[n].images[-1].bands == bands]
        assert len(of) > 40
        assert ((said.present > 0.5) == truth)[of].mean() > 0.95


def test_places_of_bands_without_labels_of_both_kinds_are_not_spoken_of():
    places = of_one_sensor(40, share=0.5) + of_one_sensor(40, PAN, share=0.5)
    known = {*range(0, 40, 2), 40, 41, 42}  # of the second sensor present ones alone

    said = forest_labels(labelled(places, known), seed=0)

    assert sorted(said.guessed) == list(range(1, 40, 2))
    assert sorted(said.unlabelled) == list(range(43, 80))


def test_where_all_places_have_a_label_there_is_nothing_to_say():
    samples = samples_of(of_one_sensor(20, share=0.5))

    assert (forest_labels(samples, seed=0).present == samples.present).all()


@pytest.mark.slow
def test_the_same_seed_says_the_same():
    samples = labelled(drawn_places(60, share=0.5), set(range(0, 60, 4)))

    one, same, other = (forest_labels(samples, seed=seed).present for seed in (1, 1, 2))

    assert np.array_equal(one, same, equal_nan=True)
    assert not np.array_equal(one, other, equal_nan=True)


@pytest.mark.slow
@given(noise=st.floats(-1e4, 1e4))
def test_pixels_that_are_not_valid_change_no_statistic(noise):
    chip = drawn_chip(True, S2, np.random.default_rng(0))
    valid = chip.valid.clone()
    valid[:9] = False
    image = chip.image.clone()
    image[:, :9] = noise

    clean = statistics_of(replace(chip, valid=valid))

    assert statistics_of(replace(chip, valid=valid, image=image)) == pytest.approx(clean)
    assert (clean != statistics_of(chip)).any()


@pytest.mark.parametrize("bands", [S2, PAN])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (32, 32)])
def test_an_image_of_hardly_a_pixel_has_as_many_statistics(bands, size):
    chip = drawn_chip(True, bands, np.random.default_rng(0))
    height, width = size
    valid = torch.zeros(size, dtype=torch.bool)
    valid[0, 0] = True

    found = statistics_of(replace(chip, image=chip.image[:, :height, :width], valid=valid))

    assert found.shape == statistics_of(chip).shape
    assert np.isfinite(found).all()


@pytest.mark.slow
@pytest.mark.parametrize("shown", [0, 10])  # rows of the newest image, of 32
def test_a_cloud_over_the_newest_image_hides_nothing_that_an_older_one_shows(shown):
    rng = np.random.default_rng(4)
    valid = torch.zeros((32, 32), dtype=torch.bool)
    valid[:shown] = True
    places = []
    for place in of_one_sensor(60, share=0.5):
        before = drawn_chip(False, S2, rng, year=2000)
        seen = drawn_chip(place.present, S2, rng, year=2001)
        clouded = replace(drawn_chip(False, S2, rng, year=2002), valid=valid)
        places.append(replace(place, images=(before, seen, clouded)))

    said = forest_labels(labelled(places, set(range(0, 60, 2))), seed=0)

    truth = np.array([place.present for place in places])
    assert ((said.present > 0.5) == truth)[said.guessed].mean() > 0.95


def test_of_places_that_show_nothing_nothing_is_said():
    places = of_one_sensor(40, share=0.5)
    hidden = replace(places[1].images[0], valid=torch.zeros((32, 32), dtype=torch.bool))
    places[1] = replace(places[1], images=(hidden,))

    said = forest_labels(labelled(places, set(range(0, 40, 2))), seed=0)

    assert said.unlabelled.tolist() == [1]


def test_no_more_is_guessed_than_a_training_takes_in(monkeypatch):
    monkeypatch.setattr(forest, "_MOST", 7)

    said = forest_labels(labelled(of_one_sensor(40, share=0.5), set(range(0, 40, 2))), seed=0)

    assert len(said.guessed) == 7
    assert len(said.unlabelled) == 13


def test_half_of_a_step_are_guesses_and_half_of_these_the_likely_ones():
    known, guesses = [1.0, 1.0, 0.0, 0.0], [0.99] * 5 + [0.01] * 95
    said = samples_of(of_one_sensor(104), known + guesses)

    drawn = [batch.present for batch in steps_of(said, recipe_of(steps=60), first=0)]

    assert {len(present) for present in drawn} == {16}
    assert all([int((present == kind).sum()) for kind in (1, 0)] == [3, 5] for present in drawn)
    of = torch.cat([present[8:] for present in drawn])
    assert float((of > 0.5).float().mean()) == pytest.approx(0.5, abs=0.1)


@pytest.mark.slow
def test_masks_of_places_with_a_guess_teach_nothing(tmp_path):
    places = of_one_sensor(30, share=0.5)
    unmarked = [
        replace(p, images=(replace(p.images[0], label=torch.zeros_like(p.images[0].label)),))
        for p in places
    ]
    known = set(range(10, 20))
    losses = []
    for others in (places, unmarked):
        mixed = [places[n] if n in known else others[n] for n in range(30)]
        recipe = recipe_of(few_labels={"masks": 5.0, "unlabelled": "forest"}, steps=3)
        result = train_classifier(
            fresh_classifier(),
            labelled(mixed, known),
            recipe,
            folder=tmp_path / str(len(losses)),
            device=CPU,
            record=RECORD,
            on_step=lambda _: None,
        )
        losses.append(result.loss)

    assert losses[0] == losses[1]
