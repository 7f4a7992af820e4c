"""`geoseg data`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geoseg.commands.options import Json
from geoseg.terminal import Outcome, Table, note, progress, show

__all__ = ["data_app"]

data_app = typer.Typer(no_args_is_help=True, help="Open data sets, and a simulated landscape.")


@data_app.command("list")
def data_list(json: Json = False) -> None:
    """List the open data sets, with licence and source.

    Example: geoseg data list
    """
    from geoseg.data import load_registry

    sets = load_registry().values()
    listed = [
        {"name": s.name, "licence": s.licence, "source": s.source, "citation": s.citation}
        for s in sets
    ]
    rows = [
        (s.name, s.title, s.licence, f"{sum(f.bytes for f in s.files) / 1e6:.1f}") for s in sets
    ]
    table = Table("Open data sets", ("name", "what", "licence", "MB"), rows)
    show(Outcome({"data": listed}, (table,)), as_json=json)


@data_app.command("fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(help="A name of `geoseg data list`.")],
    json: Json = False,
) -> None:
    """Fetch a data set into the cache, or find it in the mirror named by GEOSEG_DATA_MIRROR.

    Example: geoseg data fetch everest
    """
    from geoseg.data import fetch

    folder = fetch(name, on_file=note)
    note(f"{name} lies in {folder}")
    show(Outcome({"name": name, "folder": str(folder)}), as_json=json)


@data_app.command("simulate")
def data_simulate(
    out: Annotated[Path, typer.Option(help="Folder for the landscape.")] = Path("out/simulated"),
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another landscape.")] = 0,
    json: Json = False,
) -> None:
    """Simulate a glacierised landscape from 1965 to 2025 and what several sensors see of it.

    Example: geoseg data simulate --out out/simulated --seed 1
    """
    from geoseg.data import simulate

    simulate(out, seed=seed, on_step=note)
    note(f"The landscape lies in {out}")
    show(Outcome({"folder": str(out), "seed": seed}), as_json=json)


@data_app.command("simulate-year")
def data_simulate_year(
    out: Annotated[Path, typer.Option(help="Folder for the scenes.")] = Path("out/year"),
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another year.")] = 0,
    side: Annotated[int, typer.Option(min=16, help="Pixels of 10 m to a side of the ground.")] = 64,
    json: Json = False,
) -> None:
    """Simulate a year of Sentinel-2, Landsat 8 and 9 and Sentinel-1 over fields, woods and water.

    Example: geoseg data simulate-year --out out/year
    """
    from geoseg.data.seasons import write_year

    with progress("Scenes") as advance:
        write_year(out, seed=seed, side=side, on_scene=lambda done, all_: advance(done, all_, ""))
    note(f"The scenes lie in {out / 'scenes'}")
    show(Outcome({"folder": str(out), "seed": seed}), as_json=json)
