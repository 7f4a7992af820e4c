import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from scale_work import begun, make, make_units

from geoseg.scale import Engine, Manifest, hand, run_units


def answers():
    """Whether there is a Slurm with a node to work on."""
    if shutil.which("sinfo") is None:
        return False
    sinfo = ["sinfo", "-h", "-t", "idle,mixed", "-o", "%D"]
    try:
        found = subprocess.run(sinfo, capture_output=True, text=True, check=False, timeout=10)
    except subprocess.TimeoutExpired:
        return False
    return found.stdout.strip() not in {"", "0"}


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not answers(), reason="needs Slurm (Debian's slurmctld, slurmd, munge)"),
]


def jobs():
    """The jobs that run."""
    squeue = ["squeue", "-h", "-t", "running", "-o", "%i"]
    return subprocess.run(squeue, capture_output=True, text=True, check=True).stdout.split()


def test_jobs_of_slurm_do_the_work_although_one_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(hand, "_BACKOFF_S", (0.01, 0.02))
    folder, log = tmp_path / "results", tmp_path / "log"
    slurm = {
        "memory": "500MB",
        "walltime": "00:20:00",
        "interface": "lo",
        "log_directory": str(tmp_path / "jobs"),
        # Workers find the work of this test.
        "job_script_prologue": [f"export PYTHONPATH={Path(__file__).parent}"],
    }
    engine = Engine(kind="dask", workers=2, slurm=slurm)
    units = make_units(folder, log, 40, takes_s=0.3, poison=(9,), frail=(4,))
    killed, left = [], []

    def kill_a_job(ended):
        if ended.name == "shard=000012":
            killed.extend(jobs()[:1])
            kill = ["scancel", "--signal=KILL", "--full", *killed]
            threading.Thread(target=subprocess.run, args=(kill,)).start()
        if ended.name == "shard=000035":
            left.extend(jobs())

    with Manifest(folder) as manifest:
        summary = run_units(make, units, engine=engine, manifest=manifest, on_done=kill_a_job)
        assert manifest.verify() == []

    assert killed
    assert left
    assert not set(left) & set(killed)
    assert (summary.done, [end.name for end in summary.failed]) == (39, ["shard=000009"])
    assert {number for number, _ in begun(log)} == set(range(40))
