"""From a network and held-out places to probabilities and a threshold."""

import json
import math
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
import torch

from geoseg.chips import Chip, Place, stack_places
from geoseg.config import CalibrationSettings, PresenceRecipe
from geoseg.errors import LabelError, ModelError
from geoseg.files import sha256_of
from geoseg.labels import IGNORE
from geoseg.metrics.calibration import Calibration, fit_calibration
from geoseg.models import (
    AnyInput,
    FixedInput,
    load_classifier,
    presence_loss,
    save_classifier,
)
from geoseg.presence.appearance import first_appearances
from geoseg.presence.evidence import DatedEvidence
from geoseg.presence.first_table import date_errors_of, shipped_date_errors
from geoseg.presence.packs import Given, make_pack
from geoseg.presence.predict import Prediction, predict_pack
from geoseg.presence.results import Result, results_table
from geoseg.presence.samples import LabelledPlaces
from geoseg.presence.scoring import Verdict
from geoseg.presence.teach import (
    calibrate_classifier,
    fit_series,
    new_classifier,
    score_places,
)
from geoseg.scale import Engine
from geoseg.sensors import find_sensor
from geoseg.training.classifier_card import write_classifier_card
from geoseg.training.classify import classify

CPU = torch.device("cpu")
DAY = datetime(2020, 7, 1, tzinfo=UTC)
RECIPE = PresenceRecipe.model_validate(
    {"model": {"encoder": "test_resnet", "stem": "fixed", "width": 16, "output_stride": 32}}
)


def chip(brightness, seed, *, sensor="sentinel-2", bands=("red", "nir"), size=32, valid=True):
    noise = np.random.default_rng(seed).normal(0, 0.02, (len(bands), size, size))
    return Chip(
        image=torch.from_numpy((brightness + noise).astype(np.float32)) * valid,
        valid=torch.full((size, size), valid),
        label=torch.full((size, size), IGNORE, dtype=torch.uint8),
        palette=torch.from_numpy(noise.reshape(len(bands), -1)[:, :64].astype(np.float32)),
        bands=tuple(find_sensor(sensor).band(name) for name in bands),
        gsd_m=10.0,
        time=DAY,
        sensor_id=sensor,
    )


def held_out(count, *, positives, seed=0):
    """Places whose brightness tells, not for certain, whether they hold it."""
    rng = np.random.default_rng(seed)
    present = np.arange(count) < positives
    brightness = rng.normal(np.where(present, 0.35, 0.25), 0.05)
    places = [
        Place(id=f"p{n}", lon=0.0, lat=70.0, images=(chip(b, n),), present=bool(p))
        for n, (b, p) in enumerate(zip(brightness, present, strict=True))
    ]
    return LabelledPlaces(
        places=places,
        present=present.astype(np.float32),
        group=np.array([place.id for place in places]),
        fold=np.ones(count, dtype=np.int8),
        name="drawn",
    )


@pytest.fixture(scope="module")
def known():
    return held_out(240, positives=80)


@pytest.fixture(scope="module")
def model(known, tmp_path_factory):
    """A network that tells them apart and is far too sure: what calibration is for."""
    classifier = new_classifier(known.places, RECIPE).train()
    others = held_out(64, positives=32, seed=9)
    batch = stack_places(others.places)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=3e-3)
    for _ in range(40):
        loss = presence_loss(classify(classifier, batch).places, batch.present)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        classifier.head.weight *= 3
        classifier.head.bias *= 3
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    record = {"data_hash": "drawn"}
    save_classifier(path, classifier, record)
    write_classifier_card(path, classifier, known.places, RECIPE, record)
    return path


@pytest.fixture(scope="module")
def calibrated(known, model, tmp_path_factory):
    out = tmp_path_factory.mktemp("calibrated") / "model.safetensors"
    settings = CalibrationSettings(recall=0.9, confidence=0.95)
    return calibrate_classifier(model, known, settings, device=CPU, out=out)


