"""`geoseg presence head`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geoseg.commands.options import Json
from geoseg.terminal import Outcome, Table, note, show

__all__ = ["head"]

_SHOWN = 5  # problems


def head(
    rows: Annotated[Path, typer.Argument(help="Folder that `geoseg presence embed` wrote.")],
    labels: Annotated[
        Path,
        typer.Option(
            help="What is known: CSV or Parquet with chip_id (of `score`) and present; of other "
            "chips with lon and lat too."
        ),
    ],
    model: Annotated[Path, typer.Option(help="The model.safetensors that made the rows.")],
    out: Annotated[Path, typer.Option(help="The head to write, .safetensors.")] = Path(
        "head.safetensors"
    ),
    json: Json = False,
) -> None:
    """Fit another head to rows and labels, for `score --head`: no image is read again.

    A logistic regression on the embeddings, as strong as ranks best on blocks of places held out.
    It is not calibrated: what `score` makes of it are sigmoids, and it takes no --prevalence. A
    label that cannot serve is named; the exit code is then 1.

    Example: geoseg presence head out/rows --labels labels.csv --model model.safetensors
    """
    from geoseg.models import load_classifier
    from geoseg.presence.packs import read_labels
    from geoseg.presence.rows.embedder import weights_sha256
    from geoseg.presence.rows.head import check_head_path, fit_head, read_labelled, save_head
    from geoseg.presence.rows.labels import labels_on_grid
    from geoseg.presence.rows.store import read_header, require_rows_of

    check_head_path(out)
    header = read_header(rows)
    embedder, _ = weights_sha256(load_classifier(model).classifier)
    require_rows_of(rows, header, model, embedder)
    known, wrong = read_labels(labels)
    at = labels_on_grid(known, header.grid)
    labelled = read_labelled(rows, at.lon, at.lat, at.present)
    problems = (*wrong, *at.problems, *at.without_rows(labelled.found))
    for problem in problems[:_SHOWN]:
        note(f"{problem.key}: {problem.reason}")
    if len(problems) > _SHOWN:
        note(f"{len(problems)} problems in all: --json names them")
    fitted = fit_head(labelled)
    save_head(out, fitted)
    note(f"The head is {out}; score with it by --head")
    places = fitted.record["places"]
    used = int(labelled.found.sum())
    figures = {
        "head": str(out),
        "labels": used,
        "images": len(labelled.cell),
        **places,
        "average_precision": fitted.record["average_precision"],
        "inverse_penalty": fitted.record["inverse_penalty"],
        "problems": [list(problem) for problem in problems],
    }
    lines = [
        ("labels at which rows lie", str(used)),
        ("places with it", str(places["present"])),
        ("places without it", str(places["absent"])),
        ("average precision, held out", f"{fitted.record['average_precision']:.3f}"),
        ("problems", str(len(problems))),
    ]
    show(Outcome(figures, (Table("Fitted a head", ("what", "much"), lines),)), as_json=json)
    if problems:
        raise typer.Exit(1)
