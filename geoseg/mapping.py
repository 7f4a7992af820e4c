"""`geoseg predict`: scenes mapped one after the other, those that fail reported and passed over."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import ValidationError

from geoseg import __version__
from geoseg.config import SceneSettings
from geoseg.data import describe_scene
from geoseg.errors import ConfigError, GeosegError, SceneError
from geoseg.grids import crs_of, gsd_m
from geoseg.inference import (
    Mapper,
    MappingPlan,
    Prediction,
    open_input,
    plan_mapping,
    predict_scene,
    within_memory,
)
from geoseg.models import choose_device, extrapolation, load_checkpoint
from geoseg.scenes import bands_of, read_catalog, require_unchanged
from geoseg.terminal import Outcome, Table, note, progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from geoseg.config import InferenceSettings
    from geoseg.models import Checkpoint
    from geoseg.scenes import Scene

__all__ = ["Archive", "Mapped", "as_outcome", "find_scenes", "folder_names", "map_archive"]

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """What became of one scene."""

    scene: str
    plan: MappingPlan | None = None
    prediction: Prediction | None = None
    seconds: float | None = None
    error: str | None = None


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


def map_archive(archive: Archive, *, dry_run: bool) -> list[Mapped]:
    """Map all scenes, or only say what each will take.

    Args:
        archive: the scenes.
        dry_run: plan, time a few tiles of noise, and write nothing.

    Raises:
        GeosegError: the only scene cannot be mapped.
        ConfigError: settings that the models cannot serve.
        ModelError: a model cannot be read.
    """
    seen: set[str] = set()
    checkpoints = [load_checkpoint(path) for path in archive.models]
    networks = [checkpoint.segmenter for checkpoint in checkpoints]
    device = choose_device(archive.device)
    mapper = Mapper(networks, archive.settings, device)
    found = [Mapped(scene=name, error=why) for name, why in archive.unreadable]
    for number, (scene, name) in enumerate(
        zip(archive.scenes, folder_names(archive.scenes), strict=True), start=1
    ):
        title = f"{scene.id} ({number} of {len(archive.scenes)})"
        begun = time.perf_counter()
        try:
            _require_new(name, seen)
            plan, settings = _plan(mapper, scene, archive, timed=dry_run)
            if dry_run:
                found.append(Mapped(scene=scene.id, plan=plan))
                continue
            require_unchanged(scene)
            folder = archive.out / name
            prediction = _map(checkpoints, scene, settings, folder, device, title)
        except GeosegError as error:
            with suppress(OSError):
                (archive.out / name).rmdir()  # where it is empty
            if len(archive.scenes) + len(archive.unreadable) == 1:
                raise  # there is nothing to go on with
            note(f"{scene.id} failed and is passed over: {error}")
            found.append(Mapped(scene=scene.id, error=str(error)))
            continue
        seconds = time.perf_counter() - begun
        found.append(Mapped(scene=scene.id, plan=plan, prediction=prediction, seconds=seconds))
    return found


def as_outcome(found: Sequence[Mapped], *, dry_run: bool) -> Outcome:
    """What was mapped or planned, for people and for scripts."""
    figures = {
        "scenes": [_figures(mapped) for mapped in found],
        "failed": sum(mapped.error is not None for mapped in found),
    }
    if dry_run:
        table = Table("Plan", ("scene", "pixels", "tiles", "batches", "MB", "time"), [])
        rows = [(m.scene, *_planned(m)) for m in found]
    else:
        table = Table("Maps", ("scene", "pixels", "seconds"), [])
        rows = [(m.scene, *_mapped(m)) for m in found]
    return Outcome(figures, (table._replace(rows=rows),))


def _plan(
    mapper: Mapper, scene: Scene, archive: Archive, *, timed: bool
) -> tuple[MappingPlan, InferenceSettings]:
    """What a scene takes, with tiles that fit into the memory that may be used."""
    with open_input(mapper.spec.input, scene, archive.settings.gsd_m) as reader:
        settings = archive.settings
        if archive.most_memory_mb is not None:
            settings = within_memory(mapper, reader, settings, archive.most_memory_mb)
            if settings != archive.settings:
                note(
                    f"{scene.id}: tiles of {settings.tile_px} px with halos of "
                    f"{settings.halo_px} px, to stay within --max-memory."
                )
        if crs_of(reader.grid).is_geographic:
            note(
                f"{scene.id} is in degrees: `geoseg mosaic` brings its map onto a grid in metres, "
                "for outlines."
            )
        bands = bands_of(scene, reader.bands)
        if (sentence := extrapolation(mapper.spec.input, bands, gsd_m(reader.grid))) is not None:
            note(f"{scene.id}: {sentence}")
        return plan_mapping(mapper, reader, settings, timed=timed), settings


def _map(
    checkpoints: Sequence[Checkpoint],
    scene: Scene,
    settings: InferenceSettings,
    folder: Path,
    device: torch.device,
    title: str,
) -> Prediction:
    with progress(f"Mapping {title}") as advance:
        return predict_scene(
            [checkpoint.segmenter for checkpoint in checkpoints],
            scene,
            settings,
            prediction=Prediction.within(folder, settings),
            device=device,
            tags={
                "geoseg": __version__,
                "model": ",".join(checkpoint.sha256 for checkpoint in checkpoints),
                "threads": str(torch.get_num_threads()),
            },
            on_tile=lambda done, total: advance(done, total, ""),
        )


def _require_new(name: str, seen: set[str]) -> None:
    """Refuse a second scene in one folder; some file systems know no capitals."""
    if name.lower() in seen:
        raise ConfigError(
            f"Another scene goes to the folder {name!r} already; give each scene an id of its own."
        )
    seen.add(name.lower())


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
        "error": mapped.error,
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
