"""Worker processes of this machine, each with a pipe of its own.

A pool of the standard library hangs (multiprocessing) or breaks as a whole (concurrent.futures)
when one of its workers is killed. Here the death of a worker ends one pipe, which tells whose unit
was lost; nobody else is touched.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any

from geoseg.errors import GeosegError
from geoseg.scale.crew import Lost, not_sent
from geoseg.scale.unit import Attempt, Unit, attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess
    from pathlib import Path

__all__ = ["THREADS", "Processes", "with_threads", "without_ctrl_c"]

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_MOMENT_S = 1.0
_PATIENCE_S = 5.0  # for a worker to leave by itself


@contextmanager
def with_threads(threads: int) -> Iterator[None]:
    """Where processes are started in which numpy and torch have so many threads."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def without_ctrl_c() -> Iterator[None]:
    """Where processes are started that leave Ctrl-C to this one; it is raised after the block."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@dataclass
class _Worker:
    process: SpawnProcess
    pipe: Connection
    ready: bool = False
    unit: Unit | None = None


class Processes:
    """Worker processes that are started when there is work, and replaced when they die.

    Raises:
        ConfigError: the work cannot be sent to them.
    """

    def __init__(
        self, work: Callable[[Any], Any], fence: Path, *, workers: int, threads: int
    ) -> None:
        try:
            ForkingPickler.dumps(work)
        except Exception as error:
            raise not_sent(f"The work {work!r}", error) from error
        self.room = workers
        self._work, self._fence, self._threads = work, fence, threads
        self._workers: list[_Worker] = []
        self._units: deque[Unit] = deque()
        self._stillborn = 0  # died before they were ready, one after another

    def take(self, unit: Unit) -> None:
        """Put it before the next free worker."""
        self._units.append(unit)

    def ended(self, timeout_s: float) -> list[Attempt | Lost]:
        """Units that have ended."""
        while sum(worker.unit is None for worker in self._workers) < len(self._units):
            self._start()
        for worker in self._workers:
            if worker.ready and worker.unit is None and self._units:
                self._give(worker)
        heard = connection.wait([worker.pipe for worker in self._workers], timeout_s)
        # A child of a dead worker may hold its pipe open.
        speaking = [w for w in self._workers if w.pipe in heard or not w.process.is_alive()]
        return [end for worker in speaking for end in self._hear(worker)]

    def stop(self) -> None:
        """Ask all to leave, then end those that do not."""
        for worker in self._workers:
            worker.process.terminate()
        deadline = time.monotonic() + _PATIENCE_S
        for worker in self._workers:
            worker.process.join(max(deadline - time.monotonic(), 0.0))
        for worker in self._workers:
            self._bury(worker)

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        # Not a daemon: work may have children, such as those that load data.
        process = context.Process(
            target=_serve, args=(theirs, self._work, self._fence), daemon=False
        )
        with without_ctrl_c(), with_threads(self._threads):
            process.start()
            # In here, for after Ctrl-C `stop` must know of the worker.
            self._workers.append(_Worker(process, ours))
            theirs.close()

    def _give(self, worker: _Worker) -> None:
        worker.unit = self._units.popleft()
        try:
            worker.pipe.send(worker.unit)
        except OSError:
            # It died while it was idle: the unit is not to blame. The pipe tells of the death.
            self._units.appendleft(worker.unit)
            worker.unit, worker.ready = None, False
        except Exception as error:
            raise not_sent(f"The argument of unit {worker.unit.name}", error) from error

    def _hear(self, worker: _Worker) -> list[Attempt | Lost]:
        try:
            # Of a dead one, what it said before; asked after its death, else that may be missed.
            if not worker.process.is_alive() and not worker.pipe.poll():
                return self._lose(worker)
            said: Attempt | None = worker.pipe.recv()
        except (EOFError, OSError):
            return self._lose(worker)
        if said is None:
            worker.ready, self._stillborn = True, 0
            return []
        worker.unit = None
        return [said]

    def _lose(self, worker: _Worker) -> list[Attempt | Lost]:
        self._workers.remove(worker)
        worker.process.join(_MOMENT_S)  # its pipe ends a moment before it does
        code = self._bury(worker)
        if worker.unit is not None:
            return [Lost(worker.unit.name, f"its worker {_how(code)}.")]
        if not worker.ready:
            self._stillborn += 1
        if self._stillborn > 2 * self.room + 2:
            raise GeosegError(
                f"Worker processes end before they begin: the last one {_how(code)}; see what they "
                'said above, and begin a script of your own with if __name__ == "__main__".'
            )
        return []

    def _bury(self, worker: _Worker) -> int:
        worker.process.kill()
        worker.process.join()
        code = worker.process.exitcode
        worker.process.close()
        worker.pipe.close()
        return code or 0


def _how(code: int) -> str:
    if code == -signal.SIGKILL:
        return "was killed (SIGKILL), as happens when the memory is full (fewer workers need less)"
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _serve(pipe: Connection, work: Callable[[Any], Any], fence: Path) -> None:
    """The life of a worker."""
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_follow_parent, daemon=True).start()
    try:
        pipe.send(None)
        while True:
            pipe.send(attempt(work, pipe.recv(), fence))
    except (EOFError, OSError):
        # The parent is gone; what else it sent would only break the leaving.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _leave(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one would break the leaving
    raise SystemExit(0)


def _follow_parent() -> None:
    """Leave when the parent dies; else a unit is written by two after the next start."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_PATIENCE_S)
        os.kill(os.getpid(), signal.SIGKILL)
