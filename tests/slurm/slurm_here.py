"""Whether there is a Slurm, and what runs there."""

import shutil
import subprocess

import pytest


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


needs_slurm = [
    pytest.mark.slow,
    pytest.mark.skipif(not answers(), reason="needs a Slurm: tests/slurm/run.sh"),
]


def jobs():
    """The jobs that run."""
    squeue = ["squeue", "-h", "-t", "running", "-o", "%i"]
    return subprocess.run(squeue, capture_output=True, text=True, check=True).stdout.split()


def kill(job):
    """End a job and all that it runs, at once."""
    scancel = ["scancel", "--signal=KILL", "--full", job]
    subprocess.run(scancel, check=True)
