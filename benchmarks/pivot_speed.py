"""A year of days from a year of acquisitions, pixel by pixel: how fast the scalar route is.

    python benchmarks/pivot_speed.py [--json] [--threads 2] [--pixels 1048576] [--variables 7]

60 acquisitions of a variable, about half of their pixels missing at random, are smoothed to mean
and sd of 365 days with `fill_days`; 7 variables one after the other, each of its own values. The
consumer takes every piece and drops it, as one that hands it to a file would: inputs (503 MB a
variable at 1 Mpx) come out of main memory, outputs (3 GB) go to one buffer of 3 MB a thread that
is written again and again, so that no more than that is ever held.

- time_vs_pixel_loop: that time over the time of a Python loop over pixels with filterpy: filter,
  rts_smoother and a prediction for each of the 365 days, timed on some pixels and extrapolated.
- time_vs_floor: that time over the time that moving the bytes alone would take, those of the inputs
  once and of the outputs once, at the bandwidth of plain copies. The bandwidth is bytes read plus
  bytes written by `Tensor.copy_` between two buffers of 256 MB, eight times the cache, with as
  many threads. That is strict: outputs are mostly writes, and a write moves its line twice.

Job and floor take turns, three rounds; figures are medians of the ratios of a round, so that a
busy neighbour slows both. Times are of the wall.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from filterpy.kalman import KalmanFilter

from geoseg.pivot.physical.daily import PIXELS, fill_days
from geoseg.pivot.physical.wander import Wander

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

DATES, WANTED, ROUNDS = 60, tuple(float(day) for day in range(365)), 3
SD, SCALE_DAYS, NOISE_SD = 0.03, 60.0, 0.01
LOOP_PIXELS = 200
BEYOND_CACHE = 1 << 26  # floats, 256 MB


class Series(NamedTuple):
    """One variable."""

    days: tuple[float, ...]
    values: Tensor  # (T, N)
    variances: Tensor  # (T, N)
    wander: Wander


def make_series(pixels: int, seed: int) -> Series:
    """Values without a climatology, half of them missing."""
    rng = np.random.default_rng(seed)
    days = np.sort(rng.choice(len(WANTED), DATES, replace=False)).astype(float)
    values = rng.standard_normal((DATES, pixels), dtype=np.float32) * SD
    variances = np.full_like(values, NOISE_SD**2)
    for value, variance in zip(values, variances, strict=True):
        gone = rng.random(pixels, dtype=np.float32) < 0.5
        value[gone], variance[gone] = np.nan, np.inf
    wander = Wander(sd=torch.full((pixels,), SD), days=SCALE_DAYS)
    return Series(tuple(days.tolist()), *map(torch.from_numpy, (values, variances)), wander)


def seconds(job: Callable[[], object]) -> float:
    """What a job takes."""
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def fill(series: Series) -> None:
    """The job: all pieces, each dropped when the next one comes."""
    for _ in fill_days(*series, WANTED):
        pass


def copy_bandwidth(threads: int) -> float:
    """Bytes a second, read plus written, of copies between buffers larger than the cache."""
    source, target = torch.ones(BEYOND_CACHE), torch.zeros(BEYOND_CACHE)
    halves = list(zip(source.chunk(threads), target.chunk(threads), strict=True))
    taken = [
        _in_threads(threads, lambda k: halves[k][1].copy_(halves[k][0])) for _ in range(ROUNDS)
    ]
    return 2 * source.nbytes / statistics.median(taken)


def pixel_loop(series: Series) -> float:
    """Seconds for all pixels with filterpy, from those of the first few."""
    pixels = min(LOOP_PIXELS, series.values.shape[1])
    values, variances = (one[:, :pixels].double().numpy() for one in series[1:3])

    def loop() -> None:
        for n in range(pixels):
            _by_filterpy(np.array(series.days), values[:, n], variances[:, n])

    return seconds(loop) / pixels * series.values.shape[1]


def measure(pixels: int, variables: int, threads: int) -> dict[str, float]:
    """All figures, with as many threads."""
    torch.set_num_threads(threads)
    loop_s = pixel_loop(make_series(pixels, 0)) * variables
    fill(make_series(2 * PIXELS, 0))  # compiles
    jobs, floors = [0.0] * ROUNDS, [0.0] * ROUNDS
    for variable in range(variables):
        series = make_series(pixels, variable)
        moved = series.values.nbytes + series.variances.nbytes + 8 * len(WANTED) * pixels
        for k in range(ROUNDS):
            floors[k] += moved / copy_bandwidth(threads)
            jobs[k] += seconds(lambda series=series: fill(series))
    return {
        "job_s": round(statistics.median(jobs), 2),
        "pixel_loop_s": round(loop_s, 1),
        "time_vs_pixel_loop": round(statistics.median(jobs) / loop_s, 6),
        "time_vs_floor": round(_median_ratio(jobs, floors), 2),
        "copy_gb_per_s": round(variables * moved / statistics.median(floors) / 1e9, 1),
        "peak_resident_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "input_mb": round(2 * series.values.nbytes / 1e6, 1),
        "threads": threads,
    }


def _median_ratio(jobs: list[float], floors: list[float]) -> float:
    return statistics.median(job / floor for job, floor in zip(jobs, floors, strict=True))


def _in_threads(threads: int, job: Callable[[int], object]) -> float:
    """Seconds of a job in each of some threads."""
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        taken = seconds(lambda: list(pool.map(job, range(threads))))
    torch.set_num_threads(threads)
    return taken


def _by_filterpy(days: np.ndarray, values: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """Means and sds (365, 2) of one pixel, as one writes it first."""
    kept = np.exp(-np.diff(days, prepend=days[0]) / SCALE_DAYS)
    steps = list(kept[:, None, None])
    noises = [(1 - step**2) * SD**2 for step in steps]
    kalman = KalmanFilter(dim_x=1, dim_z=1)
    kalman.H, kalman.x, kalman.P = np.eye(1), np.zeros((1, 1)), np.full((1, 1), SD**2)
    means, covariances = [], []
    for step, noise, value, variance in zip(steps, noises, values, variances, strict=True):
        kalman.predict(F=step, Q=noise)
        kalman.update(None if np.isinf(variance) else value, R=variance)
        means.append(kalman.x.copy())
        covariances.append(kalman.P.copy())
    means, covariances, _, _ = kalman.rts_smoother(
        np.array(means), np.array(covariances), Fs=steps, Qs=noises
    )
    found = np.empty((len(WANTED), 2))
    for row, day in enumerate(WANTED):
        # From the knot before alone: less than the job does, so that the loop is not made slower.
        last = max(int(np.searchsorted(days, day, side="right")) - 1, 0)
        step = np.exp(-np.abs(day - days[last]) / SCALE_DAYS)
        kalman.x, kalman.P = means[last], covariances[last]
        kalman.predict(F=np.array([[step]]), Q=np.array([[(1 - step**2) * SD**2]]))
        found[row] = kalman.x[0, 0], np.sqrt(kalman.P[0, 0])
    return found


def main() -> None:
    """Measure, print a table, and with --json one object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--pixels", type=int, default=1 << 20)
    parser.add_argument("--variables", type=int, default=7)
    options = parser.parse_args()
    figures = measure(options.pixels, options.variables, options.threads)
    print(f"{options.pixels} px x {DATES} acquisitions x {options.variables} variables to 365 days")
    for name, value in figures.items():
        print(f"  {name:26} {value:12}")
    if options.json:
        machine = f"{os.cpu_count()} cores {platform.machine()}, torch {torch.__version__}"
        print(json.dumps({"benchmark": "pivot_speed", "machine": machine, "figures": figures}))


if __name__ == "__main__":
    main()
