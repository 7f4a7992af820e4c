"""Search the parsers of tests/security/parsers.py for what is neither a value nor a GeosegError.

    python tests/security/fuzz.py [--seconds 60] [--corpus out/fuzz] [PARSER ...]

Each parser is searched by atheris in a process of its own, led by the lines of geoseg that an input
reaches, for so many seconds; what it found to reach more of them is kept in the corpus and gone on
from. Ends with 1 where one failed: the input lies in the corpus under `crash-*`.
"""

# ruff: noqa: T201  a program that prints

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import warnings
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).parent
MOST_BYTES = 20_000
MOST_MB = 4096  # of memory


def search(name: str, corpus: Path, seconds: int) -> None:
    """Search one parser; ends the process."""
    import atheris

    sys.path[:0] = [str(HERE.parent), str(HERE)]
    warnings.simplefilter("ignore")
    with atheris.instrument_imports(include=["geoseg"]):
        from parsers import PARSERS

        from geoseg.errors import GeosegError
    parser = PARSERS[name]
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(parser.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    with TemporaryDirectory() as folder:

        def once(content: bytes) -> None:
            with suppress(GeosegError):
                parser.read(content, Path(folder))

        limits = [
            f"-max_total_time={seconds}",
            f"-max_len={MOST_BYTES}",
            f"-rss_limit_mb={MOST_MB}",
            "-timeout=300",
            f"-artifact_prefix={corpus}/",
            "-print_final_stats=1",
        ]
        atheris.Setup([sys.argv[0], *limits, str(corpus)], once)
        atheris.Fuzz()


def main() -> int:
    """Search all parsers, or those that are named, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parsers", nargs="*")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, default=Path("out/fuzz"))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if find_spec("atheris") is None:
        print("atheris is not installed, which has no wheel for all Pythons: pip install atheris")
        return 2
    if options.one is not None:
        search(options.one, options.corpus / options.one, options.seconds)
        return 0
    failed = []
    for name in options.parsers or _names():
        command = [sys.executable, __file__, "--one", name, "--seconds", str(options.seconds)]
        command += ["--corpus", str(options.corpus)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        runs = [line for line in done.stderr.splitlines() if "number_of_executed_units" in line]
        count = runs[0].split()[-1] if runs else "?"
        print(f"{name:24} {count:>9} inputs  {'failed' if done.returncode else 'held'}", flush=True)
        if done.returncode:
            failed.append(name)
            # A traceback is on one of them, what libFuzzer says on the other.
            for said in (done.stdout, done.stderr):
                print("\n".join(said.splitlines()[-40:]), flush=True)
    return 1 if failed else 0


def _names() -> list[str]:
    sys.path[:0] = [str(HERE.parent), str(HERE)]
    from parsers import PARSERS

    return list(PARSERS)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
