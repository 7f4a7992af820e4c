"""Prediction over packs of chips: what it costs beside the network, its memory, and when killed.

Functions for benchmarks/presence.py. By hand:

    python benchmarks/presence_scale.py [--json] [--full] [--only share|share_png|kills|memory]

Chips are simulated: smooth texture with noise, which PNG takes to about three quarters.

share_of_forward: seconds of the bare network, on batches that lie ready, for one second of
predicting a pack of the same chips (reading, decoding and writing included), in one process on all
cores. Both are measured in turn on 2000 chips at a time; the median of the ratios is told, of wall
and of CPU time: on a machine that others load, wall time says little. Chips are .npy, as those that
are cut are stored; share_png is of PNG, whose decoding takes a tenth of what the network does.
kills: workers of a run of two processes, and every fifth time the run itself, are killed (SIGKILL)
at random moments; it is run again to its end and compared with an unbroken run.
memory_growth: peak memory (VmHWM) of the run and its worker together, on 10^6 chips against 10^4.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from peak_memory import peak_bytes
from PIL import Image
from scipy.ndimage import gaussian_filter

from geoseg.files import sha256_of
from geoseg.models import FixedInput
from geoseg.models.classifier import (
    ClassifierSpec,
    build_classifier,
    load_classifier,
    save_classifier,
)
from geoseg.presence.packs import ImageKind, Shard, read_shard
from geoseg.presence.packs.pack import Pack, write_pack
from geoseg.presence.packs.pixels import npy_bytes
from geoseg.presence.packs.stored import StoredImage, StoredPlace
from geoseg.presence.packs.tars import TarWriter
from geoseg.presence.predict import Prediction, predict_pack
from geoseg.presence.results import results_table
from geoseg.presence.scoring import batches_of
from geoseg.scale import Engine

if TYPE_CHECKING:
    from collections.abc import Callable

DAY = datetime(2020, 7, 1, tzinfo=UTC)
BATCH = 128
DISTINCT = 500  # images, of which many more chips are made
PREDICT = """
import sys
from pathlib import Path
from geoseg.presence.predict import Prediction, predict_pack
from geoseg.scale import Engine
pack, model, out, workers = sys.argv[1:]
job = Prediction(pack=Path(pack), model=Path(model), out=Path(out), device="cpu")
if __name__ == "__main__":
    predict_pack(job, Engine(kind="processes", workers=int(workers)))
