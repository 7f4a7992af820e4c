"""What the recipe learns from few labels of real slumps, beside a plain resnet18 of equal CPU time.

Functions for benchmarks/presence.py. By hand, the effect of every switch beside labels alone:

    python benchmarks/presence_learning.py [--json] [--labels 50 200] [--seeds 5] [--ways ...]

The first way is what the others are compared with.

Windows of 64 px of the set rts-chips: positives are cut around slumps, negatives from parts of the
same images without one, for each of its images shows some. Many images show ground of others too,
so each seed deals ground, not images, to three folds: half teaches, a quarter calibrates, a quarter
tests. The labels that are granted are drawn from the half that teaches, and both ways get the same
ones, and no mask. The recipe may look at the windows without a label too, as a forest guesses them.
The plain way is what one writes first: a resnet18 of timm from scratch, standardised bands, binary
cross-entropy, mirrored images, AdamW with a cosine. One thread each; CPU seconds of both are told,
those of the forest among them. The data set is fetched, or read from GEOSEG_DATA_MIRROR.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from scipy import stats
from sklearn.metrics import average_precision_score

from geoseg.config import PresenceRecipe, load_recipe
from geoseg.data import fetch
from geoseg.data.slumps import cut_windows, read_slump_images
from geoseg.metrics.histogram import LogitHistogram
from geoseg.metrics.prevalence import estimate_prevalence
from geoseg.metrics.reliability import score_calibration
from geoseg.models import load_classifier
from geoseg.presence.samples import LabelledPlaces, places_of_windows
from geoseg.presence.teach import calibrate_classifier, new_classifier, score_places
from geoseg.training import PlaceSamples, choose_labels, pretrain, train_classifier

import timm  # isort: skip  torchvision has to be importable first

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from geoseg.chips import Place
    from geoseg.data.slumps.windows import SlumpImage

RECIPE = Path(__file__).parents[1] / "recipes" / "thaw_slump" / "rts_chips.yaml"
CPU = torch.device("cpu")
SIZES = (50, 200, 1000)
PLAIN_STEPS, PLAIN_BATCH = 180, 32  # as many as take the CPU time of the recipe
TESTED = 1500  # windows, drawn from the fold that tests; trust is measured on all of it

# What is changed of few_labels in the recipe: nothing, or one switch beside labels alone.
ALONE: dict[str, object] = {"unlabelled": "left_out", "masks": 0.0}
WAYS: dict[str, dict[str, object]] = {
    "recipe": {},
    "labels_alone": ALONE,
    "forest": ALONE | {"unlabelled": "forest"},
    "masks": ALONE | {"masks": 1.0},
    "pretrain": ALONE | {"pretrain_steps": 150},
    "pseudo_labels": ALONE | {"unlabelled": "pseudo_labels"},
    "positive_unlabelled": ALONE | {"unlabelled": "positive_unlabelled", "prior": 0.12},
}
SWITCHES = ("labels_alone", "forest", "masks", "pretrain", "pseudo_labels", "positive_unlabelled")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One training."""

    way: str  # plain, or one of WAYS
    labels: int
    seed: int
    calibrated: bool = False


@dataclass(frozen=True, kw_only=True)
class Trust:
    """What probabilities and decisions of a calibrated model are worth on windows it never saw."""

    ece: float
    ece_debiased: float
    recall: float  # at the threshold that keeps 0.95 on the mean
    recall_guaranteed: float  # at the one that keeps 0.95 with a confidence of 0.95
    prevalence: float
    estimate: tuple[float, float, float]  # of it, and its 90 % interval


@dataclass(frozen=True, kw_only=True)
class Learned:
    """How good it is."""

    trial: Trial
    ap: float
    cpu_s: float
    trust: Trust | None = None


@dataclass
class Gain:
    """Average precision beside that of another way, seed by seed."""

    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)

    @property
    def mean(self) -> float:
        """Over seeds."""
        return float(np.subtract(self.ours, self.theirs).mean())

    @property
    def half_width(self) -> float:
        """Of the 95 % interval of the mean, by Student's t."""
        gains = np.subtract(self.ours, self.theirs)
        return float(stats.t.ppf(0.975, len(gains) - 1) * stats.sem(gains))


