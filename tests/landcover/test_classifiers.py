from dataclasses import replace

import numpy as np
import pytest
import torch
from small_grounds import CLASSES, small_ground

from geoseg.config import CoverLearningSettings
from geoseg.errors import LabelError, ModelError
from geoseg.landcover.attention import (
    AttentionSpec,
    TemporalAttention,
    load_attention,
    save_attention,
)
from geoseg.landcover.cells import cell_years, draw_samples, split_by_parcel
from geoseg.landcover.forests import features_of, grow_boosted, grow_forest
from geoseg.landcover.teach import attention_shares, teach_attention

CPU = torch.device("cpu")
QUICK = CoverLearningSettings(
    steps=40, batch=64, width=16, learning_rate=0.01, validate_every=10, per_class=500
)


def new_network(years, *, seed=0, width=16):
    torch.manual_seed(seed)
    return TemporalAttention(AttentionSpec.fitting(years, CLASSES, width=width)).eval()


def of_forward(years):
    return years.mean, years.sd, years.validity, years.day_of_year


@pytest.fixture(scope="module")
def parts():
    samples = draw_samples(
        [small_ground(seed, sd=0.05) for seed in range(4)],
        per_class=500,
        rng=np.random.default_rng(0),
    )
    return split_by_parcel(samples, share=0.25, rng=np.random.default_rng(0))


@pytest.fixture(scope="module")
def elsewhere():
    return small_ground(9, sd=0.05)


def taught(parts, **changes):
    spec = AttentionSpec.fitting(parts[0].years, CLASSES, width=QUICK.width)
    settings = QUICK.model_copy(update=changes)
    return teach_attention(spec, *parts, settings, seed=0, device=CPU, on_step=lambda *_told: None)


def right(share, ground):
    return float((share.argmax(axis=1) == ground.land_cover.ravel()).mean())


@pytest.mark.slow
def test_each_method_learns_what_a_year_tells_and_maps_another_ground(parts, elsewhere):
    years = cell_years(elsewhere)
    found = taught(parts)

    shares = {
        "attention": attention_shares(found.network, years),
        "forest": grow_forest(parts[0], classes=2, seed=0).shares(years),
        "boosting": grow_boosted(parts[0], classes=2, seed=0).shares(years),
    }

    for method, share in shares.items():
        assert share.shape == (12 * 16, 2)
        np.testing.assert_allclose(share.sum(axis=1), 1, atol=1e-6)
        assert right(share, elsewhere) > 0.95, method
    assert found.step % 10 == 0
    assert found.accuracy > 0.95


@pytest.mark.slow
def test_a_training_is_the_same_again_and_another_with_another_noise(parts):
    one, again = taught(parts), taught(parts)
    exact = [replace(part.years, sd=torch.zeros_like(part.years.sd)) for part in parts]
    quiet = tuple(replace(part, years=years) for part, years in zip(parts, exact, strict=True))

    assert one.loss == again.loss
    assert taught(quiet).loss != one.loss


def test_a_date_that_nothing_measured_hardly_weighs():
    years = cell_years(small_ground(0)).take(slice(0, 20))
    validity = torch.full_like(years.validity, 0.9)
    validity[:, 5] = 0.0
    years = replace(years, validity=validity)
    network = new_network(years)

    weights = network.weights(*of_forward(years)).detach()

    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(20, 8))
    others = [day for day in range(12) if day != 5]
    assert float(weights[:, :, 5].max()) < 0.01 * float(weights[:, :, others].mean(dim=-1).min())


def test_what_an_unmeasured_date_says_hardly_changes_the_answer():
    years = cell_years(small_ground(0)).take(slice(0, 20))
    validity = torch.full_like(years.validity, 0.9)
    validity[:, 5] = 0.0
    network = new_network(years)
    mean = years.mean.clone()
    mean[:, 5] += 0.5

    with torch.no_grad():
        sure = [network(*of_forward(replace(years, mean=m))) for m in (years.mean, mean)]
        unsure = [
            network(*of_forward(replace(years, mean=m, validity=validity)))
            for m in (years.mean, mean)
        ]

    moved, hardly = ((two[1] - two[0]).abs().max() for two in (sure, unsure))
    assert float(hardly) < 0.05 * float(moved)


def test_the_order_of_dates_does_not_matter_but_their_days_do():
    years = cell_years(small_ground(0)).take(slice(0, 20))
    network = new_network(years)
    turned = torch.arange(11, -1, -1)
    mean, sd, validity, day = of_forward(years)

    with torch.no_grad():
        told = network(mean, sd, validity, day)
        again = network(mean[:, turned], sd[:, turned], validity[:, turned], day[turned])
        moved = network(mean, sd, validity, day[turned])

    torch.testing.assert_close(told, again, atol=1e-5, rtol=1e-4)
    assert float((told - moved).abs().max()) > 1e-3


def test_a_network_is_read_as_it_was_written(tmp_path):
    years = cell_years(small_ground(0))
    network = new_network(years)
    path = tmp_path / "network.safetensors"

    save_attention(path, network, {"step": 3})

    back, record = load_attention(path)
    np.testing.assert_array_equal(attention_shares(back, years), attention_shares(network, years))
    assert record == {"step": 3}
    with pytest.raises(ModelError, match="does not exist"):
        load_attention(tmp_path / "none.safetensors")


def test_what_cannot_be_taught_or_asked_is_refused(parts):
    teaching, held_out = parts
    nothing = held_out.take(np.zeros(len(held_out), dtype=bool))
    years = cell_years(small_ground(0))

    with pytest.raises(LabelError, match="cells teach and 0 are held out; label more parcels"):
        taught((teaching, nothing))
    with pytest.raises(ModelError, match="A width of 20 does not part among 8 heads"):
        AttentionSpec.fitting(years, CLASSES, width=20)
    other = replace(years, variables=("green", "red", "vv"))
    with pytest.raises(ModelError, match=r"on green, red, nir and the pivot has green, red, vv; m"):
        attention_shares(new_network(years), other)


def test_features_are_means_indices_and_brightness_of_each_date():
    years = cell_years(small_ground(0)).take(slice(0, 3))

    features = features_of(years).reshape(3, 12, 6)

    green, red, nir = years.mean.numpy()[2, 4]
    expected = [
        *(green, red, nir),
        *((nir - red) / (nir + red), (green - nir) / (green + nir)),
        np.sqrt((green**2 + red**2 + nir**2) / 3),
    ]
    np.testing.assert_allclose(features[2, 4], expected, rtol=1e-5)


def test_a_class_without_a_sample_has_no_share(parts):
    years = cell_years(small_ground(0)).take(slice(0, 3))

    share = grow_forest(parts[0], classes=4, seed=0).shares(years)

    assert share.shape == (3, 4)
    np.testing.assert_array_equal(share[:, 2:], 0)
