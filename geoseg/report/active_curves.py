"""A picture of what labels are worth: curves of strategies over the number of labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.ticker import MaxNLocator

from geoseg.active.simulate import curves_of, labels_by_chance
from geoseg.report.drawing import empty_figure, literal, model_styles

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from geoseg.active.simulate import Curves

__all__ = ["draw_curves"]

_SIZE_IN = (10.0, 7.4)
_GREY = "0.45"
_PANELS = {
    "recall": "Positives found, share of all in the pool",
    "worst_recall": "Found of the hidden kind that is found least",
    "average_precision": "Average precision on items that test",
    "balanced_accuracy": "Balanced accuracy on items that test",
}
_SHADED = 6  # intervals, at most: more of them hide each other
_WITH_FULL = ("average_precision", "balanced_accuracy")


def draw_curves(curves: Curves, title: str) -> Figure:
    """Four panels over labels: found, found of the worst kind, average precision, accuracy.

    Means over seeds; of few strategies with 95 % bootstrap intervals of the mean, shaded. Dashed
    what all labels are worth, dotted what chance finds.

    Args:
        curves: of `geoseg.active.simulate.simulate`.
        title: above all.
    """
    table = curves_of(curves)
    styles = model_styles(list(curves.strategies))
    shaded = len(styles) <= _SHADED
    with mpl.rc_context({"font.size": 9}):
        figure = empty_figure(*_SIZE_IN)
        panels = figure.subplots(2, 2, sharex=True).ravel()
        for axes, (measure, words) in zip(panels, _PANELS.items(), strict=True):
            for name, style in styles.items():
                _draw(axes, table[table["strategy"] == name], measure, style, shaded=shaded)
            axes.set_title(words, loc="left", fontsize=9.5, fontweight="bold")
            if measure in _WITH_FULL:
                level = float(np.mean([getattr(one, measure) for one in curves.full]))
                axes.axhline(level, color="black", linewidth=1, linestyle="--", label="all labels")
            _finish(axes, most=float(table["labels"].max()))
        _draw_chance(panels[0], curves, float(table["labels"].max()))
        for axes in panels[2:]:
            axes.set_xlabel(f"Labels, of {curves.items:,} items in the pool")
        lines = {
            str(line.get_label()): line
            for axes in panels
            for line in axes.get_lines()
            if not str(line.get_label()).startswith("_")
        }
        figure.legend(
            list(lines.values()), list(lines), loc="outside lower center", ncols=6, frameon=False
        )
        told = f"{title}: means of {len(curves.full)} labellings"
        told += ", with 95 % intervals" if shaded else ""
        figure.suptitle(literal(told), fontsize=11, x=0.01, ha="left")
    return figure


def _draw(
    axes: Axes, table: pd.DataFrame, measure: str, style: tuple[str, str], *, shaded: bool
) -> None:
    colour, marker = style
    labels = table["labels"].to_numpy()
    if shaded:
        low, high = (table[f"{measure}_{end}"].to_numpy() for end in ("low", "high"))
        axes.fill_between(labels, low, high, color=colour, alpha=0.15, linewidth=0)
    every = max(len(labels) // 8, 1)
    axes.plot(
        labels,
        table[measure].to_numpy(),
        color=colour,
        marker=marker,
        markevery=every,
        markersize=4,
        linewidth=1.6,
        label=literal(str(table["strategy"].iloc[0]).replace("_", " ")),
        clip_on=False,
    )


def _draw_chance(axes: Axes, curves: Curves, most: float) -> None:
    share = np.arange(curves.starts, curves.positives + 1) / curves.positives
    labels = np.array(
        [
            labels_by_chance(curves.items, curves.positives, curves.starts, share=float(one))
            for one in share
        ]
    )
    axes.plot(labels, share, color=_GREY, linewidth=1, linestyle=":", label="by chance")
    axes.set_xlim(0, most)


def _finish(axes: Axes, *, most: float) -> None:
    axes.set(xlim=(0, most), ylim=(0, 1.0))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