def learn(trials: Iterable[Trial]) -> Iterator[Learned]:
    """Trainings, one a core, in their order."""
    context = get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context, initializer=_one_thread) as pool:
        yield from pool.map(run_trial, trials)


def run_trial(trial: Trial) -> Learned:
    """Train one way and score it."""
    places = _windows(trial.seed)
    train, test = places.part("train"), _some(places.part("test"))
    recipe = _recipe(trial)
    every = PlaceSamples(places=train.places, present=train.present)
    if trial.way == "plain":
        samples = choose_labels(every, recipe.few_labels, seed=trial.seed)
        logits, cpu_s = plain(samples, test.places, trial.seed)
        return Learned(trial=trial, ap=_ap(test, logits), cpu_s=cpu_s)
    with tempfile.TemporaryDirectory() as name:
        model = Path(name) / "model.safetensors"
        cpu_s = _train(every, recipe, Path(name))
        logits = _logits(model, test.places)
        trust = None
        if trial.calibrated:
            trust = _trust(model, places.part("calibration"), places.part("test"), recipe)
        return Learned(trial=trial, ap=_ap(test, logits), cpu_s=cpu_s, trust=trust)


def plain(samples: PlaceSamples, test: Sequence[Place], seed: int) -> tuple[np.ndarray, float]:
    """Logits of the classifier that one writes first, and the CPU seconds that it learned for."""
    chosen = np.flatnonzero(~np.isnan(samples.present))
    images = torch.stack([samples.places[n].images[0].image for n in chosen])
    present = torch.from_numpy(samples.present[chosen])
    mean, std = images.mean((0, 2, 3), keepdim=True), images.std((0, 2, 3), keepdim=True)
    images = (images - mean) / std
    torch.manual_seed(seed)
    network = timm.create_model("resnet18", num_classes=1).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, PLAIN_STEPS)
    begun = time.process_time()
    for _ in range(PLAIN_STEPS):
        drawn = torch.randint(len(images), (PLAIN_BATCH,))
        batch = images[drawn]
        if torch.rand(()) < 0.5:
            batch = batch.flip(-1)
        loss = F.binary_cross_entropy_with_logits(network(batch).squeeze(1), present[drawn])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    cpu_s = time.process_time() - begun
    network.eval()
    tested = (torch.stack([place.images[0].image for place in test]) - mean) / std
    with torch.inference_mode():
        logits = torch.cat([network(part).squeeze(1) for part in tested.split(128)])
    return logits.numpy(), cpu_s


def _train(every: PlaceSamples, recipe: PresenceRecipe, folder: Path) -> float:
    """As `geoseg thaw-slump train` does; CPU seconds."""
    samples = choose_labels(every, recipe.few_labels, seed=recipe.seed)
    classifier = new_classifier(every.places, recipe)
    begun = time.process_time()
    if recipe.few_labels.pretrain_steps:
        pretrain(classifier, every, recipe, device=CPU, on_step=lambda _: None)
    train_classifier(
        classifier,
        samples,
        recipe,
        folder=folder,
        device=CPU,
        record={"training_hash": "", "data_hash": ""},
        on_step=lambda _: None,
    )
    return time.process_time() - begun


def _logits(model: Path, places: Sequence[Place]) -> np.ndarray:
    results = score_places(load_classifier(model).classifier, places, device=CPU)
    return np.array([result.logit for result in results], dtype=np.float64)


