#!/usr/bin/env bash
# Ends what start.sh has started.
set -euo pipefail
folder=${GEOSEG_SLURM:-${TMPDIR:-/tmp}/geoseg-slurm-$(id -u)}
for name in slurmd slurmctld munge; do
    if [ -s "$folder/$name.pid" ]; then
        pid=$(cat "$folder/$name.pid")
        kill "$pid" 2>/dev/null || true
        for _ in $(seq 20); do kill -0 "$pid" 2>/dev/null || break; sleep 0.2; done
        kill -9 "$pid" 2>/dev/null || true
    fi
done
