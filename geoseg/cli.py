"""`geoseg`: the recipes, found through their entry points, and the verbs that they share."""

from __future__ import annotations

import re
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

import typer

from geoseg import __version__
from geoseg.errors import ConfigError, GeosegError
from geoseg.terminal import Outcome, Table, note, show

__all__ = ["app", "main"]

app = typer.Typer(
    name="geoseg",
    help="Outlines of glaciers, lakes and thaw slumps that can be compared across sensors.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
sensors_app = typer.Typer(no_args_is_help=True, help="The instruments that geoseg knows.")
data_app = typer.Typer(no_args_is_help=True, help="Open data sets, and a simulated landscape.")
app.add_typer(sensors_app, name="sensors")
app.add_typer(data_app, name="data")
catalog_app = typer.Typer(no_args_is_help=True, help="Tables of scenes: STAC GeoParquet.")
app.add_typer(catalog_app, name="catalog")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def main() -> None:
    """Run the command line: an error is one sentence and an exit code, unless --debug is given."""
    debug = "--debug" in sys.argv
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    for recipe in entry_points(group="geoseg.recipes"):
        app.add_typer(recipe.load(), name=recipe.name)
    try:
        app(args=arguments)
    except GeosegError as error:
        if debug:
            raise
        note(f"Error: {error}")
        sys.exit(error.exit_code)
    except Exception as error:
        if debug:
            raise
        note(f"Error: unexpected {type(error).__name__}: {error}. Run again with --debug.")
        sys.exit(1)


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"geoseg {__version__}\n")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
    _debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
) -> None:
    pass


@app.command()
def doctor(json: Json = False) -> None:
    """Say what geoseg found on this machine.

    Example: geoseg doctor
    """
    from geoseg.doctor import examine

    findings = examine()
    table = Table("geoseg doctor", ("what", "found"), list(findings.items()))
    show(Outcome(findings, (table,)), as_json=json)


@sensors_app.command("list")
def sensors_list(json: Json = False) -> None:
    """List the sensors.

    Example: geoseg sensors list
    """
    from geoseg.sensors import load_sensors

    sensors = load_sensors().values()
    rows = [
        (
            s.id,
            s.kind.value,
            f"{s.first_year}-{s.last_year or ''}",
            str(len(s.bands)),
            f"{min(b.gsd_m for b in s.bands):g}",
        )
        for s in sensors
    ]
    table = Table("Sensors", ("id", "kind", "years", "bands", "finest gsd (m)"), rows)
    show(Outcome({"sensors": [s.id for s in sensors]}, (table,)), as_json=json)


@sensors_app.command("show")
def sensors_show(
    sensor_id: Annotated[str, typer.Argument(help="An id of `geoseg sensors list`.")],
    json: Json = False,
) -> None:
    """Show the bands of a sensor and where the figures come from.

    Example: geoseg sensors show landsat-7
    """
    from dataclasses import asdict

    from geoseg.sensors import find_sensor

    sensor = find_sensor(sensor_id)
    rows = [
        (
            band.common_name,
            band.name,
            _optional(band.centre_um),
            _optional(band.fwhm_um),
            band.polarisation or "",
            f"{band.gsd_m:g}",
        )
        for band in sensor.bands
    ]
    columns = ("band", "own name", "centre (um)", "FWHM (um)", "polarisation", "gsd (m)")
    table = Table(f"{sensor.platform} {sensor.instrument} ({sensor.kind.value})", columns, rows)
    show(Outcome(asdict(sensor), (table,)), as_json=json)
    note(f"Source: {sensor.source}")


@sensors_app.command("film")
def sensors_film(
    preview: Annotated[
        Path | None, typer.Option(help="Write a contact sheet of all effects as this PNG.")
    ] = None,
    json: Json = False,
) -> None:
    """Show what modern images go through to become film, and where the ranges come from.

    Example: geoseg sensors film --preview film.png
    """
    from dataclasses import asdict

    from geoseg.chips import EFFECTS
    from geoseg.report import draw_film_sheet

    if preview is not None:
        if preview.suffix.lower() != ".png":
            raise ConfigError(f"{preview} is no picture that can be written; name it .png.")
        note("Rendering a simulated scene as film")
        draw_film_sheet(preview)
        note(f"The contact sheet lies in {preview}")
    rows = [(name, f"{e.low:g} to {e.high:g}", e.unit) for name, e in EFFECTS.items()]
    table = Table("From reflectance to film", ("effect", "range", "unit"), rows)
    effects = {name: asdict(effect) for name, effect in EFFECTS.items()}
    picture = None if preview is None else str(preview)
    show(Outcome({"effects": effects, "preview": picture}, (table,)), as_json=json)
    note("Where the ranges come from: docs/film.md, or --json")


