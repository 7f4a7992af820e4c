"""Blocks of a store as units of work: where each is recorded, and how many have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from geoseg.scale import Ended

__all__ = ["counting", "forget_blocks", "record_of"]

_FOLDER = "blocks"


def record_of(out: Path, rows: slice, columns: slice) -> Path:
    """The file that says that a block is stored; its stem is the name of the block."""
    return out / _FOLDER / f"r{rows.start:06d}_c{columns.start:06d}.json"


def forget_blocks(out: Path, layout: Path) -> None:
    """Take back all that says what a store holds, before another is laid out in its place.

    Whatever ends the work then, nothing of the store that was is taken for a part of the new one.

    Args:
        out: folder of the records; what else lies in it stays.
        layout: the file that says which store is laid out.
    """
    layout.unlink(missing_ok=True)
    for record in (out / _FOLDER).glob("r*_c*.json"):
        record.unlink()


def counting(on_block: Callable[[int, int], None], blocks: int) -> Callable[[Ended], None]:
    """What tells `on_block` how many of the blocks have ended."""
    ended = 0

    def take(_: Ended) -> None:
        nonlocal ended
        ended += 1
        on_block(ended, blocks)

    return take
