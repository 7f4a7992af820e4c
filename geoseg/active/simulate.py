"""Strategies compared: whole labellings of a pool of which all is known, many times each.

A strategy by a seed is a unit that is done once; what was done when a run is killed is not done
again. Three seeds do not put strategies in order; twenty do where they differ much.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from geoseg import __version__
from geoseg.active.choose import STRATEGIES
from geoseg.active.loop import LabelledPool, LoopSettings, Worth, full_worth, run_loop
from geoseg.active.pool import open_pool
from geoseg.active.truth import read_truth
from geoseg.errors import ConfigError, GeosegError, nearest
from geoseg.files import sha256_of, write_json, writing
from geoseg.metrics.resampling import percentile_interval
from geoseg.scale import Ended, Engine, Manifest, Unit, inputs_hash, run_units

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from geoseg.metrics.resampling import Interval

__all__ = [
    "MEASURES",
    "Curves",
    "Simulation",
    "Summary",
    "curves_of",
    "labels_by_chance",
    "simulate",
    "summarise",
    "write_curves",
]

MEASURES = ("recall", "worst_recall", "average_precision", "balanced_accuracy")
_FULL = "full"  # the unit of a seed that learns from all labels
_DRAWS = 2000
_NEAR = 0.02  # of the average precision of all labels
_SHARE = 0.8  # of the positives


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """What is compared."""

    pool: Path  # folder
    truth: Path  # CSV of `geoseg.active.truth.read_truth`
    strategies: tuple[str, ...] = ("random", "mixture")
    seeds: int = 20
    loop: LoopSettings = field(default_factory=LoopSettings)

    def __post_init__(self) -> None:
        for name in self.strategies:
            if name not in STRATEGIES:
                raise ConfigError(f"There is no strategy {name!r}. {nearest(name, STRATEGIES)}")
        if not self.strategies or len(set(self.strategies)) < len(self.strategies):
            raise ConfigError("Name one or more strategies, each once, as random,mixture.")
        if self.seeds < 1:
            raise ConfigError(f"{self.seeds} seeds are none; give 1 or more, 20 to tell much.")


class Curves(NamedTuple):
    """What strategies found: worths of each seed and round."""

    strategies: Mapping[str, Sequence[Sequence[Worth]]]  # by name: seeds of rounds
    full: Sequence[Worth]  # of all labels, by seed
    items: int  # of the pool
    positives: int  # of these
    starts: int  # of these known before


class Summary(NamedTuple):
    """What a strategy needs; means over seeds."""

    labels_for_80: float  # until 80 % of positives have one; NaN where a seed never got there
    labels_for_80_share: float  # of the labels that chance needs, on the mean
    labels_for_full_ap: float  # until mean average precision is 0.02 below that of all labels; NaN
    # where it never is, or all labels are worth no more than chance
    labels_for_full_ap_share: float  # of the pool
    last: Worth  # means at the end


class _Task(NamedTuple):
    pool: Path
    truth: Path
    strategy: str
    seed: int
    loop: LoopSettings
    output: Path


def simulate(
    simulation: Simulation,
    out: Path,
    *,
    engine: Engine | None = None,
    on_done: Callable[[Ended], None] | None = None,
) -> Curves:
    """Run all labellings that are not done yet, and read what all found.

    Args:
        simulation: what is compared.
        out: folder for the figures of each labelling, as JSON.
        engine: who does the work; this process when None.
        on_done: called as each ends.

    Raises:
        LabelError, DataError: pool and truth do not go together.
        GeosegError: a labelling failed.
    """
    labelled = _labelled(simulation.pool, simulation.truth)
    units = _units(simulation, out, labelled)
    with Manifest(out) as manifest:
        summary = run_units(
            _work, units, engine=engine or Engine(), manifest=manifest, on_done=on_done
        )
    if summary.failed:
        first = summary.failed[0]
        raise GeosegError(f"The labelling {first.name} failed: {first.error}")
    found = {unit.name: _read(unit.output) for unit in units}
    seeds = range(simulation.seeds)
    before = found[_name(simulation.strategies[0], 0)][0]
    return Curves(
        strategies={
            name: [found[_name(name, seed)] for seed in seeds] for name in simulation.strategies
        },
        full=[found[_name(_FULL, seed)][0] for seed in seeds],
        items=len(labelled.pool),
        positives=found[_name(_FULL, 0)][0].found,
        starts=before.found,
    )


def curves_of(curves: Curves) -> pd.DataFrame:
    """Means over seeds by strategy and number of labels, with 95 % bootstrap intervals.

    Columns strategy, labels, seeds, and of each measure its name, NAME_low and NAME_high.
    """
    rows = []
    for strategy, seeds in curves.strategies.items():
        for worths in zip(*seeds, strict=True):
            row: dict[str, Any] = {
                "strategy": strategy,
                "labels": float(np.mean([one.labels for one in worths])),
                "seeds": len(worths),
            }
            for measure in MEASURES:
                mean = _mean([getattr(one, measure) for one in worths])
                row |= {measure: mean.value, f"{measure}_low": mean.low}
                row[f"{measure}_high"] = mean.high
            rows.append(row)
    return pd.DataFrame(rows)


def write_curves(path: Path, curves: Curves) -> None:
    """Write `curves_of` as CSV.

    Raises:
        OutputError: it cannot be written.
    """
    with writing(path) as aside:
        curves_of(curves).to_csv(aside, index=False, float_format="%.6g")


def summarise(curves: Curves) -> dict[str, Summary]:
    """What each strategy needs, by name."""
    full = float(np.mean([one.average_precision for one in curves.full]))
    # Where all labels are worth no more than chance, none are soon worth as much as all.
    tells = full - curves.positives / curves.items > _NEAR
    chance = labels_by_chance(curves.items, curves.positives, curves.starts)
    found = {}
    for name, seeds in curves.strategies.items():
        labels = np.mean([[one.labels for one in own] for own in seeds], axis=0)
        precision = np.mean([[one.average_precision for one in own] for own in seeds], axis=0)
        near = np.flatnonzero(precision >= full - _NEAR) if tells else np.empty(0, dtype=np.intp)
        enough = float(labels[near[0]]) if len(near) else math.nan
        mean_80 = float(np.mean([_labels_for(own, _SHARE) for own in seeds]))
        found[name] = Summary(
            labels_for_80=mean_80,
            labels_for_80_share=mean_80 / chance,
            labels_for_full_ap=enough,
            labels_for_full_ap_share=enough / curves.items,
            last=Worth(*np.mean([own[-1] for own in seeds], axis=0).tolist()),
        )
    return found


def labels_by_chance(
    items: int, positives: int, starts: int = 0, *, share: float = _SHARE
) -> float:
    """How many labels it takes, on the mean, to find a share of positives by drawing at random.

    The mean of the negative hypergeometric distribution: the r-th of P positives among N items
    comes at r (N + 1) / (P + 1).

    Args:
        items: of the pool.
        positives: of these.
        starts: of these known before, which count as labels.
        share: of all positives that is to be known.
    """
    wanted = max(math.ceil(share * positives - 1e-9) - starts, 0)
    return starts + wanted * (items - starts + 1) / (positives - starts + 1)


def _labels_for(worths: Sequence[Worth], share: float) -> float:
    """Labels at which a share of positives is found, on a line between rounds; NaN if never."""
    recall = np.array([one.recall for one in worths])
    labels = np.array([one.labels for one in worths], dtype=float)
    there = np.flatnonzero(recall >= share - 1e-9)
    if not len(there):
        return math.nan
    at = int(there[0])
    if at == 0:
        return float(labels[0])
    part = (share - recall[at - 1]) / (recall[at] - recall[at - 1])
    return float(labels[at - 1] + part * (labels[at] - labels[at - 1]))


def _mean(values: Sequence[float]) -> Interval:
    drawn = np.array(values)[
        np.random.default_rng(0).integers(0, len(values), (_DRAWS, len(values)))
    ].mean(axis=1)
    none = np.full(_DRAWS, np.nan)  # one seed tells no interval
    return percentile_interval(float(np.mean(values)), drawn if len(values) > 1 else none)


def _units(simulation: Simulation, out: Path, labelled: LabelledPool) -> list[Unit]:
    """A unit for each strategy and seed; seeds first, so that a part of a run compares too."""
    about = {
        "pool": labelled.pool.digest,
        "truth": sha256_of(simulation.truth),
        "loop": asdict(simulation.loop),
        "geoseg": __version__,
    }
    units = []
    for seed in range(simulation.seeds):
        for strategy in (_FULL, *simulation.strategies):
            name = _name(strategy, seed)
            output = out / "loops" / f"{name}.json"
            task = _Task(simulation.pool, simulation.truth, strategy, seed, simulation.loop, output)
            units.append(Unit(name, task, output, inputs_hash({**about, "name": name})))
    return units


def _work(task: _Task) -> dict[str, Any]:
    labelled = _labelled(task.pool, task.truth)
    if task.strategy == _FULL:
        worths = [full_worth(labelled, task.loop.heads, seed=task.seed)]
    else:
        worths = run_loop(labelled, task.strategy, task.loop, seed=task.seed)
    write_json(task.output, [one._asdict() for one in worths])
    return {"labels": worths[-1].labels, "recall": worths[-1].recall}


@cache
def _labelled(pool: Path, truth: Path) -> LabelledPool:
    return read_truth(truth, open_pool(pool))


def _read(path: Path) -> list[Worth]:
    return [Worth(**row) for row in json.loads(path.read_bytes())]


def _name(strategy: str, seed: int) -> str:
    return f"{strategy}-{seed:03d}"
