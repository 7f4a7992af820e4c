"""A Dask cluster: processes of this machine, a running scheduler, or jobs of Slurm."""

from __future__ import annotations

import itertools
import logging
import queue
import signal
import time
import uuid
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from geoseg.errors import ConfigError, GeosegError
from geoseg.scale.crew import Lost, not_sent
from geoseg.scale.engine import seconds_of
from geoseg.scale.processes import THREADS, with_threads, without_ctrl_c
from geoseg.scale.unit import Attempt, Unit, attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from geoseg.scale.engine import Engine

__all__ = ["Cluster"]

_CONNECT_S = 20.0
_COUNT_EVERY_S = 2.0
_FETCH_S = 10.0
_LINGER_S = 0.01  # for others that end too: what is fetched and recorded together costs less
_READY = 8  # units a worker: that they come and go costs more than short ones take
_SHUN_S = 300.0  # a worker whose disk is full, or the like, while there are others
# One death is one attempt, and only the unit that a worker does is its victim, not those that would
# wait at the worker: they wait at the scheduler.
_SCHEDULER = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.work-stealing": False,  # by workers that are shunned
    "distributed.worker.daemon": False,  # work may have children, such as those that load data
}

# A worker that is full of what a network keeps would be paused for good.
_MEMORY = dict.fromkeys(
    (f"DASK_DISTRIBUTED__WORKER__MEMORY__{name}" for name in ("TARGET", "SPILL", "PAUSE")), "False"
)


class Cluster:
    """A client of a Dask scheduler.

    Raises:
        ConfigError: there is no scheduler at the address, or Slurm cannot be had.
    """

    def __init__(self, work: Callable[[Any], Any], fence: Path, engine: Engine) -> None:
        import dask.config
        from distributed import Client

        self._work, self._fence, self._engine = work, fence, engine
        self._futures: dict[tuple[str, int], tuple[Any, Unit]] = {}  # by key
        self._ends: queue.SimpleQueue[Any] = queue.SimpleQueue()
        # Of one group: the scheduler keeps tasks of large groups back until a worker is free.
        self._group, self._count = f"unit-{uuid.uuid4().hex}", itertools.count()
        self._counted_at, self._threads = -_COUNT_EVERY_S, dict[str, int]()
        self._shunned: dict[str, float] = {}  # workers on troubled machines, and until when
        with ExitStack() as stack:
            stack.enter_context(dask.config.set(_SCHEDULER))
            stack.enter_context(_silent("distributed.client"))  # what it says is told in a sentence
            # All the time: dead workers are replaced from here.
            stack.enter_context(with_threads(engine.threads))
            address = engine.address
            if address is None:
                address = stack.enter_context(_own_cluster(engine))
            try:
                client = Client(address, timeout=_CONNECT_S, set_as_default=False)  # type: ignore[no-untyped-call]
            except OSError as error:
                raise ConfigError(
                    f"No Dask scheduler answers at {address}; start one with `dask scheduler`."
                ) from error
            self._client = stack.enter_context(client)
            self._address = getattr(address, "scheduler_address", address)
            self._stack = stack.pop_all()

    @property
    def room(self) -> int:
        """Some a worker of ours; one a thread of a scheduler that may let units wait at workers.

        Units that only some workers may do wait at these: then one a worker too.
        """
        if (trusted := self._trusted()) is not None:
            return len(trusted)
        if self._engine.address is None:
            return _READY * self._engine.workers
        return max(sum(self._known().values()), 1)

    def take(self, unit: Unit) -> None:
        """Give it to the scheduler, under a key that is used once."""
        key = (self._group, next(self._count))
        trusted = self._trusted()
        try:
            future = self._client.submit(
                _attempt_there,
                self._work,
                unit,
                self._fence,
                key=key,
                pure=False,
                retries=0,
                workers=trusted,
                allow_other_workers=trusted is not None,  # should those go
            )
        except TypeError as error:  # by which Dask tells all that goes wrong in pickling
            raise not_sent(f"The argument of unit {unit.name}", error) from error
        self._futures[key] = future, unit
        future.add_done_callback(self._ends.put)

    def ended(self, timeout_s: float) -> list[Attempt | Lost]:
        """Units that have ended."""
        futures = []
        with suppress(queue.Empty):
            futures.append(self._ends.get(timeout=timeout_s))
            time.sleep(_LINGER_S)
            while True:
                futures.append(self._ends.get_nowait())
        told = self._fetched([future for future in futures if future.status == "finished"])
        return [end for future in futures for end in self._hear(future, told)]

    def stop(self) -> None:
        """Take back what is not done; workers of ours are ended."""
        for future, _ in self._futures.values():
            future.cancel(force=True)
        self._stack.close()

    def _trusted(self) -> list[str] | None:
        """Workers that may do a unit, where some are shunned; None for all."""
        now = time.monotonic()
        self._shunned = {one: until for one, until in self._shunned.items() if until > now}
        if not self._shunned:
            return None
        return [address for address in self._known() if address not in self._shunned] or None

    def _known(self) -> dict[str, int]:
        """Workers of the scheduler and how many threads each has, as of a moment ago."""
        if time.monotonic() > self._counted_at + _COUNT_EVERY_S:
            try:
                self._threads = dict(self._client.nthreads())
            except OSError as error:
                raise self._gone() from error
            self._counted_at = time.monotonic()
        return self._threads

    def _fetched(self, futures: list[Any]) -> dict[str, tuple[Attempt, str]]:
        """Results at the price of one, by unit; none where one of them does not come."""
        try:
            found = self._client.sync(
                self._client.gather, futures, errors="skip", callback_timeout=_FETCH_S
            )
        except Exception:  # noqa: BLE001  each is asked for by itself, and says what is wrong
            return {}
        return {tried.name: (tried, address) for tried, address in found}

    def _hear(
        self,
        future: Any,  # noqa: ANN401  a distributed.Future
        told: Mapping[str, tuple[Attempt, str]],
    ) -> list[Attempt | Lost]:
        from distributed import KilledWorker

        if future.cancelled():
            raise self._gone()
        _, unit = self._futures.pop(future.key)
        try:
            if unit.name in told or future.status in {"finished", "error"}:
                tried, address = told.get(unit.name) or future.result(timeout=_FETCH_S)
                if tried.troubled:
                    self._shunned[address] = time.monotonic() + _SHUN_S
                return [tried]
        except KilledWorker as error:
            died = (
                f"its worker on {error.last_worker.host} died, as happens when the memory is full."
            )
            return [Lost(unit.name, died, times=error.allowed_failures + 1)]
        except TimeoutError:
            pass
        except Exception as error:  # noqa: BLE001  of reading the work or its argument there
            reason = f"{type(error).__name__}: {error}"
            return [Attempt(name=unit.name, worker="", started=time.time(), error=reason)]
        # The result died with its worker before it was fetched. Dask would have it done again, but
        # tells of that unreliably.
        future.cancel(force=True)
        self.take(unit)
        return []

    def _gone(self) -> GeosegError:
        return GeosegError(
            f"The Dask scheduler {self._address} is gone; start it and run again to go on."
        )


