"""`geoseg mosaic` and `geoseg vectorize`: from maps of scenes to one map, and to outlines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import geopandas as gpd
from pyproj import CRS
from pyproj.exceptions import CRSError

from geoseg import __version__
from geoseg.errors import ConfigError, GridError, SceneError
from geoseg.files import read_checksums, require_intact, write_checksums
from geoseg.grids import crs_of, raster_grid, require_metres
from geoseg.inference import Prediction, read_origin
from geoseg.inventory import (
    LayerTraits,
    check_geopackage_path,
    write_geopackage,
)
from geoseg.inventory.attributes.conditions import conditions_of
from geoseg.inventory.consistency import GSD_TAG, filled_path, moved_back_by
from geoseg.mosaic import (
    MapOfScene,
    dates_of,
    grids_of,
    mosaic_grid,
    mosaic_maps,
    source_path,
)
from geoseg.report import outline_style
from geoseg.scenes import open_raster
from geoseg.terminal import Outcome, Table, progress
from geoseg.vectorize import outline_ground, outline_scene

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from geoseg.config import OutlineSettings
    from geoseg.inference import MapOrigin
    from geoseg.mosaic import Rule
    from geoseg.scenes import Scene

__all__ = ["as_outcome", "join_maps", "outline_map"]

_FILLED = 1  # in the map of what was filled


def join_maps(folders: Sequence[Path], *, rule: Rule, crs: str | None, out: Path) -> Prediction:
    """Make one map of the maps in some folders.

    Args:
        folders: of `geoseg predict`, each with the map of one scene.
        rule: best, newest or vote.
        crs: the reference system of the mosaic; a common or local one when None.
        out: gets classes.tif, source.tif and, where all maps have them, probability.tif.

    Raises:
        ConfigError: no maps, one named twice, one that is a mosaic or lies where the mosaic goes,
            or no such reference system.
        SceneError: a map cannot be read, or they have different classes.
        DataError: a map has changed since it was written.
    """
    _refuse_folders(folders, out)
    predictions = [_maps_in(folder) for folder in folders]
    origins = [read_origin(prediction.classes) for prediction in predictions]
    maps = [
        MapOfScene(scene_id=origin.id, start=origin.start, end=origin.end, prediction=prediction)
        for prediction, origin in zip(predictions, origins, strict=True)
    ]
    whole = all(one.prediction.probability is not None for one in maps)
    prediction = Prediction(
        classes=out / "classes.tif", probability=out / "probability.tif" if whole else None
    )
    with progress("Joining") as advance:
        written = mosaic_maps(
            maps,
            rule=rule,
            grid=mosaic_grid(grids_of(maps), crs=_crs(crs)),
            prediction=prediction,
            scheme=origins[0].scheme,
            tags=_tags_of_all(origins, out),
            on_block=lambda done, total: advance(done, total, ""),
        )
    write_checksums([*written.paths, source_path(written)])
    return written


def outline_map(
    folder: Path,
    settings: OutlineSettings,
    out: Path,
    *,
    scene: Scene | None = None,
    dem: Path | None = None,
) -> gpd.GeoDataFrame:
    """Write the outlines of a map as a GeoPackage, and the ground that it covers as layer `seen`.

    Args:
        folder: of `geoseg predict` or `geoseg mosaic`.
        settings: minimum sizes, simplification and smoothing.
        out: the GeoPackage.
        scene: what was mapped; where it is given, outlines say how much of them lay under snow and
            in shadow, as snow_share and shadow_share.
        dem: elevation for these, in metres; that of the scene when None.

    Raises:
        ConfigError: no name of a GeoPackage.
        OutputError: it cannot be written.
        SceneError: the map, or the scene, cannot be read.
        DataError: it has changed since it was written.
        GridError: the map is not in metres.
    """
    check_geopackage_path(out)
    prediction = _maps_in(folder)
    origin = read_origin(prediction.classes)
    _require_metres(prediction.classes)
    with progress("Outlining") as advance:
        outlines = outline_scene(
            prediction.classes,
            prediction.probability,
            scene=origin,
            scheme=origin.scheme,
            settings=settings,
            on_strip=lambda done, total: advance(done, total, ""),
        )
    source = source_path(prediction)
    if source.is_file():
        seen = dates_of(outlines, source)
        outlines = outlines.assign(
            src_date=seen["start_date"],
            start_date=seen["start_date"],
            end_date=seen["end_date"],
            scene=seen["scenes"],
        )
    outlines["model"] = origin.tags.get("model", "")[:12]
    if GSD_TAG in origin.tags:  # of a map that was made consistent with others, on finer pixels
        size = float(origin.tags[GSD_TAG])
        outlines["area_unc_km2"] *= size / outlines["gsd_m"]
        outlines["gsd_m"] = size
    if scene is not None:
        outlines = outlines.join(_conditions(outlines, scene, dem, origin))
    known = ("geoseg", "scene", "model", "recipe_hash", "data_hash", "filtered")
    write_geopackage(
        out,
        {"outlines": outlines, "seen": _seen(prediction)},
        styles={"outlines": outline_style(origin.scheme)},
        metadata={},
        traits={
            "outlines": LayerTraits(
                title=f"Outlines of {origin.id}",
                metadata={key: origin.tags[key] for key in known if key in origin.tags},
            ),
            "seen": LayerTraits(title="Ground that was seen"),
        },
    )
    return outlines


def _conditions(
    outlines: gpd.GeoDataFrame, scene: Scene, dem: Path | None, origin: MapOrigin
) -> pd.DataFrame:
    """Snow and shadow where the scene lay: outlines may have been moved back from there."""
    shift = moved_back_by(origin)
    if shift is not None:
        moved = outlines.translate(shift.x_m, shift.y_m)
        outlines = outlines.set_geometry(moved)
    return conditions_of(outlines, scene, dem=dem)


def _seen(prediction: Prediction) -> gpd.GeoDataFrame:
    """The ground that the scene showed: what other dates filled in a map was not seen."""
    filled = filled_path(prediction)
    if filled.is_file():
        require_intact([filled])
        ground = outline_ground(filled, missing=_FILLED)
    else:
        ground = outline_ground(prediction.classes)
    return gpd.GeoDataFrame({"source": [prediction.classes.name] * len(ground)}, geometry=ground)


def as_outcome(outlines: gpd.GeoDataFrame, path: Path) -> Outcome:
    """Outlines by class, for people and for scripts."""
    area = outlines.groupby("class_name")["area_km2"].agg(["size", "sum"])
    rows = [(str(name), str(int(n)), f"{km2:.2f}") for name, n, km2 in area.itertuples()]
    figures = {
        "inventory": str(path),
        "outlines": len(outlines),
        "area_km2": {str(name): float(km2) for name, km2 in area["sum"].items()},
    }
    columns = ("class", "outlines", "area (km2)")
    return Outcome(figures, (Table(f"Outlines in {path}", columns, rows),))


def _crs(name: str | None) -> CRS | None:
    """The reference system of this name."""
    try:
        return None if name is None else CRS.from_user_input(name)
    except CRSError as error:
        raise ConfigError(f"--crs {name!r} is no reference system; write EPSG:3413.") from error


def _tags_of_all(origins: Sequence[MapOrigin], out: Path) -> dict[str, str]:
    """What a mosaic says of its making: a map of several scenes, and from when to when."""
    return {
        "geoseg": __version__,
        "scene": out.resolve().name,
        "sensor": ",".join(sorted({origin.sensor_id for origin in origins})),
        "start": min(origin.start for origin in origins).isoformat(),
        "end": max(origin.end for origin in origins).isoformat(),
        "model": ",".join(sorted({origin.tags.get("model", "") for origin in origins})),
    }


def _refuse_folders(folders: Sequence[Path], out: Path) -> None:
    """Refuse folders that are not each a map of one scene, apart from the mosaic."""
    if not folders:
        raise ConfigError("Name the folders of the maps to join.")
    seen = {out.resolve()}
    for folder in folders:
        if folder.resolve() == out.resolve():
            raise ConfigError(f"{folder} is named as a map and as --out; write to another folder.")
        if folder.resolve() in seen:
            raise ConfigError(f"{folder} is named twice; name the folder of each map once.")
        seen.add(folder.resolve())
        if source_path(_usual(folder)).is_file():
            raise ConfigError(
                f"{folder} holds a mosaic; name the folders of the maps that it was made of."
            )


def _require_metres(classes: Path) -> None:
    """Refuse a map that is not in metres, before it is read to its end."""
    with open_raster(classes) as raster:
        crs = crs_of(raster_grid(raster))
    try:
        require_metres(crs, "Outlines")
    except GridError as error:
        raise GridError(
            f"{classes} is in {crs.axis_info[0].unit_name}s ({crs.name}), and outlines are drawn "
            f"in metres; bring it there with `geoseg mosaic {classes.parent} --out FOLDER` first."
        ) from error


def _maps_in(folder: Path) -> Prediction:
    """The maps that lie in a folder, as they were written; no probabilities of another job."""
    usual = _usual(folder)
    if not usual.classes.is_file():
        raise SceneError(
            f"{folder} holds no classes.tif; give a folder that `geoseg predict` or "
            "`geoseg mosaic` wrote."
        )
    found = usual if _of_one_job(usual) else Prediction(classes=usual.classes)
    require_intact(found.paths)
    return found


def _usual(folder: Path) -> Prediction:
    return Prediction(classes=folder / "classes.tif", probability=folder / "probability.tif")


def _of_one_job(maps: Prediction) -> bool:
    """Whether the probabilities are those of the class map: an earlier job may have left others."""
    if maps.probability is None or not maps.probability.is_file():
        return False
    known = read_checksums(maps.classes)
    if maps.probability.name in known:
        return True
    job, other = (_job(path) for path in (maps.classes, maps.probability))
    # A line of SHA256SUMS may be deleted on purpose; the tag of the map stays.
    return job == other and (job is not None or not known)


def _job(path: Path) -> str | None:
    """What decided a map, as `predict_scene` tags it; None for a mosaic."""
    with open_raster(path) as raster:
        job: str | None = raster.tags().get("job")
        return job