def _trust(
    model: Path, held_out: LabelledPlaces, test: LabelledPlaces, recipe: PresenceRecipe
) -> Trust:
    logits = _logits(model, test.places)
    calibrated = calibrate_classifier(
        model, held_out, recipe.calibration, device=CPU, out=model.with_name("calibrated")
    )
    present = test.present > 0.5
    sensors = [place.images[0].sensor_id for place in test.places]
    probability = calibrated.calibration.probability(logits, sensors)
    pool = LogitHistogram()
    pool.add(calibrated.calibration.log_ratio(logits, sensors))
    number = estimate_prevalence(pool, calibrated.held_out, np.random.default_rng(0))
    scores = score_calibration(probability, present)
    return Trust(
        ece=scores.ece,
        ece_debiased=scores.ece_debiased,
        recall=float((probability[present] >= calibrated.expected.threshold).mean()),
        recall_guaranteed=float((probability[present] >= calibrated.threshold.threshold).mean()),
        prevalence=float(present.mean()),
        estimate=(number.value, number.low, number.high),
    )


def _recipe(trial: Trial) -> PresenceRecipe:
    few = {"labels": trial.labels, **WAYS.get(trial.way, {})}
    base = load_recipe(RECIPE, kind=PresenceRecipe)
    told = base.model_dump()
    told["few_labels"] |= few
    return PresenceRecipe.model_validate(told | {"seed": trial.seed})


@cache
def _windows(seed: int) -> LabelledPlaces:
    return places_of_windows(cut_windows(_images(), seed=seed), name=f"rts-chips {seed}")


@cache
def _images() -> tuple[SlumpImage, ...]:
    return read_slump_images(fetch("rts-chips"))


def _some(test: LabelledPlaces) -> LabelledPlaces:
    numbers = np.random.default_rng(0).permutation(len(test.present))[:TESTED]
    return test.chosen(numbers, "drawn")


def _ap(test: LabelledPlaces, logits: np.ndarray) -> float:
    return float(average_precision_score(test.present > 0.5, logits))


def _one_thread() -> None:
    torch.set_num_threads(1)


def few_label_trials(seeds: Sequence[int]) -> list[Trial]:
    """Recipe and plain way at each size; that of most labels is calibrated."""
    return [
        Trial(way=way, labels=labels, seed=seed, calibrated=labels == max(SIZES))
        for seed, labels, way in product(seeds, SIZES, ("plain", "recipe"))
    ]


def gains(learned: Iterable[Learned], way: str, beside: str) -> dict[int, Gain]:
    """By the number of labels, the gain of one way over another."""
    found: dict[int, Gain] = {}
    for one in sorted(learned, key=lambda one: (one.trial.labels, one.trial.seed)):
        gain = found.setdefault(one.trial.labels, Gain())
        if one.trial.way == way:
            gain.ours.append(one.ap)
        elif one.trial.way == beside:
            gain.theirs.append(one.ap)
    return found


def told(one: Learned) -> str:
    """One training in one line."""
    trial = one.trial
    return (
        f"  seed {trial.seed}, {trial.labels:4} labels, {trial.way:20} AP {one.ap:.3f}  "
        f"{one.cpu_s:3.0f} CPU s"
    )


def main() -> None:
    """Measure ways, print, and with --json one object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--labels", type=int, nargs="+", default=[50, 200])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--ways", nargs="+", default=SWITCHES, choices=["plain", *WAYS])
    options = parser.parse_args()
    trials = [
        Trial(way=way, labels=labels, seed=seed)
        for seed, labels, way in product(range(options.seeds), options.labels, options.ways)
    ]
    learned = []
    for one in learn(trials):
        learned.append(one)
        print(told(one), flush=True)
    figures = {}
    for way in options.ways[1:]:
        for labels, gain in gains(learned, way, options.ways[0]).items():
            print(
                f"{labels:5} labels, {way:20} {np.mean(gain.ours):.3f}, "
                f"{gain.mean:+.3f} ± {gain.half_width:.3f} over {options.ways[0]}"
            )
            figures[f"{way}_{labels}"] = gain.mean
    if options.json:
        machine = f"{os.cpu_count()} cores {platform.machine()}, torch {torch.__version__}"
        print(
            json.dumps({"benchmark": "presence_learning", "machine": machine, "figures": figures})
        )


if __name__ == "__main__":
    main()
