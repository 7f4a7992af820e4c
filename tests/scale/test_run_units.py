import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
import scale_broken
from scale_work import (
    begun,
    make,
    make_units,
    refuse_odd,
    stumble_twice,
    tell_threads,
    wait_until,
    will_not_leave,
    write_nothing,
)

from geoseg.errors import ConfigError, GeosegError, OutputError
from geoseg.scale import Engine, Failure, Manifest, Unit, cluster, hand, processes, run_units

SERIAL = Engine()
PROCESSES = Engine(kind="processes", workers=2)
DASK = Engine(kind="dask", workers=2)
SLOW = pytest.mark.slow
EVERY = pytest.mark.parametrize(
    "engine", [SERIAL, PROCESSES, pytest.param(DASK, marks=SLOW)], ids=lambda e: e.kind
)
MANY = pytest.mark.parametrize(
    "engine", [PROCESSES, pytest.param(DASK, marks=SLOW)], ids=lambda e: e.kind
)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "results"


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(hand, "_BACKOFF_S", (0.01, 0.02))


def do(folder, units, *, work=make, engine=SERIAL, **extra):
    with Manifest(folder) as manifest:
        return run_units(work, units, engine=engine, manifest=manifest, **extra)


def files_of(folder):
    """Every file and every folder without one, but those of the record."""
    below = [path.relative_to(folder) for path in folder.rglob("*")]
    kept = {"manifest.sqlite", "manifest.lock", "manifest.workers"}
    return sorted(
        str(path)
        for path in below
        if (path.name not in kept and not (folder / path).is_dir()) or path.suffix == ".part"
    )


def outputs(count):
    return [f"shard={number:06d}/part.txt" for number in range(count)]


def is_alive(pid):
    # One that was ended and is not yet waited for by its parent does no work either.
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def start_parent(folder, log, kind, *, takes_s):
    log.mkdir()
    command = [sys.executable, "scale_parent.py", str(folder), str(log), kind, str(takes_s)]
    return subprocess.Popen(command, cwd=Path(__file__).parent)


@pytest.mark.slow
@pytest.mark.parametrize("engine", [SERIAL, PROCESSES, DASK], ids=lambda e: e.kind)
def test_each_unit_is_done_once_and_not_again(folder, log, engine):
    ends = []

    first = do(folder, make_units(folder, log, 12), engine=engine, on_done=ends.append)
    again = do(folder, make_units(folder, log, 12), engine=engine, on_done=ends.append)

    assert (first.done, first.skipped, first.failed) == (12, 0, ())
    assert (again.done, again.skipped, again.failed) == (0, 12, ())
    assert Counter(number for number, _ in begun(log)) == Counter(range(12))
    assert files_of(folder) == outputs(12)
    assert [end.state for end in ends] == ["done"] * 12 + ["skipped"] * 12
    assert [end.result for end in ends[12:]] == [{"number": number} for number in range(12)]


@pytest.mark.slow
def test_work_in_processes_is_shared_and_leaves_this_one_alone(folder, log):
    do(folder, make_units(folder, log, 6, takes_s=0.2), engine=PROCESSES)

    workers = {pid for _, pid in begun(log)}
    assert len(workers) == 2
    assert os.getpid() not in workers


def test_a_rerun_does_what_is_missing_or_changed_and_no_more(folder, log):
    do(folder, make_units(folder, log, 6))
    (folder / outputs(6)[2]).unlink()

    summary = do(folder, make_units(folder, log, 6, changed=(4,)))

    assert (summary.done, summary.skipped) == (2, 4)
    assert [number for number, _ in begun(log)[6:]] == [2, 4]
    assert (folder / outputs(6)[4]).read_text() == "changed 4"


@pytest.mark.slow
@MANY
@pytest.mark.usefixtures("at_once")
def test_a_killed_worker_costs_an_attempt_and_a_deadly_unit_only_itself(folder, log, engine):
    units = make_units(folder, log, 12, poison=(3,), frail=(0, 7))

    summary = do(folder, units, engine=engine)

    assert summary.done == 11
    assert [(end.name, end.attempts) for end in summary.failed] == [("shard=000003", 3)]
    assert "as happens when the memory is full" in summary.failed[0].error
    tries = Counter(number for number, _ in begun(log))
    assert tries[3] == 3
    # Dask has a unit done again whose result was lost with its worker.
    assert tries[0] >= 2
    assert tries[7] >= 2
    assert files_of(folder) == [name for name in outputs(12) if "3/" not in name]
    with Manifest(folder) as manifest:
        assert manifest.counts() == {"done": 11, "failed": 1}
        assert manifest.failures() == summary.failed


