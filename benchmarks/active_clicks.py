"""Answers by keys in Chromium while the server of the page is killed again and again: is one lost?

    python benchmarks/active_clicks.py [--json] [--clicks 200] [--kills 20] [--seed 0]

Simulated places are answered one after the other by keys that are drawn at random, each as soon as
the page takes it. At random ones of these clicks the server is killed with SIGKILL, a moment of 0
to 20 ms after the key went down, so that it dies before, while and after it writes, and is started
again on the same port. Nothing else is done to the page: it has to keep what it could not send.

- clicks: answers that were given.
- lost: those that the project does not hold as they were given.
- twice: rows of the project that are more than one to a click.
- untold: clicks that the page went on from before it was told that they are on disk.
- unsent_at_kills: kills after which the page still had an answer to send; if this were 0, the
  kills had come too late to tell anything.

Servers are forked from a process that has the library in memory, so that a restart takes a moment;
`geoseg active serve` runs the same function.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import shutil
import sqlite3
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from playwright.sync_api import sync_playwright

from geoseg.active.page.desk import Desk
from geoseg.active.page.server import serve
from geoseg.active.project import Drawn, create_project, open_project
from geoseg.data.slumps import simulated_places
from geoseg.presence.packs import Given, find_places, make_pack, read_pack
from geoseg.report.active_layer import map_link

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

    from playwright.sync_api import Page, Response

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
SAID = {"y": "present", "n": "absent", "u": "unknown"}
SEEN_S = 0.17  # a place counts as seen after 0.15 s; keys before that are not taken
DIES_WITHIN_S = 0.02
PATIENCE_S = 60.0


def run_server(folder: Path, port: int, ready: Connection) -> None:
    """A server of a project until it is killed; tells its address."""
    finder = find_places(read_pack(folder / "pack"), folder / "project" / "page")
    with open_project(folder / "project") as project:
        serve(Desk(project, finder, map_link, annotator="Ada"), port=port, on_ready=ready.send)


class Server:
    """One that can be killed and comes back on its port."""

    def __init__(self, folder: Path) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([__name__, "geoseg.active.page.server"])
        self._folder, self._port = folder, 0
        self.address = ""
        self.start()

    def start(self) -> None:
        """Start, and wait until it can be asked."""
        told, ready = self._context.Pipe(duplex=False)
        self._process = self._context.Process(
            target=run_server, args=(self._folder, self._port, ready), daemon=True
        )
        self._process.start()
        ready.close()
        self.address = told.recv()
        self._port = int(self.address.split(":")[2].strip("/"))

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.join()


@contextmanager
def open_page(address: str) -> Iterator[Page]:
    """The page in Chromium."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(address)
        yield page
        browser.close()


def measure(clicks: int = 200, kills: int = 20, seed: int = 0) -> dict[str, float]:
    """All figures."""
    start = time.perf_counter()
    rng = np.random.default_rng(seed)
    keys = rng.choice(list(SAID), clicks)
    struck = set(rng.choice(clicks, kills, replace=False).tolist())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        items = _set_up(folder, clicks)
        server = Server(folder)
        told: list[int] = []
        unsent = 0
        with open_page(server.address) as page:
            page.on("response", lambda answer: _note_told(answer, told))
            for number, (item, key) in enumerate(zip(items, keys, strict=True)):
                _wait_for(page, item)
                page.keyboard.press(key)
                if number in struck:
                    time.sleep(rng.uniform(0, DIES_WITHIN_S))
                    server.kill()
                    unsent += int(_holds_unsent(page))
                    server.start()
            _wait_for(page, "All places are answered")
        server.kill()
        wanted = {item: SAID[key] for item, key in zip(items, keys, strict=True)}
        kept, rows = _kept(folder / "project")
    return {
        "clicks": clicks,
        "lost": sum(kept.get(item) != said for item, said in wanted.items()),
        "twice": rows - len(kept),
        "untold": clicks - len(set(told)),
        "kills": kills,
        "unsent_at_kills": unsent,
        "seconds": round(time.perf_counter() - start, 1),
    }


def _set_up(folder: Path, count: int) -> list[str]:
    """A pack and a project that asks for all its places; their ids in order."""
    places = simulated_places(count, seed=1)
    make_pack(Given(pool=places, name="simulated"), folder / "pack")
    items = [f"simulated-1/{number:07d}" for number in range(count)]
    with create_project(folder / "project", classes=("absent", "present"), pool="0") as project:
        drawn = [Drawn(item, "audit", 1.0) for item in items]
        project.record_round(drawn, strategy="random", settings={})
    return items


def _wait_for(page: Page, shown: str) -> None:
    page.wait_for_function(
        "wanted => document.getElementById('place').textContent === wanted",
        arg=shown,
        timeout=1000 * PATIENCE_S,
    )
    time.sleep(SEEN_S)


def _note_told(answer: Response, told: list[int]) -> None:
    if answer.url.endswith("/api/answer") and answer.ok:
        told.append(answer.request.post_data_json["place"])


def _holds_unsent(page: Page) -> bool:
    return bool(page.evaluate("Object.keys(localStorage).some((key) => key.includes('/unsent/'))"))


def _kept(project: Path) -> tuple[dict[str, str], int]:
    """What was said by item, and how many rows that takes."""
    with closing(sqlite3.connect(project / "project.sqlite")) as database:
        rows = database.execute("SELECT item, said FROM answer WHERE undone = 0").fetchall()
    return dict(rows), len(rows)


def main() -> None:
    """Measure, print a table, and with --json one object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--clicks", type=int, default=200)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if CHROMIUM is None:
        parser.exit(1, "There is no chromium on the PATH; on Debian: apt install chromium\n")
    figures = measure(options.clicks, options.kills, options.seed)
    print(f"{options.clicks} answers, the server killed {options.kills} times")
    for name, value in figures.items():
        print(f"  {name:16} {value:10}")
    if options.json:
        machine = f"{os.cpu_count()} cores {platform.machine()}"
        print(json.dumps({"benchmark": "active_clicks", "machine": machine, "figures": figures}))


if __name__ == "__main__":
    main()
