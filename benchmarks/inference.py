"""Mapping of a scene beside the bare network, a plain loop and other tools.

    benchmarks/peers/setup.sh                      # once: the other tools, each on its own
    python benchmarks/inference.py [--json] [--full]

Scenes are deflated, tiled GeoTIFFs of four uint16 bands; every tool ends with a class GeoTIFF. Each
measurement is a process of its own and counts from the end of its imports. Tools take turns;
figures are medians of three rounds.

1. A Unet (resnet18) over 8192 x 8192 px on all cores. share_of_forward: seconds that the network
   alone takes for the pixels it was shown, measured before and after on tiles of the same shape in
   memory, over seconds of the whole mapping. forward_px_ratio: pixels shown to the network for each
   pixel of the scene.
2. What a pipeline costs: a 1x1 convolution over 4096 x 4096 px, OMP_NUM_THREADS=1, so that waiting
   threads do not count as work. pipeline_mpx_per_cpu_s: of geoseg, by user and system seconds of
   all its threads and child processes. vs_fastest_peer: over that of the fastest other tool. The
   network of the others standardises by its weights; geoseg standardises the bands itself.
3. peak_mb_16384, peak_mb_65536: memory for scenes of 2048 px by these heights, tiles of 512 px.

--full measures five rounds, and the bare network for twice as many tiles as the mapping takes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import rasterio

HERE = Path(__file__).parent / "peers"
ROUNDS, FULL_ROUNDS = 3, 5
CORE_PX, HALO_PX = 1024, 32
UNET_PX, PIPELINE_PX = 8192, 4096
MEMORY_WIDTH_PX, MEMORY_HEIGHTS_PX, MEMORY_CORE_PX = 2048, (16_384, 65_536), 512
BARE_TILES, FULL_BARE_TILES = 16, 64  # before, and again after each mapping of 64
PEERS = ("torchgeo", "ftw", "geoai", "rastervision")
# Some tools leave the edge of the scene blank.
EDGE_PX = 64
CLASSES = "classes.tif"  # in a folder for each tool

Report = dict[str, float]


def run(script: str, *arguments: object, python: str = sys.executable, threads: int = 1) -> Report:
    """What a program of peers/ reports of itself in its last line."""
    command = [python, str(HERE / script), *map(str, arguments)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)},
    )
    if done.returncode:
        raise SystemExit(f"{script} failed:\n{done.stderr[-2000:]}")
    report: Report = json.loads(done.stdout.splitlines()[-1])
    return report


def map_with(
    script: str,
    scene: Path,
    folder: Path,
    *how: object,
    python: str = sys.executable,
    threads: int = 1,
) -> Report:
    """What a tool reports that maps a scene into a folder of its own, emptied before."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    report = run(script, scene, folder / CLASSES, *how, python=python, threads=threads)
    with rasterio.open(scene) as raster:
        if report["network_px"] < raster.height * raster.width:
            raise SystemExit(f"{script} did not show all of {scene} to the network")
    return report


def median(reports: list[Report], key: str) -> float:
    """Of one thing in all rounds."""
    return statistics.median(report[key] for report in reports)


def measure_unet(folder: Path, *, full: bool) -> dict[str, float]:
    """Part 1."""
    threads = os.cpu_count() or 1
    scene = folder / "unet.tif"
    run("scenes.py", scene, UNET_PX, UNET_PX)
    scene_px = UNET_PX**2
    print(f"Unet resnet18, {UNET_PX} x {UNET_PX} px, {threads} threads")
    print(f"  {'wall s':>8} {'CPU s':>8} {'Mpx/s':>7} {'bare Mpx/s':>10} {'share':>6}")
    reports = []
    rounds, bare = (FULL_ROUNDS, FULL_BARE_TILES) if full else (ROUNDS, BARE_TILES)
    how = ["--unet", "--core", CORE_PX, "--halo", HALO_PX, "--bare", bare]
    for _ in range(rounds):
        report = map_with("run_geoseg.py", scene, folder / "unet", *how, threads=threads)
        report["share"] = report["bare_s_for_all"] / report["wall_s"]
        reports.append(report)
        print(
            f"  {report['wall_s']:8.1f} {report['cpu_s']:8.1f} "
            f"{scene_px / report['wall_s'] / 1e6:7.3f} "
            f"{report['network_px'] / report['bare_s_for_all'] / 1e6:10.3f} "
            f"{report['share']:6.3f}",
            flush=True,
        )
    return {
        "share_of_forward": round(median(reports, "share"), 3),
        "forward_px_ratio": round(median(reports, "network_px") / scene_px, 3),
    }


