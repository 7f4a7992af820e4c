"""What a record says of work, and `geoseg status`, `verify` and `retry` of it."""

import json
import os
import shutil
import time
from collections import Counter

import pytest
from command_line import geoseg_here
from scale_work import begun, make, make_units, refuse_odd, stumble_twice, write_nothing

from geoseg.errors import OutputError
from geoseg.files import write_checksums
from geoseg.scale import Engine, Manifest, Unit, find_records, hand, read_state, run_units
from geoseg.scale.run import _seen
from geoseg.scale.unit import Attempt

SERIAL = Engine()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(hand, "_BACKOFF_S", (0.0, 0.0))


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


def do(folder, units, work=make, **more):
    with Manifest(folder) as manifest:
        return run_units(work, units, engine=SERIAL, manifest=manifest, **more)


def test_a_record_tells_how_far_the_work_is_while_it_goes_on_and_after(tmp_path, log):
    folder, seen = tmp_path / "out", []
    units = make_units(folder, log, 6, takes_s=0.05)

    do(folder, units, refuse_odd, total=6, on_done=lambda _: seen.append(read_state(folder)))
    after = read_state(folder)

    assert [state.done + len(state.failed) for state in seen] == [1, 2, 3, 4, 5, 6]
    assert all(state.held_by.startswith(f"pid {os.getpid()} on host ") for state in seen)
    assert (after.done, len(after.failed), after.units, after.held_by) == (3, 3, 6, "")
    assert after.left_s == 0
    assert 100 < after.per_hour < 6 / 0.15 * 3600
    assert seen[1].left_s == pytest.approx(4 / seen[1].per_hour * 3600)


def test_units_of_earlier_runs_are_told_apart(tmp_path, log):
    folder = tmp_path / "out"
    do(folder, make_units(folder, log, 5), refuse_odd, total=5)

    do(folder, list(make_units(folder, log, 3, changed=(0,)))[:2], refuse_odd, total=2)
    state = read_state(folder)
    told = geoseg_here("status", folder)

    assert (state.done, [one.name for one in state.failed], state.units) == (1, ["shard=000001"], 2)
    assert (state.earlier, state.left_s) == (3, 0)
    assert f"{folder} has 3 more of earlier runs" in told.stderr


def test_damaged_checksums_are_a_unit_that_is_done_again(tmp_path):
    def write(_):
        (tmp_path / "a.tif").write_text("a")
        write_checksums([tmp_path / "a.tif"])

    sums = tmp_path / "SHA256SUMS"
    do(tmp_path, [Unit("scene", None, sums)], write)
    sums.write_bytes(b"\xff" * 80)
    with Manifest(tmp_path) as manifest:
        damaged = (manifest.gone(), manifest.verify())

    assert damaged == (["scene"], ["scene"])
    assert do(tmp_path, [Unit("scene", None, sums)], write).done == 1
    sums.write_bytes(b"\xff" * 80)
    with Manifest(tmp_path) as manifest:
        manifest.forget(["scene"])
    assert not sums.exists()


def test_work_without_a_run_is_told_without_a_total(tmp_path, log):
    with Manifest(tmp_path / "out") as manifest:
        for unit in make_units(tmp_path / "out", log, 2):
            manifest.record(unit, Attempt(name=unit.name, worker="", started=0.0), attempts=1)

    state = read_state(tmp_path / "out")

    assert (state.done, state.units, state.per_hour, state.left_s) == (2, None, None, None)


def test_records_are_found_below_and_a_folder_without_one_is_refused(tmp_path, log):
    for name in ("b/deep", "a"):
        do(tmp_path / name, make_units(tmp_path / name, log, 1))

    assert list(find_records(tmp_path)) == [tmp_path / "a", tmp_path / "b" / "deep"]
    with pytest.raises(OutputError, match="holds no record of work"):
        list(find_records(log))
    (tmp_path / "a" / "manifest.sqlite").write_text("no record")
    with pytest.raises(OutputError, match="cannot be read as a record of work"):
        read_state(tmp_path / "a")


def test_a_unit_that_was_set_aside_is_left_until_it_is_forgiven_or_its_inputs_change(tmp_path, log):
    folder, told = tmp_path / "out", []

    first = do(folder, make_units(folder, log, 1), write_nothing)
    again = do(folder, make_units(folder, log, 1), on_done=told.append)
    changed = do(folder, make_units(folder, log, 1, changed=(0,)))

    assert [end.attempts for end in first.failed] == [end.attempts for end in again.failed] == [3]
    assert (again.done, told[0].state) == (0, "failed")
    assert "was tried 3 times and is set aside; `geoseg retry" in told[0].error
    assert changed.done == 1


def test_an_error_of_the_data_is_tried_again_by_the_next_run(tmp_path, log):
    folder = tmp_path / "out"

    do(folder, make_units(folder, log, 2), refuse_odd)

    assert do(folder, make_units(folder, log, 2)).done == 1


def test_checksums_stand_for_the_files_that_they_name(tmp_path):
    maps = tmp_path / "scene"
    maps.mkdir()

    def write(_):
        (maps / "a.tif").write_text("a")
        (maps / "b.tif").write_text("b")
        write_checksums([maps / "a.tif", maps / "b.tif"])

    unit = Unit("scene", None, maps / "SHA256SUMS")
    with Manifest(tmp_path) as manifest:
        run_units(write, [unit], engine=SERIAL, manifest=manifest)
        whole = manifest.verify()
        (maps / "b.tif").write_text("c")
        changed = manifest.verify()
        (maps / "b.tif").unlink()

        assert (whole, changed, manifest.verify()) == ([], ["scene"], ["scene"])


