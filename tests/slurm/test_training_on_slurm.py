"""A network is trained by a job of Slurm as it is on this machine."""

import json

from command_line import geoseg
from slurm.slurm_here import end_of, needs_slurm

pytestmark = needs_slurm

JOB = "memory=4GB,walltime=00:10:00"
# As many threads as a task has: another number may sum in another order.
ONE = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def train(example, out, *options):
    sizes = ("chips.size_px=32", "training.batch=4", "training.steps=2", "training.workers=0")
    return geoseg(
        *("glacier-inventory", "train", "--out", out, "--device", "cpu", "--devices", 2, "--json"),
        *("--scene", example.raster, "--sensor", "landsat-7", "--bands", "red,nir08"),
        *("--date", "2000-10-30", "--labels", example.outlines, "--class-of", "glacier"),
        *(word for size in sizes for word in ("--set", size)),
        *options,
        **ONE,
    )


def test_a_job_trains_the_network_that_a_local_launch_trains(example, tmp_path):
    # Slurm would read a name without quotes, or a % in it, in its own way.
    out = tmp_path / "100% of a run"

    submitted = train(example, out, "--launcher", "slurm", "--slurm", JOB)
    assert submitted.returncode == 0, submitted.stderr
    job = json.loads(submitted.stdout)["job"]
    end = end_of(job)
    log = (out / f"train-{job}.log").read_text()
    here = train(example, tmp_path / "here")

    assert end == "COMPLETED", log
    assert "Starting with 2 processes" in log
    assert here.returncode == 0, here.stderr
    model = "model/model.safetensors"
    assert (out / model).read_bytes() == (tmp_path / "here" / model).read_bytes()
