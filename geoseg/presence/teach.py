"""A network for presence, and what makes its logits probabilities and decisions."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from geoseg.errors import LabelError, ModelError
from geoseg.metrics.calibration import fit_calibration
from geoseg.metrics.prevalence import HeldOut
from geoseg.metrics.thresholds import (
    RecallThreshold,
    expected_recall_threshold,
    recall_threshold,
)
from geoseg.models import (
    AnyInput,
    ClassifierSpec,
    FixedInput,
    build_classifier,
    load_classifier,
    save_classifier,
)
from geoseg.presence.appearance import DateErrors, fit_date_errors
from geoseg.presence.evidence import DatedEvidence
from geoseg.presence.scoring import Verdict, score
from geoseg.training.classifier_card import continue_card

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from geoseg.chips import Chip, Place
    from geoseg.config import CalibrationSettings, PresenceRecipe
    from geoseg.metrics.calibration import Calibration
    from geoseg.models import Classifier
    from geoseg.presence.packs import Problem
    from geoseg.presence.results import Result
    from geoseg.presence.samples import LabelledPlaces

__all__ = [
    "Calibrated",
    "calibrate_classifier",
    "fit_series",
    "new_classifier",
    "score_places",
]

_MOST_LOOKED_AT = 512  # places, for the bands and their statistics


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """A model that was calibrated, and how."""

    model: Path
    calibration: Calibration
    threshold: RecallThreshold  # guaranteed
    shipped: Mapping[str, Any]  # the threshold in the model: with the recall that it guarantees
    expected: RecallThreshold  # keeps the recall on the mean
    held_out: HeldOut  # what it was calibrated on


def new_classifier(places: Sequence[Place], recipe: PresenceRecipe) -> Classifier:
    """A network for the images of some places, with fresh or the publisher's weights.

    Raises:
        ModelError: no such encoder, or a stem for fixed bands and images of several sets of them.
    """
    step = max(1, len(places) // _MOST_LOOKED_AT)
    images = [image for n in range(0, len(places), step) for image in places[n].images]
    settings = recipe.model
    torch.manual_seed(recipe.seed)
    return build_classifier(
        ClassifierSpec(
            encoder=settings.encoder,
            input=_any_input(images) if settings.stem == "any" else _fixed_input(images),
            target=recipe.target,
            size_px=max(max(image.image.shape[-2:]) for image in images),
            output_stride=settings.output_stride,
            width=settings.width,
        ),
        pretrained=settings.pretrained,
    )


def score_places(
    classifier: Classifier,
    places: Sequence[Place],
    *,
    device: torch.device,
    verdict: Verdict | None = None,
    on_place: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[Result]:
    """What a classifier says of places, in their order.

    Args:
        classifier: in evaluation mode.
        places: with the bands that it takes.
        device: where it computes.
        verdict: what logits mean; their sigmoid when not given.
        on_place: is told of places done and all.

    Raises:
        ModelError: an image lacks a band of the network.
    """

    def told() -> Iterator[Place]:
        for number in range(len(places)):
            on_place(number + 1, len(places))
            yield places[number]

    def refuse(problem: Problem) -> None:
        raise ModelError(f"{problem.key}: {problem.reason}")

    verdict = verdict or Verdict(calibration=None, threshold=0.5)
    classifier.to(device).eval()
    return score(told(), classifier, verdict, device=device, on_problem=refuse)


def calibrate_classifier(
    model: Path,
    held_out: LabelledPlaces,
    settings: CalibrationSettings,
    *,
    device: torch.device,
    out: Path,
    on_place: Callable[[int, int], None] = lambda _done, _total: None,
) -> Calibrated:
    """Calibrate a classifier on places that it has not seen, and set its threshold.

    Places without a valid pixel tell nothing and take no part.

    Args:
        model: of `train_classifier`.
        held_out: a random sample of each kind, of other ground than the training.
        settings: recall of the threshold and its confidence.
        device: where it computes.
        out: the calibrated model; its card is written beside it where the other has one.
        on_place: is told of places done and all.

    Raises:
        LabelError: fewer than two held-out places of a kind.
    """
    checkpoint = load_classifier(model)
    known = held_out.known()
    results = score_places(checkpoint.classifier, known.places, device=device, on_place=on_place)
    seen = np.array([result.logit is not None for result in results], dtype=bool)
    logits = np.array([r.logit for r in results if r.logit is not None], dtype=np.float64)
    present = known.present[seen] > 0.5
    for kind, count in (("present", present.sum()), ("absent", (~present).sum())):
        if count < 2:
            raise LabelError(
                f"{count} held-out places are {kind}; label more, so that each fold has some."
            )
    sensors = [_only_sensor(r.sensors) for r in results if r.logit is not None]
    group = known.group[seen]
    calibration = fit_calibration(logits, present, sensor_ids=sensors, groups=group)
    probability = calibration.probability(logits, sensors)[present]
    threshold = recall_threshold(
        probability,
        recall=settings.recall,
        confidence=settings.confidence,
        groups=group[present],
    )
    expected = expected_recall_threshold(probability, recall=settings.recall, groups=group[present])
    shipped = _shipped(threshold)
    date_errors = fit_series(results, known.present > 0.5, calibration)
    record = {
        **checkpoint.record,
        "calibration": calibration.to_dict(),
        "threshold": shipped,
        "expected_threshold": asdict(expected),
        "date_errors": None if date_errors is None else asdict(date_errors),
        "prevalence": settings.prevalence,
    }
    save_classifier(out, checkpoint.classifier, record)
    continue_card(model, out, record)
    return Calibrated(
        model=out,
        calibration=calibration,
        threshold=threshold,
        shipped=shipped,
        expected=expected,
        held_out=HeldOut(
            log_ratio=calibration.log_ratio(logits, sensors), present=present, groups=group
        ),
    )


def fit_series(
    results: Sequence[Result], present: NDArray[np.bool_], calibration: Calibration
) -> DateErrors | None:
    """How the images of a place err together; None without series, or of too few to tell by.

    The calibration has made their evidence comparable. Centre and scale by moments would take the
    differences between sensors, of which some see slumps much better, for doubt about each image.
    The separation is that of the evidence as it is used, not as it would be scaled: the distance of
    its means, so that the model expects what is seen. The variance of evidence that is too sure of
    itself is more than that. In simulation, where a scale of 0.55 was right, 0.91 of the true years
    lay in their intervals of 90 %, and by the variance 0.84.

    Args:
        results: of held-out places.
        present: whether each holds it (N,).
        calibration: of the model that gave the results.
    """
    if all(len(result.years) < 2 for result in results):
        return None
    evidence = DatedEvidence.of_places([_evidence(result, calibration) for result in results])
    try:
        fitted = fit_date_errors(evidence, present)
    except LabelError:
        return None
    return DateErrors(separation=fitted.separation / fitted.scale, correlation=fitted.correlation)


def _shipped(threshold: RecallThreshold) -> dict[str, Any]:
    """What is shipped with a model: of too few positives, the recall that they do guarantee."""
    told = asdict(threshold)
    if threshold.guaranteed:
        return told
    return {**told, "threshold": threshold.lowest, "recall": threshold.recall_of_lowest}


def _evidence(
    result: Result, calibration: Calibration
) -> tuple[Sequence[float], Sequence[float], Sequence[float]]:
    """Years, evidence and validity of the images of one place."""
    logits = np.array(result.image_logits, dtype=np.float64)
    ratios = calibration.log_ratio(logits, result.sensors)
    seen = np.isfinite(ratios)
    validity = np.where(seen, result.image_valid, 0)
    return result.years, np.where(seen, ratios, 0).tolist(), validity.tolist()


def _only_sensor(sensors: Sequence[str]) -> str | None:
    return sensors[0] if len(set(sensors)) == 1 else None


def _any_input(images: Sequence[Chip]) -> AnyInput:
    seen = dict.fromkeys(band for image in images for band in image.bands)
    gsds = [image.gsd_m for image in images]
    return AnyInput(seen=tuple(seen), gsd_m=(min(gsds), max(gsds)))


def _fixed_input(images: Sequence[Chip]) -> FixedInput:
    kinds = {image.bands for image in images}
    if len(kinds) > 1:
        raise ModelError(
            f"The images have {len(kinds)} sets of bands and model.stem = fixed takes one; set it "
            "to any."
        )
    pixels = torch.cat([image.image[:, image.valid] for image in images], dim=1)
    return FixedInput(
        bands=tuple(band.common_name for band in images[0].bands),
        mean=tuple(pixels.mean(dim=1).tolist()),
        std=tuple(pixels.std(dim=1).clamp(min=1e-6).tolist()),
    )
