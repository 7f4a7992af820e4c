"""What goes wrong with machines: full disks, deaths, clocks, workers that outlive their run."""

import errno
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest
from scale_work import (
    begun,
    fill_one_disk,
    find_disk_full,
    hold_and_make,
    make,
    make_units,
    wait_until,
    write_much,
)

from geoseg.errors import OutputError, SceneError
from geoseg.files import is_of_machine
from geoseg.scale import Engine, Manifest, hand, manifest, read_state, run_units
from geoseg.scale.lock import holder, holding, sharing
from geoseg.scale.unit import attempt

HERE = Path(__file__).parent
SERIAL = Engine()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "results"


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(hand, "_BACKOFF_S", (0.01, 0.02))


def do(folder, units, *, work=make, engine=SERIAL):
    results = {}
    with Manifest(folder) as record:
        summary = run_units(
            work,
            units,
            engine=engine,
            manifest=record,
            on_done=lambda ended: results.update({ended.name: ended.result}),
            total=len(units),
        )
    return summary, results


def raised(error, *, by):
    error.__cause__ = by
    return error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "full"), True),
        (raised(OutputError("a.tif could not be written."), by=OSError(errno.ESTALE, "x")), True),
        (raised(SceneError("a.tif cannot be read."), by=ValueError("Stale file handle")), True),
        (sqlite3.OperationalError("database or disk is full"), True),
        (OutputError("a.tif could not be written: the disk is full; free space there."), True),
        (OSError(errno.ENOENT, os.strerror(errno.ENOENT)), False),
        (raised(SceneError("a.tif has no red band."), by=KeyError("red")), False),
        (raised(SceneError("a.tif cannot be read."), by=ValueError("not a TIFF file")), False),
    ],
)
def test_what_is_the_fault_of_a_machine_is_known_through_its_wrappings(error, told):
    assert is_of_machine(error) is told


def test_a_full_disk_is_tried_again_now_and_by_the_next_run(folder, log):
    full, _ = do(folder, list(make_units(folder, log, 1)), work=find_disk_full)
    again, _ = do(folder, list(make_units(folder, log, 1)))

    assert [one.attempts for one in full.failed] == [3]
    assert (again.done, again.failed) == (1, ())


