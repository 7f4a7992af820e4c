"""`geoseg catalog`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geoseg.commands.options import Json
from geoseg.errors import ConfigError
from geoseg.terminal import Outcome, Table, note, show

__all__ = ["catalog_app"]

catalog_app = typer.Typer(no_args_is_help=True, help="Tables of scenes: STAC GeoParquet.")


@catalog_app.command("scan")
def catalog_scan(
    folder: Annotated[Path, typer.Argument(help="Searched for STAC items (.json).")],
    out: Annotated[Path, typer.Option(help="The table to write.")] = Path("catalog.parquet"),
    checksums: Annotated[
        bool, typer.Option("--checksums", help="Read all files, so that damage is noticed later.")
    ] = False,
    json: Json = False,
) -> None:
    """List the scenes under a folder in a catalogue; those that cannot be read are named.

    Example: geoseg catalog scan out/run/landscape/scenes --out catalog.parquet
    """
    from geoseg.files import require_no_folder
    from geoseg.scenes import scan_items, write_catalog

    require_no_folder(out)
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder; name one that holds STAC items.")
    found = scan_items(folder, checksums=checksums)
    for entry in found.broken:
        note(f"{entry.id} is left out: {entry.reason}")
    if not found.entries:
        raise ConfigError(f"{folder} holds no STAC item that can be read.")
    write_catalog(found.entries, out)
    rows = [
        (e.scene.id, e.scene.sensor_id, f"{e.scene.start:%Y-%m-%d}", str(len(e.scene.bands)))
        for e in found.entries
    ]
    figures = {
        "catalog": str(out),
        "scenes": [entry.scene.id for entry in found.entries],
        "broken": {entry.id: entry.reason for entry in found.broken},
    }
    table = Table(f"Scenes in {out}", ("id", "sensor", "from", "bands"), rows)
    show(Outcome(figures, (table,)), as_json=json)
    if found.broken:
        raise typer.Exit(1)
