"""Embeddings of the places of a pack: those of a classifier, or colours and textures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from geoseg.active.pool import PoolBatch
from geoseg.errors import ConfigError, DataError, ModelError
from geoseg.files import writing
from geoseg.models import choose_device
from geoseg.models.classifier import ClassifierCheckpoint, load_classifier
from geoseg.presence.ahead import Ahead
from geoseg.presence.packs import Pack, Problem, Shard, read_pack, read_shard
from geoseg.presence.scoring import batches_of, fit_places
from geoseg.scale import Manifest, Unit, inputs_hash, run_units
from geoseg.training.forest import statistics_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
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
    shards = len(read_pack(pack).shards)
    mean, sd = _moments(out, shards) if standard else (np.float64(0), np.float64(1))
    for number in range(shards):
        for batch in _read_part(_part(out, number)):
            scaled = ((batch.embeddings - mean) / sd).clip(-_FARTHEST, _FARTHEST)
            yield batch._replace(embeddings=scaled.astype(np.float32)) if standard else batch


def _units(job: PackJob, pack: Pack, out: Path) -> Iterator[Unit]:
    for number, shard in enumerate(pack.shards):
        output = _part(out, number)
        inputs = inputs_hash([job.sha256, pack.digest, shard.sha256])
        yield Unit(f"{number:06d}", _ShardJob(job, pack.digest, shard, output), output, inputs)


def _embed_shard(work: _ShardJob) -> dict[str, Any]:
    """Embed one shard; counts and problems."""
    pack = _pack(work.job.pack, work.digest)
    problems: list[Problem] = []
    with_model = work.job.model is not None
    embed = _by_classifier if with_model else _by_statistics
    found = [batch for batch in embed(work, pack, problems) if len(batch.items)]
    with writing(work.output) as aside:
        _write_part(aside, found)
    return {
        "items": sum(len(batch.items) for batch in found),
        "width": found[0].embeddings.shape[1] if found else 0,
        "problems": problems,
    }


def _by_classifier(work: _ShardJob, pack: Pack, problems: list[Problem]) -> Iterator[PoolBatch]:
    assert work.job.model is not None
    device = choose_device(work.job.device)
    classifier = _checkpoint(work.job.model, work.job.sha256).classifier.to(device)
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
    yield _batch([one[1:] for one in found])


def _of_places(
    ready: Ready, classifier: Classifier, device: torch.device
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Embeddings (n, D) of places, and which of them (n,) show something."""
    batch = ready.batch.to(device)
    said = classifier([b.view() for b in batch.batches], batch.owners, batch.size)
    images = torch.cat(said.embeddings)
    owner = torch.cat(batch.owners).cpu().numpy()
    valid = torch.cat([b.valid.flatten(1).float().mean(dim=1) for b in batch.batches])
    logits = (classifier.dates(images) + valid.log()).double().cpu().numpy()
    top = np.full(batch.size, -np.inf)
    np.maximum.at(top, owner, logits)
    seen = np.isfinite(top)
    weights = np.exp(logits - np.where(seen, top, 0)[owner])
    total = np.bincount(owner, weights, minlength=batch.size)
    places = np.zeros((batch.size, images.shape[1]))
    np.add.at(places, owner, weights[:, None] * images.double().cpu().numpy())
    found = places[seen] / total[seen, None]
    if not np.isfinite(found).all():
        raise ModelError("The network gives numbers that are not finite; train it again.")
    places[seen] = found
    return places.astype(np.float32), seen


def _by_statistics(work: _ShardJob, pack: Pack, problems: list[Problem]) -> Iterator[PoolBatch]:
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
    yield _batch(found)


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


def _write_part(path: Path, batches: list[PoolBatch]) -> None:
    columns: dict[str, list[Any]] = {"item": [], "lon": [], "lat": [], "embedding": []}
    for batch in batches:
        columns["item"] += batch.items
        columns["lon"] += batch.lon.tolist()
        columns["lat"] += batch.lat.tolist()
        columns["embedding"] += list(batch.embeddings)
    schema = pa.schema(
        [
            ("item", pa.string()),
            ("lon", pa.float64()),
            ("lat", pa.float64()),
            ("embedding", pa.list_(pa.float32())),
        ]
    )
    pq.write_table(pa.table(columns, schema=schema), path)


def _read_part(path: Path) -> Iterator[PoolBatch]:
    table = pq.read_table(path)
    if len(table):
        flat = table["embedding"].combine_chunks().flatten().to_numpy()
        yield PoolBatch(
            table["item"].to_pylist(),
            table["lon"].to_numpy(),
            table["lat"].to_numpy(),
            flat.reshape(len(table), -1),
        )


def _moments(out: Path, shards: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation (D,) of each number."""
    count, total, squares = 0, np.float64(0), np.float64(0)
    for number in range(shards):
        for batch in _read_part(_part(out, number)):
            values = batch.embeddings.astype(np.float64)
            count += len(values)
            total = total + values.sum(axis=0)
            squares = squares + (values**2).sum(axis=0)
    mean = np.asarray(total / count)
    sd = np.sqrt(np.maximum(squares / count - mean**2, 0))
    still = sd <= _SMALLEST_SD * np.abs(mean).clip(min=_SMALLEST_SD)
    return mean, np.where(still, 1.0, sd)


@lru_cache(maxsize=1)
def _checkpoint(path: Path, sha256: str) -> ClassifierCheckpoint:
    checkpoint = load_classifier(path)
    if checkpoint.sha256 != sha256:
        raise ModelError(f"{path} was changed while it was used; run again.")
    return checkpoint


@lru_cache(maxsize=1)
def _pack(folder: Path, digest: str) -> Pack:
    pack = read_pack(folder)
    if pack.digest != digest:
        raise DataError(f"{folder} was packed anew while it was read; run again.")
    return pack
