"""Which windows of a map to label next: doubtful, or rich in what is rare; and some at random.

Windows lie side by side, so that none overlaps another. A tenth or more are drawn at random from
all others with a known inclusion probability, as in `geoseg.presence.queue`: what is chosen for a
score tells nothing of what the score misses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import geopandas as gpd
import numpy as np
import shapely
from scipy.stats import rankdata

from geoseg.active.acquire.diverse import core_set
from geoseg.active.audits import AUDIT, LEAST_AUDIT, audit_size
from geoseg.errors import ConfigError, nearest
from geoseg.grids import crs_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from geoseg.active.acquire.windows import MapWindows

__all__ = ["RegionScore", "RegionSettings", "Regions", "choose_regions"]

RegionScore = Literal["entropy", "rare", "mixture"]
_A_PLACE = 10  # candidates for each window that is wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionSettings:
    """What windows are chosen for."""

    count: int = 20  # windows, the audit included
    score: RegionScore = "mixture"
    rare: tuple[
        str, ...
    ] = ()  # classes; all but the first, which is the ground, where none is named
    least_valid: float = 0.5  # share of a window that has data
    audit_share: float = LEAST_AUDIT  # of the windows, drawn at random
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError(f"{self.count} windows are none; ask for 1 or more.")
        if self.score not in get_args(RegionScore):
            raise ConfigError(
                f"There is no score {self.score!r}. {nearest(self.score, get_args(RegionScore))}"
            )
        if not 0 < self.least_valid <= 1:
            raise ConfigError(
                f"A share of {self.least_valid:g} of a window cannot have data; give more than 0, "
                "up to 1."
            )
        if not LEAST_AUDIT <= self.audit_share <= 1:
            raise ConfigError(
                f"An audit of a share of {self.audit_share:g} is too small or too large; give 0.1 "
                "to 1, for without it nothing tells what the map misses."
            )

    def shares(self, eligible: int) -> tuple[int, int]:
        """How many of as many windows are chosen, and how many are drawn as the audit."""
        count = min(self.count, eligible)
        audit = audit_size(count, self.audit_share)
        return count - audit, audit


class Regions(NamedTuple):
    """Windows to label, and what they were taken from."""

    windows: gpd.GeoDataFrame  # rank, why, score, inclusion, valid, geometry: by rank
    eligible: int  # windows with enough data, proposed never before
    left_out: int  # with too little


def choose_regions(
    windows: MapWindows, settings: RegionSettings, *, done: Sequence[gpd.GeoSeries] = ()
) -> Regions:
    """Windows to label, in order; any first part of them holds audit too.

    The score is the mean entropy; or `rare`, the share of all that is expected of each rare class
    in the map which lies in the window, added over these classes; or, as a mixture, the mean of the
    shares of windows that have less of one and of the other.

    Of the best by score, ten for each that is wanted, a core-set is chosen: of the square roots of
    mean probabilities (Hellinger 1909) and the place, times the score, with nothing as the first
    centre. So windows differ in what they hold, or lie apart, and one without a score is chosen
    last. Their inclusion is 1; that of the audit is the chance with which it was drawn from all
    others.

    Args:
        windows: of a map.
        settings: how many, by which score.
        done: windows of rounds before, in any CRS: none is chosen that overlaps one.

    Raises:
        ConfigError: a rare class that the map does not have, or one of an uncertainty alone.
    """
    valid = windows.valid >= settings.least_valid
    fit = _not_done(windows, np.flatnonzero(valid), done)
    score, why = _scores(windows, fit, settings)
    rng = np.random.default_rng(settings.seed)
    wanted, audit = settings.shares(len(fit))
    # Equal scores in any order: by position, only the north of a map would be looked at.
    best = np.lexsort((rng.random(len(fit)), -score))[: _A_PLACE * wanted]
    features = _features(windows, fit[best]) * score[best, None]
    chosen = best[core_set(features, np.zeros_like(features[:1]), wanted)]
    rest = np.setdiff1d(np.arange(len(fit)), chosen)
    drawn = rng.choice(rest, audit, replace=False)
    rows = np.concatenate([chosen, drawn])
    inclusion = [1.0, len(drawn) / max(len(rest), 1)]
    table = gpd.GeoDataFrame(
        {
            "why": np.concatenate([why[chosen], np.full(len(drawn), AUDIT, dtype=object)]),
            "score": score[rows],
            "inclusion": np.repeat(inclusion, [len(chosen), len(drawn)]),
            "valid": windows.valid[fit[rows]],
        },
        geometry=_outlines(windows, fit[rows]),
        crs=crs_of(windows.grid),
    )
    return Regions(_ranked(table), len(fit), int((~valid).sum()))


def _not_done(
    windows: MapWindows, fit: NDArray[np.intp], done: Sequence[gpd.GeoSeries]
) -> NDArray[np.intp]:
    """Of windows those that overlap none that was proposed before."""
    crs = crs_of(windows.grid)
    # Sides that are straight in one system are not in another.
    before = [np.asarray(_fine(frames).to_crs(crs)) for frames in done]
    if not before:
        return fit
    # Windows of one map and side touch, and rounding must not make that an overlap.
    inner = shapely.buffer(_outlines(windows, fit), -0.01 * abs(windows.grid.resolution.x))
    _, hits = shapely.STRtree(inner).query(np.concatenate(before), predicate="intersects")
    return np.delete(fit, np.unique(hits))


def _fine(frames: gpd.GeoSeries) -> gpd.GeoSeries:
    """Frames with corners along their sides."""
    longest = shapely.length(frames.to_numpy()).max(initial=0) / 64
    return frames.segmentize(longest) if longest > 0 else frames


def _ranked(table: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Rows with a rank from 1, those of the audit spread evenly over it."""
    audit = table["why"].groupby(table["why"] == AUDIT)
    spread = (audit.cumcount() + 0.5) / audit.transform("size").astype(np.float64)
    ranked = table.iloc[np.argsort(spread.to_numpy(), kind="stable")].reset_index(drop=True)
    ranked.insert(0, "rank", np.arange(1, len(ranked) + 1))
    return ranked


