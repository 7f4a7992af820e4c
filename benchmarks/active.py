"""What active learning saves, and what it takes: labels, seconds, memory, clicks.

    python benchmarks/active.py [--json] [--seeds 20] [--others 3] [--only PART ...] [--out FOLDER]

Parts:

- imbalance: balanced accuracy that losses for rare classes gain (benchmarks/imbalance.py).
- needles: whole labellings of a simulated pool by the default strategy, 20 worlds. 10,000 items of
  64 numbers, 1 % of them positive, in four hidden kinds (40, 30, 20 and 10 % of them), each beside
  one of 30 background clusters, within its spread and half as wide: kinds are compact, as rare
  category detection takes them to be. 5 positives of one kind are known before;
  rounds of 100 labels. As many other items of the same world test. What random needs is exact:
  the mean of the negative hypergeometric distribution. Nothing was chosen by these worlds, which
  are of seeds from 1000 on.
- wide: 100,000 items, 1 in 1,000 of them positive, in kinds as wide as the background: nothing in
  how items lie tells where they are.
- strategies: all of them on some of the worlds of `needles`.
- real: windows of the set rts-chips at 1:100, by statistics of their colours and textures, and a
  long-tailed part of EuroSAT (1:20 between the commonest and the rarest of ten classes), with parts
  that test; 5 seeds deal what is kept.
- scale: a proposal of 1,000 from 10^6 items of 256 numbers, in a process of its own; peak memory is
  its resident set, pages of the mapped file included.
- clicks: answers lost when the page's server is killed (benchmarks/active_clicks.py).

Means over seeds with 95 % bootstrap intervals. Times are of the wall, with CPU seconds beside.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from imbalance import measure as losses_for_rare_classes
from imbalance import statistics_of_file
from peak_memory import peak_bytes

from geoseg.active.choose import STRATEGIES
from geoseg.active.heads import HeadSettings, train_heads
from geoseg.active.known import known_classes
from geoseg.active.loop import LabelledPool, LoopSettings, full_worth, run_loop
from geoseg.active.needles import NeedleSettings, needle_pool
from geoseg.active.pool import Pool, PoolBatch, open_pool, write_pool
from geoseg.active.propose import ProposeSettings, propose
from geoseg.active.simulate import Curves, curves_of, labels_by_chance, summarise
from geoseg.data import fetch
from geoseg.data.slumps import cut_windows, read_slump_images
from geoseg.errors import GeosegError
from geoseg.files import without_nan
from geoseg.training.forest import statistics_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from geoseg.active.loop import Worth

PARTS = ("imbalance", "needles", "wide", "strategies", "real", "scale", "clicks")
ITEMS, WIDTH, PROPOSED = 1_000_000, 256, 1000
NEEDLES, LOOP = NeedleSettings(), LoopSettings(rounds=15)
WIDE = NeedleSettings(items=100_000, prevalence=0.001, spread=1.0, offset=6.0)
WIDE_STRATEGIES = ("mixture", "likely", "random")
SLUMP_LOOP = LoopSettings(rounds=15, batch=50)
EUROSAT_LOOP = LoopSettings(rounds=10, batch=20)
_FIRST = 1000  # seed of simulated worlds
RATIO = 100  # windows without a slump for one with
EUROSAT_TESTS, EUROSAT_TAIL = 60, 20
REAL_SEEDS = 5
REAL_STRATEGIES = ("mixture", "likely", "margin", "random")


class Job(NamedTuple):
    """One labelling."""

    world: str
    strategy: str  # or full
    seed: int


def labellings(jobs: Sequence[Job]) -> Iterator[tuple[Job, list[Worth]]]:
    """All of them, one a core."""
    context = get_context("fork")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context, initializer=_one_thread) as pool:
        yield from zip(jobs, pool.map(run, jobs), strict=True)


def run(job: Job) -> list[Worth]:
    """One labelling, or what all labels are worth."""
    labelled, loop = _world(job.world, job.seed)
    if job.strategy == "full":
        return [full_worth(labelled, loop.heads, seed=job.seed)]
    return run_loop(labelled, job.strategy, loop, seed=job.seed)


def curves(world: str, strategies: Sequence[str], seeds: int) -> Curves:
    """What strategies find in a world."""
    jobs = [Job(world, name, seed) for seed in range(seeds) for name in ("full", *strategies)]
    found = dict(labellings(jobs))
    first = found[Job(world, strategies[0], 0)][0]
    full = [found[Job(world, "full", seed)][0] for seed in range(seeds)]
    return Curves(
        strategies={
            name: [found[Job(world, name, seed)] for seed in range(seeds)] for name in strategies
        },
        full=full,
        items=full[0].labels,
        positives=full[0].found,
        starts=first.found,
    )


def tell(title: str, found: Curves) -> None:
    """A table."""
    full = np.mean([one.average_precision for one in found.full])
    print(
        f"{title}: {found.positives} positives of {found.items} items, {len(found.full)} seeds; "
        f"AP of all labels {full:.3f}; chance finds 80 % in "
        f"{labels_by_chance(found.items, found.positives, found.starts):.0f} labels"
    )
    print(
        "  strategy           labels for 80 %  for full AP   found  worst     AP  bal.acc.  after"
    )
    for name, own in summarise(found).items():
        last = own.last
        print(
            f"  {name:18} {own.labels_for_80:15.0f} {own.labels_for_full_ap:12.0f} "
            f"{last.recall:7.3f} {last.worst_recall:6.3f} {last.average_precision:6.3f} "
            f"{last.balanced_accuracy:9.3f} {last.labels:6.0f}"
        )


def needles(seeds: int, out: Path | None) -> dict[str, float]:
    """The figures of the default strategy."""
    found = curves("needles", ["mixture"], seeds)
    tell("needles", found)
    table = curves_of(found)
    for labels in (305, 605, 1005, 1505):
        row = table[table["labels"] == labels].iloc[0]
        told = [
            f"{name} {row[name]:.3f} ({row[name + '_low']:.3f} to {row[name + '_high']:.3f})"
            for name in ("recall", "worst_recall", "average_precision")
        ]
        print(f"  after {labels}: {', '.join(told)}")
    if out is not None:
        _draw(out / "needles.png", found, "Simulated pool, 1 % positive")
    own = summarise(found)["mixture"]
    at = table[table["labels"] <= 0.15 * found.items].iloc[-1]
    return {
        "label_share_for_80": round(own.labels_for_80_share, 4),
        "label_share_full_ap": round(own.labels_for_full_ap_share, 4),
        "recall_at_15": round(float(at["recall"]), 4),
        "worst_recall_at_15": round(float(at["worst_recall"]), 4),
    }


def wide(seeds: int, out: Path | None) -> dict[str, float]:
    """Rarer positives, that lie no closer to each other than others do."""
    found = curves("wide", WIDE_STRATEGIES, seeds)
    tell("wide", found)
    if out is not None:
        _draw(out / "wide.png", found, "Simulated pool, 0.1 % positive, wide kinds")
    told = summarise(found)["mixture"]
    return {
        "wide_recall": round(told.last.recall, 4),
        "wide_worst": round(told.last.worst_recall, 4),
    }


def strategies(seeds: int, out: Path | None) -> dict[str, float]:
    """A table of all."""
    found = curves("needles", STRATEGIES, seeds)
    tell("all strategies", found)
    if out is not None:
        _draw(out / "strategies.png", found, "Simulated pool, 1 % positive")
    return {}


def real(out: Path | None) -> dict[str, float]:
    """Real pools; a set that cannot be had is left out with a word."""
    figures = {}
    for world in ("rts_chips", "eurosat"):
        try:
            _world(world, 0)  # before processes are forked, which then share what it read
            found = curves(world, REAL_STRATEGIES, REAL_SEEDS)
        except GeosegError as error:
            print(f"{world} is left out: {error}")
            continue
        tell(world, found)
        if out is not None:
            _draw(out / f"{world}.png", found, world)
        for name, own in summarise(found).items():
            figures[f"{world}_{name}_recall"] = round(own.last.recall, 4)
            figures[f"{world}_{name}_ap"] = round(own.last.average_precision, 4)
    return figures


def scale() -> dict[str, float]:
    """A large proposal, in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        _write_large(Path(name))
        command = [sys.executable, __file__, "--propose", name]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(f"a proposal of {PROPOSED} from {ITEMS} x {WIDTH}: {told}")
    return told


