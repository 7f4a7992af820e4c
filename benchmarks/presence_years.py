"""How often the true year of first appearance lies in the 90 % interval, on simulated places.

    python benchmarks/presence_years.py [--json] [--seeds 3]

The truth: slumps come at a constant rate and stay. Images are taken at random moments of thirty
years, two fifths are hidden, the others partly. Their evidence comes from two overlapping
distributions (one date finds 8 of 10 slumps at 5 % false alarms). The rate that the model is told
is not the true one, but a fiftieth of it.

What is counted by `measure_regime`: places with a slump by the last image, that the model holds to
have one, and that it dates (an interval that begins after the first image). An interval that is
right has the true year in 90 of 100. Regimes in which the evidence is not what the model takes it
for are measured as they are, and with the errors fitted on 600 other places with labels. Means over
seeds.

Last, a network goes all the way: from images of simulated tundra through the recipe (four minutes).
The truth there is the year in which a slump of 25 m breaks out, which coarse images show years
later.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from geoseg.data.slumps import simulated_places
from geoseg.presence.appearance import (
    DateErrors,
    OnsetPrior,
    first_appearances,
    fit_date_errors,
)
from geoseg.presence.evidence import DatedEvidence
from geoseg.presence.first_table import shipped_date_errors, write_first_appearances
from geoseg.presence.packs import Given, make_pack
from geoseg.presence.predict import Prediction, predict_pack
from geoseg.scale import Engine

__all__ = [
    "REGIMES",
    "Coverage",
    "LearnedCoverage",
    "Regime",
    "first_year_coverage",
    "learned_coverage",
    "measure_regime",
    "simulate_places",
]

FIRST, LAST = 1995.0, 2025.0
RATE = 0.005  # slumps a place a year
YEARS_BEFORE = 10.0
SEPARATION = 6.2  # (2.49 standard deviations)^2: 80 % found at 5 % false alarms


@dataclass(frozen=True, kw_only=True)
class Regime:
    """How the simulated evidence comes about."""

    name: str
    dates: tuple[int, int] = (6, 20)  # fewest and most images of a place, hidden ones included
    sureness: float = 1.0  # the evidence is multiplied by it: above 1 over-confident
    shared: float = 0.0  # share of its variance that the dates of a place have in common
    lookalikes: float = 0.0  # share of places whose ground looks like a slump on all dates
    gross: float = 0.0  # share of dates that say the contrary, as surely
    years_before: float = YEARS_BEFORE  # that truly count before the first image
    times: int = 1  # as many places, where few are dated
    fitted: bool = False  # the model's errors are fitted on labelled places


REGIMES = (
    Regime(name="calibrated"),
    Regime(name="few dates (2 to 4)", dates=(2, 4), times=10),
    Regime(name="twice the slumps before", years_before=2 * YEARS_BEFORE),
    Regime(name="over-confident by 1.5", sureness=1.5),
    Regime(name="over-confident by 1.5, fitted", sureness=1.5, fitted=True),
    Regime(name="correlated dates (0.5)", shared=0.5),
    Regime(name="correlated dates (0.5), fitted", shared=0.5, fitted=True),
    Regime(name="both, fitted", sureness=1.5, shared=0.5, fitted=True),
    Regime(name="5 % lookalikes", lookalikes=0.05),
    Regime(name="5 % lookalikes, fitted", lookalikes=0.05, fitted=True),
    Regime(name="3 % gross errors", gross=0.03),
    Regime(name="3 % gross errors, fitted", gross=0.03, fitted=True),
)


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Of the intervals of one regime."""

    covered: float  # share of dated places with the true year in the interval
    width_years: float  # mean
    off_years: float  # median distance of the posterior median from the truth
    dated: int  # places
    covered_before: float  # of held places that are not dated: it came by the image that is told
    held: int  # places that the model holds to have a slump, and that have one
    held_wrongly: int  # and that have none
    present: int  # places with a slump by their last image


def first_year_coverage(seed: int) -> float:
    """Share of true years in their 90 % intervals, evidence calibrated."""
    return measure_regime(REGIMES[0], seed).covered


@dataclass(frozen=True, kw_only=True)
class LearnedCoverage:
    """Of the intervals of a network that was taught on simulated series, on others."""

    found: int  # places that hold a slump and are said to
    covered: float  # share with the true year in the interval, open to the past or not
    dated: int  # of them, with an interval that begins after the first image
    covered_dated: float
    width_years: float  # mean of these


def learned_coverage(seed: int, *, places: int = 3000) -> LearnedCoverage:
    """Teach a network as `geoseg thaw-slump run` does by default, and date slumps elsewhere."""
    with tempfile.TemporaryDirectory() as name:
        run, elsewhere = Path(name) / "run", Path(name) / "elsewhere"
        command = [
            *(str(Path(sys.executable).with_name("geoseg")), "thaw-slump", "run"),
            *("--out", str(run), "--set", f"seed={seed}", "--device", "cpu"),
        ]
        subprocess.run(command, check=True, capture_output=True)
        pool = simulated_places(places, seed=1000 + seed, prevalence=0.3)
        pack = make_pack(Given(pool=pool, name="elsewhere"), elsewhere).pack
        out = Path(name) / "results"
        job = Prediction(pack=pack.folder, model=run / "model.safetensors", out=out, device="cpu")
        predict_pack(job, Engine())
        errors = shipped_date_errors(out) or DateErrors()
        write_first_appearances(out, out / "first", prior=OnsetPrior(), errors=errors)
        table = pd.read_parquet(out / "first")
    number = table["chip_id"].str.rsplit("/", n=1).str[1].astype(int).to_numpy()
    onset = pool.onset_year[number]
    found = table["first_until"].notna().to_numpy() & pool.present[number]
    low, high = table["low"].to_numpy(), table["high"].fillna(table["first_until"]).to_numpy()
    dated = found & np.isfinite(low)
    inside = (onset >= np.nan_to_num(low, nan=-np.inf)) & (onset <= high)
    return LearnedCoverage(
        found=int(found.sum()),
        covered=float(inside[found].mean()),
        dated=int(dated.sum()),
        covered_dated=float(inside[dated].mean()),
        width_years=float((high - low)[dated].mean()),
    )


