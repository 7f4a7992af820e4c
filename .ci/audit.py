"""Compares what is installed with the advisories of the Python Package Index, by pip-audit.

python .ci/audit.py

Ends with 1 where an advisory holds. A registry that mirrors packages alone has no advisories: then
nothing is compared, which is said, and is no failure.
"""

# ruff: noqa: T201  a program that prints

import json
import subprocess
import sys


def main() -> int:
    """Run pip-audit and tell what it found."""
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
        print(f"Nothing was compared: the advisories cannot be reached ({why[-1]}).")
        return 0
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
    return 1 if hit else 0


if __name__ == "__main__":
    sys.exit(main())
