"""Bits that flip and disks that are full, for benchmarks/reliability.py."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import reliability_lent  # noqa: F401  before all others

# isort: split
import numpy as np
import torch
from command_line import geoseg_here
from reliability_kills import train_in
from reliability_row import Ground, Hazard, Row, files_below, require, require_ended
from reliability_scenes import SMALL, write_archive, write_noise
from scale_ddp import write_scenes

OUTPUT_FLIPS, CHECKPOINT_FLIPS, FULL_DISKS = 30, 10, 20
ROOM = "256m"
# File systems that nobody else sees, and that go with the process.
OF_ITS_OWN = ("unshare", "-m"), ("unshare", "-rm")


def bit_rot(row: Row, ground: Ground) -> None:
    """One bit of an output or of a checkpoint: `geoseg verify` finds it."""
    rng = np.random.default_rng(0)
    catalog = write_archive(ground.folder, [f"s{number}" for number in range(5)])
    maps = ground.folder / "maps"
    ask = ("predict", "--model", ground.model, "--scenes", catalog, "--out", maps, *SMALL)
    require_ended(geoseg_here(*ask), 0)
    outputs = [path for path in sorted(maps.rglob("*")) if path.suffix == ".tif"]
    for number in rng.integers(len(outputs), size=OUTPUT_FLIPS):
        _flip(row, maps, outputs[number], rng)
    write_scenes(ground.folder)
    train_in(ground.folder, ground.folder / "network")
    for _ in range(CHECKPOINT_FLIPS):
        _flip(row, ground.folder / "network", ground.folder / "network" / "model.safetensors", rng)


def _flip(row: Row, folder: Path, path: Path, rng: np.random.Generator) -> None:
    """Flip a bit, verify, and flip it back."""
    whole = path.read_bytes()
    rotten = bytearray(whole)
    place = int(rng.integers(len(whole)))
    rotten[place] ^= 1 << int(rng.integers(8))
    with row.trying(f"byte {place} of {path.relative_to(folder)}"):
        require_ended(geoseg_here("verify", folder), 0)
        path.write_bytes(rotten)
        try:
            named = path.name if path.suffix == ".safetensors" else path.parent.name
            require_ended(geoseg_here("verify", folder), 1, named)
        finally:
            path.write_bytes(whole)


def full_disk(row: Row, ground: Ground) -> None:
    """Small file systems in memory, each with less room than a run takes."""
    own = next((one for one in OF_ITS_OWN if _can_mount(one)), None)
    if own is None:
        row.not_run = "not run: no tmpfs could be mounted"
        return
    command = [*own, sys.executable, __file__, str(ground.folder), str(ground.model)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    require(done.returncode == 0, done.stderr[-500:])
    found = json.loads(done.stdout.splitlines()[-1])
    row.tried, row.faults = found["tried"], found["faults"]


def _can_mount(own: tuple[str, ...]) -> bool:
    if shutil.which(own[0]) is None or (own[1] == "-m" and os.geteuid() != 0):
        return False
    command = [*own, "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def fill_disks(row: Row, folder: Path, model: Path) -> None:
    """Map a scene, and an archive, where room ends after so many bytes."""
    scene = write_noise(folder / "a.tif", (300, 400))
    catalog = write_archive(folder, ["s0", "s1"])
    asked = {
        "scene": ("predict", "--model", model, "--scene", scene, *SMALL),
        "archive": ("predict", "--model", model, "--scenes", catalog, *SMALL),
    }
    disk = folder / "disk"
    disk.mkdir()
    for name, ask in asked.items():
        _mount(disk, ROOM)
        require_ended(geoseg_here(*ask, "--out", disk / "maps"), 0)
        wanted = files_below(disk / "maps")
        taken = shutil.disk_usage(disk).used
        _unmount(disk)
        for room in np.linspace(4096, taken - 4096, FULL_DISKS // 2).astype(int) // 4096 * 4096:
            _mount(disk, str(room))
            with row.trying(f"{name}, {room} of {taken} bytes"):
                _fill(disk, ask, wanted)
            _unmount(disk)


def _fill(disk: Path, ask: tuple[object, ...], wanted: dict[str, str]) -> None:
    done = geoseg_here(*ask, "--out", disk / "maps")
    require_ended(done, 1, str(disk / "maps"), "free space there and run again")
    left = [path.name for path in disk.rglob("*.part")]
    require(not left, f"temporary files are left: {left}")
    found = files_below(disk / "maps") if (disk / "maps").exists() else {}
    wrong = [name for name, digest in found.items() if wanted.get(name) != digest]
    require(not wrong, f"{wrong} are not whole under their final names")
    _do("mount", "-o", f"remount,size={ROOM}", str(disk))
    require_ended(geoseg_here(*ask, "--out", disk / "maps"), 0)
    require(files_below(disk / "maps") == wanted, "a rerun with room ends in other bytes")
    left = [path.name for path in disk.rglob(".*")]
    require(not left, f"a rerun leaves {left}")


def _mount(disk: Path, room: str) -> None:
    _do("mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", str(disk))


def _unmount(disk: Path) -> None:
    _do("umount", "--lazy", str(disk))


def _do(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def main() -> None:
    """Fill disks, and print what came of it as JSON."""
    torch.set_num_threads(1)
    row = Row("full disks")
    fill_disks(row, Path(sys.argv[1]), Path(sys.argv[2]))
    print(json.dumps({"tried": row.tried, "faults": row.faults}))


DISK = (
    Hazard("a disk that is full", full_disk),
    Hazard("bit rot of maps and checkpoints", bit_rot),
)

if __name__ == "__main__":
    main()
