"""`geoseg active simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geoseg.commands.options import Json
from geoseg.terminal import Outcome, Table, note, progress, show

if TYPE_CHECKING:
    from geoseg.active.simulate import Curves, Simulation

__all__ = ["figures_of", "run_simulation", "simulate"]


def simulate(
    pool: Annotated[Path, typer.Option(help="Folder of a pool: PROJECT/pool.")],
    truth: Annotated[
        Path,
        typer.Option(help="CSV of item, class and, if known, kind (hidden), part (test)."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for curves and the record of what is done.")],
    strategies: Annotated[
        str, typer.Option(help="Strategies of `geoseg active propose`, with commas.")
    ] = "random,mixture",
    seeds: Annotated[int, typer.Option(help="Labellings of each; 20 tell much, 3 do not.")] = 20,
    batch: Annotated[int, typer.Option(help="Labels of a round.")] = 100,
    rounds: Annotated[int, typer.Option(help="Rounds of a labelling.")] = 20,
    starts: Annotated[int, typer.Option(help="Positives known before; of one hidden kind.")] = 5,
    workers: Annotated[int, typer.Option(help="Processes; each runs one labelling.")] = 1,
    json: Json = False,
) -> None:
    """Run whole labellings of a pool of which all is known, and draw what labels are worth.

    Writes curves.csv and curves.png. A run that was stopped goes on where it was.

    Example: geoseg active simulate --pool out/labelling/pool --truth out/labelling/labels.csv
    --out out/simulated
    """
    from geoseg.active.loop import LoopSettings
    from geoseg.active.simulate import Simulation
    from geoseg.scale import Engine

    simulation = Simulation(
        pool=pool.absolute(),
        truth=truth.absolute(),
        strategies=tuple(name.strip().replace("-", "_") for name in strategies.split(",")),
        seeds=seeds,
        loop=LoopSettings(batch=batch, rounds=rounds, starts=starts),
    )
    try:
        curves = run_simulation(simulation, out, Engine.of_workers(workers), title="Simulation")
    except KeyboardInterrupt:
        note("Stopped. Run the same command again to go on.")
        raise typer.Exit(130) from None
    show(figures_of(curves, out), as_json=json)


def run_simulation(simulation: Simulation, out: Path, engine: Any, *, title: str) -> Curves:  # noqa: ANN401  an Engine, heavy to import
    """Run it with progress; curves.csv and curves.png are written into the folder."""
    from geoseg.active.simulate import simulate, write_curves
    from geoseg.files import writing
    from geoseg.report.active_curves import draw_curves
    from geoseg.report.drawing import png_of

    total = (len(simulation.strategies) + 1) * simulation.seeds
    done = 0
    with progress("Labelling") as advance:

        def on_done(ended: Any) -> None:  # noqa: ANN401  an Ended, heavy to import
            nonlocal done
            done += 1
            advance(done, total, ended.name)

        curves = simulate(simulation, out.absolute(), engine=engine, on_done=on_done)
    write_curves(out / "curves.csv", curves)
    picture = png_of(draw_curves(curves, title))
    with writing(out / "curves.png") as aside:
        aside.write_bytes(picture)
    return curves


def figures_of(curves: Curves, out: Path) -> Outcome:
    """What strategies need, as one object and as a table."""
    from geoseg.active.simulate import labels_by_chance, summarise

    found = summarise(curves)
    figures = {
        "items": curves.items,
        "positives": curves.positives,
        "seeds": len(curves.full),
        "labels_by_chance_for_80": labels_by_chance(curves.items, curves.positives, curves.starts),
        "full_average_precision": sum(w.average_precision for w in curves.full) / len(curves.full),
        "curves": str(out / "curves.csv"),
        "picture": str(out / "curves.png"),
        "strategies": {
            name: {**own._asdict(), "last": own.last._asdict()} for name, own in found.items()
        },
    }
    rows = [
        (
            name,
            f"{own.labels_for_80:.0f}",
            f"{own.labels_for_full_ap:.0f}",
            f"{own.last.recall:.3f}",
            f"{own.last.worst_recall:.3f}",
            f"{own.last.average_precision:.3f}",
            f"{own.last.balanced_accuracy:.3f}",
        )
        for name, own in found.items()
    ]
    columns = (
        "strategy", "labels for 80 %", "for full AP", "found", "worst kind", "AP", "bal. accuracy",
    )  # fmt: skip
    last = next(iter(found.values())).last.labels
    title = f"{curves.positives} positives of {curves.items:,} items; at the end after {last:.0f}"
    return Outcome(figures, (Table(title, columns, rows),))
