"""Making a pack, shard by shard, to be stopped at any moment and gone on with."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoseg.errors import ConfigError
from geoseg.files import write_json, write_text, writing
from geoseg.presence.packs.count import Count
from geoseg.presence.packs.given import Given
from geoseg.presence.packs.kind import PALETTE_PX, ImageKind, PixelSample
from geoseg.presence.packs.pack import PACK, Foreign, Problem, Shard, read_pack, write_pack
from geoseg.presence.packs.read import SHARD_SUFFIXES, read_stored
from geoseg.presence.packs.sources import Chips, Points, Shards
from geoseg.presence.packs.tables import TableWriter
from geoseg.presence.packs.tars import TarWriter
from geoseg.scale import Engine, Manifest, Unit, inputs_hash, run_units

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from geoseg.presence.packs.pack import Pack
    from geoseg.scale import Ended

__all__ = ["PROBLEMS", "Packed", "make_pack", "write_problems"]

PROBLEMS = "problems.csv"
_MANY_SHARDS = 32  # of which a few pixels each make a palette
_FEW_PX = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """What became of packing."""

    pack: Pack
    problems: tuple[Problem, ...]  # what was left out
    present: int  # places known to hold what is looked for
    absent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One shard to be made, or to be looked through."""

    source: Chips | Points | Given | Path
    foreign: Foreign | None
    output: Path
    most_px: int  # of a palette


def make_pack(
    source: Chips | Points | Given | Shards,
    folder: Path,
    *,
    per_shard: int = 2000,
    suffix: str = ".tar",
    problems: Iterable[Problem] = (),
    on_shard: Callable[[int, int], None] = lambda _done, _total: None,
) -> Packed:
    """Make a pack, or go on with one that was stopped; shards that are there are not made again.

    Shards of an earlier pack in the folder that are no part of this one are deleted. From when the
    first of its shards is made anew until all are, the folder is no finished pack.

    Args:
        source: what goes into it.
        folder: of the pack; shards of somebody else are only described in it.
        per_shard: places of a shard.
        suffix: .tar (WebDataset) or .parquet.
        problems: found before, told of with the others.
        on_shard: is told of every shard.

    Raises:
        ConfigError: the folder holds the chips or a pack of something else, or nothing can be
            packed.
        OutputError: it cannot be written, or another run is writing it.
    """
    units = list(_units(source, folder, per_shard, suffix))
    _require_fit(folder, source)
    found = _Found(list(problems))
    failed: list[Problem] = []

    def take(ended: Ended) -> None:
        if ended.state == "failed":
            failed.append(Problem(ended.name, ended.error))
        else:
            found.take(ended.name, ended.result)
        on_shard(len(failed) + len(found.shards), len(units))

    with Manifest(folder) as manifest:
        begun = units if isinstance(source, Shards) else _unfinished(units, folder, manifest)
        run_units(_pack_shard, begun, engine=Engine(), manifest=manifest, on_done=take)
        jobs = {unit.name: unit.argument for unit in units}
        foreign = source.foreign if isinstance(source, Shards) else None
        foreign, strangers = _with_labels_of(found.labelled, foreign)
        told = (*found.problems, *strangers, *failed)
        write_problems(folder / PROBLEMS, told)
        shards = [_shard(jobs[name], found.shards[name]) for name in sorted(found.shards)]
        if not any(shard.places for shard in shards):
            reason = f"; the first of {len(told)} problems: {told[0].reason}" if told else "."
            raise ConfigError(f"Nothing could be packed into {folder}{reason}")
        pack = write_pack(
            folder,
            {kind: sample.palette() for kind, sample in found.samples.items()},
            [shard for shard in shards if shard.places],
            source=type(source).__name__,
            origin=source.origin,
            foreign=foreign,
        )
        _delete_others(units, manifest)
    return Packed(pack=pack, problems=told, present=found.present, absent=found.absent)


def write_problems(path: Path, problems: Iterable[Problem]) -> None:
    """Write what was left out as CSV; no file where nothing was."""
    text = StringIO()
    rows = csv.writer(text)
    rows.writerow(Problem._fields)
    count = 0
    for problem in problems:
        rows.writerow(problem)
        count += 1
    if count:
        write_text(path, text.getvalue())
    else:
        path.unlink(missing_ok=True)


