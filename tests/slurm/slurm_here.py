"""Whether there is a Slurm, and what runs there."""

import shutil
import subprocess
import time

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


def end_of(job, timeout_s=240):
    """How a job ended, such as COMPLETED, when it has."""
    squeue = ["squeue", "-h", "-t", "all", "-j", job, "-o", "%T"]
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        state = subprocess.run(squeue, capture_output=True, text=True, check=True).stdout.strip()
        if state not in {"PENDING", "CONFIGURING", "RUNNING", "COMPLETING"}:
            return state
        time.sleep(0.5)
    subprocess.run(["scancel", job], check=True)
    return f"{state} for {timeout_s} s"