class Pipelines:
    """Part 2: all tools on one scene."""

    def __init__(self, folder: Path) -> None:
        self._scene = folder / "pipeline.tif"
        self._folder = folder
        run("scenes.py", self._scene, PIPELINE_PX, PIPELINE_PX)
        self.reports: dict[str, list[Report]] = {}
        self.peers = [name for name in PEERS if _python_of(name).exists()]

    def measure(self, rounds: int) -> None:
        """All rounds, the tools in turn."""
        for _ in range(rounds):
            self._measure_ours()
            for name in self.peers:
                self._map(name, f"run_{name}.py", python=str(_python_of(name)))

    def mpx_per_cpu_s(self, name: str) -> float:
        """Of the scene."""
        return PIPELINE_PX**2 / 1e6 / median(self.reports[name], "cpu_s")

    def show(self) -> None:
        """Print a line for each tool."""
        title = f"1x1 convolution, {PIPELINE_PX} x {PIPELINE_PX} px, OMP_NUM_THREADS=1"
        print(f"{title}\n  {'':22} {'Mpx/CPU s':>9} {'wall s':>7} {'peak MB':>8} ", end="")
        print(f"{'network px':>10} {'as geoseg':>10}")
        for name, reports in self.reports.items():
            print(
                f"  {name:22} {self.mpx_per_cpu_s(name):9.2f} {median(reports, 'wall_s'):7.2f} "
                f"{median(reports, 'peak_mb'):8.0f} {self._network_px(reports):>10} "
                f"{self._agreement(name):>10}"
            )
        for name in sorted({*PEERS} - {*self.peers}):
            print(f"  {name:22} left out: benchmarks/peers/setup.sh {name} installs it")
        if self.peers:
            fastest = max(self.peers, key=self.mpx_per_cpu_s)
            print(f"  fastest peer: {fastest}; limits and the plain loop are no peers")

    def figures(self) -> dict[str, float]:
        """Of geoseg, beside the fastest peer where there is one."""
        ours = self.mpx_per_cpu_s("geoseg")
        figures = {"pipeline_mpx_per_cpu_s": round(ours, 2)}
        if self.peers:
            figures["vs_fastest_peer"] = round(ours / max(map(self.mpx_per_cpu_s, self.peers)), 2)
        return figures

    def _measure_ours(self) -> None:
        for limit, report in run("run_limits.py", PIPELINE_PX**2).items():
            self._add(f"limit: {limit}", report)
        how = ["--core", CORE_PX, "--halo", HALO_PX]
        self._map("geoseg", "run_geoseg.py", *how)
        # The core and halo of the tiles of 512 px with 64 px of overlap that the others have.
        self._map("geoseg, tiles of 512", "run_geoseg.py", "--core", 448, "--halo", 32)
        self._map("plain loop", "run_naive.py")

    def _map(self, name: str, script: str, *how: object, python: str = sys.executable) -> None:
        folder = self._target(name).parent
        self._add(name, map_with(script, self._scene, folder, *how, python=python))

    def _add(self, name: str, report: Report) -> None:
        self.reports.setdefault(name, []).append(report)

    def _target(self, name: str) -> Path:
        return self._folder / name.replace(" ", "_") / CLASSES

    def _network_px(self, reports: list[Report]) -> str:
        shown = reports[0].get("network_px")
        return f"{shown / PIPELINE_PX**2:.2f}" if shown else ""

    def _agreement(self, name: str) -> str:
        """Share of pixels within the scene that have the class that geoseg gives them."""
        if not self._target(name).exists():
            return ""
        inside = slice(EDGE_PX, -EDGE_PX)
        maps = []
        for path in (self._target("geoseg"), self._target(name)):
            with rasterio.open(path) as raster:
                maps.append(raster.read(1)[inside, inside])
        return f"{np.mean(maps[0] == maps[1]):.6f}"


def measure_memory(folder: Path) -> dict[str, float]:
    """Part 3."""
    figures = {}
    print(f"memory, scenes of {MEMORY_WIDTH_PX} px, tiles of {MEMORY_CORE_PX} px")
    for height in MEMORY_HEIGHTS_PX:
        scene = folder / f"tall_{height}.tif"
        run("scenes.py", scene, height, MEMORY_WIDTH_PX, "--repetitive")
        how = ["--core", MEMORY_CORE_PX, "--halo", HALO_PX]
        report = map_with("run_geoseg.py", scene, folder / "tall", *how)
        figures[f"peak_mb_{height}"] = round(report["peak_mb"], 1)
        print(f"  {height:6} px high {report['peak_mb']:7.0f} MB {report['wall_s']:7.1f} s")
        scene.unlink()
    return figures


def _python_of(peer: str) -> Path:
    return HERE / f".venv-{peer}" / "bin" / "python"


def main() -> None:
    """Measure, print three tables, and with --json one object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--full", action="store_true", help="measure more, for longer")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pipelines = Pipelines(folder)
        pipelines.measure(FULL_ROUNDS if options.full else ROUNDS)
        pipelines.show()
        figures = measure_memory(folder)
        figures |= measure_unet(folder, full=options.full) | pipelines.figures()
    for key, value in figures.items():
        print(f"{key:24} {value}")
    if options.json:
        machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
        print(json.dumps({"benchmark": "inference", "machine": machine, "figures": figures}))


if __name__ == "__main__":
    main()
