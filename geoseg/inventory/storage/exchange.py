"""One survey of an inventory in the forms that RGI and GLIMS take glaciers in."""

from __future__ import annotations

import re
import zipfile
from typing import TYPE_CHECKING, NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError

from geoseg.errors import ConfigError, LabelError, OutputError, nearest
from geoseg.files import why_not_written, writing
from geoseg.inventory.columns import as_type
from geoseg.inventory.storage.geopackage import LayerTraits, check_geopackage_path, write_geopackage

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path

    from numpy.typing import NDArray

    from geoseg.inventory.inventory import Inventory

__all__ = ["MIN_AREA_KM2", "Exported", "export_glims", "export_rgi"]

MIN_AREA_KM2 = 0.01  # RGI 7.0 holds no smaller glacier
_SIDE_M = 1000  # a longer side is divided: it is straight in the projection, and not in degrees
_RGI_ID = re.compile(r"RGI2000-v7\.0-G-\d{2}-\d{5}")
_GLIMS_ID = re.compile(r"G\d{6}E\d{5}[NS]")
_LINE_TYPES = {"supraglacial": "supra_lake", "ice_contact": "pro_lake", "proglacial": "pro_lake"}
# RGI 7.0 in its order: what an inventory does not hold is None, and NULL in the file.
_RGI_COLUMNS = {
    "rgi_id": "text",
    "o1region": "text",
    "o2region": "text",
    "glims_id": "text",
    "anlys_id": "integer",
    "subm_id": "integer",
    "src_date": "text",
    "cenlon": "real",
    "cenlat": "real",
    "utm_zone": "integer",
    "area_km2": "real",
    "primeclass": "integer",
    "conn_lvl": "integer",
    "surge_type": "integer",
    "term_type": "integer",
    "glac_name": "text",
    "is_rgi6": "integer",
    "termlon": "real",
    "termlat": "real",
    "zmin_m": "real",
    "zmax_m": "real",
    "zmed_m": "real",
    "zmean_m": "real",
    "slope_deg": "real",
    "aspect_deg": "real",
    "aspect_sec": "integer",
    "dem_source": "text",
    "lmax_m": "real",
}


class Exported(NamedTuple):
    """How many outlines were written, and how many glaciers were left out as too small."""

    outlines: int
    too_small: int


def export_rgi(inventory: Inventory, survey: str, out: Path) -> Exported:
    """Write the glaciers of a survey as a GeoPackage with the columns of RGI 7.0.

    The layer is `glaciers`, in longitude and latitude (WGS 84). `rgi_id` and `glims_id` are given
    where the reference inventory of a track gave one; a track of its own has the id of its place as
    `glims_id`, which GLIMS does not know. What the inventory does not tell is NULL, also where RGI
    has a number for "not assigned". A last column, `track_id`, leads back to the inventory.

    Args:
        inventory: with areas and elevations as far as they are known.
        survey: its name.
        out: the .gpkg; replaced when it exists.

    Raises:
        LabelError: the inventory has no such survey.
        ConfigError: the path does not end in .gpkg.
        OutputError: the file cannot be written.
    """
    check_geopackage_path(out)
    glaciers, too_small = _glaciers(inventory, survey)
    ids = _reference_ids(glaciers, inventory)
    known: dict[str, object] = {name: glaciers[name] for name in _RGI_COLUMNS if name in glaciers}
    known |= {
        "rgi_id": ids.where(ids.str.fullmatch(_RGI_ID)),
        "glims_id": _glims_ids(ids, glaciers["track_id"]),
        "src_date": _times(glaciers["src_date"]),
        "utm_zone": _utm_zones(glaciers),
    }
    columns = {
        name: as_type(pd.Series(known.get(name), index=glaciers.index, dtype=object), kind)
        for name, kind in _RGI_COLUMNS.items()
    }
    columns["track_id"] = glaciers["track_id"]
    table = gpd.GeoDataFrame(columns, geometry=_in_degrees(glaciers), crs="EPSG:4326")
    title = f"{inventory.title}: {survey}"
    write_geopackage(
        out,
        {"glaciers": table},
        styles={},
        metadata={},
        traits={"glaciers": LayerTraits(title=title, licence=inventory.licence)},
    )
    return Exported(len(table), too_small)


