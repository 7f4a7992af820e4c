"""What a page of presence needs of very many results, gathered in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from geoseg.presence.ranking import CELLS_A_PLACE, Best, cells_of, hashes_of, log_odds, pick_apart

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

__all__ = [
    "SHEETS",
    "FirstYears",
    "Known",
    "ProbabilityCounts",
    "Tally",
    "count_first_years",
    "tally_results",
]

SHEETS = ("surest", "doubtful", "missed", "false alarms")
_READ = ["chip_id", "lon", "lat", "probability", "decision", "present", "shard"]
_EDGES = np.arange(-20, 20.25, 0.25)  # of log odds: probabilities from 2e-9
_YEARS = np.arange(1900, 2101)
_WIDTHS = np.arange(0, 150.1, 0.1)  # years
_SEED = 0
_MOST_KNOWN = 1_000_000


class ProbabilityCounts(NamedTuple):
    """How many places have which probability; `present` and `absent` are of those known."""

    edges: NDArray[np.float64]  # (B + 1,) of log odds; what lies beyond is in the outer bins
    every: NDArray[np.int64]  # (B,)
    present: NDArray[np.int64]
    absent: NDArray[np.int64]


class FirstYears(NamedTuple):
    """When something first appeared, of those places that hold it."""

    years: NDArray[np.int64]  # (Y,) without a gap from the first to the last
    counts: NDArray[np.int64]  # (Y,) places
    before: int  # places where it probably was before the first image
    median_width: float  # years, of the intervals of 90 % that have two ends; NaN where none has


class Known(NamedTuple):
    """Places of which it is known whether they hold it."""

    places: int
    found: int  # of them, said to hold it
    probability: NDArray[np.float64]  # of all of them, or of a random sample of a million


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Results, small."""

    places: int
    images: int
    unscored: int  # places without a probability
    found: int  # places that are said to hold it
    counts: ProbabilityCounts
    expected: float  # sum of the probabilities
    known_present: Known
    known_absent: Known
    picked: Mapping[str, pd.DataFrame]  # rows of results by the name of a sheet, the first to show


def tally_results(
    batches: Iterable[pd.DataFrame],
    *,
    threshold: float,
    labels: pd.Series[bool] | None = None,
    per_sheet: int = 24,
    apart_m: float = 500.0,
) -> Tally:
    """What a page tells of results of any number; memory does not grow with it.

    Args:
        batches: chip_id, lon, lat, probability (NaN where there is none), decision, n_images, shard
            (any), and present where it is known (NaN or None where it is not).
        threshold: of decision, on the probability, 0 to 1.
        labels: what is known, by chip_id; counts for more than `present`.
        per_sheet: places of a sheet.
        apart_m: that those of one sheet are apart, so that it does not show one place many times.
    """
    gathered = _Gathered(per_sheet, float(log_odds(threshold)), apart_m)
    places = images = unscored = 0
    for batch in batches:
        places += len(batch)
        images += int(batch["n_images"].sum())
        rows = _with_truth(batch, labels)
        rows = rows.loc[rows["probability"].notna(), _READ].reset_index(drop=True)
        unscored += len(batch) - len(rows)
        gathered.add(rows)
    return Tally(
        places=places,
        images=images,
        unscored=unscored,
        found=gathered.found,
        counts=ProbabilityCounts(_EDGES, *gathered.counts),
        expected=gathered.expected,
        known_present=gathered.known(1),
        known_absent=gathered.known(0),
        picked=gathered.picked(),
    )


def count_first_years(batches: Iterable[pd.DataFrame]) -> FirstYears:
    """How many places got it in which year.

    Args:
        batches: first_until, first_year, low, high: decimal years, NaN where there is none.
    """
    counts = np.zeros(len(_YEARS), np.int64)
    widths = np.zeros(len(_WIDTHS), np.int64)
    before = 0
    for batch in batches:
        rows = batch[batch["first_until"].notna()]  # the others do not hold it
        years = np.floor(rows["first_year"].dropna().to_numpy(dtype=np.float64)).astype(int)
        before += len(rows) - len(years)
        counts += np.bincount(np.clip(years, _YEARS[0], _YEARS[-1]) - _YEARS[0], minlength=201)
        width = (rows["high"] - rows["low"]).dropna().to_numpy(dtype=np.float64)
        places = np.searchsorted(_WIDTHS, np.clip(width, 0, _WIDTHS[-2]), side="right") - 1
        widths += np.bincount(places, minlength=len(_WIDTHS))
    used = np.flatnonzero(counts)
    span = slice(used[0], used[-1] + 1) if used.size else slice(0, 0)
    half = np.searchsorted(np.cumsum(widths), widths.sum() / 2)
    median = float(_WIDTHS[half]) if widths.any() else float("nan")
    return FirstYears(_YEARS[span], counts[span], before, median)


