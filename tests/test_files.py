import errno
import os
import shutil
import signal
import subprocess
import sys

import pytest
from rasterio.errors import RasterioIOError

from geoseg.errors import OutputError
from geoseg.files import sha256_of, write_text, writing


def test_a_file_appears_whole_and_nothing_else_does(tmp_path):
    write_text(tmp_path / "deep" / "a.txt", "ice")

    assert (tmp_path / "deep" / "a.txt").read_text() == "ice"
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["a.txt"]


def test_a_block_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail_halfway():
        with writing(path) as aside:
            aside.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_writer_leaves_no_file_under_the_final_name(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from geoseg.files import writing\n"
        "with writing(Path(sys.argv[1])) as aside:\n"
        "    aside.write_text('half'); print('ready', flush=True); time.sleep(60)"
    )
    path = tmp_path / "a.tif"
    with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    assert not path.exists()
    write_text(path, "whole")
    assert path.read_text() == "whole"


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")

    with pytest.raises(OutputError, match="cannot be written"):
        write_text(blocked / "a.txt", "x")


def test_the_hash_is_that_of_the_bytes(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")

    assert sha256_of(path).startswith("ba7816bf8f01cfea")


def failed_write(cause):
    """What rasterio raises when a driver cannot write."""
    error = RasterioIOError("Write failed. See previous exception for details.")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (failed_write(RuntimeError("band 1: An error occurred.")), "band 1: An error occurred."),
        (failed_write(RuntimeError("No space left on device.")), "the disk is full; free space"),
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full; free space there"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "the disk is full; free space there and"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error."),
    ],
)
def test_a_failed_write_is_one_sentence_with_its_cause(tmp_path, error, reason):
    path = tmp_path / "a.tif"

    with pytest.raises(OutputError) as told, writing(path):
        raise error

    assert str(told.value).startswith(f"{path} could not be written: {reason}")
    assert not str(told.value).endswith("..")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_where_a_driver_does_not_tell(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))

    message = "the disk is full; free space there and run again"
    with pytest.raises(OutputError, match=message), writing(tmp_path / "a.tif"):
        raise failed_write(RuntimeError("band 1: An error occurred."))


def test_a_folder_is_not_replaced_by_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    for folder in (tmp_path, type(tmp_path)(".")):
        with pytest.raises(OutputError, match=r"is a folder; name a file to write\."):
            write_text(folder, "x")

    assert list(tmp_path.iterdir()) == []
