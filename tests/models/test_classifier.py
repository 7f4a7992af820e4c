"""A classifier of places takes any images of them, and only what is valid in these."""

import json
from dataclasses import replace

import pytest
import torch
from conftest import two_band_spec
from huggingface_hub import constants
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.errors import ModelError
from geoseg.models import (
    AnyInput,
    ClassifierSpec,
    FixedInput,
    build_classifier,
    build_segmenter,
    load_checkpoint,
    load_classifier,
    save_checkpoint,
    save_classifier,
)
from geoseg.sensors import find_sensor
from geoseg.views import View, band_table

S2 = find_sensor("sentinel-2").bands[1:5]
PAN = find_sensor("hexagon-kh9-mapping").bands
ANY = AnyInput(seen=S2, gsd_m=(10.0, 30.0))
FIXED = FixedInput(bands=tuple(b.common_name for b in S2), mean=(100.0,) * 4, std=(25.0,) * 4)


def spec_of(given=ANY, encoder="test_resnet", stride=16, width=16):
    return ClassifierSpec(
        encoder=encoder,
        input=given,
        target="thaw_slump",
        size_px=32,
        output_stride=stride,
        width=width,
    )


def classifier_of(spec=None):
    torch.manual_seed(0)
    classifier = build_classifier(spec or spec_of()).eval()
    # As after training: not all pixels and dates count alike.
    for attention in (classifier.pixels, classifier.dates):
        torch.nn.init.normal_(attention.weigh.weight, std=2.0)
        torch.nn.init.normal_(attention.what.weight, std=2.0)
    torch.nn.init.normal_(classifier.head.weight)
    torch.nn.init.constant_(classifier.head.bias, 0.7)
    return classifier


@pytest.fixture(scope="module", params=["any", "fixed"])
def classifier(request):
    return classifier_of(spec_of(ANY if request.param == "any" else FIXED))


@pytest.fixture(scope="module")
def versatile():
    return classifier_of()


def view_of(bands=S2, *, count=3, size=(32, 48), seed=0):
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(count, len(bands), *size, generator=generator) * 50 + 100
    # Images differ, or pooling them would not be seen.
    image[:, :, : size[0] // 2] += 30 * torch.randn(count, len(bands), 1, 1, generator=generator)
    valid = torch.ones(count, *size, dtype=torch.bool)
    return View(image, valid, image.flatten(2), torch.full((count,), 10.0), band_table(bands))


def part(view, numbers):
    return view._replace(**{f: getattr(view, f)[numbers] for f in View._fields if f != "bands"})


def said(classifier, *views, owners=None, count=None):
    with torch.inference_mode():
        return classifier(views, None if owners is None else list(map(torch.tensor, owners)), count)


@settings(deadline=None, max_examples=15)
@given(order=st.permutations(range(4)))
def test_the_order_of_bands_does_not_matter_where_their_metadata_goes_along(versatile, order):
    view = view_of()
    other = view._replace(
        image=view.image[:, order], palette=view.palette[:, order], bands=view.bands[order]
    )

    torch.testing.assert_close(
        said(versatile, view).places, said(versatile, other).places, atol=1e-5, rtol=1e-5
    )


def test_bands_in_another_order_than_their_metadata_are_another_image(versatile):
    view = view_of()
    wrong = view._replace(bands=view.bands[[1, 0, 3, 2]])

    difference = said(versatile, view).places - said(versatile, wrong).places
    assert difference.abs().max() > 1e-3


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), -1e30])
def test_no_value_of_an_invalid_pixel_changes_anything(classifier, poison):
    view = view_of()
    view.valid[:, 3:20, 10:30] = False
    view.valid[1] = False
    poisoned = torch.where(view.valid.unsqueeze(1), view.image, poison)

    clean, other = (
        said(classifier, v, owners=[[0, 0, 1]]) for v in (view, view._replace(image=poisoned))
    )

    for one, two in zip(clean, other, strict=True):
        torch.testing.assert_close(one, two, atol=0, rtol=0)


def test_an_image_without_a_valid_pixel_changes_nothing_of_its_place(classifier):
    view = view_of()
    empty = view._replace(valid=view.valid & torch.tensor([True, False, True])[:, None, None])

    with_it = said(classifier, empty, owners=[[0, 0, 1]])
    without = said(classifier, part(view, [0, 2]), owners=[[0, 1]])

    torch.testing.assert_close(with_it.places, without.places, atol=1e-5, rtol=1e-5)


