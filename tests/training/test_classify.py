"""A classifier of places learns from labels, from masks and from places without either."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from taught_places import (
    CPU,
    PAN,
    RECORD,
    S2,
    drawn_places,
    fresh_classifier,
    recipe_of,
    samples_of,
)

from geoseg.chips import stack_places
from geoseg.config import FewLabelSettings
from geoseg.errors import LabelError, ModelError
from geoseg.labels import IGNORE
from geoseg.models import load_classifier, presence_loss
from geoseg.models.imbalance import MULTILABEL_LOSSES, multilabel_loss
from geoseg.training import choose_labels, classify, is_begun, train_classifier
from geoseg.training.classify import _Learner, vary_places

PU = {"unlabelled": "positive_unlabelled", "prior": 0.3}


class StoppedError(Exception):
    """Stands for a kill."""


@pytest.fixture(scope="module")
def places():
    return drawn_places(60)


@pytest.fixture(scope="module")
def others():
    """Drawn by another seed, to be scored on."""
    return drawn_places(45, share=1 / 3, seed=9)


def taught(samples, recipe, folder, on_step=lambda _: None, classifier=None, record=RECORD):
    chosen = choose_labels(samples, recipe.few_labels, seed=recipe.seed)
    return train_classifier(
        classifier or fresh_classifier(),
        chosen,
        recipe,
        folder=folder,
        device=CPU,
        record=record,
        on_step=on_step,
    )


def found_in(result, places):
    with torch.inference_mode():
        return classify(load_classifier(result.model).classifier, stack_places(places))


def accuracy(result, places):
    """Of the logits at 0, with as many present as absent counting."""
    present = np.array([place.present for place in places])
    right = (found_in(result, places).places.numpy() > 0) == present
    return (right[present].mean() + right[~present].mean()) / 2


@pytest.mark.slow
def test_what_is_plain_to_see_is_learned_from_places_of_two_sensors(places, others, tmp_path):
    seen = []
    result = taught(samples_of(places), recipe_of(), tmp_path, seen.append)

    for kind in range(3):  # of one sensor, of the other, of both
        assert accuracy(result, others[kind::3]) > 0.9
    assert [report.step for report in seen] == list(range(1, 41))
    assert {(report.steps, report.score) for report in seen} == {(40, None)}
    assert seen[-1].loss == result.loss < 0.5 * seen[0].loss
    assert result.steps == 40
    record = json.loads((tmp_path / "model.json").read_text())["record"]
    assert record == {**RECORD, "step": 40}
    assert list((tmp_path / "log").glob("events.*"))


MODES = {
    "labels": {},
    "forest": {"labels": 12, "unlabelled": "forest"},
    "pseudo_labels": {"labels": 12, "unlabelled": "pseudo_labels", "confidence": 0.51},
    "positive_unlabelled": PU,
    "masks": {"masks": 1.0},
}


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_a_training_that_was_killed_ends_in_the_same_weights(mode, places, tmp_path):
    recipe = recipe_of(
        few_labels=MODES[mode], steps=6, validate_every=2, image_dropout=0.5, jitter=0.1
    )
    samples = samples_of(places)

    def stop_at_three(report):
        if report.step == 3:
            raise StoppedError

    whole = taught(samples, recipe, tmp_path / "whole")
    with pytest.raises(StoppedError):
        taught(samples, recipe, tmp_path / "killed", stop_at_three)
    torch.manual_seed(12345)  # another process is at another place of its random numbers
    seen = []
    resumed = taught(samples, recipe, tmp_path / "killed", seen.append, fresh_classifier(seed=7))

    assert [report.step for report in seen] == [3, 4, 5, 6]
    assert resumed.loss == whole.loss
    for name in ("state.safetensors", "model.safetensors"):
        one, two = (load_file(tmp_path / folder / name) for folder in ("whole", "killed"))
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one)


def test_what_was_pretrained_is_kept_before_the_first_step_ends(places, tmp_path):
    recipe = recipe_of(few_labels={"pretrain_steps": 5}, steps=4, validate_every=100)
    samples = samples_of(places)
    pretrained, other = fresh_classifier(seed=1), {**RECORD, "training_hash": "other"}

    def stop(_report):
        raise StoppedError

    assert not is_begun(tmp_path / "killed", RECORD)
    with pytest.raises(StoppedError):
        taught(samples, recipe, tmp_path / "killed", stop, fresh_classifier(seed=1))
    assert is_begun(tmp_path / "killed", RECORD)
    assert not is_begun(tmp_path / "killed", other)
    taught(samples, recipe, tmp_path / "killed", classifier=fresh_classifier(seed=7))
    taught(samples, recipe, tmp_path / "whole", classifier=pretrained)

    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert is_begun(tmp_path / "whole", RECORD)


def test_a_finished_training_is_not_done_again_but_another_recipe_is(places, tmp_path):
    recipe = recipe_of(steps=2)
    first = taught(samples_of(places), recipe, tmp_path)
    seen = []

    again = taught(samples_of(places), recipe, tmp_path, seen.append)
    assert (seen, again.loss, again.steps) == ([], first.loss, 2)

    taught(samples_of(places), recipe, tmp_path, seen.append, record={**RECORD, "data_hash": "e"})
    assert len(seen) == 2


@pytest.mark.slow
def test_with_masks_evidence_is_for_it_inside_what_is_marked_and_against_it_outside(
    places, others, tmp_path
):
    shown = [place for place in others if place.present]

    def result_with(weight):
        """Mean evidence of cells marked in full, of cells not marked at all, and how many err."""
        result = taught(
            samples_of(places),
            recipe_of(few_labels={"masks": weight}),
            tmp_path / str(weight),
            classifier=fresh_classifier(stride=8),
        )
        found = found_in(result, shown)
        inside, outside = [], []
        for images, evidence in zip(stack_places(shown).batches, found.evidence, strict=True):
            share = torch.nn.functional.avg_pool2d(images.label.float(), 8)
            inside.append(evidence[share > 0.9])
            outside.append(evidence[share == 0])
        inside, outside = torch.cat(inside), torch.cat(outside)
        wrong = ((inside < 0).float().mean() + (outside > 0).float().mean()) / 2
        return float(inside.mean()), float(outside.mean()), float(wrong)

    inside, outside, wrong = result_with(2.0)
    _, _, wrong_without = result_with(0.0)

    assert inside > 0.5
    assert outside < -0.5
    assert wrong < 0.5 * wrong_without


def learner_of(classifier, few_labels=None, **learning):
    """What takes a step, and is its own running mean."""
    recipe = recipe_of(few_labels=few_labels or {}, **learning)
    return _Learner(None, classifier, None, classifier, recipe, (3, 1))


def test_masks_of_places_whose_label_is_not_granted_are_not_learned_from(places, tmp_path):
    told_wrong = [
        replace(place, images=tuple(replace(i, label=1 - i.label) for i in place.images))
        for place in places
    ]
    granted = choose_labels(samples_of(places), FewLabelSettings(**PU), seed=0).present
    losses = []
    for secret in (places, told_wrong):
        mixed = [
            p if known > 0.5 else q for p, q, known in zip(places, secret, granted, strict=True)
        ]
        recipe = recipe_of(few_labels={**PU, "masks": 5.0}, steps=3)
        losses.append(taught(samples_of(mixed), recipe, tmp_path / str(len(losses))).loss)
    without = taught(samples_of(places), recipe_of(few_labels=PU, steps=3), tmp_path / "without")

    assert losses[0] == losses[1]
    assert losses[0] != without.loss  # those of places with a label are


@pytest.mark.slow
@pytest.mark.parametrize("loss", [name for name in MULTILABEL_LOSSES if name != "cross_entropy"])
def test_places_are_learned_from_by_the_loss_that_is_named(loss, places, others, tmp_path):
    """The loss of a first step is that of its places, and what is plain to see is learned."""
    batch = stack_places(places[::15])
    learner = learner_of(fresh_classifier(), loss=loss, batch=4, present_share=0.25, steps=10)
    with torch.no_grad():
        found, one = classify(learner.network, batch), float(learner._loss(batch))

    result = taught(samples_of(places), recipe_of(loss=loss), tmp_path)

    logits, present = found.places[:, None], batch.present[:, None]
    assert one == pytest.approx(float(multilabel_loss(loss, [[3, 1]])(logits, present)))
    assert one != pytest.approx(float(presence_loss(found.places, batch.present)))
    assert accuracy(result, others) > 0.9


@pytest.mark.parametrize("rare", [1, 5])
def test_each_known_cell_of_a_mask_counts_alike_however_rare_its_bands_are(places, rare):
    batch = stack_places([*places[0:45:3], *places[1 : 3 * rare : 3]])
    labels = [b.label.clone() for b in batch.batches]
    labels[0][:, :16] = IGNORE
    batches = tuple(b._replace(label=y) for b, y in zip(batch.batches, labels, strict=True))
    classifier = fresh_classifier()
    found = classify(classifier, batch)
    evidence = tuple(torch.zeros_like(e, requires_grad=True) for e in found.evidence)

    loss = learner_of(classifier)._of_masks(
        found._replace(evidence=evidence), batch._replace(batches=batches)
    )
    loss.backward()

    counts = [15 * 2, rare * 4]  # of cells of 16 x 16 pixels
    assert [int((e.grad != 0).sum()) for e in evidence] == counts
    # At a logit of 0 the gradient of a cell is its weight times 0.5 less the share that is marked.
    for e, y in zip(evidence, labels, strict=True):
        marked = torch.nn.functional.avg_pool2d((y == 1).float(), 16)
        known = torch.nn.functional.avg_pool2d((y != IGNORE).float(), 16)
        torch.testing.assert_close(e.grad, known * (0.5 - marked) / sum(counts))


def test_places_without_masks_are_learned_from_all_the_same(tmp_path):
    bare = drawn_places(12)
    for place in bare:
        for chip in place.images:
            chip.label[:] = IGNORE
    samples = samples_of(bare)

    losses = [
        taught(samples, recipe_of(few_labels={"masks": w}, steps=2), tmp_path / str(w)).loss
        for w in (0.0, 5.0)
    ]

    assert losses[0] == losses[1]


@pytest.mark.slow
def test_sure_answers_on_places_without_labels_are_learned_from(places, others, tmp_path):
    losses = {}

    def trained(name, steps=12, **few_labels):
        return taught(
            samples_of(places),
            recipe_of(few_labels={"labels": 12, **few_labels}, steps=steps),
            tmp_path / name,
            lambda report: losses.setdefault(name, []).append(report.loss),
        )

    trained("alone")
    trained("never", unlabelled="pseudo_labels", confidence=1 - 1e-9, weight=1.0)
    trained("always", unlabelled="pseudo_labels", confidence=0.5 + 1e-9, weight=1.0)
    more = trained("more", 40, unlabelled="pseudo_labels", confidence=0.8, weight=1.0)

    # Of what nobody is sure of nothing is learned.
    assert losses["never"] == losses["alone"]
    # At the beginning the running mean knows nothing, and does not count.
    assert losses["always"][0] == losses["alone"][0]
    assert all(a > b for a, b in zip(losses["always"][1:3], losses["alone"][1:3], strict=True))
    assert accuracy(more, others) > 0.9


@pytest.mark.slow
def test_answers_of_a_forest_are_learned_from_where_places_have_no_label(places, others, tmp_path):
    losses = {}

    def trained(name, **few_labels):
        return taught(
            samples_of(places),
            recipe_of(few_labels=few_labels),
            tmp_path / name,
            lambda report: losses.setdefault(name, []).append(report.loss),
        )

    trained("few", labels=12)
    told = trained("told", labels=12, unlabelled="forest")
    trained("all")
    trained("nothing_to_tell", unlabelled="forest")

    assert losses["told"] != losses["few"]
    assert accuracy(told, others) > 0.9
    assert losses["nothing_to_tell"] == losses["all"]


@pytest.mark.slow
def test_positives_among_unlabelled_places_are_enough(places, others, tmp_path):
    result = taught(
        samples_of(places), recipe_of(few_labels=PU, steps=60, present_share=0.5), tmp_path
    )

    assert accuracy(result, others) > 0.9


def clouded(place):
    """The place, of which no image shows anything."""
    return replace(
        place,
        images=tuple(
            replace(
                chip,
                image=torch.zeros_like(chip.image),
                valid=torch.zeros_like(chip.valid),
                label=torch.full_like(chip.label, IGNORE),
            )
            for chip in place.images
        ),
    )


@pytest.mark.parametrize("few_labels", [{}, PU, {"masks": 1.0}])
def test_a_place_that_shows_nothing_teaches_nothing(few_labels, places):
    batch = stack_places([*places[:4], *places[30:34], *map(clouded, places[4:8])])
    classifier = fresh_classifier()
    losses, gradients = [], []
    for label in (1.0, 0.0, torch.nan):  # of what shows nothing
        classifier.zero_grad()
        present = torch.cat([batch.present[:8], torch.full((4,), label)])
        loss = learner_of(classifier, few_labels)._loss(batch._replace(present=present))
        loss.backward()
        losses.append(float(loss.detach()))
        gradients.append(float(classifier.head.bias.grad))

    assert losses[0] == losses[1] == losses[2]
    assert gradients[0] == gradients[1] == gradients[2]


def test_of_a_place_that_shows_nothing_no_answer_is_sure(places):
    classifier = fresh_classifier()
    torch.nn.init.constant_(classifier.head.bias, 30.0)
    learner = learner_of(classifier, {"unlabelled": "pseudo_labels"})

    assert float(learner._taught(stack_places(places[-4:])).detach()) > 0
    assert float(learner._taught(stack_places([clouded(p) for p in places[-4:]])).detach()) == 0


def test_chips_that_are_not_square_are_learned_from(places, tmp_path):
    narrow = [
        replace(
            place,
            images=tuple(
                replace(c, image=c.image[..., :24], valid=c.valid[:, :24], label=c.label[:, :24])
                for c in place.images
            ),
        )
        for place in places
    ]

    result = taught(samples_of(narrow), recipe_of(steps=2, image_dropout=0.5), tmp_path)

    assert np.isfinite(result.loss)


def test_a_loss_that_is_no_number_ends_the_training_and_leaves_no_model(places, tmp_path):
    classifier = fresh_classifier()
    torch.nn.init.constant_(classifier.head.weight, float("nan"))

    with pytest.raises(
        ModelError, match=r"The loss is nan at step 1; lower learning\.learning_rate"
    ):
        taught(
            samples_of(places),
            recipe_of(steps=8, validate_every=2),
            tmp_path,
            classifier=classifier,
        )

    assert not (tmp_path / "model.safetensors").exists()
    assert not (tmp_path / "state.safetensors").exists()


def test_nothing_to_learn_from_is_said_before_a_step(places, tmp_path):
    samples = samples_of(places, labels=[np.nan] * len(places))

    with pytest.raises(LabelError, match="label at least two of each kind"):
        train_classifier(
            fresh_classifier(),
            samples,
            recipe_of(),
            folder=tmp_path,
            device=CPU,
            record=RECORD,
            on_step=lambda _: None,
        )


def test_the_mean_of_the_weights_is_kept_or_the_last_ones(places, tmp_path):
    classifier = fresh_classifier()
    last = taught(
        samples_of(places),
        recipe_of(averaging=0, steps=4),
        tmp_path / "last",
        classifier=classifier,
    )
    kept = load_file(last.model)
    assert all(torch.equal(kept[key], value) for key, value in classifier.state_dict().items())

    mean = taught(samples_of(places), recipe_of(averaging=0.9, steps=4), tmp_path / "mean")
    assert not torch.equal(load_file(mean.model)["head.weight"], kept["head.weight"])


def test_places_are_varied_as_the_recipe_says_and_masks_with_their_images():
    batch = stack_places(drawn_places(30, share=1.0))
    torch.manual_seed(0)

    same = vary_places(batch, recipe_of(flips=False, jitter=0, image_dropout=0))
    turned = vary_places(batch, recipe_of(flips=True, jitter=0, image_dropout=0))
    jittered = vary_places(batch, recipe_of(flips=False, jitter=0.5, image_dropout=0))
    fewer = vary_places(batch, recipe_of(flips=False, jitter=0, image_dropout=0.9))

    sets = (S2, PAN)
    for index, bands in enumerate(sets):
        one = batch.batches[index]
        assert one.bands == bands
        assert torch.equal(same.batches[index].image, one.image)
        assert not torch.equal(turned.batches[index].label, one.label)
        # The bright square is where the mask says, however it was turned.
        bright = turned.batches[index].image.mean(dim=1) > 130
        assert (bright == turned.batches[index].label.bool()).float().mean() > 0.95
        assert torch.equal(jittered.batches[index].label, one.label)
        assert (jittered.batches[index].image - one.image).abs().mean() > 3
    assert sum(len(b.image) for b in fewer.batches) < sum(len(b.image) for b in batch.batches)
    assert fewer.size == 30