@data_app.command("list")
def data_list(json: Json = False) -> None:
    """List the open data sets, with licence and source.

    Example: geoseg data list
    """
    from geoseg.data import load_registry

    sets = load_registry().values()
    listed = [
        {"name": s.name, "licence": s.licence, "source": s.source, "citation": s.citation}
        for s in sets
    ]
    rows = [
        (s.name, s.title, s.licence, f"{sum(f.bytes for f in s.files) / 1e6:.1f}") for s in sets
    ]
    table = Table("Open data sets", ("name", "what", "licence", "MB"), rows)
    show(Outcome({"data": listed}, (table,)), as_json=json)


@data_app.command("fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(help="A name of `geoseg data list`.")],
    json: Json = False,
) -> None:
    """Fetch a data set into the cache, or find it in the mirror named by GEOSEG_DATA_MIRROR.

    Example: geoseg data fetch everest
    """
    from geoseg.data import fetch

    folder = fetch(name, on_file=note)
    note(f"{name} lies in {folder}")
    show(Outcome({"name": name, "folder": str(folder)}), as_json=json)


@data_app.command("simulate")
def data_simulate(
    out: Annotated[Path, typer.Option(help="Folder for the landscape.")] = Path("out/simulated"),
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another landscape.")] = 0,
    json: Json = False,
) -> None:
    """Simulate a glacierised landscape from 1965 to 2025 and what several sensors see of it.

    Example: geoseg data simulate --out out/simulated --seed 1
    """
    from geoseg.data import simulate

    simulate(out, seed=seed, on_step=note)
    note(f"The landscape lies in {out}")
    show(Outcome({"folder": str(out), "seed": seed}), as_json=json)


@catalog_app.command("scan")
def catalog_scan(
    folder: Annotated[Path, typer.Argument(help="Searched for STAC items (.json).")],
    out: Annotated[Path, typer.Option(help="The table to write.")] = Path("catalog.parquet"),
    checksums: Annotated[
        bool, typer.Option("--checksums", help="Read all files, so that damage is noticed later.")
    ] = False,
    json: Json = False,
) -> None:
    """List the scenes under a folder in a catalogue; those that cannot be read are named.

    Example: geoseg catalog scan out/run/landscape/scenes --out catalog.parquet
    """
    from geoseg.scenes import scan_items, write_catalog

    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder; name one that holds STAC items.")
    found = scan_items(folder, checksums=checksums)
    for entry in found.broken:
        note(f"{entry.id} is left out: {entry.reason}")
    if not found.entries:
        raise ConfigError(f"{folder} holds no STAC item that can be read.")
    write_catalog(found.entries, out)
    rows = [
        (e.scene.id, e.scene.sensor_id, f"{e.scene.start:%Y-%m-%d}", str(len(e.scene.bands)))
        for e in found.entries
    ]
    figures = {
        "catalog": str(out),
        "scenes": [entry.scene.id for entry in found.entries],
        "broken": {entry.id: entry.reason for entry in found.broken},
    }
    table = Table(f"Scenes in {out}", ("id", "sensor", "from", "bands"), rows)
    show(Outcome(figures, (table,)), as_json=json)
    if found.broken:
        raise typer.Exit(1)


