import threading
from pathlib import Path

from scale_work import begun, make, make_units
from slurm.slurm_here import jobs, kill, needs_slurm

from geoseg.scale import Engine, Manifest, hand, run_units

pytestmark = needs_slurm


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
            threading.Thread(target=kill, args=killed).start()
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
