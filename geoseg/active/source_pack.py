"""Embeddings of the places of a pack: those of a classifier, or colours and textures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from geoseg.active.pool import PoolBatch
from geoseg.errors import ConfigError, DataError, ModelError
from geoseg.files import writing
from geoseg.models import choose_device
from geoseg.presence.ahead import Ahead
from geoseg.presence.loaded import same_classifier, same_pack
from geoseg.presence.packs import Pack, Problem, Shard, read_pack, read_shard
from geoseg.presence.scoring import batches_of, fit_places
from geoseg.scale import Manifest, Unit, inputs_hash, run_units
from geoseg.training.forest import statistics_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from geoseg.models import Classifier
    from geoseg.presence.scoring import Ready
    from geoseg.scale import Ended, Engine

__all__ = ["Embedded", "PackJob", "batches_of_pack", "embed_pack"]

_AHEAD = 2  # batches that wait for the network
_MOST_IMAGES = 128  # of a batch
_SMALLEST_SD = 1e-6
_FARTHEST = 30.0  # standard deviations: farther out is as far
_PART = pa.schema(
    [
        ("item", pa.string()),
        ("lon", pa.float64()),
        ("lat", pa.float64()),
        ("embedding", pa.list_(pa.float32())),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackJob:
    """What is embedded, and by what."""

    pack: Path
    model: Path | None  # a classifier; without one, statistics of pixels
    sha256: str = ""  # of the model
    device: str = "auto"


class Embedded(NamedTuple):
    """What became of a pack."""

    items: int
    width: int  # numbers of an embedding
    problems: list[Problem]  # places that were left out


class _ShardJob(NamedTuple):
    job: PackJob
    digest: str  # of the pack
    shard: Shard
    output: Path


def embed_pack(
    job: PackJob,
    out: Path,
    engine: Engine,
    on_shard: Callable[[int, int], None] = lambda _done, _total: None,
) -> Embedded:
    """Embed the places of a pack, shard by shard; shards that are done are not done again.

    The embedding of a place is the mean of those of its images by the attention of the classifier
    over dates; without a classifier the mean of `statistics_of` them. Places that show nothing
    valid are left out.

    Args:
        job: pack and classifier.
        out: gets a file for each shard, for `batches_of_pack`.
        engine: who does it.
        on_shard: is told of every shard.

    Raises:
        ConfigError: without a classifier, a pack of images of several kinds.
        DataError: no pack, or shards that cannot be read, or one place in all that shows something.
        ModelError: no classifier, or it gives numbers that are not finite.
        OutputError: the folder cannot be written.
    """
    pack = read_pack(job.pack)
    if job.model is None and len(pack.kinds) != 1:
        raise ConfigError(
            f"{job.pack} holds images of {len(pack.kinds)} kinds, whose colours cannot be compared "
            "without a model; give --model, or pack one sensor alone."
        )
    ended = 0

    def take(_: Ended) -> None:
        nonlocal ended
        ended += 1
        on_shard(ended, len(pack.shards))

    with Manifest(out) as manifest:
        units = _units(job, pack, out)
        run_units(_embed_shard, units, engine=engine, manifest=manifest, on_done=take)
        if failures := manifest.failures():
            raise DataError(
                f"{len(failures)} of {len(pack.shards)} shards were not embedded "
                f"({failures[0].error}); mend that and run again."
            )
        results = dict(manifest.results())
    done = [results[f"{number:06d}"] for number in range(len(pack.shards))]
    widths = {result["width"] for result in done} - {0}
    if not widths:
        raise DataError(f"{job.pack} has no place that shows anything; give another pack.")
    return Embedded(
        items=sum(result["items"] for result in done),
        width=widths.pop(),
        problems=[Problem(*problem) for result in done for problem in result["problems"]],
    )


def batches_of_pack(pack: Path, out: Path, *, standard: bool) -> Iterator[PoolBatch]:
    """The places that `embed_pack` embedded, in the order of the pack.

    Args:
        pack: its folder.
        out: what `embed_pack` wrote.
        standard: whether to bring each number to mean 0 and standard deviation 1 over all places,
            as numbers of several units need it.
    """
    parts = [_part(out, number) for number in range(len(read_pack(pack).shards))]
    if not standard:
        for part in parts:
            yield from _read_part(part)
        return
    mean, sd = _moments(parts)
    for part in parts:
        for batch in _read_part(part):
            scaled = ((batch.embeddings - mean) / sd).clip(-_FARTHEST, _FARTHEST)
            yield batch._replace(embeddings=scaled.astype(np.float32))


def _units(job: PackJob, pack: Pack, out: Path) -> Iterator[Unit]:
    for number, shard in enumerate(pack.shards):
        output = _part(out, number)
        inputs = inputs_hash([job.sha256, pack.digest, shard.sha256])
        yield Unit(f"{number:06d}", _ShardJob(job, pack.digest, shard, output), output, inputs)


def _embed_shard(work: _ShardJob) -> dict[str, Any]:
    """Embed one shard; counts and problems."""
    pack = same_pack(work.job.pack, work.digest)
    problems: list[Problem] = []
    embed = _by_statistics if work.job.model is None else _by_classifier
    found = embed(work, pack, problems)
    with writing(work.output) as aside:
        _write_part(aside, found)
    return {
        "items": len(found.items),
        "width": found.embeddings.shape[1] if found.items else 0,
        "problems": problems,
    }


def _by_classifier(work: _ShardJob, pack: Pack, problems: list[Problem]) -> PoolBatch:
    assert work.job.model is not None
    device = choose_device(work.job.device)
    classifier = same_classifier(work.job.model, work.job.sha256).classifier.to(device)
    places = fit_places(read_shard(work.shard, pack), classifier, problems.append)
    # By number, so that items come in the order of the shard whatever their shapes are.
    found: list[tuple[int, str, float, float, NDArray[np.float32]]] = []
    ready = batches_of(places, _MOST_IMAGES)
    with torch.inference_mode(), Ahead(ready, most=_AHEAD) as batches:
        for batch in batches:
            embeddings, seen = _of_places(batch, classifier, device)
            for row, (number, place) in enumerate(zip(batch.numbers, batch.places, strict=True)):
                if seen[row]:
                    found.append((number, place.id, place.lon, place.lat, embeddings[row]))
                else:
                    problems.append(_shows_nothing(place.id))
    found.sort(key=lambda one: one[0])
    return _batch([one[1:] for one in found])


def _of_places(
    ready: Ready, classifier: Classifier, device: torch.device
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Embeddings (n, D) of places, and which of them (n,) show something."""
    batch = ready.batch.to(device)
    said = classifier([b.view() for b in batch.batches], batch.owners, batch.size)
    found, seen = said.joined.float().cpu().numpy(), batch.seen.cpu().numpy()
    if not np.isfinite(found[seen]).all():
        raise ModelError("The network gives numbers that are not finite; train it again.")
    return found, seen


