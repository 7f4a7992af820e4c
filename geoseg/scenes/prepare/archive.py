"""Many scenes prepared: each a unit of work, in this process, in others, or on a cluster.

A scene is ready once SHA256SUMS lies beside its files and its STAC item, after which it is written.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from geoseg import __version__
from geoseg.files import (
    checksums_beside,
    sweep_below,
    write_checksums,
    write_text,
)
from geoseg.scale import Manifest, Unit, inputs_hash, run_units
from geoseg.scenes.checksums import with_checksums
from geoseg.scenes.ground_control import points_beside
from geoseg.scenes.prepare.clouds import cloud_mask_version
from geoseg.scenes.prepare.film import prepare_film
from geoseg.scenes.prepare.image import prepare_image
from geoseg.scenes.prepare.landsat import saturation_beside
from geoseg.scenes.scene import with_absolute_paths
from geoseg.scenes.stac import footprint, item_of
from geoseg.sensors import SensorKind, find_sensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from geoseg.scale import Ended, Engine
    from geoseg.scenes.prepare.settings import PrepareSettings
    from geoseg.scenes.scene import Scene

__all__ = ["PrepareJob", "Ready", "prepare_job", "prepare_scenes"]

REGISTRATION = "geoseg:registration"  # of an item: method, points, rmse_m, left_out_rmse_m
_ITEM = "scene.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareJob:
    """A scene that is to be prepared, and how."""

    scene: Scene
    folder: Path  # of what is written
    settings: PrepareSettings

    def placed(self) -> PrepareJob:
        """The same with absolute paths."""
        points = self.settings.points
        settings = replace(self.settings, points=None if points is None else points.absolute())
        return replace(
            self,
            scene=with_absolute_paths(self.scene),
            folder=self.folder.absolute(),
            settings=settings,
        )

    @property
    def item(self) -> Path:
        """The STAC item of the prepared scene."""
        return self.folder / _ITEM


class Ready(NamedTuple):
    """What became of a scene."""

    scene: str
    item: Path | None = None
    shares: Mapping[str, float] = {}
    registration: Mapping[str, Any] | None = None
    said: tuple[str, ...] = ()
    error: str = ""  # one sentence, where it failed


def prepare_scenes(
    jobs: Sequence[PrepareJob],
    out: Path,
    *,
    engine: Engine,
    on_ready: Callable[[Ready], None],
) -> list[Path]:
    """Prepare all scenes that are not ready yet; one that fails is told of, and the others go on.

    Gives the STAC items of all scenes that are ready in the folder, those of runs before too.

    Args:
        jobs: with folders of their own.
        out: holds these folders, and gets the record of what is done.
        engine: who works.
        on_ready: is told of each scene as it ends, those that were ready before too.

    Raises:
        OutputError: another run holds the folder, or it cannot be written.
        ConfigError: the engine cannot be had.
    """
    # Absolute: workers may stand elsewhere.
    by_name = {job.folder.relative_to(out).as_posix(): job.placed() for job in jobs}

    def tell(ended: Ended) -> None:
        on_ready(_ready(by_name[ended.name], ended))

    with Manifest(out) as manifest:
        run_units(
            prepare_job,
            _units(by_name),
            engine=engine,
            manifest=manifest,
            on_done=tell,
            total=len(jobs),
        )
        items = (out / name / _ITEM for name, _ in manifest.results())
        return sorted(item for item in items if item.is_file())


def prepare_job(job: PrepareJob) -> dict[str, Any]:
    """Prepare a scene: its files, then its STAC item; what should be known of it.

    Raises:
        SceneError: it cannot be read or prepared.
        GridError: it lies nowhere on the ground.
        OutputError: it cannot be written.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    sweep_below(job.folder, but="")
    film = find_sensor(job.scene.sensor_id).kind is SensorKind.FILM
    prepare = prepare_film if film else prepare_image
    done = prepare(job.scene, job.folder, job.settings)
    scene = with_checksums(done.scene)
    item = item_of(scene, job.folder, footprint(scene))
    registration = None if done.registration is None else asdict(done.registration)
    if registration is not None:
        item["properties"][REGISTRATION] = registration
    write_text(job.item, json.dumps(item, indent=2) + "\n")
    written = [asset.path for asset in (*scene.bands.values(), scene.mask) if asset is not None]
    write_checksums([job.item, *{path for path in written if path.parent == job.folder}])
    return {"shares": dict(done.shares), "registration": registration, "said": done.said}


def _units(by_name: Mapping[str, PrepareJob]) -> Iterator[Unit]:
    # Once for all scenes: the metadata of all that is installed are read for it.
    chosen = {job.settings.clouds for job in by_name.values()}
    masks = {clouds: cloud_mask_version(clouds) for clouds in chosen}
    for name, job in by_name.items():
        output = checksums_beside(job.item)
        inputs = _inputs(job, masks[job.settings.clouds])
        yield Unit(name=name, argument=job, output=output, inputs=inputs)


def _inputs(job: PrepareJob, mask: str | None) -> str:
    """What decides the pixels of a prepared scene; files by size and time.

    Args:
        job: the scene, and how it is prepared.
        mask: the package that its cloud mask comes from, with its version.
    """
    scene, settings = job.scene, job.settings
    assets = [*scene.bands.values(), *(a for a in (scene.mask, scene.quality) if a is not None)]
    paths = {asset.path for asset in assets}
    paths |= {path for path in (scene.metadata, scene.dem, settings.points) if path is not None}
    paths |= {beside for path in paths for beside in points_beside(path)}
    if scene.quality is not None and (saturation := saturation_beside(scene.quality.path)):
        paths.add(saturation)
    return inputs_hash(
        {
            "geoseg": __version__,
            "cloud mask": mask,
            "scene": repr(scene),
            "settings": repr(settings),
            "files": [_state(path) for path in sorted(paths)],
        }
    )


def _state(path: Path) -> list[str | int]:
    try:
        found = path.stat()
    except OSError:
        return [str(path)]  # which its unit will tell of
    return [str(path), found.st_size, found.st_mtime_ns]


def _ready(job: PrepareJob, ended: Ended) -> Ready:
    if ended.state == "failed":
        return Ready(job.scene.id, error=ended.error)
    told = ended.result
    return Ready(
        job.scene.id,
        item=job.item,
        shares=told["shares"],
        registration=told["registration"],
        said=tuple(told["said"]),
    )
