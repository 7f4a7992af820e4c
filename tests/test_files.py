import os
import signal
import subprocess
import sys

import pytest

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
