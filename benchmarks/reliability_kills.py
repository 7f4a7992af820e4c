"""Kills, and runs that meet in one folder, for benchmarks/reliability.py."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from multiprocessing import get_context
from typing import TYPE_CHECKING

import numpy as np
import torch
from command_line import geoseg_here
from inventory.small_inventory import small_inventory
from kill_resume import Trial
from reliability_row import Ground, Hazard, Row, files_below, require, require_answered
from reliability_scenes import SMALL, write_noise
from scale_ddp import LEFT, sources_of, survives, unbroken, write_scenes

from geoseg.config import InferenceSettings, Recipe
from geoseg.files import sha256_of
from geoseg.inventory import write_inventory
from geoseg.inventory.storage.files import read_inventory
from geoseg.models import load_checkpoint, read_tensors
from geoseg.training import gather, new_segmenter, train

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Barrier
    from pathlib import Path

    from geoseg.inventory import Inventory

FORK = get_context("fork")
WRITTEN = re.compile(r"'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z'")
MAP_KILLS, GEOPACKAGE_KILLS, CHECKPOINT_KILLS, RANK_KILLS = 50, 50, 20, 5
ROUNDS, AT_ONCE = 5, 4
HELD = "is held by pid", "was just written by another run"
RECIPE = Recipe(
    data="simulated-scene",
    chips={"size_px": 32},
    model={"encoder": "test_resnet"},
    training={"steps": 10, "batch": 4, "validate_every": 1, "warmup_steps": 2},
)


def kill_after(seconds: float, work: Callable[..., None], *given: object) -> int | None:
    """Exit code of work in a process of its own that is killed after so many seconds."""
    begun = FORK.Event()
    process = FORK.Process(target=_begin, args=(begun, work, given))
    process.start()
    begun.wait()
    process.join(seconds)
    process.kill()
    process.join()
    return process.exitcode


def _begin(begun: object, work: Callable[..., None], given: tuple[object, ...]) -> None:
    begun.set()  # type: ignore[attr-defined]
    work(*given)


def while_mapping(row: Row, ground: Ground) -> None:
    """As benchmarks/kill_resume.py does, with a smaller scene."""
    settings = InferenceSettings(
        tile_px=64, halo_px=16, uncertainty="entropy", prevalence_reach_m=3000
    )
    trial = Trial(ground.folder, height_px=384, width_px=256, settings=settings)
    trial.kill_often(MAP_KILLS, np.random.default_rng(0), lambda: None)
    row.tried = row.kills = trial.kills
    row.faults += trial.wrong
    row.kills_lost = trial.kills - trial.identical


def while_writing_inventories(row: Row, ground: Ground) -> None:
    """One of two surveys becomes one of three: the old file or the new one is there."""
    path, rng = ground.folder / "a.gpkg", np.random.default_rng(0)
    new = small_inventory()
    old = _without(new, str(new.surveys["survey"].iloc[-1]))
    known = {}
    for name, inventory in (("new", new), ("old", old)):
        since = time.perf_counter()
        _write(path, inventory)
        known[name], whole_s = _tables_below(ground.folder), time.perf_counter() - since
    steps = (np.arange(2 * GEOPACKAGE_KILLS) + rng.random(2 * GEOPACKAGE_KILLS)) / 50 % 1
    for step in steps:
        _write(path, old)
        if kill_after(step * whole_s, _write, path, new) != -signal.SIGKILL:
            continue
        with row.trying(f"killed after {step:.2f} of {whole_s:.2f} s", kill=True):
            _require_one_of(known, path)
            _write(path, new)
            require(_tables_below(ground.folder) == known["new"], "a rerun ends in other tables")
        if row.kills == GEOPACKAGE_KILLS:
            return
    require(False, f"only {row.kills} of {GEOPACKAGE_KILLS} kills hit a process at work")


def _require_one_of(known: dict[str, dict[str, str]], path: Path) -> None:
    """The GeoPackage is one of two, and each table of its twin too."""
    found = _tables_below(path.parent)
    require(path.name in found, "there is no GeoPackage any more")
    for name, digest in found.items():
        digests = {of.get(name) for of in known.values()}
        require(digest in digests, f"{name} is neither the old nor the new one")
    read_inventory(path)


def _tables_below(folder: Path) -> dict[str, str]:
    """SHA-256 of files; of a GeoPackage that of its SQL, without the times when it was written."""
    found = files_below(folder)
    for path in folder.glob("*.gpkg"):
        with closing(sqlite3.connect(path)) as database:
            text = "\n".join(database.iterdump())
        found[path.name] = hashlib.sha256(WRITTEN.sub("", text).encode()).hexdigest()
    return found


def _without(inventory: Inventory, survey: str) -> Inventory:
    """The same as if a survey had not been made."""
    kept = {
        name: table[table["survey"] != survey] if "survey" in table else table
        for name, table in inventory.tables()
    }
    return replace(inventory, **kept)


def _write(path: Path, inventory: Inventory) -> None:
    write_inventory(path, inventory, styles={}, project=None)


def while_saving_checkpoints(row: Row, ground: Ground) -> None:
    """A training that saves its network and its state after every step."""
    write_scenes(ground.folder)
    since = time.perf_counter()
    train_in(ground.folder, ground.folder / "whole")
    whole_s = time.perf_counter() - since
    wanted = _left_in(ground.folder / "whole")
    rng, killed = np.random.default_rng(0), ground.folder / "killed0"
    for number in range(3 * CHECKPOINT_KILLS):
        seconds = rng.uniform(0, 0.8) * whole_s
        code = kill_after(seconds, train_in, ground.folder, killed)
        if code != -signal.SIGKILL:
            killed = ground.folder / f"killed{number + 1}"
            continue
        with row.trying(f"killed after {seconds:.2f} s", kill=True):
            for path in killed.glob("*.safetensors"):
                read_tensors(path)
            if (killed / "model.safetensors").exists():
                load_checkpoint(killed / "model.safetensors")
            if row.kills % 2 == 0:  # the others are killed again on the way
                train_in(ground.folder, killed)
                require(_left_in(killed) == wanted, "it ends in other bytes")
                killed = ground.folder / f"killed{number + 1}"
        if row.kills == CHECKPOINT_KILLS:
            return
    require(False, f"only {row.kills} of {CHECKPOINT_KILLS} kills hit a process at work")


def _left_in(folder: Path) -> list[str]:
    return [sha256_of(folder / name) for name in LEFT]


def train_in(scenes: Path, out: Path) -> None:
    """A training that goes on from what it finds."""
    material = gather(sources_of(scenes)[:1], (), RECIPE)
    train(
        new_segmenter(material.spec, RECIPE),
        material.chips,
        RECIPE,
        folder=out,
        device=torch.device("cpu"),
        record={"training_hash": "t", "data_hash": "d"},
        on_step=lambda _: None,
    )


def of_ranks(row: Row, ground: Ground) -> None:
    """One of two ranks, as benchmarks/scale_ddp.py does."""
    write_scenes(ground.folder)
    whole = unbroken(ground.folder)
    for number in range(RANK_KILLS):
        with row.trying(f"pair {number}"):
            hit, same = survives(ground.folder, number, whole)
            require(hit, "it ended before a rank was killed")
            row.kills += 1
            row.kills_lost += not same
            require(same, "it does not end in the weights of a pair that was left alone")


def runs_at_once(row: Row, ground: Ground) -> None:
    """Four runs of one command, begun together: one writes."""
    scene = write_noise(ground.folder / "a.tif", (400, 500))
    ask = ("predict", "--model", ground.model, "--scene", scene, *SMALL)
    alone = ground.folder / "alone"
    # In processes of their own: threads of this one would not live on in them.
    [(_, code, told)] = _run_together(1, *ask, "--out", alone)
    require(code == 0, told)
    wanted = files_below(alone)
    for number in range(ROUNDS):
        out = ground.folder / f"round{number}"
        ended = _run_together(AT_ONCE, *ask, "--out", out)
        for pid, code, told in ended:
            with row.trying(f"round {number}, pid {pid}"):
                require(code in {0, 1}, f"exit code {code}: {told}")
                require(code == 0 or any(words in told for words in HELD), told)
                require_answered(told)
        with row.trying(f"round {number}, what is left"):
            require(0 in [code for _, code, _ in ended], "none of them wrote")
            require(files_below(out) == wanted, "other files than those of a run alone")


def _run_together(count: int, *arguments: object) -> list[tuple[int, int, str]]:
    """For each of some processes that run one command, its pid, exit code and stderr."""
    together = FORK.Barrier(count)
    ends = [FORK.Pipe(duplex=False) for _ in range(count)]
    runs = [FORK.Process(target=_run, args=(sends, together, arguments)) for _, sends in ends]
    for run in runs:
        run.start()
    found = [receives.recv() for receives, _ in ends]
    for run in runs:
        run.join()
    return found


def _run(told: Connection, together: Barrier, arguments: tuple[object, ...]) -> None:
    together.wait(60)
    done = geoseg_here(*arguments)
    told.send((os.getpid(), done.returncode, done.stderr))


KILLS = (
    Hazard("kill -9 while a scene is mapped", while_mapping),
    Hazard("kill -9 of a rank of a training", of_ranks),
    Hazard("kill -9 while checkpoints are saved", while_saving_checkpoints),
    Hazard("kill -9 while a survey is added to a GeoPackage", while_writing_inventories),
    Hazard("four runs at once on one output", runs_at_once),
)
