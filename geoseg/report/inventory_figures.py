"""Figures of an inventory: total areas, the largest glaciers, area by elevation."""

from __future__ import annotations

import io
import re
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from geoseg.report.drawing import empty_figure, literal, png_of
from geoseg.report.history import kind_words
from geoseg.report.quantities import Z90, known, quantity, rated

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from geoseg.report.history import History, Total

__all__ = ["KIND_COLOURS", "draw_glaciers", "draw_hypsometry", "draw_totals", "png_and_svg"]

# Okabe & Ito (2008), Color Universal Design.
KIND_COLOURS = {"glacier": "#0072b2", "lake": "#009e73", "thaw_slump": "#e69f00"}
_OTHER_KIND = "#cc79a7"
_GREY = "0.45"
_WIDTH_IN = 10.0
_PANEL_IN = 3.2
_SMALL_PANEL_IN = 2.1
_COLUMNS = 3
_GLACIERS = 12
_LONGEST_NAME = 40
_ROOM = 1.12  # above what is drawn
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff]+")  # XML takes none of them


@contextmanager
def _styled() -> Iterator[None]:
    """Text stays text in an SVG, and a letter that the font of a PNG lacks is no reason to warn."""
    style = mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "geoseg", "font.size": 9})
    with style, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def png_and_svg(figure: Figure) -> tuple[bytes, bytes]:
    """A figure as PNG and as SVG; the same figure gives the same bytes."""
    svg = io.BytesIO()
    with _styled():
        png = png_of(figure)
        figure.savefig(svg, format="svg", metadata={"Date": None})
    return png, svg.getvalue()


