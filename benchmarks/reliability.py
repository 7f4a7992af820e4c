"""What goes wrong outside of geoseg, done to it on purpose: kills, full disks, damage, malice.

    python benchmarks/reliability.py [--json] [--only WORD ...]

Each row of the table is a hazard. A try fails where geoseg answers with a traceback or an exit code
other than it should, takes more than two minutes, leaves something under a final name that is not
whole, asks a server, runs code, or reads what it must not. Each hazard is met in a process of its
own, two at a time, which may hold 2 GB of memory and take ten minutes.

tried, failed: of all rows, kills among them. kills: by SIGKILL, of a process at work. kills_lost:
after which a file was neither the old nor the new one, or a rerun did not end in the bytes of a run
that nobody killed. names: tries of all that are a name and no file. not_run: hazards that cannot be
met on this machine, which are neither tried nor passed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
import warnings
from contextlib import suppress
from multiprocessing import connection, get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import reliability_lent  # noqa: F401  before all others

# isort: split
import torch
from conftest import two_band_spec
from peak_memory import peak_bytes
from reliability_disk import DISK
from reliability_hostile import HOSTILE
from reliability_kills import KILLS
from reliability_rasters import RASTERS
from reliability_row import MOST_BYTES, Ground, Hazard, Row

from geoseg.models import build_segmenter, save_checkpoint
from geoseg.terminal import Outcome, Table, show

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MOST_S = 600.0
AT_ONCE = 2
FORK = get_context("fork")
# The longest first.
HAZARDS: tuple[Hazard, ...] = (*KILLS, *DISK, *RASTERS, *HOSTILE)


class Met(NamedTuple):
    """A hazard that is being met."""

    hazard: Hazard
    process: BaseProcess
    row: connection.Connection
    since: float


def write_model(path: Path) -> Path:
    """A small network of weights at random."""
    torch.manual_seed(0)
    save_checkpoint(path, build_segmenter(two_band_spec(encoder="test_resnet")), {})
    return path


def meet(hazard: Hazard, ground: Ground, told: connection.Connection) -> None:
    """Meet a hazard, in a process of its own, which ends with all that it begins."""
    os.setsid()
    warnings.simplefilter("ignore")
    row, since = Row(hazard.name), time.perf_counter()
    try:
        hazard.meet(row, ground)
    except Exception as error:  # noqa: BLE001  a row that breaks is a failure and not the end
        row.fail(f"{type(error).__name__}: {error}")
    if (peak := peak_bytes()) > MOST_BYTES:
        row.fail(f"it held {peak / 1e6:,.0f} MB of memory")
    row.seconds = time.perf_counter() - since
    told.send(row)


def meet_all(hazards: Sequence[Hazard], folder: Path) -> Iterator[Row]:
    """Some at once; each row as it ends."""
    model = write_model(folder / "model.safetensors")
    waiting = [(hazard, folder / str(number)) for number, hazard in enumerate(hazards)]
    at_work: list[Met] = []
    try:
        while waiting or at_work:
            while waiting and len(at_work) < AT_ONCE:
                hazard, own = waiting.pop(0)
                own.mkdir()
                at_work.append(_begin(hazard, Ground(own, model)))
            connection.wait([one.row for one in at_work], timeout=1)
            for one in list(at_work):
                if (row := _ended(one)) is not None:
                    at_work.remove(one)
                    yield row
    finally:
        for one in at_work:
            _end(one)


def _begin(hazard: Hazard, ground: Ground) -> Met:
    receives, sends = FORK.Pipe(duplex=False)
    process = FORK.Process(target=meet, args=(hazard, ground, sends))
    process.start()
    sends.close()
    return Met(hazard, process, receives, time.perf_counter())


def _ended(one: Met) -> Row | None:
    """The row of what has ended, or was ended; None while it goes on."""
    took = time.perf_counter() - one.since
    late = took > MOST_S
    if not one.row.poll() and not late:
        return None
    try:
        row: Row = Row(one.hazard.name, seconds=took) if late else one.row.recv()
        if late:
            row.fail(f"it does not end in {MOST_S:.0f} s")
    except EOFError:
        row = Row(one.hazard.name, seconds=took)
        one.process.join()
        row.fail(f"its process died, exit code {one.process.exitcode}")
    if not late:
        one.process.join()
    _end(one)
    return row


def _end(one: Met) -> None:
    """Kill it, and what it began."""
    with suppress(ProcessLookupError):
        os.killpg(one.process.pid or 0, signal.SIGKILL)
    one.process.join()


def tell(row: Row) -> None:
    """A line for who waits, and what failed."""
    told = row.not_run or f"{row.tried} tried, {row.failed} failed, {row.seconds:.0f} s"
    print(f"  {row.hazard}: {told}", flush=True)
    for fault in row.faults[:20]:
        print(f"    {fault}", flush=True)


def table_of(rows: Sequence[Row]) -> Table:
    """For people."""
    lines = [
        (row.hazard, "not run", "", "", "", "")
        if row.not_run
        else (
            row.hazard,
            f"{row.tried:,}",
            f"{row.kills:,}" if row.kills else "",
            f"{row.tried - row.failed:,}",
            f"{row.failed:,}",
            f"{row.seconds:.0f} s",
        )
        for row in rows
    ]
    columns = ("hazard", "tried", "of which kills", "passed", "failed", "took")
    return Table("What geoseg was put through", columns, lines)


def main() -> int:
    """Meet all hazards, print a table, and with --json one object; 1 where something failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", nargs="+", default=[""], help="words of the hazards to be met")
    options = parser.parse_args()
    chosen = [one for one in HAZARDS if any(word in one.name for word in options.only)]
    for word in options.only:
        if not any(word in one.name for one in HAZARDS):
            parser.error(f"no hazard has {word!r} in its name")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # not before all hazards are ended
    torch.set_num_threads(1)  # no pool of threads that a fork would lose
    os.environ["OMP_NUM_THREADS"] = "1"
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for row in meet_all(chosen, Path(name)):
            tell(row)
            rows.append(row)
    order = [one.name for one in HAZARDS]
    rows.sort(key=lambda row: order.index(row.hazard))
    show(Outcome({}, (table_of(rows),)), as_json=False)
    figures = {
        "tried": sum(row.tried for row in rows),
        "failed": sum(row.failed for row in rows),
        "kills": sum(row.kills for row in rows),
        "kills_lost": sum(row.kills_lost for row in rows),
        "names": sum(row.names for row in rows),
        "not_run": sum(bool(row.not_run) for row in rows),
    }
    for key, value in figures.items():
        print(f"{key:10} {value:,}")
    if options.json:
        machine = f"{os.cpu_count()} cores {platform.machine()}, torch {torch.__version__}"
        told = {**figures, "rows": [row.as_dict() for row in rows]}
        print(json.dumps({"benchmark": "reliability", "machine": machine, "figures": told}))
    return 1 if figures["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
