"""An inventory as one page that needs nothing but a browser."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps

from geoseg.errors import ConfigError
from geoseg.files import require_no_folder, write_text
from geoseg.page.policy import WRITTEN
from geoseg.report.figure_files import write_figures
from geoseg.report.history import history_of, kind_words
from geoseg.report.inventory_figures import (
    draw_glaciers,
    draw_hypsometry,
    draw_totals,
)
from geoseg.report.inventory_map import map_data
from geoseg.report.quantities import known, measured, quantity, rated, shown

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from geoseg.inventory import Inventory
    from geoseg.report.figure_files import write_figures
from geoseg.report.history import History, Total

__all__ = ["check_report_path", "write_report"]

_MOST_ROWS = 2000  # of a table of the page
_FIGURES = ("totals", "glaciers", "hypsometry")


def write_report(
    inventory: Inventory, path: Path, *, hypsometry: pd.DataFrame | None = None
) -> tuple[Path, ...]:
    """Write a page that holds all it shows, and its figures as PNG and SVG beside it.

    The figures lie in a folder named like the page with `_figures` at its end. The page makes no
    request, and runs no script but its own.

    Args:
        inventory: may be empty.
        path: the .html; replaced when it exists.
        hypsometry: area by elevation: survey, kind, z_from_m, z_to_m, area_km2. No figure without.

    Returns:
        What was written, the page first.

    Raises:
        ConfigError: the path does not end in .html.
        OutputError: a file cannot be written.
    """
    check_report_path(path)
    history = history_of(inventory)
    totals = [history.total(kind) for kind in history.kinds]
    figures = {
        "totals": draw_totals(history, totals),
        "glaciers": draw_glaciers(history),
        "hypsometry": None if hypsometry is None else draw_hypsometry(hypsometry, history.surveys),
    }
    written, pictures = write_figures(path, figures)
    write_text(path, _page(inventory, history, totals, pictures))
    return (path, *written)


def check_report_path(path: Path) -> None:
    """Refuse a path that no page can be written to, before work is done for one.

    Raises:
        ConfigError: it does not end in .html.
        OutputError: it is a folder.
    """
    if path.suffix != ".html":
        raise ConfigError(f"{path} is no name of a page; let it end in '.html'.")
    require_no_folder(path)


def _page(
    inventory: Inventory, history: History, totals: list[Total], pictures: dict[str, str]
) -> str:
    environment = Environment(
        loader=PackageLoader("geoseg.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "known": known,
        "measured": measured,
        "quantity": quantity,
        "shown": shown,
    }
    script = environment.get_template("inventory_script.html").render()
    digest = hashlib.sha256(script.encode()).digest()
    events = _events(inventory)
    drawn = map_data(inventory, history)
    return environment.get_template("inventory_page.html").render(
        policy=WRITTEN,
        inventory=inventory,
        history=history,
        kinds=[_kind(history, total, events) for total in totals],
        rows=_rows(history)[:_MOST_ROWS],
        event_rows=inventory.events.head(_MOST_ROWS).to_dict("records"),
        names=dict(
            zip(history.tracks["track_id"], history.tracks["glac_name"].map(shown), strict=True)
        ),
        surveys=_surveys(inventory, history),
        pictures=pictures,
        drawn=drawn,
        data=htmlsafe_json_dumps(
            drawn, dumps=json.dumps, allow_nan=False, ensure_ascii=False, separators=(",", ":")
        ),
        script=script,
        script_digest=base64.b64encode(digest).decode("ascii"),
    )


def _kind(history: History, total: Total, events: dict[tuple[str, str], int]) -> dict[str, Any]:
    """What the page says of a kind: its key figures, its total, and a row a survey."""
    own = history.of(total.kind)
    rows = []
    for i, survey in enumerate(history.surveys):
        status = history.status[own, i]
        rows.append(
            {
                "survey": survey,
                "present": int((status == "present").sum()),
                "absent": int((status == "absent").sum()),
                "unknown": int((status == "unknown").sum()),
                "mapped": _sum(history.area_km2[own, i]),
                "mapped_unc": _sum(history.unc_km2[own, i]),
                "total": float(total.area_km2[i]),
                "total_unc": float(total.unc_km2[i]),
            }
        )
    return {
        "kind": total.kind,
        "words": kind_words(total.kind),
        "total": total,
        "rows": rows,
        "figures": _key_figures(history, total, events),
    }


def _key_figures(
    history: History, total: Total, events: dict[tuple[str, str], int]
) -> list[tuple[str, str]]:
    """What there is to know first of a kind, as titles and words."""
    told = [("Number", f"{total.tracks:,}")]
    if 0 < total.compared < total.tracks:
        told.append(("Areas are of", f"the {total.compared:,} measured in every survey"))
    if total.compared:
        told += _area_figures(history, total)
    tracks = history.tracks[history.of(total.kind)]
    verdicts, changes = tracks["significant"].map(known), tracks["change_km2"].map(known)
    if judged := int(verdicts.notna().sum()):
        less, more = (int(((verdicts == 1) & (changes * sign > 0)).sum()) for sign in (-1, 1))
        told.append(("Significant", f"{less:,} smaller, {more:,} larger, of {judged:,}"))
    came, went = (events.get((total.kind, event), 0) for event in ("appear", "vanish"))
    if came or went:
        told.append(("Events", f"{came:,} appeared, {went:,} vanished"))
    return told


def _area_figures(history: History, total: Total) -> list[tuple[str, str]]:
    """The area at the first and the last survey, and the change."""
    area, unc, surveys = total.area_km2, total.unc_km2, history.surveys
    told = [
        (f"Area, {surveys[i]}", f"{measured(area[i], unc[i])} km²")
        for i in sorted({0, len(surveys) - 1})
    ]
    if len(surveys) > 1:
        change = float(area[-1] - area[0])
        words = measured(change, float(np.hypot(unc[0], unc[-1])), sign=True)
        share = f" ({quantity(100 * change / area[0], 2, sign=True)} %)" if area[0] else ""
        told.append(("Change", f"{words} km²{share}"))
    return told


def _sum(values: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    """The sum of what is known, NaN where nothing is."""
    return float(np.nansum(values)) if np.isfinite(values).any() else float("nan")


def _events(inventory: Inventory) -> dict[tuple[str, str], int]:
    """How often what happened to which kind."""
    counts = inventory.events.groupby(["kind", "event"]).size()
    return {(str(kind), str(event)): int(count) for (kind, event), count in counts.items()}


def _rows(history: History) -> list[dict[str, Any]]:
    """The rows of the table of tracks, the largest first."""
    latest, latest_unc = _latest(history)
    rows = []
    for number in np.argsort(-np.nan_to_num(latest, nan=-1), kind="stable"):
        track = history.tracks.iloc[number]
        change, change_unc = known(track["change_km2"]), known(track["change_unc_km2"])
        rate, percent = known(track["rate_km2_a"]), known(track["rate_pct_a"])
        rate_ends = known(track["rate_lo_km2_a"]), known(track["rate_hi_km2_a"])
        rows.append(
            {
                "id": str(track["track_id"]),
                "name": shown(track["glac_name"]),
                "kind": str(track["kind"]).replace("_", " "),
                "area": (_key(latest[number]), measured(latest[number], latest_unc[number])),
                "change": (_key(change), measured(change, change_unc, sign=True)),
                "change_pct": (
                    _key(known(track["change_pct"])),
                    quantity(known(track["change_pct"]), 2, sign=True),
                ),
                "significant": known(track["significant"]),
                "rate": (_key(rate), *rated(rate, *rate_ends)),
                "rate_pct": (_key(percent), quantity(percent, 2, sign=True)),
                "status": list(history.status[number]),
            }
        )
    return rows


def _latest(history: History) -> tuple[Any, Any]:
    """The newest known area of each track that was not 0, and its deviation; NaN without one."""
    there = np.where(history.area_km2 > 0, np.arange(len(history.surveys)), -1)
    newest = there.max(axis=1, initial=-1)
    each = np.arange(len(newest))
    if not history.surveys:
        return np.full(len(newest), np.nan), np.full(len(newest), np.nan)
    return tuple(
        np.where(newest >= 0, values[each, newest], np.nan)
        for values in (history.area_km2, history.unc_km2)
    )  # type: ignore[return-value]  # two


def _key(value: float) -> str:
    """What a column is sorted by; empty sorts last."""
    return f"{value:.9g}" if np.isfinite(value) else ""


def _surveys(inventory: Inventory, history: History) -> list[dict[str, Any]]:
    """What the page says of each survey, in the order of time."""
    table = inventory.surveys.drop_duplicates("survey").set_index("survey")
    rows = []
    for name, days in zip(history.surveys, history.days, strict=True):
        row = table.loc[name]
        shift = np.hypot(known(row["shift_x_m"]), known(row["shift_y_m"]))
        rows.append(
            {
                "name": name,
                "days": days,
                "source": shown(row["source"]),
                "sensor": shown(row["sensor"]),
                "gsd": quantity(known(row["gsd_m"])),
                "outlines": quantity(known(row["outlines"])),
                "mended": [quantity(known(row[c])) for c in ("repaired", "duplicates", "overlaps")],
                "shift": quantity(float(shift), 2),
                "shift_unc": quantity(known(row["shift_unc_m"]), 2),
            }
        )
    return rows
