"""`geoseg predict`: scenes are mapped, those that fail reported and passed over."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from geoseg.archive import LeftOut, Telling
from geoseg.errors import GeosegError
from geoseg.inference import MapJob, Mapped, Mapper, map_scenes, plan_scene
from geoseg.models import choose_device, shared_checkpoints
from geoseg.terminal import Outcome, Table, progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from geoseg.archive import Ends, SceneList
    from geoseg.config import InferenceSettings
    from geoseg.inference.stream import OnTile
    from geoseg.scale import Engine

__all__ = ["Archive", "as_outcome", "figures_of", "map_and_tell", "map_archive"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """What is to be mapped, and how."""

    models: tuple[Path, ...]  # several are an ensemble
    scenes: SceneList
    settings: InferenceSettings
    out: Path  # gets a folder a scene
    device: str
    most_memory_mb: float | None = None


def map_archive(
    archive: Archive, engine: Engine, *, dry_run: bool, on_end: Callable[[Mapped], None]
) -> None:
    """Map all scenes, or only say what each will take.

    Args:
        archive: the scenes, which are read as they are come to.
        engine: who maps.
        dry_run: plan, time a few tiles of noise, and write nothing.
        on_end: is told of each scene as it ends, those that cannot be mapped too.

    Raises:
        GeosegError: a scene that was named by itself cannot be mapped.
        ConfigError: settings that the models cannot serve.
        ModelError: a model cannot be read.
        OutputError: another run holds the folder.
        SceneError: the catalogue is damaged.
    """
    checkpoints = shared_checkpoints(archive.models)
    device = choose_device(archive.device)
    mapper = Mapper([one.segmenter for one in checkpoints], archive.settings, device)
    alone = archive.scenes.is_alone
    telling = Telling(archive.scenes.count, on_end, alone=alone)
    jobs = _jobs(archive, tuple(one.sha256 for one in checkpoints), telling)
    if dry_run:
        for job in jobs:
            telling(_planned_only(mapper, job, alone=alone))
    elif alone:
        only = list(jobs)
        for job in only:
            plan_scene(mapper, job)  # What cannot be mapped is no failure of one among many.
        map_and_tell(only, archive.out, engine, telling)
    else:
        map_and_tell(jobs, archive.out, engine, telling)
    telling.refuse_alone()


def map_and_tell(
    jobs: Iterable[MapJob], out: Path, engine: Engine, telling: Telling[Mapped]
) -> None:
    """Map scenes, with a bar for the tiles of each, or one for all where several are at work.

    Args:
        jobs: with folders of their own; made as they are asked for.
        out: holds these folders, and gets the record of what is done.
        engine: who maps.
        telling: is told of each scene as it ends.
    """
    if engine.kind == "serial":
        map_scenes(
            jobs,
            out,
            engine=engine,
            on_mapped=telling,
            total=telling.total,
            watched=lambda job: _bar(
                f"Mapping {job.scene.id} ({telling.ended + 1} of {telling.total})"
            ),
        )
        return
    with telling.bar("Mapping"):
        map_scenes(jobs, out, engine=engine, on_mapped=telling, total=telling.total)


@contextmanager
def _bar(title: str) -> Iterator[OnTile]:
    with progress(title) as advance:
        yield lambda done, total: advance(done, total, "")


def _jobs(
    archive: Archive, sha256: tuple[str, ...], tell: Callable[[Mapped], None]
) -> Iterator[MapJob]:
    """What is to be mapped; scenes that cannot be are told of."""
    for one in archive.scenes.listed():
        if isinstance(one, LeftOut):
            tell(Mapped(one.scene, number=one.number, error=one.error))
            continue
        yield MapJob(
            number=one.number,
            models=archive.models,
            sha256=sha256,
            scene=one.scene,
            settings=archive.settings,
            folder=archive.out / one.folder,
            device=archive.device,
            tags={},
            most_memory_mb=archive.most_memory_mb,
        )


def _planned_only(mapper: Mapper, job: MapJob, *, alone: bool) -> Mapped:
    try:
        plan, _, said = plan_scene(mapper, job, timed=True)
    except GeosegError as error:
        if alone:
            raise  # there is nothing to go on with
        return Mapped(job.scene.id, number=job.number, error=str(error))
    return Mapped(job.scene.id, number=job.number, plan=plan, said=tuple(said))


def as_outcome(ends: Ends, *, dry_run: bool) -> Outcome:
    """What was mapped or planned, for people and for scripts.

    Args:
        ends: with the figures of `figures_of`.
        dry_run: whether it was planned alone.
    """
    title = ends.titled("Plan" if dry_run else "Maps")
    columns = ("pixels", "tiles", "batches", "MB", "time") if dry_run else ("pixels", "seconds")
    row = _planned if dry_run else _mapped
    rows = [(one["scene"], *row(one)) for one in ends.shown()]
    table = Table(title, ("scene", *columns), rows)
    return Outcome({"scenes": iter(ends), "failed": ends.failed}, (table,))


def figures_of(mapped: Mapped) -> dict[str, Any]:
    """What became of a scene, for scripts."""
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


def _planned(figures: Mapping[str, Any]) -> tuple[str, ...]:
    """Pixels, tiles, batches, memory and time for a person."""
    if figures["error"]:
        return ("failed", "", "", "", "")
    seconds = figures["planned_seconds"]
    return (
        f"{figures['height_px']} x {figures['width_px']}",
        f"{figures['tiles']} of {figures['tile_height_px']} x {figures['tile_width_px']}",
        str(figures["batches"]),
        f"{figures['memory_mb']:.0f}",
        "" if seconds is None else _duration(seconds),
    )


def _mapped(figures: Mapping[str, Any]) -> tuple[str, ...]:
    """Pixels and time for a person."""
    if figures["error"]:
        return ("failed", "")
    return (f"{figures['height_px']} x {figures['width_px']}", f"{figures['seconds']:.1f}")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