"""


@dataclass(frozen=True, kw_only=True)
class ShareOfForward:
    """What reading, decoding, calibrating and writing leave of the speed of a network."""

    chips: int
    suffix: str
    share: float  # of wall time, median over rounds
    share_cpu: float  # of CPU time of all threads, likewise
    forward_chips_per_s: float
    predict_chips_per_s: float


@dataclass(frozen=True, kw_only=True)
class Kills:
    """What is left of runs that were killed."""

    kills: int  # of workers and runs together
    runs_killed: int
    places: int  # that should be there, in all trials
    lost: int
    duplicated: int
    shards: int
    shards_identical: int  # to the byte, with those of an unbroken run
    exit_codes: tuple[int, ...]  # of the last run of each trial; 0 is done


@dataclass(frozen=True, kw_only=True)
class MemoryGrowth:
    """Peak memory of few chips and of many."""

    few: int
    many: int
    few_mb: float
    many_mb: float
    growth: float  # many over few, less 1
    many_s: float


def texture(side: int, bands: int, count: int) -> np.ndarray:
    """Smooth ground with noise (N, H, W, C), uint8."""
    rng = np.random.default_rng(0)
    smooth = gaussian_filter(rng.standard_normal((count, side, side, bands)), (0, 2, 2, 0)) * 400
    noisy = smooth + 120 + rng.normal(0, 6, smooth.shape)
    return noisy.clip(1, 255).astype(np.uint8)


def stored_as(suffix: str, pixels: np.ndarray) -> list[bytes]:
    """Images as the bytes of files."""
    if suffix == "npy":
        return [npy_bytes(np.moveaxis(image, -1, 0)) for image in pixels]
    files = []
    for image in pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        files.append(file.getvalue())
    return files


def make_pack(
    folder: Path, chips: int, *, side: int, bands: tuple[str, ...], per_shard: int, suffix: str
) -> Pack:
    """A pack of so many chips; ids differ, pixels repeat."""
    kind = ImageKind(sensor_id="sentinel-2", bands=bands, gsd_m=10.0)
    pixels = texture(side, len(bands), DISTINCT)
    files = stored_as(suffix, pixels)
    palette = pixels.reshape(-1, len(bands)).T[:, :512].astype(np.float32)
    folder.mkdir(parents=True)
    shards = []
    for first in range(0, chips, per_shard):
        path = folder / f"{first // per_shard:06d}.tar"
        writer = TarWriter(path)
        ids = range(first, min(first + per_shard, chips))
        for number in ids:
            content = files[(number * 7919) % DISTINCT]
            image = StoredImage(pixels=content, suffix=suffix, kind=kind, time=DAY)
            writer.add(
                StoredPlace(id=f"c{number:08d}", lon=10, lat=60, present=None, images=(image,))
            )
        writer.close()
        size, sha256 = path.stat().st_size, sha256_of(path)
        shards.append(Shard(path=path, places=len(ids), images=len(ids), bytes=size, sha256=sha256))
    return write_pack(folder, {kind: palette}, shards, source="benchmark")


def make_model(path: Path, encoder: str, side: int, bands: tuple[str, ...]) -> Path:
    """A classifier with fresh weights."""
    torch.manual_seed(0)
    count = len(bands)
    spec = ClassifierSpec(
        encoder=encoder,
        input=FixedInput(bands=bands, mean=(120.0,) * count, std=(50.0,) * count),
        target="simulated",
        size_px=side,
        output_stride=32,
    )
    save_classifier(path, build_classifier(spec), {})
    return path


@dataclass
class _Clock:
    """Wall and CPU seconds of this process since it began."""

    wall: float
    cpu: float

    @classmethod
    def begin(cls) -> _Clock:
        return cls(time.perf_counter(), time.process_time())

    def end(self) -> _Clock:
        return _Clock(time.perf_counter() - self.wall, time.process_time() - self.cpu)


def share_of_forward(
    chips: int = 20_000, *, suffix: str = "npy", per_round: int = 2_000
) -> ShareOfForward:
    """Seconds of the bare network for one of prediction: resnet18 on 64 x 64 px of 4 bands.

    Args:
        chips: in all rounds together.
        suffix: npy, as chips that are cut are stored, or png, as those that come so.
        per_round: chips of a round.
    """
    bands = ("red", "green", "blue", "nir")
    bare: list[_Clock] = []
    whole: list[_Clock] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = make_model(folder / "model.safetensors", "resnet18", 64, bands)
        for turn in range(-1, max(1, chips // per_round)):
            count = per_round if turn >= 0 else BATCH  # the first warms up
            pack = make_pack(
                folder / "pack", count, side=64, bands=bands, per_shard=2_000, suffix=suffix
            )
            ways = [lambda p=pack: _forward(p, model), lambda p=pack: _predict(p, model)]
            order = (0, 1) if turn % 2 else (1, 0)
            taken = {way: ways[way]() for way in order}
            shutil.rmtree(folder / "pack")
            if turn >= 0:
                bare.append(taken[0])
                whole.append(taken[1])
    pairs = list(zip(bare, whole, strict=True))
    return ShareOfForward(
        chips=per_round * len(pairs),
        suffix=suffix,
        share=statistics.median(one.wall / other.wall for one, other in pairs),
        share_cpu=statistics.median(one.cpu / other.cpu for one, other in pairs),
        forward_chips_per_s=per_round / statistics.median(clock.wall for clock in bare),
        predict_chips_per_s=per_round / statistics.median(clock.wall for clock in whole),
    )


def _forward(pack: Pack, model: Path) -> _Clock:
    """The network on the batches that prediction gives it, which lie ready."""
    classifier = load_classifier(model).classifier
    ready = [
        batch
        for shard in pack.shards
        for batch in batches_of(enumerate(read_shard(shard, pack)), BATCH)
    ]
    clock = _Clock.begin()
    with torch.inference_mode():
        for _, _, batch in ready:
            classifier([b.view() for b in batch.batches], batch.owners, batch.size)
    return clock.end()


def _predict(pack: Pack, model: Path) -> _Clock:
    """All of it, from shards to results."""
    with tempfile.TemporaryDirectory() as name:
        job = Prediction(pack=pack.folder, model=model, out=Path(name) / "out", device="cpu")
        clock = _Clock.begin()
        predict_pack(job, Engine())
        return clock.end()


def kills(wanted: int = 20, *, shards: int = 300, per_shard: int = 40) -> Kills:
    """Kill workers and runs at random moments; then run to the end and compare."""
    rng = random.Random(0)
    trials: list[tuple[Counter[str], int, int]] = []
    hits = runs = 0
    codes = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bands = ("red",)
        model = make_model(folder / "model.safetensors", "test_resnet", 32, bands)
        pack = make_pack(
            folder / "pack",
            shards * per_shard,
            side=32,
            bands=bands,
            per_shard=per_shard,
            suffix="png",
        )
        _start(pack, model, folder / "whole", 2).wait()
        while hits < wanted:
            out = folder / f"killed{len(trials)}"
            run = _start(pack, model, out, 2)
            while hits < wanted and _wait_for_work(run, out, rng):
                hits += 1
                if hits % 5 == 0:
                    runs += 1
                    run.kill()
                    run.wait()
                    run = _start(pack, model, out, 2)
                else:
                    _kill_one(rng.choice(_workers(run.pid) or [0]))
            codes.append(run.wait())
            names = results_table(out, ["chip_id"])["chip_id"].to_pylist()
            trials.append((Counter(names), *_identical(folder / "whole", out)))
        expected = {f"c{number:08d}" for number in range(shards * per_shard)}
    return Kills(
        kills=hits,
        runs_killed=runs,
        places=len(expected) * len(trials),
        lost=sum(len(expected - found.keys()) for found, _, _ in trials),
        duplicated=sum(found.total() - len(found) for found, _, _ in trials),
        shards=sum(count for _, _, count in trials),
        shards_identical=sum(same for _, same, _ in trials),
        exit_codes=tuple(codes),
    )


def _start(pack: Pack, model: Path, out: Path, workers: int) -> subprocess.Popen[bytes]:
    """A run of its own, as `geoseg presence predict --executor processes` does it."""
    # A file, for workers import the main module again.
    script = model.with_name("predict.py")
    script.write_text(PREDICT, encoding="utf-8")
    arguments = [str(pack.folder), str(model), str(out), str(workers)]
    # Workers that are told to stop while they stop say so; exit codes tell what counts.
    return subprocess.Popen([sys.executable, str(script), *arguments], stderr=subprocess.DEVNULL)


def _wait_for_work(run: subprocess.Popen[bytes], out: Path, rng: random.Random) -> bool:
    """Wait until a shard is done that was not, and some; whether the run is still at work."""
    before = _done(out)
    while _done(out) == before or not _workers(run.pid):
        if run.poll() is not None:
            return False
        time.sleep(0.01)
    time.sleep(rng.uniform(0, 0.3))
    return run.poll() is None and bool(_workers(run.pid))


def _done(out: Path) -> int:
    return sum(1 for _ in out.glob("shard=*/part.parquet"))


def _workers(pid: int) -> list[int]:
    """Processes that a process has begun, but for the one that tracks their resources."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [int(child) for child in children if b"spawn_main" in _command(int(child))]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _kill_one(pid: int) -> None:
    if pid:
        os.kill(pid, 9)


