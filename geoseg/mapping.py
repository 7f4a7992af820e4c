"""`geoseg predict`: scenes are mapped, those that fail reported and passed over."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from geoseg.config import SceneSettings
from geoseg.data import describe_scene
from geoseg.errors import ConfigError, GeosegError, SceneError
from geoseg.inference import MapJob, Mapped, Mapper, map_scenes, plan_scene
from geoseg.models import choose_device, load_checkpoint
from geoseg.scenes import read_catalog
from geoseg.terminal import Outcome, Table, note, progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from geoseg.config import InferenceSettings
    from geoseg.inference.stream import OnTile
    from geoseg.scale import Engine
    from geoseg.scenes import Scene

__all__ = [
    "Archive",
    "as_outcome",
    "find_scenes",
    "folder_names",
    "map_and_tell",
    "map_archive",
]

_UNSAFE = re.compile(r"[^\w.-]+")  # in the name of a folder
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """What is to be mapped, and how."""

    models: tuple[Path, ...]  # several are an ensemble
    scenes: tuple[Scene, ...]
    unreadable: tuple[tuple[str, str], ...] = ()  # scenes of a catalogue, with why not
    settings: InferenceSettings
    out: Path  # gets a folder a scene
    device: str
    most_memory_mb: float | None = None


def find_scenes(
    scene: Path | None, catalog: Path | None, described: Mapping[str, Any]
) -> tuple[tuple[Scene, ...], tuple[tuple[str, str], ...]]:
    """One scene, or those of a catalogue, and which of that cannot be read and why.

    Args:
        scene: a STAC item or a raster file.
        catalog: STAC GeoParquet.
        described: sensor, bands and date of a raster file; None where not given.

    Raises:
        ConfigError: neither is named, or both.
        SceneError: it cannot be read.
    """
    if (scene is None) == (catalog is None):
        raise ConfigError("Name what to map: --scene for one image, or --scenes for a catalogue.")
    known = {key: value for key, value in described.items() if value is not None}
    if known and (scene is None or scene.suffix == ".json"):
        raise ConfigError(
            f"--{' and --'.join(known)} cannot be given with STAC items, which say it themselves."
        )
    if scene is not None:
        if not scene.is_file():
            raise SceneError(f"{scene} is no file; give a STAC item (.json) or a raster.")
        return (describe_scene(_settings(scene, known), Path()),), ()
    assert catalog is not None
    read = read_catalog(catalog)
    broken = tuple((entry.id, entry.reason) for entry in read.broken)
    return tuple(entry.scene for entry in read.entries), broken


def _settings(scene: Path, known: Mapping[str, Any]) -> SceneSettings:
    try:
        return SceneSettings(path=str(scene.absolute()), **known)
    except ValidationError as error:
        key = str(error.errors()[0]["loc"][0])
        hint = "write it as 2000-10-30" if key == "date" else error.errors()[0]["msg"]
        raise ConfigError(f"--{key} {known[key]!r} cannot be used: {hint}.") from error


def map_archive(archive: Archive, engine: Engine, *, dry_run: bool) -> list[Mapped]:
    """Map all scenes, or only say what each will take.

    Args:
        archive: the scenes.
        engine: who maps.
        dry_run: plan, time a few tiles of noise, and write nothing.

    Raises:
        GeosegError: the only scene cannot be mapped.
        ConfigError: settings that the models cannot serve.
        ModelError: a model cannot be read.
        OutputError: another run holds the folder.
    """
    jobs, found = _prepare(archive, dry_run=dry_run)
    if dry_run:
        return found
    found += map_and_tell(jobs, archive.out, engine)
    if _is_alone(archive) and found[0].error:
        raise GeosegError(found[0].error)
    order = {scene.id: number for number, scene in enumerate(archive.scenes)}
    return sorted(found, key=lambda mapped: order.get(mapped.scene, -1))


def _prepare(archive: Archive, *, dry_run: bool) -> tuple[list[MapJob], list[Mapped]]:
    """What is to be mapped, and what is known before: scenes that cannot be, or plans of all."""
    checkpoints = [load_checkpoint(path) for path in archive.models]
    device = choose_device(archive.device)
    mapper = Mapper([one.segmenter for one in checkpoints], archive.settings, device)
    jobs, found = _jobs(archive, tuple(checkpoint.sha256 for checkpoint in checkpoints))
    alone = _is_alone(archive)
    if dry_run:
        return jobs, found + [_planned_only(mapper, job, alone=alone) for job in jobs]
    if alone:
        for job in jobs:
            plan_scene(mapper, job)  # What cannot be mapped is no failure of one among many.
    return jobs, found


def map_and_tell(jobs: Sequence[MapJob], out: Path, engine: Engine) -> list[Mapped]:
    """Map scenes, with a bar for the tiles of each, or one for all where several are at work.

    Args:
        jobs: with folders of their own.
        out: holds these folders, and gets the record of what is done.
        engine: who maps.
    """
    found: list[Mapped] = []

    def tell(mapped: Mapped) -> None:
        found.append(mapped)
        for sentence in mapped.said:
            note(f"{mapped.scene}: {sentence}")
        if mapped.error and len(jobs) > 1:
            note(f"{mapped.scene} failed and is passed over: {mapped.error}")

    if engine.kind == "serial":
        map_scenes(
            jobs,
            out,
            engine=engine,
            on_mapped=tell,
            watched=lambda job: _bar(f"Mapping {job.scene.id} ({len(found) + 1} of {len(jobs)})"),
        )
        return found
    with progress("Mapping") as advance:

        def tell_all(mapped: Mapped) -> None:
            tell(mapped)
            advance(len(found), len(jobs), "scenes")

        map_scenes(jobs, out, engine=engine, on_mapped=tell_all)
    return found


@contextmanager
def _bar(title: str) -> Iterator[OnTile]:
    with progress(title) as advance:
        yield lambda done, total: advance(done, total, "")


def _is_alone(archive: Archive) -> bool:
    return len(archive.scenes) + len(archive.unreadable) == 1


def _jobs(archive: Archive, sha256: tuple[str, ...]) -> tuple[list[MapJob], list[Mapped]]:
    """What is to be mapped, and scenes that cannot be."""
    found = [Mapped(name, error=why) for name, why in archive.unreadable]
    jobs, seen = [], set()
    for scene, name in zip(archive.scenes, folder_names(archive.scenes), strict=True):
        if name.lower() in seen:  # some file systems know no capitals
            why = (
                f"Another scene goes to the folder {name!r} already; give each scene an id of its "
                "own."
            )
            note(f"{scene.id} failed and is passed over: {why}")
            found.append(Mapped(scene.id, error=why))
            continue
        seen.add(name.lower())
        jobs.append(
            MapJob(
                models=archive.models,
                sha256=sha256,
                scene=scene,
                settings=archive.settings,
                folder=archive.out / name,
                device=archive.device,
                tags={},
                most_memory_mb=archive.most_memory_mb,
            )
        )
    return jobs, found


def _planned_only(mapper: Mapper, job: MapJob, *, alone: bool) -> Mapped:
    try:
        plan, _, said = plan_scene(mapper, job, timed=True)
    except GeosegError as error:
        if alone:
            raise  # there is nothing to go on with
        note(f"{job.scene.id} failed and is passed over: {error}")
        return Mapped(job.scene.id, error=str(error))
    for sentence in said:
        note(f"{job.scene.id}: {sentence}")
    return Mapped(job.scene.id, plan=plan)


def as_outcome(found: Sequence[Mapped], *, dry_run: bool) -> Outcome:
    """What was mapped or planned, for people and for scripts."""
    figures = {
        "scenes": [_figures(mapped) for mapped in found],
        "failed": sum(bool(mapped.error) for mapped in found),
    }
    if dry_run:
        table = Table("Plan", ("scene", "pixels", "tiles", "batches", "MB", "time"), [])
        rows = [(m.scene, *_planned(m)) for m in found]
    else:
        table = Table("Maps", ("scene", "pixels", "seconds"), [])
        rows = [(m.scene, *_mapped(m)) for m in found]
    return Outcome(figures, (table._replace(rows=rows),))


def folder_names(scenes: Sequence[Scene]) -> list[str]:
    """A folder name for each scene: its id without what would lead elsewhere."""
    return [_UNSAFE.sub("_", scene.id).lstrip(".")[:_LONGEST_NAME] or "_" for scene in scenes]


def _figures(mapped: Mapped) -> dict[str, Any]:
    maps = mapped.prediction
    paths = {} if maps is None else {k: str(v) for k, v in asdict(maps).items() if v is not None}
    plan = {} if mapped.plan is None else asdict(mapped.plan)
    planned_s = plan.pop("seconds", None)
    return {
        "scene": mapped.scene,
        "error": mapped.error or None,
        "seconds": mapped.seconds,
        "planned_seconds": planned_s,
        **plan,
        **paths,
    }


def _planned(mapped: Mapped) -> tuple[str, ...]:
    """Pixels, tiles, batches, memory and time for a person."""
    plan = mapped.plan
    if plan is None:
        return ("failed", "", "", "", "")
    return (
        f"{plan.height_px} x {plan.width_px}",
        f"{plan.tiles} of {plan.tile_height_px} x {plan.tile_width_px}",
        str(plan.batches),
        f"{plan.memory_mb:.0f}",
        "" if plan.seconds is None else _duration(plan.seconds),
    )


def _mapped(mapped: Mapped) -> tuple[str, ...]:
    """Pixels and time for a person."""
    if mapped.plan is None or mapped.seconds is None:
        return ("failed", "")
    return (f"{mapped.plan.height_px} x {mapped.plan.width_px}", f"{mapped.seconds:.1f}")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
