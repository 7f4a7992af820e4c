"""Tiles of a scene through networks, from top to bottom, in memory that does not grow."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

import numpy as np

from geoseg.inference.canvas import open_canvas
from geoseg.inference.scene_view import SceneView

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from numpy.typing import NDArray

    from geoseg.inference.canvas import Canvas
    from geoseg.inference.chance import Mapper
    from geoseg.inference.layers import Layers
    from geoseg.inference.tiles import TileGrid
    from geoseg.scenes import Pixels, SceneReader

__all__ = ["AHEAD", "Done", "OnTile", "Strip", "rows_at_once", "strips"]

_Scalar = TypeVar("_Scalar", bound=np.generic)

AHEAD = 2  # batches that are read while one is mapped
_MORE_ROWS = 4  # that may be held for the sake of full batches
_MOST_COLUMNS = 2**20  # of tiles, to number them


class OnTile(Protocol):
    """Is told of every tile."""

    def __call__(self, done: int, total: int, /) -> None:
        """Take the number of tiles done and of all tiles."""


class Strip(NamedTuple):
    """Rows of a scene that are finished."""

    number: int  # of the strip, from the top
    layers: NDArray[np.uint8]  # (B, h, W)
    overlap: NDArray[np.generic] | None  # what the next one goes on from


class Done(NamedTuple):
    """Where an earlier run stopped."""

    strips: int
    overlap: NDArray[np.generic] | None


def rows_at_once(grid: TileGrid, batch: int) -> int:
    """Rows of tiles that are mapped together: so many that batches are about full."""
    columns = len(grid.columns.starts)
    fewest = max(1, batch // columns)

    def shown(rows: int) -> float:
        return -(-rows * columns // batch) * batch / (rows * columns)

    return min(range(fewest, fewest + _MORE_ROWS), key=shown)


def strips(
    readers: Sequence[SceneReader],
    mapper: Mapper,
    grid: TileGrid,
    layers: Layers,
    *,
    batch: int,
    done: Done,
    on_tile: OnTile,
) -> Generator[Strip]:
    """Finished strips of a scene, after those that are done.

    What a strip holds does not depend on where an earlier run stopped: batches never reach over
    the end of a strip, and the overlap with the next one is handed on whole.

    Args:
        readers: of the same scene; each reads a part of every row of tiles in its own thread.
        mapper: the networks.
        grid: of tiles.
        layers: that are kept.
        batch: tiles at once.
        done: by an earlier run.
        on_tile: is told of every tile.
    """
    at_once = rows_at_once(grid, batch)
    canvas = open_canvas(grid, layers, at_once)
    if done.strips:
        canvas.go_on(min(done.strips * at_once, len(grid.rows.starts)) - 1, done.overlap)
    view = SceneView.of(readers[0], mapper.spec.input, mapper.device)
    numbers = range(done.strips, -(-len(grid.rows.starts) // at_once))
    batches = _Batches(mapper, view, canvas, batch)
    mapped = min(done.strips * at_once, len(grid.rows.starts)) * len(grid.columns.starts)
    # Closed before the files are, whatever ends this: a thread may be reading.
    with closing(_read_ahead(readers, grid, numbers.start * at_once, AHEAD * batch)) as ahead:
        for number in numbers:
            rows = range(number * at_once, min((number + 1) * at_once, len(grid.rows.starts)))
            for _ in range(len(rows) * len(grid.columns.starts)):
                (row, col), tile = next(ahead)
                # A tile without data never reaches the network.
                if tile.valid.any():
                    batches.add(tile, row, col)
                mapped += 1
                on_tile(mapped, grid.count)
            batches.flush()
            yield Strip(number, canvas.finish(rows[-1]), canvas.overlap())


class _Batches:
    """Collects tiles, maps them when a batch is full, and puts them on the canvas."""

    def __init__(self, mapper: Mapper, view: SceneView, canvas: Canvas, size: int) -> None:
        self._mapper, self._view, self._canvas, self._size = mapper, view, canvas, size
        self._tiles: list[tuple[Pixels, int, int]] = []

    def add(self, tile: Pixels, row: int, col: int) -> None:
        """Take a tile."""
        self._tiles.append((tile, row, col))
        if len(self._tiles) == self._size:
            self.flush()

    def flush(self) -> None:
        """Map what was collected."""
        tiles, self._tiles = self._tiles, []
        if not tiles:
            return
        places = [(row, col) for _, row, col in tiles]
        seed = places[0][0] * _MOST_COLUMNS + places[0][1]
        images = _joined([tile.image for tile, _, _ in tiles])
        valid = _joined([tile.valid for tile, _, _ in tiles])
        chance = self._mapper(self._view.show(images, valid), seed)
        found = self._canvas.ready(chance, places)
        for pixels, (tile, row, col) in zip(found, tiles, strict=True):
            self._canvas.put(pixels, tile.valid, row, col)


def _read_ahead(
    readers: Sequence[SceneReader], grid: TileGrid, first_row: int, ahead: int
) -> Generator[tuple[tuple[int, int], Pixels]]:
    """Tiles of all rows from the first, read by a thread a reader some tiles ahead.

    Each reader has its own columns, so that most blocks of the file are decoded once; the tiles
    come from each in turn.
    """
    parts = np.array_split(np.arange(len(grid.columns.starts)), len(readers))
    with ExitStack() as stack:
        pools = [stack.enter_context(_one_thread()) for _ in readers]
        waiting: deque[tuple[tuple[int, int], Future[Pixels]]] = deque()
        for row in range(first_row, len(grid.rows.starts)):
            for who, col in _in_turn(parts):
                task = pools[who].submit(readers[who].read, grid.window(row, col))
                waiting.append(((row, col), task))
                if len(waiting) > ahead:
                    place, task = waiting.popleft()
                    yield place, task.result()
        for place, task in waiting:
            yield place, task.result()


def _in_turn(parts: Sequence[NDArray[np.int_]]) -> Iterator[tuple[int, int]]:
    """Number and member of each part in turn, until all are empty."""
    for members in zip_longest(*parts):
        for who, member in enumerate(members):
            if member is not None:
                yield who, int(member)


@contextmanager
def _one_thread() -> Iterator[ThreadPoolExecutor]:
    """A thread that drops what it was asked for and did not begin when the block ends."""
    pool = ThreadPoolExecutor(1)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _joined(arrays: Sequence[NDArray[_Scalar]]) -> NDArray[_Scalar]:
    return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)
