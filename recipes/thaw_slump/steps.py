"""The steps of the recipe, each a dozen calls of the library.

A step takes what it needs from the folder of the run and leaves its result there:

    recipe.json                    the whole recipe as it was used
    places/                        pack: of simulated places
    training/model.safetensors     train
    model.safetensors              calibrate: with its calibration and its threshold
    calibration.parquet            calibrate: scores of the places that it was calibrated on
    held_out/                      pack of the places that test
    results/                       predict: what the model says of them
    first.parquet                  first: since when; not where each place has one image alone
    scores.json                    evaluate
    report.html                    report
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from geoseg import __version__
from geoseg.config import RECIPE, recipe_hash, training_hash
from geoseg.data import fetch
from geoseg.data.slumps import cut_windows, read_slump_images, simulated_places
from geoseg.errors import ConfigError, LabelError, ModelError, nearest
from geoseg.files import sha256_of, write_json
from geoseg.metrics.calibration import Calibration
from geoseg.models import choose_device, load_classifier
from geoseg.presence.appearance import DateErrors, OnsetPrior
from geoseg.presence.first_table import FirstSeen, shipped_date_errors, write_first_appearances
from geoseg.presence.packs import Given, make_pack, read_pack
from geoseg.presence.predict import Predicted, Prediction, predict_pack
from geoseg.presence.results import RESULTS, results_table
from geoseg.presence.samples import LabelledPlaces, places_of_pack, places_of_windows
from geoseg.presence.scores import (
    PresenceScores,
    estimate_of_results,
    read_held_out,
    score_results,
    write_held_out,
)
from geoseg.presence.teach import Calibrated, calibrate_classifier, new_classifier
from geoseg.report.presence_page import TotalNumber, write_presence_report
from geoseg.report.presence_results import report_of_results
from geoseg.scale import Engine
from geoseg.terminal import note, progress
from geoseg.training import (
    PlaceSamples,
    StepReport,
    TaughtClassifier,
    choose_labels,
    is_begun,
    pretrain,
    train_classifier,
)

if TYPE_CHECKING:
    from geoseg.config import PresenceRecipe
    from geoseg.metrics.prevalence import Estimate
    from geoseg.presence.samples import Fold

__all__ = [
    "DATA",
    "Run",
    "calibrate",
    "estimate",
    "evaluate",
    "first",
    "predict",
    "report",
    "train",
]

DATA = ("rts-chips", "simulated")
_PREVALENCE = 0.15  # of simulated places


@dataclass(frozen=True)
class Run:
    """A recipe and the folder that its results go to."""

    recipe: PresenceRecipe
    out: Path
    device: str

    @property
    def trained(self) -> Path:
        """The network before it is calibrated."""
        return self.out / "training" / "model.safetensors"

    @property
    def model(self) -> Path:
        """The network to be used."""
        return self.out / "model.safetensors"

    @property
    def held_out_scores(self) -> Path:
        """Of the places that it was calibrated on."""
        return self.out / "calibration.parquet"

    @property
    def held_out(self) -> Path:
        """The pack of the places that test."""
        return self.out / "held_out"

    @property
    def results(self) -> Path:
        """What the model says of them."""
        return self.out / "results"

    @property
    def first(self) -> Path:
        """Since when."""
        return self.out / "first.parquet"

    @cached_property
    def places(self) -> LabelledPlaces:
        """All labelled places, read on first use."""
        recipe = self.recipe
        if recipe.pack is not None:
            return _from_pack(recipe.pack, recipe.seed)
        data = (recipe.data or "").replace("_", "-")
        if data == "simulated":
            return _simulated(self)
        if data == "rts-chips":
            return _rts_chips(recipe.seed)
        raise ConfigError(f"no places of data {recipe.data!r}. {nearest(data, DATA)}")

    @cached_property
    def provenance(self) -> dict[str, str]:
        """What every result names: package, recipe and data, and the number of threads."""
        return {
            "geoseg": __version__,
            "recipe_hash": recipe_hash(self.recipe),
            "data_hash": self.places.name,
            "threads": str(torch.get_num_threads()),
        }

    @property
    def record(self) -> dict[str, str]:
        """What a network of this run names: what it was taught by, and on which places."""
        return {**self.provenance, "training_hash": training_hash(self.recipe)}


def train(run: Run) -> TaughtClassifier:
    """Teach a network on the places that are neither to calibrate nor to test by.

    Raises:
        LabelError: too few places of a kind to calibrate or to test by.
    """
    recipe, part = run.recipe, run.places.part("train")
    for fold in ("calibration", "test"):
        _require_both_kinds(run.places, fold)
    every = PlaceSamples(places=part.places, present=part.present)
    samples = choose_labels(every, recipe.few_labels, seed=recipe.seed)
    note(
        f"Learning from {len(samples.positives)} places with and {len(samples.negatives)} without, "
        f"{len(samples.unlabelled)} unlabelled"
    )
    device = choose_device(run.device)
    classifier = new_classifier(part.places, recipe)
    write_json(run.out / RECIPE, recipe.model_dump(mode="json"))
    if recipe.few_labels.pretrain_steps and not is_begun(run.trained.parent, run.record):
        with progress("Pretraining") as advance:
            pretrain(
                classifier,
                every,
                recipe,
                device=device,
                on_step=lambda r: advance(r.step, r.steps, f"loss {r.loss:.3f}"),
            )
    with progress("Training") as advance:

        def on_step(report: StepReport) -> None:
            advance(report.step, report.steps, f"loss {report.loss:.3f}")

        return train_classifier(
            classifier,
            samples,
            recipe,
            folder=run.trained.parent,
            device=device,
            record=run.record,
            on_step=on_step,
        )


def calibrate(run: Run) -> Calibrated:
    """Make the logits probabilities, and set the threshold of the recall that is asked for.

    Raises:
        ModelError: the network is of another recipe or of other places.
    """
    _require_own(run, run.trained)
    with progress("Calibrating") as advance:
        calibrated = calibrate_classifier(
            run.trained,
            run.places.part("calibration"),
            run.recipe.calibration,
            device=choose_device(run.device),
            out=run.model,
            on_place=lambda done, total: advance(done, total, "places"),
        )
    write_held_out(run.held_out_scores, calibrated.held_out, model=sha256_of(calibrated.model))
    if not calibrated.threshold.guaranteed:
        asked, kept = run.recipe.calibration.recall, calibrated.threshold.recall_of_lowest
        note(
            f"{calibrated.threshold.n} held-out places do not guarantee a recall of {asked:g}; the "
            f"threshold is the lowest of them, which guarantees {kept:.3f}"
        )
    return calibrated


def predict(run: Run) -> Predicted:
    """Say of each place that tests how likely it holds what was learned.

    Raises:
        ModelError: the model is of another recipe or of other places.
    """
    _require_own(run, run.model)
    test = run.places.part("test")
    given = Given(pool=test.places, name=test.name)
    with progress("Packing") as advance:
        make_pack(given, run.held_out, on_shard=lambda d, t: advance(d, t, "shards"))
    prediction = Prediction(
        pack=run.held_out,
        model=run.model,
        out=run.results,
        device=run.device,
        prevalence=run.recipe.calibration.prevalence,
    )
    _clear_results_of_others(prediction)
    with progress("Predicting") as advance:
        return predict_pack(prediction, Engine(), lambda d, t: advance(d, t, "shards"))


def first(run: Run) -> FirstSeen | None:
    """Date the first appearance in each place that is said to hold it.

    None where no place has more than one image: nothing was seen before anything.
    """
    counts = results_table(run.results, ["n_images"])["n_images"].to_numpy()
    if counts.max(initial=0) < 2:
        note("No place has more than one image: nothing is dated")
        run.first.unlink(missing_ok=True)
        return None
    errors = shipped_date_errors(run.results) or DateErrors()
    return write_first_appearances(run.results, run.first, prior=OnsetPrior(), errors=errors)


def evaluate(run: Run) -> PresenceScores:
    """Score what was said of the places that test.

    Raises:
        ModelError: the model is of another recipe or of other places.
    """
    _require_own(run, run.model)
    test = run.places.part("test")
    groups = dict(zip((place.id for place in test.places), test.group, strict=True))
    scores = score_results(run.results, load_classifier(run.model).record, groups)
    write_json(run.out / "scores.json", {**asdict(scores), **run.provenance})
    return scores


def estimate(run: Run) -> Estimate:
    """Estimate how many of the places that test hold it, without looking at what is known."""
    checkpoint = load_classifier(run.model)
    return estimate_of_results(
        run.results,
        Calibration.from_dict(checkpoint.record["calibration"]),
        read_held_out(run.held_out_scores, model=checkpoint.sha256),
    )


def report(run: Run, number: Estimate) -> Path:
    """Write the page, with pictures of the surest and the most doubtful places."""
    page = run.out / "report.html"
    told = report_of_results(
        run.results,
        pack=run.held_out,
        first=run.first if run.first.is_file() else None,
        model=run.model,
    )
    told = replace(
        told,
        title=f"{run.recipe.target.replace('_', ' ').capitalize()}: {run.places.name}",
        total=TotalNumber.of(number, told.places - told.unscored),
    )
    write_presence_report(page, told)
    return page


def _require_own(run: Run, model: Path) -> None:
    """Refuse a network of another recipe: what calibrates or tests here may have taught it.

    Keys that no network depends on may differ.
    """
    record = load_classifier(model).record
    for how, key, what in (
        ("on", "data_hash", "name the places that it was taught on, with their seed,"),
        ("by recipe", "training_hash", "name the recipe that it was taught by,"),
    ):
        told, wanted = (str(hashes.get(key)) for hashes in (record, run.record))
        if told != wanted:
            raise ModelError(
                f"{model} was taught {how} {_short(told)}, not {how} {_short(wanted)}; {what} or "
                "train again."
            )


def _short(text: str) -> str:
    """With hashes cut to twelve digits, which tell them apart."""
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{28,}\b", r"\1", text)


def _require_both_kinds(places: LabelledPlaces, fold: Fold) -> None:
    """Refuse, before the network is taught, places that it cannot be calibrated or tested by."""
    present = places.part(fold).present
    counts = (int((present > 0.5).sum()), int((present <= 0.5).sum()))
    if min(counts) < 2:
        raise LabelError(
            f"Of the places for {fold} {counts[0]} are present and {counts[1]} absent; label more, "
            "so that each fold has two of either kind."
        )


def _clear_results_of_others(prediction: Prediction) -> None:
    """Remove what another model said, or of other places: the recipe of the folder has changed."""
    about = prediction.out / RESULTS
    if not about.is_file():
        return
    told = json.loads(about.read_bytes())
    before = [told.get(key) for key in ("model", "pack_digest", "prevalence")]
    now = [sha256_of(prediction.model), read_pack(prediction.pack).digest, prediction.prevalence]
    if before != now:
        note(f"{prediction.out} holds results of another model or other places; they are made anew")
        shutil.rmtree(prediction.out)


def _simulated(run: Run) -> LabelledPlaces:
    """Simulated places, written once: to make one takes longer than to read it."""
    recipe = run.recipe
    name = f"simulated {recipe.seed} {recipe.places} {__version__}"
    pool = simulated_places(recipe.places, seed=recipe.seed, prevalence=_PREVALENCE)
    folder = run.out / "places"
    with progress("Simulating") as advance:
        make_pack(
            Given(pool=pool, name=name),
            folder,
            per_shard=250,
            on_shard=lambda done, total: advance(done, total, "shards of 250 places"),
        )
    return _from_pack(str(folder), recipe.seed)


def _from_pack(folder: str, seed: int) -> LabelledPlaces:
    labelled, problems = places_of_pack(read_pack(Path(folder)), seed=seed)
    for problem in problems:
        note(f"{problem.key}: {problem.reason}")
    return labelled


def _rts_chips(seed: int) -> LabelledPlaces:
    windows = cut_windows(read_slump_images(fetch("rts-chips", on_file=note)), seed=seed)
    return places_of_windows(windows, name=f"rts-chips {seed}")