def propose_once(folder: Path) -> dict[str, float]:
    """What one proposal takes: seconds, and megabytes at the most."""
    pool = open_pool(folder)
    rng = np.random.default_rng(1)
    rows = np.sort(rng.choice(len(pool), 2000, replace=False))
    classes = (np.arange(2000) < 200).astype(np.intp)
    known = known_classes(rows, classes, 2)
    heads = train_heads(pool.embeddings(rows), known.targets, HeadSettings(), 0)
    wall, cpu = time.perf_counter(), time.process_time()
    drawn = propose(pool, known, heads, ProposeSettings(count=PROPOSED, apart_m=500.0))
    assert len(drawn) == PROPOSED
    return {
        "propose_s_1e6": round(time.perf_counter() - wall, 1),
        "propose_cpu_s_1e6": round(time.process_time() - cpu, 1),
        "propose_peak_mb": round(peak_bytes() / 2**20, 1),
    }


def clicks() -> dict[str, float]:
    """Of benchmarks/active_clicks.py, which needs a browser."""
    try:
        from active_clicks import measure
    except ImportError as error:
        print(f"clicks are left out: {error}")
        return {}
    return dict(measure(clicks=200, kills=20))


@cache
def _world(name: str, seed: int) -> tuple[LabelledPool, LoopSettings]:
    if name == "needles":
        return needle_pool(NEEDLES, seed=_FIRST + seed), LOOP
    if name == "wide":
        return needle_pool(WIDE, seed=_FIRST + seed), LOOP
    if name == "rts_chips":
        return _slumps(seed), SLUMP_LOOP
    return _eurosat(seed), EUROSAT_LOOP