def test_nor_does_one_whose_few_valid_pixels_are_less_than_a_cell_needs():
    classifier = classifier_of(spec_of(stride=32))
    view = view_of(size=(64, 64))
    view.valid[1] = False
    view.valid[1, 40, 50] = True  # one of the 1024 pixels of a cell

    with_it = said(classifier, view, owners=[[0, 0, 1]])
    without = said(classifier, part(view, [0, 2]), owners=[[0, 1]])

    torch.testing.assert_close(with_it.places, without.places, atol=1e-7, rtol=0)


def test_a_place_without_a_valid_pixel_gets_the_bias_alone(classifier):
    view = view_of()
    view.valid[:2] = False

    found = said(classifier, view, owners=[[0, 0, 1]], count=3)

    bias = float(classifier.head.bias.detach())
    assert found.places[[0, 2]].tolist() == pytest.approx([bias, bias])
    assert float(found.places[1]) != pytest.approx(bias, abs=1e-3)
    assert found.images[0][:2].tolist() == pytest.approx([bias, bias])


def test_the_more_of_an_image_is_valid_the_more_it_counts(versatile):
    view = view_of(count=2)
    alone = said(versatile, view).places
    apart = []
    for columns in (48, 16):
        view.valid[0, :, columns:] = False
        image = said(versatile, part(view, [0])).places
        both = said(versatile, view, owners=[[0, 0]]).places
        apart.append(float((both - alone[1]) / (image - alone[1])))

    assert 0 < apart[1] < apart[0] < 1


@settings(deadline=None, max_examples=15)
@given(order=st.permutations(range(6)), cut=st.integers(1, 5))
def test_neither_the_order_of_images_nor_how_they_are_grouped_matters(versatile, order, cut):
    view, film = view_of(count=6), view_of(PAN, count=2, size=(16, 32), seed=1)
    owners = [0, 1, 1, 2, 0, 1]
    whole = said(versatile, view, film, owners=[owners, [2, 0]])

    groups = [order[:cut], order[cut:]]
    parted = said(
        versatile,
        *(part(view, group) for group in groups),
        film,
        owners=[*([owners[i] for i in group] for group in groups), [2, 0]],
    )

    torch.testing.assert_close(parted.places, whole.places, atol=1e-5, rtol=1e-5)
    for group, logits in zip(groups, parted.images, strict=False):
        torch.testing.assert_close(logits, whole.images[0][group], atol=1e-5, rtol=1e-5)


def test_what_else_is_in_the_batch_does_not_matter(versatile):
    view = view_of(count=3)

    together = said(versatile, view, owners=[[0, 1, 2]]).places
    alone = torch.cat([said(versatile, part(view, [i])).places for i in range(3)])

    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_the_logit_of_an_image_is_the_mean_of_its_evidence_under_the_attention(classifier):
    view = view_of(count=2)
    view.valid[0, :, :20] = False

    found = said(classifier, view)
    with torch.inference_mode():
        (cells,) = classifier.features([view])
        flat = cells.flatten(2).movedim(1, -1)
        # Cells of 16 px: of the first three columns 0, then 3/4, then all of a cell is valid.
        share = torch.ones(2, 2, 3)
        share[0, :, 0], share[0, :, 1] = 0, 0.75
        weights = classifier.pixels(flat).exp() * share.flatten(1)
    weights = weights / weights.sum(dim=1, keepdim=True)

    expected = (weights * found.evidence[0].flatten(1)).sum(dim=1)
    torch.testing.assert_close(found.images[0], expected, atol=1e-5, rtol=1e-5)
    assert found.evidence[0].shape == (2, 2, 3)
    assert weights.std() > 0.01


def test_an_image_whose_side_is_no_multiple_of_a_cell_is_continued_by_what_is_not_valid(classifier):
    view = view_of(size=(20, 40))
    beyond = (0, 8, 0, 12)
    wider = view._replace(
        image=torch.nn.functional.pad(view.image, beyond, value=torch.nan),
        valid=torch.nn.functional.pad(view.valid, beyond),
    )

    one, two = said(classifier, view), said(classifier, wider)

    # The stem for any bands looks a pixel over the edge.
    close = 1e-5 if classifier.spec.input == FIXED else 2e-3
    torch.testing.assert_close(one.places, two.places, atol=close, rtol=close)
    torch.testing.assert_close(one.evidence[0], two.evidence[0], atol=close, rtol=close)