@pytest.mark.slow
def test_the_calibrated_network_keeps_its_weights_and_its_record(model, calibrated):
    before, after = load_classifier(model), load_classifier(calibrated.model)

    for name, tensor in before.classifier.state_dict().items():
        assert torch.equal(after.classifier.state_dict()[name], tensor)
    assert after.record["data_hash"] == "drawn"
    assert Calibration.from_dict(after.record["calibration"]) == calibrated.calibration
    assert after.record["threshold"] == calibrated.shipped
    assert calibrated.threshold.guaranteed
    assert calibrated.shipped["threshold"] == calibrated.threshold.threshold
    assert calibrated.shipped["recall"] == 0.9
    card = json.loads(calibrated.model.with_suffix(".stac.json").read_text())
    assert card["properties"]["geoseg:record"]["threshold"] == calibrated.shipped
    checksum = f"1220{sha256_of(calibrated.model)}"
    assert card["assets"]["weights"]["file:checksum"] == checksum


@pytest.mark.slow
def test_probabilities_come_true_and_the_threshold_keeps_its_recall(known, model, calibrated):
    record = load_classifier(calibrated.model).record
    found = score_places(
        load_classifier(model).classifier, known.places, device=CPU, verdict=Verdict.of(record)
    )
    plain = score_places(load_classifier(model).classifier, known.places, device=CPU)

    present = known.present > 0.5
    chance, sigmoid = (np.array([r.probability for r in one]) for one in (found, plain))
    assert chance.mean() == pytest.approx(present.mean(), abs=0.01)
    assert ((chance - present) ** 2).mean() < ((sigmoid - present) ** 2).mean()
    # More than the share of those that hold it tells.
    assert ((chance - present) ** 2).mean() < 0.7 * present.mean() * (1 - present.mean())
    decided = np.array([result.decision for result in found])
    assert decided[present].mean() >= 0.9
    assert 0 < decided[~present].mean() < 1
    assert (decided == (chance >= calibrated.threshold.threshold)).all()


@pytest.mark.slow
def test_how_images_of_series_err_together_is_shipped_with_the_model(
    known, model, calibrated, tmp_path
):
    days = [DAY.replace(year=year) for year in (2000, 2010, 2020)]
    series = replace(
        known,
        places=[
            replace(p, images=tuple(replace(p.images[0], time=day) for day in days))
            for p in known.places
        ],
    )
    settings = CalibrationSettings(recall=0.9, confidence=0.95)
    taught = calibrate_classifier(model, series, settings, device=CPU, out=tmp_path / "m")
    pack = make_pack(Given(pool=series.places, name="series"), tmp_path / "pack").pack
    asked = Prediction(pack=pack.folder, model=taught.model, out=tmp_path / "out", device="cpu")
    predict_pack(asked, Engine())

    shipped, told = shipped_date_errors(asked.out), date_errors_of(asked.out)

    assert shipped is not None
    # The distance between the means of the evidence as it is used, with a scale of 1.
    assert shipped.separation == pytest.approx(told.separation / told.scale, rel=1e-4)
    assert abs(told.scale - 1) > 0.05
    assert shipped.correlation == pytest.approx(told.correlation, rel=1e-4)
    assert (shipped.centre, shipped.scale) == (0.0, 1.0)  # the calibration has seen to them
    # Three times the same image: what one says, all say.
    assert shipped.correlation > 0.9
    assert load_classifier(calibrated.model).record["date_errors"] is None  # of no series


APART = {"landsat-8": 5.0, "sentinel-2": 8.0, "corona": 3.5}  # what single images tell


