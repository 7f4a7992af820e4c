"""Figures of presence: precision and recall, reliability, probabilities, first appearance."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.ticker import MaxNLocator

from geoseg.presence.ranking import log_odds
from geoseg.report.drawing import empty_figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from geoseg.report.presence_tally import FirstYears, ProbabilityCounts
    from geoseg.report.presence_truth import Truth

__all__ = [
    "draw_first_years",
    "draw_precision_recall",
    "draw_probabilities",
    "draw_reliability",
]

# Okabe & Ito (2008), Color Universal Design.
_PRESENT, _ABSENT, _LINE, _GREY = "#d55e00", "#0072b2", "#009e73", "0.45"
_SIZE_IN = (5.2, 3.9)
_TICKS = (1e-8, 1e-6, 1e-4, 0.01, 0.1, 0.5, 0.9, 0.99, 0.9999, 1 - 1e-6, 1 - 1e-8)
_TICK_WORDS = (
    "1e-8", "1e-6", "1e-4", "0.01", "0.1", "0.5", "0.9", "0.99", "0.9999", "1\N{MINUS SIGN}1e-6",
    "1\N{MINUS SIGN}1e-8",
)  # fmt: skip


@contextmanager
def _sized() -> Iterator[None]:
    with mpl.rc_context({"font.size": 9}):
        yield


def draw_probabilities(counts: ProbabilityCounts, threshold: float) -> Figure | None:
    """How many places have which probability, on a scale of log odds; None without a place."""
    if not counts.every.sum():
        return None
    edges = counts.edges
    used = np.flatnonzero(counts.every)
    with _sized():
        figure = empty_figure(*_SIZE_IN)
        axes = figure.subplots()
        axes.stairs(counts.every, edges, fill=True, color="0.82", label="all places")
        for name, known, colour in (
            ("known to be absent", counts.absent, _ABSENT),
            ("known to be present", counts.present, _PRESENT),
        ):
            if known.any():
                axes.stairs(known, edges, color=colour, linewidth=1.5, label=name)
        mark = float(np.clip(log_odds(threshold), edges[0], edges[-1]))
        axes.axvline(mark, color="black", linewidth=1, linestyle="--", label="threshold")
        low, high = min(edges[used[0]], mark) - 0.5, max(edges[used[-1] + 1], mark) + 0.5
        _mark_probabilities(axes.xaxis, low, high)
        axes.set(xlim=(low, high), yscale="log", ylim=(0.7, None))
        axes.set(xlabel="Probability (scale of log odds)", ylabel="Places")
        axes.legend(frameon=False, fontsize=8)
        _finish(axes)
    return figure


def draw_precision_recall(truth: Truth) -> Figure:
    """Precision over recall, with the interval of precision and the place of the threshold."""
    curve = truth.curve
    with _sized():
        figure = empty_figure(*_SIZE_IN)
        axes = figure.subplots()
        axes.fill_between(
            curve.recall, curve.low, curve.high, step="pre", color=_LINE, alpha=0.2, linewidth=0
        )
        axes.plot(curve.recall, curve.precision, color=_LINE, drawstyle="steps-pre", linewidth=1.6)
        axes.axhline(curve.prevalence, color=_GREY, linewidth=1, linestyle=":", label="chance")
        if np.isfinite(truth.precision):
            axes.plot(
                truth.recall.value, truth.precision, "o", color="black", label="threshold",
                clip_on=False, zorder=3,
            )  # fmt: skip
        axes.set(xlabel="Recall", ylabel="Precision", xlim=(0, 1.01), ylim=(0, 1.02))
        axes.legend(frameon=False, fontsize=8, loc="lower left")
        _finish(axes)
    return figure


def draw_reliability(truth: Truth) -> Figure:
    """Shares that hold it against probabilities that were told, both on scales of log odds.

    A share of 0 or 1 is an open circle at the edge.
    """
    bins = truth.calibration.bins
    told, held, least, most = (
        np.array([getattr(b, name) for b in bins])
        for name in ("predicted", "observed", "observed_low", "observed_high")
    )
    inner = np.concatenate([told, held])
    odds = log_odds(inner[(inner > 0) & (inner < 1)])
    low, high = (odds.min() - 0.5, odds.max() + 0.5) if odds.size else (-5.0, 5.0)
    x, y, down, up = (_between(values, low, high) for values in (told, held, least, most))
    whole = (held > 0) & (held < 1)
    with _sized():
        figure = empty_figure(*_SIZE_IN)
        axes = figure.subplots()
        axes.plot([low, high], [low, high], color=_GREY, linewidth=1, linestyle=":")
        axes.vlines(x, down, up, color=_LINE, linewidth=1.4)
        axes.plot(x[whole], y[whole], "o", color=_LINE, markersize=5)
        axes.plot(
            x[~whole], y[~whole], "o", color=_LINE, markerfacecolor="white", markersize=5,
            clip_on=False, zorder=3,
        )  # fmt: skip
        axes.set(xlabel="Probability", ylabel="Share that holds it", xlim=(low, high))
        axes.set_ylim(low, high)
        for axis in (axes.xaxis, axes.yaxis):
            _mark_probabilities(axis, low, high)
        _finish(axes)
    return figure


def draw_first_years(first: FirstYears) -> Figure | None:
    """How many first appear in which year; None where none has a year."""
    if not len(first.years):
        return None
    with _sized():
        figure = empty_figure(*_SIZE_IN)
        axes = figure.subplots()
        axes.bar(first.years + 0.5, first.counts, width=0.9, color=_PRESENT)
        axes.set(xlabel="Year of first appearance", ylabel="Places")
        axes.set_xlim(first.years[0] - 0.5, first.years[-1] + 1.5)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(6, integer=True))
        _finish(axes)
    return figure


def _between(shares: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    return np.asarray(np.clip(log_odds(shares), low, high))


def _mark_probabilities(axis: Axis, low: float, high: float) -> None:
    """Ticks of an axis of log odds, named by their probabilities, those that do not collide."""
    places = log_odds(_TICKS)
    apart = (high - low) / 9
    kept: list[int] = []
    for i in sorted(range(len(places)), key=lambda i: abs(places[i])):  # 0.5 first
        if low <= places[i] <= high and all(abs(places[i] - places[k]) >= apart for k in kept):
            kept.append(i)
    kept.sort()
    axis.set_ticks([float(places[i]) for i in kept], [_TICK_WORDS[i] for i in kept])


def _finish(axes: Axes) -> None:
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