def _slumps(seed: int) -> LabelledPool:
    """Windows at 1:100 in the pool and among those that test; no ground is in both."""
    table = _slump_table()
    rng = np.random.default_rng([seed, 5])
    parts = []
    for own in (table["fold"] == 0, table["fold"] > 0):
        absent = np.flatnonzero(own & ~table["present"])
        present = rng.permutation(np.flatnonzero(own & table["present"]))
        parts.append(np.concatenate([absent, present[: len(absent) // RATIO]]))
    return _labelled(table["x"], table["present"].astype(np.intp), table["kind"], *parts)


@cache
def _slump_table() -> dict[str, np.ndarray]:
    """Statistics of all windows, which take a minute."""
    windows = cut_windows(read_slump_images(fetch("rts-chips")), seed=0)
    regions = np.array([image.region == "yg" for image in windows.images], dtype=np.intp)
    values = np.stack([statistics_of(windows[n].images[0]) for n in range(len(windows))])
    kinds = np.where(windows.present, regions[windows.image], -1)
    return {"x": values, "present": windows.present, "fold": windows.fold, "kind": kinds}


def _eurosat(seed: int) -> LabelledPool:
    """Ten classes, of falling number in the pool; 60 of each test."""
    x, classes = _eurosat_table()
    rng = np.random.default_rng([seed, 6])
    pool, tests = [], []
    for rank, k in enumerate(rng.permutation(10)):
        rows = rng.permutation(np.flatnonzero(classes == k))
        left = len(rows) - EUROSAT_TESTS
        tests.append(rows[:EUROSAT_TESTS])
        count = round(left * EUROSAT_TAIL ** (-rank / 9))
        pool.append(rows[EUROSAT_TESTS : EUROSAT_TESTS + count])
    return _labelled(x, classes, classes, np.concatenate(pool), np.concatenate(tests))


@cache
def _eurosat_table() -> tuple[np.ndarray, np.ndarray]:
    folder = Path(os.environ.get("GEOSEG_DATA_MIRROR", ".")) / "eurosat_rgb_subset"
    files = sorted(folder.glob("*/*.jpg"))
    if not files:
        raise GeosegError(f"{folder} holds no images; name their mirror by GEOSEG_DATA_MIRROR.")
    names = sorted({file.parent.name for file in files})
    classes = np.array([names.index(file.parent.name) for file in files])
    return np.stack([statistics_of_file(file) for file in files]), classes


def _labelled(
    x: np.ndarray, classes: np.ndarray, kinds: np.ndarray, pool: np.ndarray, tests: np.ndarray
) -> LabelledPool:
    nowhere = np.full(len(pool), np.nan)
    return LabelledPool(
        pool=Pool(
            items=pa.chunked_array([pa.array([f"item-{n}" for n in pool])]),
            lon=nowhere,
            lat=nowhere,
            stored=x[pool].astype(np.float16),
            digest="",
            source="",
        ),
        classes=classes[pool],
        kinds=kinds[pool],
        tested=x[tests],
        tested_classes=classes[tests],
        names=tuple(f"c{k}" for k in range(int(classes.max()) + 1)),
    )


def _write_large(folder: Path) -> None:
    """Items of 1,000 groups, on a grid of places."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((1000, WIDTH), dtype=np.float32)

    def batches() -> Iterator[PoolBatch]:
        for first in range(0, ITEMS, 50_000):
            rows = np.arange(first, first + 50_000)
            noise = rng.standard_normal((len(rows), WIDTH), dtype=np.float32)
            yield PoolBatch(
                [f"chip-{n:08d}" for n in rows],
                (rows % 1000) * 0.01,
                60 + (rows // 1000) * 0.005,
                centres[rng.integers(0, 1000, len(rows))] + noise,
            )

    write_pool(folder, batches(), count=ITEMS, width=WIDTH, source="random numbers")


def _draw(path: Path, found: Curves, title: str) -> None:
    from geoseg.report.active_curves import draw_curves
    from geoseg.report.drawing import png_of

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png_of(draw_curves(found, title)))


def _one_thread() -> None:
    torch.set_num_threads(1)


def main() -> None:
    """Measure, print tables, and with --json one object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--others", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--out", type=Path, help="draw curves into this folder")
    parser.add_argument("--propose", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.propose is not None:
        print(json.dumps(propose_once(options.propose)))
        return
    parts = {
        "imbalance": losses_for_rare_classes,
        "needles": lambda: needles(options.seeds, options.out),
        "wide": lambda: wide(options.others, options.out),
        "strategies": lambda: strategies(options.others, options.out),
        "real": lambda: real(options.out),
        "scale": scale,
        "clicks": clicks,
    }
    figures: dict[str, float] = {}
    for name in options.only:
        begun = time.perf_counter()
        figures |= parts[name]()
        print(f"({name}: {time.perf_counter() - begun:.0f} s)", flush=True)
    if options.json:
        machine = f"{os.cpu_count()} cores {platform.machine()}, torch {torch.__version__}"
        told = {"benchmark": "active", "machine": machine, "figures": without_nan(figures)}
        print(json.dumps(told))


if __name__ == "__main__":
    main()