def _by_statistics(work: _ShardJob, pack: Pack, problems: list[Problem]) -> PoolBatch:
    found = []
    for place in read_shard(work.shard, pack):
        if isinstance(place, Problem):
            problems.append(place)
            continue
        rows = [statistics_of(image) for image in place.images if image.valid.any()]
        if rows:
            found.append((place.id, place.lon, place.lat, np.mean(rows, axis=0)))
        else:
            problems.append(_shows_nothing(place.id))
    return _batch(found)


def _shows_nothing(name: str) -> Problem:
    return Problem(name, "it shows nothing valid.")


def _batch(rows: list[tuple[str, float, float, NDArray[np.float32]]]) -> PoolBatch:
    names, lon, lat, embeddings = zip(*rows, strict=True) if rows else ((), (), (), ())
    return PoolBatch(
        list(names),
        np.array(lon, dtype=np.float64),
        np.array(lat, dtype=np.float64),
        np.array(embeddings, dtype=np.float32),
    )


def _part(out: Path, number: int) -> Path:
    return out / f"{number:06d}.parquet"


def _write_part(path: Path, batch: PoolBatch) -> None:
    columns = [batch.items, batch.lon, batch.lat, list(batch.embeddings)]
    pq.write_table(pa.table(columns, schema=_PART), path)


def _read_part(path: Path) -> Iterator[PoolBatch]:
    """The places of a part, if any."""
    table = pq.read_table(path)
    if len(table):
        flat = table["embedding"].combine_chunks().flatten().to_numpy()
        yield PoolBatch(
            table["item"].to_pylist(),
            table["lon"].to_numpy(),
            table["lat"].to_numpy(),
            flat.reshape(len(table), -1),
        )


def _moments(parts: Sequence[Path]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation (D,) of each number."""
    count, total, squares = 0, np.float64(0), np.float64(0)
    for part in parts:
        for batch in _read_part(part):
            values = batch.embeddings.astype(np.float64)
            count += len(values)
            total = total + values.sum(axis=0)
            squares = squares + (values**2).sum(axis=0)
    mean = np.asarray(total / count)
    sd = np.sqrt(np.maximum(squares / count - mean**2, 0))
    still = sd <= _SMALLEST_SD * np.abs(mean).clip(min=_SMALLEST_SD)
    return mean, np.where(still, 1.0, sd)
