"""A complete inventory of three surveys, small, with what is hard to write down.

Import it from any test as `from inventory.small_inventory import small_inventory`: the folder
`tests` is on the path of every test.

In 1964 a film saw the west, in 2000 and 2020 satellites saw all of it.

* `ICE`, whose name holds quotes and markup, shrinks, and a tongue breaks off it by 2020 (`TONGUE`).
* `CALM` changes by less than is known. `SURGE` grows. `GONE` lies in the east, where the film did
  not look, and vanished by 2020.
* `LAKE` appeared by 2000, and had taken up `POND` by 2020. `SLUMP` appeared by 2020.
"""

import datetime as dt
from dataclasses import replace
from functools import cache

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from geoseg.inventory import Inventory
from geoseg.inventory.columns import COLUMNS, conform
from geoseg.labels import geodesic_areas_km2

NAME = 'Ngozumpa "Nyonno" d\'Ice; <b>&amp;</b> निगोजुम्बा'
ICE, TONGUE, CALM = "G086690E27960N", "G086685E27930N", "G086760E27950N"
SURGE, GONE = "G086790E27970N", "G086850E27945N"
LAKE, POND, SLUMP = "GL086688E27905N", "GL086700E27903N", "RTS086740E27915N"

_DAYS = {
    "1964": dt.date(1964, 11, 20),
    "2000": dt.date(2000, 10, 30),
    "2020": dt.date(2020, 10, 12),
}
_SENSORS = {"1964": "corona-kh4a", "2000": "landsat-7", "2020": "sentinel-2"}
_GSD_M = {"1964": 2.7, "2000": 30.0, "2020": 10.0}
_KINDS = dict.fromkeys((LAKE, POND), "lake") | {SLUMP: "thaw_slump"}
# Per row: track, survey, class, centre (x, y) and half axes (x, y) in metres, of a wavy ellipse.
_OUTLINES = [
    (ICE, "1964", "glacier", (3000, 8000), (1100, 3600)),
    (ICE, "2000", "glacier", (3000, 8300), (1000, 3200)),
    (ICE, "2020", "glacier", (3000, 9300), (900, 2000)),
    (TONGUE, "2020", "debris_ice", (3000, 6100), (600, 900)),
    (CALM, "1964", "clean_ice", (9000, 7000), (1500, 1500)),
    (CALM, "2000", "clean_ice", (9010, 7000), (1498, 1495)),
    (CALM, "2020", "clean_ice", (9000, 7010), (1490, 1500)),
    (SURGE, "1964", "clean_ice", (13000, 9500), (800, 1000)),
    (SURGE, "2000", "clean_ice", (13000, 9300), (850, 1250)),
    (SURGE, "2020", "clean_ice", (13000, 9000), (900, 1600)),
    (GONE, "2000", "clean_ice", (18500, 6500), (450, 350)),
    (LAKE, "2000", "proglacial_lake", (2800, 4200), (350, 450)),
    (POND, "2000", "proglacial_lake", (3700, 4000), (200, 150)),
    (LAKE, "2020", "proglacial_lake", (3100, 4200), (950, 700)),
    (SLUMP, "2020", "thaw_slump", (7500, 3300), (250, 180)),
]
_EVENTS = [
    ("split", ICE, TONGUE, "2000", "2020"),
    ("merge", LAKE, POND, "2000", "2020"),
    ("appear", LAKE, None, "1964", "2000"),
    ("appear", POND, None, "1964", "2000"),
    ("appear", SLUMP, None, "2000", "2020"),
    ("vanish", GONE, None, "2000", "2020"),
]


def small_inventory(crs="EPSG:32645", origin=(460_000, 3_085_000)):
    """The inventory in any CRS in metres, moved to an origin there; a copy of one made once."""
    made = _made(crs, origin)
    copies = {name: table.copy() for name, table in made.tables()}
    return replace(made, **copies, provenance=dict(made.provenance))


@cache
def _made(crs, origin):
    outlines = _outlines(crs, origin)
    tables = {
        "outlines": outlines,
        "surveys": _surveys(crs, origin, outlines),
        "states": _states(outlines),
    }
    tables["tracks"] = _tracks(outlines, tables["states"])
    tables["events"] = _events(outlines)
    tables["lakes"] = _lakes(outlines)
    tables["changes"] = _changes(outlines)
    return Inventory(
        **{name: conform(name, table) for name, table in tables.items()},
        title="Glaciers and lakes of a small valley, 1964 to 2020",
        licence="CC-BY-4.0",
        provenance={"geoseg": "0.0", "recipe_hash": "a'b\"c"},
    )


