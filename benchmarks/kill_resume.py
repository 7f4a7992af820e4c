"""Kill the mapping of a scene at random moments, run it again, compare what it leaves.

    python benchmarks/kill_resume.py [--json] [--kills 50]

A Unet maps a scene of 1920 x 1280 px into classes, probability and entropy, corrected for
prevalence, in eight rows of tiles, on one thread. Two runs are left alone. The others are killed
(SIGKILL) at moments spread evenly over the time that these took, and a tenth more in the 10 ms
after the class map appears, when a run tidies up; a third of them are killed twice. Then each is
run to the end. No file may bear its final name before it is whole, and all files must be those of
the unbroken runs, byte by byte. Only kills that hit a running process count. Runs are forked from a
process that has imported everything but computed nothing, so that no time goes into imports.

kills: how many hit; identical: after how many of them everything was as it must be.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent / "peers"))

import torch
from run_geoseg import scene_of, unet

from geoseg.config import InferenceSettings
from geoseg.files import sha256_of
from geoseg.inference import Prediction, predict_scene
from geoseg.models import Segmenter

PEERS = Path(__file__).parent / "peers"
HEIGHT_PX, WIDTH_PX = 1920, 1280
SETTINGS = InferenceSettings(
    tile_px=256, halo_px=32, blend="smooth", uncertainty="entropy", prevalence_reach_m=3000
)
KILLED_TWICE = 1 / 3
TIDYING = 0.1  # kills after the class map appears, of those before
TIDYING_S = 0.01
FORK = get_context("fork")


def prediction_in(folder: Path) -> Prediction:
    """All maps that there are."""
    return Prediction(
        classes=folder / "classes.tif",
        probability=folder / "probability.tif",
        uncertainty=folder / "entropy.tif",
    )


def map_scene(
    network: Segmenter,
    scene: Path,
    folder: Path,
    settings: InferenceSettings,
    begun: Callable[[], None],
) -> None:
    """Map it; `begun` is called when work begins."""
    begun()
    predict_scene(
        [network],
        scene_of(scene),
        settings,
        prediction=prediction_in(folder),
        device=torch.device("cpu"),
        tags={"recipe_hash": "abc"},
        on_tile=lambda *_: None,
    )


def files_of(folder: Path) -> dict[str, str]:
    """SHA-256 of all files with a name that is not hidden."""
    return {path.name: sha256_of(path) for path in folder.glob("[!.]*")}


class Trial:
    """Runs of one scene, one of them unbroken."""

    def __init__(
        self,
        folder: Path,
        *,
        height_px: int = HEIGHT_PX,
        width_px: int = WIDTH_PX,
        settings: InferenceSettings = SETTINGS,
    ) -> None:
        self._folder = folder / "killed"
        self._scene = folder / "scene.tif"
        self._settings = settings
        # In a process of its own, for threads of this one would not live on in the runs.
        size = (str(height_px), str(width_px))
        command = [sys.executable, str(PEERS / "scenes.py"), str(self._scene), *size]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        self._network = unet()
        self.whole_s, self._expected = self._unbroken(folder / "whole")
        # What else runs on the machine may slow one of them down.
        again_s, again = self._unbroken(folder / "again")
        self.whole_s = min(self.whole_s, again_s)
        if again != self._expected:
            raise SystemExit("two runs that nobody killed differ")
        self.kills = self.identical = self.missed = self.left_behind = 0
        self.wrong: list[str] = []  # for each kill after which something was
        self.finished_strips: list[int] = []

    def kill_often(self, kills: int, rng: np.random.Generator, on_kill: Callable[[], None]) -> None:
        """Kill runs until so many were hit, at moments spread evenly; `on_kill` after each."""
        steps = np.arange(kills) + rng.random(kills)
        moments = (steps / kills * (1 + TIDYING)).tolist()
        rng.shuffle(moments)
        while self.kills < kills:
            left = kills - self.kills
            count = 1 + int(left > 1 and rng.random() < KILLED_TWICE / (2 - KILLED_TWICE))
            self.kill([moments.pop() if moments else rng.random() for _ in range(count)])
            on_kill()

    def kill(self, moments: list[float]) -> None:
        """Kill runs after these shares of the time of a whole one, then run to the end."""
        self._folder.mkdir()
        hits, wrong = 0, []
        for moment in moments:
            exit_code = self._kill(moment)
            hits += exit_code == -signal.SIGKILL
            self.missed += exit_code == 0
            self.finished_strips.append(len(list(self._folder.glob(".*.unfinished/*.tif"))))
            if exit_code not in (0, -signal.SIGKILL):
                wrong.append(f"a run ended by itself with exit code {exit_code}")
            wrong += [f"{name} was not whole" for name in self._other_than_expected()]
        if exit_code := self._finish(self._folder):
            wrong.append(f"the last run ended with exit code {exit_code}")
        wrong += [f"{name} differs in the end" for name in self._other_than_expected()]
        wrong += [f"{name} is missing" for name in self._expected.keys() - files_of(self._folder)]
        self.kills += hits
        self.identical += 0 if wrong else hits
        self.left_behind += len(list(self._folder.glob(".*")))
        if wrong:
            told = f"killed after {moments} of {self.whole_s:.2f} s: {'; '.join(wrong)}"
            self.wrong += [told] * max(hits, 1)
            print(f"  {told}")
        shutil.rmtree(self._folder)

    def _other_than_expected(self) -> list[str]:
        """Files with a final name that are not those of the unbroken runs."""
        found = files_of(self._folder)
        return [name for name, digest in found.items() if self._expected.get(name) != digest]

    def _start(self, folder: Path) -> BaseProcess:
        """A process that has just begun to map the scene."""
        begun = FORK.Event()
        given = (self._network, self._scene, folder, self._settings, begun.set)
        process = FORK.Process(target=map_scene, args=given)
        process.start()
        begun.wait()
        return process

    def _unbroken(self, folder: Path) -> tuple[float, dict[str, str]]:
        """Seconds of a whole run and what it leaves."""
        since = time.perf_counter()
        if self._finish(folder):
            raise SystemExit("a run that nobody killed did not succeed")
        return time.perf_counter() - since, files_of(folder)

    def _finish(self, folder: Path) -> int | None:
        """Exit code of a run that is left alone."""
        process = self._start(folder)
        process.join()
        return process.exitcode

    def _kill(self, moment: float) -> int | None:
        """Exit code of a run that is killed after this share of the time of a whole one.

        From 1 on it is killed when the class map is there, and some milliseconds later.
        """
        process = self._start(self._folder)
        if moment < 1:
            process.join(moment * self.whole_s)
        else:
            classes = prediction_in(self._folder).classes
            while process.is_alive() and not classes.exists():
                time.sleep(TIDYING_S / 50)
            process.join((moment - 1) / TIDYING * TIDYING_S)
        process.kill()
        process.join()
        return process.exitcode


def main() -> None:
    """Kill, compare, and with --json print one object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--kills", type=int, default=50)
    options = parser.parse_args()
    torch.set_num_threads(1)  # no pool of threads that a fork would lose
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        trial = Trial(Path(name))
        print(f"an unbroken run takes {trial.whole_s:.1f} s", flush=True)
        trial.kill_often(
            options.kills,
            np.random.default_rng(0),
            lambda: print(
                f"  {trial.kills:3} kills, {trial.identical:3} identical, {trial.missed} too late, "
                f"{time.perf_counter() - begun:4.0f} s",
                flush=True,
            ),
        )
    strips = trial.finished_strips
    print(f"strips finished when killed: {min(strips)} to {max(strips)}, of each: ", end="")
    print(", ".join(f"{n}: {strips.count(n)}" for n in sorted(set(strips))))
    print(f"files left beside the maps at the end: {trial.left_behind}")
    figures = {"kills": trial.kills, "identical": trial.identical}
    for key, value in figures.items():
        print(f"{key:10} {value}")
    if options.json:
        machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
        print(json.dumps({"benchmark": "kill_resume", "machine": machine, "figures": figures}))


if __name__ == "__main__":
    main()
