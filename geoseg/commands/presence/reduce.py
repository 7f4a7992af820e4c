"""`geoseg presence reduce`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geoseg.commands.options import Json
from geoseg.errors import ConfigError
from geoseg.terminal import Outcome, Table, note, progress, show

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from geoseg.presence.reduction.chips import SquareChips, VectorChips
    from geoseg.presence.reduction.compare import ReductionScore

__all__ = ["reduce"]

_SEPARATOR = "::"  # between a file and its layer


def reduce(
    maps: Annotated[
        Path, typer.Argument(help="A folder that `geoseg predict` wrote, or its probability.tif.")
    ],
    chips: Annotated[
        Path | None, typer.Option(help="A vector file of chips, polygons with a chip_id.")
    ] = None,
    size_m: Annotated[
        float | None, typer.Option(help="Side of square chips that tile the map, in metres.")
    ] = None,
    target: Annotated[
        str, typer.Option("--class", help="The class that is looked for.")
    ] = "thaw_slump",
    min_area_m2: Annotated[
        float, typer.Option(help="Area of the smallest object that counts.")
    ] = 1000.0,
    outlines: Annotated[
        str | None,
        typer.Option(help="True outlines, FILE or FILE::LAYER, to compare the rules with."),
    ] = None,
    learn: Annotated[
        Path | None,
        typer.Option(help="A .json to write: a rule learnt from all chips and the outlines."),
    ] = None,
    learned: Annotated[
        Path | None, typer.Option(help="A .json that --learn wrote elsewhere: one more column.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The GeoParquet to write.")] = Path("chips.parquet"),
    json: Json = False,
) -> None:
    """Say of each chip how likely it holds an object, from the probabilities of a map.

    Example: geoseg presence reduce out/maps/a --size-m 320 --outlines truth.gpkg
    """
    from geoseg.presence.reduction.learned import fit_reduction, read_reduction
    from geoseg.presence.reduction.run import Reduction, map_grid, probability_map, reduce_map

    if learn is not None and outlines is None:
        raise ConfigError("--learn learns from --outlines; give them too.")
    path = probability_map(maps)
    grid = map_grid(path)
    reduction = Reduction(
        map=path,
        target=target,
        min_area_m2=min_area_m2,
        learned=None if learned is None else read_reduction(learned),
        outlines=None if outlines is None else _outlines(outlines, target, grid),
    )
    try:
        with progress("Reducing") as advance:
            reduced = reduce_map(
                reduction,
                _chips(chips, size_m, grid),
                out,
                on_part=lambda done, total: advance(done, total, ""),
            )
    except KeyboardInterrupt:
        note("Stopped; nothing was written. Run the same command again.")
        raise typer.Exit(130) from None
    if learn is not None:
        fit_reduction(reduced.features, reduced.truth).write(learn)
    note(f"The chips lie in {out}")
    figures: dict[str, object] = {
        "chips": reduced.chips,
        "unknown": reduced.unknown,
        "present": reduced.present,
        "reductions": [_figures(score) for score in reduced.scores],
    }
    show(Outcome(figures, (_table(reduced.scores, figures),)), as_json=json)


def _chips(path: Path | None, size_m: float | None, grid: GeoBox) -> VectorChips | SquareChips:
    from geoseg.presence.reduction.chips import SquareChips, VectorChips

    if path is not None and size_m is None:
        return VectorChips(path, grid)
    if size_m is not None and path is None:
        return SquareChips(grid, size_m)
    raise ConfigError("Name the chips by one of --chips FILE and --size-m METRES.")


def _outlines(named: str, target: str, grid: GeoBox) -> NDArray[np.object_]:
    """The true outlines of the class, in the reference system of a map."""
    from geoseg.grids import crs_of
    from geoseg.presence.reduction.truth import read_true_outlines

    path, _, layer = named.partition(_SEPARATOR)
    return read_true_outlines(Path(path), layer or None, target=target, crs=crs_of(grid))


def _figures(score: ReductionScore) -> dict[str, object]:
    from dataclasses import asdict

    return asdict(score)


def _table(scores: list[ReductionScore], figures: dict[str, object]) -> Table:
    rows = [
        (s.name, f"{s.average_precision:.3f}", f"{s.recall:.3f}", f"{s.log_loss:.4f}")
        for s in scores
    ]
    columns = ("rule", "average precision", "recall at precision 0.9", "log loss")
    if not scores:
        counts = [(name, str(figures[name])) for name in ("chips", "unknown")]
        return Table("Chips", ("what", "chips"), counts)
    known = f"{scores[0].present} of {scores[0].chips} known chips hold an outline"
    return Table(known, columns, rows)