class _Gathered:
    """What is kept of rows of results."""

    def __init__(self, per_sheet: int, turning: float, apart_m: float) -> None:
        self._per_sheet, self._turning, self._apart_m = per_sheet, turning, apart_m
        self._best = {name: Best(CELLS_A_PLACE * per_sheet) for name in SHEETS}
        self.counts = np.zeros((3, len(_EDGES) - 1), np.int64)
        self.found, self.expected = 0, 0.0
        self._samples = _Sample(_MOST_KNOWN), _Sample(_MOST_KNOWN)  # absent, present
        self._found = [0, 0]

    def add(self, rows: pd.DataFrame) -> None:
        """Rows of _READ, each with a probability; `present` is 1, 0 or NaN."""
        odds = log_odds(rows["probability"])
        decided = rows["decision"].to_numpy(dtype=bool)
        present, absent = ((rows["present"] == kind).to_numpy() for kind in (1, 0))
        rows = rows.assign(hash=hashes_of(rows["chip_id"], _SEED))
        rows["cell"] = cells_of(rows, self._apart_m)
        bins = np.digitize(odds, _EDGES[1:-1])
        for row, of_it in enumerate((np.ones_like(present), present, absent)):
            self.counts[row] += np.bincount(bins[of_it], minlength=len(_EDGES) - 1)
        probability = rows["probability"].to_numpy(dtype=np.float64)
        self.found += int(decided.sum())
        self.expected += float(probability.sum())
        hashes = rows["hash"].to_numpy(dtype=np.uint64)
        for kind, of_it in enumerate((absent, present)):
            self._samples[kind].add(probability[of_it], hashes[of_it])
            self._found[kind] += int((of_it & decided).sum())
        wanted = {
            "surest": (odds, decided),
            "doubtful": (-np.abs(odds - self._turning), np.ones(len(rows), dtype=bool)),
            "missed": (-odds, present & ~decided),
            "false alarms": (odds, absent & decided),
        }
        for name, (score, of_it) in wanted.items():
            self._best[name].add(rows[of_it].assign(score=score[of_it]))

    def known(self, kind: int) -> Known:
        """What is known of places that hold it (1) or do not (0)."""
        sample = self._samples[kind]
        return Known(sample.seen, self._found[kind], sample.values)

    def picked(self) -> dict[str, pd.DataFrame]:
        """The places of each sheet, the first to show first."""
        return {
            name: pick_apart([best.rows.reindex(columns=_READ)], [self._per_sheet], self._apart_m)[
                0
            ]
            for name, best in self._best.items()
        }


def _with_truth(batch: pd.DataFrame, labels: pd.Series[bool] | None) -> pd.DataFrame:
    """The rows with `present` as 1, 0 or NaN."""
    own = batch["present"].astype("Float64") if "present" in batch else np.nan
    known = batch.assign(present=own)
    if labels is not None:
        told = known["chip_id"].map(labels).astype("Float64")
        known["present"] = told.fillna(known["present"])
    known["present"] = known["present"].astype("float64")
    return known


class _Sample:
    """Some of very many numbers: all, or a simple random sample by the hashes that come with them.

    It does not depend on the order in which they come.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._floor = np.iinfo(np.uint64).max
        self._values = np.empty(0)
        self._hashes = np.empty(0, np.uint64)
        self.seen = 0

    def add(self, values: NDArray[np.float64], hashes: NDArray[np.uint64]) -> None:
        self.seen += len(values)
        kept = hashes <= self._floor
        self._values = np.concatenate([self._values, values[kept]])
        self._hashes = np.concatenate([self._hashes, hashes[kept]])
        if len(self._values) > 2 * self._most:  # not at every row: what is thrown out pays
            self._cut()

    @property
    def values(self) -> NDArray[np.float64]:
        self._cut()
        return self._values

    def _cut(self) -> None:
        if len(self._values) > self._most:
            least = np.argpartition(self._hashes, self._most - 1)[: self._most]
            least.sort()
            self._values, self._hashes = self._values[least], self._hashes[least]
            self._floor = int(self._hashes.max())