@contextmanager
def dask_workers(*preloaded):
    """A scheduler and a worker for each file that one loads; None for a sound one."""
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0"]
    command += ["--no-dashboard", "--host", "127.0.0.1"]
    environment = os.environ | {"PYTHONPATH": str(HERE)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as scheduler:
        lines = iter(scheduler.stderr.readline, "")
        address = next(line.split()[-1] for line in lines if "Scheduler at:" in line)
        threading.Thread(target=lambda: list(lines), daemon=True).start()
        workers = [_start_worker(address, loaded, environment) for loaded in preloaded]
        try:
            yield address
        finally:
            for process in (*workers, scheduler):
                process.kill()
                process.wait()


def _start_worker(address, loaded, environment):
    command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1"]
    command += ["--no-nanny", "--no-dashboard"]
    if loaded is not None:
        command += ["--preload", str(HERE / loaded)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)


def wait_for_workers(address, count):
    from distributed import Client

    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(count, timeout=60)


@pytest.mark.slow
def test_a_worker_whose_disk_is_full_is_left_alone_and_the_others_do_its_units(folder, log):
    with dask_workers("scale_small_disk.py", None) as address:
        wait_for_workers(address, 2)
        units = list(make_units(folder, log, 12))
        engine = Engine(kind="dask", address=address)
        summary, results = do(folder, units, work=write_much, engine=engine)

    assert (summary.done, summary.failed) == (12, ())
    assert len({result["pid"] for result in results.values()}) == 1
    assert not [path for path in folder.rglob("*") if path.name.endswith(".part")]


@pytest.mark.slow
def test_of_our_own_workers_too_one_with_a_full_disk_costs_no_unit(folder, log):
    """While it fails at once what others take long for."""
    units = list(make_units(folder, log, 30, takes_s=0.3))
    summary, _ = do(folder, units, work=fill_one_disk, engine=Engine(kind="dask", workers=2))

    assert (summary.done, summary.failed) == (30, ())


def test_a_unit_that_a_leaving_worker_still_does_is_tried_again(folder, log):
    """As of a job of Slurm that leaves before its time is over."""
    folder.mkdir()
    with sharing(folder / "unit.lock"):
        held, _ = do(folder, list(make_units(folder, log, 1)), work=hold_and_make)
    free, _ = do(folder, list(make_units(folder, log, 1)), work=hold_and_make)

    assert [one.attempts for one in held.failed] == [3]
    assert (free.done, free.failed) == (1, ())


def test_a_folder_that_a_worker_does_not_see_is_its_machines_fault(tmp_path, log):
    unit = next(make_units(tmp_path / "elsewhere", log, 1))

    tried = attempt(make, unit, tmp_path / "nowhere" / "manifest.workers")

    assert "is not there for" in tried.error
    assert (tried.troubled, tried.final) == (True, False)


def test_a_unit_that_fails_is_no_death(folder, log):
    do(folder, list(make_units(folder, log, 1)), work=find_disk_full)

    assert read_state(folder).killed == ()


@pytest.mark.slow
def test_ends_are_fetched_together(folder, log, monkeypatch):
    from distributed import Future

    monkeypatch.setattr(Future, "result", None)  # of each by itself
    summary, results = do(
        folder, list(make_units(folder, log, 12)), engine=Engine(kind="dask", workers=2)
    )

    assert (summary.done, len(results)) == (12, 12)


@pytest.mark.slow
def test_a_worker_whose_clock_is_wrong_does_not_matter(folder, log):
    with dask_workers("scale_wrong_clock.py", None) as address:
        wait_for_workers(address, 2)
        engine = Engine(kind="dask", address=address)
        first, _ = do(folder, list(make_units(folder, log, 8, takes_s=0.05)), engine=engine)
        state = read_state(folder)
        again, _ = do(folder, list(make_units(folder, log, 8)), engine=engine)

    assert (first.done, again.done, again.skipped) == (8, 0, 8)
    assert len({pid for _, pid in begun(log)}) == 2  # that one did some of them
    assert (state.done, state.left_s) == (8, 0)
    assert 8 / 60 * 3600 < state.per_hour < 8 / 0.2 * 3600


@pytest.mark.slow
def test_workers_that_outlive_their_run_are_waited_for(folder, log):
    """Or they would write into the folder of the next one."""
    with dask_workers(None, None) as address:
        wait_for_workers(address, 2)
        parent = subprocess.Popen(
            [sys.executable, HERE / "scale_parent.py", folder, log, address, "3"]
        )
        wait_until(lambda: len(begun(log)) == 2)
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        first = {path: path.stat().st_mtime for path in log.iterdir()}
        summary, _ = do(folder, list(make_units(folder, log, 4)))

    assert summary.done == 4
    # They were begun again after those of the first run had ended.
    assert min(path.stat().st_mtime - before for path, before in first.items()) > 2.5


def test_workers_that_do_not_end_are_told_of(folder, log, monkeypatch, caplog):
    monkeypatch.setattr(manifest, "_LEAVE_S", 0.5)
    monkeypatch.setattr("geoseg.scale.lock._SAY_AFTER_S", 0.1)
    told = pytest.raises(OutputError, match="Workers of a run that was killed are still at work")
    with Manifest(folder) as record, sharing(record.fence), told:
        do(folder, list(make_units(folder, log, 1)))
    assert "Waiting until workers of a killed run in" in caplog.text

    assert do(folder, list(make_units(folder, log, 1)))[0].done == 1


@pytest.mark.slow
def test_who_only_looks_at_a_folder_keeps_no_run_out_of_it(folder, log, monkeypatch):
    folder.mkdir()
    lock = folder / "manifest.lock"
    lock.touch()
    with sharing(lock):
        assert holder(lock) == ""
        with pytest.raises(OutputError, match="is held by another run"), holding(lock):
            pass

    glance = (
        "import sys, time; from pathlib import Path; from geoseg.scale.lock import sharing\n"
        "with sharing(Path(sys.argv[1])): print(1, flush=True); time.sleep(0.3)"
    )
    command = [sys.executable, "-c", glance, lock]
    monkeypatch.setattr(holding.__wrapped__, "__kwdefaults__", {"of": None, "patience_s": 60.0})
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        assert do(folder, list(make_units(folder, log, 1)))[0].done == 1


@pytest.mark.slow
def test_a_unit_over_which_runs_die_is_done_after_the_others(folder, log):
    def run_and_die():
        return subprocess.run(
            [sys.executable, HERE / "scale_parent.py", folder, log, "serial", "0", "1", "20"],
            check=False,
        ).returncode

    assert run_and_die() == -signal.SIGKILL
    state = read_state(folder)
    assert (state.done, state.killed) == (1, ("shard=000001",))
    codes = [run_and_die() for _ in range(4)]
    state = read_state(folder)

    assert codes == [-signal.SIGKILL] * 4
    assert state.killed == ("shard=000001", "shard=000020")
    assert state.done == 28
    tries = Counter(number for number, _ in begun(log))
    assert (tries[1], tries[20]) in {(3, 2), (2, 3)}  # in turns
    summary, _ = do(folder, list(make_units(folder, log, 30)))
    assert (summary.done, read_state(folder).killed) == (2, ())


def test_ctrl_c_is_nobodys_death(folder, log):
    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        do(folder, list(make_units(folder, log, 2)), work=stop)

    assert read_state(folder).killed == ()
