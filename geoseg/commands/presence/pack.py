"""`geoseg presence pack`."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geoseg.commands.options import Json
from geoseg.errors import ConfigError
from geoseg.terminal import Outcome, Table, note, progress, show

if TYPE_CHECKING:
    from geoseg.dates import Interval
    from geoseg.presence.packs import (
        Chips,
        Described,
        Foreign,
        Packed,
        Point,
        Points,
        Problem,
        Shards,
    )
    from geoseg.scenes import CatalogEntry

__all__ = ["pack"]

_WEBDATASET = "webdataset"
_FORMATS = {_WEBDATASET: ".tar", "parquet": ".parquet"}
_PER_SHARD = 2000
_SHOWN = 5  # problems; all are in problems.csv


def pack(
    source: Annotated[
        Path | None,
        typer.Argument(help="A folder of PNG, TIFF or .npy chips, or of shards."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the pack.")] = Path("out/pack"),
    points: Annotated[
        Path | None, typer.Option(help="Centres of places, to cut chips at: GeoPackage, CSV ...")
    ] = None,
    scene: Annotated[
        list[Path] | None, typer.Option(help="A scene to cut from: STAC item (.json) or raster.")
    ] = None,
    scenes: Annotated[
        Path | None, typer.Option(help="Scenes to cut from: a catalogue, STAC GeoParquet.")
    ] = None,
    size: Annotated[int, typer.Option(help="Side of a chip that is cut, in pixels.", min=1)] = 64,
    id_column: Annotated[
        str | None, typer.Option(help="Column of --points that names a place.")
    ] = None,
    sensor: Annotated[
        str | None, typer.Option(help="What took the chips: an id of `geoseg sensors list`.")
    ] = None,
    bands: Annotated[
        str | None,
        typer.Option(help="Bands of the chips, or of --scene, in their order: red,green,blue,nir."),
    ] = None,
    gsd_m: Annotated[float | None, typer.Option("--gsd", help="Pixel of the chips, m.")] = None,
    nodata: Annotated[
        float | None, typer.Option(help="Value of chips where nothing was measured.")
    ] = None,
    scale: Annotated[float, typer.Option(help="Pixel = stored value x scale.")] = 1.0,
    date: Annotated[
        str | None,
        typer.Option(help="When the chips, or --scene, were taken (UTC): 2021, or 2021-08-12."),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="CSV or Parquet: chip_id, present[, lon, lat, time, sensor]")
    ] = None,
    per_shard: Annotated[
        int | None, typer.Option(help="Places of a shard.", min=1, show_default=str(_PER_SHARD))
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option("--format", help="webdataset or parquet.", show_default=_WEBDATASET),
    ] = None,
    json: Json = False,
) -> None:
    """Put chips of very many places into a few large files, for `geoseg presence predict`.

    What was stopped is gone on with by the same command. What cannot be packed, or serve as mask
    or label, is named in problems.csv and passed over; the exit code is then 1. Shards stay where
    they are; --labels is kept beside them.

    Example: geoseg presence pack chips --sensor sentinel-2 --bands red,green,blue --date 2021
    """
    from geoseg.presence.packs import PROBLEMS, Shards, make_pack

    if layout is not None and layout not in _FORMATS:
        raise ConfigError(f"--format {layout!r} is none; write webdataset or parquet.")
    names = None if bands is None else tuple(name.strip() for name in bands.split(","))
    asked = _Asked(
        sensor=sensor,
        bands=names,
        gsd_m=gsd_m,
        nodata=nodata,
        scale=scale,
        date=date,
        labels=labels,
        size_px=size,
    )
    what, before = _find(source, points, id_column, (scene or [], scenes), asked)
    if isinstance(what, Shards) and (per_shard is not None or layout is not None):
        raise ConfigError(f"--per-shard and --format are of new shards; those of {source} stay.")
    try:
        with progress("Packing") as advance:
            packed = make_pack(
                what,
                out,
                per_shard=per_shard or _PER_SHARD,
                suffix=_FORMATS[layout or _WEBDATASET],
                problems=before,
                on_shard=lambda done, total: advance(done, total, "shards"),
            )
    except KeyboardInterrupt:
        note("Stopped. Run the same command again to go on.")
        raise typer.Exit(130) from None
    for problem in packed.problems[:_SHOWN]:
        note(f"{problem.key}: {problem.reason}")
    if len(packed.problems) > _SHOWN:
        note(f"{len(packed.problems)} problems in all: see {out / PROBLEMS}")
    show(_as_outcome(packed, out), as_json=json)
    if packed.problems:
        raise typer.Exit(1)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What the options say of the chips."""

    sensor: str | None
    bands: tuple[str, ...] | None
    gsd_m: float | None
    nodata: float | None
    scale: float
    date: str | None
    labels: Path | None
    size_px: int

    @property
    def interval(self) -> Interval | None:
        """When they were taken."""
        from geoseg.dates import parse_interval

        return None if self.date is None else parse_interval(self.date)

    def described(self) -> Described | None:
        """Chips; None where nothing says what took them."""
        from geoseg.presence.packs import Described

        if self.sensor is None:
            return None
        return Described(
            sensor_id=self.sensor,
            bands=self.bands,
            gsd_m=self.gsd_m,
            nodata=self.nodata,
            scale=self.scale,
            time=None if self.interval is None else self.interval.start,
        )