def simulated_series(count, seed, *, shared, sure):
    """What a network says of places, and when each truly got its slump.

    Of images it is `sure` times as sure as of whole places; of their errors a part is `shared`.
    """
    rng = np.random.default_rng(seed)
    results, came = [], []
    for number in range(count):
        years = np.sort(rng.uniform(1995, 2025, rng.integers(6, 15)))
        came.append(years[0] - 10 + rng.exponential(80))
        sensors = rng.choice(list(APART), len(years))
        apart = np.array([APART[sensor] for sensor in sensors])
        valid = rng.uniform(0.5, 1, len(years))
        noise = np.sqrt((1 - shared) / valid) * rng.normal(size=len(years))
        noise += np.sqrt(shared) * rng.normal()
        logits = np.where(years >= came[-1], apart, -apart) / 2 + np.sqrt(apart) * noise
        # It attends to what looks like a slump.
        logit = float(np.average(logits, weights=valid * np.exp(logits / 3)))
        images = {"years": tuple(years), "sensors": tuple(sensors), "image_valid": tuple(valid)}
        images |= {"image_logits": tuple(sure * logits), "times": ()}
        place = {"id": str(number), "lon": 0.0, "lat": 70.0, "present": None, "logit": logit}
        results.append(Result(**place, **images, probability=None, decision=None))
    return results, np.array(came)


@pytest.mark.slow
@pytest.mark.parametrize(("shared", "sure"), [(0.3, 1.0), (0.7, 1.0), (0.5, 0.6), (0.5, 1.4)])
def test_true_years_lie_in_the_intervals_that_shipped_errors_give(shared, sure):
    known, came = simulated_series(800, 1, shared=shared, sure=sure)
    others, truth = simulated_series(3000, 2, shared=shared, sure=sure)

    present = came <= [result.years[-1] for result in known]
    calibration = fit_calibration([result.logit for result in known], present)
    errors = fit_series(known, present, calibration)
    ratios = [calibration.log_ratio(r.image_logits, r.sensors) for r in others]
    evidence = DatedEvidence.of_places(
        [(r.years, ratio, r.image_valid) for r, ratio in zip(others, ratios, strict=True)]
    )
    held = calibration.probability([result.logit for result in others]) > 0.5
    held &= truth <= [result.years[-1] for result in others]

    found = first_appearances(evidence, errors=errors, present=held)

    inside = (truth >= np.nan_to_num(found.low, nan=-np.inf)) & (truth <= found.high)
    assert held.sum() > 700
    assert np.isfinite(found.low).sum() > 300
    assert 0.88 < inside[held].mean() < 0.97


def test_a_prediction_by_it_has_the_probabilities_and_decisions_of_its_record(
    known, calibrated, tmp_path
):
    pack = make_pack(Given(pool=known.places[::9], name="drawn"), tmp_path / "pack").pack
    asked = Prediction(pack=pack.folder, model=calibrated.model, out=tmp_path / "out", device="cpu")

    predict_pack(asked, Engine())

    rows = results_table(tmp_path / "out")
    logit, chance = (rows[name].to_numpy() for name in ("logit", "probability"))
    wanted = calibrated.calibration.probability(logit, ["sentinel-2"] * len(logit))
    np.testing.assert_allclose(chance, wanted, atol=1e-5)
    assert np.abs(chance - 1 / (1 + np.exp(-logit))).max() > 0.05
    at = calibrated.threshold.threshold
    assert rows["decision"].to_pylist() == (wanted >= at).tolist()


def test_too_few_positives_ship_the_lowest_and_the_recall_that_it_does_guarantee(model, tmp_path):
    few = held_out(60, positives=20, seed=4)

    made = calibrate_classifier(
        model, few, CalibrationSettings(), device=CPU, out=tmp_path / "m.safetensors"
    )

    shipped = load_classifier(made.model).record["threshold"]
    assert not made.threshold.guaranteed
    assert shipped["threshold"] == made.threshold.lowest > 0
    # All of n found: the recall is 0.05 ** (1 / n) with a confidence of 0.95.
    assert shipped["recall"] == pytest.approx(0.05 ** (1 / 20))
    results = score_places(
        load_classifier(made.model).classifier,
        few.places,
        device=CPU,
        verdict=Verdict.of(load_classifier(made.model).record),
    )
    assert all(result.decision for result in results[:20])
    assert not all(result.decision for result in results)


