"""A run that is killed from outside: folder, log, kind of engine or address, seconds, poison."""

import sys
from pathlib import Path

from scale_work import make, make_units

from geoseg.scale import Engine, Manifest, run_units

if __name__ == "__main__":
    folder, log, kind, seconds, *poison = sys.argv[1:]
    engine = Engine(kind=kind, workers=1 if kind == "serial" else 2) if "://" not in kind else None
    with Manifest(Path(folder)) as manifest:
        units = make_units(
            Path(folder),
            Path(log),
            30,
            takes_s=float(seconds),
            poison=tuple(int(number) for number in poison),
        )
        engine = engine or Engine(kind="dask", address=kind)
        run_units(make, units, engine=engine, manifest=manifest)