def _find(
    source: Path | None,
    points: Path | None,
    id_column: str | None,
    scenes: tuple[list[Path], Path | None],
    asked: _Asked,
) -> tuple[Chips | Shards | Points, list[Problem]]:
    """What is to be packed, and what is wrong with it before it is opened."""
    if points is not None and source is None:
        return _around(points, id_column, *scenes, asked)
    if source is None or points is not None:
        raise ConfigError("Name what to pack: a folder of chips, or --points to cut chips at.")
    if any(scenes) or id_column is not None:
        raise ConfigError("--scene, --scenes and --id-column go with --points, not a folder.")
    return _in_folder(source, asked)


def _in_folder(folder: Path, asked: _Asked) -> tuple[Chips | Shards, list[Problem]]:
    """Chips or shards of a folder, and what is wrong before they are opened."""
    from geoseg.presence.packs import Chips, Shards, list_chips, list_shards, read_labels

    shards, broken = list_shards(folder)
    if shards:
        foreign, wrong = _of_shards(asked)
        return Shards(paths=shards, foreign=foreign), broken + wrong
    described = asked.described()
    if described is None:
        raise ConfigError("Nothing says what took these chips; give --sensor, and --bands.")
    known, wrong = ({}, []) if asked.labels is None else read_labels(asked.labels)
    files, problems = list_chips(folder, known)
    return Chips(folder=folder, files=files, described=described), wrong + problems


def _of_shards(asked: _Asked) -> tuple[Foreign | None, list[Problem]]:
    """What is said of shards beside them, and what is wrong with it."""
    from geoseg.presence.packs import Foreign, Known, read_labels

    described, foreign = asked.described(), None
    if described is not None:
        kind = described.kind(None, None, None, scale=described.scale)
        foreign = Foreign(kind, described.time)
    if asked.labels is None:
        return foreign, []
    labels, wrong = read_labels(asked.labels)
    if any(label.time or label.sensor_id for label in labels.values()):
        raise ConfigError(
            f"{asked.labels} has times or sensors and the images of shards have their own; leave "
            "these columns out."
        )
    known = {name: Known(label.present, label.lon, label.lat) for name, label in labels.items()}
    return (foreign or Foreign(None, None))._replace(labels=known), wrong


def _around(
    points: Path, id_column: str | None, scene: list[Path], scenes: Path | None, asked: _Asked
) -> tuple[Points, list[Problem]]:
    """Points with the scenes that may show them, and what is wrong with either."""
    from geoseg.presence.packs import Points, read_points, scenes_of

    if (asked.gsd_m, asked.nodata, asked.scale) != (None, None, 1):
        raise ConfigError(
            "--gsd, --nodata and --scale are of chips in files; what is cut has those of its scene."
        )
    entries, broken = _entries(scene, scenes, asked)
    found, problems = read_points(points, id_column)
    if asked.labels is not None:
        found, wrong = _labelled(found, asked.labels)
        problems += wrong
    what = Points(
        path=points,
        points=found,
        scenes=scenes_of(found, entries),
        bands=None if scene and asked.sensor else asked.bands,
        size_px=asked.size_px,
    )
    return what, [*broken, *problems]


def _labelled(points: list[Point], table: Path) -> tuple[list[Point], list[Problem]]:
    """Points with the labels of a table, which wins where it has one; and what is wrong with it."""
    from geoseg.presence.packs import Problem, read_labels

    known, wrong = read_labels(table)
    if any(k.time or k.sensor_id or isfinite(k.lon) or isfinite(k.lat) for k in known.values()):
        raise ConfigError(
            f"{table} has positions, times or sensors and chips that are cut have those of "
            "--points and of their scenes; leave these columns out."
        )
    said = {name: label.present for name, label in known.items() if label.present is not None}
    there = {point.id for point in points}
    wrong += [
        Problem(name, "a label of a chip that is not there.") for name in known if name not in there
    ]
    return [p._replace(present=said.get(p.id, p.present)) for p in points], wrong


def _entries(
    scene: list[Path], scenes: Path | None, asked: _Asked
) -> tuple[list[CatalogEntry], list[Problem]]:
    """Scenes to cut from, and those that cannot be read."""
    from geoseg.archive import find_scene
    from geoseg.presence.packs import Problem
    from geoseg.scenes import read_catalog, scan_scene

    if not scene and scenes is None:
        raise ConfigError("Name what to cut from: --scene, once or more often, or --scenes.")
    entries: list[CatalogEntry] = []
    broken: list[Problem] = []
    if scenes is not None:
        catalog = read_catalog(scenes)
        entries += catalog.entries
        broken += [Problem(entry.id, entry.reason) for entry in catalog.broken]
    for path in scene:
        raster = path.suffix != ".json"
        when = asked.interval if raster else None
        described: dict[str, Any] = {"sensor": asked.sensor} if raster else {}
        described["bands"] = list(asked.bands) if raster and asked.bands else None
        described["date"] = when and when.first_day.isoformat()
        entries.append(scan_scene(find_scene(path, described)))
    return entries, broken


def _as_outcome(packed: Packed, out: Path) -> Outcome:
    made = packed.pack
    images = sum(shard.images for shard in made.shards)
    figures = {
        "pack": str(out),
        "places": made.places,
        "images": images,
        "shards": len(made.shards),
        "present": packed.present,
        "absent": packed.absent,
        "kinds": [kind.as_dict() for kind in made.kinds],
        "problems": len(packed.problems),
    }
    rows = [
        (k.sensor_id, ", ".join(k.bands), f"{k.gsd_m:g}", str(palette.shape[1]))
        for k, palette in made.kinds.items()
    ]
    title = f"{made.places} places, {images} images in {len(made.shards)} shards of {out}"
    return Outcome(figures, (Table(title, ("sensor", "bands", "pixel, m", "sampled"), rows),))