def _identical(whole: Path, out: Path) -> tuple[int, int]:
    """How many shards have the bytes of the unbroken run, of how many."""
    parts = sorted(whole.glob("shard=*/part.parquet"))
    same = 0
    for path in parts:
        other = out / path.relative_to(whole)
        same += other.is_file() and other.read_bytes() == path.read_bytes()
    return same, len(parts)


def memory_growth(few: int = 10_000, many: int = 1_000_000) -> MemoryGrowth:
    """Peak memory on chips of 8 x 8 px of one band: of the run and its one worker."""
    peaks = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = make_model(folder / "model.safetensors", "test_resnet", 8, ("red",))
        for chips in (few, many):
            pack = make_pack(
                folder / f"pack{chips}",
                chips,
                side=8,
                bands=("red",),
                per_shard=4_000,
                suffix="npy",
            )
            begun = time.perf_counter()
            peaks[chips] = _peak_mb(_start(pack, model, folder / f"out{chips}", 1))
            many_s = time.perf_counter() - begun
    return MemoryGrowth(
        few=few,
        many=many,
        few_mb=peaks[few],
        many_mb=peaks[many],
        growth=peaks[many] / peaks[few] - 1,
        many_s=many_s,
    )


def _peak_mb(run: subprocess.Popen[bytes]) -> float:
    """Highest resident memory of a run and of each of its processes, in 10^6 bytes, added up."""
    peaks: dict[int, float] = {}
    while run.poll() is None:
        for pid in (run.pid, *_workers(run.pid)):
            peaks[pid] = max(peaks.get(pid, 0.0), peak_bytes(pid) / 1e6)
        time.sleep(0.05)
    if run.returncode:
        raise SystemExit(f"the prediction ended with {run.returncode}")
    return sum(peaks.values())


def main() -> None:
    """Measure, print, and with --json one object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--full", action="store_true", help="share_of_forward on 200,000 chips")
    parser.add_argument("--only", choices=("share", "share_png", "kills", "memory"))
    options = parser.parse_args()
    measures: dict[str, Callable[[], object]] = {
        "share": lambda: share_of_forward(200_000 if options.full else 20_000),
        "share_png": lambda: share_of_forward(8_000, suffix="png"),
        "kills": kills,
        "memory": memory_growth,
    }
    figures: dict[str, object] = {}
    for name, measure in measures.items():
        if options.only in {None, name}:
            found = asdict(measure())  # type: ignore[call-overload]  # dataclasses all
            print(name, *(f"  {key:22} {value}" for key, value in found.items()), sep="\n")
            figures |= {f"{name}_{key}": value for key, value in found.items()}
    if options.json:
        machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
        print(json.dumps({"benchmark": "presence_scale", "machine": machine, "figures": figures}))


if __name__ == "__main__":
    main()
