"""A picture of the scores of several models: values with their intervals, and the cost beside."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from matplotlib.lines import Line2D

from geoseg.report.drawing import empty_figure, literal, model_styles, png_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

    from geoseg.evaluation.comparison import Comparison, Cost, ModelScores
    from geoseg.metrics.resampling import Interval

__all__ = ["cost_figures", "draw_scores"]

_WIDTH_IN = 12.0
_MODEL_IN, _ROW_IN, _PANEL_IN = 0.17, 0.2, 0.45  # height of a model, between rows, of a title
_UNKNOWN = "not measured"
_SPREAD = 0.7  # of the height of a row, taken by its models


def draw_scores(comparison: Comparison) -> bytes:
    """A PNG: IoU by class, sensor, era and pixel size with 95 % intervals, and the cost."""
    styles = model_styles([m.model for m in comparison.models])
    panels = {title: rows for title, rows in _panels(comparison.models).items() if rows}
    heights = [
        _PANEL_IN + len(rows) * (_ROW_IN + _MODEL_IN * len(styles)) for rows in panels.values()
    ]
    figure = empty_figure(_WIDTH_IN, max(sum(heights) + 0.9, 6))
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(2.1, 1), wspace=0.03)[0]
    _draw_panels(left, panels, heights, styles)
    _draw_cost(right, comparison.models, styles)
    handles = [
        Line2D([], [], color=colour, marker=marker, label=literal(model))
        for model, (colour, marker) in styles.items()
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=5, frameon=False)
    return png_of(figure)


def cost_figures(cost: Cost) -> dict[str, tuple[float, str]]:
    """What a report says of a cost: by title a value to draw and the words for it."""
    return {
        "Training, each unit": (cost.train_seconds, _duration(cost.train_seconds)),
        "Mapping a million pixels": (
            cost.predict_seconds_per_mpx,
            _duration(cost.predict_seconds_per_mpx),
        ),
        "Parameters trained": (
            cost.trained_parameters,
            f"{cost.trained_parameters / 1e6:.3g} of {cost.parameters / 1e6:.3g} million",
        ),
        "Peak memory": (
            cost.peak_memory_mb,
            f"{cost.peak_memory_mb / 1000:.3g} GB"
            if math.isfinite(cost.peak_memory_mb)
            else _UNKNOWN,
        ),
    }


def _duration(seconds: float) -> str:
    """Seconds in the unit that people would say them in."""
    if not math.isfinite(seconds):
        return _UNKNOWN
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _panels(models: Sequence[ModelScores]) -> dict[str, dict[str, list[Interval]]]:
    """Per panel and row the interval of each model."""
    first = models[0]
    panels = {
        "Mean over classes": {"all scenes": [m.mean_iou for m in models]},
        "Class, all scenes": {
            name.replace("_", " "): [m.per_class[name] for m in models] for name in first.per_class
        },
    }
    for title, by in {
        "Mean by sensor": "per_sensor",
        "Mean by era": "per_era",
        "Mean by pixel size": "per_gsd",
    }.items():
        panels[title] = {
            f"{name} ({scores.blocks})": [getattr(m, by)[name].mean for m in models]
            for name, scores in getattr(first, by).items()
        }
    return panels


def _draw_panels(
    part: SubFigure,
    panels: Mapping[str, Mapping[str, Sequence[Interval]]],
    heights: Sequence[float],
    styles: Mapping[str, tuple[str, str]],
) -> None:
    every = part.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (title, rows) in zip(every, panels.items(), strict=True):
        axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
        for row, intervals in enumerate(rows.values()):
            _draw_row(axes, row, intervals, styles)
            if row % 2 == 0 and len(rows) > 1:
                axes.axhspan(row - 0.5, row + 0.5, color="0.95", linewidth=0, zorder=0)
        axes.set_yticks(range(len(rows)), [literal(name) for name in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color="0.85", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
    every[0].set_xlim(
        *_limits([i for rows in panels.values() for own in rows.values() for i in own])
    )
    every[-1].set_xlabel("IoU, with its 95 % interval over blocks of ground (in brackets: blocks)")


def _draw_row(
    axes: Axes,
    row: int,
    intervals: Sequence[Interval],
    styles: Mapping[str, tuple[str, str]],
) -> None:
    for i, (interval, (colour, marker)) in enumerate(zip(intervals, styles.values(), strict=True)):
        y = row + _SPREAD * ((i + 0.5) / len(styles) - 0.5)
        axes.plot([interval.low, interval.high], [y, y], color=colour, linewidth=2)
        axes.plot([interval.value], [y], color=colour, marker=marker, markersize=6)


def _limits(intervals: Sequence[Interval]) -> tuple[float, float]:
    ends = [v for i in intervals for v in (i.low, i.value, i.high) if math.isfinite(v)]
    if not ends:
        return 0, 1
    room = 0.04 * max(max(ends) - min(ends), 0.1)
    return max(min(ends) - room, -room), min(max(ends) + room, 1 + room)


def _draw_cost(
    part: SubFigure, models: Sequence[ModelScores], styles: Mapping[str, tuple[str, str]]
) -> None:
    costs = [cost_figures(m.cost) for m in models]
    for axes, title in zip(part.subplots(len(costs[0]), 1), costs[0], strict=True):
        values, words = zip(*(cost[title] for cost in costs), strict=True)
        longest = max(filter(math.isfinite, values), default=0) or 1
        axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
        for row, (value, (colour, _)) in enumerate(zip(values, styles.values(), strict=True)):
            length = value if math.isfinite(value) else 0
            axes.barh(row, length, color=colour, height=0.6)
            axes.text(length + 0.02 * longest, row, words[row], va="center", fontsize=9)
        axes.set(xlim=(0, 1.6 * longest), ylim=(len(costs) - 0.5, -0.5), xticks=[])
        axes.set_yticks(range(len(costs)), [literal(model) for model in styles], fontsize=9)
        axes.tick_params(axis="y", length=0)
        axes.spines[["top", "right", "bottom"]].set_visible(False)