class _Found:
    """What the shards that are made tell of, taken together."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        self.shards: dict[str, dict[str, Any]] = {}
        self.samples: dict[ImageKind, PixelSample] = {}
        self.present = self.absent = 0
        self.labelled: set[str] = set()  # places of shards that a table knows

    def take(self, name: str, result: dict[str, Any]) -> None:
        self.shards[name] = result
        self.present += result["present"]
        self.absent += result["absent"]
        self.labelled.update(result.get("labelled", ()))
        self.problems += [Problem(*problem) for problem in result["problems"]]
        for entry in result["kinds"]:
            sample = self.samples.setdefault(ImageKind.of(entry), PixelSample(len(entry["bands"])))
            pixels = np.array(entry["pixels"], dtype=np.float32).reshape(len(entry["bands"]), -1)
            sample.add(np.array(entry["ranks"], dtype=float), pixels)


def _units(
    source: Chips | Points | Given | Shards, folder: Path, per_shard: int, suffix: str
) -> Iterator[Unit]:
    if isinstance(source, Shards):
        most_px = _palette_share(len(source.paths))
        said = inputs_hash(repr(source.foreign))  # once: labels may be many
        for number, path in enumerate(source.paths):
            output = folder / "described" / f"{number:06d}.json"
            job = _Job(source=path, foreign=source.foreign, output=output, most_px=most_px)
            stat = path.stat()
            state = [str(path.resolve()), stat.st_size, stat.st_mtime_ns, said]
            yield Unit(f"{number:06d}", job, output, inputs_hash(state))
        return
    most_px = _palette_share(-(-len(source) // per_shard))
    for number, first in enumerate(range(0, len(source), per_shard)):
        part = source.part(first, first + per_shard)
        output = folder / f"{number:06d}{suffix}"
        job = _Job(source=part, foreign=None, output=output, most_px=most_px)
        yield Unit(f"{number:06d}", job, output, inputs_hash([part.fingerprint(), suffix]))


def _unfinished(units: Iterable[Unit], folder: Path, manifest: Manifest) -> Iterator[Unit]:
    """Units; before the first that is to be made the pack is one no more, until all of them are."""
    for unit in units:
        if not manifest.is_done(unit.name, unit.inputs):
            (folder / PACK).unlink(missing_ok=True)
        yield unit


def _palette_share(shards: int) -> int:
    return PALETTE_PX if shards < _MANY_SHARDS else _FEW_PX


def _require_fit(folder: Path, source: Chips | Points | Given | Shards) -> None:
    """Refuse to make a pack over one of something else, which would lose it, or among its chips."""
    if isinstance(source, Chips) and folder.is_dir() and folder.samefile(source.folder):
        raise ConfigError(
            f"{folder} holds the chips, and with shards among them they would be found no more; "
            "name another folder for the pack."
        )
    path = folder / PACK
    if not path.is_file():
        return
    read_pack(folder)
    content = json.loads(path.read_bytes())
    made, origin = content.get("source"), content.get("origin")  # older packs have no origin
    if made == type(source).__name__ and origin in {None, source.origin}:
        return
    of = "" if origin is None else f", of {origin}"
    raise ConfigError(f"{folder} holds another pack{of}; name a folder of its own, or delete it.")


def _with_labels_of(
    places: set[str], foreign: Foreign | None
) -> tuple[Foreign | None, list[Problem]]:
    """What is said of shards of somebody else, with the labels of their places alone."""
    if foreign is None or foreign.labels is None:
        return foreign, []
    labels = foreign.labels
    there = {name: known for name, known in labels.items() if name in places}
    strangers = [
        Problem(name, "a label of a place that is in no shard.")
        for name in labels
        if name not in there
    ]
    return foreign._replace(labels=there), strangers


def _delete_others(units: Sequence[Unit], manifest: Manifest) -> None:
    """Delete what was made here and is no part of the pack any more.

    Only what the record knows, beside what is made now: shards of somebody else may lie there.
    """
    kept = {unit.output for unit in units}
    folder, suffixes = units[0].output.parent, {".json"}
    if units[0].output.suffix in SHARD_SUFFIXES:
        suffixes = set(SHARD_SUFFIXES)
    for path in folder.iterdir():
        if path.suffix in suffixes and path not in kept and manifest.knows(path.stem):
            path.unlink()


def _shard(job: _Job, result: dict[str, Any]) -> Shard:
    return Shard(
        path=job.source if isinstance(job.source, Path) else job.output,
        places=result["places"],
        images=result["images"],
        bytes=result["bytes"],
        sha256=result["sha256"],
    )


def _pack_shard(job: _Job) -> dict[str, Any]:
    """Make one shard, or look through one of somebody else; what `_Found` takes."""
    # Of the name of the shard: the same in a run that was stopped and gone on with.
    rng = np.random.default_rng(int(job.output.stem))
    files = job.source.files if isinstance(job.source, Chips) else ()
    count = Count(rng, {file.id: file for file in files}, job.foreign)
    if isinstance(job.source, Path):
        for place in read_stored(job.source, job.foreign):
            count.accept(place)
        told = count.told(job.source, job.most_px)
        write_json(job.output, told)
        return told
    writer_of = TableWriter if job.output.suffix == ".parquet" else TarWriter
    with writing(job.output) as aside:
        writer = writer_of(aside)
        try:
            for place in job.source.places():
                accepted = count.accept(place)
                if accepted is not None:
                    writer.add(accepted)
        finally:
            writer.close()
    return count.told(job.output, job.most_px)