def draw_totals(history: History, totals: Sequence[Total]) -> Figure | None:
    """The area of each kind through time with its trend; None where nothing can be compared."""
    drawn = [total for total in totals if total.compared]
    if not drawn or len(history.surveys) < 2:
        return None
    with _styled():
        columns = min(len(drawn), 2)
        lines = -(-len(drawn) // columns)
        figure = empty_figure(_WIDTH_IN, _PANEL_IN * lines * (1.25 if columns == 1 else 1))
        for axes, total in zip(
            figure.subplots(lines, columns, squeeze=False).flat, drawn, strict=False
        ):
            _draw_total(axes, history.years, total)
        for axes in figure.axes[len(drawn) :]:
            axes.remove()
    return figure


def draw_glaciers(history: History) -> Figure | None:
    """The area of the largest dozen glaciers through time; None where none has two outlines."""
    outlines = (np.nan_to_num(history.area_km2) > 0).sum(axis=1)
    own = np.flatnonzero(history.of("glacier") & (outlines > 1))
    if not own.size:
        return None
    largest = own[np.argsort(-np.nanmax(history.area_km2[own], axis=1), kind="stable")][:_GLACIERS]
    with _styled():
        lines = -(-len(largest) // _COLUMNS)
        figure = empty_figure(_WIDTH_IN, _SMALL_PANEL_IN * lines + 0.3)
        grid = figure.subplots(lines, _COLUMNS, squeeze=False, sharex=True)
        for axes, number in zip(grid.flat, largest, strict=False):
            _draw_track(axes, history, int(number))
        for axes in grid.flat[len(largest) :]:
            axes.remove()
        for axes in grid.flat[max(len(largest) - _COLUMNS, 0) : len(largest)]:
            axes.tick_params(labelbottom=True)
        figure.supylabel("Area (km²)", fontsize=9)
    return figure


def draw_hypsometry(bands: pd.DataFrame, surveys: Sequence[str]) -> Figure | None:
    """Area by elevation of each kind at each survey; None where no survey has any.

    Args:
        bands: survey, kind, z_from_m, z_to_m, area_km2.
        surveys: names in the order of time.
    """
    bands = bands[bands["survey"].isin(list(surveys))]
    kinds = list(dict.fromkeys(bands["kind"]))
    if not kinds:
        return None
    colours = mpl.colormaps["cividis"](np.linspace(0.88, 0, max(len(surveys), 2)))
    with _styled():
        figure = empty_figure(_WIDTH_IN, 4.4)
        grid = figure.subplots(1, len(kinds), squeeze=False)
        for axes, kind in zip(grid.flat, kinds, strict=True):
            own = bands[bands["kind"] == kind]
            for survey, colour in zip(surveys, colours, strict=False):
                _draw_stairs(axes, own[own["survey"] == survey], colour)
            _finish(axes, _words(kind_words(kind)))
            axes.set(xlabel="Area of each band (km²)", ylabel="Elevation (m)", xlim=(0, None))
        lines = [Line2D([], [], color=colour, linewidth=1.6) for colour in colours]
        figure.legend(
            lines[: len(surveys)], [_words(survey) for survey in surveys],
            loc="outside right upper", frameon=False, fontsize=8,
        )  # fmt: skip
    return figure


def _draw_stairs(axes: Axes, bands: pd.DataFrame, colour: NDArray[np.float64]) -> None:
    if len(bands):
        values, edges = _stairs(bands)
        axes.stairs(values, edges, orientation="horizontal", color=tuple(colour), linewidth=1.6)


def _stairs(bands: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Areas of bands and the edges between them; what no band covers has no area."""
    edges = np.unique(bands[["z_from_m", "z_to_m"]].to_numpy(dtype=float))
    areas = np.zeros(len(edges) - 1)
    np.add.at(areas, np.searchsorted(edges, bands["z_from_m"]), bands["area_km2"])
    return areas, edges


def _draw_total(axes: Axes, years: NDArray[np.float64], total: Total) -> None:
    colour = KIND_COLOURS.get(total.kind, _OTHER_KIND)
    if total.trend is not None:
        along = np.linspace(np.nanmin(years), np.nanmax(years), 50)
        line, half = total.trend.at(along)
        axes.fill_between(along, line - half, line + half, color=colour, alpha=0.15, linewidth=0)
        axes.plot(along, line, color=colour, linewidth=1, linestyle="--")
    axes.errorbar(
        years, total.area_km2, Z90 * np.nan_to_num(total.unc_km2), color=colour, fmt="o-",
        markersize=5, capsize=3, linewidth=1.4,
    )  # fmt: skip
    _finish(axes, _words(kind_words(total.kind)), _rate(total))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    # The interval of a trend of three surveys may be far wider than all areas: it may leave.
    highest = float(np.max(total.area_km2 + Z90 * np.nan_to_num(total.unc_km2)))
    axes.set(ylabel="Total area (km²)", ylim=(0, _ROOM * highest or 1), xlim=_room(years))


def _rate(total: Total) -> str:
    if total.trend is None:
        return ""
    rate, half = total.trend.rate_km2_a, total.trend.rate_half_km2_a
    words, ends = rated(rate, rate - half, rate + half)
    return f"{words} km² a year" + (f" ({ends})" if ends else "")


def _draw_track(axes: Axes, history: History, number: int) -> None:
    """Present: dots; absent: circles at 0; unknown: a question mark at the foot."""
    years, area = history.years, history.area_km2[number]
    absent, unknown = (history.status[number] == status for status in ("absent", "unknown"))
    seen = np.isfinite(area)
    half = Z90 * np.nan_to_num(history.unc_km2[number])
    colour = KIND_COLOURS["glacier"]
    axes.errorbar(
        years[seen], area[seen], half[seen], color=colour, fmt="o-", markersize=3.5, capsize=2,
        linewidth=1.2,
    )  # fmt: skip
    axes.plot(
        years[absent], area[absent], "o", markerfacecolor="white", color=colour, markersize=5,
        clip_on=False, in_layout=False,
    )  # fmt: skip
    for year in years[unknown & np.isfinite(years)]:
        axes.annotate(
            "?", (year, 0.03), xycoords=("data", "axes fraction"), color=_GREY, ha="center"
        )
    axes.set_ylim(0, _ROOM * float(np.nanmax(area + half)))
    _finish(axes, _words(history.name_of(number)), _words(_small_print(history, number)))
    axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.set_xlim(*_room(years))


def _small_print(history: History, number: int) -> str:
    """The id of a track whose name others have too, and how fast its area changes."""
    rate = known(history.tracks["rate_km2_a"].iloc[number])
    told = f"{quantity(rate, 2, sign=True)} km² a year" if np.isfinite(rate) else ""
    return ", ".join(filter(None, (history.namesake_id(number), told)))


def _room(years: NDArray[np.float64]) -> tuple[float, float]:
    """The years of all surveys, with a margin."""
    first, last = float(np.nanmin(years)), float(np.nanmax(years))
    margin = max(0.06 * (last - first), 0.5)
    return first - margin, last + margin


def _finish(axes: Axes, title: str, small_print: str = "") -> None:
    axes.set_title(
        title, loc="left", fontsize=9, fontweight="bold", pad=16 if small_print else None
    )
    axes.annotate(
        small_print, (0, 1), (0, 5), xycoords="axes fraction", textcoords="offset points",
        fontsize=8, color=_GREY,
    )  # fmt: skip
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _words(text: str) -> str:
    """A name from a file as a figure can show it: no formula, no control characters, not long."""
    text = " ".join(_CONTROL.sub(" ", text).split())
    short = text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"
    return literal(short)
