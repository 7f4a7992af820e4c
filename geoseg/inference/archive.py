"""Many scenes through networks: each a unit of work, in this process, in others, or on a cluster.

A scene is done once SHA256SUMS lies beside its maps, which is written after them. Its maps may have
been begun by another worker, who was killed: they are gone on with.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from geoseg import __version__
from geoseg.errors import SceneError
from geoseg.files import checksums_beside
from geoseg.grids import crs_of, gsd_m
from geoseg.inference.chance import Mapper
from geoseg.inference.job import state_of
from geoseg.inference.maps import Prediction
from geoseg.inference.plan import MappingPlan, plan_mapping, within_memory
from geoseg.inference.predict import predict_scene
from geoseg.inference.scene_view import open_input
from geoseg.models import choose_device, extrapolation, shared_checkpoints
from geoseg.scale import Manifest, Unit, inputs_hash, run_units
from geoseg.scenes import bands_of, require_unchanged, with_absolute_paths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from geoseg.config import InferenceSettings
    from geoseg.inference.stream import OnTile
    from geoseg.scale import Ended, Engine
    from geoseg.scenes import Scene

    OnMapped = Callable[["Mapped"], None]

__all__ = ["MapJob", "Mapped", "map_scenes", "plan_scene"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MapJob:
    """A scene that is to be mapped, and how."""

    models: tuple[Path, ...]  # several are an ensemble
    sha256: tuple[str, ...]  # of these
    scene: Scene
    settings: InferenceSettings
    folder: Path  # of the maps
    device: str
    tags: Mapping[str, str]  # provenance for the metadata of all maps
    most_memory_mb: float | None = None
    number: int = 0  # in the order of the archive

    def placed(self) -> MapJob:
        """The same with absolute paths."""
        return replace(
            self,
            models=tuple(path.absolute() for path in self.models),
            scene=with_absolute_paths(self.scene),
            folder=self.folder.absolute(),
        )

    @property
    def prediction(self) -> Prediction:
        """The maps."""
        return Prediction.within(self.folder, self.settings)


class Mapped(NamedTuple):
    """What became of a scene."""

    scene: str
    number: int = 0  # in the order of the archive
    prediction: Prediction | None = None  # where it was mapped, now or before
    plan: MappingPlan | None = None
    seconds: float | None = None
    said: tuple[str, ...] = ()  # what a person should know of it
    error: str = ""  # one sentence, where it was not


def map_scenes(
    jobs: Iterable[MapJob],
    out: Path,
    *,
    engine: Engine,
    on_mapped: OnMapped,
    total: int | None = None,
    watched: Callable[[MapJob], AbstractContextManager[OnTile]] | None = None,
) -> None:
    """Map all scenes that are not mapped yet; one that fails is told of, and the others go on.

    Args:
        jobs: with folders of their own; each is asked for when it is to be handed out.
        out: holds these folders, and gets the record of what is done.
        engine: who maps.
        on_mapped: is told of each scene as it ends, those that were mapped before too.
        total: how many scenes there are, for `geoseg status`; None where nobody knows.
        watched: around the mapping of a scene, gives what is told of each of its tiles; for a
            serial engine.

    Raises:
        OutputError: another run holds the folder, or it cannot be written.
        ConfigError: two scenes have one folder, or the engine cannot be had.
    """
    work = map_job if watched is None else partial(_map_watched, watched=watched)
    with Manifest(out) as manifest:
        run_units(
            work,
            _units(jobs, out),
            engine=engine,
            manifest=manifest,
            on_done=lambda ended: on_mapped(_mapped(ended)),
            total=total,
        )


def map_job(job: MapJob, on_tile: OnTile | None = None) -> dict[str, Any]:
    """Map a scene; its plan, what should be known of it, and the seconds that it took.

    Raises:
        SceneError: it cannot be read, or has changed since its checksums were made.
        ModelError: the networks are others by now, or give numbers that are not finite.
        ConfigError: the memory does not do.
        OutputError: the maps cannot be written.
    """
    begun = time.perf_counter()
    checkpoints = shared_checkpoints(job.models, job.sha256)
    device = choose_device(job.device)
    networks = [checkpoint.segmenter for checkpoint in checkpoints]
    require_unchanged(job.scene)
    plan, settings, said = plan_scene(Mapper(networks, job.settings, device), job)
    predict_scene(
        networks,
        job.scene,
        settings,
        prediction=job.prediction,
        device=device,
        tags={
            "geoseg": __version__,
            **job.tags,
            "model": ",".join(job.sha256),
            "threads": str(torch.get_num_threads()),
        },
        on_tile=on_tile or _ignore,
    )
    seconds = time.perf_counter() - begun
    return {"plan": asdict(plan), "seconds": seconds, "said": said}


def plan_scene(
    mapper: Mapper, job: MapJob, *, timed: bool = False
) -> tuple[MappingPlan, InferenceSettings, list[str]]:
    """What a scene takes, with tiles that fit into the memory, and what should be known of it.

    Args:
        mapper: the networks.
        job: the scene.
        timed: whether a few tiles are mapped to tell the time.

    Raises:
        SceneError: it cannot be read, or lacks a band of the network.
        ConfigError: the memory does not do.
    """
    scene, settings, said = job.scene, job.settings, []
    with open_input(mapper.spec.input, scene, settings.gsd_m) as reader:
        if job.most_memory_mb is not None:
            settings = within_memory(mapper, reader, settings, job.most_memory_mb)
            if settings != job.settings:
                said.append(
                    f"tiles of {settings.tile_px} px with halos of {settings.halo_px} px, to stay "
                    "within --max-memory."
                )
        if crs_of(reader.grid).is_geographic:
            said.append(
                "it is in degrees: `geoseg mosaic` brings its map onto a grid in metres, for "
                "outlines."
            )
        bands = bands_of(scene, reader.bands)
        if (sentence := extrapolation(mapper.spec.input, bands, gsd_m(reader.grid))) is not None:
            said.append(sentence)
        return plan_mapping(mapper, reader, settings, timed=timed), settings, said


def _map_watched(
    job: MapJob, *, watched: Callable[[MapJob], AbstractContextManager[OnTile]]
) -> dict[str, Any]:
    with watched(job) as on_tile:
        return map_job(job, on_tile)


def _units(jobs: Iterable[MapJob], out: Path) -> Iterator[Unit]:
    for job in jobs:
        placed = job.placed()  # workers may stand elsewhere
        yield Unit(
            name=job.folder.relative_to(out).as_posix(),
            argument=placed,
            output=checksums_beside(placed.prediction.classes),
            inputs=_inputs(placed),
        )


def _inputs(job: MapJob) -> str:
    try:
        state = state_of(job.scene)
    except SceneError as error:  # which its unit will tell
        state = {"unreadable": str(error)}
    return inputs_hash(
        {
            "geoseg": __version__,
            "torch": torch.__version__,
            "models": job.sha256,
            "scene": state,
            "settings": job.settings.model_dump(mode="json"),
            "memory": job.most_memory_mb,
            "tags": dict(job.tags),
        }
    )


def _mapped(ended: Ended) -> Mapped:
    job: MapJob = ended.unit.argument
    if ended.state == "failed":
        with suppress(OSError):
            job.folder.rmdir()  # where it is empty
        return Mapped(job.scene.id, number=job.number, error=ended.error)
    told = ended.result
    return Mapped(
        job.scene.id,
        number=job.number,
        prediction=job.prediction,
        plan=MappingPlan(**told["plan"]),
        seconds=told["seconds"],
        said=tuple(told["said"]),
    )


def _ignore(_done: int, _total: int) -> None:
    """Nobody asked."""
