"""Chromium, where this machine has it, and a server of a page as a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from contextlib import contextmanager

import pytest
from command_line import GEOSEG

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on the PATH; on Debian: apt install chromium"
)


@contextmanager
def browser():
    """A browser that is driven; it fetches nothing and asks no one else."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield started
        finally:
            started.close()


class Served:
    """A command that serves a page, to be killed and started again on its port."""

    def __init__(self, *command):
        self._command = [GEOSEG, *command]
        self._port = "0"
        self.start()

    def start(self):
        self._process = subprocess.Popen(
            [*map(str, self._command), "--port", self._port],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "COLUMNS": "500"},
        )
        told = []
        for line in self._process.stderr:
            told.append(line)
            if line.startswith("Open "):
                self.address = line.split()[1]
                self._port = self.address.split(":")[2].split("/")[0]
                return
        raise AssertionError("".join(told))

    def kill(self):
        self._process.kill()
        self._process.wait()
        self._process.stderr.close()


def until(true, *, seconds=20):
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not become true"
        time.sleep(0.02)
