"""How long `import geoseg` and `geoseg --help` take, what memory the latter needs, and the wheel.

    python benchmarks/startup.py [--json]

The baseline is the bare interpreter, measured in turn with them; medians of eleven. `wheel_mb` is
what a user fetches of geoseg itself, and is built by `build` (extra dev).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

COMMANDS = {
    "bare_s": [sys.executable, "-c", "pass"],
    "import_s": [sys.executable, "-c", "import geoseg"],
    "help_s": [str(Path(sys.executable).with_name("geoseg")), "--help"],
}
ROUNDS = 11
ROOT = Path(__file__).parents[1]


def seconds(command: list[str]) -> float:
    """Wall seconds of one command."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def peak_mb(command: list[str]) -> float:
    """Peak resident memory of one command in MB."""
    # RUSAGE_CHILDREN is the maximum over all children: a fresh process has only this one.
    code = (
        "import resource, subprocess, sys;"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command], check=True, capture_output=True, text=True
    )
    return int(done.stdout) / 1024


def wheel_mb() -> float:
    """Size of the wheel of this checkout in MB of a million bytes."""
    with TemporaryDirectory() as folder:
        # From a copy: a build leaves files behind, and takes up those of builds before.
        copy = Path(folder) / "geoseg"
        left = shutil.ignore_patterns(".*", "out", "build", "dist", "*.egg-info")
        shutil.copytree(ROOT, copy, ignore=left)
        command = [sys.executable, "-m", "build", "--wheel", "--no-isolation"]
        command += ["--outdir", folder, str(copy)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return next(Path(folder).glob("*.whl")).stat().st_size / 1e6


def main() -> None:
    """Measure, print a table, and with --json one object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    wants_json = parser.parse_args().json
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, command in COMMANDS.items():
            times[name].append(seconds(command))
    figures = {name: round(statistics.median(t), 3) for name, t in times.items()}
    figures["help_peak_mb"] = round(peak_mb(COMMANDS["help_s"]), 1)
    figures["wheel_mb"] = round(wheel_mb(), 2)
    for name, value in figures.items():
        print(f"{name:14} {value}")
    if wants_json:
        machine = f"{os.cpu_count()} cores, Python {sys.version.split()[0]}"
        print(json.dumps({"benchmark": "startup", "machine": machine, "figures": figures}))


if __name__ == "__main__":
    main()
