"""`geoseg presence report`."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geoseg.commands.options import Json
from geoseg.terminal import Outcome, note, progress, show

if TYPE_CHECKING:
    from geoseg.report.presence_page import PresenceReport

__all__ = ["report"]


def report(
    results: Annotated[Path, typer.Argument(help="Folder that `geoseg presence predict` wrote.")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("presence.html"),
    pack: Annotated[
        Path | None,
        typer.Option(help="Images to show; the pack that was predicted when not named."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="What is known: CSV or Parquet with chip_id and present."),
    ] = None,
    first: Annotated[
        Path | None, typer.Option(help="First appearances, of `geoseg presence first`.")
    ] = None,
    held_out: Annotated[
        Path | None,
        typer.Option(
            help="calibration.parquet of the run that made the model: the number of all places "
            "that hold it gets an interval."
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(help="That predicted: lines around what it found in the images."),
    ] = None,
    json: Json = False,
) -> None:
    """Write one page of a prediction that works offline: how good it is, and places to look at.

    Its figures lie beside it as PNG and SVG. Without labels it says nothing of how good it is.

    Example: geoseg presence report out/presence --labels labels.csv --out presence.html
    """
    from geoseg.report import check_report_path
    from geoseg.report.presence_page import write_presence_report
    from geoseg.report.presence_results import report_of_results

    check_report_path(out)
    try:
        with progress("Reading") as advance:
            made = report_of_results(
                results,
                pack=pack,
                labels=labels,
                first=first,
                held_out=held_out,
                model=model,
                on_rows=lambda done, total: advance(done, total, "places"),
            )
    except KeyboardInterrupt:
        note("Stopped; nothing was written. Run the same command again.")
        raise typer.Exit(130) from None
    if made.unfinished:
        note(made.unfinished)
    if model is not None and not any(p.images for sheet in made.sheets for p in sheet.places):
        note(
            "No lines are drawn, for no images of these places are at hand: name their pack by "
            "--pack; results of rows have none."
        )
    page, *figures = write_presence_report(out, made)
    note(f"The page is {page}; {len(figures)} figures lie beside it")
    told = {"report": str(page), "figures": [str(f) for f in figures], **_figures(made)}
    show(Outcome(told), as_json=json)


def _figures(made: PresenceReport) -> dict[str, Any]:
    from dataclasses import asdict

    figures: dict[str, Any] = {
        "places": made.places,
        "images": made.images,
        "unscored": made.unscored,
        "found": made.found,
        "threshold": made.rule.threshold,
    }
    if made.total is not None:
        total = made.total
        seen = made.places - made.unscored
        figures["total"] = {"value": total.value, "of_places": seen, "how": total.words}
        if isfinite(total.low):
            figures["total"] |= {"low": total.low, "high": total.high}
    if made.truth is not None:
        truth = made.truth
        figures["truth"] = {
            "positives": truth.positives,
            "negatives": truth.negatives,
            "prevalence": truth.detection.prevalence,
            "average_precision": asdict(truth.curve.average_precision),
            "recall_at_threshold": asdict(truth.recall),
            "precision_at_threshold": truth.precision,
            "precision_at_recall": asdict(truth.detection.precision),
            "false_positives_1e5_at_recall": asdict(truth.detection.false_positives_1e5),
            "recall": truth.detection.recall,
            "ece": truth.calibration.ece,
            "ece_debiased": truth.calibration.ece_debiased,
        }
    return figures
