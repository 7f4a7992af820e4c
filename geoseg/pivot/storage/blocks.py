"""Blocks of a store as units of work: where each is recorded, and how many have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from geoseg.pivot.storage.arrays import tiles_of
from geoseg.scale import Engine, Unit, run_units

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from odc.geo.geobox import GeoBox

    from geoseg.scale import Ended, Manifest, Summary

__all__ = ["PLAN", "Block", "blocks_of", "forget_blocks", "plan_of", "run_blocks"]

PLAN = "plan.json"  # beside a store: what it is made of
_FOLDER = "blocks"


class Block(NamedTuple):
    """Cells that are stored together."""

    rows: slice
    columns: slice
    record: Path  # the file that says that it is stored; its stem is the name of the block


class _Job(Protocol):
    @property
    def block(self) -> Block: ...


def blocks_of(out: Path, grid: GeoBox, side: int) -> list[Block]:
    """All blocks of a grid, recorded in a folder."""
    return [
        Block(rows, columns, out / _FOLDER / f"r{rows.start:06d}_c{columns.start:06d}.json")
        for rows, columns in tiles_of(grid, side)
    ]


def run_blocks(
    work: Callable[[Any], Any],
    jobs: Sequence[_Job],
    inputs: str,
    *,
    manifest: Manifest,
    engine: Engine | None,
    on_block: Callable[[int, int], None],
) -> Summary:
    """Do the blocks that are missing; each writes its record when all of it is stored.

    Args:
        work: as of `run_units`.
        jobs: its arguments.
        inputs: what tells their input from another.
        manifest: of the folder of the records.
        engine: who does it; this process when None.
        on_block: is told of how many of the blocks have ended.
    """
    ended = 0

    def take(_: Ended) -> None:
        nonlocal ended
        ended += 1
        on_block(ended, len(jobs))

    units = [Unit(job.block.record.stem, job, job.block.record, inputs) for job in jobs]
    return run_units(work, units, engine=engine or Engine(), manifest=manifest, on_done=take)


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


def plan_of(store: Path) -> str | None:
    """What tells one pivot at a place from another; None where nothing does."""
    plan = store.parent / PLAN
    return plan.read_text(encoding="utf-8") if plan.is_file() else None
