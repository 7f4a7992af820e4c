"""`geoseg presence heat`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geoseg.commands.options import Json
from geoseg.commands.presence.missing import note_missing_shards
from geoseg.terminal import Outcome, Table, note, show

__all__ = ["heat"]


def heat(
    results: Annotated[Path, typer.Argument(help="A folder that `presence predict` wrote.")],
    cell_km: Annotated[float, typer.Option(help="Side of a cell.")] = 25.0,
    out: Annotated[
        Path, typer.Option(help="The GeoPackage to write; the picture lies beside it.")
    ] = Path("out/heat.gpkg"),
    json: Json = False,
) -> None:
    """Sum results over cells of equal area (EPSG:6933): how many places are expected to hold it.

    Example: geoseg presence heat out/presence --cell-km 50 --out out/heat.gpkg
    """
    from geoseg.errors import ConfigError
    from geoseg.presence.heat import draw_heat, read_heat, write_heat

    if out.suffix != ".gpkg":
        raise ConfigError(f"{out} is no name of a GeoPackage; let it end in '.gpkg'.")
    found = read_heat(results, cell_km)
    note_missing_shards(results)
    picture = out.with_suffix(".png")
    write_heat(found, out)
    draw_heat(found, picture)
    note(f"The cells lie in {out} and are drawn in {picture}")
    figures = {
        "heat": str(out),
        "picture": str(picture),
        "cells": len(found),
        "expected": float(found.expected.sum()),
        "decided": int(found.decided.sum()),
        "seen": int(found.seen.sum()),
        "nowhere": found.nowhere,
    }
    rows = [(name, f"{figures[name]:,}") for name in ("cells", "decided", "seen")]
    rows.append(("expected", f"{figures['expected']:,.1f}"))
    rows.append(("without position or valid pixel", str(found.nowhere)))
    show(
        Outcome(figures, (Table(f"Cells of {cell_km:g} km", ("what", "number"), rows),)),
        as_json=json,
    )
