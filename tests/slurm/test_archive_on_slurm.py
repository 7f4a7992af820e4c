"""An archive is mapped by jobs of Slurm, one of which is cancelled, as one process maps it."""

import json
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from command_line import GEOSEG, geoseg
from conftest import scene_of, two_band_spec, write_raster
from slurm.slurm_here import jobs, kill, needs_slurm

from geoseg.models import build_segmenter, save_checkpoint
from geoseg.scale import read_state
from geoseg.scenes import scan_scene, write_catalog

pytestmark = needs_slurm

SCENES = 10


def archive_in(folder):
    rng = np.random.default_rng(0)
    scenes = []
    for number in range(SCENES):
        pixels = rng.integers(1, 255, (2, 300, 300)).astype(np.uint8)
        scene = scene_of(write_raster(folder / f"s{number}.tif", pixels))
        scenes.append(scan_scene(replace(scene, id=f"s{number}")))
    write_catalog(scenes, folder / "archive.parquet")
    torch.manual_seed(0)
    save_checkpoint(folder / "model.safetensors", build_segmenter(two_band_spec()), {})


def bytes_below(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.glob("*/*") if p.is_file()}


def test_an_archive_is_mapped_by_jobs_although_one_is_cancelled(tmp_path):
    archive_in(tmp_path)
    small = ("--set", "inference.tile_px=64", "--set", "inference.halo_px=16", "--device", "cpu")
    ask = ("predict", "--model", "model.safetensors", "--scenes", "archive.parquet", *small)
    # As many threads as a job has: another number may sum in another order.
    one = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    alone = geoseg(*ask, "--out", "alone", "--json", cwd=tmp_path, **one)
    job = {"memory": "2GB", "walltime": "00:20:00", "interface": "lo"}
    on_slurm = ("--workers", "2", "--executor", "slurm", "--slurm")
    job["log_directory"] = str(tmp_path / "jobs")
    with (tmp_path / "log.txt").open("w") as log:
        run = subprocess.Popen(
            [GEOSEG, *ask, "--out", "slurm", *on_slurm, json.dumps(job)],
            cwd=tmp_path,
            stdout=log,
            stderr=log,
        )
        killed = wait_for_a_map_and_kill_a_job(tmp_path / "slurm", run)
        code = run.wait(timeout=500)

    assert code == 0, (tmp_path / "log.txt").read_text()
    assert alone.returncode == 0, alone.stderr
    assert killed
    assert bytes_below(tmp_path / "slurm") == bytes_below(tmp_path / "alone")
    state = read_state(tmp_path / "slurm")
    assert (state.done, state.failed) == (SCENES, ())


def wait_for_a_map_and_kill_a_job(folder: Path, run) -> str | None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and run.poll() is None:
        if (folder / "manifest.sqlite").is_file() and 0 < read_state(folder).done < SCENES:
            running = jobs()
            if running:
                kill(running[0])
                return running[0]
        time.sleep(0.1)
    return None
