"""What the units of benchmarks/scale.py do; workers import it."""

from __future__ import annotations

import hashlib
import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from geoseg.files import write_text, writing
from geoseg.scale import Unit, inputs_hash

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Task:
    """A unit."""

    number: int
    output: Path
    rounds: int = 0  # of compression
    waits_s: float = 0.0  # for a disk that is far away


def units(folder: Path, count: int, *, rounds: int = 0, waits_s: float = 0.0) -> Iterator[Unit]:
    """Units that write a file each."""
    for number in range(count):
        name = f"unit={number:06d}"
        output = folder / f"part={number // 500:03d}" / f"{name}.txt"
        task = Task(number, output, rounds, waits_s)
        yield Unit(name, task, output, inputs_hash(number))


def read_and_compress(task: Task) -> int:
    """Wait for a read, compress noise, and write what came of it."""
    time.sleep(task.waits_s)
    noise = np.random.default_rng(task.number).integers(0, 64, 250_000, dtype=np.uint8).tobytes()
    digest = hashlib.sha256()
    for level in range(task.rounds):
        digest.update(zlib.compress(noise, 1 + level % 6))
    with writing(task.output) as aside:
        aside.write_text(f"{task.number} {digest.hexdigest()}\n", encoding="utf-8")
    return task.number


def write_number(task: Task) -> int:
    """Next to nothing."""
    write_text(task.output, f"{task.number}\n")
    return task.number


def write_nothing(number: int) -> int:
    """Nothing."""
    return number
