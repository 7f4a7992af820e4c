"""Making a pack, shard by shard, to be stopped at any moment and gone on with."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geoseg.errors import ConfigError, SceneError
from geoseg.files import sha256_of, write_json, write_text, writing
from geoseg.presence.packs.folder import read_chips
from geoseg.presence.packs.given import Given
from geoseg.presence.packs.kind import PALETTE_PX, ImageKind, PixelSample
from geoseg.presence.packs.pack import PACK, Foreign, Problem, Shard, read_pack, write_pack
from geoseg.presence.packs.pixels import on_scale
from geoseg.presence.packs.points import cut_chips
from geoseg.presence.packs.read import read_stored
from geoseg.presence.packs.tables import TableWriter
from geoseg.presence.packs.tars import TarWriter
from geoseg.scale import Engine, Manifest, Unit, inputs_hash, run_units

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from geoseg.presence.packs.folder import ChipFile, Described
    from geoseg.presence.packs.pack import Pack
    from geoseg.presence.packs.points import Point
    from geoseg.presence.packs.stored import StoredImage, StoredPlace
    from geoseg.scale import Ended
    from geoseg.scenes import Scene

__all__ = ["PROBLEMS", "Chips", "Packed", "Points", "Shards", "make_pack", "write_problems"]

PROBLEMS = "problems.csv"
_MANY_SHARDS = 32  # of which a few pixels each make a palette
_FEW_PX = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Chips:
    """Files of chips in a folder, those of one shard or of all."""

    folder: Path
    files: Sequence[ChipFile]
    described: Described

    def __len__(self) -> int:
        return len(self.files)

    def part(self, first: int, end: int) -> Chips:
        """Some of them."""
        files = self.files[first:end]
        return Chips(folder=self.folder, files=files, described=self.described)

    def fingerprint(self) -> Any:  # noqa: ANN401  any JSON value
        """Changes when anything of them does."""
        return [str(self.folder.absolute()), repr(self.described), [repr(f) for f in self.files]]

    def places(self) -> Iterator[StoredPlace | Problem]:
        """What they hold, one after the other."""
        return read_chips(self.folder, list(self.files), self.described)


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Points, and scenes that may show them."""

    points: Sequence[Point]
    scenes: Sequence[tuple[Scene, ...]]  # of each point
    bands: tuple[str, ...] | None
    size_px: int

    def __len__(self) -> int:
        return len(self.points)

    def part(self, first: int, end: int) -> Points:
        """Some of them."""
        return Points(
            points=self.points[first:end],
            scenes=self.scenes[first:end],
            bands=self.bands,
            size_px=self.size_px,
        )

    def fingerprint(self) -> Any:  # noqa: ANN401  any JSON value
        """Changes when anything of them does but the pixels of the scenes."""
        described = {scene.id: repr(scene) for scenes in self.scenes for scene in scenes}
        shown = [[scene.id for scene in scenes] for scenes in self.scenes]
        points = [repr(point) for point in self.points]
        return [points, shown, described, self.bands, self.size_px]

    def places(self) -> Iterator[StoredPlace | Problem]:
        """What is cut around them, one after the other."""
        return cut_chips(self.points, self.scenes, self.bands, self.size_px)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shards:
    """Shards of somebody else, which stay where they are."""

    paths: Sequence[Path]
    foreign: Foreign | None


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

    Args:
        source: what goes into it.
        folder: of the pack; shards of somebody else are only described in it.
        per_shard: places of a shard.
        suffix: .tar (WebDataset) or .parquet.
        problems: found before, told of with the others.
        on_shard: is told of every shard.

    Raises:
        ConfigError: the folder holds a pack of another kind, or nothing can be packed.
        OutputError: it cannot be written, or another run is writing it.
    """
    units = list(_units(source, folder, per_shard, suffix))
    _require_same_kind(folder, source)
    found = _Found(list(problems))
    failed: list[Problem] = []

    def take(ended: Ended) -> None:
        if ended.state == "failed":
            failed.append(Problem(ended.name, ended.error))
        else:
            found.take(ended.name, ended.result)
        on_shard(len(failed) + len(found.shards), len(units))

    with Manifest(folder) as manifest:
        run_units(_pack_shard, units, engine=Engine(), manifest=manifest, on_done=take)
    outputs = {unit.name: unit.argument for unit in units}
    told = (*found.problems, *failed)
    write_problems(folder / PROBLEMS, told)
    shards = [_shard(outputs[name], found.shards[name]) for name in sorted(found.shards)]
    if not any(shard.places for shard in shards):
        reason = f"; the first of {len(told)} problems: {told[0].reason}" if told else "."
        raise ConfigError(f"Nothing could be packed into {folder}{reason}")
    pack = write_pack(
        folder,
        {kind: sample.palette() for kind, sample in found.samples.items()},
        [shard for shard in shards if shard.places],
        source=type(source).__name__,
        foreign=source.foreign if isinstance(source, Shards) else None,
    )
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

    def take(self, name: str, result: dict[str, Any]) -> None:
        self.shards[name] = result
        self.present += result["present"]
        self.absent += result["absent"]
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
        for number, path in enumerate(source.paths):
            output = folder / "described" / f"{number:06d}.json"
            job = _Job(source=path, foreign=source.foreign, output=output, most_px=most_px)
            stat = path.stat()
            state = [str(path.absolute()), stat.st_size, stat.st_mtime_ns, repr(source.foreign)]
            yield Unit(f"{number:06d}", job, output, inputs_hash(state))
        return
    most_px = _palette_share(-(-len(source) // per_shard))
    for number, first in enumerate(range(0, len(source), per_shard)):
        part = source.part(first, first + per_shard)
        output = folder / f"{number:06d}{suffix}"
        job = _Job(source=part, foreign=None, output=output, most_px=most_px)
        yield Unit(f"{number:06d}", job, output, inputs_hash([part.fingerprint(), suffix]))


def _palette_share(shards: int) -> int:
    return PALETTE_PX if shards < _MANY_SHARDS else _FEW_PX


def _require_same_kind(folder: Path, source: Chips | Points | Given | Shards) -> None:
    """Refuse to make a pack over one of another kind, which would lose it."""
    path = folder / PACK
    if not path.is_file():
        return
    read_pack(folder)
    made = json.loads(path.read_bytes()).get("source")
    if made != type(source).__name__:
        raise ConfigError(f"{folder} holds another pack; name a folder of its own.")


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
    count = _Count(rng, {file.id: file.path for file in files})
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
                if count.accept(place) and not isinstance(place, Problem):
                    writer.add(place)
        finally:
            writer.close()
    return count.told(job.output, job.most_px)


class _Count:
    """What a shard holds, counted as its places go by."""

    def __init__(self, rng: np.random.Generator, files: Mapping[str, str]) -> None:
        self._rng = rng
        self._files = files  # of places, where they have one
        self._known = {True: 0, False: 0, None: 0}
        self._images = 0
        self._samples: dict[ImageKind, PixelSample] = {}
        self._problems: list[Problem] = []

    def accept(self, place: StoredPlace | Problem) -> bool:
        """Whether a place can be packed: every image of it can be decoded."""
        if isinstance(place, Problem):
            self._problems.append(place)
            return False
        try:
            for image in place.images:
                self._draw(image)
        except SceneError as error:
            where = f"{self._files[place.id]}: " if place.id in self._files else ""
            self._problems.append(Problem(place.id, f"{where}{error}"))
            return False
        self._known[place.present] += 1
        self._images += len(place.images)
        return True

    def told(self, path: Path, most_px: int) -> dict[str, Any]:
        """All of it, for JSON."""
        kinds = []
        for kind, sample in self._samples.items():
            ranks, pixels = sample.lowest(most_px)
            # As decimal numbers that give the same float32 back.
            drawn = [[float(str(v)) for v in band] for band in pixels]
            kinds.append({**kind.as_dict(), "ranks": ranks.tolist(), "pixels": drawn})
        return {
            "places": sum(self._known.values()),
            "images": self._images,
            "present": self._known[True],
            "absent": self._known[False],
            "bytes": path.stat().st_size,
            "sha256": sha256_of(path),
            "kinds": kinds,
            "problems": self._problems,
        }

    def _draw(self, image: StoredImage) -> None:
        pixels, valid = on_scale(image.decoded(), image.kind)
        everywhere = np.ones(pixels.shape[1:], dtype=bool)
        sample = self._samples.setdefault(image.kind, PixelSample(len(pixels)))
        sample.draw(pixels, everywhere if valid is None else valid, self._rng)