def no_inventory(crs="EPSG:32645"):
    """An inventory that found nothing: every table without a row, with all columns."""
    full = small_inventory(crs)
    empty = {name: table.iloc[:0] for name, table in full.tables()}
    return Inventory(**empty, title=full.title, licence=full.licence, provenance={})


def _blob(centre, axes, origin):
    angles = np.linspace(0, 2 * np.pi, 73)[:-1]
    waves = 1 + 0.08 * np.sin(3 * angles + 0.7) + 0.05 * np.cos(7 * angles)
    ring = np.column_stack([axes[0] * waves * np.cos(angles), axes[1] * waves * np.sin(angles)])
    return shapely.Polygon(ring + np.add(centre, origin))


def _outlines(crs, origin):
    shapes = [_blob(centre, axes, origin) for *_, centre, axes in _OUTLINES]
    nunatak = _blob((3100, 9500), (150, 250), origin)
    # In 2000 a second part lies apart; a rock stands out of the ice of every survey.
    shapes[1] = shapely.union(shapes[1], _blob((4600, 9300), (250, 300), origin))
    shapes[:3] = [shape.difference(nunatak) for shape in shapes[:3]]
    surveys = [row[1] for row in _OUTLINES]
    tracks = [row[0] for row in _OUTLINES]
    table = gpd.GeoDataFrame(geometry=[_multi(s) for s in shapes], crs=crs)
    points = table.representative_point().to_crs("EPSG:4326")
    gsd = np.array([_GSD_M[s] for s in surveys])
    area = geodesic_areas_km2(table, bend_m=1000)
    border = table.length.to_numpy() * gsd / 2e6
    known = {
        "outline_id": [f"{t}@{s}" for t, s in zip(tracks, surveys, strict=True)],
        "track_id": tracks,
        "survey": surveys,
        "kind": [_KINDS.get(t, "glacier") for t in tracks],
        "class_name": [row[2] for row in _OUTLINES],
        "glac_name": [NAME if t == ICE else None for t in tracks],
        "src_date": [_DAYS[s] for s in surveys],
        "start_date": [_DAYS[s] for s in surveys],
        "end_date": [_after(s) for s in surveys],
        "area_km2": area,
        "area_unc_km2": border,
        "area_unc_px_km2": border,
        "cenlon": points.x,
        "cenlat": points.y,
        "parts": table.count_geometries(),
        "debris_share": [0.4 if t == ICE else None for t in tracks],
        "zmin_m": [4700.5 if t == ICE else None for t in tracks],
        "zmax_m": [7100.25 if t == ICE else None for t in tracks],
        "aspect_deg": [183.0 if t == ICE else None for t in tracks],
        "aspect_sec": [5 if t == ICE else None for t in tracks],
        "dem_source": ["COPDEM30" if t == ICE else None for t in tracks],
        "scene": [f"scene-{s}" for s in surveys],
        "sensor": [_SENSORS[s] for s in surveys],
        "gsd_m": gsd,
        "model": [None if s == "1964" else "3f" * 32 for s in surveys],
    }
    return table.assign(**_all_columns("outlines", known, len(table)))


def _surveys(crs, origin, outlines):
    left, bottom = origin
    widths = {"1964": 16_000, "2000": 20_000, "2020": 20_000}
    seen = [_multi(shapely.box(left, bottom, left + w, bottom + 13_000)) for w in widths.values()]
    known = {
        "survey": list(_DAYS),
        "start_date": list(_DAYS.values()),
        "end_date": [_after(s) for s in _DAYS],
        "source": [f"scene-{s}" for s in _DAYS],
        "sensor": list(_SENSORS.values()),
        "gsd_m": list(_GSD_M.values()),
        "outlines": [int((outlines["survey"] == s).sum()) for s in _DAYS],
        "repaired": [0, 1, 0],
        "duplicates": [0, 0, 0],
        "overlaps": [0, 0, 2],
        "shift_x_m": [4.5, None, -1.25],
        "shift_y_m": [-3.0, None, 0.5],
        "shift_unc_m": [2.5, None, 0.75],
        "corrected": [True, False, False],
    }
    return gpd.GeoDataFrame(_all_columns("surveys", known, 3), geometry=seen, crs=crs)


def _states(outlines):
    rows = []
    for track in dict.fromkeys(outlines["track_id"]):
        own = outlines[outlines["track_id"] == track].set_index("survey")
        for survey in _DAYS:
            there = survey in own.index
            unseen = track == GONE and survey == "1964"
            rows.append(
                {
                    "track_id": track,
                    "kind": own["kind"].iloc[0],
                    "survey": survey,
                    "start_date": _DAYS[survey],
                    "end_date": _after(survey),
                    "status": "present" if there else "unknown" if unseen else "absent",
                    "area_km2": own.at[survey, "area_km2"] if there else None,
                    "area_unc_km2": own.at[survey, "area_unc_km2"] if there else None,
                }
            )
    return pd.DataFrame(rows)


