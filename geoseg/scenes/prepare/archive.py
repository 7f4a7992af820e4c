"""Many scenes prepared: each a unit of work, in this process, in others, or on a cluster.

A scene is ready once SHA256SUMS lies beside its files and its STAC item, after which it is written.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from geoseg import __version__
from geoseg.files import checksums_beside, sweep_below, write_checksums, write_text
from geoseg.scale import Manifest, Unit, inputs_hash, run_units
from geoseg.scenes.catalog import scan_scene, writing_catalog
from geoseg.scenes.checksums import with_checksums
from geoseg.scenes.ground_control import points_beside
from geoseg.scenes.prepare.clouds import cloud_mask_version
from geoseg.scenes.prepare.film import prepare_film
from geoseg.scenes.prepare.image import prepare_image
from geoseg.scenes.prepare.landsat import saturation_beside
from geoseg.scenes.scene import with_absolute_paths
from geoseg.scenes.stac import footprint, item_of, read_scene
from geoseg.sensors import SensorKind, find_sensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from geoseg.scale import Ended, Engine
    from geoseg.scenes.prepare.settings import PrepareSettings
    from geoseg.scenes.scene import Scene

__all__ = ["PrepareJob", "Ready", "list_prepared", "prepare_job", "prepare_scenes"]

REGISTRATION = "geoseg:registration"  # of an item: method, points, rmse_m, left_out_rmse_m
_ITEM = "scene.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareJob:
    """A scene that is to be prepared, and how."""

    scene: Scene
    folder: Path  # of what is written
    settings: PrepareSettings
    number: int = 0  # in the order of the archive

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
    number: int = 0  # in the order of the archive
    item: Path | None = None
    shares: Mapping[str, float] = {}
    registration: Mapping[str, Any] | None = None
    said: tuple[str, ...] = ()
    error: str = ""  # one sentence, where it failed


def prepare_scenes(
    jobs: Iterable[PrepareJob],
    out: Path,
    *,
    engine: Engine,
    on_ready: Callable[[Ready], None],
    total: int | None = None,
) -> None:
    """Prepare all scenes that are not ready yet; one that fails is told of, and the others go on.

    Args:
        jobs: with folders of their own; each is asked for when it is to be handed out.
        out: holds these folders, and gets the record of what is done.
        engine: who works.
        on_ready: is told of each scene as it ends, those that were ready before too.
        total: how many scenes there are, for `geoseg status`; None where nobody knows.

    Raises:
        OutputError: another run holds the folder, or it cannot be written.
        ConfigError: two scenes have one folder, or the engine cannot be had.
    """
    with Manifest(out) as manifest:
        run_units(
            prepare_job,
            _units(jobs, out),
            engine=engine,
            manifest=manifest,
            on_done=lambda ended: on_ready(_ready(ended)),
            total=total,
        )


def list_prepared(out: Path) -> Path | None:
    """Write a table of all scenes that are ready in a folder, those of runs before too.

    Returns:
        The table; None where no scene is ready.

    Raises:
        OutputError: it cannot be written.
        SceneError: what was prepared cannot be read.
    """
    with Manifest(out) as manifest:
        names = [name for name, _ in manifest.results()]
    there = (item for name in names if (item := out / name / _ITEM).is_file())
    first = next(there, None)
    if first is None:
        return None
    path = out / "catalog.parquet"
    with writing_catalog(path) as table:
        for item in chain([first], there):
            table.add(scan_scene(read_scene(item)))
    return path


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


def _units(jobs: Iterable[PrepareJob], out: Path) -> Iterator[Unit]:
    version_of = cache(cloud_mask_version)  # reads the metadata of all that is installed
    for job in jobs:
        placed = job.placed()  # workers may stand elsewhere
        yield Unit(
            name=job.folder.relative_to(out).as_posix(),
            argument=placed,
            output=checksums_beside(placed.item),
            inputs=_inputs(placed, version_of(placed.settings.clouds)),
        )


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


def _ready(ended: Ended) -> Ready:
    job: PrepareJob = ended.unit.argument
    if ended.state == "failed":
        return Ready(job.scene.id, number=job.number, error=ended.error)
    told = ended.result
    return Ready(
        job.scene.id,
        number=job.number,
        item=job.item,
        shares=told["shares"],
        registration=told["registration"],
        said=tuple(told["said"]),
    )