@pytest.mark.slow
@MANY
@pytest.mark.usefixtures("at_once")
def test_workers_killed_at_random_lose_no_unit(folder, log, engine):
    count = 20
    over = threading.Event()
    killed = {}  # one kill a unit: three would set it aside

    def kill():
        while not over.wait(0.2) and len(killed) < 4:
            tries = begun(log) if log.is_dir() else []
            for number, pid in tries[-1:]:
                # One that a kill of its worker's last unit has hit already is begun again.
                once = [other for other, _ in tries].count(number) == 1
                if once and number not in killed and pid not in killed.values():
                    killed[number] = pid
                    os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        summary = do(folder, make_units(folder, log, count, takes_s=0.1), engine=engine)
    finally:
        over.set()
        killer.join()

    assert len(killed) >= 3
    assert (summary.done, summary.failed) == (count, ())
    assert files_of(folder) == outputs(count)
    with Manifest(folder) as manifest:
        assert manifest.verify() == []


@pytest.mark.parametrize(
    "kind", [pytest.param("serial", marks=SLOW), "processes", pytest.param("dask", marks=SLOW)]
)
def test_a_run_killed_in_the_middle_goes_on_where_it_was(folder, log, kind):
    parent = start_parent(folder, log, kind, takes_s=0.1)
    wait_until(lambda: len(begun(log)) >= 8)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    wait_until(lambda: not any(is_alive(pid) for _, pid in begun(log)))
    with Manifest(folder) as manifest:
        before = manifest.counts()["done"]

    summary = do(folder, make_units(folder, log, 30))

    assert 4 <= before < 30
    assert (summary.done, summary.skipped, summary.failed) == (30 - before, before, ())
    assert files_of(folder) == outputs(30)
    # Those that were in hand are begun a second time, and a few that had ended unrecorded.
    twice = [number for number, tries in Counter(n for n, _ in begun(log)).items() if tries > 1]
    assert len(twice) <= 6


@MANY
def test_workers_leave_when_the_run_is_killed(folder, log, engine):
    parent = start_parent(folder, log, engine.kind, takes_s=60)
    wait_until(lambda: len(begun(log)) == 2)

    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()

    wait_until(lambda: not any(is_alive(pid) for _, pid in begun(log)), seconds=30)


def test_workers_that_will_not_leave_are_ended_and_swept_after(folder, log, monkeypatch):
    monkeypatch.setattr(processes, "_PATIENCE_S", 0.1)

    def press():
        wait_until(lambda: len(begun(log)) == 2)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press).start()
    units = make_units(folder, log, 2, takes_s=60)
    with pytest.raises(KeyboardInterrupt):
        do(folder, units, work=will_not_leave, engine=PROCESSES)

    assert not any(is_alive(pid) for _, pid in begun(log))
    assert files_of(folder) == []


@pytest.mark.slow
@EVERY
def test_ctrl_c_ends_the_workers_and_leaves_nothing_half_done(folder, log, engine):
    def stop(ended):
        if ended.name == "shard=000004":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        do(folder, make_units(folder, log, 40, takes_s=0.05), engine=engine, on_done=stop)

    workers = {pid for _, pid in begun(log)} - {os.getpid()}
    wait_until(lambda: not any(is_alive(pid) for pid in workers), seconds=30)
    done = files_of(folder)
    assert 5 <= len(done) < 20
    assert set(done) <= set(outputs(40))
    assert do(folder, make_units(folder, log, 40)).done <= 35


@pytest.mark.slow
@EVERY
def test_units_are_read_as_they_are_needed(folder, log, engine):
    drawn, ended, most = 0, 0, 0

    def count_drawn():
        nonlocal drawn, most
        for unit in make_units(folder, log, 50):
            drawn += 1
            most = max(most, drawn - ended)
            yield unit

    def count_ended(_):
        nonlocal ended
        ended += 1

    do(folder, count_drawn(), engine=engine, on_done=count_ended)

    assert drawn == ended == 50
    # Those in hand, and as many that have ended while nobody looked.
    in_hand = {"serial": 2, "processes": 4, "dask": 16}[engine.kind]
    assert most <= 2 * in_hand + 1