def _slurm_cluster() -> Any:  # noqa: ANN401  dask_jobqueue.SLURMCluster
    """The class, whose import makes an end of the process of Ctrl-C: that is taken back."""
    before = signal.getsignal(signal.SIGINT)
    from dask_jobqueue import SLURMCluster  # type: ignore[attr-defined]

    signal.signal(signal.SIGINT, before)
    return SLURMCluster


@contextmanager
def _silent(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _attempt_there(work: Callable[[Any], Any], unit: Unit, fence: Path) -> tuple[Attempt, str]:
    """An attempt, and the address of the worker that made it."""
    from distributed import get_worker

    return attempt(work, unit, fence), get_worker().address


def _own_cluster(engine: Engine) -> Any:  # noqa: ANN401  a distributed.Cluster
    if engine.slurm is not None:
        return _slurm(engine.slurm, workers=engine.workers, threads=engine.threads)
    from distributed import LocalCluster

    with without_ctrl_c():
        cluster = LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=engine.workers,
            threads_per_worker=1,
            processes=True,
            memory_limit=0,  # the kernel's; Dask would pause and end workers at a share of it
            dashboard_address=":0",
            silence_logs=logging.CRITICAL,
        )
    # A worker that dies while it starts is given up by Dask; this replaces it.
    cluster.adapt(minimum=engine.workers, maximum=engine.workers)
    return cluster


def _slurm(slurm: Mapping[str, Any], *, workers: int, threads: int) -> Any:  # noqa: ANN401
    """Jobs of one worker each; those that end are replaced while there is work."""
    settings = dict(slurm)
    environment = dict.fromkeys(THREADS, str(threads)) | _MEMORY
    exports = [f"export {name}={value}" for name, value in environment.items()]
    extra = []
    if "walltime" in settings:
        # A worker that leaves in time hands its unit to another; one that Slurm ends loses it.
        limit_s = seconds_of(settings["walltime"])
        extra = ["--lifetime", f"{0.9 * limit_s:.0f}s"]
        extra += ["--lifetime-stagger", f"{0.05 * limit_s:.0f}s"]
    try:
        cluster = _slurm_cluster()(
            **settings
            | {
                "cores": 1,
                "processes": 1,
                "job_cpu": threads,
                "job_script_prologue": [*settings.get("job_script_prologue", []), *exports],
                "worker_extra_args": extra,
                "scheduler_options": {"dashboard_address": ":0"},
                "silence_logs": logging.CRITICAL,
            }
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(f"Slurm cannot be had with these settings: {error}") from error
    # Units take longer than the milliseconds that it plans with: a worker a unit, at once.
    cluster.adapt(minimum=1, maximum=workers, target_duration="1ms")
    return cluster
