"""One pass over rows: a logit, a probability and a decision for every place."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from geoseg.errors import DataError, ModelError
from geoseg.files import sha256_of, writing
from geoseg.models import load_classifier
from geoseg.presence.about import about_run, require_same, short, write_about
from geoseg.presence.results import SCHEMA, part_of_shard, parts_of
from geoseg.presence.rows.embedder import weights_sha256
from geoseg.presence.rows.head import load_head
from geoseg.presence.rows.places import RowScorer
from geoseg.presence.rows.store import (
    RowGroup,
    RowsHeader,
    digest_of_rows,
    index_rows,
    read_block,
    read_header,
    require_rows_of,
)
from geoseg.presence.rows.table import place_table
from geoseg.presence.scoring import Verdict
from geoseg.scale import Ended, Failure, Manifest, Unit, inputs_hash, run_units

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from geoseg.models import Classifier, ClassifierCheckpoint
    from geoseg.presence.rows.head import LinearHead
    from geoseg.scale import Engine

__all__ = ["ScoreJob", "Scored", "score_rows"]

_SHARD_ROWS = 2**20  # in a file of results, about


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreJob:
    """What is to be scored, and how."""

    rows: Path
    model: Path
    out: Path
    head: Path | None = None  # in place of that of the model
    prevalence: float | None = None  # share of places that hold it; that of the model when None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What came of a job."""

    places: int
    images: int
    decided: int  # places said to hold what is looked for
    expected: float  # sum of probabilities
    threshold: float
    calibrated: bool
    failed: tuple[Failure, ...]