def test_what_nobody_saw_or_labelled_takes_no_part(known, model, calibrated, tmp_path):
    dark = [
        replace(place, id=f"dark{n}", images=(chip(0.3, n, valid=False),))
        for n, place in enumerate(known.places[:5])
    ]
    unknown = [replace(place, id=f"u{n}") for n, place in enumerate(known.places[5:10])]
    more = LabelledPlaces(
        places=[*known.places, *dark, *unknown],
        present=np.concatenate([known.present, known.present[:5], np.full(5, np.nan)]).astype(
            np.float32
        ),
        group=np.concatenate([known.group, [p.id for p in (*dark, *unknown)]]),
        fold=np.ones(250, dtype=np.int8),
        name="more",
    )

    made = calibrate_classifier(
        model,
        more,
        CalibrationSettings(recall=0.9),
        device=CPU,
        out=tmp_path / "model.safetensors",
    )

    assert made.threshold == calibrated.threshold
    assert len(made.held_out.present) == 240
    np.testing.assert_allclose(made.held_out.log_ratio, calibrated.held_out.log_ratio, atol=1e-6)


def test_places_of_one_kind_calibrate_nothing(model, tmp_path):
    with pytest.raises(LabelError, match="1 held-out places are present; label more"):
        calibrate_classifier(
            model,
            held_out(20, positives=1),
            CalibrationSettings(),
            device=CPU,
            out=tmp_path / "m.safetensors",
        )
    assert not list(tmp_path.iterdir())


def test_a_network_is_made_for_the_bands_of_the_places(known):
    spec = new_classifier(known.places, RECIPE).spec

    assert isinstance(spec.input, FixedInput)
    assert spec.input.bands == ("red", "nir")
    pixels = torch.stack([place.images[0].image for place in known.places])
    np.testing.assert_allclose(spec.input.mean, pixels.mean(dim=(0, 2, 3)), rtol=1e-4)
    np.testing.assert_allclose(spec.input.std, pixels.std(dim=(0, 2, 3)), rtol=1e-3)
    assert spec.size_px == 32


def test_the_same_seed_gives_the_same_network(known):
    one, same = (new_classifier(known.places, RECIPE).state_dict() for _ in range(2))
    other = new_classifier(known.places, RECIPE.model_copy(update={"seed": 1})).state_dict()

    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_several_sensors_need_the_stem_for_any(known):
    mixed = [
        *known.places[:3],
        replace(known.places[3], images=(chip(0.3, 1, sensor="landsat-8", bands=("red",)),)),
    ]
    settings = RECIPE.model.model_copy(update={"stem": "any"})

    with pytest.raises(ModelError, match=r"2 sets of bands and model\.stem = fixed takes one"):
        new_classifier(mixed, RECIPE)
    wanted = new_classifier(mixed, RECIPE.model_copy(update={"model": settings})).spec.input

    assert isinstance(wanted, AnyInput)
    assert len(wanted.seen) == 3
    assert wanted.gsd_m == (10.0, 10.0)


def test_an_image_that_lacks_a_band_is_an_error_with_the_name_of_its_place(model, known):
    red = replace(known.places[0], id="red", images=(chip(0.3, 1, bands=("red",)),))

    with pytest.raises(ModelError, match=r"red: an image lacks a band of the network \(red, nir\)"):
        score_places(load_classifier(model).classifier, [red], device=CPU)


def test_places_are_counted_as_they_are_scored(model, known):
    told = []

    found = score_places(
        load_classifier(model).classifier,
        known.places[:7],
        device=CPU,
        on_place=lambda done, total: told.append((done, total)),
    )

    assert told == [(n + 1, 7) for n in range(7)]
    assert [result.id for result in found] == [f"p{n}" for n in range(7)]
    assert all(math.isfinite(result.logit) for result in found)