@app.command()
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
    sensor: Annotated[
        str | None, typer.Option(help="What took --scene: an id of `geoseg sensors list`.")
    ] = None,
    bands: Annotated[
        str | None, typer.Option(help="Bands of --scene in their order: red,green,blue,nir08.")
    ] = None,
    date: Annotated[
        str | None, typer.Option(help="Day on which --scene was taken (UTC): 2000-10-30.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Gets a folder a scene.")] = Path("out/maps"),
    max_memory: Annotated[
        str | None, typer.Option(help="Most memory to use: 2GB, 800MB. Tiles become smaller.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it will take, and write nothing.")
    ] = False,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a key: inference.uncertainty=entropy. Repeatable."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto",
    json: Json = False,
) -> None:
    """Map a scene, or all scenes of a catalogue, with a trained network.

    What was stopped is gone on with by the same command. A scene that fails is reported and passed
    over; the exit code is then 1.

    Example: geoseg predict --model out/run/model/model.safetensors --scene scene.json
    """
    from geoseg.config import load_recipe
    from geoseg.mapping import Archive, as_outcome, find_scenes, map_archive

    most_memory_mb = None if max_memory is None else _megabytes(max_memory)
    described = {"sensor": sensor, "bands": bands and bands.split(","), "date": date}
    found, unreadable = find_scenes(scene, scenes, described)
    archive = Archive(
        models=tuple(models),
        scenes=found,
        unreadable=unreadable,
        settings=load_recipe(None, changes=changes or []).inference,
        out=out,
        device=device,
        most_memory_mb=most_memory_mb,
    )
    try:
        mapped = map_archive(archive, dry_run=dry_run)
    except KeyboardInterrupt:
        note("Stopped. Run the same command again to go on.")
        raise typer.Exit(130) from None
    show(as_outcome(mapped, dry_run=dry_run), as_json=json)
    if any(m.error is not None for m in mapped):
        raise typer.Exit(1)


@app.command()
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


@app.command()
def vectorize(
    maps: Annotated[Path, typer.Argument(help="A folder of `geoseg predict` or `geoseg mosaic`.")],
    out: Annotated[Path, typer.Option(help="The GeoPackage to write.")] = Path("outlines.gpkg"),
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a key: outlines.min_area_m2=10000. Repeatable."),
    ] = None,
    json: Json = False,
) -> None:
    """Draw the outlines of a map, styled for QGIS.

    Example: geoseg vectorize out/maps/a --out a.gpkg --set outlines.smooth=2
    """
    from geoseg.config import load_recipe
    from geoseg.outlining import as_outcome, outline_map

    outlines = outline_map(maps, load_recipe(None, changes=changes or []).outlines, out)
    show(as_outcome(outlines, out), as_json=json)


@app.command()
def compare(
    recipe: Annotated[
        Path, typer.Option(help="YAML with the scenes, their labels and the training.")
    ],
    models: Annotated[
        str, typer.Option(help="architecture[/encoder][:frozen|:last_blocks], with commas between.")
    ] = "unet,deeplabv3plus,dinov3",
    folds: Annotated[int, typer.Option(min=2, help="Parts of the ground, each held out once.")] = 3,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each model on each fold.")] = 1,
    block_m: Annotated[
        float | None, typer.Option(help="Width of a block; an eighth of the area when not named.")
    ] = None,
    buffer_m: Annotated[
        float | None, typer.Option(help="Untrained margin of it; an eighth when not named.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the comparison.")] = Path("out/compare"),
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a key of the recipe: training.steps=100. Repeatable."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto",
    json: Json = False,
) -> None:
    """Compare networks over the same spatial folds, or go on with a comparison that was stopped.

    Example: geoseg compare --recipe examples/compare.yaml --models unet,deeplabv3plus --folds 3
    """
    from geoseg.compare import as_outcome, compare_models
    from geoseg.config import load_recipe

    try:
        comparison = compare_models(
            load_recipe(recipe, changes=changes or []),
            [name.strip() for name in models.split(",") if name.strip()],
            base=recipe.parent,
            folds=(folds, block_m, buffer_m),
            seeds=seeds,
            out=out,
            device=device,
        )
    except KeyboardInterrupt:
        note("Stopped. Run the same command again to go on.")
        raise typer.Exit(130) from None
    note(f"The report lies in {out / 'comparison.html'}")
    show(as_outcome(comparison), as_json=json)


def _megabytes(amount: str) -> float:
    """Of an amount of memory: 2GB, 800 MB; 10^6 bytes each."""
    found = re.fullmatch(r"([0-9.]+) *([MGT])B?", amount.strip(), re.IGNORECASE)
    if found is None or not float(found[1]) > 0:
        raise ConfigError(f"--max-memory {amount!r} is no amount of memory; write 2GB or 800MB.")
    return float(found[1]) * {"M": 1, "G": 1_000, "T": 1_000_000}[found[2].upper()]


def _optional(number: float | None) -> str:
    return "" if number is None else f"{number:g}"
