"""Outlines of an inventory made small enough to be drawn by a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import shapely

from geoseg.report.history import kind_words
from geoseg.report.quantities import known, measured, rated, shown

if TYPE_CHECKING:
    import geopandas as gpd
    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from geoseg.inventory import Inventory
    from geoseg.report.history import History

__all__ = ["MOST_BYTES", "map_data"]

MOST_BYTES = 3_000_000  # tables and figures need up to two millions more
_CHANGES_SHARE = 0.25  # of the bytes, kept for gain and loss
_UNITS = 100_000  # that the longer side of the map is counted in
_FINEST = 4_000  # of the longer side: half a pixel of a large screen
_DETAILS = (60, 30, 15)  # of the width of an outline; the coarser ones where bytes are short
_TRACK_BYTES = 60  # of the punctuation of one


class _Frame(NamedTuple):
    """Whole numbers from the upper left corner, for coordinates in metres."""

    left_m: float
    top_m: float
    width_m: float
    height_m: float

    @property
    def side_m(self) -> float:
        return max(self.width_m, self.height_m)

    @property
    def unit_m(self) -> float:
        return self.side_m / _UNITS


def map_data(
    inventory: Inventory, history: History, most_bytes: int = MOST_BYTES
) -> dict[str, Any]:
    """What the map of a page is drawn from: paths of whole numbers, largest tracks first.

    Tracks are left out whole where bytes run out: one that lost its newest outlines would be drawn
    as it once was. How many were left out is in the result.

    Args:
        inventory: of any size.
        history: of the same.
        most_bytes: of all paths, more or less.
    """
    frame = _frame(inventory)
    seen = _seen(inventory.surveys, frame, history)
    left = most_bytes - sum(map(len, seen))
    tracks, changes = [], []
    for detail in _DETAILS:
        tracks = _tracks(inventory, history, frame, detail, round(left * (1 - _CHANGES_SHARE)))
        spent = sum(map(_bytes_of, tracks))
        changes = _changes(inventory.changes, history, frame, detail, left - spent)
        if len(tracks) == _drawable(inventory, history) and len(changes) == len(inventory.changes):
            break
    return {
        "surveys": [
            {"name": name, "day": day, "year": None if np.isnan(year) else round(year, 3)}
            for name, day, year in zip(history.surveys, history.days, history.years, strict=True)
        ],
        "kinds": [{"kind": kind, "words": kind_words(kind)} for kind in history.kinds],
        "width": round(frame.width_m / frame.unit_m),
        "height": round(frame.height_m / frame.unit_m),
        "unit_m": frame.unit_m,
        "seen": seen,
        "tracks": tracks,
        "changes": changes,
        "tracks_left_out": _drawable(inventory, history) - len(tracks),
        "changes_left_out": len(inventory.changes) - len(changes),
    }


def _frame(inventory: Inventory) -> _Frame:
    """The ground of all outlines, or what was seen where there is none, with a margin."""
    table = inventory.surveys if inventory.outlines.empty else inventory.outlines
    bounds = table.total_bounds if len(table) else np.full(4, np.nan)
    if not np.isfinite(bounds).all():
        bounds = np.array([0.0, 0.0, 1000.0, 1000.0])
    left, bottom, right, top = bounds
    margin = 0.03 * max(right - left, top - bottom, 1.0)
    return _Frame(left - margin, top + margin, right - left + 2 * margin, top - bottom + 2 * margin)


def _drawable(inventory: Inventory, history: History) -> int:
    """Tracks that have an outline."""
    ids = set(inventory.outlines["track_id"])
    return sum(track in ids for track in history.tracks["track_id"])


def _seen(surveys: gpd.GeoDataFrame, frame: _Frame, history: History) -> list[str]:
    """A path of the ground that each survey saw, as coarse as the map may be."""
    own = surveys.set_index("survey").geometry.reindex(list(history.surveys)).to_numpy()
    return [_path(g, frame) for g in shapely.simplify(own, frame.side_m / _FINEST)]


def _tracks(
    inventory: Inventory, history: History, frame: _Frame, detail: int, most_bytes: int
) -> list[dict[str, Any]]:
    """Tracks with an outline, the largest first, until bytes run out."""
    outlines = inventory.outlines.reset_index(drop=True)
    lake_types = dict(zip(inventory.lakes["outline_id"], inventory.lakes["lake_type"], strict=True))
    outlines["lake_type"] = outlines["outline_id"].map(lake_types)
    simple = _simple(outlines, frame, detail)
    rows: dict[tuple[str, str], int] = {
        (track, str(survey)): row
        for row, (track, survey) in enumerate(
            zip(outlines["track_id"], outlines["survey"], strict=True)
        )
    }
    largest = outlines.groupby("track_id")["area_km2"].max().reindex(history.tracks["track_id"])
    order = np.argsort(-largest.to_numpy(dtype=float), kind="stable")
    drawn, spent = [], 0
    for number in order[: _drawable(inventory, history)]:
        track = history.tracks.iloc[number]
        own = [rows.get((track["track_id"], survey)) for survey in history.surveys]
        paths = ["" if row is None else _path(simple[row], frame) for row in own]
        newest = outlines.iloc[[row for row in own if row is not None][-1]]
        drawn.append(_entry(history, int(number), paths, _about(track) + _about_outline(newest)))
        spent += _bytes_of(drawn[-1])
        if spent > most_bytes:
            return drawn[:-1]
    return drawn


def _entry(
    history: History, number: int, paths: list[str], about: list[list[str]]
) -> dict[str, Any]:
    track = history.tracks.iloc[number]
    return {
        "id": str(track["track_id"]),
        "name": shown(track["glac_name"]),
        "kind": str(track["kind"]),
        "status": "".join(s[0] for s in history.status[number]),
        "area": [_number(v) for v in history.area_km2[number]],
        "unc": [_number(v) for v in history.unc_km2[number]],
        "d": paths,
        "about": about,
    }


def _changes(
    changes: gpd.GeoDataFrame, history: History, frame: _Frame, detail: int, most_bytes: int
) -> list[dict[str, Any]]:
    """Ground gained and lost, the largest first, until bytes run out."""
    changes = changes.sort_values("area_km2", ascending=False)
    place = {survey: i for i, survey in enumerate(history.surveys)}
    drawn, spent = [], 0
    simple = _simple(changes, frame, detail)
    for geometry, change, first, last in zip(
        simple, changes["change"], changes["survey_from"], changes["survey_to"], strict=True
    ):
        path = _path(geometry, frame)
        entry = {
            "change": str(change),
            "from": place.get(str(first), -1),
            "to": place.get(str(last), -1),
            "d": path,
        }
        spent += len(path) + _TRACK_BYTES
        if spent > most_bytes:
            break
        drawn.append(entry)
    return drawn


def _simple(table: gpd.GeoDataFrame, frame: _Frame, detail: int) -> NDArray[np.object_]:
    """Geometries as coarse as their own width and that of the map allow."""
    geometry = table.geometry.to_numpy()
    width_m = np.sqrt(shapely.area(geometry))
    tolerance = np.clip(width_m / detail, frame.unit_m, frame.side_m / _FINEST)
    simple: NDArray[np.object_] = shapely.simplify(geometry, tolerance)
    return simple


def _path(geometry: BaseGeometry | None, frame: _Frame) -> str:
    """An SVG path of whole numbers, each corner counted from the one before."""
    if geometry is None or geometry.is_empty:
        return ""
    rings = shapely.get_rings(shapely.get_parts(geometry))
    return "".join(_ring(shapely.get_coordinates(ring), frame) for ring in rings)


def _ring(coordinates: NDArray[np.float64], frame: _Frame) -> str:
    away = (coordinates[:-1] - (frame.left_m, frame.top_m)) * (1, -1)
    corners = np.rint(away / frame.unit_m).astype(int)
    steps = np.diff(corners, axis=0)
    steps = steps[steps.any(axis=1)]
    if len(steps) < 2:  # too small for a triangle, and yet to be seen
        steps = np.array([[1, 0], [0, 1], [-1, 0]])
    x, y = corners[0]
    return f"M{x} {y}l{' '.join(map(str, steps.ravel()))}z".replace(" -", "-")


def _bytes_of(entry: dict[str, Any]) -> int:
    about = (text for pair in entry["about"] for text in pair)
    texts = [*entry["d"], *about, entry["id"], entry["name"]]
    return (
        sum(len(text.encode()) for text in texts)
        + _TRACK_BYTES
        + 4 * len(texts)
        + 16 * len(entry["area"])
    )


def _number(value: float) -> float | None:
    return float(f"{value:.6g}") if np.isfinite(value) else None


def _pairs(told: dict[str, str]) -> list[list[str]]:
    """Titles and words, without those that say nothing."""
    return [[title, words] for title, words in told.items() if words]


def _about(track: pd.Series[Any]) -> list[list[str]]:
    """What is known of a track, in words."""
    rate, ends = rated(*(known(track[f"rate_{part}km2_a"]) for part in ("", "lo_", "hi_")))
    probable = f" (95 %: {ends})" if ends else ""
    told = {
        "Kind": str(track["kind"]).replace("_", " "),
        "Reference": shown(track["ref_id"]),
        "Broke off": shown(track["parent_id"]),
        "Merged into": shown(track["merged_into"]),
        "Change": _changed(track),
        "Rate": f"{rate} km² a year{probable}" if rate else "",
    }
    return _pairs(told)


def _changed(track: pd.Series[Any]) -> str:
    """A change, and whether it is more than its uncertainty."""
    change, deviation = known(track["change_km2"]), known(track["change_unc_km2"])
    if np.isnan(change):
        return ""
    verdict = {1.0: ", significant", 0.0: ", not significant"}
    words = measured(change, deviation, sign=True)
    return f"{words} km²{verdict.get(known(track['significant']), '')}"


def _about_outline(outline: pd.Series[Any]) -> list[list[str]]:
    """What is known of an outline, in words."""
    low, middle, high = (known(outline[f"z{which}_m"]) for which in ("min", "med", "max"))
    told = {
        "Lake type": shown(outline["lake_type"]).replace("_", " "),
        "Elevation": ""
        if np.isnan(low + middle + high)
        else f"{low:,.0f} to {high:,.0f} m, median {middle:,.0f} m",
        "Mean slope": _whole(known(outline["slope_deg"]), "°"),
        "Under debris": _whole(100 * known(outline["debris_share"]), " %"),
        "Image": ", ".join(filter(None, (shown(outline["sensor"]), shown(outline["scene"])))),
    }
    return _pairs(told)


def _whole(value: float, unit: str) -> str:
    return "" if np.isnan(value) else f"{value:.0f}{unit}"
