"""What choosing 1,000 of 10^6 embeddings takes, way by way: seconds and memory.

    python benchmarks/active_scale.py [--json] [--items 1000000] [--count 1000] [--only NAME ...]

Embeddings are 256 numbers in half precision on disk: 2,000 groups of normal spread. Probabilities
of four classes are drawn, most of them near certain. Each way runs in a process of its own, on as
many threads as OMP_NUM_THREADS says. Times are of the wall and of all cores (CPU): on a machine
that others load, wall time says little. Peak memory is that of the process (VmHWM); it begins
with what is imported (`nothing`), and pages of the file on disk that are in memory count too.

`core_set` and `badge` pass over all their candidates for each item they choose. They are meant for
10^5 at most, and are measured on so many, drawn evenly; `propose` gives them 10^4.
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
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from peak_memory import peak_bytes

from geoseg.active.acquire.clusters import cluster_margin, typiclust
from geoseg.active.acquire.diverse import badge, core_set
from geoseg.active.acquire.neighbours import index_pool, nearest
from geoseg.active.acquire.partition import k_means, nearest_centre
from geoseg.active.acquire.scores import bald, entropy, least_confidence, margin
from geoseg.active.acquire.similar import similarity
from geoseg.active.pool import PoolBatch, open_pool, write_pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from geoseg.active.pool import Pool

WIDTH, CLASSES, MEMBERS = 256, 4, 5
CANDIDATES = 100_000  # of the ways that pass over all of them again and again
POSITIVES = 100
GROUPS, PIECE = 2000, 50_000


class Task(NamedTuple):
    """What a way works on."""

    pool: Pool
    count: int
    rng: np.random.Generator

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """Of the classes (N, K)."""
        drawn = self.rng.gamma(0.1, size=(len(self.pool), CLASSES)).astype(np.float32) + 1e-6
        return drawn / drawn.sum(axis=1, keepdims=True)

    @property
    def candidates(self) -> NDArray[np.intp]:
        """Positions of some items, drawn evenly."""
        drawn = self.rng.choice(len(self.pool), min(CANDIDATES, len(self.pool)), replace=False)
        return np.sort(drawn)


def the_best(task: Task, score: Callable[[NDArray[np.float32]], NDArray[np.float64]]) -> None:
    """The items of the highest score."""
    np.argsort(-score(task.probabilities), kind="stable")[: task.count]


def by_bald(task: Task) -> None:
    """The same by what an ensemble disagrees by, piece by piece."""
    told = task.probabilities
    found = np.empty(len(told))
    for first in range(0, len(told), PIECE):
        part = slice(first, first + PIECE)
        found[part] = bald(np.stack([np.roll(told[part], n, axis=1) for n in range(MEMBERS)]))
    np.argsort(-found, kind="stable")[: task.count]


def by_similarity(task: Task) -> None:
    """The items nearest to known ones."""
    known = task.pool.embeddings(np.arange(POSITIVES))
    found = np.empty(len(task.pool))
    for part, embeddings in task.pool.pieces():
        found[part] = similarity(embeddings, known)
    np.argsort(-found, kind="stable")[: task.count]


def by_core_set(task: Task) -> None:
    """Of candidates."""
    embeddings = task.pool.embeddings(task.candidates)
    core_set(embeddings, embeddings[:POSITIVES], task.count)


def by_badge(task: Task) -> None:
    """Of candidates."""
    rows = task.candidates
    badge(task.pool.embeddings(rows), task.probabilities[rows], task.count, task.rng)


def by_k_means(task: Task) -> None:
    """Centres from a sample, and the nearest of each item."""
    nearest_centre(task.pool.stored, k_means(task.pool.stored, task.count, task.rng))


def by_index(task: Task) -> None:
    """An index, and ten neighbours of some items."""
    index = index_pool(task.pool, task.rng)
    index.nearest(task.pool.embeddings(np.arange(task.count)), 10, looked_into=16)


WAYS: dict[str, Callable[[Task], object]] = {
    "nothing": lambda _: None,
    "entropy": lambda task: the_best(task, entropy),
    "margin": lambda task: the_best(task, margin),
    "least_confidence": lambda task: the_best(task, least_confidence),
    "bald": by_bald,
    "similarity": by_similarity,
    "cluster_margin": lambda t: cluster_margin(t.pool.stored, t.probabilities, t.count),
    "typiclust": lambda t: typiclust(t.pool.stored, np.arange(POSITIVES), t.count, t.rng),
    "k_means": by_k_means,
    "nearest": lambda t: nearest(t.pool, t.pool.embeddings(np.arange(t.count)), 10),
    "index_pool": by_index,
    "core_set": by_core_set,
    "badge": by_badge,
}
OF_CANDIDATES = ("core_set", "badge")


def batches(items: int) -> Iterator[PoolBatch]:
    """Embeddings in groups, without a place."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(GROUPS, WIDTH)).astype(np.float32)
    for first in range(0, items, PIECE):
        count = min(PIECE, items - first)
        group = rng.integers(GROUPS, size=count)
        embeddings = centres[group] + rng.normal(size=(count, WIDTH)).astype(np.float32)
        nowhere = np.full(count, np.nan)
        yield PoolBatch([f"{first + n}" for n in range(count)], nowhere, nowhere, embeddings)


def measured(way: str, folder: Path, count: int) -> dict[str, float]:
    """Seconds and peak memory of a way, in a process of its own."""
    command = [sys.executable, __file__, "--one", way, "--pool", str(folder)]
    done = subprocess.run(
        [*command, "--count", str(count)], check=True, capture_output=True, text=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def run_one(way: str, folder: Path, count: int) -> None:
    """Run a way in this process and print what it took."""
    task = Task(open_pool(folder), count, np.random.default_rng(1))
    wall, cpu = time.perf_counter(), time.process_time()
    WAYS[way](task)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak_mb = round(peak_bytes() / 2**20)
    print(json.dumps({"s": round(wall, 2), "cpu_s": round(cpu, 2), "peak_mb": peak_mb}))


def main() -> None:
    """Measure, print a table, and with --json one object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--only", nargs="*", choices=WAYS, default=list(WAYS))
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--pool", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        run_one(options.one, options.pool, options.count)
        return
    figures = {}
    print(f"{options.count} of {options.items} embeddings of {WIDTH} numbers")
    print(f"  {'':18} {'of':>9} {'s':>8} {'CPU s':>8} {'peak MB':>8}")
    with tempfile.TemporaryDirectory() as folder:
        pool = Path(folder) / "pool"
        pool.mkdir()
        write_pool(pool, batches(options.items), width=WIDTH, source="benchmark")
        for way in options.only:
            found = measured(way, pool, options.count)
            items = min(CANDIDATES, options.items) if way in OF_CANDIDATES else options.items
            seconds = f"{found['s']:8.1f} {found['cpu_s']:8.1f}"
            print(f"  {way:18} {items:9} {seconds} {found['peak_mb']:8}", flush=True)
            figures |= {f"{way}_{name}": value for name, value in found.items()}
    if options.json:
        machine = f"{os.cpu_count()} cores {platform.machine()}, numpy {np.__version__}"
        print(json.dumps({"benchmark": "active_scale", "machine": machine, "figures": figures}))


if __name__ == "__main__":
    main()