@EVERY
def test_an_error_of_the_data_is_final_and_told_in_its_own_words(folder, log, engine):
    summary = do(folder, make_units(folder, log, 6), work=refuse_odd, engine=engine)

    assert summary.done == 3
    assert sorted(summary.failed, key=lambda end: end.name) == [
        Failure(f"shard={number:06d}", f"scene {number} has no red band.", 1)
        for number in (1, 3, 5)
    ]
    # A unit that failed is tried again by the next run.
    assert do(folder, make_units(folder, log, 6)).done == 3


@pytest.mark.usefixtures("at_once")
def test_an_error_that_passes_is_tried_again_and_one_that_stays_is_set_aside(folder, log):
    passes = do(folder, make_units(folder, log, 2), work=stumble_twice)
    stays = do(folder / "other", make_units(folder / "other", log, 1), work=write_nothing)

    assert (passes.done, passes.failed) == (2, ())
    assert [end.attempts for end in stays.failed] == [3]
    assert "FileNotFoundError" in stays.failed[0].error
    assert str(folder / "other") in stays.failed[0].error


@EVERY
@pytest.mark.usefixtures("at_once")
def test_what_was_made_of_other_inputs_is_gone_where_the_new_work_fails_or_forgets(
    folder, log, engine
):
    do(folder, make_units(folder, log, 4))

    failed = do(folder, make_units(folder, log, 4, changed=(1, 2)), work=refuse_odd, engine=engine)
    forgot = do(folder, make_units(folder, log, 4, changed=(0, 1, 2)), work=write_nothing)

    assert (failed.done, failed.skipped) == (1, 2)
    assert [end.name for end in failed.failed] == ["shard=000001"]
    assert (forgot.done, forgot.skipped) == (0, 2)
    assert sorted(end.name for end in forgot.failed) == ["shard=000000", "shard=000001"]
    assert all("FileNotFoundError" in end.error for end in forgot.failed)
    assert files_of(folder) == outputs(4)[2:]


@pytest.mark.usefixtures("at_once")
def test_what_lies_at_an_output_and_cannot_be_replaced_ends_the_run(folder, log):
    (folder / outputs(2)[1]).mkdir(parents=True)

    with pytest.raises(OutputError, match=r"part\.txt cannot be replaced: Is a directory\."):
        do(folder, make_units(folder, log, 2))


def test_outputs_without_a_record_are_taken_over_if_they_are_recognised(folder, log):
    do(folder, make_units(folder, log, 5))
    (folder / "manifest.sqlite").unlink()
    (folder / outputs(5)[3]).write_text("of somebody else")

    def recognise(unit):
        number = unit.argument.number
        return {"number": number} if unit.output.read_text() == f"made {number}" else None

    summary = do(folder, make_units(folder, log, 5), recognise=recognise)

    assert (summary.done, summary.skipped) == (1, 4)
    with Manifest(folder) as manifest:
        assert manifest.verify() == []
        assert dict(manifest.results())["shard=000001"] == {"number": 1}
    # Not asked of a unit whose record says that it was made of other inputs.
    changed = make_units(folder, log, 5, changed=(0,))
    assert do(folder, changed, recognise=recognise).done == 1


@pytest.mark.slow
def test_a_second_run_on_a_folder_is_told_who_holds_it(folder, log):
    def second(_):
        do(folder, make_units(folder, log, 2))

    with pytest.raises(OutputError) as refused:
        do(folder, make_units(folder, log, 2), on_done=second)

    host = os.uname().nodename
    assert str(refused.value) == (
        f"{folder} is held by pid {os.getpid()} on host {host}; wait for it, or give another "
        "folder."
    )
    assert do(folder, make_units(folder, log, 2)).skipped == 1


@pytest.mark.parametrize(
    "engine",
    [
        Engine(kind="processes", workers=1, threads=3),
        pytest.param(Engine(kind="dask", workers=1, threads=3), marks=SLOW),
    ],
    ids=lambda e: e.kind,
)
def test_workers_have_the_threads_that_were_asked_for(folder, log, engine, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)

    do(folder, make_units(folder, log, 1), work=tell_threads, engine=engine)

    with Manifest(folder) as manifest:
        assert manifest.result("shard=000000") == {"omp": "3", "mkl": "3"}
    assert os.environ["OMP_NUM_THREADS"] == "1"
    assert "MKL_NUM_THREADS" not in os.environ


def test_units_that_cannot_be_told_apart_or_write_elsewhere_are_refused(folder, log, tmp_path):
    unit = next(make_units(folder, log, 1, takes_s=0.5))

    with pytest.raises(ConfigError, match="Two units are named shard=000000; give each a name"):
        do(folder, [unit, unit], engine=PROCESSES)
    with pytest.raises(OutputError, match=r"a\.txt of unit a is not in .*results\."):
        do(folder, [Unit("a", None, tmp_path / "results" / ".." / "a.txt")])


