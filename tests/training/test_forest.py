"""A forest says of places that nobody labelled what their colours and textures tell."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from taught_places import PAN, S2, drawn_chip, drawn_places, recipe_of, samples_of

from geoseg.training.forest import forest_labels, statistics_of
from geoseg.training.place_samples import likely_steps_of


def labelled(places, known):
    """The first of them with their label, the others without."""
    labels = [place.present if n in known else np.nan for n, place in enumerate(places)]
    return samples_of(places, labels)


def of_one_sensor(count, bands=S2, **options):
    places = [p for p in drawn_places(3 * count, **options) if p.images[-1].bands == bands]
    return [replace(p, images=p.images[-1:]) for p in places][:count]


def test_what_is_plain_to_see_is_told_of_places_without_a_label():
    places = drawn_places(240, share=0.5, seed=1)
    known = set(range(0, 240, 5))

    said = forest_labels(labelled(places, known), seed=0)

    assert len(said.places) == 240 - len(known)
    assert {place.id for place in said.places}.isdisjoint(places[n].id for n in known)
    truth = np.array([place.present for place in said.places])
    for bands in (S2, PAN):  # a forest for each
        of = np.array([place.images[-1].bands == bands for place in said.places])
        assert of.sum() > 40
        assert ((said.present > 0.5) == truth)[of].mean() > 0.95


def test_places_of_bands_without_labels_of_both_kinds_are_not_spoken_of():
    seen, unseen = of_one_sensor(40, share=0.5), of_one_sensor(40, PAN, share=0.5)
    places = seen + unseen
    known = {*range(0, 40, 2), 40, 41, 42}  # of the second sensor present ones alone

    said = forest_labels(labelled(places, known), seed=0)

    assert len(said.places) == 20
    assert {place.images[-1].bands for place in said.places} == {S2}


def test_where_all_places_have_a_label_there_is_nothing_to_say():
    places = of_one_sensor(20, share=0.5)

    assert len(forest_labels(labelled(places, set(range(20))), seed=0).places) == 0


def test_the_same_seed_says_the_same():
    samples = labelled(drawn_places(60, share=0.5), set(range(0, 60, 4)))

    one, same, other = (forest_labels(samples, seed=seed) for seed in (1, 1, 2))

    assert [p.id for p in one.places] == [p.id for p in same.places]
    assert (one.present == same.present).all()
    assert [p.id for p in one.places] == [p.id for p in other.places]  # fewer than are drawn of
    assert (one.present != other.present).any()


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
@pytest.mark.parametrize("pixels", [0, 1])
def test_an_image_of_hardly_a_pixel_has_as_many_statistics(bands, pixels):
    chip = drawn_chip(True, bands, np.random.default_rng(0))
    valid = torch.zeros_like(chip.valid)
    valid[:pixels, :pixels] = True

    found = statistics_of(replace(chip, valid=valid))

    assert found.shape == statistics_of(chip).shape
    assert np.isfinite(found).all()


def test_the_likely_are_drawn_as_often_as_all_others():
    places = of_one_sensor(100)
    said = samples_of(places, [1.0] * 5 + [0.0] * 95)

    drawn = torch.cat([b.present for b in likely_steps_of(said, recipe_of(steps=60), first=0)])

    assert len(drawn) == 60 * 16
    assert float(drawn.mean()) == pytest.approx(0.5 + 0.5 * 0.05, abs=0.05)


def test_where_nothing_is_likely_all_are_drawn():
    said = samples_of(of_one_sensor(10), [0.0] * 10)

    assert len(list(likely_steps_of(said, recipe_of(steps=3), first=1))) == 2