@pytest.mark.parametrize(
    ("encoder", "stride", "cells"),
    [
        ("vit_tiny_patch16_224", 32, (3, 5)),
        ("test_vit", 32, (3, 5)),
        ("convnext_atto", 16, (3, 5)),
        ("convnext_atto", 32, (2, 3)),
        ("fastvit_t8", 32, (2, 3)),  # vit in its name, and no transformer of one image size
        pytest.param("swin_tiny_patch4_window7_224", 32, (2, 3), marks=pytest.mark.slow),
        pytest.param("resnet50_clip", 32, (2, 3), marks=pytest.mark.slow),  # also of one size
        ("resnet10t", 8, (5, 10)),
    ],
)
def test_encoders_by_name_take_images_of_any_size(encoder, stride, cells):
    classifier = classifier_of(spec_of(encoder=encoder, stride=stride))

    found = said(classifier, view_of(size=(40, 76)), view_of(PAN, size=(33, 33)))

    assert found.evidence[0].shape == (3, *cells)
    assert found.places.shape == (6,)
    assert found.places.isfinite().all()
    assert found.embeddings[1].shape == (3, 16)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"encoder": "resnett18"},
            r"timm has no encoder named 'resnett18'\. Did you mean 'resnet18'",
        ),
        ({"encoder": "vit_tiny_patch16_224", "stride": 16}, r"set model\.output_stride to 32"),
        ({"encoder": "resnet18.nonsense"}, r"resnet18\.nonsense cannot be built \(Invalid"),
    ],
)
def test_an_encoder_that_cannot_be_built_is_answered_with_one_that_can(changes, message):
    with pytest.raises(ModelError, match=message):
        build_classifier(spec_of(**changes))


def test_weights_that_cannot_be_reached_are_answered_with_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))

    with pytest.raises(ModelError, match=r"set model\.pretrained to false where the publisher"):
        build_classifier(spec_of(), pretrained=True)


def test_learning_from_places_with_nothing_valid_leaves_weights_finite():
    classifier = classifier_of().train()
    view, film = view_of(), view_of(PAN, size=(16, 16))
    view.image[0] = torch.nan
    view.valid[:2] = False
    film.valid[0] = False

    found = classifier([view, film], [torch.tensor([0, 1, 1]), torch.tensor([0, 2, 2])], 3)
    (found.places.sum() + sum(e.mean() for e in found.evidence)).backward()

    assert all(p.grad.isfinite().all() for p in classifier.parameters() if p.grad is not None)
    assert all(b.isfinite().all() for b in classifier.buffers())


@pytest.mark.parametrize("given", [ANY, FIXED], ids=["any", "fixed"])
def test_a_checkpoint_comes_back_as_the_same_classifier(given, tmp_path):
    path, classifier = tmp_path / "model.safetensors", classifier_of(spec_of(given))
    save_classifier(path, classifier, {"threshold": {"threshold": 0.25}})

    read = load_classifier(path)

    assert read.classifier.spec == classifier.spec
    assert not read.classifier.training
    assert read.record == {"threshold": {"threshold": 0.25}}
    assert len(read.sha256) == 64
    assert (
        json.loads(path.with_suffix(".json").read_text())["classifier"]["encoder"] == "test_resnet"
    )
    view = view_of()
    assert torch.equal(said(read.classifier, view).places, said(classifier, view).places)


def test_a_network_of_another_kind_is_refused_in_one_sentence(tmp_path):
    outlines, presence = tmp_path / "outlines.safetensors", tmp_path / "presence.safetensors"
    save_checkpoint(outlines, build_segmenter(two_band_spec()), {})
    save_classifier(presence, classifier_of(), {})

    with pytest.raises(ModelError, match=r"outlines\.safetensors holds no classifier of presence;"):
        load_classifier(outlines)
    with pytest.raises(
        ModelError, match=r"presence\.safetensors says of chips .* presence predict"
    ):
        load_checkpoint(presence)


def test_a_checkpoint_whose_tensors_are_of_another_network_is_refused(tmp_path):
    path, classifier = tmp_path / "model.safetensors", classifier_of()
    classifier.spec = replace(classifier.spec, width=24)
    save_classifier(path, classifier, {})

    with pytest.raises(ModelError, match="does not hold the network that it describes"):
        load_classifier(path)
