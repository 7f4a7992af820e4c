"""What presence is worth: few labels, trust in its numbers, years, speed, kills, memory.

    python benchmarks/presence.py [--json] [--full]

Each part is told where it is measured: presence_learning.py (few labels of real slumps beside a
plain resnet18 of equal CPU time; calibration, recall and prevalence on windows that were held out),
presence_years.py (first year on simulated series; there a network that learns to date, too),
presence_scale.py (prediction beside the bare network, kills, memory). Means over five seeds,
medians of times. Memory is measured while networks learn, all else alone. --full takes 200,000
chips for the share of the forward pass.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from presence_learning import SIZES, Learned, few_label_trials, gains, learn, told
from presence_scale import kills, memory_growth, share_of_forward
from presence_years import first_year_coverage

SEEDS = range(5)
WITHIN = (0.92, 0.98)  # what a threshold set for a recall of 0.95 is to give


def few_labels() -> dict[str, float]:
    """Gain in average precision by the number of labels, and trust in the largest models."""
    learned: list[Learned] = []
    for one in learn(few_label_trials(SEEDS)):
        learned.append(one)
        print(told(one), flush=True)
    figures: dict[str, float] = {}
    for labels, gain in gains(learned, "recipe", "plain").items():
        print(
            f"{labels:5} labels: plain {np.mean(gain.theirs):.3f}, recipe {np.mean(gain.ours):.3f},"
            f" gain {gain.mean:+.3f} ± {gain.half_width:.3f}"
        )
        figures[f"ap_gain_{labels}"] = gain.mean
        figures[f"ap_gain_{labels}_half_width"] = gain.half_width
    return figures | trust(learned)


def trust(learned: list[Learned]) -> dict[str, float]:
    """Calibration, recall and prevalence, over seeds."""
    all_told = [one.trust for one in learned if one.trust is not None and one.trial.way == "recipe"]
    low, high = WITHIN
    print(f"\nRecipe with {max(SIZES)} labels, on windows held out:")
    for one in all_told:
        value, least, most = one.estimate
        print(
            f"  ECE {one.ece:.3f} ({one.ece_debiased:.3f} without its bias), recall "
            f"{one.recall:.3f} (guaranteed threshold {one.recall_guaranteed:.3f}), prevalence "
            f"{one.prevalence:.3f}"
            f" estimated {value:.3f} ({least:.3f} to {most:.3f})"
        )
    return {
        "ece": statistics.mean(one.ece for one in all_told),
        "ece_debiased": statistics.mean(one.ece_debiased for one in all_told),
        "recall_at_95": statistics.mean(one.recall for one in all_told),
        "recall_at_95_within": sum(low <= one.recall <= high for one in all_told),
        "recall_guaranteed": statistics.mean(one.recall_guaranteed for one in all_told),
        "prevalence_within": sum(
            one.estimate[1] <= one.prevalence <= one.estimate[2] for one in all_told
        ),
        "seeds": len(all_told),
    }


def main() -> None:
    """Measure, print, and with --json one object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--full", action="store_true", help="200,000 chips beside the network")
    options = parser.parse_args()
    coverage = statistics.mean(first_year_coverage(seed) for seed in SEEDS)
    print(f"First year within its 90 % interval: {coverage:.3f}", flush=True)
    share = share_of_forward(200_000 if options.full else 14_000)
    png = share_of_forward(6_000, suffix="png")
    for one in (share, png):
        print(
            f"Share of the bare forward pass, {one.chips} chips in .{one.suffix}: {one.share:.3f} "
            f"({one.predict_chips_per_s:.0f} chips/s of {one.forward_chips_per_s:.0f})",
            flush=True,
        )
    killed = kills()
    print(
        f"{killed.kills} kills: {killed.lost} of {killed.places} places lost, {killed.duplicated} "
        f"twice; {killed.shards_identical} of {killed.shards} shards identical",
        flush=True,
    )
    with ThreadPoolExecutor(1) as aside:
        measured = aside.submit(memory_growth)
        learned = few_labels()
        memory = measured.result()
    print(
        f"Memory: {memory.few_mb:.0f} MB for {memory.few} chips, {memory.many_mb:.0f} MB for "
        f"{memory.many} ({memory.growth:+.1%})"
    )
    figures = {
        **learned,
        "first_year_coverage_90": coverage,
        "share_of_forward": share.share,
        "share_of_forward_png": png.share,
        "chips_per_s": share.predict_chips_per_s,
        "kills": killed.kills,
        "lost": killed.lost,
        "duplicated": killed.duplicated,
        "memory_growth": memory.growth,
    }
    if options.json:
        machine = f"{os.cpu_count()} cores {platform.machine()}, torch {torch.__version__}"
        print(json.dumps({"benchmark": "presence", "machine": machine, "figures": figures}))


if __name__ == "__main__":
    main()
