import subprocess
import sys

import pytest
from scale_work import make, make_units

from geoseg.errors import ConfigError, OutputError
from geoseg.scale import Engine, Manifest, Unit, inputs_hash, run_units


@pytest.fixture
def done(tmp_path):
    """A folder with three units that are done."""
    folder = tmp_path / "results"
    with Manifest(folder) as manifest:
        run_units(make, make_units(folder, tmp_path / "log", 3), engine=Engine(), manifest=manifest)
    return folder


def test_outputs_that_are_missing_or_changed_are_found(done):
    (done / "shard=000000" / "part.txt").unlink()
    (done / "shard=000002" / "part.txt").write_text("made 3")

    with Manifest(done) as manifest:
        assert manifest.verify() == ["shard=000000", "shard=000002"]


def test_a_unit_is_done_only_with_its_inputs_and_its_output(done):
    inputs = inputs_hash({"text": "made", "number": 1})
    with Manifest(done) as manifest:
        assert manifest.is_done("shard=000001", inputs)
        assert not manifest.is_done("shard=000001", inputs_hash({"number": 1}))
        assert not manifest.is_done("shard=000009", inputs)
        (done / "shard=000001" / "part.txt").unlink()
        assert not manifest.is_done("shard=000001", inputs)


def test_the_record_tells_how_each_unit_went(done):
    with Manifest(done) as manifest:
        assert manifest.counts() == {"done": 3, "failed": 0}
        assert manifest.failures() == ()
        assert sorted(manifest.results()) == [
            (f"shard={number:06d}", {"number": number}) for number in range(3)
        ]


def test_results_may_be_read_while_a_run_holds_the_folder(done):
    with Manifest(done) as manifest, manifest.held(), Manifest(done) as other:
        assert other.counts()["done"] == 3


def test_a_folder_may_be_moved_with_its_record(done):
    moved = done.rename(done.with_name("elsewhere"))

    with Manifest(moved) as manifest:
        assert manifest.verify() == []


def test_a_damaged_record_is_refused_with_the_way_out(done):
    (done / "manifest.sqlite").write_bytes(b"no database" * 500)

    with pytest.raises(OutputError, match=r"manifest\.sqlite .* not a database; if it is damaged"):
        Manifest(done)


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError, match="results cannot be made: Not a directory"):
        Manifest(tmp_path / "file" / "results")


def test_what_a_killed_run_left_is_swept_but_not_below_another_record(done):
    stray = done / "shard=000007" / ".part.txt.abc.part"
    other = done / "other" / ".part.txt.abc.part"
    command = (
        "import os, pathlib, sys; from geoseg.scale import Manifest\n"
        "m = Manifest(pathlib.Path(sys.argv[1]))\n"
        "with m.held(): os.kill(os.getpid(), 9)"
    )
    for folder in (stray, other):
        folder.mkdir(parents=True)
        (folder / "part.txt").write_text("half")
    (other.parent / "manifest.sqlite").write_text("")

    with Manifest(done) as manifest, manifest.held():
        assert stray.exists()  # the run before ended in order: nothing to look for
    subprocess.run([sys.executable, "-c", command, str(done)], check=False)
    with Manifest(done) as manifest, manifest.held():
        assert not stray.exists()
        assert other.exists()
        assert manifest.verify() == []


def test_a_unit_has_a_name(tmp_path):
    with pytest.raises(ConfigError, match="has no name"):
        Unit("", None, tmp_path / "a")


def test_inputs_are_told_apart_whatever_their_order():
    assert inputs_hash({"a": 1, "b": [1, 2]}) == inputs_hash({"b": [1, 2], "a": 1})
    assert inputs_hash({"a": 1, "b": [1, 2]}) != inputs_hash({"a": 1, "b": [2, 1]})