def export_glims(inventory: Inventory, survey: str, out: Path, *, analysed: dt.date) -> Exported:
    """Write glaciers and lakes of a survey as GLIMS takes them: a zipped shapefile in degrees.

    Glaciers are `glac_bound`, with nunataks as holes; lakes on and before glaciers `supra_lake` and
    `pro_lake`, other lakes are left out. `local_id` is the track, `glac_id` that of GLIMS where one
    was given, else of the place. Uncertainties in metres: `loc_unc_*` half a pixel, `glob_unc_*`
    the registration of the survey.

    Args:
        inventory: with areas and elevations as far as they are known.
        survey: its name.
        out: the .zip; replaced when it exists.
        analysed: the day that the outlines were made.

    Raises:
        LabelError: the inventory has no such survey.
        ConfigError: the path does not end in .zip.
        OutputError: the file cannot be written.
    """
    if out.suffix != ".zip":
        raise ConfigError(f"{out} is no name of a zipped shapefile; let it end in '.zip'.")
    glaciers, too_small = _glaciers(inventory, survey)
    lakes = _lakes(inventory, survey)
    both = gpd.GeoDataFrame(pd.concat([glaciers, lakes], ignore_index=True))
    shift = inventory.surveys.set_index("survey")["shift_unc_m"].get(survey)
    owners = both["glacier_id"].fillna(both["track_id"]) if len(lakes) else both["track_id"]
    ids = _glims_ids(_reference_ids(both, inventory, owners), owners)
    columns = {
        "line_type": both["line_type"],
        "glac_id": ids,
        "local_id": both["track_id"],
        "glac_name": both["glac_name"],
        "anlys_time": pd.Series(f"{analysed:%Y-%m-%d}T00:00:00", index=both.index),
        "src_date": _times(both["src_date"]),
        "area": both["area_km2"],
        "min_elev": both["zmin_m"],
        "mean_elev": both["zmean_m"],
        "max_elev": both["zmax_m"],
        "loc_unc_x": both["gsd_m"] / 2,
        "loc_unc_y": both["gsd_m"] / 2,
        "glob_unc_x": pd.Series(shift, index=both.index, dtype="float64"),
        "glob_unc_y": pd.Series(shift, index=both.index, dtype="float64"),
        "inst_name": both["sensor"],
        "orig_id": both["scene"],
        "proc_desc": both["model"],
    }
    table = gpd.GeoDataFrame(columns, geometry=_in_degrees(both), crs="EPSG:4326")
    _write_zip(out, table)
    return Exported(len(table), too_small)


def _glaciers(inventory: Inventory, survey: str) -> tuple[gpd.GeoDataFrame, int]:
    """The glaciers of a survey that are large enough, and how many are not."""
    names = [str(name) for name in inventory.surveys["survey"]]
    if survey not in names:
        raise LabelError(f"no survey named {survey!r} in the inventory. {nearest(survey, names)}")
    outlines = inventory.outlines
    own = outlines[(outlines["survey"] == survey) & (outlines["kind"] == "glacier")]
    large = own["area_km2"] >= MIN_AREA_KM2
    kept = own[large].sort_values("track_id", ignore_index=True).assign(line_type="glac_bound")
    return kept, int((~large).sum())


def _lakes(inventory: Inventory, survey: str) -> gpd.GeoDataFrame:
    """The lakes of a survey that GLIMS has a type of line for."""
    known = inventory.lakes[["outline_id", "lake_type", "glacier_id"]]
    lakes = inventory.outlines.merge(known, on="outline_id")
    lakes = lakes[lakes["survey"] == survey].assign(line_type=lakes["lake_type"].map(_LINE_TYPES))
    return lakes[lakes["line_type"].notna()].sort_values("track_id", ignore_index=True)


