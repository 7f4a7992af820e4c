"""A run that is killed from outside: folder, log, kind of engine, seconds a unit."""

import sys
from pathlib import Path

from scale_work import make, make_units

from geoseg.scale import Engine, Manifest, run_units

if __name__ == "__main__":
    folder, log, kind = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    engine = Engine(kind=kind, workers=1 if kind == "serial" else 2)
    with Manifest(folder) as manifest:
        units = make_units(folder, log, 30, takes_s=float(sys.argv[4]))
        run_units(make, units, engine=engine, manifest=manifest)
