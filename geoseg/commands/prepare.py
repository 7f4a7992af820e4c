"""`geoseg catalog prepare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geoseg.commands.engine import Address, Executor, Slurm, Workers, engine_of
from geoseg.commands.options import Bands, Date, Json, Sensor
from geoseg.errors import ConfigError
from geoseg.terminal import Outcome, Table, note, show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from geoseg.archive import Ends, SceneList
    from geoseg.scale import Engine
    from geoseg.scenes.prepare import PrepareJob, PrepareSettings, Ready

__all__ = ["catalog_prepare"]


def catalog_prepare(
    scenes: Annotated[
        Path | None, typer.Argument(help="A catalogue of scenes: STAC GeoParquet.")
    ] = None,
    scene: Annotated[
        Path | None, typer.Option(help="One image: a STAC item (.json) or a raster file.")
    ] = None,
    sensor: Sensor = None,
    bands: Bands = None,
    date: Date = None,
    points: Annotated[
        Path | None, typer.Option(help="Control points of --scene, as QGIS saves them (.points).")
    ] = None,
    clouds: Annotated[
        str, typer.Option(help="auto, product, thresholds, none, or the name of a plug-in.")
    ] = "auto",
    strike: Annotated[
        str, typer.Option(help="What must not be used: cloud, shadow, snow, saturated.")
    ] = "cloud,shadow",
    even_tones: Annotated[
        bool, typer.Option("--even-tones", help="Even the tones of film: vignetting, fog, joins.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Gets a folder a scene, and catalog.parquet.")] = Path(
        "out/prepared"
    ),
    executor: Executor = None,
    workers: Workers = 1,
    address: Address = None,
    slurm: Slurm = None,
    json: Json = False,
) -> None:
    """Prepare scenes for mapping: reflectance, masks of what may be used, film on the ground.

    What was stopped is gone on with by the same command. A scene that fails is reported and passed
    over; the exit code is then 1.

    Example: geoseg catalog prepare catalog.parquet --out out/prepared --workers 4

    Example: geoseg catalog prepare --scene frame.tif --sensor hexagon-kh9-mapping --bands pan
    --date 1980-08-22 --points frame.tif.points
    """
    from geoseg.archive import Ends, find_scenes
    from geoseg.scenes.prepare import PrepareSettings, list_prepared

    engine = engine_of(executor, workers, address, slurm)
    if points is not None and scene is None:
        raise ConfigError("--points are those of one image; name it by --scene.")
    settings = PrepareSettings(
        clouds=clouds,
        strike=tuple(kind.strip() for kind in strike.split(",") if kind.strip()),
        points=points,
        even_tones=even_tones,
    )
    names = None if bands is None else [name.strip() for name in bands.split(",")]
    described = {"sensor": sensor, "bands": names, "date": date}
    found = find_scenes(scene, scenes, described)
    with Ends() as ends:
        _prepare_and_tell(found, settings, out, engine, ends)
        if (table := list_prepared(out)) is not None:
            note(f"The prepared scenes are listed in {table}")
        show(_as_outcome(ends, table), as_json=json)
    if ends.failed:
        raise typer.Exit(1)


def _prepare_and_tell(
    scenes: SceneList, settings: PrepareSettings, out: Path, engine: Engine, ends: Ends
) -> None:
    from geoseg.archive import Telling
    from geoseg.scenes.prepare import prepare_scenes

    def keep(ready: Ready) -> None:
        ends.add(ready, _figures(ready))

    telling = Telling(scenes.count, keep, alone=scenes.is_alone)
    jobs = _jobs(scenes, settings, out, telling)
    try:
        with telling.bar("Preparing"):
            prepare_scenes(jobs, out, engine=engine, on_ready=telling, total=telling.total)
    except KeyboardInterrupt:
        note("Stopped. Run the same command again to go on.")
        raise typer.Exit(130) from None
    telling.refuse_alone()


def _jobs(
    scenes: SceneList, settings: PrepareSettings, out: Path, tell: Callable[[Ready], None]
) -> Iterator[PrepareJob]:
    """What is to be prepared; scenes that cannot be are told of."""
    from geoseg.archive import LeftOut
    from geoseg.scenes.prepare import PrepareJob, Ready

    for one in scenes.listed():
        if isinstance(one, LeftOut):
            tell(Ready(one.scene, number=one.number, error=one.error))
            continue
        folder = out / one.folder
        yield PrepareJob(scene=one.scene, folder=folder, settings=settings, number=one.number)


def _figures(ready: Ready) -> dict[str, Any]:
    return {
        "scene": ready.scene,
        "item": None if ready.item is None else str(ready.item),
        "shares": dict(ready.shares),
        "registration": ready.registration,
        "error": ready.error or None,
    }


def _as_outcome(ends: Ends, catalog: Path | None) -> Outcome:
    figures = {
        "catalog": None if catalog is None else str(catalog),
        "scenes": iter(ends),
        "failed": ends.failed,
    }
    rows = [(one["scene"], *_row(one)) for one in ends.shown()]
    shown = Table(ends.titled("Prepared"), ("scene", "cloud", "snow", "off by m"), rows)
    return Outcome(figures, (shown,))


def _row(figures: Mapping[str, Any]) -> tuple[str, ...]:
    """Clouds, snow and how far it lies off, for a person."""
    if figures["error"]:
        return ("failed", "", "")
    shares, registration = figures["shares"], figures["registration"]
    return (
        *(f"{shares[kind]:.1%}" if kind in shares else "-" for kind in ("cloud", "snow")),
        "-" if registration is None else f"{registration['left_out_rmse_m']:.3g}",
    )