def score_rows(
    job: ScoreJob, *, engine: Engine, on_done: Callable[[int, int], None] | None = None
) -> Scored:
    """Score all rows of a folder, block by block of places with all of their scenes.

    Memory grows with the rows of the densest block, not with their number. What was stopped is
    gone on with.

    Args:
        job: what to score.
        engine: who does it.
        on_done: is told of shards that ended, and of all.

    Raises:
        ConfigError: the folder holds results of another model, head, prevalence or set of rows, or
            of a pack; a prevalence that is not between 0 and 1.
        DataError: there are no rows, or a file of them is damaged.
        ModelError: the rows or the head are of another model, or a prevalence is given for one
            that is not calibrated.
        OutputError: the results cannot be written, or another run is writing them.
    """
    header = read_header(job.rows)
    checkpoint = load_classifier(job.model)
    record = _record(job, checkpoint, header)
    verdict = Verdict.of(record, job.prevalence)
    about = about_run(checkpoint, record, verdict, _source(job))
    require_same(job.out, about)
    units = list(_units(job, header, verdict))
    totals: dict[str, Any] = {"places": 0, "images": 0, "decided": 0, "expected": 0.0}
    ended = 0

    def count(end: Ended) -> None:
        nonlocal ended
        ended += 1
        if end.state != "failed":
            for key in totals:
                totals[key] += end.result[key]
        if on_done is not None:
            on_done(ended, len(units))

    with Manifest(job.out) as manifest:
        with manifest.held():
            _drop_others(manifest, units)
            write_about(job.out, about, state="running", shards=len(units))
        summary = run_units(score_shard, units, engine=engine, manifest=manifest, on_done=count)
    done = len(units) - len(summary.failed)
    write_about(job.out, about, state="done", shards=len(units), shards_done=done, **totals)
    return Scored(
        threshold=verdict.threshold,
        calibrated=verdict.calibration is not None,
        failed=summary.failed,
        **totals,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """One unit: some blocks of places."""

    job: ScoreJob
    header: RowsHeader
    verdict: Verdict
    models: tuple[str, ...]  # SHA-256 of the model and of the head
    blocks: tuple[tuple[RowGroup, ...], ...]  # the row groups of each
    output: Path


def score_shard(task: _Task) -> dict[str, float]:
    """Write the results of some blocks of places, and sum them up."""
    classifier, head = _networks(task.job.model, task.job.head, task.models)
    scorer = RowScorer(classifier=classifier, quantiser=task.header.quantiser, head=head)
    found = {"places": 0, "images": 0, "decided": 0, "expected": 0.0}
    with (
        writing(task.output) as aside,
        pq.ParquetWriter(aside, SCHEMA, compression="zstd") as writer,
    ):
        for groups in task.blocks:
            # Within one file no place has two images, and the logits of images are there already.
            rows = read_block(groups, embeddings=scorer.head is not None or len(groups) > 1)
            table = place_table(
                rows,
                scorer(rows),
                task.header.grid,
                verdict=task.verdict,
                model=short(task.models[-1]),
            )
            writer.write_table(table)
            # What Arrow keeps for later adds up over blocks of many sizes.
            pa.default_memory_pool().release_unused()
            found["places"] += len(table)
            found["images"] += len(rows.cell)
            found["decided"] += pc.sum(table["decision"]).as_py()
            found["expected"] += pc.sum(table["probability"]).as_py()
    return found


def _record(
    job: ScoreJob, checkpoint: ClassifierCheckpoint, header: RowsHeader
) -> Mapping[str, Any]:
    """That of what gives the logits, model or head; refuses one that the rows are not of."""
    embedder_sha256, head_sha256 = weights_sha256(checkpoint.classifier)
    require_rows_of(job.rows, header, job.model, embedder_sha256)
    if job.head is None:
        if head_sha256 != header.head_sha256:
            raise ModelError(
                f"The head of {job.model} is not the one that {job.rows} was made with; give the "
                "model that it was made with, or this head by --head."
            )
        return checkpoint.record
    head = load_head(job.head)
    if head.embedder_sha256 != embedder_sha256:
        raise ModelError(f"{job.head} was fitted to rows of another model; fit it to {job.rows}.")
    return head.record


def _source(job: ScoreJob) -> dict[str, Any]:
    """What is looked at, and by what head."""
    return {
        "rows": str(job.rows),
        "rows_digest": digest_of_rows(job.rows),
        "head": None if job.head is None else sha256_of(job.head),
    }


@lru_cache(maxsize=1)
def _networks(
    model: Path, head: Path | None, models: tuple[str, ...]
) -> tuple[Classifier, LinearHead | None]:
    """Those of this process, once for all of its units; others where the files have changed."""
    if models != _sha256s(model, head):
        raise ModelError(f"{model} was changed while it was used; run the same command again.")
    return load_classifier(model).classifier, None if head is None else load_head(head)


def _sha256s(model: Path, head: Path | None) -> tuple[str, ...]:
    return tuple(sha256_of(path) for path in (model, head) if path is not None)


def _units(job: ScoreJob, header: RowsHeader, verdict: Verdict) -> Iterator[Unit]:
    """Shards of about as many rows, each of whole blocks."""
    index = index_rows(job.rows, header.grid)
    if not index:
        raise DataError(f"{job.rows} holds no row; embed scenes with something valid.")
    models = _sha256s(job.model, job.head)
    states = {group.path: _state(group.path) for group in index}
    blocks = [tuple(groups) for _, groups in groupby(index, key=lambda group: group.block)]
    for number, shard in enumerate(_shards(blocks)):
        output = part_of_shard(job.out, number)
        task = _Task(
            job=job, header=header, verdict=verdict, models=models, blocks=shard, output=output
        )
        inputs = [
            models,
            verdict.prevalence,
            [[states[group.path], group.number] for groups in shard for group in groups],
        ]
        yield Unit(output.parent.name, task, output, inputs_hash(inputs))


def _shards(
    blocks: Sequence[tuple[RowGroup, ...]],
) -> Iterator[tuple[tuple[RowGroup, ...], ...]]:
    shard: list[tuple[RowGroup, ...]] = []
    rows = 0
    for groups in blocks:
        shard.append(groups)
        rows += sum(group.rows for group in groups)
        if rows >= _SHARD_ROWS:
            yield tuple(shard)
            shard, rows = [], 0
    if shard:
        yield tuple(shard)


def _state(path: Path) -> list[Any]:
    found = path.stat()
    return [path.name, found.st_size, found.st_mtime_ns]


def _drop_others(manifest: Manifest, units: Sequence[Unit]) -> None:
    """Remove results of an earlier run, of other rows, so that they are never beside new ones."""
    inputs = {unit.name: unit.inputs for unit in units}
    for path in parts_of(manifest.folder):
        name = path.parent.name
        if name not in inputs or not manifest.is_done(name, inputs[name]):
            path.unlink()
