#!/usr/bin/env bash
# The tests that need a Slurm, on one of this machine (start.sh). Debian's packages are installed where
# they are missing; without them the tests say that they are left out.
set -euo pipefail
cd "$(dirname "$0")/../.."

if ! command -v slurmctld slurmd munged >/dev/null; then
    as_root=$([ "$(id -u)" = 0 ] || echo "sudo -n")
    { $as_root apt-get update -qq && $as_root apt-get install -yqq --no-install-recommends \
        slurmctld slurmd slurm-client munge >/dev/null; } ||
        echo "Slurm could not be installed: its tests are left out"
fi
if command -v slurmctld slurmd munged >/dev/null; then
    trap tests/slurm/stop.sh EXIT
    eval "$(tests/slurm/start.sh)"
fi
.venv/bin/pytest -q -rs tests/slurm tests/scale/test_slurm.py
