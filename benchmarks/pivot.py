"""What the pivot is worth: hidden acquisitions, real ones, film, and speed.

    python benchmarks/pivot.py [--json] [--seeds 20]

- rmse_ratio_physical, rmse_ratio_learned, rmse_ratio_both, rmse_ratio_prior: RMSE of a back-end on
  hidden acquisitions over that of the better of two usual baselines, mean over simulated years (see
  pivot_held_out.py); `both` is the network with the physical mean and sd among its inputs, `prior`
  the physical one about what the network says, on the first few years alone: the others on those
  are rmse_ratio_physical_where_prior and rmse_ratio_learned_where_prior.
- coverage_90: share of hidden measurements in the 90 % intervals of the physical back-end, with the
  noise of the sensor; coverage_90_clear: of the clear values without it.
- athabasca_ratio, togo_ratio: RMSE on real acquisitions over that of a usual baseline
  (pivot_real.py).
- film_correlation: of the broadband visible and a degraded film image on cells of 10 m.
- time_vs_pixel_loop, time_vs_floor: a Mpixel, 60 acquisitions and 7 variables smoothed to 365 days,
  beside a loop over pixels, and beside the time that moving the bytes takes (pivot_speed.py); taken
  while nothing else runs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from pivot_held_out import METHODS, Trial, learn, trial
from pivot_real import athabasca, togo
from pivot_speed import measure

SEEDS = 20
WORKERS = 2
PIXELS, VARIABLES = 1 << 20, 7


def in_parallel(seeds: int, folder: Path) -> dict[str, float]:
    """Real acquisitions and simulated years, two at a time; two networks are trained first."""
    learned, both = folder / "learned.safetensors", folder / "both.safetensors"
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        alone = pool.submit(learn, learned, upon_physical=False)
        upon = pool.submit(learn, both, upon_physical=True)
        acquired = pool.submit(real)  # while the longer training goes on
        took = alone.result(), upon.result()
        print(f"Networks learned in {took[0]:.0f} s, and {took[1]:.0f} s upon physical posteriors")
        waiting = [pool.submit(trial, seed, learned, both) for seed in range(seeds)]
        trials = []
        for one in waiting:
            trials.append(one.result())
            print(_line(trials[-1]), flush=True)
    learning = {"learning_s": took[0], "learning_both_s": took[1]}
    return acquired.result() | summed_up(trials) | learning


def _line(one: Trial) -> str:
    ratios = ", ".join(f"{method} {one.ratio(method):.2f}" for method in one.told)
    return (
        f"seed {one.seed:2}: linear {one.linear:.4f}, stacked {one.stacked:.4f}; {ratios}; "
        f"covers {one.told['physical'].coverage_measured:.2f}; film {one.film:.2f}"
    )


def summed_up(trials: list[Trial]) -> dict[str, float]:
    """Means over years, with medians of the ratios and the spread that means have over years."""
    figures: dict[str, float] = {}
    for method in METHODS:
        measured = [one for one in trials if method in one.told]
        ratios = [one.ratio(method) for one in measured]
        figures[f"rmse_ratio_{method}"] = float(np.mean(ratios))
        figures[f"rmse_ratio_{method}_median"] = statistics.median(ratios)
        told = [one.told[method] for one in measured]
        name = "" if method == "physical" else f"_{method}"
        figures[f"coverage_90{name}"] = float(np.mean([one.coverage_measured for one in told]))
        figures[f"coverage_90{name}_clear"] = float(np.mean([one.coverage for one in told]))
        figures[f"rmse_{method}"] = float(np.sqrt(np.mean([one.rmse**2 for one in told])))
    for method in ("physical", "learned"):
        same = [one.ratio(method) for one in trials if "prior" in one.told]
        figures[f"rmse_ratio_{method}_where_prior"] = float(np.mean(same))
    figures["rmse_baseline"] = float(np.sqrt(np.mean([one.baseline**2 for one in trials])))
    figures["film_correlation"] = float(np.mean([one.film for one in trials]))
    return figures


def real() -> dict[str, float]:
    """Real acquisitions."""
    found = {"athabasca": athabasca(), "togo": togo()}
    for name, one in found.items():
        print(
            f"{name}: RMSE {one.rmse:.4f}, baseline {one.baseline:.4f}, covers {one.coverage:.2f}"
        )
    ratios = {f"{name}_ratio": one.ratio for name, one in found.items()}
    return ratios | {f"{name}_coverage_90": one.coverage for name, one in found.items()}


def main() -> None:
    """Print all figures; with --json, one JSON object last."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="simulated years")
    options = parser.parse_args()
    begun = time.perf_counter()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    figures = measure(PIXELS, VARIABLES, WORKERS)
    with tempfile.TemporaryDirectory() as folder:
        figures |= in_parallel(options.seeds, Path(folder))
    figures["minutes"] = (time.perf_counter() - begun) / 60
    for name, value in figures.items():
        print(f"{name:30} {value:.4g}")
    if options.json:
        print(json.dumps({"benchmark": "pivot", "figures": figures}))


if __name__ == "__main__":
    main()
