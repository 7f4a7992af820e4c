"""Archives: what workers add, what handing out costs, what kills lose, what the driver holds.

    python benchmarks/scale.py [--json] [--only speed overhead kills memory ddp]

- speed: 96 units that wait 20 ms for a read and compress for 0.3 s, on one local Dask worker of one
  thread and on two, in turn, three times: median of the ratios of wall time, the start of the
  cluster not counted. `speedup_2`.
- overhead: 10,000 units that write a number, on two local Dask workers: wall time a unit, less the
  time that its work took on a worker, halved. `overhead_ms`. What is left is to hand it out, to
  fetch its end and to record it. `dask_ms`: tasks of plain Dask that do nothing, as many at once.
- kills: 400 units on `dask worker` processes of a `dask scheduler`. Workers are killed (SIGKILL) at
  30 random moments and replaced, the scheduler at 5, each time with its run, which is begun again.
  `identical` is 1 where all outputs are, to the byte, those of an unbroken run, each unit is done
  once for good, and no other file is left. `kills` counts those of both.
- memory: small scenes mapped by `geoseg predict` in one run: peak memory (VmHWM) of the driver for
  2,000 over that for 200. `driver_memory_growth`.
- ddp: of benchmarks/scale_ddp.py: `ddp_loss_diff`, `ddp_kills_ok`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import dask.config
import numpy as np
import rasterio
import torch
from distributed import Client, LocalCluster
from peak_memory import peak_bytes
from rasterio.transform import from_origin
from scale_units import read_and_compress, units, write_nothing, write_number

from geoseg.errors import GeosegError
from geoseg.files import sha256_of
from geoseg.scale import Engine, Manifest, run_units

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PARTS = ("speed", "overhead", "kills", "memory", "ddp")
HERE = Path(__file__).parent
DASK = str(Path(sys.executable).with_name("dask"))
_TWO_WORKERS = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
UNITS, KILLED_UNITS = 96, 400
WORKER_KILLS, SCHEDULER_KILLS = 30, 5
FEW, MANY = 200, 2000


def speed() -> dict[str, float]:
    """One worker against two."""
    ratios = []
    for turn in range(3):
        one, two = (_seconds(workers, UNITS, rounds=36, waits_s=0.02) for workers in (1, 2))
        ratios.append(one / two)
        print(f"  turn {turn + 1}: {one:.3f} s a unit by one worker, {two:.3f} by two", flush=True)
    return {"speedup_2": round(median(ratios), 3)}


def _seconds(workers: int, count: int, *, rounds: int, waits_s: float) -> float:
    """From the first unit that ends to the last, of units that take equally long."""
    ends: list[float] = []
    with tempfile.TemporaryDirectory() as name, Manifest(Path(name)) as manifest:
        run_units(
            read_and_compress,
            units(Path(name), count, rounds=rounds, waits_s=waits_s),
            engine=Engine(kind="dask", workers=workers),
            manifest=manifest,
            on_done=lambda _: ends.append(time.perf_counter()),
        )
    return (ends[-1] - ends[workers - 1]) / (count - workers)


def overhead() -> dict[str, float]:
    """What a unit costs beside its work."""
    count, took = 10_000, []
    with tempfile.TemporaryDirectory() as name, Manifest(Path(name)) as manifest:
        ends: list[float] = []

        def note(ended: object) -> None:
            ends.append(time.perf_counter())
            took.append(ended.seconds)  # type: ignore[attr-defined]

        engine = Engine(kind="dask", workers=2)
        made = units(Path(name), count)
        run_units(write_number, made, engine=engine, manifest=manifest, on_done=note)
        wall = ends[-1] - ends[0]
    each = 1000 * (wall - sum(took) / 2) / count
    print(f"  {count} units in {wall:.1f} s, of which {sum(took) / 2:.1f} s each worker's work")
    return {
        "overhead_ms": round(each, 3),
        "unit_ms": round(1000 * wall / count, 3),
        "dask_ms": round(_dask_ms(count), 3),
    }


def _dask_ms(count: int) -> float:
    """Wall time of a task of plain Dask that does nothing, given and fetched with all others."""
    settings = {"distributed.scheduler.worker-saturation": 1.0}  # as geoseg has it
    with (
        dask.config.set(settings),
        LocalCluster(**_TWO_WORKERS) as cluster,
        Client(cluster) as client,
    ):
        client.gather(client.map(write_nothing, range(100), pure=False))
        begun = time.perf_counter()
        client.gather(client.map(write_nothing, range(count), pure=False))
        return 1000 * (time.perf_counter() - begun) / count


def kills() -> dict[str, float]:
    """Workers and schedulers killed at random."""
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        whole, broken = Path(name) / "whole", Path(name) / "broken"
        _run(whole, Engine())
        killed = _run_killed(broken, rng)
        with Manifest(broken) as manifest:
            counts, damaged = manifest.counts(), manifest.verify()
        same = _files(whole) == _files(broken)
        print(f"  {killed}, {counts}, {len(damaged)} damaged, identical {same}")
        fine = same and counts == {"done": KILLED_UNITS, "failed": 0} and not damaged
    return {
        "kills": killed["workers"] + killed["schedulers"],
        "identical": float(fine),
        "runs": killed["runs"],
    }


def _run(folder: Path, engine: Engine, on_done: Callable[[object], None] | None = None) -> None:
    with Manifest(folder) as manifest:
        made = units(folder, KILLED_UNITS, rounds=9, waits_s=0.02)
        summary = run_units(
            read_and_compress, made, engine=engine, manifest=manifest, on_done=on_done
        )
    if summary.failed:
        raise GeosegError(f"{len(summary.failed)} units were set aside: {summary.failed[0]}")


def _files(folder: Path) -> dict[str, str]:
    """All files but the record of the run, with their checksums."""
    found = [p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("manifest.")]
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in found}


def _run_killed(folder: Path, rng: random.Random) -> dict[str, int]:
    """Runs until all is done, each on a scheduler of its own that all but the last lose."""
    killed = {"workers": 0, "schedulers": 0, "runs": 0}
    each = WORKER_KILLS // (SCHEDULER_KILLS + 1)
    for number in range(SCHEDULER_KILLS + 20):
        killed["runs"] += 1
        last = number >= SCHEDULER_KILLS
        with _Cluster() as cluster:
            stop = threading.Event()
            killer = threading.Thread(
                target=_kill_now_and_then,
                args=(cluster, rng, stop, killed),
                kwargs={
                    "workers": each if not last else WORKER_KILLS - killed["workers"],
                    "scheduler": not last,
                },
            )
            killer.start()
            try:
                _run(folder, Engine(kind="dask", address=cluster.address))
                done = True
            except GeosegError:
                done = False  # its scheduler was killed
            stop.set()
            killer.join()
        if done and last:
            return killed
    raise GeosegError("The runs did not come to an end.")


def _kill_now_and_then(
    cluster: _Cluster,
    rng: random.Random,
    stop: threading.Event,
    killed: dict[str, int],
    *,
    workers: int,
    scheduler: bool,
) -> None:
    """Kill workers, then the scheduler, at random moments."""
    for _ in range(workers):
        if stop.wait(rng.uniform(0.1, 0.9)):
            return
        cluster.kill_worker(rng.randrange(2))
        killed["workers"] += 1
    if scheduler and not stop.wait(rng.uniform(0.1, 0.5)):
        cluster.kill_scheduler()
        killed["schedulers"] += 1


class _Cluster:
    """A scheduler and two workers of one thread, as processes of their own."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{port}"
        self._environment = {**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}
        self._scheduler = self._start(
            "scheduler", "--host", "127.0.0.1", "--port", str(port), "--dashboard-address", ":0"
        )
        self._workers = [self._worker() for _ in range(2)]

    def __enter__(self) -> _Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        for process in (*self._workers, self._scheduler):
            process.kill()
            process.wait()

    def kill_worker(self, number: int) -> None:
        """One of two, which is replaced."""
        self._workers[number].kill()
        self._workers[number].wait()
        self._workers[number] = self._worker()

    def kill_scheduler(self) -> None:
        """For good."""
        self._scheduler.send_signal(signal.SIGKILL)

    def _worker(self) -> subprocess.Popen[bytes]:
        return self._start(
            "worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard",
            "--local-directory", tempfile.gettempdir(), "--death-timeout", "60",
        )  # fmt: skip

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [DASK, *arguments],
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def memory() -> dict[str, float]:
    """Of the driver of an archive."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_model(folder / "model.safetensors")
        peaks = {}
        for count in (FEW, MANY):
            catalog = _write_archive(folder / f"{count}", count)
            command = [sys.executable, __file__, "--map", str(catalog)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            peaks[count] = json.loads(done.stdout.splitlines()[-1])["mb"]
    print(f"  {FEW} scenes {peaks[FEW]:.0f} MB, {MANY} scenes {peaks[MANY]:.0f} MB")
    return {"driver_memory_growth": round(peaks[MANY] / peaks[FEW], 4), "driver_mb": peaks[MANY]}


def map_here(catalog: Path) -> None:
    """Map an archive by a worker process, and tell the peak memory of this one."""
    from geoseg.archive import Ends, find_scenes
    from geoseg.config import load_recipe
    from geoseg.mapping import Archive, figures_of, map_archive

    changes = [f"inference.{key}" for key in ("tile_px=64", "halo_px=16", "probability=false")]
    archive = Archive(
        models=(catalog.parent.parent / "model.safetensors",),
        scenes=find_scenes(None, catalog, {}),
        settings=load_recipe(None, changes=changes).inference,
        out=catalog.parent / "maps",
        device="cpu",
    )
    with Ends() as ends:
        map_archive(
            archive,
            Engine(kind="processes", workers=2),
            dry_run=False,
            on_end=lambda mapped: ends.add(mapped, figures_of(mapped)),
        )
        if ends.failed:
            raise GeosegError(next(one["error"] for one in ends if one["error"]))
    print(json.dumps({"mb": peak_bytes() / 2**20}))


def _write_model(path: Path) -> None:
    from geoseg.labels import GLACIER
    from geoseg.models import FixedInput, ModelSpec, build_segmenter, save_checkpoint

    torch.manual_seed(0)
    given = FixedInput(bands=("red", "nir08"), mean=(100.0, 100.0), std=(50.0, 50.0))
    spec = ModelSpec(
        architecture="unet",
        encoder="resnet18",
        input=given,
        scheme=GLACIER,
        prior=(0.5, 0.5),
    )
    save_checkpoint(path, build_segmenter(spec), {})


def _write_archive(folder: Path, count: int) -> Path:
    """A catalogue of scenes that share one small file."""
    from datetime import UTC, datetime

    from geoseg.scenes import Asset, Scene, scan_scene, write_catalog

    folder.mkdir()
    profile = {"driver": "GTiff", "dtype": "uint8", "width": 64, "height": 64, "count": 2}
    pixels = np.random.default_rng(0).integers(1, 255, (2, 64, 64), dtype=np.uint8)
    with rasterio.open(
        folder / "scene.tif", "w", crs="EPSG:32645", transform=from_origin(5e5, 3e6, 30, 30),
        **profile,
    ) as raster:  # fmt: skip
        raster.write(pixels)
    bands = {
        name: Asset(path=folder / "scene.tif", index=index)
        for index, name in enumerate(("red", "nir08"), start=1)
    }
    first = Scene(
        id="s",
        sensor_id="landsat-7",
        start=datetime(2000, 10, 30, tzinfo=UTC),
        end=datetime(2000, 10, 31, tzinfo=UTC),
        bands=bands,
    )
    entry = scan_scene(first)
    entries = [replace(entry, scene=replace(first, id=f"s{n:05d}")) for n in range(count)]
    write_catalog(entries, folder / "archive.parquet")
    return folder / "archive.parquet"


def ddp() -> dict[str, float]:
    """Of benchmarks/scale_ddp.py."""
    from scale_ddp import measure

    return dict(measure())


def measured(only: tuple[str, ...]) -> Iterator[dict[str, float]]:
    """Figures, part by part."""
    parts = {"speed": speed, "overhead": overhead, "kills": kills, "memory": memory, "ddp": ddp}
    for name in only:
        begun = time.perf_counter()
        print(f"{name}:", flush=True)
        figures = parts[name]()
        print(f"  {figures} ({time.perf_counter() - begun:.0f} s)", flush=True)
        yield figures


def main() -> None:
    """Measure, print, and with --json one object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--map", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.map is not None:
        map_here(options.map)
        return
    figures: dict[str, float] = {}
    for own in measured(tuple(options.only)):
        figures |= own
    if options.json:
        machine = f"{os.cpu_count()} cores {platform.machine()}, torch {torch.__version__}"
        print(json.dumps({"benchmark": "scale", "machine": machine, "figures": figures}))


if __name__ == "__main__":
    main()