def test_status_verify_and_retry_from_the_command_line(tmp_path, log):
    folder = tmp_path / "out"
    do(folder, make_units(folder, log, 4), refuse_odd, total=5)
    do(folder / "below", [*make_units(folder / "below", log, 1)], write_nothing)
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}

    status = geoseg_here("status", folder, "--json")
    table = geoseg_here("status", folder)

    told = {one["folder"]: one for one in json.loads(status.stdout)["folders"]}
    assert told[str(folder)]["done"] == 2
    assert told[str(folder)]["units"] == 4  # as many as there were
    assert told[str(folder)]["failed"]["shard=000001"] == "scene 1 has no red band."
    assert told[str(folder)]["held_by"] is None
    assert "shard=000001, tried 1 times: scene 1 has no red band." in table.stderr
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before

    whole = geoseg_here("verify", folder, "--json")
    (folder / "shard=000002" / "part.txt").write_text("rotten")
    damaged = geoseg_here("verify", folder, "--json")

    assert (whole.returncode, damaged.returncode) == (0, 1)
    assert json.loads(damaged.stdout)["damaged"][str(folder)] == ["shard=000002"]
    assert "shard=000002 is damaged or gone" in damaged.stderr

    cheap = geoseg_here("retry", folder / "below", "--json")
    forgiven = geoseg_here("retry", folder, "--damaged", "--json")
    tried = Counter(number for number, _ in begun(log))
    done = do(folder, make_units(folder, log, 4))

    assert json.loads(cheap.stdout)["again"] == {
        str(folder / "below"): {"failed": ["shard=000000"], "damaged": []}
    }
    assert forgiven.returncode == 0, forgiven.stderr
    assert json.loads(forgiven.stdout)["again"][str(folder)] == {
        "failed": ["shard=000001", "shard=000003"],
        "damaged": ["shard=000002"],
    }
    assert (done.done, done.skipped) == (3, 1)
    assert Counter(n for n, _ in begun(log)) - tried == Counter((1, 2, 3))
    assert do(folder / "below", make_units(folder / "below", log, 1)).done == 1
    assert geoseg_here("status", log).returncode == 1


def test_an_output_that_is_not_seen_from_here_is_no_output(tmp_path, log):
    """As of a worker that stands in another folder, or writes to a disk of its own."""
    folder = tmp_path / "out"

    def make_elsewhere(task):
        result = make(task)
        shutil.move(task.output, tmp_path / "elsewhere.txt")
        return result

    unit = next(make_units(folder, log, 1))
    with Manifest(folder) as manifest:
        seen = _seen(unit, Attempt(name=unit.name, worker="node7:12", started=0.0))
        manifest.record(unit, seen, attempts=1)
        counts = manifest.counts()
    make_elsewhere(unit.argument)

    assert counts == {"done": 0, "failed": 1}
    assert "was written by node7:12 and is not seen here" in seen.error
    make(unit.argument)
    assert _seen(unit, Attempt(name=unit.name, worker="", started=0.0)).error == ""


def test_a_clock_that_goes_wrong_elsewhere_does_not_matter(tmp_path, log):
    folder = tmp_path / "out"
    units = list(make_units(folder, log, 3))
    with Manifest(folder) as manifest, manifest.held():
        manifest.begin("here", 3)
        for unit in units:
            # An hour slow, and an hour fast.
            for started in (time.time() - 3600, time.time() + 3600):
                manifest.record(
                    unit, Attempt(name=unit.name, worker="w", started=started), attempts=1
                )
        manifest.keep()
        time.sleep(0.05)

        state = read_state(folder)

    assert state.done == 3
    assert state.per_hour > 3 / 5 * 3600


def test_what_is_forgotten_is_gone_with_its_files(tmp_path):
    """Or a damaged map would be taken for done by its header."""
    maps = tmp_path / "scene"
    maps.mkdir()
    for name in ("a.tif", "b.tif"):
        (maps / name).write_text(name)
    write_checksums([maps / "a.tif", maps / "b.tif"])
    (maps / "other.txt").touch()
    unit = Unit("scene", None, maps / "SHA256SUMS")

    with Manifest(tmp_path) as manifest:
        manifest.record(unit, Attempt(name="scene", worker="", started=0.0), attempts=1)
        whole = manifest.gone()
        (maps / "b.tif").unlink()
        gone = manifest.gone()
        manifest.forget(["scene", "nobody"])

        assert (whole, gone) == ([], ["scene"])
        assert [path.name for path in maps.iterdir()] == ["other.txt"]
        assert manifest.counts() == {"done": 0, "failed": 0}


@pytest.mark.slow
def test_retry_waits_for_nobody_who_is_at_work(tmp_path, log):
    folder = tmp_path / "out"
    do(folder, make_units(folder, log, 1), stumble_twice)

    with Manifest(folder) as manifest, manifest.held():
        refused = geoseg_here("retry", folder)

    assert refused.returncode == 1
    assert f"is held by pid {os.getpid()}" in refused.stderr
    shutil.rmtree(folder)