def _tracks(outlines, states):
    rows, shapes = [], []
    for track, own in outlines.groupby("track_id", sort=False):
        first, last = own.iloc[0], own.iloc[-1]
        change = last["area_km2"] - first["area_km2"] if len(own) > 1 else None
        unc = np.hypot(first["area_unc_km2"], last["area_unc_km2"]) if len(own) > 1 else None
        years = (last["start_date"] - first["start_date"]).days / 365.25
        status = states.loc[states["track_id"] == track, "status"]
        rows.append(
            _one_of_all_columns(
                "tracks",
                track_id=track,
                ref_id="RGI2000-v7.0-G-15-00001" if track == ICE else None,
                kind=first["kind"],
                glac_name=first["glac_name"],
                parent_id=ICE if track == TONGUE else None,
                merged_into=LAKE if track == POND else None,
                start_date=first["start_date"],
                end_date=last["end_date"],
                n_present=int((status == "present").sum()),
                n_absent=int((status == "absent").sum()),
                n_unknown=int((status == "unknown").sum()),
                area_first_km2=first["area_km2"],
                area_last_km2=last["area_km2"],
                change_km2=change,
                change_unc_km2=unc,
                change_pct=None if change is None else 100 * change / first["area_km2"],
                significant=None if change is None else bool(abs(change) > 1.96 * unc),
                rate_km2_a=None if change is None else change / years,
                cenlon=last["cenlon"],
                cenlat=last["cenlat"],
            )
        )
        shapes.append(last["geometry"])
    return gpd.GeoDataFrame(rows, geometry=shapes, crs=outlines.crs)


def _events(outlines):
    areas = outlines.groupby("track_id")["area_km2"].first()
    places = outlines.set_index("outline_id").geometry
    rows, points = [], []
    for event, track, other, before, after in _EVENTS:
        at = before if event == "vanish" else after
        points.append(places[f"{track}@{at}"].representative_point())
        rows.append(
            {
                "event": event,
                "track_id": track,
                "other_ids": other,
                "kind": _KINDS.get(track, "glacier"),
                "survey_before": before,
                "survey_after": after,
                "start_date": _DAYS[before],
                "end_date": _after(after),
                "area_km2": areas[other or track],
            }
        )
    return gpd.GeoDataFrame(rows, geometry=points, crs=outlines.crs)


def _lakes(outlines):
    own = outlines[outlines["kind"] == "lake"].reset_index(drop=True)
    ice = outlines[outlines["kind"] == "glacier"]
    distances = [
        ice[ice["survey"] == survey].distance(lake).min()
        for survey, lake in zip(own["survey"], own.geometry, strict=True)
    ]
    kept = [name for name in COLUMNS["lakes"] if name in own] + ["geometry"]
    types = ["proglacial", "other", "ice_contact"]
    return own[kept].assign(lake_type=types, dist_ice_m=distances, glacier_id=[ICE, None, TONGUE])


def _changes(outlines):
    rows, shapes = [], []
    for track, own in outlines.groupby("track_id", sort=False):
        for (_, before), (_, after) in zip(
            own.iloc[:-1].iterrows(), own.iloc[1:].iterrows(), strict=True
        ):
            for change, ground in (
                ("gain", after["geometry"].difference(before["geometry"])),
                ("loss", before["geometry"].difference(after["geometry"])),
            ):
                if ground.area < 1:
                    continue
                shapes.append(_multi(ground))
                rows.append(
                    {
                        "track_id": track,
                        "kind": before["kind"],
                        "change": change,
                        "survey_from": before["survey"],
                        "survey_to": after["survey"],
                        "start_date": before["start_date"],
                        "end_date": after["end_date"],
                        "area_km2": ground.area / 1e6,
                    }
                )
    return gpd.GeoDataFrame(rows, geometry=shapes, crs=outlines.crs)


def _multi(shape):
    return shape if shape.geom_type == "MultiPolygon" else shapely.MultiPolygon([shape])


def _after(survey):
    return _DAYS[survey] + dt.timedelta(days=1)


def _all_columns(layer, known, rows):
    return {name: known.get(name, [None] * rows) for name in COLUMNS[layer]}


def _one_of_all_columns(layer, **known):
    return {name: known.get(name) for name in COLUMNS[layer]}
