"""`geoseg active propose`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from geoseg.commands.options import Json
from geoseg.terminal import Outcome, Table, note, show

__all__ = ["propose"]


def propose(
    folder: Annotated[Path, typer.Argument(help="The project, of `geoseg active init`.")],
    count: Annotated[int, typer.Option(help="Items to look at.")] = 200,
    strategy: Annotated[
        str,
        typer.Option(
            help="mixture, likely, similar, typiclust, entropy, margin, least_confidence, bald, "
            "core_set, badge, cluster_margin or random; a tenth at least is a random audit."
        ),
    ] = "mixture",
    apart_m: Annotated[
        float, typer.Option(help="Metres between items that are chosen; 0 where it is no matter.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the audit and of the heads.")] = 0,
    json: Json = False,
) -> None:
    """Learn from the answers there are, and say which items a person should look at next.

    Writes rounds/NNN/: proposal.gpkg to answer on in QGIS, proposal.parquet with the chance of each
    item to be drawn, and the heads that proposed. `geoseg active serve` shows the same items in a
    browser. Items that wait for an answer, or of which nobody could tell, do not come again.

    Example: geoseg active propose out/labelling --count 300 --apart-m 500
    """
    from geoseg.active.folder import held, opened
    from geoseg.active.heads import HeadSettings
    from geoseg.active.propose import ProposeSettings
    from geoseg.active.rounds import make_round
    from geoseg.active.sources import chip_side_m, read_source
    from geoseg.report.active_layer import write_places_layer

    settings = ProposeSettings(strategy=strategy, count=count, apart_m=apart_m, seed=seed)
    with opened(folder) as (project, pool), held(folder):
        write_layer = partial(
            write_places_layer,
            pool=pool,
            classes=project.classes,
            key=project.key,
            chip_m=chip_side_m(folder),
        )
        try:
            made = make_round(
                project, pool, settings, heads=HeadSettings(), write_layer=write_layer
            )
        except KeyboardInterrupt:
            note("Stopped; no round was made. Run the same command again.")
            raise typer.Exit(130) from None
    layer = made.folder / "proposal.gpkg"
    note(f"Answer on {layer} in QGIS, then `geoseg active ingest {folder} {layer}`;")
    # A pool of rows or of a table knows no images.
    images = "" if read_source(folder).kind == "pack" else " --pack PACK"
    note(f"or in a browser: `geoseg active serve {folder}{images}`")
    if made.learned.heads is None:
        note("Fewer than two classes have a label: what is typical, or like those, is proposed")
    reasons = [one.why for one in made.proposed]
    counts = {why: reasons.count(why) for why in dict.fromkeys(reasons)}
    figures = {
        "round": made.number,
        "folder": str(made.folder),
        "geopackage": str(layer),
        "labels": len(made.learned.known.rows),
        "proposed": len(reasons),
        "why": counts,
    }
    rows = [(why, str(number)) for why, number in counts.items()]
    title = f"Round {made.number}: {len(reasons)} of {len(pool):,} items"
    show(Outcome(figures, (Table(title, ("why", "items"), rows),)), as_json=json)