def _reference_ids(
    outlines: gpd.GeoDataFrame, inventory: Inventory, tracks: pd.Series | None = None
) -> pd.Series:
    """The ids that a reference inventory gave to the tracks, as text, '' where it gave none."""
    given = inventory.tracks.set_index("track_id")["ref_id"]
    wanted = outlines["track_id"] if tracks is None else tracks
    return as_type(wanted.map(given).astype(object).fillna(""), "text")


def _glims_ids(reference: pd.Series, tracks: pd.Series) -> pd.Series:
    """An id of the form of GLIMS: the reference's, else that of the track; NA where neither is."""
    both = reference.where(reference.str.fullmatch(_GLIMS_ID), tracks)
    return both.where(both.str.fullmatch(_GLIMS_ID))


def _times(days: pd.Series) -> pd.Series:
    """Days as RGI and GLIMS write them, ISO 8601 with a time of day."""
    texts = [None if pd.isna(day) else f"{day:%Y-%m-%d}T00:00:00" for day in days]
    return pd.Series(texts, index=days.index, dtype=object)


def _utm_zones(outlines: gpd.GeoDataFrame) -> NDArray[np.int64]:
    """UTM zones of the points inside, those of Norway and Svalbard at their own widths."""
    longitude = outlines["cenlon"].to_numpy(dtype=np.float64)
    latitude = outlines["cenlat"].to_numpy(dtype=np.float64)
    zones: NDArray[np.int64] = (np.floor((longitude + 180) / 6) % 60 + 1).astype(np.int64)
    zones[(latitude >= 56) & (latitude < 64) & (longitude >= 3) & (longitude < 12)] = 32
    svalbard = (latitude >= 72) & (latitude <= 84)
    for west, east, zone in ((0, 9, 31), (9, 21, 33), (21, 33, 35), (33, 42, 37)):
        zones[svalbard & (longitude >= west) & (longitude < east)] = zone
    return zones


def _in_degrees(outlines: gpd.GeoDataFrame) -> NDArray[np.object_]:
    """Outlines in longitude and latitude; one that crosses the antimeridian is cut there."""
    placed = outlines.geometry.segmentize(_SIDE_M).to_crs("EPSG:4326").to_numpy()
    west, _, east, _ = shapely.bounds(placed).reshape(-1, 4).T
    for row in np.flatnonzero(east - west > 180):
        placed[row] = _cut_at_antimeridian(placed[row])
    return np.asarray(placed)


def _cut_at_antimeridian(outline: shapely.Geometry) -> shapely.Geometry:
    whole = shapely.transform(outline, lambda xy: np.column_stack([xy[:, 0] % 360, xy[:, 1]]))
    west = shapely.intersection(whole, shapely.box(0, -90, 180, 90))
    east = shapely.intersection(whole, shapely.box(180, -90, 360, 90))
    moved = shapely.transform(east, lambda xy: xy - (360, 0))
    parts = shapely.get_parts([west, moved])
    flat = shapely.get_type_id(parts) == shapely.GeometryType.POLYGON
    return shapely.MultiPolygon(list(parts[flat]))


def _write_zip(path: Path, table: gpd.GeoDataFrame) -> None:
    with writing(path) as aside:
        shapes = aside.with_name(f"{path.stem}.shp")
        try:
            pyogrio.write_dataframe(
                table, shapes, driver="ESRI Shapefile", encoding="UTF-8", geometry_type="Polygon"
            )
        except (DataSourceError, DataLayerError) as error:
            reason = why_not_written(error, path.parent)
            raise OutputError(f"{path} could not be written: {reason}.") from error
        with zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) as archive:
            for part in sorted(aside.parent.glob(f"{shapes.stem}.*")):
                if part != aside:
                    archive.write(part, part.name)
