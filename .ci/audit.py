"""Compares what is installed with the advisories of the Python Package Index, by pip-audit.

python .ci/audit.py

Ends with 1 where an advisory holds, and where pip-audit breaks. A registry that mirrors packages
alone has no advisories: then nothing is compared, which is said, and a failure only with --must.
"""

# ruff: noqa: T201  a program that prints

import argparse
import json
import subprocess
import sys


def main() -> int:
    """Run pip-audit and tell what it found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--must", action="store_true", help="fail where nothing was compared")
    options = parser.parse_args()
    done = subprocess.run(
        [sys.executable, "-m", "pip_audit", "--skip-editable", "--format=json", "--local"],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        found = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        why = done.stderr.strip().splitlines() or ["no answer"]
        print(f"Nothing was compared: pip-audit ended with {done.returncode} ({why[-1]}).")
        return 1
    compared = [one for one in found if "skip_reason" not in one]
    hit = [one for one in compared if one["vulns"]]
    for one in hit:
        for advisory in one["vulns"]:
            mended = ", ".join(advisory["fix_versions"]) or "no release yet"
            print(f"{one['name']} {one['version']}: {advisory['id']}, mended in {mended}")
    if not compared:
        print(f"Nothing was compared: this registry has no advisories ({len(found)} packages).")
    else:
        print(f"{len(hit)} of {len(compared)} packages have advisories.")
    return 1 if hit or (options.must and not compared) else 0


if __name__ == "__main__":
    sys.exit(main())
