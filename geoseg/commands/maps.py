"""`geoseg predict`, `geoseg mosaic`, `geoseg vectorize` and `geoseg export-onnx`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from geoseg.commands.engine import Address, Executor, Slurm, Workers, engine_of
from geoseg.commands.options import Bands, Changes, Date, Device, Json, Sensor
from geoseg.errors import ConfigError
from geoseg.terminal import Outcome, note, show

__all__ = ["export_onnx", "mosaic", "predict", "vectorize"]


def predict(
    models: Annotated[
        list[Path], typer.Option("--model", help="A model.safetensors; several are an ensemble.")
    ],
    scene: Annotated[
        Path | None, typer.Option(help="An image: a STAC item (.json) or a raster file.")
    ] = None,
    scenes: Annotated[
        Path | None, typer.Option(help="A catalogue of scenes: STAC GeoParquet.")
    ] = None,
    sensor: Sensor = None,
    bands: Bands = None,
    date: Date = None,
    out: Annotated[Path, typer.Option(help="Gets a folder a scene.")] = Path("out/maps"),
    max_memory: Annotated[
        str | None, typer.Option(help="Most memory to use: 2GB, 800MB. Tiles become smaller.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it will take, and write nothing.")
    ] = False,
    executor: Executor = None,
    workers: Workers = 1,
    address: Address = None,
    slurm: Slurm = None,
    changes: Changes = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Map a scene, or all scenes of a catalogue, with a trained network.

    What was stopped is gone on with by the same command. A scene that fails is reported and passed
    over; the exit code is then 1.

    Example: geoseg predict --model out/run/model/model.safetensors --scene scene.json

    Example: geoseg predict --model model.safetensors --scenes archive.parquet --executor slurm
    --workers 40 --slurm queue=gpu,memory=16GB,walltime=04:00:00
    """
    from geoseg.config import load_recipe

    engine = engine_of(executor, workers, address, slurm)
    most_memory_mb = None if max_memory is None else _megabytes(max_memory)
    settings = load_recipe(None, changes=_of_section("inference", changes)).inference
    # After the settings: with torch behind them, these take seconds.
    from geoseg.archive import Ends, find_scenes
    from geoseg.mapping import Archive, as_outcome, figures_of, map_archive

    archive = Archive(
        models=tuple(models),
        scenes=find_scenes(scene, scenes, _described(sensor, bands, date)),
        settings=settings,
        out=out,
        device=device,
        most_memory_mb=most_memory_mb,
    )
    with Ends() as ends:
        try:
            map_archive(
                archive,
                engine,
                dry_run=dry_run,
                on_end=lambda mapped: ends.add(mapped, figures_of(mapped)),
            )
        except KeyboardInterrupt:
            note("Stopped. Run the same command again to go on.")
            raise typer.Exit(130) from None
        if not dry_run and len(ends) > ends.failed:
            note(f"The maps lie in {out}, a folder a scene")
        show(as_outcome(ends, dry_run=dry_run), as_json=json)
    if ends.failed:
        raise typer.Exit(1)


def mosaic(
    maps: Annotated[list[Path], typer.Argument(help="Folders that `geoseg predict` wrote.")],
    rule: Annotated[
        str, typer.Option(help="Where maps overlap: best (the surest), newest, or vote.")
    ] = "best",
    crs: Annotated[
        str | None, typer.Option(help="EPSG:3413; that of the maps, or a local one, if not named.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the mosaic.")] = Path("out/mosaic"),
    json: Json = False,
) -> None:
    """Join the maps of overlapping scenes, so that a glacier on two of them is one outline.

    Example: geoseg mosaic out/maps/a out/maps/b --rule best --out out/mosaic
    """
    from dataclasses import asdict

    from geoseg.outlining import join_maps

    written = asdict(join_maps(maps, rule=rule, crs=crs, out=out))  # type: ignore[arg-type]  # checked there
    note(f"The mosaic lies in {out}")
    figures = {name: str(path) for name, path in written.items() if path is not None}
    show(Outcome({**figures, "source": str(out / "source.tif")}), as_json=json)


def vectorize(
    maps: Annotated[Path, typer.Argument(help="A folder of `geoseg predict` or `geoseg mosaic`.")],
    out: Annotated[Path, typer.Option(help="The GeoPackage to write.")] = Path("outlines.gpkg"),
    changes: Changes = None,
    json: Json = False,
) -> None:
    """Draw the outlines of a map, styled for QGIS.

    Example: geoseg vectorize out/maps/a --out a.gpkg --set outlines.smooth=2
    """
    from geoseg.config import load_recipe

    settings = load_recipe(None, changes=_of_section("outlines", changes)).outlines
    # After the settings: this takes seconds.
    from geoseg.outlining import as_outcome, outline_map

    outlines = outline_map(maps, settings, out)
    show(as_outcome(outlines, out), as_json=json)


def export_onnx(
    model: Annotated[Path, typer.Argument(help="A model.safetensors.")],
    scene: Annotated[
        Path, typer.Option(help="An image of the sensor: a STAC item (.json) or a raster file.")
    ],
    sensor: Sensor = None,
    bands: Bands = None,
    date: Date = None,
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("model.onnx"),
    changes: Changes = None,
    json: Json = False,
) -> None:
    """Write a network as ONNX, for the bands of a scene, as the plugin Deepness of QGIS reads it.

    Example: geoseg export-onnx model.safetensors --scene scene.json --set inference.tile_px=512
    """
    from geoseg.config import load_recipe

    settings = load_recipe(None, changes=_of_section("inference", changes)).inference
    # After the settings: with torch behind them, these take seconds.
    from geoseg.archive import find_scene
    from geoseg.inference import write_onnx
    from geoseg.models import extrapolation, load_checkpoint
    from geoseg.scenes import bands_of

    image = find_scene(scene, _described(sensor, bands, date))
    read = load_checkpoint(model)
    written = write_onnx(out, read.segmenter, image, settings, tags={"model_sha256": read.sha256})
    shown = bands_of(image, written.bands)
    said = extrapolation(read.segmenter.spec.input, shown, written.gsd_m)
    if said is not None:
        note(said)
    note(
        f"{out} takes {', '.join(written.bands)} at {written.gsd_m:g} m, in the unit of {image.id}"
    )
    show(Outcome({**written._asdict(), "path": str(out)}), as_json=json)


def _described(sensor: str | None, bands: str | None, date: str | None) -> dict[str, Any]:
    """What is told of a raster file."""
    names = None if bands is None else [name.strip() for name in bands.split(",")]
    return {"sensor": sensor, "bands": names, "date": date}


def _of_section(section: str, changes: list[str] | None) -> list[str]:
    """Changes of keys, all of one section of the recipe: no other is read."""
    for change in changes or ():
        if not change.strip().startswith(f"{section}."):
            raise ConfigError(f"--set {change} changes nothing here; name a key of {section}.")
    return changes or []


def _megabytes(amount: str) -> float:
    """Of an amount of memory: 2GB, 800 MB; 10^6 bytes each."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) *([MGT])B?", amount.strip(), re.IGNORECASE)
    if found is None or not float(found[1]) > 0:
        raise ConfigError(f"--max-memory {amount!r} is no amount of memory; write 2GB or 800MB.")
    return float(found[1]) * {"M": 1, "G": 1_000, "T": 1_000_000}[found[2].upper()]
