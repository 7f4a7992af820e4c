"""`geoseg catalog prepare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geoseg.commands.engine import Address, Executor, Slurm, Workers, engine_of
from geoseg.commands.options import Bands, Date, Json, Sensor
from geoseg.errors import ConfigError, GeosegError
from geoseg.terminal import Outcome, Table, note, progress, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geoseg.scenes.prepare import PrepareJob, Ready

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
    from geoseg.mapping import find_scenes, folder_names
    from geoseg.scenes import read_scene, scan_scene, write_catalog
    from geoseg.scenes.prepare import PrepareJob, PrepareSettings

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
    found, unreadable = find_scenes(scene, scenes, described)
    folders = folder_names(found)
    _refuse_one_folder_for_two(folders)
    jobs = [
        PrepareJob(scene=one, folder=out / name, settings=settings)
        for one, name in zip(found, folders, strict=True)
    ]
    ready, items = _prepare_and_tell(jobs, out, engine, alone=scene is not None)
    if scene is not None and ready[0].error:
        raise GeosegError(ready[0].error)
    if items:
        write_catalog([scan_scene(read_scene(item)) for item in items], out / "catalog.parquet")
        note(f"The prepared scenes are listed in {out / 'catalog.parquet'}")
    for name, why in unreadable:
        note(f"{name} is passed over: {why}")
    show(_as_outcome(ready, unreadable, out), as_json=json)
    if unreadable or any(one.error for one in ready):
        raise typer.Exit(1)


def _prepare_and_tell(
    jobs: Sequence[PrepareJob], out: Path, engine: object, *, alone: bool
) -> tuple[list[Ready], list[Path]]:
    from geoseg.scenes.prepare import prepare_scenes

    ready: list[Ready] = []
    with progress("Preparing") as advance:

        def tell(one: Ready) -> None:
            ready.append(one)
            for sentence in one.said:
                note(f"{one.scene}: {sentence}")
            if one.error and not alone:
                note(f"{one.scene} failed and is passed over: {one.error}")
            advance(len(ready), len(jobs), "scenes")

        try:
            items = prepare_scenes(jobs, out, engine=engine, on_ready=tell)  # type: ignore[arg-type]  # of engine_of
        except KeyboardInterrupt:
            note("Stopped. Run the same command again to go on.")
            raise typer.Exit(130) from None
    return ready, items


def _refuse_one_folder_for_two(folders: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in folders:
        if name.lower() in seen:  # some file systems know no capitals
            raise ConfigError(
                f"Two scenes go to the folder {name!r}; give each scene an id of its own."
            )
        seen.add(name.lower())


def _as_outcome(
    ready: Sequence[Ready], unreadable: Sequence[tuple[str, str]], out: Path
) -> Outcome:
    figures = {
        "catalog": str(out / "catalog.parquet"),
        "scenes": [
            {
                "scene": one.scene,
                "item": None if one.item is None else str(one.item),
                "shares": dict(one.shares),
                "registration": one.registration,
                "error": one.error or None,
            }
            for one in ready
        ],
        "failed": sum(bool(one.error) for one in ready) + len(unreadable),
    }
    rows = [
        (
            one.scene,
            *(f"{one.shares[k]:.1%}" if k in one.shares else "-" for k in ("cloud", "snow")),
            "-" if one.registration is None else f"{one.registration['left_out_rmse_m']:.3g}",
        )
        for one in ready
        if not one.error
    ]
    table = Table("Prepared", ("scene", "cloud", "snow", "off by m"), rows)
    return Outcome(figures, (table,))
