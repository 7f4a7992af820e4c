"""Items that a thread makes before they are asked for."""

from __future__ import annotations

from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Ahead"]

T = TypeVar("T")

_POLL_S = 0.2


class Ahead(Generic[T]):
    """The items of an iterator, a few of them made in advance; for `with`, which ends the thread.

    What the iterator raises is raised where its item is asked for.
    """

    def __init__(self, items: Iterator[T], *, most: int) -> None:
        self._items = items
        self._queue: Queue[T] = Queue(maxsize=most)
        self._stopped, self._ended = Event(), Event()
        self._error: BaseException | None = None
        self._thread = Thread(target=self._fill, daemon=True)

    def __enter__(self) -> Iterator[T]:
        self._thread.start()
        return self._taken()

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _taken(self) -> Iterator[T]:
        while True:
            ended = self._ended.is_set()  # before the queue is found empty, not after
            try:
                yield self._queue.get(timeout=0 if ended else _POLL_S)
            except Empty:
                if ended and self._error is not None:
                    raise self._error from None
                if ended:
                    return

    def _fill(self) -> None:
        try:
            for item in self._items:
                if not self._put(item):
                    return
        except BaseException as error:  # noqa: BLE001  raised where it is waited for
            self._error = error
        finally:
            self._ended.set()

    def _put(self, item: T) -> bool:
        """Whether there was room for it before nobody wanted any more."""
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=_POLL_S)
            except Full:
                continue
            return True
        return False