def measure_regime(regime: Regime, seed: int, *, places: int = 40_000) -> Coverage:
    """Coverage of one regime."""
    rng = np.random.default_rng(seed)
    evidence, onset = simulate_places(regime, places * regime.times, rng)
    errors = _fitted(regime, rng) if regime.fitted else DateErrors()
    prior = OnsetPrior(per_year=RATE / 50, years_before=YEARS_BEFORE)
    found = first_appearances(evidence, prior=prior, errors=errors)
    present = onset <= _last_years(evidence)
    held = present & (found.probability_present >= 0.5)
    dated = held & np.isfinite(found.low)
    inside = (onset >= found.low) & (onset <= found.high)
    return Coverage(
        covered=float(inside[dated].mean()),
        width_years=float((found.high - found.low)[dated].mean()),
        off_years=float(np.median(np.abs(found.year - onset)[dated])),
        dated=int(dated.sum()),
        covered_before=float((onset <= found.until)[held & ~dated].mean()),
        held=int(held.sum()),
        held_wrongly=int((~present & (found.probability_present >= 0.5)).sum()),
        present=int(present.sum()),
    )


def simulate_places(
    regime: Regime, places: int, rng: np.random.Generator
) -> tuple[DatedEvidence, NDArray[np.float64]]:
    """Images of places, and the year in which each truly got its slump; inf where it never did."""
    counts = rng.integers(regime.dates[0], regime.dates[1] + 1, places)
    owners = np.repeat(np.arange(places), counts)
    years = rng.uniform(FIRST, LAST, len(owners))
    validity = np.where(rng.random(len(owners)) < 0.4, 0.0, rng.uniform(0.3, 1, len(owners)))
    # Time runs from as long before the first valid image as counts there.
    first = np.full(places, LAST)
    np.minimum.at(first, owners[validity > 0], years[validity > 0])
    onset = first - regime.years_before + rng.exponential(1 / RATE, places)
    sign = np.where(years >= onset[owners], 1.0, -1.0)
    sign = np.where(rng.random(len(owners)) < regime.gross, -sign, sign)
    offset = rng.normal(0, np.sqrt(SEPARATION * regime.shared), places)
    offset += SEPARATION * (rng.random(places) < regime.lookalikes)
    spread = np.sqrt(SEPARATION * (1 - regime.shared) / np.maximum(validity, 0.01))
    noise = rng.normal(0, 1, len(owners)) * spread
    evidence = DatedEvidence(
        years=years,
        evidence=regime.sureness * (sign * SEPARATION / 2 + offset[owners] + noise),
        validity=validity,
        offsets=np.concatenate([[0], np.cumsum(counts)]),
    )
    return evidence, onset


def _fitted(regime: Regime, rng: np.random.Generator) -> DateErrors:
    """Of 600 places with labels, a third of them present."""
    evidence, onset = simulate_places(replace(regime, dates=(8, 8)), 20_000, rng)
    present = onset <= _last_years(evidence)
    chosen = np.concatenate([np.flatnonzero(present)[:200], np.flatnonzero(~present)[:400]])
    images = np.arange(len(evidence.years)).reshape(-1, 8)[chosen].ravel()
    labelled = DatedEvidence(
        years=evidence.years[images],
        evidence=evidence.evidence[images],
        validity=evidence.validity[images],
        offsets=np.arange(0, len(images) + 1, 8),
    )
    return fit_date_errors(labelled, present[chosen])


def _last_years(evidence: DatedEvidence) -> NDArray[np.float64]:
    last = np.full(evidence.places, -np.inf)
    valid = evidence.validity > 0
    np.maximum.at(last, evidence.owners[valid], evidence.years[valid])
    return last


def _means(regime: Regime, seeds: range) -> dict[str, float]:
    """Coverage of a regime over seeds."""
    found = [asdict(measure_regime(regime, seed)) for seed in seeds]
    return {key: statistics.mean(one[key] for one in found) for key in found[0]}


def main() -> None:
    """Measure every regime, print a table, and with --json one object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    print(f"{'regime':34} covered  years wide  years off   dated  covered before  found wrongly")
    figures: dict[str, float] = {}
    for regime in REGIMES:
        found = _means(regime, range(options.seeds))
        print(
            f"{regime.name:34} {found['covered']:7.3f}  {found['width_years']:10.1f}  "
            f"{found['off_years']:9.1f}  {found['dated']:6.0f}  {found['covered_before']:14.3f}  "
            f"{found['held_wrongly'] / (found['held'] + found['held_wrongly']):13.3f}",
            flush=True,
        )
        figures |= {f"{regime.name}: {key}": value for key, value in found.items()}
    learned = learned_coverage(0)
    print(
        f"a network taught on simulated series: {learned.covered:.3f} of {learned.found} found; of "
        f"the {learned.dated} dated {learned.covered_dated:.3f}, {learned.width_years:.0f} years "
        "wide"
    )
    figures |= {f"learned: {key}": value for key, value in asdict(learned).items()}
    if options.json:
        machine = f"{os.cpu_count()} cores {platform.machine()}, numpy {np.__version__}"
        print(json.dumps({"benchmark": "presence_years", "machine": machine, "figures": figures}))


if __name__ == "__main__":
    main()