@pytest.mark.parametrize("again", [False, True], ids=["done now", "done before"])
def test_units_that_cannot_be_told_apart_are_refused_however_far_apart_they_are(folder, log, again):
    units = list(make_units(folder, log, 20))
    if again:
        do(folder, units)
    first = units[0]
    alike = Unit(first.name, units[1].argument, folder / "other" / "part.txt")
    same_output = Unit("other", first.argument, folder / "x" / ".." / outputs(1)[0])

    with pytest.raises(ConfigError, match="Two units are named shard=000000; give each a name"):
        do(folder, [*units, first])
    with pytest.raises(ConfigError, match="Two units are named shard=000000; give each a name"):
        do(folder, [*units, alike])
    with pytest.raises(ConfigError) as refused:
        do(folder, [*units, same_output])

    assert str(refused.value) == (
        f"The units shard=000000 and other both write {same_output.output}; give each an output of "
        "its own."
    )
    assert do(folder, units).skipped == 20  # of one run: the next one may have them again


@MANY
def test_an_argument_that_cannot_be_sent_to_a_worker_is_told_in_a_sentence(folder, log, engine):
    units = [*make_units(folder, log, 2), Unit("locked", threading.Lock(), folder / "locked")]

    with pytest.raises(ConfigError) as refused:
        do(folder, units, engine=engine)

    assert str(refused.value) == (
        "The argument of unit locked cannot be sent to a worker: cannot pickle '_thread.lock' "
        "object; give work at the top level of a module, and arguments that can be pickled."
    )
    workers = {pid for _, pid in begun(log)}
    wait_until(lambda: not any(is_alive(pid) for pid in workers), seconds=30)


def test_work_that_cannot_be_sent_to_a_worker_is_told_in_a_sentence(folder, log):
    with pytest.raises(ConfigError, match=r"The work .*<lambda>.* cannot be sent to a worker: "):
        do(folder, make_units(folder, log, 1), work=lambda task: make(task), engine=PROCESSES)


@SLOW
def test_workers_that_cannot_begin_end_the_run(folder, log, monkeypatch):
    monkeypatch.setenv("SCALE_IS_BROKEN", "1")

    with pytest.raises(GeosegError, match="end before they begin: the last one ended with exit"):
        do(folder, make_units(folder, log, 3), work=scale_broken.work, engine=PROCESSES)


def test_a_scheduler_that_does_not_answer_is_told(folder, log, monkeypatch):
    monkeypatch.setattr(cluster, "_CONNECT_S", 0.3)
    engine = Engine(kind="dask", address="tcp://127.0.0.1:9")

    with pytest.raises(ConfigError, match=r"No Dask scheduler answers at tcp://127\.0\.0\.1:9;"):
        do(folder, make_units(folder, log, 1), engine=engine)


@SLOW
def test_workers_that_dask_gives_up_are_replaced(folder, log, monkeypatch):
    import dask.config

    made = []
    own_cluster = cluster._own_cluster
    monkeypatch.setattr(
        cluster, "_own_cluster", lambda engine: made.append(own_cluster(engine)) or made[0]
    )

    def give_up(ended):
        if ended.name == "shard=000003":
            for worker in list(made[0].workers.values()):
                made[0].sync(worker.close)

    with dask.config.set({"distributed.deploy.lost-worker-timeout": "1s"}):
        units = make_units(folder, log, 12, takes_s=0.3)
        summary = do(folder, units, engine=DASK, on_done=give_up)

    assert (summary.done, summary.failed) == (12, ())
    assert len({pid for _, pid in begun(log)}) > 2


@SLOW
@pytest.mark.usefixtures("at_once")
def test_a_running_scheduler_does_the_work_until_it_goes(folder, log):
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as running:
        # A Dask worker that dies while it starts is given up, so its owner has it replaced.
        running.adapt(minimum=2, maximum=2)
        engine = Engine(kind="dask", address=running.scheduler_address)
        units = make_units(folder, log, 12, poison=(3,), takes_s=0.2)
        summary = do(folder, units, engine=engine)
        assert (summary.done, len(summary.failed)) == (11, 1)

        def end_it(_):
            running.close()

        with pytest.raises(GeosegError, match=r"The Dask scheduler tcp://.* is gone; start it"):
            do(folder / "b", make_units(folder / "b", log, 9), engine=engine, on_done=end_it)
