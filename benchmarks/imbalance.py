"""What losses and samplings for rare classes are worth, from 1:100 sets with heads on embeddings.

    python benchmarks/imbalance.py [--json] [--seeds 5]

Heads of `geoseg active` with their usual settings learn from sets whose largest class has a hundred
times the samples of the smallest, and are scored by balanced accuracy, the mean recall of classes,
on others. Nothing but the loss, or how samples are drawn, differs between rows of a table.

- simulated: 10 normal classes in 16 dimensions, 1000 samples to 10. The limit is that of Bayes'
  rule for classes that are equally common, which is known.
- eurosat: 10 land covers of GEOSEG_DATA_MIRROR/eurosat_rgb_subset, 100 chips to 1 in an order
  drawn anew for each seed; the other 100 of each class are the test. Embeddings are statistics of
  colours and textures (geoseg.training.forest).
- rts_chips: windows of images of thaw slumps with or without one, 3000 to 30 that are drawn anew
  for each seed; tested on other ground. The same statistics.

gain: mean over seeds of the difference to cross-entropy of the same seed, with its 95 % interval by
Student's t. `balanced_accuracy_gain` and `gain_ci_low` are those of logit_adjusted, which was
chosen before, on the set where it gains least. Sets that are not there are left out with a word.

Before the tables, N(0, 1) against N(2, 1) with 1:100 samples: where a trained border lies is
compared with theory, a balanced accuracy of 0.548 for cross-entropy and of 0.841 for logit
adjustment.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from PIL import Image
from scipy import stats

from geoseg.active.heads import HeadSettings, train_heads
from geoseg.chips import Chip
from geoseg.data.slumps.windows import cut_windows, read_slump_images
from geoseg.models import CLASSIFICATION_LOSSES, adjust_logits, classification_loss
from geoseg.sensors import find_sensor
from geoseg.training import class_aware_weights, retrain_classifier, square_root_weights
from geoseg.training.forest import statistics_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

RATIO, CLASSES = 100, 10
CHOSEN, PLAIN = "logit_adjusted", "cross_entropy"
WAYS = (
    *CLASSIFICATION_LOSSES,
    "adjusted afterwards",
    "class-aware sampling",
    "square-root sampling",
    "last layer taught anew",
)
TEST_WINDOWS = 1500  # without a slump


class LongTail(NamedTuple):
    """Samples to learn from, and others."""

    x: NDArray[np.float32]
    y: NDArray[np.intp]
    test_x: NDArray[np.float32]
    test_y: NDArray[np.intp]


class Gain(NamedTuple):
    """Over cross-entropy, with its 95 % interval."""

    mean: float
    low: float
    high: float


def balanced_accuracy(said: NDArray[np.intp], truth: NDArray[np.intp]) -> float:
    """Mean recall of the classes."""
    return float(np.mean([np.mean(said[truth == k] == k) for k in np.unique(truth)]))


def gain_of(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> Gain:
    """Paired over seeds."""
    gains = ours - theirs
    half = stats.t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / np.sqrt(len(gains))
    return Gain(float(gains.mean()), float(gains.mean() - half), float(gains.mean() + half))


def tail_counts(most: int) -> NDArray[np.intp]:
    """Samples of each class, from `most` down to a hundredth."""
    return np.round(most * RATIO ** (-np.arange(CLASSES) / (CLASSES - 1))).astype(np.intp)


def simulated(seeds: Sequence[int]) -> Iterator[LongTail]:
    """Normal classes of one covariance; their middles differ from seed to seed."""
    for seed in seeds:
        rng = np.random.default_rng([seed, 1])
        middles = rng.standard_normal((CLASSES, 16)) * 0.6
        parts = []
        for counts in (tail_counts(1000), np.full(CLASSES, 1000)):
            y = np.repeat(np.arange(CLASSES), counts)
            parts += [(middles[y] + rng.standard_normal((len(y), 16))).astype(np.float32), y]
        nearest = ((parts[2][:, None] - middles) ** 2).sum(-1).argmin(1)
        print(f"seed {seed}: Bayes' rule has {balanced_accuracy(nearest, parts[3]):.3f}")
        yield LongTail(*parts)


def eurosat(folder: Path, seeds: Sequence[int]) -> Iterator[LongTail]:
    """Land covers, of which another one is rare for each seed."""
    x = np.stack([statistics_of_file(path) for path in sorted(folder.glob("*/*.jpg"))])
    each = len(x) // CLASSES
    of_class = np.arange(len(x)).reshape(CLASSES, each)
    for seed in seeds:
        rng = np.random.default_rng([seed, 2])
        shuffled = rng.permuted(of_class[rng.permutation(CLASSES)], axis=1)
        rows = [own[:count] for own, count in zip(shuffled, tail_counts(100), strict=True)]
        learned, test = np.concatenate(rows), shuffled[:, 100:].ravel()
        yield LongTail(x[learned], learned // each, x[test], test // each)


def slumps(folder: Path, seeds: Sequence[int]) -> Iterator[LongTail]:
    """Windows with a slump or without."""
    windows = cut_windows(read_slump_images(folder))
    rng = np.random.default_rng(3)
    parts: list[NDArray[np.float32]] = []
    for fold, most in (("train", 30 * RATIO), ("test", TEST_WINDOWS)):
        own = windows.part(fold)
        drawn = rng.choice(np.flatnonzero(~own.present), most, replace=False)
        for numbers in (drawn, np.flatnonzero(own.present)):
            parts.append(np.stack([statistics_of(own[int(n)].images[0]) for n in numbers]))
    absent, present, test_absent, test_present = parts
    test = np.concatenate([test_absent, test_present])
    test_y = np.repeat([0, 1], [len(test_absent), len(test_present)])
    for seed in seeds:
        rare = np.random.default_rng([seed, 3]).choice(len(present), 30, replace=False)
        x = np.concatenate([absent, present[rare]])
        yield LongTail(x, np.repeat([0, 1], [len(absent), len(rare)]), test, test_y)


def scores_of(data: LongTail, seed: int) -> dict[str, float]:
    """Balanced accuracy by the ways of WAYS."""
    counts = np.bincount(data.y)
    targets = np.eye(len(counts))[data.y]
    found = {}
    for loss in CLASSIFICATION_LOSSES:
        heads = train_heads(data.x, targets, HeadSettings(loss=loss), seed)
        chances = heads.probabilities(data.test_x)
        found[loss] = chances.argmax(1)
        if loss == PLAIN:
            logits = torch.from_numpy(chances).clamp(min=1e-30).log()
            found["adjusted afterwards"] = adjust_logits(logits, counts).argmax(1).numpy()
            layer = retrain_classifier(
                torch.from_numpy(heads.features(data.x)),
                torch.from_numpy(data.y),
                generator=torch.Generator().manual_seed(seed),
            )
            features = torch.from_numpy(heads.features(data.test_x))
            found["last layer taught anew"] = layer(features).argmax(1).numpy()
    for name, weigh in (
        ("class-aware sampling", class_aware_weights),
        ("square-root sampling", square_root_weights),
    ):
        settings = HeadSettings(loss=PLAIN)
        heads = train_heads(data.x, targets, settings, seed, weights=weigh(data.y))
        found[name] = heads.probabilities(data.test_x).argmax(1)
    return {way: balanced_accuracy(found[way], data.test_y) for way in WAYS}


def closed_form() -> dict[str, float]:
    """Balanced accuracy of trained borders between N(0, 1) and N(2, 1), by their position."""
    rng = np.random.default_rng(0)
    counts = (200_000, 200_000 // RATIO)
    x = torch.from_numpy(rng.standard_normal(sum(counts)))
    y = torch.from_numpy(np.repeat([0, 1], counts))
    x = x + 2 * y
    return {loss: _at_border(*_line(x, y, counts, loss)) for loss in (PLAIN, CHOSEN)}


def measure(seeds: Sequence[int] = range(5)) -> dict[str, float]:
    """All figures; tables are printed on the way."""
    borders = closed_form()
    print("N(0, 1) against N(2, 1), 1:100, theory 0.548 and 0.841:", borders)
    figures = {f"closed_form_{loss}": round(value, 4) for loss, value in borders.items()}
    gains = []
    for name, draws in _sets(seeds):
        rows = [scores_of(data, seed) for seed, data in zip(seeds, draws, strict=True)]
        table = {way: np.array([row[way] for row in rows]) for way in WAYS}
        _print_table(name, table)
        gains.append(gain_of(table[CHOSEN], table[PLAIN]))
        figures |= {
            f"{name}_{PLAIN}": float(table[PLAIN].mean()),
            f"{name}_{CHOSEN}": float(table[CHOSEN].mean()),
            f"{name}_gain": gains[-1].mean,
            f"{name}_gain_ci_low": gains[-1].low,
        }
    least = min(gains)
    return figures | {"balanced_accuracy_gain": least.mean, "gain_ci_low": least.low}


def _sets(seeds: Sequence[int]) -> Iterator[tuple[str, Iterator[LongTail]]]:
    """Names and what is learned from, of the sets that are there."""
    yield "simulated", simulated(seeds)
    mirror = Path(os.environ.get("GEOSEG_DATA_MIRROR", ""))
    for name, folder, read in (
        ("eurosat", mirror / "eurosat_rgb_subset", eurosat),
        ("rts_chips", mirror / "rts_chips", slumps),
    ):
        if folder.is_dir():
            yield name, read(folder, seeds)
        else:
            print(f"{folder.name} is not there and left out")


def statistics_of_file(path: Path) -> NDArray[np.float32]:
    """Of a chip of red, green and blue, 8-bit."""
    sensor = find_sensor("sentinel-2")
    with Image.open(path) as image:
        colours = np.asarray(image.convert("RGB"), dtype=np.float32).transpose(2, 0, 1).copy()
    chip = Chip(
        image=torch.from_numpy(colours),
        valid=torch.ones(colours.shape[1:], dtype=torch.bool),
        label=torch.zeros(colours.shape[1:], dtype=torch.uint8),
        palette=torch.empty(3, 0),
        bands=tuple(sensor.band(name) for name in ("red", "green", "blue")),
        gsd_m=10.0,
        time=datetime(2018, 7, 1, tzinfo=UTC),  # none is stated
        sensor_id=sensor.id,
    )
    return statistics_of(chip)


def _line(
    x: torch.Tensor, y: torch.Tensor, counts: tuple[int, int], loss: str
) -> tuple[float, float]:
    """Slope and intercept of the log odds of the rare class that make a loss smallest."""
    line = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    loss_of = classification_loss(loss, counts)
    optimizer = torch.optim.LBFGS([line], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        odds = line[0] * x + line[1]
        value = loss_of(torch.stack([torch.zeros_like(odds), odds], dim=1), y)
        value.backward()
        return value

    optimizer.step(closure)
    slope, intercept = line.detach().tolist()
    return slope, intercept


def _at_border(slope: float, intercept: float) -> float:
    border = -intercept / slope
    return float(stats.norm.cdf(border) + stats.norm.sf(border - 2)) / 2


def _print_table(name: str, table: Mapping[str, NDArray[np.float64]]) -> None:
    print(f"\n{name}: balanced accuracy over {len(table[PLAIN])} seeds, and gain over {PLAIN}")
    for way, scores in table.items():
        told = f"  {way:24} {scores.mean():.3f}"
        if way != PLAIN:
            gain = gain_of(scores, table[PLAIN])
            told += f"   {gain.mean:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
        print(told, flush=True)


def main() -> None:
    """Measure, print tables, and with --json one object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    figures = {name: round(value, 4) for name, value in measure(range(options.seeds)).items()}
    if options.json:
        machine = f"{os.cpu_count()} cores {platform.machine()}, torch {torch.__version__}"
        print(json.dumps({"benchmark": "imbalance", "machine": machine, "figures": figures}))


if __name__ == "__main__":
    main()