def _scores(
    windows: MapWindows, fit: NDArray[np.intp], settings: RegionSettings
) -> tuple[NDArray[np.float64], NDArray[np.object_]]:
    """Of the windows that fit, and what each would be chosen for."""
    doubt = windows.doubt[fit]
    if settings.score == "entropy":
        return doubt, np.full(len(fit), "doubtful", dtype=object)
    rare = _expected(windows, fit, settings.rare)
    if settings.score == "rare":
        return rare, np.full(len(fit), "rare", dtype=object)
    by_doubt, by_rare = ((rankdata(of, "min") - 1) / max(len(fit) - 1, 1) for of in (doubt, rare))
    why = np.where(by_doubt >= by_rare, "doubtful", "rare").astype(object)
    return (by_doubt + by_rare) / 2, why


def _expected(
    windows: MapWindows, fit: NDArray[np.intp], rare: tuple[str, ...]
) -> NDArray[np.float64]:
    """Of windows that fit, the share of all that is expected of a rare class, added over these."""
    if not windows.classes:
        raise ConfigError(
            "An uncertainty does not tell where rare classes are; give the map of probabilities, "
            "or score by entropy."
        )
    for name in rare:
        if name not in windows.classes:
            raise ConfigError(f"The map has no class {name!r}. {nearest(name, windows.classes)}")
    wanted = [windows.classes.index(name) for name in rare or windows.classes[1:]]
    expected = windows.chances[:, wanted] * windows.valid[:, None]
    whole = expected.sum(axis=0)
    return np.asarray((expected[fit] / np.where(whole > 0, whole, 1)).sum(axis=1))


def _features(windows: MapWindows, rows: NDArray[np.intp]) -> NDArray[np.float64]:
    """What windows are told apart by: what they hold, and where they lie about the map's centre."""
    grid = windows.grid
    size_m = np.abs([grid.resolution.y, grid.resolution.x])
    side, whole = np.array([windows.rows_px, windows.columns_px]), np.array(grid.shape)
    middle = (np.stack([windows.row, windows.column], axis=1)[rows] + 0.5) * side - whole / 2
    place = middle * size_m / (whole * size_m).max()
    held = windows.chances[rows] if windows.classes else windows.doubt[rows, None]
    return np.concatenate([np.sqrt(held), place], axis=1)


def _outlines(windows: MapWindows, rows: NDArray[np.intp]) -> NDArray[np.object_]:
    """Polygons of windows, cut at the edge of the map."""
    grid = windows.grid
    top, left = windows.row[rows] * windows.rows_px, windows.column[rows] * windows.columns_px
    bottom = np.minimum(top + windows.rows_px, grid.shape.y)
    right = np.minimum(left + windows.columns_px, grid.shape.x)
    map_x, map_y = grid.affine.c, grid.affine.f  # Not rotated: maps are refused that are.
    x = map_x + grid.resolution.x * np.stack([left, right])
    y = map_y + grid.resolution.y * np.stack([top, bottom])
    return np.asarray(shapely.box(x.min(axis=0), y.min(axis=0), x.max(axis=0), y.max(axis=0)))
