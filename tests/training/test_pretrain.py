"""Learning from places without labels first."""

import pytest
import torch
from taught_places import (
    CPU,
    PAN,
    RECORD,
    S2,
    SIZE_PX,
    drawn_places,
    fresh_classifier,
    recipe_of,
    samples_of,
)
from torch.nn import functional

from geoseg.chips import stack_places
from geoseg.errors import ModelError
from geoseg.training import classify, pretrain, train_classifier
from geoseg.training.pretrain import _changed, _cropped, simsiam_loss


@pytest.fixture(scope="module")
def places():
    return drawn_places(60, share=0.5)


def pretrained(places, *, steps, seed=0, labels=None):
    """A classifier, and the losses of its steps."""
    classifier, losses = fresh_classifier(), []
    pretrain(
        classifier,
        samples_of(places, labels),
        recipe_of(few_labels={"pretrain_steps": steps}, seed=seed, batch=32),
        device=CPU,
        on_step=lambda report: losses.append(report.loss),
    )
    return classifier, losses


def embeddings_of(classifier, places):
    with torch.inference_mode():
        found = classify(classifier.eval(), stack_places(places))
    return functional.normalize(torch.cat(found.embeddings), dim=1)


@pytest.mark.slow
def test_the_loss_falls_and_embeddings_do_not_collapse(places):
    classifier, losses = pretrained(places, steps=60)

    assert sum(losses[-5:]) / 5 < sum(losses[:5]) / 5 - 0.15
    # On a sphere of 32 dimensions the spread is at most 32 ** -0.5; SimSiam calls 0 a collapse.
    spread = embeddings_of(classifier, places).std(dim=0).mean() * 32**0.5
    assert spread > 0.2


@pytest.mark.slow
def test_the_labels_do_not_matter_and_the_seed_does(places):
    one, first = pretrained(places, steps=3)
    two, same = pretrained(places, steps=3, labels=[float("nan")] * len(places))
    _, other = pretrained(places, steps=3, seed=1)

    assert first == same
    assert all(
        torch.equal(a, b)
        for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    )
    assert other != first


def test_what_reads_a_place_is_left_as_it_was_and_what_reads_pixels_is_not(places):
    before = fresh_classifier().state_dict()
    after, _ = pretrained(places, steps=2)

    same = {key for key, value in after.state_dict().items() if torch.equal(value, before[key])}
    assert all(not key.startswith(("stem", "encoder.conv1", "neck")) for key in same)
    assert {"head.bias", "dates.weigh.weight"} <= same


def test_no_step_that_follows_has_the_seed_of_one_of_pretraining(places, tmp_path):
    first, then = [], []
    recipe = recipe_of(few_labels={"pretrain_steps": 2}, steps=2, seed=3)
    for_steps = {"device": CPU, "on_step": lambda _: first.append(torch.initial_seed())}
    pretrain(fresh_classifier(), samples_of(places), recipe, **for_steps)
    train_classifier(
        fresh_classifier(),
        samples_of(places),
        recipe,
        folder=tmp_path,
        device=CPU,
        record=RECORD,
        on_step=lambda _: then.append(torch.initial_seed()),
    )

    # A generator of the CPU looks at 32 bits. However long both are, they do not meet.
    assert (first[0] - then[0]) % 2**32 == 2**31
    assert first[1] - first[0] == then[1] - then[0] == 1


def test_a_loss_that_is_no_number_ends_the_pretraining(places):
    classifier = fresh_classifier()
    torch.nn.init.constant_(classifier.neck[0].weight, float("nan"))
    seen = []

    with pytest.raises(
        ModelError, match=r"pretraining is nan at step 0; lower learning\.learning_rate"
    ):
        pretrain(
            classifier,
            samples_of(places),
            recipe_of(few_labels={"pretrain_steps": 3}),
            device=CPU,
            on_step=seen.append,
        )

    assert seen == []


def test_the_loss_is_the_negative_cosine_and_the_target_gets_no_gradient():
    predicted = torch.tensor([[1.0, 0.0], [3.0, 4.0]], requires_grad=True)
    target = torch.tensor([[2.0, 0.0], [4.0, -3.0]], requires_grad=True)

    loss = simsiam_loss(predicted, target)
    loss.backward()

    assert float(loss.detach()) == pytest.approx(-0.5)  # cosines of 1 and 0
    assert predicted.grad.abs().sum() > 0
    assert target.grad is None


def test_two_views_of_a_place_are_two_of_its_images_or_two_changes_of_the_one(places):
    torch.manual_seed(0)
    batch = stack_places(places)
    several = torch.tensor([len(place.images) > 1 for place in places])

    views = [_changed(batch) for _ in range(2)]

    sensors = []
    for view in views:
        owners = torch.cat(list(view.owners))
        assert owners.sort().values.tolist() == list(range(60))
        of = [len(b.bands) for b, o in zip(view.batches, view.owners, strict=True) for _ in o]
        sensors.append(torch.tensor(of)[owners.argsort()])
    differ = sensors[0] != sensors[1]
    assert not differ[~several].any()
    assert 0.2 < differ[several].float().mean() < 0.8
    assert not torch.equal(views[0].batches[0].image, views[1].batches[0].image)


def test_a_crop_is_a_part_of_the_image_in_finer_pixels():
    batch = stack_places(drawn_places(2, share=0.0)).batches[0]
    rows = torch.arange(float(SIZE_PX))[:, None].expand(1, 3, SIZE_PX, SIZE_PX)
    torch.manual_seed(1)

    cropped = _cropped(batch._replace(image=rows))

    share = float(cropped.gsd_m[0] / batch.gsd_m[0])
    assert 0.5 <= share < 1
    found = cropped.image[0, 0, :, 0]
    assert found.diff()[4:-4].mean() == pytest.approx(share, abs=0.03)
    assert cropped.image.shape == rows.shape
    assert float(found.max() - found.min()) < SIZE_PX * share


@pytest.mark.parametrize("bands", [S2, PAN])
def test_no_value_of_an_invalid_pixel_bleeds_into_a_crop(places, bands):
    batch = next(b for b in stack_places(places).batches if b.bands == bands)
    valid = batch.valid.clone()
    valid[:, 8:20, 5:30] = False
    crops = []
    for poison in (0.0, 1e9):
        torch.manual_seed(3)
        image = torch.where(valid[:, None], batch.image, poison)
        crops.append(_cropped(batch._replace(image=image, valid=valid)))

    one, two = crops
    assert torch.equal(one.image.nan_to_num(-1), two.image.nan_to_num(-1))
    assert one.image.nan_to_num(100).min() > 40
    assert 0 < one.valid.float().mean() < 1
